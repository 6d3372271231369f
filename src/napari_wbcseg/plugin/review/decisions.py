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


class Said(NamedTuple):
    """What a person said of a cell.

    Attributes
    ----------
    flag : str or None
        What was odd about the cell when it was accepted; None where it is not.
    agreed : str
        The class that a model said of it and that was accepted with it.
    name : str or None
        Its class; empty where that is the model's again, None where nothing was said of it.
    """

    flag: str | None = None
    agreed: str = ""
    name: str | None = None

    def accepted(self, flag: str, by_model: str) -> Said:
        """Return what is said once the cell is accepted, and with it the class that a model says, if any."""
        return Said(flag, self.agreed if self.flag == flag else by_model, by_model or self.name)

    def taken_back(self) -> Said:
        """Return what is said once it is not accepted any more: what was agreed is the model's again."""
        return Said(name="" if self.agreed and self.name == self.agreed else self.name)


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
        # Steps of Undo hold these two: they are replaced, never changed in place.
        #: What was said.
        self.state: dict[Cell, Said] = {}
        # Plane, label, and which one took it.
        self._swallowed = {
            (plane, int(label), taker)
            for (plane, taker), flag in flags.items()
            for label in re.findall(r"\d+", str(flag).partition("swallowed")[2])
        }

    @property
    def cells(self) -> set[Cell]:
        """The cells of which something is remembered, there or not."""
        return {*self.state, *((plane, label) for plane, label, _ in self._swallowed)}

    @property
    def step(self) -> tuple[dict[Cell, Said], set[tuple[int, int, int]]]:
        """What was said, and what was swallowed, exchanged as one step of Undo changes it."""
        return self.state, self._swallowed

    @step.setter
    def step(self, step: tuple[dict[Cell, Said], set[tuple[int, int, int]]]) -> None:
        self.state, self._swallowed = step

    def accept(self, cells: Mapping[Cell, tuple[str, str]]) -> None:
        """Accept cells, and take a person's word for their classes; if all are accepted, take that back.

        Parameters
        ----------
        cells : mapping of tuple of int to tuple of str
            The flag of each, and the class that a model says of it, if any.
        """
        before = {cell: self.state.get(cell, Said()) for cell in cells}
        if all(before[cell].flag == flag for cell, (flag, _) in cells.items()):
            now = {cell: one.taken_back() for cell, one in before.items()}
        else:
            now = {cell: before[cell].accepted(*as_it_is) for cell, as_it_is in cells.items()}
        self.state = {**self.state, **now}

    def name(self, cells: Iterable[Cell], name: str) -> None:
        """Take a person's word for the class of some cells; an empty one takes it back."""
        now = {cell: self.state.get(cell, Said())._replace(name=name) for cell in cells}
        self.state = {**self.state, **now}

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
        if not by_brush:
            return {}
        drawn = {(plane, label) for label in change.added}  # another cell, be it under a number there was
        self.state = {cell: one for cell, one in self.state.items() if cell not in drawn}
        self._swallowed = self._swallowed | found
        return change.swallowed

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
            self.state = {
                cell: Said(_ANOTHER if self._earlier[cell] else flag, name, name or None)
                for cell, flag, name in zip(cells, flags, _agreed(table, classes), strict=True)
                if cell in self._earlier
            }
            self._earlier = {}
        said = [self.state.get(cell, Said()) for cell in cells]
        check = [
            unsure if one.flag is None and not flag else flag != one.flag
            for one, flag, unsure in zip(said, flags, table["check"], strict=True)
        ]
        decisions = ["" if one.flag is None else ACCEPTED for one in said]
        names = pd.Series([one.name for one in said], table.index, dtype=object)
        if names.notna().any():
            table = each_named(table, names, classes)
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
