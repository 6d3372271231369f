"""Pictures on paper or in a window are found, and no slide is taken for one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_wbcseg.images.field_of_view import field_of_view
from napari_wbcseg.synthetic.smear import synthetic_smear

SMEAR = synthetic_smear((300, 400), cell_diameter=40, white_cells=6, dark_edge=0.0, seed=3).image
WHITE, GREY, BLUE = (255, 255, 255), (240, 240, 240), (30, 60, 200)


def framed(image: np.ndarray, colour: tuple[int, int, int] = WHITE, below: int = 30) -> np.ndarray:
    """Return a picture with a margin, wider below it."""
    return cv2.copyMakeBorder(image, 30, below, 30, 30, cv2.BORDER_CONSTANT, value=colour)


def assert_shows(field: np.ndarray | None, wanted: np.ndarray) -> None:
    """Check a field up to two of the pixels that it is found with."""
    assert field is not None
    drawn = wanted.astype(np.uint8)
    assert not field[cv2.dilate(drawn, np.ones((5, 5))) == 0].any()
    assert field[cv2.erode(drawn, np.ones((9, 9)), borderValue=1) > 0].all()


@pytest.mark.parametrize("colour", [WHITE, GREY, BLUE, (0, 0, 0)])
def test_a_margin_is_no_slide(colour: tuple[int, int, int]) -> None:
    assert_shows(
        field_of_view(framed(SMEAR, colour)), framed(np.ones(SMEAR.shape[:2], np.uint8), (0, 0, 0)) > 0
    )


def test_a_caption_is_none_also_in_a_jpeg() -> None:
    image = np.vstack([SMEAR, np.full((60, 400, 3), 255, np.uint8)])
    cv2.putText(image, "Fig. 3. Smear, x 1000", (10, 340), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2)
    _, stream = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    field = field_of_view(np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR)))
    assert field is not None
    assert not field[310:].any()
    assert field[:290].all()


def test_of_several_panels_each_shows_the_slide() -> None:
    panels = np.full((640, 840, 3), 255, np.uint8)
    wanted = np.zeros(panels.shape[:2], bool)
    for top, left in ((10, 10), (10, 425), (325, 10), (325, 425)):
        panels[top : top + 300, left : left + 400] = SMEAR
        wanted[top : top + 300, left : left + 400] = True
    assert_shows(field_of_view(panels), wanted)


def test_a_window_has_a_bar_and_tools() -> None:
    image = framed(SMEAR, GREY, 120)
    image[:12] = (40, 44, 52)
    for row in (60, 100, 140):
        cv2.circle(image, (14, row), 9, (90, 110, 170), -1)
    wanted = np.zeros(image.shape[:2], bool)
    wanted[30:330, 30:430] = True
    assert_shows(field_of_view(image), wanted)


def test_a_tilted_picture_is_found() -> None:
    turn = cv2.getRotationMatrix2D((200, 150), 8, 0.8)
    image = cv2.warpAffine(SMEAR, turn, (400, 300), borderValue=WHITE)
    inside = cv2.warpAffine(np.ones((300, 400), np.uint8), turn, (400, 300)) > 0
    assert_shows(field_of_view(image), inside)


def round_field() -> tuple[np.ndarray, np.ndarray]:
    """Return a round field in a dark surround, and where it is."""
    rows, cols = np.mgrid[:300, :400]
    inside = np.hypot(rows - 150, cols - 200) < 130
    return np.where(inside[..., None], SMEAR, 8).astype(np.uint8), inside


def assert_round(field: np.ndarray | None, inside: np.ndarray) -> None:
    assert field is not None
    assert not field[~inside].any()
    assert field[inside].mean() > 0.9


def test_a_round_field_on_paper_is_round() -> None:
    picture, inside = round_field()
    assert_round(field_of_view(framed(picture)), framed(inside.astype(np.uint8), (0, 0, 0)) > 0)


def test_round_fields_are_round_also_where_they_are_tilted_or_beside_others() -> None:
    picture, inside = round_field()
    turn = cv2.getRotationMatrix2D((200, 150), 8, 0.8)
    tilted = cv2.warpAffine(picture, turn, (400, 300), borderValue=WHITE)
    assert_round(field_of_view(tilted), cv2.warpAffine(inside.astype(np.uint8), turn, (400, 300)) > 0)
    beside = np.hstack([framed(picture, below=30)] * 3)
    assert_round(
        field_of_view(beside), np.hstack([framed(inside.astype(np.uint8), (0, 0, 0), below=30) > 0] * 3)
    )


@pytest.mark.parametrize("radius", [30, 90, 140])
def test_an_empty_slide_as_bright_as_paper_stays(radius: int) -> None:
    image = np.full((300, 300, 3), 255, np.uint8)
    cv2.circle(image, (150, 150), radius, (150, 90, 170), -1)
    cv2.circle(image, (40, 40), 25, (230, 150, 160), -1)
    assert field_of_view(image) is None


def test_a_panel_as_white_as_the_paper_is_not_lost() -> None:
    """Its cells would be outside of every picture, and missing without a word."""
    page = np.full((640, 840, 3), 255, np.uint8)
    for top, left in ((10, 10), (10, 425), (325, 10)):
        page[top : top + 300, left : left + 400] = SMEAR
    page[325:625, 425:825] = np.where(SMEAR.min(axis=-1, keepdims=True) > 170, 255, SMEAR)
    assert field_of_view(page) is None


@pytest.mark.parametrize("side", [100, 200])
def test_a_small_picture_on_much_paper_is_not_all_that_is_looked_at(side: int) -> None:
    page = np.full((400, 400, 3), 255, np.uint8)
    page[30 : 30 + side, 30 : 30 + side] = SMEAR[:side, :side]
    assert (field_of_view(page) is None) == (side == 100)


def test_a_page_of_text_with_a_picture_is_no_figure() -> None:
    page = np.full((400, 400, 3), 255, np.uint8)
    page[10:210, 10:210] = SMEAR[:200, :200]
    assert field_of_view(page) is not None
    for row in range(230, 390, 4):
        page[row : row + 2, 10:390] = 0
    assert field_of_view(page) is None


def test_a_frame_of_a_pixel_is_no_paper() -> None:
    large = cv2.resize(SMEAR, None, fx=3, fy=3)
    assert field_of_view(cv2.copyMakeBorder(large, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=WHITE)) is None


def test_a_picture_of_one_colour_is_no_paper() -> None:
    assert field_of_view(np.full((90, 120, 3), 255, np.uint8)) is None
