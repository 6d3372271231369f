"""What a review keeps in the features of its layer, or on disk, and what it finds there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from napari.layers import Labels

from ...classification.classes import CLASS, PROBABILITY, ClassList, probability_columns
from ...progress import Progress
from ...segmentation.measure import COLUMNS
from ..shared.features import known_cells, known_values, write_features
from ..shared.jobs import Job, in_background, say_error
from .decisions import ACCEPTED, Decisions


def decisions_in(labels: Labels) -> Decisions:
    """Return what the model, or an earlier review, decided of the cells of a layer."""
    check, flagged = known_values(labels, "check"), known_values(labels, "flag")
    accepted = known_values(labels, "decision")
    return Decisions(
        known_values(labels, "certainty"),
        {label for label, value in check.items() if value is True and label not in flagged},
        {label for label, decision in accepted.items() if decision == ACCEPTED},
    )


def keep(labels: Labels, table: pd.DataFrame) -> None:
    """Write the table of a review into the features of its layer; columns of others stay as they are."""
    others = known_cells(labels).columns.difference([*COLUMNS, *probability_columns(table)])
    write_features(labels, table.drop(columns=others, errors="ignore"))


def rename_classes(labels: Labels, renamed: Mapping[str, str]) -> None:
    """Give classes in the features of a layer, by their old names, new ones."""
    columns = {f"{PROBABILITY}{old}": f"{PROBABILITY}{new}" for old, new in renamed.items()}
    features = labels.features.rename(columns=columns)
    labels.features = features.assign(**{CLASS: features[CLASS].replace(dict(renamed))})


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
