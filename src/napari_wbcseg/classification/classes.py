"""The classes that cells are sorted into, and the columns of the table of cells that say them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..errors import SettingsError, first_problem

#: Columns of the table of cells: the class, how probable it is, and who said so.
CLASS, CLASS_PROBABILITY, CLASS_BY = "class", "class_probability", "class_by"
#: Values of the column ``class_by``; empty where nobody said anything.
MODEL, PERSON = "model", "person"
#: Columns of the probabilities begin with this, the name of the class behind it.
PROBABILITY = "p_"
_LONGEST = 60  # letters of a name


@dataclass(frozen=True)
class CellClass:
    """A class of cells.

    Attributes
    ----------
    name : str
        As tables call it, such as ``lymphocyte``.
    colour : str
        As ``#rrggbb``.
    white_cell : bool
        Whether cells of it are counted as white cells.
    part_of : str
        Name of a wider class, with which its cells are counted too; empty where there is none.
    first_name : str
        What it was called before it was renamed, empty where it was not: what is done with erythroblasts or
        platelets is done with them under any name. See `ClassList.kind`.
    """

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST, pattern=r"^\S(.*\S)?$")]
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    white_cell: bool = True
    part_of: Annotated[str, Field(max_length=_LONGEST)] = ""
    first_name: Annotated[str, Field(max_length=_LONGEST)] = ""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour, 0 to 255."""
        red, green, blue = bytes.fromhex(self.colour[1:])
        return red, green, blue


NEUTROPHIL, BAND, SEGMENTED = "neutrophil", "band neutrophil", "segmented neutrophil"
ERYTHROBLAST, PLATELET, UNSURE = "erythroblast", "platelet", "unsure"


class ClassList(tuple[CellClass, ...]):
    """The classes of a result or a model, in the order in which they are shown.

    Parameters
    ----------
    classes : iterable of CellClass

    Raises
    ------
    SettingsError
        If two have one name, or one is part of a class that is not there or itself part of one.
    """

    def __new__(cls, classes: Iterable[CellClass] = ()) -> ClassList:
        self = super().__new__(cls, classes)
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(f"Two classes have the name {twice[0]!r}: rename one.")
        whole = {one.name for one in self if not one.part_of}
        for one in self:
            if one.part_of and one.part_of not in whole:
                raise SettingsError(
                    f"The class {one.name!r} is part of {one.part_of!r}, which is no class of its own."
                )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(one.name for one in self)

    def __call__(self, name: str) -> CellClass | None:
        """Return the class of a name; None where there is none."""
        return next((one for one in self if one.name == name), None)

    @property
    def not_white(self) -> frozenset[str]:
        """Names of the classes whose cells are no white cells."""
        return frozenset(one.name for one in self if not one.white_cell)

    def parts(self, name: str) -> tuple[str, ...]:
        """Return the names of the classes that are counted with one: itself and its parts."""
        return tuple(one.name for one in self if name in (one.name, one.part_of))

    def wider(self, name: str) -> str:
        """Return the name of the class with which one is counted, its own where that is none or not known."""
        known = self(name)
        return known.part_of or name if known else name

    def kind(self, name: str) -> str:
        """Return the first name of a class, its own where it was not renamed or is not known."""
        known = self(name)
        return known.first_name or name if known else name

    def added(self, *classes: CellClass) -> ClassList:
        """Return the list with classes added, or put in the place of those of their names."""
        new = {one.name: one for one in classes}
        kept = [new.pop(one.name, one) for one in self]
        return ClassList([*kept, *new.values()])

    def changed(self, name: str, /, **changes: Any) -> ClassList:
        """Return the list with fields of a class changed; its parts follow its ``name``.

        Raises
        ------
        SettingsError
            If the classes do not go together then.
        """
        new = {"name": name} | changes
        if new["name"] != name:
            new["first_name"] = self.kind(name)
        values = [{**one, **(new if one["name"] == name else {})} for one in self.to_list()]
        for one in values:
            one["part_of"] = new["name"] if one["part_of"] == name else one["part_of"]
        return ClassList.from_list(values)

    def covering(self, names: Iterable[str]) -> ClassList:
        """Return the list with a white cell, in a colour of its own, for each name that it lacks.

        Raises
        ------
        SettingsError
            If no class can be called so.
        """
        lacking = [name for name in dict.fromkeys(names) if name and name not in self.names]
        used = {one.colour for one in self}
        free = [colour for colour in _FREE if colour not in used] or _FREE
        new = [{"name": name, "colour": free[i % len(free)]} for i, name in enumerate(lacking)]
        return self.added(*ClassList.from_list(new))

    def to_list(self) -> list[dict[str, Any]]:
        """Return the list as JSON holds it."""
        return list(_LIST.dump_python(list(self)))

    @classmethod
    def from_list(cls, values: Any) -> ClassList:
        """Read what `to_list` gave.

        Raises
        ------
        SettingsError
            If it is no list of classes, or they do not go together.
        """
        try:
            return cls(_LIST.validate_python(values))
        except ValidationError as error:
            problem = first_problem(error, "the list")
            raise SettingsError(f"The classes cannot be used ({problem}).") from None


_LIST = TypeAdapter(list[CellClass])
# For classes that come with no colour; white, which is not seen on the empty slide, last.
_FREE = ("#ff8ac4", "#c8e600", "#8d6e63", "#00c9a7", "#b39ddb", "#ffffff")

#: The classes that the built-in classifier tells, in colours that are told apart on violet cells, also
#: by the colour-blind (after Okabe & Ito, 2008).
BUILT_IN_CLASSES = ClassList(
    (
        CellClass(NEUTROPHIL, "#56b4e9"),
        CellClass(BAND, "#a6dcff", part_of=NEUTROPHIL),
        CellClass(SEGMENTED, "#1f7fc4", part_of=NEUTROPHIL),
        CellClass("lymphocyte", "#00c853"),
        CellClass("monocyte", "#f0e442"),
        CellClass("eosinophil", "#ff5252"),
        CellClass("basophil", "#d500f9"),
        CellClass("immature granulocyte", "#00e5d4"),
        CellClass(ERYTHROBLAST, "#a0522d", white_cell=False),
        CellClass(PLATELET, "#9e9e9e", white_cell=False),
        CellClass(UNSURE, "#404040"),
    )
)


def probability_columns(cells: pd.DataFrame) -> list[str]:
    """Return the names of the columns of probabilities that a table has."""
    return [str(name) for name in cells.columns if re.match(rf"{PROBABILITY}\S", str(name))]


def class_of(cells: pd.DataFrame) -> pd.Series:
    """Return the class of each cell; empty where nobody said one.

    A word of another program, or a slip, is told as a class can be called: its spaces and its length. Tables
    of earlier versions have a column ``kind`` that knows erythroblasts only.
    """
    if CLASS in cells:
        names = cells[CLASS].where(cells[CLASS].notna(), "").astype("str")
        can_be = {name: " ".join(name.split())[:_LONGEST].strip() for name in names.unique()}
        return names.map(can_be).astype("str")
    names = pd.Series("", cells.index, dtype="str")
    return names.mask(cells["kind"] == ERYTHROBLAST, ERYTHROBLAST) if "kind" in cells else names
