"""What each pixel of a training picture shows besides white cells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.training.samples.class_map import (
    NOTHING_ELSE,
    PLATELET,
    draw_class_map,
    scale_class_map,
)

LABELS = np.zeros((100, 120), np.int32)
LABELS[40:60, 40:60] = 1
LABELS[70:90, 40:60] = 2
IMAGE = np.full((100, 120, 3), 230, np.uint8)


def drawn(**known) -> np.ndarray:
    return draw_class_map(TrainingPair("a", IMAGE, LABELS, "g", **known), LABELS)


def test_a_red_cell_is_its_diameter_and_a_platelet_a_platelet() -> None:
    classes = drawn(red_cells=(Box(10, 10, 30, 30),), platelets=(Box(10, 80, 18, 88),), all_boxed=True)
    assert classes[20, 20] == pytest.approx(20)
    assert classes[14, 84] == PLATELET
    assert classes[11, 11] == NOTHING_ELSE, "an ellipse does not fill its box"
    assert classes[50, 100] == NOTHING_ELSE


def test_without_all_boxes_the_rest_is_unknown() -> None:
    classes = drawn(platelets=(Box(10, 80, 18, 88),))
    assert classes[14, 84] == PLATELET
    assert np.isnan(classes[50, 100])


def test_a_red_cell_that_the_border_cuts_is_as_wide_as_its_longer_side() -> None:
    assert drawn(red_cells=(Box(0, 10, 8, 30),))[3, 20] == pytest.approx(20)


def test_white_cells_lie_in_front() -> None:
    classes = drawn(red_cells=(Box(35, 35, 65, 65),))
    assert classes[50, 50] == NOTHING_ELSE
    assert classes[80, 50] == NOTHING_ELSE
    assert np.isnan(classes[5, 5])


def test_sizes_scale_with_the_picture_and_classes_do_not() -> None:
    classes = np.array([[20.0, PLATELET, NOTHING_ELSE, np.nan]], np.float32)
    np.testing.assert_array_equal(scale_class_map(classes, 0.5), [[10.0, PLATELET, NOTHING_ELSE, np.nan]])
