"""Outlines on the canvas: in the colour of the class, orange where to check; the user's own colours stay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, ClassList
from napari_wbcseg.plugin.shared.class_colours import colour_cells, legend
from napari_wbcseg.results.save import save

from ..conftest import dark_discs, discs
from ..review.test_layer_review import soon

BLUE, GREEN, CYAN, ORANGE = (86, 180, 233), (0, 200, 83), (0, 225, 255), (255, 150, 0)


@pytest.fixture
def layer(qapp):
    """Three cells of 40 pixels."""
    labels = np.zeros((60, 150), np.uint16)
    for number in (1, 2, 3):
        labels[10:50, 50 * number - 45 : 50 * number - 5] = number
    return Labels(labels)


def cells(*classes, check=(False, False, False)):
    return pd.DataFrame({"label": [1, 2, 3], "diameter": 40.0, "class": classes, "check": check})


def colours(layer):
    return [tuple(np.rint(255 * layer.get_color(label)[:3]).astype(int).tolist()) for label in (1, 2, 3)]


def test_each_cell_has_the_colour_of_its_class(layer):
    colour_cells(layer, cells("neutrophil", "lymphocyte", ""), BUILT_IN_CLASSES)
    assert colours(layer) == [BLUE, GREEN, CYAN]
    assert layer.contour == 2, "a rim, so that the cell is seen"
    colour_cells(layer, cells("neutrophil", "neutrophil", "", check=(True, False, False)), BUILT_IN_CLASSES)
    assert colours(layer) == [ORANGE, BLUE, CYAN]


def test_a_legend_says_what_the_colours_mean():
    told = legend(
        cells("lymphocyte", "neutrophil", "lymphocyte", check=(False, True, False)), BUILT_IN_CLASSES
    )
    parts = [("#56b4e9", "neutrophil 1"), ("#00c853", "lymphocyte 2"), ("#ff9600", "to check 1")]
    places = [told.index(f'<font color="{colour}">■</font> {words}') for colour, words in parts]
    assert places == sorted(places), "in the order of the classes"
    own = ClassList.from_list([{"name": "blast <5 %", "colour": "#123456"}])
    assert "blast &lt;5 % 3" in legend(cells(*3 * ["blast <5 %"]), own)
    told = legend(cells("neutrophil", "", ""), BUILT_IN_CLASSES)
    assert "neutrophil 1" in told
    assert '<font color="#00e1ff">■</font> no class 2' in told, "its numbers come to the count"
    assert legend(cells("", "", "", check=(True, False, False)), BUILT_IN_CLASSES) == "", (
        "no class was asked for"
    )


def test_cells_drawn_later_are_seen_and_the_background_is_not(layer):
    colour_cells(layer, cells("neutrophil", "lymphocyte", ""), BUILT_IN_CLASSES)
    assert tuple(np.rint(255 * layer.colormap.map(99)[:3])) == CYAN
    assert layer.colormap.map(0)[3] == 0


def test_what_the_user_set_stays(layer):
    own = DirectLabelColormap(color_dict={None: "red", 1: "white"})
    layer.colormap = own
    colour_cells(layer, cells("neutrophil", "lymphocyte", ""), BUILT_IN_CLASSES)
    assert layer.colormap is own
    layer = Labels(np.ones((60, 60), np.uint16))
    colour_cells(layer, cells("neutrophil", "", ""), BUILT_IN_CLASSES)
    layer.contour = 0
    colour_cells(layer, cells("lymphocyte", "", ""), BUILT_IN_CLASSES)
    assert layer.contour == 0, "filled again, by the layer controls"


def test_large_planes_are_filled_for_outlines_take_long(qapp):
    layer = Labels(np.zeros((4000, 4000), np.uint8))
    colour_cells(layer, cells("neutrophil", "lymphocyte", ""), BUILT_IN_CLASSES)
    assert (colours(layer)[0], layer.contour) == (BLUE, 0)


def test_cells_of_a_file_are_outlined_without_a_panel(viewer, tmp_path):
    found = dark_discs(discs())
    found.cells["class"], found.cells["check"] = ["lymphocyte", "neutrophil", ""], False
    save(found, tmp_path / "smear-labels.tif", image=discs())
    (cells,) = viewer.open(tmp_path / "smear-labels.tif", plugin="napari-wbcseg")
    soon(lambda: cells.contour > 0)
    assert colours(cells) == [GREEN, BLUE, CYAN]
