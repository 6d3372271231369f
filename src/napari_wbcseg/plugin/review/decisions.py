"""What is known of each cell besides its measurements: certainty, what edits did, what was decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ...classification.classes import ClassList
from ...classification.naming import each_named
from ...network.classifier import ClassifierFile
from ...segmentation.tracking import Change

#: Plane (0 for a single image) and label of a cell.
Cell = tuple[int, int]

ACCEPTED, REJECTED = "accepted", "rejected"


class Accepted(NamedTuple):
    """What was accepted with a cell: its flag, and the class that a model said of it, if any."""

    flag: str
    name: str = ""


@dataclass(frozen=True, eq=False)
class Told:
    """What a classifier says of cells.

    Attributes
    ----------
    classifier : ClassifierFile
    classes : ClassList
    probabilities : DataFrame
        A column a class, indexed by label; a cell that it did not look at is not among them.
    """

    classifier: ClassifierFile
    classes: ClassList
    probabilities: pd.DataFrame


class Decisions:
    """Remembers decisions and flags by cell, and classes by label, through edits and undo.

    Parameters
    ----------
    certainty : mapping of int to float
        Of the labels that a model found.
    unsure : set of int
        Labels that are worth a second look.
    accepted : set of int
        Labels that were accepted before.
    """

    def __init__(
        self, certainty: Mapping[int, float], unsure: Iterable[int] = (), accepted: Iterable[int] = ()
    ) -> None:
        self._certainty = dict(certainty)
        self._unsure = set(unsure)
        self._earlier = set(accepted)
        self._accepted: dict[Cell, Accepted] = {}
        self._named: dict[int, str] = {}  # label and the class that a person said; both only exchanged
        #: What a classifier says that learned here; None where the classes are those of the layer.
        self.told: Told | None = None
        self._swallowed: dict[Cell, list[int]] = {}
        self._seen: set[tuple[int, int, int]] = set()  # plane, swallowed, by which: for a redo
        #: Rows of the cells that were rejected, as they were before.
        self.rejected: dict[Cell, dict[str, Any]] = {}

    @property
    def state(self) -> tuple[dict[Cell, Accepted], dict[int, str]]:
        """What was decided, as one step of Undo changes it; not to be written into."""
        return self._accepted, self._named

    @state.setter
    def state(self, state: tuple[dict[Cell, Accepted], dict[int, str]]) -> None:
        self._accepted, self._named = state

    def restore(self, flags: Mapping[Cell, str]) -> None:
        """Accept, with their flags, the cells that were accepted in an earlier session."""
        earlier = {cell: Accepted(flag) for cell, flag in flags.items() if cell[1] in self._earlier}
        self._accepted, self._earlier = self._accepted | earlier, set()

    def accept(self, cells: Mapping[Cell, Accepted]) -> None:
        """Accept cells, and take a person's word for their classes; if all are accepted, take that back."""
        known = {cell: self._accepted[cell] for cell in cells if cell in self._accepted}
        known = {cell: one for cell, one in known.items() if one.flag == cells[cell].flag}
        if len(known) == len(cells):
            self._forget(cells)
            said = {cell[1]: one.name for cell, one in known.items() if one.name}
            agreed = {label: "" for label, name in said.items() if self._named.get(label) == name}
        else:
            self._accepted = {**self._accepted, **cells, **known}
            agreed = {cell[1]: one.name for cell, one in cells.items() if one.name}
        self._named = {**self._named, **agreed}

    def name(self, labels: Iterable[int], name: str) -> None:
        """Take a person's word for the class of some cells; an empty one takes it back."""
        self._named = {**self._named, **dict.fromkeys(labels, name)}

    def reject(self, rows: Mapping[Cell, dict[str, Any]]) -> None:
        """Remember cells that are no longer in the labels because the user rejected them."""
        self._forget(rows)
        for cell, row in rows.items():
            self.rejected[cell] = {**row, "decision": REJECTED, "check": False}

    def follow(self, plane: int, change: Change, by_brush: bool) -> dict[int, int]:
        """Draw what follows from cells that came and went.

        Parameters
        ----------
        plane : int
        change : Change
        by_brush : bool
            Whether the user drew; a cell that goes by undo or by a merge was not swallowed.

        Returns
        -------
        dict of int to int
            The labels that were swallowed, and by which.
        """
        self._forget((plane, label) for label in change.added)
        for label in change.added:
            self.rejected.pop((plane, label), None)
            for taken in self._swallowed.values():
                if label in taken:
                    taken.remove(label)
        for label in change.removed:
            self._swallowed.pop((plane, label), None)
        found = {
            label: taker
            for label, taker in change.swallowed.items()
            if by_brush or (plane, label, taker) in self._seen
        }
        for label, taker in found.items():
            self._seen.add((plane, label, taker))
            self._swallowed.setdefault((plane, taker), []).append(label)
        self._swallowed = {cell: taken for cell, taken in self._swallowed.items() if taken}
        return found

    def _forget(self, cells: Iterable[Cell]) -> None:
        gone = self._accepted.keys() & set(cells)
        if gone:
            self._accepted = {cell: flag for cell, flag in self._accepted.items() if cell not in gone}

    def flag(self, cell: Cell, pieces: int) -> str:
        """Return in words what is odd about a cell; empty where nothing is."""
        words = [f"{pieces} pieces"] if pieces > 1 else []
        if cell in self._swallowed:
            words.append("swallowed " + ", ".join(map(str, self._swallowed[cell])))
        return "; ".join(words)

    def add_columns(self, table: pd.DataFrame, cells: list[Cell]) -> pd.DataFrame:
        """Return the table with ``certainty``, ``check``, ``flag``, ``decision`` and what a person named.

        Parameters
        ----------
        table : DataFrame
            With the column ``pieces``.
        cells : list of tuple of int
            Plane and label of each row.
        """
        flags = [self.flag(cell, count) for cell, count in zip(cells, table["pieces"].tolist(), strict=True)]
        accepted = {cell: one.flag for cell, one in self._accepted.items()}
        check = [
            flag != accepted.get(cell) if flag or cell in accepted else cell[1] in self._unsure
            for cell, flag in zip(cells, flags, strict=True)
        ]
        decisions = [ACCEPTED if cell in accepted else "" for cell in cells]
        if self._named:
            table = each_named(table, self._named)
        return table.assign(
            certainty=np.array([self._certainty.get(label, np.nan) for _, label in cells], float),
            check=np.array(check, bool),
            flag=pd.Series(flags, index=table.index, dtype=object),
            decision=pd.Series(decisions, index=table.index, dtype=object),
        )
