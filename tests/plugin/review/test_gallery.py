"""The gallery: cells in groups by class, named by key, by dragging and from a menu."""

from __future__ import annotations

import numpy as np
import pytest
from app_model.types import KeyBinding, KeyCode, KeyMod, OperatingSystem
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent, QKeyEvent
from qtpy.QtWidgets import QApplication

from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, CellClass
from napari_wbcseg.plugin.controls.panel import Panel
from napari_wbcseg.plugin.review.gallery import Gallery
from napari_wbcseg.plugin.review.layer_review import LayerReview
from napari_wbcseg.plugin.review.selection import Selection
from napari_wbcseg.results.load import load_result
from napari_wbcseg.results.save import save

from ..conftest import discs
from .test_layer_review import CENTRES, soon, three_cells
from .test_widget import click

CLASSES = {
    "class": ["", "neutrophil", "neutrophil", "lymphocyte"],
    "class_probability": [np.nan, 0.9, 0.6, 0.8],
    "class_by": ["", "model", "model", "model"],
    "check": [False, False, True, False],
}
FIRST, SECOND, THIRD = (0, 1), (0, 2), (0, 3)


@pytest.fixture
def widget(viewer):
    """Review two neutrophils and a lymphocyte, in a gallery that is seen: keys go to what is."""
    viewer.add_image(discs(centres=CENTRES), rgb=True, name="smear")
    viewer.add_labels(three_cells(np.uint16), name="mine", features=CLASSES)
    dock, found = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")
    dock.setFloating(True)
    dock.resize(450, 900)  # all of the gallery is seen
    dock.show()
    found.show_gallery()
    dock.activateWindow()
    QApplication.processEvents()
    return found


def groups(widget):
    """Return the cells as the gallery shows them, by class; classes without a cell are left out."""
    shown: dict[str, list[int]] = {}
    for item in widget.gallery.model().items:
        if item.cell is not None:
            shown.setdefault(item.name, []).append(item.cell[1])
    return shown


def said(widget, label):
    """Return the class of a cell, and by whom."""
    row = widget.cells.set_index("label").loc[label]
    return row["class"], row["class_by"]


def place_of(gallery, what):
    """Return the middle of a cell, or of the title of a class, in the gallery."""
    for row, item in enumerate(gallery.model().items):
        if item.cell == what or (item.cell is None and item.name == what):
            gallery.scrollTo(gallery.model().index(row))
            return gallery.visualRect(gallery.model().index(row)).center()
    raise AssertionError(f"{what} is not shown")


def drop(gallery, cells, where):
    """Drag cells to a cell or a title and drop them, as the window passes it on to who takes it there."""
    gallery._selection.select(cells)
    window, data = gallery.window(), gallery.dragged()
    point = gallery.viewport().mapTo(window, place_of(gallery, where))
    what = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    drop = QDropEvent(QPointF(point), *what)
    for event in (QDragEnterEvent(point, *what), QDragMoveEvent(point, *what), drop):
        QApplication.sendEvent(window.windowHandle(), event)
    return drop.isAccepted()


