"""The published method, step for step, with a network whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.classic import find_cells, propose
from napari_wbcseg.segmentation.prediction import Predictor
from napari_wbcseg.settings import SegmentationSettings

from ..dark_model import write_dark_model
from ..drawings import dice, disc_labels, picture, worst_dice

CLASSIC = SegmentationSettings(recipe="classic")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    path: Path = tmp_path_factory.mktemp("model") / "dark.safetensors"
    return write_dark_model(path)


def find(labels: np.ndarray, model: ModelFile, settings: SegmentationSettings = CLASSIC, **colours: int):
    return find_cells(picture(labels, **colours).astype(np.float32), Predictor(model, settings, silent))


def test_regions_darker_than_the_threshold_and_large_enough_are_proposed() -> None:
    grey = np.full((120, 150), 200, np.uint8)
    grey[10:35, 20:45] = 99  # 625 pixels
    grey[60:80, 20:45] = 99  # 500
    grey[60:80, 70:94] = 99  # 480: too small
    grey[90:118, 100:140] = 100  # not dark enough
    boxes = propose(grey, CLASSIC)
    assert boxes.dtype == np.int64
    assert sorted(map(tuple, boxes.tolist())) == [(10, 20, 35, 45), (60, 20, 80, 45)]


def test_cells_are_found_where_the_network_sees_them(model: ModelFile) -> None:
    labels = disc_labels((300, 400), [(80, 90, 60), (200, 300, 50)])
    found = find(labels, model)
    assert len(np.unique(found.labels)) == 3
    assert worst_dice(labels, found.labels) > 0.99
    assert found.probability.dtype == np.float32
    assert found.probability[80, 90] > 0.9


def test_only_windows_of_128_around_the_regions_are_looked_at(model: ModelFile) -> None:
    labels = disc_labels((400, 400), [(200, 200, 60)])
    seen = np.argwhere(find(labels, model, dark=90).probability > 0)
    assert seen.min(axis=0).tolist() == [136, 136]
    assert seen.max(axis=0).tolist() == [263, 263]


def test_windows_that_overlap_are_blended_and_do_not_overwrite(model: ModelFile) -> None:
    labels = disc_labels((260, 260), [(100, 100, 50), (130, 150, 50), (160, 100, 50)])
    found = find(labels, model)
    assert dice(found.labels > 0, labels > 0) > 0.99


@pytest.mark.parametrize("shape", [(70, 60), (70, 300), (127, 129)])
def test_images_smaller_than_a_window_are_padded_and_not_skipped(
    model: ModelFile, shape: tuple[int, int]
) -> None:
    labels = disc_labels(shape, [(35, 30, 50)])
    found = find(labels, model)
    assert found.labels.shape == shape
    assert worst_dice(labels, found.labels) > 0.99


def test_what_is_as_dark_as_the_edge_of_the_field_is_no_cell(model: ModelFile) -> None:
    labels = disc_labels((200, 200), [(100, 100, 60)])
    assert not find(labels, model, dark=20).labels.any()
    assert find(labels, model, dark=21).labels.any()


def test_cells_smaller_than_the_least_area_are_dropped(model: ModelFile) -> None:
    labels = disc_labels((200, 200), [(100, 60, 60), (100, 110, 20)])  # both in one window
    assert len(np.unique(find(labels, model).labels)) == 2
    small = CLASSIC.replace(min_area=100)
    assert len(np.unique(find(labels, model, small).labels)) == 3


def test_flips_of_a_symmetric_network_change_nothing(model: ModelFile) -> None:
    labels = disc_labels((200, 240), [(60, 70, 60), (120, 160, 50)])
    plain = find(labels, model)
    flipped = find(labels, model, CLASSIC.replace(flips=True))
    np.testing.assert_allclose(flipped.probability, plain.probability, atol=1e-6)


def test_a_bright_field_needs_no_network_and_gives_nothing(model: ModelFile) -> None:
    found = find(np.zeros((90, 80), np.int32), model)
    assert not found.labels.any()
    assert not found.probability.any()
    assert found.proposals.shape == (0, 4)
