"""Cells cut out as the classifier sees them: at one size, with nothing around."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.classification.crops import PARAMETERS, alone, cut_out

SIDE, DIAMETER = PARAMETERS.side, round(PARAMETERS.diameter)
MIDDLE = (slice(SIDE // 2 - 10, SIDE // 2 + 10),) * 2


def disc(size: int, radius: float) -> np.ndarray:
    rows, cols = np.mgrid[:size, :size]
    return (rows - size / 2 + 0.5) ** 2 + (cols - size / 2 + 0.5) ** 2 <= radius**2


@pytest.mark.parametrize("diameter", [20, DIAMETER, 130])
def test_a_typical_cell_has_one_size_whatever_the_magnification(diameter: int) -> None:
    mask = disc(diameter, diameter / 2)
    pixels = np.ones((400, 400, 3), np.float32)
    pixels[100 : 100 + diameter, 200 : 200 + diameter][mask] = 0.3
    crop, inside = cut_out(pixels, mask, (100, 200), diameter)
    assert crop.shape == (SIDE, SIDE, 3)
    across = 2 * np.sqrt(inside.sum() / np.pi)
    assert across == pytest.approx(DIAMETER, rel=0.03)
    middle = [float((axis * inside).sum() / inside.sum()) for axis in np.mgrid[:SIDE, :SIDE]]
    assert middle == pytest.approx([(SIDE - 1) / 2] * 2, abs=2)
    np.testing.assert_allclose(crop[inside > 0.99], 0.3, atol=0.02)


def test_beyond_the_edge_of_the_image_the_slide_is_empty() -> None:
    pixels = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    crop, inside = cut_out(pixels, np.ones((10, 10), bool), (0, SIDE - 10), DIAMETER)
    middle = SIDE // 2
    np.testing.assert_array_equal(crop[: middle - 10], 1)
    np.testing.assert_array_equal(crop[:, middle + 10 :], 1)
    np.testing.assert_array_equal(crop[middle:-10, 10:middle], 0.5)
    assert inside.sum() == 100, "the cell itself is whole"


def test_what_lies_around_a_cell_does_not_matter() -> None:
    mask = disc(DIAMETER, DIAMETER / 2)
    cell = np.where(mask[..., None], (0.3, 0.2, 0.5), 1).astype(np.float32)
    seen = []
    for around in (1.0, 0.4):  # empty slide, or between red cells
        pixels = np.full((200, 200, 3), around, np.float32)
        place = pixels[70 : 70 + DIAMETER, 60 : 60 + DIAMETER]
        place[mask] = cell[mask]
        crop, inside = cut_out(pixels, mask, (70, 60), DIAMETER)
        seen.append(alone(crop, inside))
    far = np.zeros((SIDE, SIDE), bool)
    far[:5] = far[:, :5] = True  # a few pixels are kept, for outlines that are a little narrow
    assert not seen[1][far].any()
    np.testing.assert_allclose(seen[1][MIDDLE], seen[0][MIDDLE], atol=1e-6)


def test_a_narrow_outline_loses_no_rim_of_the_cell() -> None:
    cell, inside = disc(SIDE, DIAMETER / 2), disc(SIDE, DIAMETER / 2 - 2).astype(np.float32)
    crop = np.where(cell[..., None], (0.3, 0.2, 0.5), 1).astype(np.float32)
    seen = alone(crop, inside, one_stain=False)
    rim = cell & (inside == 0)
    assert (seen[rim] > 0.7 * seen[SIDE // 2, SIDE // 2]).all()


def test_glints_in_a_cell_are_as_the_empty_slide() -> None:
    inside = disc(SIDE, DIAMETER / 2).astype(np.float32)
    crop = np.where(inside[..., None] > 0, (0.3, 0.2, 0.5), 1).astype(np.float32)
    crop[SIDE // 2, SIDE // 2] = 1.25
    assert alone(crop, inside, one_stain=False)[SIDE // 2, SIDE // 2].tolist() == [0, 0, 0]


def test_what_is_finer_than_the_crop_becomes_its_mean() -> None:
    pixels = np.full((400, 400, 3), 0.2, np.float32)
    pixels[:, ::3] = 0.8  # a third of the columns
    crop, _ = cut_out(pixels, disc(300, 150), (50, 50), 3 * DIAMETER)
    np.testing.assert_allclose(crop, 0.4, atol=0.01)


def test_cells_of_any_stain_are_brought_to_one() -> None:
    """Half the cell is dark, half pale; in pink or blue, strong or faint, it looks the same."""
    inside = disc(SIDE, DIAMETER / 2).astype(np.float32)
    dark = inside * (np.arange(SIDE) < SIDE / 2)
    seen = []
    for pale, deep in (((0.1, 0.3, 0.1), (0.5, 1.5, 0.5)), ((0.4, 0.4, 0.2), (1.2, 2.0, 0.8))):
        density = inside[..., None] * pale + dark[..., None] * (np.array(deep) - pale)
        seen.append(alone(np.exp(-density).astype(np.float32), inside))
    np.testing.assert_allclose(seen[1][inside > 0], seen[0][inside > 0], atol=0.1)
    density = -np.log(1 - seen[0][disc(SIDE, DIAMETER / 2 - 8)] / 2)
    np.testing.assert_allclose(density.mean(axis=0), PARAMETERS.density, atol=0.1)


def test_a_stain_may_be_left_as_it_is() -> None:
    inside = disc(SIDE, DIAMETER / 2).astype(np.float32)
    crop = np.where(inside[..., None] > 0, (0.3, 0.2, 0.5), 1).astype(np.float32)
    middle = alone(crop, inside, one_stain=False)[MIDDLE]
    np.testing.assert_allclose(middle - 2 * (1 - np.array((0.3, 0.2, 0.5))), 0, atol=0.01)


def test_a_cell_larger_than_the_crop_is_cut_to_its_middle() -> None:
    pixels = np.full((300, 300, 3), 0.4, np.float32)
    crop, inside = cut_out(pixels, np.ones((200, 200), bool), (50, 50), DIAMETER)
    assert (inside == 1).all()
    np.testing.assert_allclose(crop, 0.4, atol=1e-6)