class TestShown:
    def test_cells_stand_under_their_class_the_least_sure_first(self, widget):
        assert groups(widget) == {"neutrophil": [2, 1], "lymphocyte": [3]}
        titles = [item.words for item in widget.gallery.model().items if item.cell is None]
        assert titles[:2] == ["1  neutrophil: 2", "2  band neutrophil: 0"]
        assert titles[-1] == "unsure: 0", "every class is there to be dropped on"

    def test_each_picture_shows_its_cell_in_the_middle(self, widget):
        model = widget.gallery.model()
        for cell in (FIRST, SECOND, THIRD):
            picture = model.data(model.index(model.row_of(cell)), Qt.ItemDataRole.DecorationRole).toImage()
            middle, corner = picture.pixelColor(30, 30), picture.pixelColor(2, 2)
            # A screen may have few colours.
            assert (middle.red(), middle.green(), middle.blue()) == pytest.approx((90, 40, 120), abs=8)
            assert corner.red() > 200

    def test_cells_without_a_class_are_unsure(self, viewer, widget):
        viewer.layers["mine"].features = {"check": [False] * 4}
        assert groups(widget) == {"unsure": [1, 2, 3]}

    def test_the_filter_of_the_table_holds_here_too(self, widget):
        widget.show_only("To check")
        assert groups(widget) == {"neutrophil": [2]}

    def test_the_pictures_are_those_of_an_image_that_was_replaced(self, viewer, widget):
        model = widget.gallery.model()
        viewer.layers["smear"].data = 255 - viewer.layers["smear"].data
        soon(lambda: not widget.review.measuring)
        picture = model.data(model.index(model.row_of(FIRST)), Qt.ItemDataRole.DecorationRole).toImage()
        assert picture.pixelColor(30, 30).red() > 150 > picture.pixelColor(2, 2).red()

    def test_on_a_finer_screen_the_pictures_are_finer(self, widget, monkeypatch):
        monkeypatch.setattr(Gallery, "devicePixelRatioF", lambda gallery: 2.0)
        widget.gallery._crops = None
        widget.gallery.renew()
        model = widget.gallery.model()
        picture = model.data(model.index(model.row_of(FIRST)), Qt.ItemDataRole.DecorationRole)
        assert (picture.width(), picture.deviceIndependentSize().width()) == (120, 60)
        middle = picture.toImage().pixelColor(60, 60)
        assert (middle.red(), middle.green(), middle.blue()) == pytest.approx((90, 40, 120), abs=8)

    def test_without_an_image_the_outline_is_seen(self, viewer, widget):
        del viewer.layers["smear"]
        model = widget.gallery.model()
        picture = model.data(model.index(model.row_of(FIRST)), Qt.ItemDataRole.DecorationRole).toImage()
        assert picture.pixelColor(30, 30).red() < 150 < picture.pixelColor(2, 2).red()
        widget.labels.data_setitem((np.array([30]), np.array([30])), 0)
        widget.review.update_now()
        picture = model.data(model.index(model.row_of(FIRST)), Qt.ItemDataRole.DecorationRole).toImage()
        assert picture.pixelColor(30, 30).red() > 150, "also as it was edited within its box"


class TestSelecting:
    def test_a_click_shows_the_cell_in_its_picture(self, viewer, widget, qtbot):
        where = place_of(widget.gallery, SECOND)
        qtbot.mouseClick(widget.gallery.viewport(), Qt.MouseButton.LeftButton, pos=where)
        assert widget.selected == [SECOND]
        soon(lambda: widget.labels.selected_label == 2)
        assert np.allclose(viewer.scene.camera.center[-2:], (30, 110), atol=1)

    def test_control_and_a_click_select_more(self, widget, qtbot):
        for cell, more in (
            (SECOND, Qt.KeyboardModifier.NoModifier),
            (THIRD, Qt.KeyboardModifier.ControlModifier),
        ):
            where = place_of(widget.gallery, cell)
            qtbot.mouseClick(widget.gallery.viewport(), Qt.MouseButton.LeftButton, more, where)
        assert widget.selected == [SECOND, THIRD]

    def test_a_title_selects_all_of_its_class(self, widget, qtbot):
        where = place_of(widget.gallery, "neutrophil")
        qtbot.mouseClick(widget.gallery.viewport(), Qt.MouseButton.LeftButton, pos=where)
        assert widget.selected == [SECOND, FIRST]

    def test_a_cell_clicked_in_the_picture_is_selected_here(self, viewer, widget):
        click(viewer, widget.labels, 90, 70)
        assert widget.selected == [THIRD]
        assert [index.row() for index in widget.gallery.selectedIndexes()] == [
            widget.gallery.model().row_of(THIRD)
        ]

    def test_what_was_selected_before_is_seen_when_the_gallery_opens(self, widget):
        widget.panel.tabs.setCurrentIndex(0)
        widget.select([THIRD])
        widget.show_gallery()
        QApplication.processEvents()
        assert [index.row() for index in widget.gallery.selectedIndexes()] == [
            widget.gallery.model().row_of(THIRD)
        ]


