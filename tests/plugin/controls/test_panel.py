"""What the four panels are laid out with."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDockWidget,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

import napari_wbcseg
from napari_wbcseg.errors import ImageError
from napari_wbcseg.plugin.controls.basic_widgets import Folded, Sentence, fill, form, together
from napari_wbcseg.plugin.controls.panel import (
    MINIMUM_WIDTH,
    Panel,
    held_by_part,
    open_panel,
    scrolled_column,
)
from napari_wbcseg.plugin.shared.viewer import all_in_view


def test_panels_share_one_column_as_tabs_and_none_is_there_twice(make_napari_viewer, qtbot):
    from napari._app_model import get_app_model

    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    run = get_app_model().commands.execute_command
    open_panel(viewer, "Review white blood cells")
    for door in ("segment", "review", "models", "open_segment", "open_models"):
        run(f"napari-wbcseg.{door}").result()
        qtbot.wait(100)
    panels = [dock for dock in window.findChildren(QDockWidget) if dock.findChildren(QScrollArea)]
    ours = [dock for dock in panels if dock.windowTitle() in ("Segment", "Review", "Models")]
    assert sorted(dock.windowTitle() for dock in ours) == ["Models", "Review", "Segment"]
    assert set(window.tabifiedDockWidgets(ours[0])) == set(ours[1:])


def test_a_panel_that_the_menu_shows_again_is_in_front_of_the_others(make_napari_viewer, qtbot):
    from napari._app_model import get_app_model

    window = make_napari_viewer(show=True).window._qt_window
    for door in ("segment", "models", "segment", "segment"):  # opened, behind, hidden, shown again
        get_app_model().commands.execute_command(f"napari-wbcseg.{door}").result()
        qtbot.wait(100)
    (bar,) = (bar for bar in window.findChildren(QTabBar) if bar.isVisible() and bar.count() == 2)
    assert bar.tabText(bar.currentIndex()) == "Segment"


@pytest.mark.parametrize("closer", [False, True])
def test_a_picture_that_was_seen_whole_stays_so_when_a_panel_takes_room(make_napari_viewer, qtbot, closer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1024, 700)
    viewer.add_image(np.zeros((300, 400), np.uint8))
    qtbot.wait(300)
    viewer.reset_view()
    if closer:
        viewer.scene.camera.zoom *= 3
    zoom = viewer.scene.camera.zoom
    width = viewer.canvas.size[1]
    open_panel(viewer, "Segment white blood cells")
    qtbot.waitUntil(lambda: viewer.canvas.size[1] < width, timeout=20_000)
    qtbot.wait(200)
    assert all_in_view(viewer) == (not closer)
    assert (viewer.scene.camera.zoom == zoom) == closer, "where a person has gone closer, nothing moves"


def test_what_goes_wrong_in_the_background_is_said_by_the_panel_as_long_as_that_is_there(qtbot):
    def fail(progress):
        raise ImageError("This is no picture.")

    panel, closed, said = Panel(), Panel(), []
    qtbot.addWidget(panel)
    closed.failed.connect(said.append)
    closed.in_background(fail)
    closed.cleanup.run()
    with qtbot.waitSignal(panel.failed, timeout=10_000) as told:
        panel.in_background(fail)
    assert told.args == ["This is no picture."]
    assert panel.message.text() == "This is no picture."
    panel.in_background(fail, failed=said.append)
    qtbot.waitUntil(lambda: said == ["This is no picture."], timeout=10_000)


def test_what_a_part_holds_is_handed_on_and_set_where_it_may_be(qtbot):
    class Named(Panel):
        words = held_by_part("message.look", "How it looks.", settable=True)
        shown = held_by_part("message.look", "How it looks.")

    panel = Named()
    qtbot.addWidget(panel)
    panel.words = "blue"
    assert (panel.message.look, panel.words, panel.shown) == ("blue",) * 3
    with pytest.raises(AttributeError):
        panel.shown = "red"


def test_nothing_is_cut_when_what_was_folded_comes_to_say_more(qtbot):
    panel, content, box, told = QWidget(), QWidget(), QCheckBox("Labels (TIFF)"), Sentence()
    inside = QVBoxLayout(content)
    inside.addWidget(box)
    inside.addWidget(told)
    part = Folded("Save …", content)
    scrolled_column(panel, "Segment").addWidget(part)
    qtbot.addWidget(panel)
    panel.resize(375, 200)
    panel.show()
    part.expand()
    told.setText("Saved in a folder with a long name: " + "smear-labels.tif, " * 20)
    qtbot.waitUntil(lambda: told.height() >= told.heightForWidth(told.width()) > 60, timeout=5000)
    assert box.height() >= box.minimumSizeHint().height()
    part._button.setChecked(False)
    assert not content.isVisible()


def test_a_sentence_takes_room_only_while_it_says_something(qtbot):
    panel, told = QWidget(), Sentence("at first")
    assert not told.isVisible(), "it is no window of its own"
    fill(panel, told)
    qtbot.addWidget(panel)
    panel.show()
    assert told.isVisible()
    told.setText("")
    assert told.isHidden()
    told.setText("again")
    assert told.isVisible()


def test_text_keeps_the_colour_of_the_theme_unless_it_has_a_ground_of_its_own():
    coloured = re.compile(r"(?<![-\w])color: ")
    lines = [
        line
        for file in (Path(napari_wbcseg.__file__).parent / "plugin").rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert [line for line in lines if coloured.search(line) and "background-color" not in line] == []


@pytest.mark.parametrize("wide", [100, 450])
def test_a_docked_panel_is_never_narrower_than_what_is_in_it_or_its_title(make_napari_viewer, qtbot, wide):
    panel, inside = QWidget(), QPushButton("wide")
    inside.setMinimumWidth(wide)
    scrolled_column(panel, "Wide").addWidget(inside)
    window = make_napari_viewer(show=True).window
    dock = window.add_dock_widget(panel)
    qtbot.wait(100)
    window._qt_window.resizeDocks([dock], [50], Qt.Orientation.Horizontal)
    qtbot.wait(100)
    assert panel.width() >= max(wide, MINIMUM_WIDTH)
    for wider in (0, 150):
        inside.setMinimumWidth(wide + wider)
        qtbot.wait(100)
        right = inside.mapTo(panel, inside.rect().topRight()).x()
        assert right < panel.width(), "nothing is cut off"


def test_the_fields_of_all_forms_begin_below_each_other_but_for_folded_ones(make_napari_viewer, qtbot):
    panel, fields = (
        QWidget(),
        {title: QLineEdit() for title in ("Short", "A longer title", "The longest of all")},
    )
    short, longer, folded = (form((title, field, "")) for title, field in fields.items())
    column = scrolled_column(panel, "Forms")
    column.addLayout(short)
    column.addWidget(together(longer))
    part = Folded("More", together(folded))
    column.addWidget(part)
    make_napari_viewer(show=True).window.add_dock_widget(panel)
    part.expand()
    qtbot.wait(100)
    first, second, third = (field.mapTo(panel, field.rect().topLeft()).x() for field in fields.values())
    assert first == second < third
