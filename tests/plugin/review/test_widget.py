"""The Review widget: rows and cells both ways, filter, keys, decisions, the drawn cut, units."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_wbcseg.errors import EditError, SettingsError
from napari_wbcseg.plugin.review.table import CellTableModel
from napari_wbcseg.plugin.shared.columns import COLUMNS
from napari_wbcseg.plugin.shared.jobs import Job
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.plugin.shared.pictures import source_image

from ..conftest import dark_discs, discs
from .test_layer_review import CENTRES, soon, three_cells


@pytest.fixture
def open_review():
    """Dock the widget as a user does."""

    def dock(viewer):
        return viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")[1]

    return dock


@pytest.fixture
def widget(viewer, open_review):
    """Review three cells; the second and the third are to check."""
    viewer.add_image(discs(centres=CENTRES), rgb=True, name="smear")
    viewer.add_labels(three_cells(), name="mine", features={"check": [False, False, True, True]})
    return open_review(viewer)


def rows(widget):
    """Return the table as it is written."""
    model = widget.panel.model
    names = [column.name for column in COLUMNS]
    return [
        {name: model.data(model.index(row, place)) for place, name in enumerate(names)}
        for row in range(model.rowCount())
    ]


def columns(widget):
    """Return the columns that are seen."""
    hidden = widget.panel.table.isColumnHidden
    return [column.name for place, column in enumerate(COLUMNS) if not hidden(place)]


def sort_by(widget, name):
    """Click on the title of a column until the largest values are at the top."""
    place = [column.name for column in COLUMNS].index(name)
    widget.panel.table.sortByColumn(place, Qt.SortOrder.DescendingOrder)


def click(viewer, layer, row, col, *modifiers):
    """Press and let go on a pixel, as napari passes it to callbacks."""
    from types import SimpleNamespace

    event = SimpleNamespace(
        button=1,
        type="mouse_press",
        pos=(10, 10),
        position=tuple(layer.data_to_world((row, col))),
        view_direction=None,
        dims_displayed=[0, 1],
        modifiers=modifiers,
    )
    started = [callback(viewer, event) for callback in viewer.mouse_drag_callbacks[-1:]]
    event.type = "mouse_release"
    for generator in started:
        list(generator)


def test_rows_and_cells_are_selected_both_ways(viewer, widget, qtbot):
    layer = widget.labels
    assert [row["label"] for row in rows(widget)] == ["1", "2", "3"]
    table = widget.panel.table
    second = table.visualRect(table.model().index(1, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=second)
    assert (widget.selected, layer.selected_label) == ([(0, 2)], 2)
    assert np.allclose(viewer.scene.camera.center[-2:], (30, 110), atol=1)
    assert viewer.layers.selection.active is layer
    assert "selected cells" in viewer.layers

    click(viewer, layer, 90, 70)
    assert (widget.selected, layer.selected_label) == ([(0, 3)], 3)
    click(viewer, layer, 30, 30, "Shift")
    assert widget.selected == [(0, 3), (0, 1)]
    click(viewer, layer, 90, 70, "Shift")
    assert widget.selected == [(0, 1)]
    click(viewer, layer, 5, 5)
    assert widget.selected == []
    assert viewer.layers["selected cells"].nshapes == 0

    layer.mode = "pick"
    layer.selected_label = 2  # as napari's picker does
    assert widget.selected == [(0, 2)]
    layer.mode = "paint"
    click(viewer, layer, 90, 70)
    assert widget.selected == [(0, 2)], "the brush is left alone"


def test_an_image_that_was_opened_after_the_cells_can_be_clicked_too(viewer, open_review):
    layer = viewer.add_labels(three_cells(), name="mine")
    widget = open_review(viewer)
    image = viewer.add_image(discs(centres=CENTRES), rgb=True, name="smear")
    assert (viewer.layers.selection.active, widget.image) == (image, image)
    click(viewer, layer, 90, 70)
    assert widget.selected == [(0, 3)]


def test_frames_follow_an_edit_and_leave_the_active_layer_to_the_user(viewer, widget, qtbot):
    widget.select([(0, 2)])
    soon(lambda: not widget._draw_later.isActive())
    before = viewer.layers["selected cells"].data[0]
    viewer.layers.selection.active = viewer.layers["smear"]
    widget.labels.data[30, 122:126] = 2
    widget.labels.refresh()
    soon(lambda: not np.array_equal(viewer.layers["selected cells"].data[0], before))
    assert viewer.layers.selection.active is viewer.layers["smear"]


def test_whoever_goes_through_the_cells_to_check_is_led_on(viewer, widget):
    assert widget.panel.count.text() == "3 white cells, 2 to check"
    assert [row["status"] for row in rows(widget)] == ["", "check: unsure", "check: unsure"]
    keys = {str(key): call for key, call in widget.labels.keymap.items()}
    keys["N"](widget.labels)
    assert widget.selected == [(0, 2)]
    keys["A"](widget.labels)
    assert widget.selected == [(0, 3)]
    keys["R"](widget.labels)
    assert widget.panel.count.text() == "2 white cells"
    assert [row["status"] for row in rows(widget)] == ["", "✓ accepted"]
    keys["N"](widget.labels)
    assert widget.message.text() == "No cell is left to check."
    widget.panel.buttons["undo"].click()
    assert widget.review.count == 3


def test_filter_sort_and_histogram(viewer, widget):
    widget.labels.fill((30, 110), 0)
    widget.labels.brush_size = 30
    widget.labels.paint((30, 110), 2)
    soon(lambda: widget.review.cells["area"].iloc[1] > 600)
    sort_by(widget, "area")
    assert widget.shown[0] == (0, 2)
    widget.show_only(condition="area < 600")
    assert widget.shown == [(0, 1), (0, 3)]
    assert widget.panel.here.text() == "2 of 3 shown in the table."
    widget.show_only("To check")
    assert widget.shown == [(0, 2), (0, 3)]
    for wrong in ({"condition": "area <"}, {"condition": "area"}, {"shown": "Nonsense"}):
        with pytest.raises(SettingsError):
            widget.show_only(**{"shown": "To check", **wrong})
    widget.panel.condition.setText("aera > 3")
    widget.panel.condition.editingFinished.emit()
    assert "cannot be read: there is no column aera." in widget.message.text()
    assert widget.shown == [(0, 2), (0, 3)]
    widget.show_only()
    widget.select([(0, 2)])
    widget.name("monocyte")
    assert "class" in columns(widget)
    for class_word in ("class", "`class`"):  # a word of Python too
        widget.show_only(condition=f"{class_word} == 'monocyte'")
        assert widget.shown == [(0, 2)]
    widget.undo()
    widget.show_only()
    widget.show_histogram("area")
    soon(lambda: sum(patch.get_height() for patch in widget.panel.histogram._axes.patches) == 3)


def test_the_arrow_stays_with_its_column_when_others_come_and_go(viewer, widget):
    sort_by(widget, "area")
    assert "mean_stain" in columns(widget)
    assert "certainty" not in columns(widget)
    header = widget.panel.table.horizontalHeader()
    assert COLUMNS[header.sortIndicatorSection()].name == "area"
    widget.labels.features = {"certainty": [0.0, 0.9, 0.9, 0.9]}  # a column in front of it
    soon(lambda: "certainty" in columns(widget))
    assert COLUMNS[header.sortIndicatorSection()].name == "area"


def test_a_line_drawn_over_a_cell_splits_it(viewer, widget):
    widget.select([(0, 1)])
    layers = list(viewer.layers)
    widget.panel.buttons["split"].click()
    tool = viewer.layers.selection.active
    assert tool.mode == "add_path"
    # What napari's path tool does when the mouse is let go.
    tool.add([np.array([[20.0, 110.0], [30.0, 110.0], [42.0, 111.0]])], shape_type="path")
    soon(lambda: tool not in viewer.layers)
    assert widget.review.count == 4
    assert widget.selected == [(0, 2), (0, 4)]
    assert viewer.layers.selection.active is widget.labels
    widget.merge()
    assert widget.review.count == 3
    assert list(viewer.layers) == layers

    widget.panel.buttons["split"].click()
    widget.panel.buttons["split"].click()
    assert list(viewer.layers) == layers, "pressed again it stops"


def test_what_cannot_be_done_is_said_by_button_and_raised_by_call(viewer, widget, qtbot):
    with qtbot.waitSignal(widget.failed):
        widget.panel.buttons["merge"].click()
    assert "Select two cells" in widget.message.text()
    with pytest.raises(EditError, match="Select a cell to split"):
        widget.split()
    with pytest.raises(EditError, match="crosses no cell"):
        widget.split(np.array([(100.0, 0.0), (110.0, 9.0)]))
    with pytest.raises(EditError, match="no cell 9"):
        widget.select([(0, 9)])


def test_lengths_are_in_micrometres_where_the_layer_has_units(viewer, open_review):
    place = {"scale": (0.2, 0.2), "units": ("micrometer", "micrometer"), "translate": (50, 70)}
    viewer.add_image(discs(centres=CENTRES), rgb=True, **place)
    viewer.add_labels(three_cells(), **place)
    widget = open_review(viewer)
    assert widget.cells["area"].iloc[0] == pytest.approx(0.04 * widget.review.cells["area"].iloc[0])
    model = widget.panel.model
    headers = [model.headerData(place, model_orientation()) for place in range(model.columnCount())]
    assert {"area\nµm²", "diameter\nµm"} <= set(headers)
    widget.select([(0, 3)])
    assert np.allclose(viewer.scene.camera.center[-2:], (50 + 90 * 0.2, 70 + 70 * 0.2), atol=0.3)


def model_orientation():

    return Qt.Orientation.Horizontal


def test_cells_find_their_image_again_where_both_are_cropped(viewer, open_review, qtbot):
    """The choice of the image was empty then, and no stain was measured."""
    smear = viewer.add_image(discs(centres=CENTRES), rgb=True, name="smear")
    cells = add_segmentation(viewer, dark_discs(smear.data), smear).cells
    widget = open_review(viewer)
    cells.data = np.ascontiguousarray(cells.data[:70])
    qtbot.waitUntil(lambda: widget.image is None)
    smear.data = np.ascontiguousarray(smear.data[:70])
    qtbot.waitUntil(lambda: widget.image is smear)
    widget.review.update_now()
    assert widget.cells["mean_stain"].notna().all()


def test_a_mask_above_the_smear_is_not_what_the_stain_is_measured_on(viewer, open_review):
    smear = viewer.add_image(discs(centres=CENTRES), rgb=True, name="smear")
    cells = viewer.add_labels(dark_discs(smear.data).labels)
    viewer.add_image(cells.data > 0, name="mask")
    viewer.layers.selection.active = cells
    widget = open_review(viewer)
    assert source_image(viewer, cells) is widget.image is smear
    assert widget.cells["mean_stain"].notna().all()


def test_a_stack_goes_to_the_plane_of_the_cell_and_counts_the_plane_shown(viewer, open_review):
    stack = np.stack([three_cells(), np.where(three_cells() == 2, 5, 0)])
    viewer.add_labels(stack)
    widget = open_review(viewer)
    widget.select([(1, 5)])
    assert viewer.dims.current_step[0] == 1
    assert widget.panel.count.text() == "4 white cells"
    assert widget.panel.here.text() == "On this plane (1): 1 white cell."
    widget.show_only(this_plane=True)
    assert widget.shown == [(1, 5)]
    viewer.dims.set_current_step(0, 0)
    assert len(widget.shown) == 3


def test_the_table_follows_the_size_of_a_pixel(widget):
    area = float(rows(widget)[0]["area"])
    widget.labels.units, widget.labels.scale = ("µm", "µm"), (0.5, 0.5)
    assert float(rows(widget)[0]["area"]) == pytest.approx(area / 4, abs=0.1)


def test_layers_may_be_renamed_removed_and_exchanged(viewer, widget):
    first = widget.labels
    other = viewer.add_labels(np.where(three_cells() == 1, 4, 0), name="other")
    assert widget.labels is other
    assert widget.panel.count.text() == "1 white cell"
    assert "N" not in {str(key) for key in first.keymap}
    other.name = "renamed"
    assert widget.panel.layers.labels.current_choice == "renamed"
    widget.select([(0, 4)])
    viewer.layers.remove(other)
    assert widget.labels is first
    soon(lambda: [layer.name for layer in viewer.layers] == ["smear", "mine"])
    viewer.layers.remove(first)
    assert widget.review is None
    assert rows(widget) == []
    assert not any(button.isEnabled() for button in widget.panel.buttons.values())
    with pytest.raises(EditError, match="Segment white blood cells"):
        widget.accept()


def test_what_is_selected_in_a_layer_is_not_in_the_next(viewer, widget):
    """A cell of the same number was, and went with the key that rejects."""
    widget.select([(0, 2)])
    viewer.add_labels(three_cells(), name="others")
    assert widget.labels.name == "others"
    assert widget.selected == []


def test_two_viewers_keep_to_themselves_and_closing_leaves_nothing(make_napari_viewer, open_review, qtbot):
    widgets = []
    for _ in range(2):
        viewer = make_napari_viewer()
        viewer.add_labels(three_cells())
        widgets.append((viewer, open_review(viewer)))
    (one, first), (_, second) = widgets
    first.select([(0, 1)])
    first.reject()
    assert (first.review.count, second.review.count) == (2, 3)
    layer = first.labels
    callbacks = len(one.mouse_drag_callbacks)
    one.window.remove_dock_widget(first)
    assert len(one.mouse_drag_callbacks) == callbacks - 1
    assert [each.name for each in one.layers] == [layer.name]
    layer.fill((30, 110), 0)
    layer.undo()
    gc.collect()
    qtbot.wait(50)
    assert second.review.count == 3
    qtbot.waitUntil(lambda: not Job._running, timeout=20_000)  # what was rejected is written down


def test_ten_thousand_rows_are_sorted_filtered_and_changed(qapp):
    from napari_wbcseg.segmentation.tracking import TrackedCells

    labels = np.kron(np.arange(1, 10_001, dtype=np.int32).reshape(100, 100), np.ones((3, 3), np.int32))
    table = TrackedCells(labels).table.reset_index(drop=True).assign(flag="", decision="")
    model = CellTableModel(lambda label: None)
    model.set_table(table, "px")
    model.sort(0)
    model.set_conditions(["area > 1", "not touching or label > 5"])
    model.set_table(table.assign(area=table["area"] + 1), "px")
    assert model.rowCount() == 9995


def test_the_table_stands_until_it_says_that_it_is_reset(widget):
    model, seen = widget.panel.model, []
    before = model.shown, model.columnCount(), model.data(model.index(0, 0))
    model.modelAboutToBeReset.connect(
        lambda: seen.append((model.shown, model.columnCount(), model.data(model.index(0, 0))))
    )
    one = widget.review.cells.iloc[:1]
    model.set_table(one, "px")
    assert seen == [before]
    now = model.shown, model.columnCount(), model.data(model.index(0, 0))
    model.set_table(None, "px")
    assert seen == [before, now]


@pytest.mark.parametrize("way", ["selected", "clear"])
def test_all_layers_can_go_while_cells_are_reviewed(viewer, widget, way):
    widget.select([(0, 1)])
    assert "selected cells" in viewer.layers
    if way == "selected":
        viewer.layers.select_all()
        viewer.layers.remove_selected()
    else:
        viewer.layers.clear()
    soon(lambda: not viewer.layers)
    assert widget.review is None


def test_a_script_may_end_while_cells_are_reviewed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import napari, numpy as np\n"
        "viewer = napari.Viewer(show=False)\n"
        "viewer.add_labels(np.pad(np.ones((9, 9), np.uint8), 5))\n"
        "dock = viewer.window.add_plugin_dock_widget('napari-wbcseg', 'Review white blood cells')\n"
        "dock[1].select([(0, 1)])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


@pytest.mark.parametrize("active", ["mine", "stack"])
def test_a_cell_is_selected_in_3d_though_the_mouse_has_not_moved_since(viewer, open_review, active):
    """The status bar of napari raised on labels that became active then, and the frames were left active."""
    viewer.add_image(np.stack([discs(centres=CENTRES)] * 3), rgb=True, name="stack")
    viewer.add_labels(np.stack([three_cells()] * 3), name="mine")
    widget = open_review(viewer)
    viewer.layers.selection.active = viewer.layers[active]
    viewer.dims.ndisplay, viewer.mouse_over_canvas = 3, True  # by a key
    widget.select([(0, 2)])
    assert viewer.layers.selection.active is viewer.layers[active]
    assert viewer.layers["selected cells"].nshapes == 1
    assert widget.panel.table.selectionModel().selectedRows()


def test_a_line_of_which_no_plane_is_known_cuts_nothing(viewer, open_review):
    """It was taken for one on the first plane, whichever cell was selected."""
    layer = viewer.add_labels(np.stack([three_cells()] * 2))
    widget = open_review(viewer)
    widget.select([(1, 2)])
    viewer.dims.ndisplay = 3
    with pytest.raises(EditError, match="one plane"):
        widget.split(np.array([[10.0, 110.0], [50.0, 110.0]]))
    assert layer.data.max() == 3


def test_cells_of_a_single_picture_are_framed_in_3d(viewer, open_review):
    viewer.add_image(discs(centres=CENTRES), rgb=True)
    viewer.add_labels(three_cells(), name="mine")
    widget = open_review(viewer)
    widget.select([(0, 1)])
    viewer.dims.ndisplay = 3
    widget.select([(0, 2)])
    assert viewer.layers["selected cells"].nshapes == 1


def test_a_single_picture_is_not_asked_for_the_plane_that_a_stack_before_it_was(viewer, open_review):
    viewer.add_labels(three_cells(), name="single")
    viewer.add_labels(np.stack([three_cells()] * 2), name="stack")
    widget = open_review(viewer)
    widget.labels = viewer.layers["stack"]
    widget.show_only(this_plane=True)
    widget.labels = viewer.layers["single"]
    assert len(widget.shown) == 3
    widget.show_only("At the border")
    assert not widget.shown


def test_cells_that_the_filter_cannot_be_asked_of_are_all_listed(viewer, open_review):
    viewer.add_labels(three_cells()[::-1], name="without a class")
    viewer.add_labels(three_cells(), name="mine", features={"grade": [0, 1, 2, 3]})
    widget = open_review(viewer)
    widget.labels = viewer.layers["mine"]
    widget.show_only(condition="grade > 1")
    widget.labels = viewer.layers["without a class"]
    assert (len(widget.shown), widget.panel.condition.text()) == (3, "")


def test_labels_of_more_axes_than_a_stack_say_why_they_are_not_reviewed(viewer, open_review):
    """They were not offered, and the list said that there were no labels yet."""
    stack = np.stack([three_cells()] * 2)
    viewer.add_labels(np.stack([stack] * 2), name="times")
    widget = open_review(viewer)
    assert widget.labels is viewer.layers["times"]
    assert "times has 4 axes" in widget.message.text()
    with pytest.raises(EditError, match="times has 4 axes"):
        widget.accept()
    assert not widget.panel.buttons["accept"].isEnabled()
    widget.labels = viewer.add_labels(viewer.layers["times"].data[0])
    assert widget.review.count == 6
    assert "axes" not in widget.message.text()


def test_what_is_said_of_a_stroke_goes_with_the_next(viewer, widget, qtbot):
    """That Ctrl-Z takes it back stood there while it took back another one."""
    widget.labels.fill(CENTRES[1], 1)
    qtbot.waitUntil(lambda: "swallowed" in widget.message.text())
    widget.labels.paint((5, 5), 9)
    assert widget.message.text() == ""