class TestNaming:
    def test_a_digit_names_the_selected_cells(self, widget, qtbot):
        for key, name in enumerate(BUILT_IN_CLASSES.names[:9], 1):
            widget.select([FIRST, THIRD])
            qtbot.keyClick(widget.gallery, str(key))
            assert said(widget, 1) == said(widget, 3) == (name, "person")
            assert said(widget, 2) == ("neutrophil", "model")
            assert {1, 3} <= set(groups(widget)[name])

    def test_nought_takes_back_what_a_person_said(self, viewer, widget, qtbot):
        layer = viewer.layers["mine"]
        layer.features = {
            **CLASSES,
            "p_neutrophil": [np.nan, 0.9, 0.6, 0.2],
            "p_lymphocyte": [0, 0.1, 0.4, 0.8],
        }
        widget.select([THIRD])
        qtbot.keyClick(widget.gallery, "5")
        assert said(widget, 3) == ("monocyte", "person")
        widget.select([THIRD])
        qtbot.keyClick(widget.gallery, "0")
        assert said(widget, 3) == ("lymphocyte", "model")

    def test_who_names_one_cell_is_taken_to_the_next_of_its_class(self, widget, qtbot):
        widget.select([SECOND])
        qtbot.keyClick(widget.gallery, "4")
        assert widget.selected == [FIRST]

    def test_digits_name_on_the_canvas_too_while_the_gallery_is_open(self, viewer, widget):
        click(viewer, widget.labels, 90, 70)
        press = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_6, Qt.KeyboardModifier.NoModifier, "6")
        viewer.window._qt_viewer.canvas.native.keyPressEvent(press)  # past the panel's shortcuts
        assert said(widget, 3) == ("eosinophil", "person")
        widget.panel.tabs.setCurrentIndex(0)
        assert "6" not in {str(key) for key in widget.labels.keymap}, "napari's own keys are back"

    @pytest.mark.parametrize("where", ["lymphocyte", THIRD], ids=["its title", "one of its cells"])
    def test_cells_are_dragged_to_another_class(self, widget, where):
        assert drop(widget.gallery, [FIRST, SECOND], where)
        assert groups(widget) == {"lymphocyte": [3, 1, 2]}
        assert said(widget, 1) == said(widget, 2) == ("lymphocyte", "person")

    def test_cells_are_dragged_to_a_class_that_has_none(self, widget):
        assert drop(widget.gallery, [THIRD], "basophil")
        assert said(widget, 3) == ("basophil", "person")

    def test_cells_that_a_filter_hides_do_not_go_along(self, widget):
        widget.select([FIRST, THIRD])
        widget.show_only(condition="class == 'lymphocyte'")
        assert widget.selected == [THIRD]
        widget.gallery.press("1")
        assert said(widget, 1) == ("neutrophil", "model")
        assert said(widget, 3)[1] == "person"

    def test_a_cell_that_is_hidden_by_what_it_was_named_is_not_named_once_more(self, widget):
        """The key pressed again, or another one, named a cell that nobody saw any more."""
        widget.show_only(condition="class == 'lymphocyte'")
        widget.select([THIRD])
        widget.gallery.press("5")
        assert widget.selected == []
        widget.gallery.press("1")
        assert said(widget, 3) == ("monocyte", "person")

    def test_a_hand_that_slips_as_it_clicks_names_nothing(self, widget):
        assert not drop(widget.gallery, [THIRD], THIRD)
        assert said(widget, 3) == ("lymphocyte", "model")

    def test_the_right_button_offers_every_class(self, widget):
        widget.select([FIRST])
        menu = widget.gallery.menu()
        offered = {action.text(): action for action in menu.actions()}
        assert [one.name for one in widget.review.classes] == list(offered)[:11]
        offered["platelet"].trigger()
        assert said(widget, 1) == ("platelet", "person")
        assert widget.review.summary() == "2 white cells, 1 to check"

    def test_what_a_person_said_stays_with_the_layer_and_its_files(self, viewer, widget, tmp_path):
        widget.select([FIRST])
        widget.name("basophil")
        widget.labels.brush_size = 5
        widget.labels.paint((30, 42), 1)  # measured anew
        widget.review.update_now()
        save(widget.labels, tmp_path / "one-labels.tif")
        row = load_result(tmp_path / "one-labels.tif").cells.set_index("label").loc[1]
        assert (row["class"], row["class_by"]) == ("basophil", "person")
        viewer.window.remove_dock_widget(widget)
        again = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")[1]
        assert said(again, 1) == ("basophil", "person")


