"""How the widget *Review white blood cells* looks: its parts, and what each says of the cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLineEdit,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from ...classification.learn import least_sure
from ...errors import SettingsError
from ...segmentation.measure import in_physical_units
from ..shared.columns import BY_NAME, NUMBERS
from ..shared.layer_picker import LayerPicker
from ..shared.metadata import LayerInfo, is_picture
from ..shared.panel import Folded, Sentence, beside, button, calling, form, scrolled_column, with_tip
from ..shared.viewer import pixel_size, plane_shape
from .decisions import Cell
from .gallery import DIGITS, Gallery
from .histogram import Histogram
from .layer import LayerReview
from .table import SHOWN, CellTable, CellTableModel

#: Keys, in the table and on the canvas while the layer is chosen, and the action of each.
KEYS = {
    "N": "next_to_check",
    "Shift-N": "previous_to_check",
    "A": "accept",
    "R": "reject",
    "S": "split",
    "J": "merge",
    "O": "outline_missed",
    "L": "learn",
    "U": "next_unsure",
    "Control-Z": "undo",
    "Control-Shift-Z": "redo",
}
#: Actions that change outlines, which cells on disk do not allow.
EDITING = ("reject", "split", "merge", "outline_missed")
_BUTTONS = {
    "next_to_check": ("Next to check", "N", "Go to the next cell that is unsure or flagged (Shift-N: back)."),
    "accept": ("Accept", "A", "Outline and class of the selected cells are right. Once more takes it back."),
    "reject": ("Reject", "R", "The selected cells are none: they leave the labels and the count."),
    "split": ("Split …", "S", "Draw a line across a cell. A cell in pieces is split into them at once."),
    "merge": ("Merge", "J", "Make one cell of the selected ones. Shift-click on the image selects several."),
    "outline_missed": (
        "Add missed …",
        "O",
        "Click on cells that were missed: each is outlined as the network sees it, and is accepted.",
    ),
    "learn": (
        "Suggest classes",
        "L",
        "The cells named so far teach how the classes look on this slide; what a person said stays. Begins "
        "by itself with three cells of two classes, and goes on with each name. Once more takes it back.",
    ),
    "next_unsure": ("Next unsure", "U", "Go to the cell that it helps most to name next."),
    "undo": ("Undo", "Ctrl-Z", "Take the last edit or decision back (Ctrl-Shift-Z: do it again)."),
}
_WAITED_FOR = {
    "split": "Draw a line across the cell on the image. Esc leaves it.",
    "outline_missed": "Click on a cell of the image that was missed. Esc leaves it.",
}
_FILTER_TIP = (
    "A condition on the columns, then Enter: circularity < 0.8, or: lobes >= 3 and not touching. "
    "The names: " + ", ".join(name for name in BY_NAME if name != "status") + "."
)


class LayerChoice:
    """Two lists of the viewer's layers.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    labels : LayerPicker
        The Labels layers.
    image : LayerPicker
        The images that the chosen cells may be of: those of their shape.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.labels = LayerPicker(viewer, _is_cells, "no labels yet")
        self.image = LayerPicker(viewer, self._fits, "no image of that shape", follows=self._no_other_image)

    @property
    def images(self) -> list[Layer]:
        """The images that are offered."""
        return [layer for layer in self._viewer.layers if self._fits(layer)]

    def take_source(self) -> None:
        """Offer the images for the chosen cells, and choose the one that they were found in."""
        self.image.reset_choices()
        if (source := self._source()) is not None:
            self.image.value = source

    def _source(self) -> Layer | None:
        """Return the image that the chosen cells were found in, if it is there."""
        cells = self.labels.value
        found_in = None if cells is None else LayerInfo.of(cells).source_id
        return next((layer for layer in self.images if str(layer.unique_id) == found_in), None)

    def _no_other_image(self, active: Layer) -> bool:
        """Say that another picture of the same size is not measured because it was clicked or opened."""
        return self._source() is None or not is_picture(active)

    def _fits(self, layer: Layer) -> bool:
        cells = self.labels.value
        return cells is not None and is_picture(layer) and plane_shape(layer) == plane_shape(cells)


