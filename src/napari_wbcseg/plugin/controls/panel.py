"""A widget of this plugin as a panel of the window: how it is opened, and its column that scrolls."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QFormLayout,
    QFrame,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from ...errors import WBCSegError
from ..shared.jobs import Cleanup, Job, clean_up_with, in_background
from ..shared.viewer import all_in_view
from .basic_widgets import Folded, Sentence, fill, there

#: Pixels; below it napari cuts the widget's title off.
MINIMUM_WIDTH = 390


def open_panel(viewer: Viewer | ViewerModel, title: str) -> QWidget:
    """Open one of this plugin's widgets, or bring it to the front where it is open, and return it."""
    # napari calls it ``title (White blood cells)`` where its own menu has opened it.
    docked = viewer.window.dock_widgets  # type: ignore[union-attr]
    found = (widget for name, widget in docked.items() if name.startswith(f"{title} ("))
    panel: QWidget | None = next(found, None)
    if panel is None:
        _, panel = viewer.window.add_plugin_dock_widget("napari-wbcseg", title, tabify=True)  # type: ignore[union-attr]
    dock = there(_dock_of(panel))
    dock.show()
    dock.raise_()
    return panel


def _dock_of(widget: QWidget | None) -> QDockWidget | None:
    """Return the dock that a widget lies in; None where it lies in none."""
    while widget is not None and not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


def open_review_on(viewer: Viewer | ViewerModel, cells: Labels | None) -> Any:
    """Open the Review widget on a layer of cells, and return it."""
    review: Any = open_panel(viewer, "Review white blood cells")
    if cells is not None:
        review.labels = cells
    return review


class Panel(QWidget):
    """A widget of this plugin: what it cannot do is a sentence in it, and a signal for scripts.

    Parameters
    ----------
    cleanup : Cleanup, optional
        Of the widget it is part of: ends what it has started. By default that ends with itself.
    """

    #: Emitted with the sentence that says what went wrong.
    failed = Signal(str)

    def __init__(self, cleanup: Cleanup | None = None) -> None:
        super().__init__()
        self.cleanup = cleanup or clean_up_with(self)
        #: The last sentence that was said; who lays out the panel finds a place for it.
        self.message = Sentence()

    def say(self, words: str) -> None:
        """Show a sentence; an empty one takes it away."""
        self.message.setText(words)

    def fail(self, words: str) -> None:
        """Say what went wrong, with a notification, and tell of it."""
        self.say(words)
        show_error(words)
        self.failed.emit(words)

    def by_hand(self, call: Callable[..., object], *arguments: Any) -> None:
        """Do what a person asks for; what cannot be done is said, not raised."""
        try:
            call(*arguments)
        except WBCSegError as error:
            self.fail(str(error))

    def in_background(self, work: Callable[..., Any], title: str = "", **told: Any) -> Job:
        """Do something off the window's thread, as long as this is there; `fail` says what went wrong."""
        return in_background(work, title, **{"failed": self.fail, "cleanup": self.cleanup, **told})


def held_by_part(path: str, what: str, *, settable: bool = False) -> Any:
    """Return a property that one of a widget's parts has, such as ``panel.picker.value``, so described."""
    part, _, name = path.rpartition(".")
    holder = attrgetter(part)
    put = (lambda own, it: setattr(holder(own), name, it)) if settable else None
    return property(attrgetter(path), put, doc=what)


class _ColumnArea(QScrollArea):
    """Scrolls up and down only: it is never narrower than what is in it.

    At first it becomes a tab beside the panels that are there: napari's menu squeezes them into one column.
    It goes if the same panel is open already: napari's menu does not know what was opened by another door.
    A picture that was seen whole before the panel took its place is seen whole afterwards.
    """

    def __init__(self, column: QWidget, tab: str) -> None:
        from napari import current_viewer

        super().__init__()
        self._tab, self._is_new = tab, True
        viewer = current_viewer()
        self._seen_whole = viewer if viewer is not None and all_in_view(viewer) else None
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(column)

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        if self._is_new:
            self._is_new = False
            _line_up(there(self.widget()))
            QTimer.singleShot(0, self._join_tabs)  # its dock is not in its place yet
            viewer, self._seen_whole = self._seen_whole, None
            if viewer is not None:
                viewer.reset_view()
        elif event is not None and not event.spontaneous() and (dock := _dock_of(self)) is not None:
            QTimer.singleShot(0, dock.raise_)  # napari's menu shows a hidden panel behind the others

    def event(self, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.LayoutRequest:  # what is in it became wider
            self.updateGeometry()
        return super().event(event)

    def _join_tabs(self) -> None:
        window = self.window()
        if not isinstance(window, QMainWindow):
            return
        docks = {
            area: dock for dock in window.findChildren(QDockWidget) for area in dock.findChildren(_ColumnArea)
        }
        own = docks.pop(self, None)
        if own is None:
            return
        own.setWindowTitle(self._tab)  # what is on the tab; napari has the title in full above the panel
        for area, dock in docks.items():
            if area._tab == self._tab:
                dock.show()
                dock.raise_()
                own.destroyOnClose()  # type: ignore[attr-defined]  # of napari's docks
                return
        place = window.dockWidgetArea(own)
        others = [dock for dock in docks.values() if window.dockWidgetArea(dock) == place]
        if others and own not in window.tabifiedDockWidgets(others[0]):
            window.tabifyDockWidget(others[0], own)
            own.raise_()

    def minimumSizeHint(self) -> QSize:
        column, bar = there(self.widget()), there(self.verticalScrollBar())
        wide = column.minimumSizeHint().width() + bar.sizeHint().width()
        return QSize(max(wide, MINIMUM_WIDTH), 200)


def scrolled_column(widget: QWidget, tab: str) -> QVBoxLayout:
    """Give a widget a column that scrolls where the window is too low for it, and a name for its tab."""
    column = QWidget()
    layout = QVBoxLayout(column)
    layout.setSpacing(6)
    fill(widget, _ColumnArea(column, tab))
    return layout


def _line_up(column: QWidget) -> None:
    """Let the fields of all forms begin below each other, but for those of what can be folded."""
    folded = {rows for part in column.findChildren(Folded) for rows in part.findChildren(QFormLayout)}
    labels = [
        label
        for rows in set(column.findChildren(QFormLayout)) - folded
        for row in range(rows.rowCount())
        if (item := rows.itemAt(row, QFormLayout.ItemRole.LabelRole)) and (label := item.widget())
    ]
    for label in labels:
        label.ensurePolished()  # it has the font of napari's style only then
    widest = max((label.sizeHint().width() for label in labels), default=0)
    for label in labels:
        label.setMinimumWidth(widest)
