"""The size of the cells is found by trying sizes: what is fittest wins, and red cells are none of it."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from napari_wbcseg import SegmentationSettings, segment
from napari_wbcseg.images.read import read_image


def picture(folder: str, name: str) -> np.ndarray:
    """Return a picture of the real data."""
    data = os.environ.get("WBCSEG_DATA")
    path = Path(data or "") / folder / name
    if data is None or not path.is_file():
        pytest.skip(f"the pictures of {folder} are not here: set WBCSEG_DATA to the folder that holds them")
    return np.asarray(read_image(path))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("train-54", (220, 222)),
        ("train-199", (206, 231)),
        ("train-460", (136, 221)),
        ("train-647", (187, 239)),
    ],
)
def test_dense_red_cells_hide_no_white_cell_and_are_not_counted(name: str, place: tuple[int, int]) -> None:
    """They were counted by the dozen, and the one white cell of two of these pictures was not.

    The smears of a pig by a telephone: crowded, dense red cells and one white cell, a little darker.
    """
    found = segment(picture("pig/images", f"{name}.jpg"), settings=SegmentationSettings(classes=None))
    assert found.count <= 2
    away = np.hypot(found.cells["row"] - place[0], found.cells["col"] - place[1])
    assert away.min() < 6, "pixels"


def sharpened(image: np.ndarray) -> np.ndarray:
    """Return a picture as a telephone gives it: what is bright burnt out, all edges steep."""
    light = np.clip(1.25 * (image / np.percentile(image, 95, axis=(0, 1))) ** 1.5, 0, 1)
    light += 0.8 * (light - cv2.GaussianBlur(light, (0, 0), 1.5))
    return np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        pytest.param("sampleA0035.JPG", False, id="red cells, of which one passed for a pale white one"),
        pytest.param("7.jpg", True, id="red cells that pass for white ones where these are smaller"),
    ],
)
def test_red_cells_alone_are_no_white_cells(name: str, changed: bool) -> None:
    """Ten and more were counted."""
    image = picture("chula/images", name)
    found = segment(sharpened(image) if changed else image, settings=SegmentationSettings(classes=None))
    assert found.count == 0


def test_a_group_that_passes_for_one_cell_hides_no_small_ones() -> None:
    """It settled the scale, was nothing close to, and blasts of 18 pixels were looked for no more."""
    image = picture("hard/leukaemia", "WBC-Malignant-Pre-735.jpg")
    small = cv2.resize(image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    found = segment(small, settings=SegmentationSettings(classes=None))
    assert found.count >= 20
