"""The cells of a large result as its table has them: too many pixels to be measured or edited in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...box import Box
from ...progress import Progress
from ..shared.jobs import Job
from ..shared.viewer import image_data
from .measured_cells import MeasuredCells

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from ...classification.classes import ClassList

_AROUND = 0.75  # diameters from the centre of a cell to the sides of its box; most cells lie inside


class StoredPlane:
    """The table of a large result, a row a label, and about where each cell lies."""

    def __init__(self, table: pd.DataFrame, shape: tuple[int, int]) -> None:
        self.table, self.shape = table.set_index("label", drop=False).rename_axis(None), shape

    def box_of(self, label: int) -> Box:
        """Return a box about a cell, from its centre and size."""
        row, col, diameter = (float(self.table.at[label, name]) for name in ("row", "col", "diameter"))  # type: ignore[arg-type]
        return Box.square(row, col, int(np.ceil(_AROUND * diameter))).grown(0, self.shape)


class StoredCells(MeasuredCells):
    """Stands for the measured cells of a layer whose cells are on disk; nothing of it is measured anew."""

    def measure(self) -> None:
        """Take the table from the layer's features."""
        there = self.known[(self.known["label"] > 0) & self.known["row"].notna()]
        height, width = image_data(self.labels).shape
        self.planes = [StoredPlane(there, (height, width))]
        self.changed.emit([], False)
        self.finished.emit()

    def update_now(self) -> None:
        """Do nothing: the layer is not edited."""


class DiskCopy:
    """Keeps what is said of the cells of a large result in its table on disk, off the window's thread.

    Parameters
    ----------
    folder : Path
        Of the result.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job: Job | None = None
        self._waiting: tuple[pd.DataFrame, ClassList] | None = None

    def write(self, cells: pd.DataFrame, classes: ClassList) -> None:
        """Write a table of the cells as they are now, and their classes; while one is written, afterwards."""
        if self._job is not None:
            self._waiting = cells, classes
            return
        folder = self._folder

        def keep(progress: Progress) -> None:
            from ...segmentation.large.result import LargeResult

            LargeResult.open(folder).keep_said(cells, classes)

        self._job = job = Job(keep)
        job.ended.connect(self._on_ended)
        job.start()

    def _on_ended(self) -> None:
        self._job = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.write(*waiting)
