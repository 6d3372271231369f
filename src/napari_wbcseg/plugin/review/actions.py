"""What can be done with the cells of a review, from a script as by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QWidget

from ...errors import EditError
from ...segmentation.edit import label_under
from ..shared.jobs import Cleanup
from .canvas import OnCanvas
from .decisions import Cell
from .differential_panel import DifferentialPanel
from .edits import plane_of
from .layer import LayerReview
from .learning import Learning
from .missed_cell import MissedCell
from .panel import ReviewPanel, cells_of

START = "Run Segment white blood cells first, or open labels of your own."


class ReviewTools:
    """The tools of a review; they come and go with it.

    Parameters
    ----------
    viewer : napari.Viewer
    review : LayerReview
    images : sequence of Layer
        Pictures under its cells.
    """

    def __init__(self, viewer: ViewerModel, review: LayerReview, images: Sequence[Layer]) -> None:
        self._cleanup = Cleanup()
        self.canvas = OnCanvas(viewer, review, images)
        self.learning = Learning(review, self._cleanup)
        self.missed = MissedCell(review, self._cleanup)

    def close(self, later: bool) -> None:
        """End what is under way, and leave the canvas as it was found; see `OnCanvas.close`."""
        self._cleanup.run()
        self.canvas.close(later)


class ReviewActions(QWidget):
    """Selects, decides on and corrects the cells of the layer that is reviewed; `ReviewWidget` chooses that.

    A cell is given as its plane, 0 for a single image, and its label. What cannot be done raises `EditError`.

    Attributes
    ----------
    viewer : napari.Viewer
    review : LayerReview or None
        The layer followed: its table in pixels, its count, the decisions (``review.decided``).
    tools : ReviewTools or None
        The canvas, learning, and outlining of missed cells.
    panel : ReviewPanel
        Table, gallery and buttons.
    differential : DifferentialPanel
    """

    #: Emitted with the selected cells.
    selection_changed = Signal(list)
    #: Emitted with the sentence that says what a button or key could not do.
    failed = Signal(str)

    viewer: ViewerModel
    panel: ReviewPanel
    differential: DifferentialPanel

    def __init__(self) -> None:
        super().__init__()
        self.review: LayerReview | None = None
        self.tools: ReviewTools | None = None

    # What is listed --------------------------------------------------------------------------------------

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
        self.panel.filter()
        self.panel.draw_histogram()

    def sort_by(self, column: str, *, descending: bool = False) -> None:
        """Sort the table by a column of ``cells``."""
        index = [each.name for each in self.panel.model.columns].index(column)
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.panel.table.sortByColumn(index, order)

    def show_gallery(self) -> None:
        """Open the gallery."""
        self.panel.tabs.setCurrentWidget(self.panel.gallery)

    def show_differential(self, folder: Path | None = None) -> None:
        """Open the differential, of the picture or of all results in a folder, whatever the picture has."""
        self.differential.count_in(folder)
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
        cell = self.panel.next_to_check(next(reversed(self.selected), None), step)
        return self._go_to(cell, "No cell is left to check.")

    def previous_to_check(self) -> Cell | None:
        """Go to the cell to check before this one."""
        return self.next_to_check(-1)

    def next_unsure(self) -> Cell | None:
        """Go to the cell that it helps most to name next, and return it; None without one."""
        self.need_review()
        cell = self.panel.next_unsure(next(reversed(self.selected), None))
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
            plane = self.panel.plane or 0
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
            raise EditError(f"There is no layer with cells. {START}")
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

    def _show_selected(self, cells: list[Cell], centre: bool = False, soon: bool = False) -> None:
        """Show in the table, the gallery and on the canvas which cells are selected; see `OnCanvas.show`."""
        if self.tools is None:
            return
        self.panel.table.select(cells)
        self.tools.canvas.show(cells, centre, soon)
        self.selection_changed.emit(cells)
