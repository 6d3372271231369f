"""What a model takes for white cells where none is."""

from __future__ import annotations

import numpy as np

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.pair import taken_for_cells

IMAGE = np.zeros((100, 100, 3), np.uint8)
CELL, DIRT = Box(10, 10, 30, 30), Box(60, 60, 70, 72)


def everything(image: np.ndarray, diameter: float) -> np.ndarray:
    """Label the cell, its nucleus apart from its rim, and dirt."""
    labels = np.zeros(image.shape[:2], np.int32)
    for index, box in enumerate((CELL, Box(31, 12, 34, 20), DIRT), 1):
        labels[box.slices] = index
    return labels


def test_what_is_found_on_a_true_cell_or_at_its_rim_is_no_mistake() -> None:
    found = taken_for_cells(IMAGE, 40.0, everything, [CELL])
    assert set(found) == {DIRT}


def test_a_model_is_led_to_smaller_sizes_than_the_true_one() -> None:
    asked = []

    def small_ones(image: np.ndarray, diameter: float) -> np.ndarray:
        asked.append(diameter)
        return everything(image, diameter) if diameter < 20 else np.zeros(image.shape[:2], np.int32)

    assert DIRT in taken_for_cells(IMAGE, 40.0, small_ones)
    assert min(asked) >= 16
