"""What is said of the cells of a large result, kept in its table on disk."""

from __future__ import annotations

import pandas as pd
from napari.utils.notifications import show_error

from ...classification.classes import ClassList
from ...progress import Progress
from ...segmentation.large.result import LargeResult
from ..shared.jobs import Job, busy, in_background


class DiskCopy:
    """Writes what is said of cells into the table of their result, off the window's thread.

    Where that cannot be written, it says so, once until it can be written again.

    Parameters
    ----------
    folder : str
        Of the result.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._job: Job | None = None
        self._told: tuple[pd.DataFrame, ClassList] | None = None
        self._kept: tuple[pd.DataFrame, ClassList] | None = None
        self._waiting: tuple[pd.DataFrame, ClassList] | None = None
        self._failing = False

    def write(self, cells: pd.DataFrame, classes: ClassList) -> None:
        """Write a table of the cells as they are now, and their classes; while one is written, afterwards.

        What is told first is there already: whoever only looks at cells changes no file.
        """
        before, self._told = self._told, (cells, classes)
        self._kept = self._kept or self._told
        if before is None or (cells.equals(before[0]) and classes == before[1]):
            return
        self._waiting = self._told
        if not busy(self._job):
            self._go_on()

    def _go_on(self) -> None:
        if self._waiting is not None:
            self._job = in_background(
                self._write_waiting,
                done=self._on_kept,
                failed=self._on_failed,
                ended=lambda: self._go_on(),  # not bound: Qt keeps no owner, and the review may be gone
            )

    def _write_waiting(self, progress: Progress) -> None:
        """Write what is told, and what is told meanwhile, as napari may end before this is; in a thread."""
        while self._waiting is not None and self._kept is not None:
            (cells, classes), self._waiting = self._waiting, None
            others = None if classes == self._kept[1] else classes
            LargeResult.open(self._folder).keep_said(changed(cells, self._kept[0]), others)
            self._kept = cells, classes

    def _on_kept(self, _: object) -> None:
        self._failing = False

    def _on_failed(self, words: str) -> None:
        if not self._failing:
            show_error(
                f"What you decide is not being kept. {words} Once that is mended, accept or name a cell: "
                "all that you decided is written with it."
            )
        self._failing = True


def changed(cells: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of cells that are others than before: of the rest others may have told meanwhile."""
    now = cells.set_index("label")
    then = before.set_index("label").reindex(index=now.index, columns=now.columns)
    same = (now == then) | (now.isna() & then.isna())
    return cells[~same.all(axis=1).to_numpy()]
