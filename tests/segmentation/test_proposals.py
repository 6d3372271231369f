"""The first glance finds the regions, with a network that takes whatever is dark for a cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.prediction import Predictor
from napari_wbcseg.segmentation.proposals import propose
from napari_wbcseg.settings import SegmentationSettings

from ..drawings import disc_labels, write_dark_robust_model


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    model = write_dark_robust_model(tmp_path_factory.mktemp("model") / "dark.safetensors")
    return Predictor(model, SegmentationSettings(), silent)


def dark(labels: np.ndarray) -> np.ndarray:
    """Return the network's input for cells through which a quarter of the light passes."""
    return np.where(labels[..., None] > 0, np.float32(1.5), np.float32(0)).repeat(3, axis=2)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([20.0, 48.0, 150.0]), st.floats(0, 1), st.floats(0, 1))
def test_a_region_holds_its_cell_whole_with_room_around(predictor, diameter, down, across) -> None:
    shape = (260, 300)
    labels = disc_labels(shape, [(down * shape[0], across * shape[1], diameter)])
    rows, cols = np.nonzero(labels)
    boxes = propose(dark(labels), diameter, predictor)
    assert boxes.dtype == np.int64
    if np.ptp(rows) < 0.5 * diameter or np.ptp(cols) < 0.5 * diameter:
        return  # only a sliver of it is in the image
    ((r0, c0, r1, c1),) = boxes
    assert 0 <= r0 <= rows.min() < rows.max() < r1 <= shape[0]
    assert 0 <= c0 <= cols.min() < cols.max() < c1 <= shape[1]
    # Not much more than a quarter of a cell around, and the grid of the glance.
    assert rows.min() - r0 < 0.45 * diameter + 2
    assert c1 - cols.max() < 0.45 * diameter + 3


def test_cells_apart_are_regions_apart_and_specks_are_none(predictor: Predictor) -> None:
    labels = disc_labels((200, 400), [(100, 80, 50), (100, 250, 50), (30, 350, 7)])
    boxes = propose(dark(labels), 50.0, predictor)
    assert len(boxes) == 2


def test_an_empty_slide_has_no_regions(predictor: Predictor) -> None:
    for shape in ((120, 90), (1, 1), (1, 200), (200, 1)):
        assert propose(np.zeros((*shape, 3), np.float32), 40.0, predictor).shape == (0, 4)
