"""The cells of a review: what is measured of each, what a model says, and what a person decided."""

from __future__ import annotations

import numpy as np
import pandas as pd
from napari.layers import Image
from qtpy.QtCore import QObject

from ...box import Box
from ...classification.classes import CLASS, ClassList
from ...classification.naming import said_by_model
from ...segmentation.tracking import TrackedCells
from ..shared.metadata import class_list
from .decisions import Cell, Decisions, Told
from .measured_cells import MeasuredCells


class ReviewedCells(QObject):
    """The table of the cells of a Labels layer, to be read; `LayerReview` corrects them.

    A cell is named by its plane, 0 for a single image, and its label.

    Parameters
    ----------
    measured : MeasuredCells
        The cells, with the layer and the image that they are measured on.
    """

    _decisions: Decisions

    def __init__(self, measured: MeasuredCells) -> None:
        super().__init__()
        self.labels, self._measured = measured.labels, measured
        self._table: pd.DataFrame | None = None
        self._found: tuple[Told | None, pd.DataFrame] | None = None  # and who told the classes in it

    # What is measured ------------------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The image that the stain is measured on; None for none."""
        return self._measured.image

    @property
    def image_problem(self) -> str:
        """Why the stain is not measured; empty where it is."""
        return self._measured.image_problem

    @property
    def measuring(self) -> bool:
        """Whether cells are still being measured in the background."""
        return self._measured.measuring

    @property
    def told(self) -> Told | None:
        """What a classifier says that learned from this review; see `Learning`."""
        return self._decisions.told

    # The table -------------------------------------------------------------------------------------------

    @property
    def stacked(self) -> bool:
        """Whether the layer has planes."""
        return bool(self.labels.ndim == 3)

    @property
    def classes(self) -> ClassList:
        """The classes that cells are sorted into: the list of the result, and what is found beside."""
        return class_list(self.labels).covering(sorted(set(self.cells[CLASS])))

    @property
    def cells(self) -> pd.DataFrame:
        """A row a cell, in pixels: the columns of `measure_labels`, and what was decided.

        ``plane`` (for a stack) comes first; ``certainty`` is NaN for cells drawn by hand; ``flag`` says
        what an edit did, such as ``2 pieces``; ``decision`` is ``accepted`` or empty; ``check`` is set
        for cells that are unsure or flagged, until they are accepted.
        """
        if self._table is None:
            self._table = self._make_table()
        return self._table

    @property
    def rejected(self) -> pd.DataFrame:
        """The cells that were rejected, as they were measured before."""
        return pd.DataFrame(list(self._decisions.rejected.values()), columns=self.cells.columns)

    @property
    def decided(self) -> pd.DataFrame:
        """All cells with their ``decision``: accepted, rejected (no longer in the labels) or empty."""
        rejected = self.rejected
        return pd.concat([self.cells, rejected], ignore_index=True) if len(rejected) else self.cells

    @property
    def count(self) -> int:
        """Number of cells, over all planes."""
        return sum(len(plane.table) for plane in self._measured.planes)

    @property
    def to_check(self) -> int:
        """Number of cells worth a second look."""
        return int(self.cells["check"].sum())

    def keys(self) -> list[Cell]:
        """Return plane and label of each row of `cells`."""
        return _keys(self.cells)

    def box_of(self, cell: Cell) -> Box:
        """Return the bounding box of a cell, in pixels of its plane.

        Raises
        ------
        KeyError
            If it is not there.
        """
        return self._measured.planes[cell[0]].box_of(cell[1])

    def _make_table(self) -> pd.DataFrame:
        told = self._decisions.told
        if self._found is None or self._found[0] is not told:
            self._found = told, self._found_cells(told)
        table = self._found[1]
        return self._decisions.add_columns(table, _keys(table))

    def _found_cells(self, told: Told | None) -> pd.DataFrame:
        """Return the cells as they are measured, with what a classifier says that learned here."""
        planes = self._measured.planes or [TrackedCells(np.zeros((0, 0), np.int32))]
        tables = [plane.table for plane in planes]
        if self.stacked:
            tables = [table.assign(plane=index) for index, table in enumerate(tables)]
        table = pd.concat(tables, ignore_index=True)
        if self.stacked:
            table.insert(0, "plane", table.pop("plane"))
        if told is None:
            return table
        return said_by_model(table, told.probabilities.reindex(table["label"]), told.classes)


def _keys(table: pd.DataFrame) -> list[Cell]:
    planes = table["plane"].tolist() if "plane" in table else [0] * len(table)
    return list(zip(planes, table["label"].tolist(), strict=True))