class TestDeciding:
    @pytest.mark.parametrize(
        ("key", "count", "to_check"), [("A", 3, 0), ("R", 2, 0)], ids=["accept", "reject"]
    )
    def test_keys_of_the_review_work_here(self, widget, qtbot, key, count, to_check):
        qtbot.keyClick(widget.gallery, "N")
        assert widget.selected == [SECOND]
        qtbot.keyClick(widget.gallery, key)
        assert (widget.review.count, len(widget.to_check)) == (count, to_check)
        if key == "A":
            assert [item.words for item in widget.gallery.model().items if item.cell == SECOND] == ["named ✓"]
        else:
            assert groups(widget)["neutrophil"] == [1]

    def test_no_cell_is_left(self, widget):
        widget.select([FIRST, SECOND, THIRD])
        widget.reject()
        assert groups(widget) == {}
        widget.undo()
        assert groups(widget) == {"neutrophil": [2, 1], "lymphocyte": [3]}


class TestUndo:
    def test_one_undo_for_names_decisions_and_edits_in_their_order(self, viewer, widget, qtbot):
        layer = widget.labels
        states = [state(widget)]

        def done():
            widget.review.update_now()
            states.append(state(widget))

        widget.select([SECOND])
        widget.accept()
        done()
        layer.brush_size = 9
        layer.paint((30, 44), 1)
        done()
        widget.name("monocyte")
        done()
        widget.reject()
        done()
        widget.select([FIRST])
        widget.name("basophil")
        done()
        assert len(set(states)) == 6
        for before in states[-2::-1]:
            qtbot.keyClick(widget.gallery, "Z", Qt.KeyboardModifier.ControlModifier)
            assert state(widget) == before
        qtbot.keyClick(widget.gallery, "Z", Qt.KeyboardModifier.ControlModifier)
        assert state(widget) == states[0], "there is no more"
        both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        for after in states[1:]:
            qtbot.keyClick(widget.gallery, "Z", both)
            assert state(widget) == after

    def test_what_the_layer_itself_took_back_is_passed_over(self, widget):
        widget.select([SECOND])
        widget.accept()
        widget.labels.brush_size = 9
        widget.labels.paint((30, 44), 1)
        widget.labels.undo()
        widget.undo()
        assert len(widget.to_check) == 1

    def test_new_labels_have_nothing_to_take_back(self, widget):
        widget.select([SECOND])
        widget.accept()
        widget.labels.data = three_cells(np.uint16)
        before = state(widget)
        widget.undo()
        assert state(widget) == before

    def test_control_and_z_take_back_on_the_canvas(self, widget):
        widget.select([SECOND])
        widget.name("monocyte")
        call = next(call for key, call in widget.labels.keymap.items() if str(key) == "Ctrl+Z")
        call(widget.labels)
        assert said(widget, 2) == ("neutrophil", "model")

    def test_on_a_mac_command_and_z_do(self, widget, monkeypatch):
        """There napari's own undo was heard, which takes back no name."""
        monkeypatch.setattr("app_model.types._constants._CURRENT", OperatingSystem.MACOS)
        widget.panel.tabs.currentChanged.emit(0)
        heard = KeyBinding.from_int(KeyMod.CtrlCmd | KeyCode.KeyZ)
        assert heard in widget.labels.keymap


def state(widget):
    """Return what there is of each cell, in a form that can be compared."""
    table = widget.cells
    return tuple(
        zip(*(table[name] for name in ("label", "area", "class", "class_by", "decision")), strict=True)
    )


def test_the_outline_on_the_canvas_takes_the_colour_of_the_class(widget, qtbot):
    def shown(label):
        return tuple(np.rint(255 * widget.labels.get_color(label)[:3]).astype(int).tolist())

    widget.select([THIRD])
    widget.name("monocyte")
    qtbot.waitUntil(lambda: shown(3) == BUILT_IN_CLASSES("monocyte").rgb)
    assert shown(2) == (255, 150, 0), "to check"
    widget.undo()
    qtbot.waitUntil(lambda: shown(3) == BUILT_IN_CLASSES("lymphocyte").rgb)


