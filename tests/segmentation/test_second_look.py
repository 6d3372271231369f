"""What is said of unsure cells by a second network and in the standard stain; all answers are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.detections import Detections, cells_of_tile
from napari_wbcseg.segmentation.instances import Instances
from napari_wbcseg.segmentation.looks import Look
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.segmentation.prediction import Predictor
from napari_wbcseg.segmentation.second_look import ask_second_network, check_in_standard_stain
from napari_wbcseg.segmentation.standard_stain import StandardStain
from napari_wbcseg.segmentation.tiles import tile_grid
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


def agreeing(monkeypatch: pytest.MonkeyPatch, probability: float) -> Any:
    """Return a first network; what asks again says the same probability of all pixels."""
    said = "napari_wbcseg.segmentation.second_look._cell_around"
    monkeypatch.setattr(
        said, lambda boxes, image, predictor: np.full(image.shape[:2], probability, np.float32)
    )
    again = SimpleNamespace(settings=SegmentationSettings(), canonical_diameter=DIAMETER)
    return SimpleNamespace(second=again, in_stain=lambda standard: again, **vars(again))


def test_what_both_say_of_a_cell_counts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = agreeing(monkeypatch, 0.4)
    picture, labels = image()
    left = ask_second_network(Instances(labels, {1: 0.7, 2: 0.55}), picture, predictor)
    assert left.certainty == {1: 0.7}
    (tile,) = tile_grid(labels.shape, 1.0)
    nothing = np.zeros(labels.shape, np.float32), np.zeros((0, 4), np.int64)
    cells = cells_of_tile(Detections(labels, *nothing, {1: 0.7, 2: 0.55}), picture, tile)
    look = Look(DIAMETER, StandardStain(white=(1.0, 1.0, 1.0), mixing=((1, 0, 0), (0, 1, 0), (0, 0, 1))))
    left = check_in_standard_stain(cells, look, picture, tile.window, predictor)
    assert left.rows["certainty"].tolist() == [0.7]


def test_an_unsure_cell_goes_where_it_is_none_in_the_standard_stain(first: ModelFile) -> None:
    nucleus, red_cell = (
        2 - 2 * np.exp(-np.array(density)) for density in ((0.5, 0.65, 0.05), (0.5, 0.4, 0.1))
    )
    white = np.array([(nucleus, 1.0)], [("stain", float, 3), ("certainty", float)])
    standard = StandardStain.of(white, tuple(red_cell))
    assert standard is not None
    discs = [(75.0, 60.0, DIAMETER), (75.0, 150.0, DIAMETER), (75.0, 240.0, DIAMETER)]
    labels = disc_labels((150, 300), discs)
    picture = np.array([np.zeros(3), nucleus, red_cell, red_cell], np.float32)[labels]
    (tile,) = tile_grid(labels.shape, 1.0)
    nothing = np.zeros(labels.shape, np.float32), np.zeros((0, 4), np.int64)
    cells = cells_of_tile(Detections(labels, *nothing, {1: 0.6, 2: 0.6, 3: 0.95}), picture, tile)
    predictor = Predictor(first, SegmentationSettings(classes=None), silent)
    left = check_in_standard_stain(cells, Look(DIAMETER, standard), picture, tile.window, predictor)
    assert left.rows["box"][:, 1].tolist() == cells.rows["box"][[0, 2], 1].tolist()
    assert left.rows["index"].tolist() == [0, 1]
    assert [mask.sum() for mask in left.masks] == left.rows["area"].tolist()
