"""The differential: a row a class with its interval, of the picture or of regions, in step with names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_wbcseg.classification.differential import differential, wilson_interval
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.plugin.writer import write_tiff

from ..conftest import dark_discs, discs
from .test_gallery import FIRST, SECOND, widget  # noqa: F401


@pytest.fixture
def panel(widget):  # noqa: F811
    """Open the differential of two neutrophils and a lymphocyte."""
    widget.show_differential()
    QApplication.processEvents()
    return widget.differential


def rows(panel):
    """Return the table as it is written: class, cells, per cent, interval; parts of a class behind it."""
    found = []
    for number in range(panel.table.topLevelItemCount()):
        item = panel.table.topLevelItem(number)
        for one in (item, *(item.child(place) for place in range(item.childCount()))):
            found.append(tuple(one.text(column) for column in range(4)))
    return found


def test_each_class_has_its_count_share_and_interval(panel):
    low, high = (100 * end for end in wilson_interval(2, 3))
    assert rows(panel)[0] == ("neutrophil", "2", "66.7", f"{low:.1f} – {high:.1f}")
    assert ("monocyte", "0", "0.0") in [row[:3] for row in rows(panel)]
    assert "band neutrophil" not in [row[0] for row in rows(panel)], "parts are told where there are some"
    assert panel.summary.text() == "3 white cells."


def test_it_follows_every_name_and_its_undo(widget, panel):  # noqa: F811
    widget.select([FIRST])
    widget.name("band neutrophil")
    assert [row[:2] for row in rows(panel)[:2]] == [("neutrophil", "2"), ("band neutrophil", "1")]
    widget.select([SECOND])
    widget.name("erythroblast")
    assert (
        panel.summary.text() == "2 white cells, and 50 erythroblasts per 100. Not among them: erythroblast 1."
    )
    widget.undo()
    widget.undo()
    assert rows(panel)[0][:2] == ("neutrophil", "2")


def test_it_says_how_many_more_cells_halve_an_interval(widget, panel):  # noqa: F811
    found = differential(widget.cells)
    assert panel.more.text() == f"{found.more_to_halve} more cells would halve the widest interval."
    item = panel.table.topLevelItem(1)
    panel.table.setCurrentItem(item)
    more = {share.name: share.more_to_halve for share in found.shares}[item.text(0)]
    assert panel.more.text() == f"{more} more cells would halve the interval of the class {item.text(0)}."


def test_the_class_that_was_chosen_stays_so_while_cells_are_named(widget, panel):  # noqa: F811
    widget.select([FIRST])
    widget.name("band neutrophil")
    panel.table.setCurrentItem(panel.table.topLevelItem(0).child(0))
    widget.select([SECOND])
    widget.name("lymphocyte")
    assert panel.table.currentItem().text(0) == "band neutrophil"
    assert panel.more.text().endswith(" of the class band neutrophil.")


def test_only_the_cells_in_the_chosen_regions_are_counted(viewer, panel):
    regions = viewer.add_shapes([np.array([[10, 10], [10, 130], [50, 130], [50, 10]])], name="regions")
    panel.regions.value = regions
    assert panel.summary.text() == "2 white cells."
    regions.add_ellipses(np.array([[90, 70], [20, 20]]))
    assert panel.summary.text() == "3 white cells."
    regions.translate = (0, 300)
    assert panel.summary.text() == "0 white cells."
    viewer.layers.remove(regions)
    assert panel.regions.value is None
    assert panel.summary.text() == "3 white cells."


def test_a_count_in_doubt_is_a_question_until_corrections_are_saved(viewer, tmp_path):
    asked, image = "Is it one? Count again.", discs()
    found = dataclasses.replace(dark_discs(image), notes=(asked,))
    cells = add_segmentation(viewer, found, viewer.add_image(image, rgb=True, name="smear")).cells
    dock, review = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")
    dock.setFloating(True)
    dock.show()
    review.show_differential()
    QApplication.processEvents()
    panel = review.differential
    assert (review.panel.count.text(), review.panel.here.text()) == ("count in doubt", asked)
    assert panel.summary.text() == "Count in doubt, see its notes."
    assert (rows(panel), panel.more.text(), panel.differential) == ([], "", None)
    assert cells.name == "? white cells of smear"
    assert viewer.canvas.overlays.text.text == "count in doubt, see its notes"
    review.select([FIRST])
    review.reject()
    assert review.panel.count.text() == "count in doubt"
    write_tiff(str(tmp_path / "smear-labels.tif"), [cells.as_layer_data_tuple()])
    assert review.panel.count.text() == viewer.canvas.overlays.text.text == "2 white cells"
    assert panel.summary.text() == "2 white cells."
    assert cells.name == "2 white cells of smear"


def test_the_table_is_copied_for_a_spreadsheet(panel):
    panel.copy()
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0].split("\t")[:4] == ["class", "part_of", "count", "percent"]
    assert lines[1].split("\t")[:4] == ["neutrophil", "", "2", "66.7"]
