"""Where a picture shows the slide: round fields, cut corners, and no white cell taken for the dark."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.images.field_of_view import FieldOfView, field_of_view
from napari_wbcseg.images.illumination import normalised
from napari_wbcseg.synthetic.smear import synthetic_smear

SMEAR = synthetic_smear((300, 400), cell_diameter=40, white_cells=6, dark_edge=0.0, seed=3)
ROWS, COLS = np.mgrid[:300, :400]


def surrounded(inside: np.ndarray, dark: float = 8.0) -> np.ndarray:
    """Return the smear with what lies outside as dark as an eyepiece's surround."""
    return np.where(inside[..., None], SMEAR.image, dark).astype(np.uint8)


def test_the_round_field_of_an_eyepiece_is_found() -> None:
    inside = np.hypot(ROWS - 150, COLS - 200) < 140
    field = field_of_view(surrounded(inside))
    assert field is not None
    assert not field[~inside].any()
    assert field[inside].mean() > 0.93


@pytest.mark.parametrize("middle", [(0, 0), (420, -60), (-80, 450)])
def test_a_dark_corner_is_no_slide(middle: tuple[int, int]) -> None:
    inside = np.hypot(ROWS - middle[0], COLS - middle[1]) > 170
    field = field_of_view(surrounded(inside))
    assert field is not None
    assert not field[~inside].any()
    assert field[inside].mean() > 0.93


def test_black_padding_along_a_side_is_no_slide() -> None:
    field = field_of_view(surrounded(COLS < 330, dark=0.0))
    assert field is not None
    assert field[:, :320].all()
    assert not field[:, 330:].any()


@pytest.mark.parametrize("stain", ["giemsa", "dark", "pale"])
def test_a_picture_without_a_surround_shows_the_slide_everywhere(stain: str) -> None:
    smear = synthetic_smear((240, 240), cell_diameter=80, white_cells=3, stain=stain, dark_edge=0.0, seed=5)
    assert field_of_view(smear.image) is None


def test_a_dark_nucleus_cut_by_the_border_stays() -> None:
    image = np.full((200, 200, 3), 235, np.uint8)
    image[np.hypot(ROWS[:200, :200] - 5, COLS[:200, :200] - 100) < 30] = (60, 30, 110)
    assert field_of_view(image) is None


@pytest.mark.parametrize(
    "dark",
    [
        pytest.param(np.hypot(ROWS - 5, COLS - 100) < 18, id="a black nucleus that a side cuts"),
        pytest.param((ROWS < 4) & (COLS < 60), id="a line in a corner"),
        pytest.param(np.hypot(ROWS, COLS) > 135, id="all but a corner"),
    ],
)
def test_what_is_dark_at_the_border_is_no_surround_unless_it_is_as_large(dark: np.ndarray) -> None:
    assert field_of_view(surrounded(~dark)) is None


def test_the_penumbra_of_a_surround_is_no_slide() -> None:
    away = np.hypot(ROWS - 150, COLS - 200)
    shade = np.where(away < 134, 1.0, np.where(away < 140, 0.35, 0.03))
    field = field_of_view((SMEAR.image * shade[..., None]).astype(np.uint8))
    assert field is not None
    assert not field[away > 135].any()


def test_glare_in_a_surround_is_no_slide() -> None:
    inside = np.hypot(ROWS - 150, COLS - 200) < 140
    glare = np.hypot(ROWS - 25, COLS - 25) < 12
    field = field_of_view(surrounded(inside | glare))
    assert field is not None
    assert not field[glare].any()
    assert field[150, 200]


def test_a_black_picture_is_not_all_surround() -> None:
    assert field_of_view(np.zeros((50, 60, 3), np.uint8)) is None


def test_of_a_tiny_picture_on_paper_something_is_left() -> None:
    image = np.full((33, 21, 3), 255, np.uint8)
    image[:, 8:12] = np.random.default_rng(0).integers(0, 250, (33, 4, 3))
    assert field_of_view(image) is None


def test_outside_the_field_there_is_empty_slide() -> None:
    inside = np.hypot(ROWS - 150, COLS - 200) < 140
    image = normalised(surrounded(inside))
    np.testing.assert_array_equal(image[~inside], 1)
    whole = normalised(SMEAR.image)
    np.testing.assert_allclose(np.median(image[inside], 0), np.median(whole[inside], 0), atol=0.03)


def test_the_light_is_that_of_the_slide_and_not_of_the_paper_around_it() -> None:
    dim = (0.7 * SMEAR.image).astype(np.uint8)
    page = np.pad(dim, ((150, 150), (200, 200), (0, 0)), constant_values=255)
    found, alone = normalised(page)[150:450, 200:600], normalised(dim)
    np.testing.assert_allclose(np.median(found, (0, 1)), np.median(alone, (0, 1)), atol=0.02)


def test_the_field_of_an_eyepiece_is_known_by_its_corners() -> None:
    rows, cols = np.mgrid[:60, :80]
    disc = np.hypot(rows - 30, cols - 40) < 25
    assert FieldOfView.of(disc, step=4).round_width == pytest.approx(200, abs=8)
    assert FieldOfView.of(disc & (cols < 50), step=4).round_width == pytest.approx(200, abs=8), (
        "cut by a side"
    )
    assert FieldOfView.of(rows + cols > 20, step=4).round_width is None, "one corner is dark"
    assert FieldOfView.of(cols > 20, step=4).round_width is None


def test_parts_that_are_no_pictures_are_segmented_together() -> None:
    panels = np.zeros((60, 80), bool)
    panels[5:25, 5:35] = panels[30:55, 40:70] = True
    assert FieldOfView.of(panels, step=4).boxes((237, 320)) == [(20, 20, 100, 140), (120, 160, 220, 280)]
    disc = np.hypot(*(np.mgrid[:60, :80] - np.array((42, 20))[:, None, None])) < 12
    assert FieldOfView.of(panels | disc, step=4).boxes((237, 320)) == [(20, 20, 220, 280)]
