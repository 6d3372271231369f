"""What is left out of all cells of an image. How cells are joined and drawn, see `test_tile_work`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from napari_wbcseg.box import Box
from napari_wbcseg.segmentation.detections import ROW, JoinedCells
from napari_wbcseg.segmentation.finish import _left_out
from napari_wbcseg.segmentation.scale import RedCells
from napari_wbcseg.settings import SegmentationSettings

RED, WHITE = (0.4, 0.9, 0.5), (1.4, 1.7, 0.9)


def cells(*of_each: tuple[float, tuple[float, float, float]]) -> JoinedCells:
    """Return fairly sure cells in the middle of an image, given area and stain of each."""
    rows = np.zeros(len(of_each), ROW)
    rows["area"], rows["stain"] = ([one[part] for one in of_each] for part in (0, 1))
    rows["certainty"], rows["box"] = 0.85, (400, 400, 450, 450)
    return JoinedCells(rows, np.zeros((len(rows), 0)))


def work(recipe: str = "robust") -> Any:
    estimates = SimpleNamespace(red_cells=RedCells(30.0, RED))
    settings = SegmentationSettings(recipe=recipe)
    fields = [Box(0, 0, 1000, 1000)]
    return SimpleNamespace(settings=settings, estimates=estimates, classifier=None, fields=fields)


def test_red_cells_do_not_show_that_a_small_thing_beside_them_may_be_a_white_cell() -> None:
    platelet = (450.0, WHITE)  # 24 pixels across
    assert _left_out(work(), cells(*[(2000.0, WHITE)] * 4, platelet)).tolist() == [False] * 5
    assert _left_out(work(), cells(*[(2000.0, RED)] * 4, platelet)).tolist() == [True] * 5


def test_the_classic_recipe_leaves_out_nothing_here() -> None:
    assert not _left_out(work("classic"), cells((450.0, RED))).any()