def _is_cells(layer: Layer) -> bool:
    return isinstance(layer, Labels) and layer.ndim in (2, 3)


class ReviewPanel:
    """Lays out the parts of the widget, and keeps table, counts and histogram those of one review.

    Parameters
    ----------
    widget : QWidget
        Gets the layout.
    layers : LayerChoice
    model : CellTableModel
    act : callable
        Called with the name of an action whose button or key was pressed.

    Attributes
    ----------
    plane : int or None
        The plane on the canvas; None where the view is not of one.
    """

    def __init__(
        self, widget: QWidget, layers: LayerChoice, model: CellTableModel, act: Callable[[str], None]
    ) -> None:
        self._review: LayerReview | None = None
        self.plane: int | None = None
        self.model, self.table, self.gallery = model, CellTable(model), Gallery()
        self.tabs = QTabWidget()
        self.tabs.addTab(self.table, "Table")
        self.tabs.addTab(self.gallery, "Gallery")
        self.count = Sentence(look="font-size: 16pt; font-weight: bold;")  # napari's own rules over a font
        self.here = Sentence()
        self.message = Sentence()
        self.shown = with_tip(QComboBox(), "Which cells the table shows.")
        self.shown.addItems(list(SHOWN))
        self.condition = with_tip(QLineEdit(), _FILTER_TIP)
        self.condition.setPlaceholderText("filter: area > 300 and lobes >= 2")
        self.condition.setClearButtonEnabled(True)
        self.this_plane = with_tip(QCheckBox("this plane"), "Only the cells of the plane on the canvas.")
        self.this_plane.hide()
        self.column = QComboBox()
        for name in NUMBERS:
            self.column.addItem(BY_NAME[name].title, name)
        self.column.setCurrentIndex(NUMBERS.index("area"))
        self.histogram = Histogram()
        self.histogram_part = Folded("Histogram", self.column, self.histogram)
        #: Room for what others build on the review, such as adding cells to a training set.
        self.extras = QVBoxLayout()
        self.buttons: dict[str, QPushButton] = {}

        of_cells = "The layer with the cells: of the Segment widget, or any other labels."
        of_image = (
            "The stained image that stain and nucleus are measured on; those of the cells' shape are offered."
        )
        #: The whole of it, from above.
        self.top = layout = scrolled_column(widget, "Review")
        layout.addLayout(
            form(("Cells", layers.labels.native, of_cells), ("Image", layers.image.native, of_image))
        )
        layout.addWidget(self.count)
        layout.addWidget(self.here)
        layout.addLayout(beside(self.shown, self.condition, self.this_plane, wide=self.condition))
        layout.addWidget(self.tabs, 1)
        layout.addLayout(self._make_buttons(act))
        layout.addWidget(self.message)
        layout.addWidget(self.histogram_part)
        layout.addLayout(self.extras)
        self._bind_keys(widget, act)

    def say(self, words: str) -> None:
        """Show a sentence below the buttons; none hides it."""
        self.message.setText(words)

    def set_filter(self, shown: str, condition: str, this_plane: bool) -> None:
        """Show a filter without applying it."""
        if self.shown.findText(shown) < 0:
            offered = ", ".join(SHOWN)
            raise SettingsError(f"The table cannot show {shown!r}. Choose one of: {offered}.")
        with signals_blocked(self.shown), signals_blocked(self.this_plane):
            self.shown.setCurrentText(shown)
            self.condition.setText(condition)
            self.this_plane.setChecked(this_plane)

    def follow(self, review: LayerReview | None) -> None:
        """List the cells of a review from now on; None for nothing."""
        self._review = review
        if review is None:
            self.model.set_table(None, [], "px")
            self.count.setText("")
            self.here.setText("")
        self.this_plane.setVisible(review is not None and review.stacked)

    def update(self) -> None:
        """Show the cells as they are now."""
        if self._review is not None:
            self.model.set_table(cells_of(self._review), self._review.keys(), self._unit)
            self.show_counts()

    def go_to_plane(self, plane: int | None) -> bool:
        """Count the plane on the canvas, and say whether another filter follows from that."""
        self.plane = plane
        self.show_counts()
        return self.this_plane.isChecked()

    def filter(self) -> None:
        """Apply what the panel's filter says.

        Raises
        ------
        SettingsError
            If the condition cannot be read; the table stays as it is.
        """
        conditions = [SHOWN[self.shown.currentText()], self.condition.text()]
        if self.this_plane.isChecked() and self.plane is not None:
            conditions.append(f"plane == {self.plane}")
        self.model.set_conditions(conditions)
        self.show_counts()

    def show_counts(self) -> None:
        """Say how many cells there are, and how many of them are listed."""
        review = self._review
        if review is None:
            return
        info = LayerInfo.of(review.labels)
        here = [*info.notes] if info.in_doubt else []
        if review.stacked and self.plane is not None and not info.in_doubt:
            here.append(f"On this plane ({self.plane}): {review.summary(self.plane)}.")
        if len(self.model.shown) < review.count:
            here.append(f"{len(self.model.shown)} of {review.count} shown in the table.")
        self.count.setText(review.summary())
        self.here.setText("\n".join(here))

    def draw_histogram(self, *_: Any) -> None:
        """Draw the chosen column of the cells listed, if the histogram is open; selected ones are marked."""
        if self._review is None or not self.histogram_part.isExpanded():
            return
        name = self.column.currentData()
        column = np.asarray(self.model.values(name), float)
        rows = [row for cell in self.table.selected if (row := self.model.row_of(cell)) is not None]
        title = BY_NAME[name].header(self._unit).replace("\n", ", ")
        self.histogram.show_values(column, title, column[rows])

    def next_to_check(self, current: Cell | None, step: int) -> Cell | None:
        """Return the cell to check after, or with -1 before, another one, in the order of the table."""
        to_check = self.model.to_check
        row = None if current is None else self.model.row_of(current)
        at = row if row is not None else (-1 if step > 0 else len(self.model.shown))
        rows = {cell: self.model.row_of(cell) or 0 for cell in to_check}
        beyond = [cell for cell in to_check if (rows[cell] > at if step > 0 else rows[cell] < at)]
        return (beyond or to_check)[0 if step > 0 else -1] if to_check else None

    def next_unsure(self, current: Cell | None) -> Cell | None:
        """Return the cell that it helps most to name, or the next such one after another."""
        if self._review is None:
            return None
        keys = self._review.keys()
        order = [keys[row] for row in least_sure(self._review.cells)]
        at = order.index(current) + 1 if current in order else 0
        return order[at % len(order)] if order else None

    @property
    def _unit(self) -> str:
        return "px" if self._review is None else pixel_size(self._review.labels)[2]

    def waiting(self, name: str, under_way: bool) -> None:
        """Say on a button whether something on the image is waited for."""
        title, key, _ = _BUTTONS[name]
        self.buttons[name].setText("Stop (Esc)" if under_way else f"{title} ({key})")
        self.say(_WAITED_FOR[name] if under_way else "")

    def _make_buttons(self, act: Callable[[str], None]) -> QGridLayout:
        grid = QGridLayout()
        for place, (name, (title, key, tip)) in enumerate(_BUTTONS.items()):
            self.buttons[name] = button(f"{title} ({key})", partial(act, name), tip)
            grid.addWidget(self.buttons[name], place // 3, place % 3)
        self.buttons["learn"].setCheckable(True)
        return grid

    def _bind_keys(self, widget: QWidget, act: Callable[[str], None]) -> None:
        calls = {key: calling(act, name) for key, name in KEYS.items()}
        calls |= {key: calling(self.gallery.press, key) for key in DIGITS}
        for key, call in calls.items():
            shortcut = QShortcut(QKeySequence(key.replace("Control", "Ctrl").replace("-", "+")), widget)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(call)


def cells_of(review: LayerReview) -> pd.DataFrame:
    """Return the table of a review, lengths in µm where the layer has units of length."""
    return in_physical_units(review.cells, pixel_size(review.labels)[:2])
