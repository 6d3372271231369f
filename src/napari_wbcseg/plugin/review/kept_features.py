"""What a review keeps in the features of its layer, or on disk, and what it finds there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from ...classification.classes import CLASS, PROBABILITY, ClassList, probability_columns
from ...progress import Progress
from ...segmentation.measure import COLUMNS
from ..shared.features import known_cells, known_values, write_features
from ..shared.jobs import Job, in_background, say_error, timer
from .decisions import ACCEPTED, Decisions

_DELAY = 300  # ms after the last change


class KeptFeatures(QObject):
    """Writes the table of a review into the features of a layer, a moment after it changed.

    Parameters
    ----------
    labels : Labels
    table : callable
        Gives the table; None while it cannot be written yet.
    """

    #: Emitted when others wrote, such as a segmentation that ran again into the same layer.
    replaced = Signal()
    #: Emitted after the table was written.
    written = Signal()

    def __init__(self, labels: Labels, table: Callable[[], pd.DataFrame | None]) -> None:
        super().__init__()
        self._labels, self._table = labels, table
        self._known = labels.features  # that were read or written here
        self._later = timer(_DELAY, self.write, self)
        labels.events.features.connect(self._on_features)

    def close(self) -> None:
        """Write what is not written yet, and stop following the layer."""
        self._labels.events.features.disconnect(self._on_features)
        if self._later.isActive() and self._table() is not None:
            self.write()
        self._later.stop()

    def read(self) -> tuple[Decisions, pd.DataFrame]:
        """Return what the model, or an earlier review, decided and knew of the cells."""
        check, flagged = known_values(self._labels, "check"), known_values(self._labels, "flag")
        accepted = known_values(self._labels, "decision")
        decisions = Decisions(
            known_values(self._labels, "certainty"),
            {label for label, value in check.items() if value is True and label not in flagged},
            {label for label, decision in accepted.items() if decision == ACCEPTED},
        )
        return decisions, known_cells(self._labels)

    def write_soon(self) -> None:
        """Write the table once nothing has changed for a moment."""
        self._later.start()

    def write(self) -> None:
        """Write the table now, or soon where it cannot be written yet; columns of others stay as they are."""
        self._later.stop()
        table = self._table()
        if table is None:
            self._later.start()
            return
        known = known_cells(self._labels)
        others = known.columns.difference([*COLUMNS, *probability_columns(table)])
        with self._labels.events.features.blocker(self._on_features):
            write_features(self._labels, table.drop(columns=others, errors="ignore"))
        self._known = self._labels.features
        self.written.emit()

    def rename_classes(self, renamed: Mapping[str, str]) -> None:
        """Give classes, by their old names, new ones."""
        columns = {f"{PROBABILITY}{old}": f"{PROBABILITY}{new}" for old, new in renamed.items()}
        features = self._labels.features.rename(columns=columns)
        self._labels.features = features.assign(**{CLASS: features[CLASS].replace(dict(renamed))})

    def _on_features(self, event: Any) -> None:
        if self._labels.features is not self._known:
            self._known = self._labels.features
            self._later.stop()
            self.replaced.emit()


class DiskCopy:
    """Keeps what is said of the cells of a large result in its table on disk, off the window's thread.

    Where that cannot be written, it says so, once until it can be written again.

    Parameters
    ----------
    folder : Path
        Of the result.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._job: Job | None = None
        self._waiting: tuple[pd.DataFrame, ClassList] | None = None
        self._failing = False

    def write(self, cells: pd.DataFrame, classes: ClassList) -> None:
        """Write a table of the cells as they are now, and their classes; while one is written, afterwards."""
        if self._job is not None:
            self._waiting = cells, classes
            return
        folder = self._folder

        def keep(progress: Progress) -> None:
            from ...segmentation.large.result import LargeResult

            LargeResult.open(folder).keep_said(cells, classes)

        self._job = in_background(keep, done=self._on_kept, failed=self._on_failed, ended=self._on_ended)

    def _on_kept(self, _: object) -> None:
        self._failing = False

    def _on_failed(self, words: str) -> None:
        if not self._failing:
            say_error(
                f"What you decide is not being kept. {words} Once that is mended, accept or name a cell: "
                "all that you decided is written with it."
            )
        self._failing = True

    def _on_ended(self) -> None:
        self._job = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.write(*waiting)
