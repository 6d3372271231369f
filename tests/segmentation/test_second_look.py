"""What a second network says of cells that the first is unsure of; both networks' answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.settings import SegmentationSettings

from ..drawings import disc_labels, write_dark_robust_model

DIAMETER = 48.0
DARK, PALE = 60, 97  # grey values: the first network is sure of the dark cell, unsure of the pale one


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return write_dark_robust_model(tmp_path_factory.mktemp("model") / "dark.safetensors")


def stricter(model: ModelFile, bias: float) -> ModelFile:
    """Return a network that takes only darker things for cells."""
    weights = dict(model.weights)
    weights["head_cell/bias"] = np.full_like(weights["head_cell/bias"], bias)
    return ModelFile.make(model.header, weights)


def image() -> tuple[np.ndarray, np.ndarray]:
    """Return a picture of a dark cell, 1, and of a pale one, 2, and their labels."""
    labels = disc_labels((150, 220), [(75, 60, DIAMETER), (75, 150, DIAMETER)])
    grey = np.array([230, DARK, PALE], np.uint8)[labels]
    return grey[..., None].repeat(3, axis=2), labels


def found(model: ModelFile) -> set[int]:
    """Return which cells of the picture a model finds."""
    picture, truth = image()
    settings = SegmentationSettings(cell_diameter=DIAMETER, split_touching=False, classes=None)
    labels = segment(picture, model, settings).labels
    return {number for number in (1, 2) if (labels[truth == number] > 0).mean() > 0.9}


def test_an_unsure_cell_goes_where_both_networks_together_doubt_it(first: ModelFile) -> None:
    assert found(first) == {1, 2}
    assert found(first.with_second(stricter(first, -16))) == {1}


def test_it_stays_where_the_second_network_agrees(first: ModelFile) -> None:
    assert found(first.with_second(first)) == {1, 2}


def test_a_sure_cell_stays_whatever_the_second_network_says(first: ModelFile) -> None:
    assert found(first.with_second(stricter(first, -100))) == {1}
