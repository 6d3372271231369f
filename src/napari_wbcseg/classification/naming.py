"""Who says what a cell is: a model its probabilities, a person a word that no model overwrites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .classes import (
    BUILT_IN_CLASSES,
    CLASS,
    CLASS_BY,
    CLASS_PROBABILITY,
    MODEL,
    PERSON,
    PLATELET,
    PROBABILITY,
    UNSURE,
    ClassList,
    class_of,
    probability_columns,
)


@dataclass(frozen=True)
class CallParameters:
    """When a probability is a class: choices of this package.

    Attributes
    ----------
    sure : float
        Probability of the likeliest class below which a cell is called unsure.
    platelet : float
        The same for a platelet: what was outlined as a white cell nearly always is one. In marrow five of
        45 small or dark cells are held for platelets, at more than 0.9.
    told_apart : float
        Share that one part of a class has of its probability, from which on the cell is called by
        the part, such as a band neutrophil.
    """

    sure: float = 0.5
    platelet: float = 0.99
    told_apart: float = 0.8


PARAMETERS = CallParameters()


def said_by_model(
    cells: pd.DataFrame, probabilities: pd.DataFrame, classes: ClassList = BUILT_IN_CLASSES
) -> pd.DataFrame:
    """Return the table with what a model says of its cells; those that a person named keep their class.

    Parameters
    ----------
    cells : DataFrame
        With a ``label``.
    probabilities : DataFrame
        Columns are names of classes, rows the cells in the order of the table; a row of NaN where
        the model says nothing.
    classes : ClassList

    Returns
    -------
    DataFrame
        A copy with the columns ``class``, ``class_probability``, ``class_by``, and a column ``p_NAME`` a
        class in place of those of an earlier model.
    """
    names, certainty = called(probabilities, classes)
    table = _with_columns(cells.drop(columns=probability_columns(cells)))
    theirs = (table[CLASS_BY] == PERSON).to_numpy()
    said_by = np.where(theirs, PERSON, np.where(names == "", "", MODEL))
    said: dict[str, Any] = {
        CLASS: pd.array(np.where(theirs, table[CLASS], names), dtype="str"),
        CLASS_PROBABILITY: np.where(theirs, table[CLASS_PROBABILITY], certainty),
        CLASS_BY: pd.array(said_by, dtype="str"),
    }
    columns = probabilities.astype(float).set_axis(table.index).add_prefix(PROBABILITY)
    return pd.concat([table.assign(**said), columns], axis=1)


def called(
    probabilities: pd.DataFrame, classes: ClassList = BUILT_IN_CLASSES
) -> tuple[np.ndarray, np.ndarray]:
    """Return the class that probabilities speak for, and its probability.

    A class is as probable as its parts together. It is called by a part, such as a band neutrophil,
    only where that is clear, and unsure where no class is likelier than all others together, or where
    it may be a platelet.

    Returns
    -------
    names : ndarray of str objects, shape (n,)
        Empty where nothing is known.
    certainty : ndarray of float, shape (n,)
        Probability of the class, or of the likeliest one where it is called unsure.
    """
    given = list(map(str, probabilities.columns))
    values = probabilities.to_numpy(float)
    wider = [classes.wider(name) for name in given]
    whole = list(dict.fromkeys(wider))
    names, certainty = np.full(len(values), "", object), np.full(len(values), np.nan)
    known = np.isfinite(values).all(axis=1) & bool(given)
    if not known.any():
        return names, certainty
    members = [[part for part, one in enumerate(wider) if one == name] for name in whole]
    sums = np.stack([values[known][:, one].sum(axis=1) for one in members], axis=1)
    best = sums.argmax(axis=1)
    certainty[known] = sums[np.arange(len(sums)), best]
    for row, number in zip(np.flatnonzero(known), best, strict=True):
        names[row] = whole[number]
        part = members[number][int(values[row, members[number]].argmax())]
        least = PARAMETERS.platelet if classes.kind(whole[number]) == PLATELET else PARAMETERS.sure
        if certainty[row] < least:
            names[row] = UNSURE
        elif values[row, part] >= PARAMETERS.told_apart * certainty[row]:
            names[row] = given[part]
    return names, certainty


def each_named(
    cells: pd.DataFrame, names: Mapping[int, str] | pd.Series, classes: ClassList = BUILT_IN_CLASSES
) -> pd.DataFrame:
    """Return the table with some cells named by a person, who is sure.

    Parameters
    ----------
    cells : DataFrame
    names : mapping of int to str, or Series
        Label and class of each; or, by row of the table, the class of those named. An empty class takes back
        what a person said: then it is as the model's probabilities, where there are some, have it.
    classes : ClassList
        Those of the probabilities.
    """
    cells = _with_columns(cells)
    said = names if isinstance(names, pd.Series) else cells["label"].map(names)
    chosen, taken_back = said.notna(), said == ""
    theirs = np.where(taken_back, "", PERSON)
    cells[CLASS] = cells[CLASS].where(~chosen, said.astype("str"))
    cells[CLASS_PROBABILITY] = np.where(
        chosen, np.where(taken_back, np.nan, 1.0), cells[CLASS_PROBABILITY].to_numpy(float)
    )
    cells[CLASS_BY] = cells[CLASS_BY].where(~chosen, pd.Series(theirs, cells.index, dtype="str"))
    columns = probability_columns(cells)
    if not taken_back.any() or not columns:
        return cells
    probabilities = cells[columns].rename(columns=lambda column: column.removeprefix(PROBABILITY))
    again = said_by_model(cells, probabilities, classes)
    return cells.where(~taken_back, again[cells.columns])


def _with_columns(cells: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of a table that has the columns of the class, also where it has none yet."""
    by = cells[CLASS_BY] if CLASS_BY in cells else pd.Series("", cells.index, dtype="str")
    probability = cells.get(CLASS_PROBABILITY, np.nan)
    known = {
        CLASS: class_of(cells),
        CLASS_PROBABILITY: probability,
        CLASS_BY: by.where(by.notna(), "").astype("str"),
    }
    return cells.assign(**known)
