"""Cells cut out as the classifier sees them: at one size, with nothing around."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.classification.crops import PARAMETERS, alone, cut_out


def disc(size: int, radius: float) -> np.ndarray:
    rows, cols = np.mgrid[:size, :size]
    return (rows - size / 2 + 0.5) ** 2 + (cols - size / 2 + 0.5) ** 2 <= radius**2


@pytest.mark.parametrize("diameter", [20, 52, 130])
def test_a_typical_cell_has_one_size_whatever_the_magnification(diameter: int) -> None:
    mask = disc(diameter, diameter / 2)
    pixels = np.ones((400, 400, 3), np.float32)
    pixels[100 : 100 + diameter, 200 : 200 + diameter][mask] = 0.3
    crop, inside = cut_out(pixels, mask, (100, 200), diameter)
    assert crop.shape == (PARAMETERS.side, PARAMETERS.side, 3)
    across = 2 * np.sqrt(inside.sum() / np.pi)
    assert across == pytest.approx(PARAMETERS.diameter, rel=0.03)
    middle = [float((axis * inside).sum() / inside.sum()) for axis in np.mgrid[:80, :80]]
    assert middle == pytest.approx([39.5, 39.5], abs=1.5)
    np.testing.assert_allclose(crop[inside > 0.99], 0.3, atol=0.02)


def test_beyond_the_edge_of_the_image_the_slide_is_empty() -> None:
    pixels = np.full((60, 60, 3), 0.5, np.float32)
    crop, inside = cut_out(pixels, np.ones((10, 10), bool), (0, 50), 52.0)
    np.testing.assert_array_equal(crop[:30, :], 1)
    np.testing.assert_array_equal(crop[:, 50:], 1)
    np.testing.assert_array_equal(crop[40:70, 10:40], 0.5)
    assert inside.sum() == 100, "the cell itself is whole"


def test_what_lies_around_a_cell_does_not_matter() -> None:
    mask = disc(52, 26)
    cell = np.where(mask[..., None], (0.3, 0.2, 0.5), 1).astype(np.float32)
    seen = []
    for around in (1.0, 0.4):  # empty slide, or between red cells
        pixels = np.full((200, 200, 3), around, np.float32)
        place = pixels[70:122, 60:112]
        place[mask] = cell[mask]
        crop, inside = cut_out(pixels, mask, (70, 60), 52.0)
        seen.append(alone(crop, inside))
    far = np.zeros((80, 80), bool)
    far[:8] = far[:, :8] = True  # a few pixels are kept, for outlines that are a little narrow
    assert not seen[1][far].any()
    np.testing.assert_allclose(seen[1][30:50, 30:50], seen[0][30:50, 30:50], atol=1e-6)


def test_cells_of_any_stain_are_brought_to_one() -> None:
    """Half the cell is dark, half pale; in pink or blue, strong or faint, it looks the same."""
    inside = disc(PARAMETERS.side, 26).astype(np.float32)
    dark = inside * (np.arange(PARAMETERS.side) < 40)
    seen = []
    for pale, deep in (((0.1, 0.3, 0.1), (0.5, 1.5, 0.5)), ((0.4, 0.4, 0.2), (1.2, 2.0, 0.8))):
        density = inside[..., None] * pale + dark[..., None] * (np.array(deep) - pale)
        seen.append(alone(np.exp(-density).astype(np.float32), inside))
    np.testing.assert_allclose(seen[1][inside > 0], seen[0][inside > 0], atol=0.1)
    density = -np.log(1 - seen[0][disc(PARAMETERS.side, 20)] / 2)
    np.testing.assert_allclose(density.mean(axis=0), PARAMETERS.density, atol=0.1)


def test_a_stain_may_be_left_as_it_is() -> None:
    inside = disc(PARAMETERS.side, 26).astype(np.float32)
    crop = np.where(inside[..., None] > 0, (0.3, 0.2, 0.5), 1).astype(np.float32)
    middle = alone(crop, inside, one_stain=False)[30:50, 30:50]
    np.testing.assert_allclose(middle - 2 * (1 - np.array((0.3, 0.2, 0.5))), 0, atol=0.01)


def test_a_cell_larger_than_the_crop_is_cut_to_its_middle() -> None:
    pixels = np.full((300, 300, 3), 0.4, np.float32)
    crop, inside = cut_out(pixels, np.ones((200, 200), bool), (50, 50), 52.0)
    assert (inside == 1).all()
    np.testing.assert_allclose(crop, 0.4, atol=1e-6)
