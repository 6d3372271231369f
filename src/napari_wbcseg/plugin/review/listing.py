"""The cells of a review as the panel lists them: filtered and sorted, counted in words, as a histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...classification.learn import least_sure
from ...segmentation.measure import in_physical_units
from ..shared.metadata import LayerInfo
from ..shared.units import pixel_size
from .decisions import Cell
from .panel import ReviewPanel
from .table import SHOWN

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

    from .layer import LayerReview


class Listing:
    """Keeps table, counts and histogram of the panel those of one review.

    Parameters
    ----------
    panel : ReviewPanel

    Attributes
    ----------
    plane : int or None
        The plane on the canvas; None where the view is not of one.
    """

    def __init__(self, panel: ReviewPanel) -> None:
        self._panel, self._model = panel, panel.model
        self._review: LayerReview | None = None
        self.plane: int | None = None

    def follow(self, review: LayerReview | None, labels: Labels | None) -> None:
        """List the cells of a review from now on; without one, say what is known of a layer."""
        self._review = review
        if review is None:
            self._model.set_table(None, [], "px")
            self._panel.show_counts("" if labels is None else LayerInfo.of(labels).summary, "")
        self._panel.this_plane.setVisible(review is not None and review.stacked)

    def update(self) -> None:
        """Show the cells as they are now."""
        if self._review is not None:
            self._model.set_table(cells_of(self._review), self._review.keys(), self._unit)
            self.show_counts()

    def go_to_plane(self, plane: int | None) -> bool:
        """Count the plane on the canvas, and say whether another filter follows from that."""
        self.plane = plane
        self.show_counts()
        return self._panel.this_plane.isChecked()

    def filter(self) -> None:
        """Apply what the panel's filter says.

        Raises
        ------
        SettingsError
            If the condition cannot be read; the table stays as it is.
        """
        conditions = [SHOWN[self._panel.shown.currentText()], self._panel.condition.text()]
        if self._panel.this_plane.isChecked() and self.plane is not None:
            conditions.append(f"plane == {self.plane}")
        self._model.set_conditions(conditions)
        self.show_counts()

    def show_counts(self) -> None:
        """Say how many cells there are, and how many of them are listed."""
        review = self._review
        if review is None:
            return
        of_stack = review.stacked and self.plane is not None
        here = [f"On this plane ({self.plane}): {review.summary(self.plane)}."] if of_stack else []
        if len(self._model.shown) < review.count:
            here.append(f"{len(self._model.shown)} of {review.count} shown in the table.")
        self._panel.show_counts(review.summary(), "\n".join(here))

    def draw_histogram(self, *_: Any) -> None:
        """Draw the chosen column of the cells listed; the selected ones are marked."""
        if self._review is not None:
            selected = self._panel.table.selected
            rows = [row for cell in selected if (row := self._model.row_of(cell)) is not None]
            self._panel.draw_histogram(self._model.values, rows, self._unit)

    def next_to_check(self, current: Cell | None, step: int) -> Cell | None:
        """Return the cell to check after, or with -1 before, another one, in the order of the table."""
        to_check = self._model.to_check
        row = None if current is None else self._model.row_of(current)
        at = row if row is not None else (-1 if step > 0 else len(self._model.shown))
        rows = {cell: self._model.row_of(cell) or 0 for cell in to_check}
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


def cells_of(review: LayerReview) -> pd.DataFrame:
    """Return the table of a review, lengths in µm where the layer has units of length."""
    return in_physical_units(review.cells, pixel_size(review.labels)[:2])