def test_pictures_that_are_read_when_the_gallery_is_gone_are_nobodys(viewer, qtbot):
    review = LayerReview(viewer, viewer.add_labels(three_cells(np.uint16)))
    gallery = Gallery(review.keys, lambda: review, Panel(), Selection())
    gallery.show()
    crops = gallery._crops
    gallery.deleteLater()
    QApplication.sendPostedEvents(gallery, QEvent.Type.DeferredDelete)
    with qtbot.captureExceptions() as raised:
        crops.loaded.emit()
    assert raised == []
    review.close()


def test_a_class_of_ones_own_is_named_and_saved_with_the_result(widget, tmp_path):
    widget.gallery.class_menu.add("smudge cell")
    widget.select([FIRST])
    widget.name("smudge cell")
    assert groups(widget)["smudge cell"] == [1]
    widget.gallery.class_menu.change("smudge cell", colour="#123456", white_cell=False)
    assert widget.review.summary() == "2 white cells, 1 to check"
    save(widget.labels, tmp_path / "one-labels.tif")
    found = load_result(tmp_path / "one-labels.tif")
    assert found.classes("smudge cell").colour == "#123456"
    assert (found.white_cells, found.classes) == (2, widget.review.classes)


def test_undo_takes_back_what_was_changed_of_a_class(widget):
    before = widget.review.classes
    widget.gallery.class_menu.change("lymphocyte", colour="#123456")
    widget.gallery.class_menu.change("lymphocyte", white_cell=False)
    assert widget.review.summary() == "2 white cells, 1 to check"
    widget.undo()
    assert widget.review.summary() == "3 white cells, 1 to check"
    assert widget.review.classes("lymphocyte").colour == "#123456"
    widget.undo()
    assert widget.review.classes == before
    widget.redo()
    widget.redo()
    assert widget.review.classes("lymphocyte") == CellClass("lymphocyte", "#123456", white_cell=False)


def test_cells_go_with_their_class_when_it_is_renamed(widget):
    widget.select([SECOND])
    widget.name("neutrophil")
    widget.gallery.class_menu.change("neutrophil", name="granulocyte")
    assert groups(widget) == {"granulocyte": [1, 2], "lymphocyte": [3]}
    assert said(widget, 1) == ("granulocyte", "model")
    assert said(widget, 2) == ("granulocyte", "person")
    assert widget.review.classes("band neutrophil").part_of == "granulocyte"


def test_what_is_taken_back_is_of_the_renamed_class_again(viewer, widget):
    parts = {"p_band neutrophil": [np.nan, 0.45, 0.5, 0.1], "p_segmented neutrophil": [np.nan, 0.5, 0.4, 0.1]}
    viewer.layers["mine"].features = {**CLASSES, **parts}
    widget.gallery.class_menu.change("neutrophil", name="granulocyte")
    widget.select([FIRST])
    widget.name("monocyte")
    widget.name("")
    assert said(widget, 1) == ("granulocyte", "model")


def test_a_class_that_was_renamed_does_not_come_back_while_cells_are_measured(widget, monkeypatch):
    monkeypatch.setattr("napari_wbcseg.plugin.review.measured_cells._MEASURED_AT_ONCE", 0)
    widget.gallery.class_menu.change("neutrophil", name="granulocyte")
    widget.gallery.class_menu.add("blast")  # the table still has the old name
    assert "Wait until the cells are measured" in widget.message.text()
    soon(lambda: not widget.review.measuring)
    widget.gallery.class_menu.add("blast")
    assert "blast" in widget.review.classes.names
    assert "neutrophil" not in widget.review.classes.names


def test_two_classes_of_one_name_are_refused_in_words(widget):
    widget.gallery.class_menu.change("monocyte", name="basophil")
    assert "Two classes have the name 'basophil'" in widget.message.text()
    assert "monocyte" in widget.review.classes.names


def test_a_name_that_no_class_can_have_is_refused_in_words(widget):
    before = widget.review.classes
    widget.gallery.class_menu.add("x" * 61)
    assert "at most 60 characters" in widget.message.text()
    assert widget.review.classes == before


def test_the_menu_of_a_title_says_whether_a_class_is_counted(widget):
    offered = {action.text(): action for action in widget.gallery.class_menu.menu("lymphocyte").actions()}
    assert list(offered) == ["New class …", "Rename lymphocyte …", "Colour …", "Counted as white cell"]
    widget.select([THIRD])
    offered["Counted as white cell"].setChecked(False)
    assert widget.review.summary() == "2 white cells, 1 to check"
