"""The size of the cells is found by trying sizes: what is fittest wins, and red cells are none of it."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from napari_wbcseg import SegmentationSettings, segment
from napari_wbcseg.images.read import read_image
from napari_wbcseg.segmentation import choose_looks
from napari_wbcseg.segmentation.choose_looks import _Attempt, _other_sizes
from napari_wbcseg.segmentation.detections import TileCells
from napari_wbcseg.segmentation.looks import Look
from napari_wbcseg.segmentation.scale import Candidate, RedCells, ScaleEstimate

from .test_detections import tile_cells


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


def cell(top: int, left: int, side: int, look: int = 0) -> list[TileCells]:
    """Return a tile with a square cell that a look found."""
    tile = tile_cells((top, left, np.ones((side, side), bool), 0.9))
    tile.rows["look"] = look
    return [tile]


@pytest.mark.parametrize(
    ("red_cell", "candidate", "looks"),
    [
        pytest.param(50.0, Candidate(200.0, 200.0, 120.0, 0.9), [40, 120], id="four times as wide"),
        pytest.param(50.0, Candidate(200.0, 200.0, 120.0, 0.4), [40], id="not surely seen"),
        pytest.param(50.0, Candidate(20.0, 20.0, 120.0, 0.9), [40], id="found already"),
        pytest.param(50.0, Candidate(200.0, 200.0, 25.0, 0.9), [40], id="half as wide as a red cell"),
        pytest.param(None, Candidate(200.0, 200.0, 25.0, 0.9), [40, 25], id="of red cells nothing is known"),
    ],
)
def test_cells_of_quite_other_sizes_are_looked_for_where_they_were_surely_seen(
    monkeypatch: pytest.MonkeyPatch, red_cell: float | None, candidate: Candidate, looks: list[int]
) -> None:
    def look_again(levels: None, look: Look, number: int) -> list[TileCells]:
        return cell(140, 140, 120, number)

    monkeypatch.setattr(choose_looks, "_look", look_again)
    first = _Attempt(40.0, cell(0, 0, 40), 40.0, 1.0, 1.0)
    found, tiles = _other_sizes(None, first, ScaleEstimate(RedCells(red_cell), [candidate]))
    assert [round(look.diameter) for look in found] == looks
    assert len(tiles) == len(looks)
