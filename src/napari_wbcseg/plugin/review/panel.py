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
    QWidget,
)

from ...classification.learn import least_sure
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
    keys : dict of str to callable
        What each key does.
    layout : QVBoxLayout
        The whole of it, from above.
    """

    def __init__(
        self, widget: QWidget, layers: LayerChoice, model: CellTableModel, act: Callable[[str], None]
    ) -> None:
        self._review: LayerReview | None = None
        self.model, self.table, self.gallery = model, CellTable(model), Gallery(lambda: model.shown)
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
        self.buttons: dict[str, QPushButton] = {}
        self.keys = {key: calling(act, name) for key, name in KEYS.items()}
        self.keys |= {key: calling(self.gallery.press, key) for key in DIGITS}
        of_cells = "The layer with the cells: of the Segment widget, or any other labels."
        of_image = (
            "The stained image that stain and nucleus are measured on; those of the cells' shape are offered."
        )
        self.layout = layout = scrolled_column(widget, "Review")
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
        for key, call in self.keys.items():
            shortcut = QShortcut(QKeySequence(key.replace("Control", "Ctrl").replace("-", "+")), widget)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(call)

    def say(self, words: str) -> None:
        """Show a sentence below the buttons; none hides it."""
        self.message.setText(words)

    def follow(self, review: LayerReview | None) -> None:
        """List the cells of a review from now on; None for nothing."""
        self._review = review
        self.this_plane.setVisible(review is not None and review.stacked)

    def update(self) -> None:
        """Show the cells as they are now."""
        review = self._review
        if review is None:
            self.model.set_table(None, [], "px")
        else:
            self.model.set_table(cells_of(review), review.keys(), self._unit)
        self.show_counts()

    def filter(self) -> None:
        """Apply what the panel's filter says.

        Raises
        ------
        SettingsError
            If the condition cannot be read; the table stays as it is.
        """
        conditions = [SHOWN[self.shown.currentText()], self.condition.text()]
        plane = None if self._review is None else self._review.plane
        if self.this_plane.isChecked() and plane is not None:
            conditions.append(f"plane == {plane}")
        self.model.set_conditions(conditions)
        self.show_counts()
        self.draw_histogram()

    def show_counts(self) -> None:
        """Say how many cells there are, and how many of them are listed."""
        review = self._review
        if review is None:
            self.count.setText("")
            self.here.setText("")
            return
        info = LayerInfo.of(review.labels)
        here = [*info.notes] if info.in_doubt else []
        if review.stacked and review.plane is not None and not info.in_doubt:
            here.append(f"On this plane ({review.plane}): {review.summary(review.plane)}.")
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
        rows = [row for cell in self.table.selection.cells if (row := self.model.row_of(cell)) is not None]
        title = BY_NAME[name].header(self._unit).replace("\n", ", ")
        self.histogram.show_values(column, title, column[rows])

    def next_to_check(self, step: int = 1) -> Cell | None:
        """Return the cell to check after, or with -1 before, the selected one, in the order of the table."""
        to_check = set(self.model.to_check)
        return next((cell for cell in self._onwards(self.model.shown[::step]) if cell in to_check), None)

    def next_unsure(self) -> Cell | None:
        """Return the cell that it helps most to name, or the next such one after the selected cell."""
        if self._review is None:
            return None
        keys = self._review.keys()
        return next(iter(self._onwards([keys[row] for row in least_sure(self._review.cells)])), None)

    def _onwards(self, cells: list[Cell]) -> list[Cell]:
        """Return cells from the one behind the selected one on, those before it last."""
        selected = next(reversed(self.table.selection.cells), None)
        start = cells.index(selected) + 1 if selected in cells else 0
        return cells[start:] + cells[:start]

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


def cells_of(review: LayerReview) -> pd.DataFrame:
    """Return the table of a review, lengths in µm where the layer has units of length."""
    return in_physical_units(review.cells, pixel_size(review.labels)[:2])
