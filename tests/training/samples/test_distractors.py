"""Platelets and red cells are cut out of boxed fields and laid under the white cells of samples."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.training.samples import class_map
from napari_wbcseg.training.samples.class_map import NOTHING_ELSE, UNKNOWN
from napari_wbcseg.training.samples.compose import Composer
from napari_wbcseg.training.samples.distractors import (
    PLATELET,
    RED_CELL,
    Distractor,
    crenated,
    cut_distractors,
    lay_distractors,
    without_pallor,
)
from napari_wbcseg.training.samples.sources import make_source

SLIDE, RED, PURPLE = 1.0, 0.7, 0.3


def field() -> np.ndarray:
    """Return an empty slide with a platelet of 20 px on a red cell of 50, and a red cell alone."""
    rows, cols = np.mgrid[:160, :200]
    image = np.full((160, 200, 3), SLIDE, np.float32)
    image[np.hypot(rows - 60, cols - 60) <= 25] = RED
    image[np.hypot(rows - 60, cols - 60) <= 10] *= PURPLE
    image[np.hypot(rows - 100, cols - 150) <= 25] = RED
    return image


PLATELET_BOX = Box(50, 50, 71, 71)
RED_BOX = Box(75, 125, 126, 176)


def test_a_platelet_is_cut_out_relative_to_what_it_lies_on() -> None:
    (platelet,) = cut_distractors(field(), [], [PLATELET_BOX], white_cell=60)
    assert platelet.kind == PLATELET
    assert platelet.diameter == 21
    assert platelet.relative_size == pytest.approx(0.35)
    middle = np.array(platelet.image.shape[:2]) // 2
    np.testing.assert_allclose(platelet.image[tuple(middle)], PURPLE, rtol=0.05)
    np.testing.assert_allclose(platelet.image[0, 0], 1)


def test_what_the_border_cuts_what_overlaps_is_left_out() -> None:
    overlapping = Box(80, 140, 131, 190)
    at_border = Box(0, 30, 20, 50)
    assert cut_distractors(field(), [RED_BOX, overlapping], [at_border], 60) == []
    assert [d.kind for d in cut_distractors(field(), [RED_BOX], [PLATELET_BOX], 60)] == [RED_CELL, PLATELET]


@pytest.fixture
def stock() -> dict[str, list[Distractor]]:
    found: dict[str, list[Distractor]] = {}
    for thing in cut_distractors(field(), [RED_BOX], [PLATELET_BOX], 60):
        found.setdefault(thing.kind, []).append(thing)
    return found


def test_distractors_darken_the_slide_and_stay_under_white_cells(stock: dict[str, list[Distractor]]) -> None:
    labels = np.zeros((120, 120), np.int32)
    labels[:, :60] = 1
    darkened = 0
    for seed in range(20):
        image = np.ones((120, 120, 3), np.float32)
        classes = np.full(labels.shape, UNKNOWN, np.float32)
        lay_distractors(image, labels, classes, 48, stock, np.random.default_rng(seed))
        assert np.isnan(classes[:, :60]).all(), "what lies under white cells is not seen"
        assert image.min() > 0
        assert image.max() <= 1.1
        np.testing.assert_allclose(image[:, :50], 1, atol=1e-3)
        darkened += bool((image[:, 64:] < 0.9).any())
    assert darkened > 8


def test_what_is_laid_is_marked_in_the_class_map(stock: dict[str, list[Distractor]]) -> None:
    labels = np.zeros((160, 160), np.int32)
    seen = set()
    for seed in range(60):
        image, classes = np.ones((160, 160, 3), np.float32), np.full(labels.shape, UNKNOWN, np.float32)
        lay_distractors(image, labels, classes, 48, stock, np.random.default_rng(seed))
        dark = image.min(axis=-1) < 0.8
        assert not np.isnan(classes[dark]).mean() > 0.6, "most of what is dark is marked"
        seen |= {PLATELET} if (classes == class_map.PLATELET).any() else set()
        seen |= {"red cell"} if (classes > 0).any() else set()
        # A red cell is marked with its diameter.
        assert np.nanmax(classes, initial=0) < 60
    assert seen == {PLATELET, "red cell"}


def test_without_stock_only_what_is_drawn_is_laid() -> None:
    for seed in range(10):
        image, classes = np.ones((60, 60, 3), np.float32), np.zeros((60, 60), np.float32)
        lay_distractors(image, np.zeros((60, 60), int), classes, 20, {}, np.random.default_rng(seed))
        assert set(np.unique(classes)) == {NOTHING_ELSE}, "smudges and scale bars are nothing known"


def test_a_crenated_red_cell_is_darker_and_as_large(stock: dict[str, list[Distractor]]) -> None:
    plain = stock[RED_CELL][0]
    made = crenated(plain, 2.0, np.random.default_rng(0))
    assert made.image.mean() < plain.image.mean()
    assert made.image.shape == plain.image.shape
    assert (made.diameter, made.relative_size) == (plain.diameter, plain.relative_size)


def test_a_red_cell_without_pallor_is_as_dense_in_its_middle_as_at_its_rim() -> None:
    rows, cols = np.mgrid[:40, :40] - 19.5
    distance = np.hypot(rows, cols)
    pale = np.where(distance > 11, 1.0, np.where(distance < 6, 0.9, 0.6))
    plain = Distractor(RED_CELL, np.repeat(pale[..., None], 3, axis=2).astype(np.float32), 22.0, 0.7)
    made = without_pallor(plain, 1.0, np.random.default_rng(0)).image
    assert made[18:22, 18:22].mean() < 0.75
    assert made[0, 0].min() > 0.99, "around it nothing is absorbed"


def test_a_pair_hands_its_boxes_to_the_samples() -> None:
    pixels = (field() * 240).astype(np.uint8)
    labels = np.zeros(pixels.shape[:2], np.int32)
    rows, cols = np.mgrid[:160, :200]
    labels[np.hypot(rows - 60, cols - 60) <= 25] = 1
    source = make_source(TrainingPair("a", pixels, labels, "mine", red_cells=(RED_BOX,)), "mine", True)
    assert [thing.kind for thing in source.distractors] == [RED_CELL]
    assert list(Composer([source]).distractors) == [RED_CELL]
