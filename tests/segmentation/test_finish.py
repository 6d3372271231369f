"""What is left out of all cells of an image, and its pieces. How cells are joined, see `test_detections`."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.classification.learn import renamed
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.network.classifier import read_classifier
from napari_wbcseg.network.library import load_model
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.detections import ROW, Detections, JoinedCells, cells_of_tile
from napari_wbcseg.segmentation.finish import _left_out, finish
from napari_wbcseg.segmentation.global_estimates import GlobalEstimates
from napari_wbcseg.segmentation.measure import measure_labels
from napari_wbcseg.segmentation.scale import RedCells
from napari_wbcseg.segmentation.tile_work import Canvas, TileWork, here
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


def test_what_is_rather_an_erythroblast_may_be_small_beside_red_cells() -> None:
    told = work()
    told.classifier = read_classifier()
    names = told.classifier.header.architecture.classes
    small = cells((450.0, WHITE), (450.0, WHITE))
    sure = np.eye(len(names))[[names.index("erythroblast"), names.index("lymphocyte")]]
    assert _left_out(told, replace(small, classes=sure)).tolist() == [False, True]
    told.classifier = renamed(told.classifier, {"erythroblast": "NRBC"})
    assert _left_out(told, replace(small, classes=sure)).tolist() == [False, True]


def test_the_classic_recipe_leaves_out_nothing_here() -> None:
    assert not _left_out(work("classic"), cells((450.0, RED))).any()


@pytest.mark.parametrize("end", [63, 80])
@pytest.mark.parametrize("piece", [2048, 64])
def test_cells_touch_across_the_seam_of_two_pieces(
    monkeypatch: pytest.MonkeyPatch, piece: int, end: int
) -> None:
    """With one pixel between them, and none but these cells of their pieces on either side."""
    monkeypatch.setattr("napari_wbcseg.segmentation.finish.PIECE", piece)
    labels = np.zeros((60, 200), np.int32)
    labels[10:40, 40:end], labels[10:40, end + 1 : 110], labels[10:40, 140:170] = 1, 2, 3
    image = np.full((*labels.shape, 3), 230, np.uint8)
    drawn = [Canvas([np.zeros(labels.shape, dtype)]) for dtype in (np.int32, np.float32)]
    settings = SegmentationSettings(recipe="classic", classes=None)
    light = GlobalEstimates(value_range=255, background=(230, 230, 230))
    work = TileWork(PixelSource(image), light, load_model("classic"), settings, None, {}, *drawn)
    found = Detections(labels, (labels > 0).astype(np.float32), np.zeros((0, 4), np.int64))
    (tile,) = work.tiles
    work.kept[0] = cells_of_tile(found, np.zeros(image.shape, np.float32), tile)
    cells, _ = finish(work, here(work), silent)
    assert np.array_equal(drawn[0].arrays[0], labels)
    assert cells["touching"].tolist() == measure_labels(labels)[0]["touching"].tolist() == [True, True, False]
