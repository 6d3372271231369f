"""The widget *Review white blood cells*: look at each cell, correct it, and count again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ...errors import EditError
from ...segmentation.edit import label_under
from ..shared.canvas_guard import guard_canvas
from ..shared.jobs import clean_up_with, timer
from ..shared.unsaved_offer import UnsavedOffer
from ..shared.viewer import own_viewer
from .by_hand import ByHand
from .correction_store import AddToTrainingSet
from .decisions import Cell
from .differential_panel import DifferentialPanel
from .edits import plane_of
from .gallery import DIGITS
from .large_edit import ON_DISK, LargeEditor
from .layer import LayerReview
from .layer_choice import LayerChoice
from .learning import SaveClassifier
from .listing import Listing, cells_of
from .panel import EDITING, KEYS, ReviewPanel
from .table import CellTableModel
from .tools import ReviewTools

if TYPE_CHECKING:
    import napari
    import pandas as pd
    from napari.layers import Image, Labels

_START = "Run Segment white blood cells first, or open labels of your own."
_DRAW_DELAY = 300  # ms after the last change


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
    tools : ReviewTools or None
        The canvas, learning, and outlining of missed cells.
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
        self.tools: ReviewTools | None = None
        self._layers = layers = LayerChoice(viewer)
        model = CellTableModel(self._colour_of)
        self.panel = panel = ReviewPanel(
            self, layers.labels, layers.image, model, lambda name: self._hand.act(name)
        )
        panel.top.insertWidget(0, UnsavedOffer(viewer))
        self._hand = hand = ByHand(self)
        self._listing = listing = Listing(panel)
        self.extras: QVBoxLayout = panel.extras
        self.large = LargeEditor(viewer)
        self.large.chosen.connect(self._on_part)
        self.large.failed.connect(panel.say)
        self.extras.addWidget(self.large)
        self.extras.addWidget(AddToTrainingSet(self._corrected))
        self.save_classifier = export = SaveClassifier(hand.fail)
        self.extras.addWidget(export)
        self._draw_later = timer(_DRAW_DELAY, self._draw, self)
        layers.labels.changed.connect(self._follow)
        layers.image.changed.connect(self._on_image)
        panel.shown.currentIndexChanged.connect(self._filter)
        panel.condition.editingFinished.connect(self._filter)
        panel.this_plane.toggled.connect(self._filter)
        panel.table.chosen.connect(lambda cells: self._show_selected(cells, centre=True))
        self.gallery = gallery = panel.gallery
        gallery.chosen.connect(lambda cells: self._show_selected(cells, centre=True, soon=True))
        gallery.named.connect(hand.name)
        gallery.class_menu.failed.connect(panel.say)
        self.selection_changed.connect(gallery.select)
        for changed in (model.modelReset, model.dataChanged):
            changed.connect(lambda *_: gallery.show_cells(self.shown))
        panel.tabs.currentChanged.connect(hand.bind_keys)
        self.differential = shares = DifferentialPanel(self.viewer)
        panel.tabs.addTab(shares, "Differential")
        for part in (export, gallery, shares):
            self.layer_changed.connect(lambda part=part: part.follow(self.review))
        for part in (export, shares):
            self.changed.connect(part.refresh)
        panel.column.currentIndexChanged.connect(listing.draw_histogram)
        panel.histogram_part.toggled.connect(listing.draw_histogram)
        self.viewer.dims.events.current_step.connect(self._on_plane)
        self._cleanup = cleanup = clean_up_with(self)
        cleanup.add(self._let_go)
        cleanup.add(lambda: self.viewer.dims.events.current_step.disconnect(self._on_plane))
        self._follow()

    # What is reviewed ------------------------------------------------------------------------------------

    @property
    def labels(self) -> Labels | None:
        """The layer with the cells."""
        return self._layers.labels.value

    @labels.setter
    def labels(self, layer: Labels) -> None:
        self._layers.labels.value = layer

    @property
    def image(self) -> Image | None:
        """The stained image that goes with it; only images of the same shape are offered."""
        return self._layers.image.value

    @image.setter
    def image(self, layer: Image) -> None:
        self._layers.image.value = layer

    @property
    def cells(self) -> pd.DataFrame:
        """The table, lengths in µm where the layer has units of length; see `LayerReview.cells`."""
        return cells_of(self.need_review())

    @property
    def selected(self) -> list[Cell]:
        """The selected cells, in the order in which they were selected."""
        return self.panel.table.selected

    @property
    def to_check(self) -> list[Cell]:
        """Those of the table that are worth a second look, in its order."""
        return self.panel.model.to_check

    @property
    def shown(self) -> list[Cell]:
        """The cells of the table from the top, as filtered and sorted."""
        return self.panel.model.shown

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
        self._listing.filter()
        self._listing.draw_histogram()

    def sort_by(self, column: str, *, descending: bool = False) -> None:
        """Sort the table by a column of ``cells``."""
        index = [each.name for each in self.panel.model.columns].index(column)
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.panel.table.sortByColumn(index, order)

    def show_gallery(self) -> None:
        """Open the gallery."""
        self.panel.tabs.setCurrentWidget(self.gallery)

    def show_differential(self, *, folder: bool = False) -> None:
        """Open the differential, of the picture or of all results in its folder."""
        self.differential.folder.setChecked(folder)
        self.panel.tabs.setCurrentWidget(self.differential)

    def show_histogram(self, column: str) -> None:
        """Open the histogram of a column of ``cells``."""
        self.panel.column.setCurrentIndex(self.panel.column.findData(column))
        self.panel.histogram_part.expand()

    # Selecting -------------------------------------------------------------------------------------------

    def select(self, cells: Iterable[Cell], *, centre: bool = True) -> None:
        """Select cells; the camera goes to the last of them."""
        self._show_selected(self.need_review().there(cells), centre)

    def next_to_check(self, step: int = 1) -> Cell | None:
        """Go to the next cell to check, in the order of the table, and return it; None without one."""
        self.need_review()
        cell = self._listing.next_to_check(next(reversed(self.selected), None), step)
        return self._go_to(cell, "No cell is left to check.")

    def previous_to_check(self) -> Cell | None:
        """Go to the cell to check before this one."""
        return self.next_to_check(-1)

    def next_unsure(self) -> Cell | None:
        """Go to the cell that it helps most to name next, and return it; None without one."""
        self.need_review()
        cell = self._listing.next_unsure(next(reversed(self.selected), None))
        return self._go_to(cell, "No cell is left whose class a model told.")

    def _go_to(self, cell: Cell | None, why_not: str) -> Cell | None:
        if cell is None:
            self.panel.say(why_not)
        else:
            self.select([cell])
        return cell

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
            plane = self._listing.plane or 0
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

    def learn(self) -> None:
        """Learn the classes from the cells named so far, in the background; see `Learning.learn`."""
        self._need_tools().learning.learn()

    def outline_at(self, point: tuple[float, float], plane: int = 0) -> None:
        """Outline a missed cell at a point, row and column in pixels, in the background, and select it."""
        self._need_tools().missed.find(plane, point)

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

    def _need_tools(self) -> ReviewTools:
        self.need_review()
        assert self.tools is not None
        return self.tools

    def _need_selected(self, what: str, least: int = 1) -> list[Cell]:
        selected = self.selected
        if len(selected) < least:
            some = "a cell" if least == 1 else "two cells or more"
            raise EditError(f"Select {some} to {what}: click in the table or on the image (Shift adds).")
        return selected

    # Following the layer ---------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Review the chosen layer from now on."""
        if self._cleanup.done:
            return  # a removed panel's lists go on following the viewer, and two reviews would disagree
        self._let_go(later=True)
        labels = self.labels
        self._layers.take_source()
        on_disk = self.large.follow(labels)
        self.panel.say(_START if labels is None else ON_DISK if on_disk else "")
        if labels is not None:
            self._start(labels)
        else:
            self._listing.follow(None, labels)
        for name, button in self.panel.buttons.items():
            button.setEnabled(labels is not None and not (on_disk and name in EDITING))
        self.layer_changed.emit()

    def _on_part(self, layer: Labels) -> None:
        """Review a part of a large result, or all of it again."""
        self.labels = layer
        self._follow()

    def _start(self, labels: Labels) -> None:
        self.review = review = LayerReview(self.viewer, labels, self.image)
        review.changed.connect(self._on_changed)
        review.measured.connect(self._on_measured)
        review.noted.connect(self.panel.say)
        self.tools = tools = ReviewTools(self.viewer, review, self._layers.images)
        tools.canvas.chosen.connect(self._show_selected)
        tools.canvas.missed.connect(self._hand.on_missed)
        tools.learning.learnt.connect(self._hand.show_suggesting)
        tools.missed.found.connect(lambda cell: self.select([cell], centre=False))
        for part in (tools.learning, tools.missed):
            part.failed.connect(self._hand.fail)
        self._hand.show_suggesting()
        self._listing.plane = tools.canvas.plane
        self._listing.follow(review, labels)
        self._hand.bind_keys()
        self._on_changed()
        self._on_measured()

    def _let_go(self, later: bool = False) -> None:
        """Leave the layer as it was found.

        Our own layers go later where napari may be in the middle of removing some.
        """
        self._hand.close()
        tools, self.tools = self.tools, None
        if tools is not None:
            tools.close(later)
        review, self.review = self.review, None
        if review is not None:
            review.close()
            for key in (*KEYS, *DIGITS):
                review.labels.bind_key(key, None)

    def _on_image(self) -> None:
        if self.review is not None:
            self.review.set_image(self._layers.image.value)

    def _on_changed(self) -> None:
        if self.review is None or self.tools is None:
            return
        self._listing.update()
        there, selected = set(self.review.keys()), self.selected
        left = [cell for cell in selected if cell in there]
        if len(left) < len(selected):
            self._show_selected(left)
        else:
            self.tools.canvas.show(selected, soon=True)
        self._draw_later.start()
        self.changed.emit()

    def _on_measured(self) -> None:
        self.panel.table.fit_columns()
        if self.review is not None and not self.review.measuring and not self.review.on_disk:
            self.panel.say(self.review.image_problem)

    def _on_plane(self, event: Any = None) -> None:
        if self.tools is not None and self._listing.go_to_plane(self.tools.canvas.plane):
            self._filter()

    def _filter(self, *_: Any) -> None:
        """Filter by hand: what cannot be read is said."""
        with self._hand.said():
            self._listing.filter()
            self._listing.draw_histogram()

    # Rows and cells --------------------------------------------------------------------------------------

    def _show_selected(self, cells: list[Cell], centre: bool = False, soon: bool = False) -> None:
        """Show in the table, the gallery and on the canvas which cells are selected; see `OnCanvas.show`."""
        if self.tools is None:
            return
        self.panel.table.select(cells)
        self.tools.canvas.show(cells, centre, soon)
        self._draw_later.start()
        self.selection_changed.emit(cells)

    def _draw(self) -> None:
        """Draw what may wait until the hands rest."""
        self._listing.draw_histogram()
        if self.tools is not None:
            self.tools.canvas.colour()

    def _corrected(self) -> tuple[Image | None, Labels | None]:
        """Return the layers, with every decision written into the features."""
        if self.review is not None:
            self.review.update_now()
            self.review.write_features()
        return self.image, self.labels

    def _colour_of(self, label: int) -> Any:
        return None if self.review is None else self.review.labels.get_color(label)
