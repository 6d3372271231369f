"""How the widget *Review white blood cells* looks: its parts, and what each says of the cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLineEdit, QPushButton, QTabWidget

from ...errors import SettingsError
from ...segmentation.measure import in_physical_units
from ..controls.basic_widgets import Folded, Sentence, beside, button, form, with_tip
from ..controls.layer_picker import LayerPicker
from ..controls.panel import Panel, scrolled_column
from ..controls.plots import Histogram
from ..controls.unsaved_offer import UnsavedOffer
from ..shared.columns import BY_NAME, NUMBERS
from ..shared.jobs import timer
from ..shared.metadata import is_picture, is_stained
from ..shared.pictures import source_image
from ..shared.viewer import pixel_size, plane_shape
from .decisions import Cell
from .differential_panel import DifferentialPanel
from .gallery import Gallery
from .large_edit import LargeEditor
from .layer_review import LayerReview
from .selection import Selection
from .table import SHOWN, CellTable, CellTableModel

#: Actions that change outlines, which cells on disk do not allow.
EDITING = ("reject", "split", "merge", "outline_missed")
#: Title, key and tip of what has a button.
BUTTONS = {
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
        "by itself with three each of two classes, and goes on with each name. Once more takes it back.",
    ),
    "next_unsure": ("Next unsure", "U", "Go to the cell that it helps most to name next."),
    "undo": ("Undo", "Ctrl-Z", "Take the last edit or decision back (Ctrl-Shift-Z: do it again)."),
}
#: Keys, in the table and on the canvas while the layer is chosen, and the action of each.
KEYS = {
    **{key.replace("-", "+"): name for name, (_, key, _) in BUTTONS.items()},
    "Shift+N": "previous_to_check",
    "Ctrl+Shift+Z": "redo",
}
_WAITED_FOR = {
    "split": "Draw a line across the cell on the image. Esc leaves it.",
    "outline_missed": "Click on a cell of the image that was missed. Esc leaves it.",
}
_STORE_TIP = (
    "Stores this field and its cells, as they are now, in a folder that models are fine-tuned on "
    "(White blood cell models). The same field again replaces what was stored of it."
)
_SAVE_TIP = "A file that wbcseg classify, and Classes in the Segment panel, take."
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
        self.labels = LayerPicker(viewer, lambda layer: isinstance(layer, Labels), "no labels yet")
        self.image = LayerPicker(viewer, self._fits, "no image of that shape", follows=self._no_other_image)
        self._soon = timer(0, self._look)  # once both images and cells were replaced
        viewer.layers.events.inserted.connect(self._watch)
        self._watch()

    def fitting_images(self) -> list[Layer]:
        """Return the images that are offered."""
        return [layer for layer in self._viewer.layers if self._fits(layer)]

    def take_source(self) -> None:
        """Offer the images for the chosen cells, and choose the one that they were found in."""
        self.image.reset_choices()
        if self._source() in self.fitting_images():
            self.image.value = self._source()

    def _watch(self, event: Any = None) -> None:
        for layer in self._viewer.layers:
            layer.events.data.connect(self._on_data)  # once, however often

    def _on_data(self, event: Any) -> None:
        self._soon.start()

    def _look(self) -> None:
        """Offer the images that have the shape of the cells by now."""
        if isalive(self.image.native) and self.image.value not in self.fitting_images():
            self.take_source()

    def _source(self) -> Layer | None:
        """Return the image that the chosen cells were found in, if it is there."""
        return None if self.labels.value is None else source_image(self._viewer, self.labels.value)

    def _no_other_image(self, active: Layer) -> bool:
        """Say that another picture of the same size is not measured because it was clicked or opened."""
        return self._source() is None or not is_picture(active)

    def _fits(self, layer: Layer) -> bool:
        cells = self.labels.value
        return cells is not None and is_stained(layer) and plane_shape(layer) == plane_shape(cells)


class ReviewPanel:
    """Lays out the parts of the widget, and keeps table, counts and histogram those of one review.

    Parameters
    ----------
    widget : Panel
        Gets the layout, and says what cannot be done.
    viewer : napari.Viewer
    review : callable
        Gives the review, or None.
    act : callable
        Called with the name of an action whose button was pressed.
    """

    def __init__(
        self,
        widget: Panel,
        viewer: ViewerModel,
        review: Callable[[], LayerReview | None],
        act: Callable[[str], None],
    ) -> None:
        self._widget, self._review = widget, review
        self.layers, self.selection = LayerChoice(viewer), Selection()
        self.model = CellTableModel(self._colour_of)
        self.table = CellTable(self.model, self.selection)
        self.gallery = Gallery(lambda: self.model.shown, review, widget, self.selection)
        self.differential, self.large = DifferentialPanel(viewer, review), LargeEditor(viewer, review, widget)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.table, "Table")
        self.tabs.addTab(self.gallery, "Gallery")
        self.tabs.addTab(self.differential, "Differential")
        self.count = Sentence(look="font-size: 16pt; font-weight: bold;")  # napari's own rules over a font
        self.here = Sentence()
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
        self.store_field = button("Add to my training set", partial(act, "add_to_training_set"), _STORE_TIP)
        self.save_classifier = button("Save the classifier …", partial(act, "save_classifier"), _SAVE_TIP)
        self.model.modelReset.connect(self.gallery.renew)
        self.column.currentIndexChanged.connect(self.draw_histogram)
        self.histogram_part.toggled.connect(self.draw_histogram)
        self.buttons: dict[str, QPushButton] = {}
        for name, (title, key, tip) in BUTTONS.items():
            self.buttons[name] = button(f"{title} ({key})", partial(act, name), tip)
        self.buttons["learn"].setCheckable(True)
        chosen = self.shown.currentIndexChanged, self.condition.editingFinished, self.this_plane.toggled
        for changed in chosen:
            changed.connect(lambda *_: widget.by_hand(self.filter))
        self._lay_out(widget, viewer)

    def _lay_out(self, widget: Panel, viewer: ViewerModel) -> None:
        of_cells = "The layer with the cells: of the Segment widget, or any other labels."
        of_image = (
            "The stained image that stain and nucleus are measured on; those of the cells' shape are offered."
        )
        layout = scrolled_column(widget, "Review")
        layout.addWidget(UnsavedOffer(viewer))
        labels, image = self.layers.labels.native, self.layers.image.native
        layout.addLayout(form(("Cells", labels, of_cells), ("Image", image, of_image)))
        layout.addWidget(self.count)
        layout.addWidget(self.here)
        layout.addLayout(beside(self.shown, self.condition, self.this_plane, wide=self.condition))
        layout.addWidget(self.tabs, 1)
        grid = QGridLayout()
        for place, press in enumerate(self.buttons.values()):
            grid.addWidget(press, place // 3, place % 3)
        layout.addLayout(grid)
        for part in (widget.message, self.histogram_part, self.large, self.store_field, self.save_classifier):
            layout.addWidget(part)

    def update(self) -> None:
        """Show the cells as they are now; those that the filter hides by now are selected no more."""
        review = self._review()
        self.this_plane.setVisible(review is not None and review.stacked)
        if review is None:
            self.model.set_table(None, "px")
        else:
            if not review.stacked:
                self.this_plane.setChecked(False)
            try:
                self.model.set_table(cells_in_units(review), pixel_size(review.labels)[2])
            except SettingsError:  # these cells have no such column
                self.condition.clear()
                self.filter()
            self._select_listed()
        self.show_counts()

    def filter(self) -> None:
        """Apply what the panel's filter says; cells that it hides are selected no more.

        Raises
        ------
        SettingsError
            If the condition cannot be read; the table stays as it is.
        """
        conditions = [SHOWN[self.shown.currentText()], self.condition.text()]
        review = self._review()
        if self.this_plane.isChecked() and review is not None and review.plane is not None:
            conditions.append(f"plane == {review.plane}")
        self.model.set_conditions(conditions)
        self._select_listed()
        self.show_counts()
        self.draw_histogram()

    def _select_listed(self) -> None:
        listed = [cell for cell in self.selection.cells if self.model.row_of(cell) is not None]
        if len(listed) < len(self.selection.cells):
            self.selection.select(listed)

    def show_counts(self) -> None:
        """Say how many cells there are, and how many of them are listed."""
        review = self._review()
        if review is None:
            self.count.setText("")
            self.here.setText("")
            return
        info = review.info
        here = [*info.notes] if info.in_doubt else []
        if review.stacked and review.plane is not None and not info.in_doubt:
            here.append(f"On this plane ({review.plane}): {review.summary(review.plane)}.")
        if len(self.model.shown) < review.count:
            here.append(f"{len(self.model.shown)} of {review.count} shown in the table.")
        self.count.setText(review.summary())
        self.here.setText("\n".join(here))

    def draw_histogram(self, *_: Any) -> None:
        """Draw the chosen column of the cells listed, if the histogram is open; selected ones are marked."""
        review = self._review()
        if review is None or not self.histogram_part.isExpanded():
            return
        name = self.column.currentData()
        column = np.asarray(self.model.values(name), float)
        rows = [row for cell in self.selection.cells if (row := self.model.row_of(cell)) is not None]
        title = BY_NAME[name].header(pixel_size(review.labels)[2]).replace("\n", ", ")
        self.histogram.show_values(column, title, column[rows])

    def next_to_check(self, step: int = 1) -> Cell | None:
        """Return the cell to check after, or with -1 before, the selected one, in the order of the table."""
        to_check = set(self.model.to_check)
        return next((cell for cell in self.onwards(self.model.shown[::step]) if cell in to_check), None)

    def onwards(self, cells: list[Cell]) -> list[Cell]:
        """Return cells from the one behind the selected one on, those before it last."""
        selected = next(reversed(self.selection.cells), None)
        start = cells.index(selected) + 1 if selected in cells else 0
        return cells[start:] + cells[:start]

    def waiting(self, name: str, under_way: bool) -> None:
        """Say on a button whether something on the image is waited for."""
        title, key, _ = BUTTONS[name]
        self.buttons[name].setText("Stop (Esc)" if under_way else f"{title} ({key})")
        self._widget.say(_WAITED_FOR[name] if under_way else "")

    def _colour_of(self, label: int) -> Any:
        review = self._review()
        return None if review is None else review.labels.get_color(label)


def cells_in_units(review: LayerReview) -> pd.DataFrame:
    """Return the table of a review, lengths in µm where the layer has units of length."""
    return in_physical_units(review.cells, pixel_size(review.labels)[:2])
