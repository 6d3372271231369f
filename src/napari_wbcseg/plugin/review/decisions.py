"""What is known of each cell besides its measurements: what edits did, and what was decided."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...classification.classes import CLASS, CLASS_BY, PERSON, UNSURE, ClassList
from ...classification.naming import each_named
from ...network.classifier import ClassifierFile
from ...segmentation.tracking import Change

#: Plane (0 for a single image) and label of a cell.
Cell = tuple[int, int]

ACCEPTED = "accepted"
_ANOTHER = "another"  # flag than that of any cell


def keys_of(table: pd.DataFrame) -> list[Cell]:
    """Return plane and label of each row of a table of cells."""
    planes = table["plane"].tolist() if "plane" in table else [0] * len(table)
    return list(zip(planes, table["label"].tolist(), strict=True))


class Accepted(NamedTuple):
    """What was accepted with a cell: its flag, and the class that a model said of it, if any."""

    flag: str
    name: str = ""


class DecisionState(NamedTuple):
    """What a person decided, both only exchanged: the cells accepted, and the classes of cells."""

    accepted: dict[Cell, Accepted]
    named: dict[Cell, str]


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What a classifier says of cells.

    Attributes
    ----------
    classifier : ClassifierFile
    classes : ClassList
    probabilities : DataFrame
        A column a class, indexed by cell; one that it did not look at is not among them.
    """

    classifier: ClassifierFile
    classes: ClassList
    probabilities: pd.DataFrame


class Decisions:
    """Remembers decisions, flags and classes by cell, through edits and undo.

    Parameters
    ----------
    accepted : mapping of tuple of int to bool
        Cells that were accepted before, and whether they are to be checked again, as they were changed since.
    flags : mapping of tuple of int to str
        Of cells, as the column ``flag`` has them, which may be that of another program.
    """

    def __init__(self, accepted: Mapping[Cell, bool], flags: Mapping[Cell, str]) -> None:
        self._earlier = dict(accepted)
        #: What was decided, as one step of Undo changes it.
        self.state = DecisionState({}, {})
        # Plane, label, and which one took it.
        self._swallowed = {
            (plane, int(label), taker)
            for (plane, taker), flag in flags.items()
            for label in re.findall(r"\d+", str(flag).partition("swallowed")[2])
        }

    @property
    def cells(self) -> set[Cell]:
        """The cells of which something is remembered, there or not."""
        swallowed = ((plane, label) for plane, label, _ in self._swallowed)
        return {*self.state.accepted, *self.state.named, *swallowed}

    def accept(self, cells: Mapping[Cell, Accepted]) -> None:
        """Accept cells, and take a person's word for their classes; if all are accepted, take that back."""
        accepted, named = self.state
        known = {cell: accepted[cell] for cell in cells if cell in accepted}
        known = {cell: one for cell, one in known.items() if one.flag == cells[cell].flag}
        if len(known) == len(cells):
            self._forget(cells)
            agreed = {cell: "" for cell, one in known.items() if one.name and named.get(cell) == one.name}
        else:
            self.state = self.state._replace(accepted={**accepted, **cells, **known})
            agreed = {cell: one.name for cell, one in cells.items() if one.name}
        self.state = self.state._replace(named={**named, **agreed})

    def name(self, cells: Iterable[Cell], name: str) -> None:
        """Take a person's word for the class of some cells; an empty one takes it back."""
        self.state = self.state._replace(named={**self.state.named, **dict.fromkeys(cells, name)})

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
        found = {(plane, *pair) for pair in change.swallowed.items()}
        gone = {(plane, label) for label in change.removed}
        self._swallowed = {one for one in self._swallowed if one[:2] not in gone or one in found}
        if not by_brush:  # a redo brings it back, for it is remembered
            return {}
        drawn = {(plane, label) for label in change.added}  # another cell, be it under a number there was
        self._forget(drawn)
        named = {cell: name for cell, name in self.state.named.items() if cell not in drawn}
        self.state = self.state._replace(named=named)
        self._swallowed |= found
        return change.swallowed

    def _forget(self, cells: Iterable[Cell]) -> None:
        gone = set(cells)
        left = {cell: one for cell, one in self.state.accepted.items() if cell not in gone}
        self.state = self.state._replace(accepted=left)

    def add_columns(self, table: pd.DataFrame, classes: ClassList) -> pd.DataFrame:
        """Return the table with ``check``, ``flag``, ``decision`` and what a person named.

        Parameters
        ----------
        table : DataFrame
            With the columns ``pieces`` and ``check``: whether the model was unsure.
        classes : ClassList
            Those that a model told apart.
        """
        cells = keys_of(table)
        flags = self._flags(cells, table["pieces"].tolist())
        if self._earlier and cells:  # as they are found again, with their flags
            known = dict(zip(cells, map(Accepted, flags, _agreed(table, classes)), strict=True))
            again = {
                cell: one._replace(flag=_ANOTHER) if self._earlier[cell] else one
                for cell, one in known.items()
                if cell in self._earlier
            }
            named = {cell: one.name for cell, one in again.items() if one.name}
            accepted, said = self.state
            self.state, self._earlier = DecisionState(accepted | again, named | said), {}
        flag_of = {cell: one.flag for cell, one in self.state.accepted.items()}
        check = [
            flag != flag_of.get(cell) if flag or cell in flag_of else unsure
            for cell, flag, unsure in zip(cells, flags, table["check"], strict=True)
        ]
        decisions = [ACCEPTED if cell in flag_of else "" for cell in cells]
        if self.state.named:
            names = [self.state.named.get(cell) for cell in cells]
            table = each_named(table, pd.Series(names, table.index, dtype=object), classes)
        return table.assign(
            check=np.array(check, bool),
            flag=pd.Series(flags, index=table.index, dtype=object),
            decision=pd.Series(decisions, index=table.index, dtype=object),
        )

    def _flags(self, cells: list[Cell], pieces: list[int]) -> list[str]:
        """Return in words what is odd about each cell; empty where nothing is."""
        there, taken = set(cells), dict[Cell, list[str]]()
        for plane, label, taker in sorted(self._swallowed):
            if (plane, label) not in there:
                taken.setdefault((plane, taker), []).append(str(label))
        flags = []
        for cell, count in zip(cells, pieces, strict=True):
            words = [f"{count} pieces"] if count > 1 else []
            words += [f"swallowed {', '.join(taken[cell])}"] if cell in taken else []
            flags.append("; ".join(words))
        return flags


def _agreed(table: pd.DataFrame, classes: ClassList) -> list[str]:
    """Return the class of each cell that a person has from the model; empty for any other."""
    model = each_named(table, dict.fromkeys(table["label"], ""), classes)[CLASS]
    theirs = each_named(table, {})
    agreed = theirs[CLASS_BY].eq(PERSON) & theirs[CLASS].eq(model) & model.ne(UNSURE)
    return theirs[CLASS].where(agreed, "").tolist()
