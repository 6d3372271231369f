"""The differential: how many of the cells are of each class, and how sure that is from so few."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from math import sqrt

import pandas as pd

from ..words import counted, listed, readable
from .classes import BUILT_IN_CLASSES, ERYTHROBLAST, NEUTROPHIL, UNSURE, CellClass, ClassList, class_of

#: Standard deviations of a normal distribution that hold 95 % of it.
NORMAL_95 = 1.959964
#: Per cent of the white cells that a class has at most in the blood of healthy adults, by class (upper limits
#: of Hoffbrand's Essential Haematology).
HIGHEST = {
    NEUTROPHIL: 75,
    "lymphocyte": 45,
    "monocyte": 10,
    "eosinophil": 6,
    "basophil": 2,
    "immature granulocyte": 2,
}
# Fewer cells of a class than these are called unusual in no picture: one eosinophil alone is no sign.
_FEWEST_UNUSUAL = 5


@dataclass(frozen=True)
class Share:
    """One class of a differential.

    Attributes
    ----------
    name : str
    part_of : str
        The class whose count has these cells in it too; empty for the classes that make up the whole.
    count : int
    percent, low, high : float
        Of the white cells, and the 95 % interval; NaN where there are none.
    more_to_halve : int
        So many more white cells would halve the interval, were the share to stay.
    """

    name: str
    part_of: str
    count: int
    percent: float
    low: float
    high: float
    more_to_halve: int


@dataclass(frozen=True)
class Differential:
    """The white cells by class, and what was found beside them.

    Attributes
    ----------
    shares : tuple of Share
        In the order of the classes: those of white cells that are in the list or were found. Those that
        are part of no other add up to 100 %.
    white_cells : int
    others : dict of str to int
        How many there are of each class that is no white cell.
    colours : dict of str to str
        Of the classes, as ``#rrggbb``.
    erythroblasts : int
        How many of the others are erythroblasts, whatever a person calls these.
    in_doubt : int
        Pictures that were left out, as what their count depends on is not known.
    outdated : int
        Results that were left out, as the tables beside them do not tell of them any more.
    missing : int
        Images of which there is no result, as a run failed at them or did not come to them.
    twice : int
        Results that count although another one is of the same picture.
    """

    shares: tuple[Share, ...]
    white_cells: int
    others: dict[str, int]
    colours: dict[str, str]
    erythroblasts: int = 0
    in_doubt: int = 0
    outdated: int = 0
    missing: int = 0
    twice: int = 0

    def per_100(self, name: str) -> float:
        """Return how many there are of a class per 100 white cells, as laboratories report erythroblasts."""
        return 100 * self.others[name] / self.white_cells if self.white_cells else float("nan")

    @property
    def told(self) -> bool:
        """Whether anybody said of any cell what it is."""
        return any(self.others.values()) or any(one.count for one in self.shares if one.name != UNSURE)

    @property
    def more_to_halve(self) -> int:
        """So many more white cells would halve the widest interval."""
        widest = max(self.shares, key=lambda share: share.high - share.low, default=None)
        return widest.more_to_halve if widest else 0

    @property
    def unusual(self) -> str:
        """Which classes are surely more frequent than in ordinary blood, in a sentence; or nothing."""
        higher = [
            f"{share.name} {share.percent:.1f} % (at most {HIGHEST[share.name]} there)"
            for share in self.shares
            if share.count >= _FEWEST_UNUSUAL and share.low > HIGHEST.get(share.name, 100)
        ]
        if not higher:
            return ""
        return (
            f"Unlike ordinary blood: {listed(higher)}. Look at these cells: the built-in classifier knows no "
            "blasts, and calls a cell that it does not know what it resembles most."
        )

    @property
    def summary(self) -> str:
        """The count in words; see `count_in_words`."""
        return count_in_words(self.white_cells, self.erythroblasts)

    def table(self) -> pd.DataFrame:
        """Return a row a class, with the attributes of `Share` as columns.

        Classes that are no white cells come last, if there are such cells: their ``percent`` is their number
        per 100 white cells, and they have no interval.
        """
        _, *names = (field.name for field in fields(Share))
        beside = [[name, "", count, self.per_100(name)] for name, count in self.others.items() if count]
        table = pd.DataFrame([*map(astuple, self.shares), *beside], columns=["class", *names])
        return table.astype({"more_to_halve": "Int64"})


def count_in_words(white_cells: int, erythroblasts: int = 0) -> str:
    """Return a count in words, such as ``212 white cells, and 3 erythroblasts per 100``.

    Examples
    --------
    >>> count_in_words(1), count_in_words(200, 1), count_in_words(0, 1)
    ('1 white cell', '200 white cells, and 0.5 erythroblasts per 100', '0 white cells, and 1 erythroblast')
    >>> count_in_words(33, 41)
    '33 white cells, and 124 erythroblasts per 100'
    """
    text = counted(white_cells, "white cell")
    if not erythroblasts:
        return text
    if not white_cells:
        return f"{text}, and {counted(erythroblasts, ERYTHROBLAST)}"
    per_100 = 100 * erythroblasts / white_cells
    shown = f"{per_100:.0f}" if per_100 >= 10 else readable(float(f"{per_100:.2g}"))
    return f"{text}, and {shown} erythroblasts per 100"


def differential(cells: pd.DataFrame, classes: ClassList = BUILT_IN_CLASSES) -> Differential:
    """Count the cells of a table by class.

    Parameters
    ----------
    cells : DataFrame
        Of one picture. Cells without a class count as ``unsure``; without the column ``class`` all do.
    classes : ClassList
        Names that are not in it are white cells.
    """
    return pooled([(cells, classes)])


def pooled(pictures: Iterable[tuple[pd.DataFrame, ClassList]], in_doubt: int = 0) -> Differential:
    """Count the cells of several pictures together; see `differential`.

    Parameters
    ----------
    pictures : iterable of (DataFrame, ClassList)
        The cells of each picture and its classes, which say whether they are white cells. Where the lists
        disagree over a class, some of its cells are among the ``shares`` and some among the ``others``.
    in_doubt : int
        So many pictures more were left out, as their counts are in doubt.
    """
    white, beside, known = Counter[str](), Counter[str](), list[CellClass]()
    for cells, classes in pictures:
        for name, number in class_of(cells).replace("", UNSURE).value_counts().items():
            (beside if name in classes.not_white else white)[str(name)] += number
        known += classes
    every = ClassList().added(*known).covering(sorted({*white, *beside}))
    total, shares, others = white.total(), list[Share](), dict[str, int]()
    for one in every:
        number, not_white = (sum(count[part] for part in every.parts(one.name)) for count in (white, beside))
        if one.white_cell or number:
            low, high = wilson_interval(number, total)
            percent = 100 * number / total if total else float("nan")
            more = more_to_halve(number, total)
            shares.append(Share(one.name, one.part_of, number, percent, 100 * low, 100 * high, more))
        if not one.white_cell or not_white:
            others[one.name] = not_white
    colours = {one.name: one.colour for one in every}
    red = sum(count for name, count in others.items() if every.kind(name) == ERYTHROBLAST)
    return Differential(tuple(shares), total, others, colours, red, in_doubt)


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, 0 to 1 (Wilson, J. Am. Stat. Assoc. 22, 1927); NaN of nothing."""
    if not total:
        return float("nan"), float("nan")
    middle, half = _wilson(count / total, total)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _wilson(share: float, total: float) -> tuple[float, float]:
    z2 = NORMAL_95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = sqrt(z2 * share * (1 - share) / total + (z2 / (2 * total)) ** 2) / (1 + z2 / total)
    return middle, half


def more_to_halve(count: int, total: int) -> int:
    """Return how many more cells would halve the interval of a share that stays what it is."""
    if not total:
        return 0
    share = count / total
    wanted = _wilson(share, total)[1] / 2
    more = range(1, 7 * total + 16)
    return 1 + bisect_left(more, True, key=lambda number: _wilson(share, total + number)[1] <= wanted)
