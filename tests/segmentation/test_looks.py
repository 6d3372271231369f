"""The size of the cells is found by trying sizes: what is fittest wins, and red cells are none of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg import SegmentationSettings, segment
from napari_wbcseg.images.read import read_image


def of_a_phone(name: str) -> np.ndarray:
    """Return a field of the pig smears: crowded, dense red cells and one white cell, a little darker."""
    data = os.environ.get("WBCSEG_DATA")
    path = Path(data or "") / "pig" / "images" / f"{name}.jpg"
    if data is None or not path.is_file():
        pytest.skip("the smears of a pig are not here: set WBCSEG_DATA to the folder that holds them")
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
    """They were counted by the dozen, and the one white cell of two of these pictures was not."""
    found = segment(of_a_phone(name), settings=SegmentationSettings(classes=None))
    assert found.count <= 2
    away = np.hypot(found.cells["row"] - place[0], found.cells["col"] - place[1])
    assert away.min() < 6, "pixels"
