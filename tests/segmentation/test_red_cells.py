"""Red cells are the ruler: their size and stain are measured where they can be."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.images.illumination import background_colour, transmittance
from napari_wbcseg.network.robust import network_input
from napari_wbcseg.segmentation.red_cells import find_red_cells, size_likelihood, width_of_others
from napari_wbcseg.synthetic.smear import synthetic_smear


def smear(diameter: float, **options) -> np.ndarray:
    image = synthetic_smear((800, 800), cell_diameter=diameter, dark_edge=0.0, seed=3, **options).image
    return network_input(transmittance(image, background_colour(image)))


@pytest.mark.parametrize("diameter", [40.0, 63.0, 90.0])
def test_red_cells_are_about_six_tenths_of_a_white_cell(diameter: float) -> None:
    red = find_red_cells(smear(diameter, white_cells=2, density=0.3))
    assert red is not None
    assert 0.5 * diameter < red.diameter < 0.75 * diameter


def test_without_red_cells_there_is_no_ruler() -> None:
    assert find_red_cells(smear(63.0, white_cells=3, density=0.0)) is None
    assert find_red_cells(np.zeros((64, 64, 3), np.float32)) is None


def test_sizes_far_from_the_usual_are_unlikely_beside_red_cells() -> None:
    assert size_likelihood(500.0, None) == 1.0
    assert size_likelihood(1.75 * 34, 34) == pytest.approx(1.0)
    assert size_likelihood(17.0, 34) < 0.05
    assert size_likelihood(200.0, 34) < 0.05


def test_a_few_round_specks_beside_much_stain_are_no_ruler() -> None:
    rows, cols = np.mgrid[:400, :400]
    image = np.zeros((400, 400, 3), np.float32)
    image[(rows > 150) & (cols > 30) & (cols < 370)] = 0.6
    for col in range(30, 400, 45):
        image[np.hypot(rows - 60, cols - col) < 8] = 0.6
    assert find_red_cells(image[44:76]) is not None, "alone they would do"
    assert find_red_cells(image) is None


def test_the_width_of_others_is_that_of_red_cells_even_in_heaps_and_at_the_border() -> None:
    rows, cols = np.mgrid[:200, :300]
    image = np.zeros((200, 300, 3), np.float32)
    for row, col in ((50, 50), (60, 85), (150, 60), (120, 296)):
        image[np.hypot(rows - row, cols - col) < 25] = 0.6
    cells = np.hypot(rows - 120, cols - 190) < 45
    image[cells] = 1.5
    width = width_of_others(image, cells.astype(np.int32))
    assert width == pytest.approx(50, rel=0.15)


def test_one_stained_thing_or_none_is_no_ruler() -> None:
    rows, cols = np.mgrid[:200, :200]
    image = np.zeros((200, 200, 3), np.float32)
    nothing = np.zeros((200, 200), np.int32)
    assert width_of_others(image, nothing) is None
    image[np.hypot(rows - 100, cols - 100) < 30] = 0.6
    assert width_of_others(image, nothing) is None
    assert width_of_others(image, (image[..., 0] > 0).astype(np.int32)) is None


def test_the_gaps_of_a_crowd_are_no_wide_cells() -> None:
    # Red cells of 40 pixels in a lattice so dense that they touch all around each gap.
    rows, cols = np.mgrid[:300, :300]
    row, col = rows % 38 - 19, cols % 38 - 19
    distance = np.hypot(row, col)
    image = np.where(((distance < 20) & (distance > 7))[..., None], np.float32(0.6), np.float32(0))
    width = width_of_others(image, np.zeros((300, 300), np.int32))
    assert width == pytest.approx(40, rel=0.2)


def test_stain_from_border_to_border_is_no_ruler() -> None:
    rows, cols = np.mgrid[:120, :120]
    image = (0.4 + 0.002 * (rows + cols))[..., None] * np.ones(3)
    image[40:80, 40:80] = 1.5
    cells = np.zeros((120, 120), np.int32)
    cells[38:82, 38:82] = 1
    assert width_of_others(image.astype(np.float32), cells) is None
    half = np.where((rows > 8)[..., None], np.float32(0.6), np.float32(0)) * np.ones(3, np.float32)
    assert width_of_others(half, np.zeros((120, 120), np.int32)) is None
