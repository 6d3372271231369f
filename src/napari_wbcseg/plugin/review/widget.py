"""The widget *Review white blood cells*: look at each cell, correct it, and count again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ...errors import EditError
from ...segmentation.edit import label_under
from ...segmentation.measure import in_physical_units
from ..shared.canvas_guard import guard_canvas
from ..shared.class_colours import colour_cells
from ..shared.jobs import clean_up_with, timer
from ..shared.layer_picker import LayerPicker
from ..shared.metadata import LayerInfo, role_of
from ..shared.units import pixel_size
from ..shared.viewer import own_viewer, plane_shape
from .by_hand import ByHand
from .correction_store import AddToTrainingSet
from .decisions import Cell
from .differential_panel import DifferentialPanel
from .edits import plane_of
from .gallery import DIGITS
from .large_edit import ON_DISK, LargeEditor
from .layer import LayerReview
from .on_canvas import OnCanvas
from .panel import KEYS, ReviewPanel
from .table import SHOWN, CellTableModel

if TYPE_CHECKING:
    import napari
    import pandas as pd
    from napari.layers import Image, Labels, Layer

_START = "Run Segment white blood cells first, or open labels of your own."
_HISTOGRAM_DELAY = 150  # ms after the last change


class ReviewWidget(QWidget):
    """Shows a row a cell of a Labels layer, and corrects its cells.

    The same from a script: set ``labels`` and ``image``, then call `select`, `accept`, `reject`, `split`,
    `merge`, `next_to_check`; read ``cells``, ``selected`` and ``review``. A cell is given as its plane,
    0 for a single image, and its label. What cannot be done raises `EditError`.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    review : LayerReview or None
        The layer followed: its table in pixels, its count, the decisions (``review.decided``).
    extras : QVBoxLayout
        Room below for what others build on the review.
    """

    #: Emitted when another layer is reviewed, or none.
    layer_changed = Signal()
    #: Emitted when the table, the count or a decision changed.
    changed = Signal()
    #: Emitted with the selected cells.
    selection_changed = Signal(list)
    #: Emitted with the sentence that says what a button or key could not do.
    failed = Signal(str)

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer = own_viewer(napari_viewer)
        guard_canvas(viewer)  # frames come and go
        self.review: LayerReview | None = None
        self._canvas: OnCanvas | None = None
        self._labels_picker = LayerPicker(viewer, _is_cells, "no labels yet")
        self._image_picker = LayerPicker(viewer, self._fits, "no image of that shape")
        self._model = CellTableModel(self._colour_of)
        self.panel = panel = ReviewPanel(
            self, self._labels_picker, self._image_picker, self._model, lambda name: self._hand.act(name)
        )
        self._hand = hand = ByHand(self)
        self.extras: QVBoxLayout = panel.extras
        self.large = LargeEditor(viewer)
        self.large.chosen.connect(self._on_part)
        self.large.failed.connect(panel.say)
        self.extras.addWidget(self.large)
        self.extras.addWidget(AddToTrainingSet(self._corrected))
        self._draw_later = timer(_HISTOGRAM_DELAY, self._draw_histogram, self)
        self._draw_later.timeout.connect(self._colour_cells)
        self._labels_picker.changed.connect(self._follow)
        self._image_picker.changed.connect(self._on_image)
        panel.shown.currentIndexChanged.connect(self._filter)
        panel.condition.editingFinished.connect(self._filter)
        panel.this_plane.toggled.connect(self._filter)
        panel.table.chosen.connect(lambda cells: self._show_selected(cells, centre=True))
        self.gallery = gallery = panel.gallery
        gallery.chosen.connect(lambda cells: self._show_selected(cells, centre=True, soon=True))
        gallery.named.connect(hand.name)
        gallery.class_menu.failed.connect(panel.say)
        self.selection_changed.connect(gallery.select)
        self.layer_changed.connect(lambda: gallery.follow(self.review))
        for changed in (self._model.modelReset, self._model.dataChanged):
            changed.connect(lambda *_: gallery.show_cells(self.shown))
        panel.tabs.currentChanged.connect(hand.bind_keys)
        self.differential = shares = DifferentialPanel(self.viewer)
        panel.tabs.addTab(shares, "Differential")
        self.layer_changed.connect(lambda: shares.follow(self.review))
        self.changed.connect(shares.refresh)
        panel.column.currentIndexChanged.connect(self._draw_histogram)
        panel.histogram_part.toggled.connect(self._draw_histogram)
        self.viewer.dims.events.current_step.connect(self._on_plane)
        cleanup = clean_up_with(self)
        cleanup.add(self._let_go)
        cleanup.add(lambda: self.viewer.dims.events.current_step.disconnect(self._on_plane))
        self._follow()

    # What is reviewed ------------------------------------------------------------------------------------

    @property
    def labels(self) -> Labels | None:
        """The layer with the cells."""
        return self._labels_picker.value

    @labels.setter
    def labels(self, layer: Labels) -> None:
        self._labels_picker.value = layer

    @property
    def image(self) -> Image | None:
        """The stained image that goes with it; only images of the same shape are offered."""
        return self._image_picker.value

    @image.setter
    def image(self, layer: Image) -> None:
        self._image_picker.value = layer

    @property
    def cells(self) -> pd.DataFrame:
        """The table, lengths in µm where the layer has units of length; see `LayerReview.cells`."""
        review = self.need_review()
        height, width, _ = pixel_size(review.labels)
        return in_physical_units(review.cells, (height, width))

    @property
    def selected(self) -> list[Cell]:
        """The selected cells, in the order in which they were selected."""
        return self.panel.table.selected

    @property
    def to_check(self) -> list[Cell]:
        """Those of the table that are worth a second look, in its order."""
        return self._model.to_check

    @property
    def shown(self) -> list[Cell]:
        """The cells of the table from the top, as filtered and sorted."""
        return self._model.shown

    def show_only(self, shown: str = "All cells", condition: str = "", *, this_plane: bool = False) -> None:
        """Filter the table.

        Parameters
        ----------
        shown : str
            One of the list beside the filter, such as ``To check``.
        condition : str
            On the columns of ``cells``, such as ``area > 300 and lobes >= 2``.
        this_plane : bool
            Only cells of the plane on the canvas.

        Raises
        ------
        SettingsError
            If the condition cannot be read; the table stays as it is.
        """
        self.panel.set_filter(shown, condition, this_plane)
        self._apply_filter()

    def sort_by(self, column: str, *, descending: bool = False) -> None:
        """Sort the table by a column of ``cells``."""
        index = [each.name for each in self._model.columns].index(column)
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.panel.table.sortByColumn(index, order)

    def show_gallery(self) -> None:
        """Open the gallery."""
        self.panel.tabs.setCurrentWidget(self.gallery)

    def show_differential(self) -> None:
        """Open the differential."""
        self.panel.tabs.setCurrentWidget(self.differential)

    def show_histogram(self, column: str) -> None:
        """Open the histogram of a column of ``cells``."""
        self.panel.column.setCurrentIndex(self.panel.column.findData(column))
        self.panel.histogram_part.expand()

    # Selecting -------------------------------------------------------------------------------------------

    def select(self, cells: Iterable[Cell], *, centre: bool = True) -> None:
        """Select cells; the camera goes to the last of them."""
        review, chosen = self.need_review(), list(cells)
        there = set(review.keys())
        for cell in chosen:
            if cell not in there:
                raise EditError(f"There is no cell {cell[1]} on plane {cell[0]}.")
        self._show_selected(chosen, centre)

    def next_to_check(self, step: int = 1) -> Cell | None:
        """Go to the next cell to check, in the order of the table, and return it; None without one."""
        self.need_review()
        to_check, current = self._model.to_check, self.selected[-1:]
        if not to_check:
            self.panel.say("No cell is left to check.")
            return None
        row = self._model.row_of(current[0]) if current else None
        at = row if row is not None else (-1 if step > 0 else len(self._model.shown))
        rows = {cell: self._model.row_of(cell) or 0 for cell in to_check}
        beyond = [cell for cell in to_check if (rows[cell] > at if step > 0 else rows[cell] < at)]
        cell = (beyond or to_check)[0 if step > 0 else -1]
        self.select([cell])
        return cell

    def previous_to_check(self) -> Cell | None:
        """Go to the cell to check before this one."""
        return self.next_to_check(-1)

    # Correcting ------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Mark the selected cells as right; once more takes that back."""
        self.need_review().accept(self._need_selected("accept"))

    def reject(self) -> None:
        """Take the selected cells out of the labels; `undo` brings them back."""
        self.need_review().reject(self._need_selected("reject"))

    def split(self, stroke: np.ndarray | None = None) -> list[Cell]:
        """Cut a cell along a line, or give the pieces of the selected one numbers of their own.

        Parameters
        ----------
        stroke : ndarray of float, shape (n, 2), optional
            Row and column of the line's points, in pixels of the plane shown. It cuts the selected cell
            where it crosses that, and the cell it is longest in otherwise. Without one the selected cell's
            pieces are told apart.

        Returns
        -------
        list of tuple of int
            The cells that there are now; they are selected.
        """
        review = self.need_review()
        if stroke is None:
            cell = self._need_selected("split")[-1]
        else:
            plane = self._plane or 0
            wanted = [label for where, label in reversed(self.selected) if where == plane]
            cell = plane, label_under(plane_of(review.labels, plane), stroke, wanted)
        parts = review.split(cell, stroke)
        self.select(parts, centre=False)
        return parts

    def merge(self) -> Cell:
        """Make one cell of the selected ones, and return it."""
        whole = self.need_review().merge(self._need_selected("merge", 2))
        self.select([whole], centre=False)
        return whole

    def name(self, name: str) -> None:
        """Say what the selected cells are; see `LayerReview.name`."""
        self.need_review().name(self._need_selected("name"), name)

    def undo(self) -> None:
        """Take the last edit of the layer or the last decision back."""
        self.need_review().undo()

    def redo(self) -> None:
        """Do again what was taken back last."""
        self.need_review().redo()

    def need_review(self) -> LayerReview:
        """Return the review; `EditError` without one."""
        if self.review is None:
            raise EditError(f"There is no layer with cells. {_START}")
        return self.review

    def _need_selected(self, what: str, least: int = 1) -> list[Cell]:
        selected = self.selected
        if len(selected) < least:
            some = "a cell" if least == 1 else "two cells or more"
            raise EditError(f"Select {some} to {what}: click in the table or on the image (Shift adds).")
        return selected

    # Following the layer ---------------------------------------------------------------------------------

    def _fits(self, layer: Layer) -> bool:
        """Say whether a layer is an image that the chosen cells may be of."""
        from napari.layers import Image

        labels = self._labels_picker.value
        if labels is None or not isinstance(layer, Image) or role_of(layer) is not None:
            return False
        return plane_shape(layer) == plane_shape(labels)

    def _follow(self) -> None:
        """Review the chosen layer from now on."""
        self._let_go(later=True)
        labels = self._labels_picker.value
        self._image_picker.reset_choices()
        on_disk = self.large.follow(labels)
        if labels is None or on_disk:
            self._model.set_table(None, [], "px")
            self.panel.say(ON_DISK if on_disk else _START)
        else:
            self.panel.say("")
            self._start(labels)
        for button in self.panel.buttons.values():
            button.setEnabled(labels is not None and not on_disk)
        self.panel.this_plane.setVisible(self.review is not None and self.review.stacked)
        self._show_counts()
        self.layer_changed.emit()

    def _on_part(self, layer: Labels) -> None:
        """Review a part of a large result, or all of it again."""
        self.labels = layer
        self._follow()

    def _start(self, labels: Labels) -> None:
        source = LayerInfo.of(labels).source_id
        images = [layer for layer in self.viewer.layers if self._fits(layer)]
        for layer in images:
            if str(layer.unique_id) == source:
                self._image_picker.value = layer
        self.review = review = LayerReview(self.viewer, labels, self._image_picker.value)
        review.changed.connect(self._on_changed)
        review.measured.connect(self._on_measured)
        review.noted.connect(self.panel.say)
        self._canvas = canvas = OnCanvas(self.viewer, review, images)
        canvas.chosen.connect(self._show_selected)
        self._hand.bind_keys()
        self._on_changed()
        self._on_measured()

    def _let_go(self, later: bool = False) -> None:
        """Leave the layer as it was found.

        Our own layers go later where napari may be in the middle of removing some.
        """
        self._hand.close()
        review, self.review = self.review, None
        if self._canvas is not None:
            self._canvas.close(later)
            self._canvas = None
        if review is not None:
            review.close()
            for key in (*KEYS, *DIGITS):
                review.labels.bind_key(key, None)

    def _on_image(self) -> None:
        if self.review is not None:
            self.review.set_image(self._image_picker.value)

    def _on_changed(self) -> None:
        review = self.review
        if review is None:
            return
        self._model.set_table(self.cells, review.keys(), pixel_size(review.labels)[2])
        there, selected = set(review.keys()), self.selected
        left = [cell for cell in selected if cell in there]
        if len(left) < len(selected):
            self._show_selected(left)
        elif self._canvas is not None:
            self._canvas.show(selected, soon=True)
        self._show_counts()
        self._draw_later.start()
        self.changed.emit()

    def _on_measured(self) -> None:
        self.panel.table.fit_columns()
        if self.review is not None and not self.review.measuring:
            self.panel.say(self.review.image_problem)

    def _show_counts(self) -> None:
        review, plane = self.review, self._plane
        if review is None:
            self.panel.show_counts("" if self.labels is None else LayerInfo.of(self.labels).summary, "")
        else:
            of_stack = review.stacked and plane is not None
            here = [f"On this plane ({plane}): {review.summary(plane)}."] if of_stack else []
            if len(self._model.shown) < review.count:
                here.append(f"{len(self._model.shown)} of {review.count} shown in the table.")
            self.panel.show_counts(review.summary(), "\n".join(here))

    @property
    def _plane(self) -> int | None:
        """The plane on the canvas; None where the view is not of one."""
        return None if self._canvas is None else self._canvas.plane

    def _on_plane(self, event: Any = None) -> None:
        self._show_counts()
        if self.panel.this_plane.isChecked():
            self._filter()

    def _filter(self, *_: Any) -> None:
        """Filter by hand: what cannot be read is said."""
        with self._hand.said():
            self._apply_filter()

    def _apply_filter(self) -> None:
        conditions = [SHOWN[self.panel.shown.currentText()], self.panel.condition.text()]
        if self.panel.this_plane.isChecked() and self._plane is not None:
            conditions.append(f"plane == {self._plane}")
        self._model.set_conditions(conditions)
        self._show_counts()
        self._draw_histogram()

    # Rows and cells --------------------------------------------------------------------------------------

    def _show_selected(self, cells: list[Cell], centre: bool = False, soon: bool = False) -> None:
        """Show in the table, the gallery and on the canvas which cells are selected; see `OnCanvas.show`."""
        if self.review is None or self._canvas is None:
            return
        self.panel.table.select(cells)
        self._canvas.show(cells, centre, soon)
        self._draw_later.start()
        self.selection_changed.emit(cells)

    def _draw_histogram(self, *_: Any) -> None:
        if self.review is not None:
            rows = [row for cell in self.selected if (row := self._model.row_of(cell)) is not None]
            self.panel.draw_histogram(self._model.values, rows, pixel_size(self.review.labels)[2])

    def _colour_cells(self) -> None:
        review = self.review
        if review is not None and review.count and self._canvas is not None:
            # A new colormap tells that a label was chosen, though none was.
            self._canvas.quietly(lambda: colour_cells(review.labels, review.cells, review.classes))

    def _corrected(self) -> tuple[Image | None, Labels | None]:
        """Return the layers, with every decision written into the features."""
        if self.review is not None:
            self.review.update_now()
            self.review.write_features()
        return self.image, self.labels

    def _colour_of(self, label: int) -> Any:
        return None if self.review is None else self.review.labels.get_color(label)


def _is_cells(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and layer.ndim in (2, 3)
