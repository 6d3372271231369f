"""Platelets and red cells are cut out of boxed fields and laid under the white cells of samples."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.datasets.pair import Box, TrainingPair
from napari_wbcseg.training.samples.compose import Composer, make_source
from napari_wbcseg.training.samples.distractors import (
    PLATELET,
    RED_CELL,
    Distractor,
    cut_distractors,
    lay_distractors,
)

SLIDE, RED, PURPLE = 1.0, 0.7, 0.3


def field() -> np.ndarray:
    """Return an empty slide with a platelet of 20 px on a red cell of 50, and a red cell alone."""
    rows, cols = np.mgrid[:160, :200]
    image = np.full((160, 200, 3), SLIDE, np.float32)
    image[np.hypot(rows - 60, cols - 60) <= 25] = RED
    image[np.hypot(rows - 60, cols - 60) <= 10] *= PURPLE
    image[np.hypot(rows - 100, cols - 150) <= 25] = RED
    return image


PLATELET_BOX = Box(PLATELET, (50, 50, 71, 71))
RED_BOX = Box(RED_CELL, (75, 125, 126, 176))


def test_a_platelet_is_cut_out_relative_to_what_it_lies_on() -> None:
    (platelet,) = cut_distractors(field(), [PLATELET_BOX], white_cell=60)
    assert platelet.kind == PLATELET
    assert platelet.diameter == 21
    assert platelet.relative_size == pytest.approx(0.35)
    middle = np.array(platelet.image.shape[:2]) // 2
    np.testing.assert_allclose(platelet.image[tuple(middle)], PURPLE, rtol=0.05)
    np.testing.assert_allclose(platelet.image[0, 0], 1)


def test_what_the_border_cuts_what_overlaps_and_what_is_no_distractor_is_left_out() -> None:
    overlapping = Box(RED_CELL, (80, 140, 131, 190))
    at_border = Box(PLATELET, (0, 30, 20, 50))
    white = Box("WBC", (50, 50, 71, 71))
    assert cut_distractors(field(), [RED_BOX, overlapping, at_border, white], 60) == []
    assert [d.kind for d in cut_distractors(field(), [RED_BOX, PLATELET_BOX], 60)] == [RED_CELL, PLATELET]


@pytest.fixture
def stock() -> dict[str, list[Distractor]]:
    found: dict[str, list[Distractor]] = {}
    for thing in cut_distractors(field(), [RED_BOX, PLATELET_BOX], 60):
        found.setdefault(thing.kind, []).append(thing)
    return found


def test_distractors_darken_the_slide_and_stay_under_white_cells(stock: dict[str, list[Distractor]]) -> None:
    labels = np.zeros((120, 120), np.int32)
    labels[:, :60] = 1
    darkened = 0
    for seed in range(20):
        image = np.ones((120, 120, 3), np.float32)
        lay_distractors(image, labels, 48, stock, np.random.default_rng(seed))
        assert image.min() > 0
        assert image.max() <= 1.1
        np.testing.assert_allclose(image[:, :50], 1, atol=1e-3)
        darkened += bool((image[:, 64:] < 0.9).any())
    assert darkened > 8


def test_without_stock_nothing_is_laid() -> None:
    image = np.ones((40, 40, 3), np.float32)
    lay_distractors(image, np.zeros((40, 40), int), 20, {}, np.random.default_rng(0))
    np.testing.assert_array_equal(image, 1)


def test_a_pair_hands_its_boxes_to_the_samples() -> None:
    pixels = (field() * 240).astype(np.uint8)
    labels = np.zeros(pixels.shape[:2], np.int32)
    rows, cols = np.mgrid[:160, :200]
    labels[np.hypot(rows - 60, cols - 60) <= 25] = 1
    source = make_source(TrainingPair("a", pixels, labels, "mine", distractors=(RED_BOX,)), "mine")
    assert source is not None
    assert [thing.kind for thing in source.distractors] == [RED_CELL]
    assert list(Composer([source]).distractors) == [RED_CELL]
