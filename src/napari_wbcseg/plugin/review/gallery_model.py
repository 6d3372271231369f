"""The rows of the gallery: a title for each class, and behind it the cells of the class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractListModel, QModelIndex, Qt
from qtpy.QtGui import QPixmap

from ...classification.classes import CLASS, CLASS_BY, CLASS_PROBABILITY, PERSON, UNSURE, ClassList
from .decisions import ACCEPTED, Cell

_NO_INDEX = QModelIndex()


class Item(NamedTuple):
    """One row.

    Attributes
    ----------
    name : str
        The class.
    cell : tuple of int or None
        Plane and label; None for the title of the class.
    words : str
        What stands on it.
    check : bool
        Whether it is worth a second look.
    """

    name: str
    cell: Cell | None
    words: str
    check: bool = False


class GalleryModel(QAbstractListModel):
    """Cells grouped by class, the least sure of each class first.

    Parameters
    ----------
    picture : callable
        Gives the picture of a cell; asked only for cells that are seen.
    """

    def __init__(self, picture: Callable[[Cell], QPixmap]) -> None:
        super().__init__()
        self._picture = picture
        self.items: list[Item] = []
        self.classes = ClassList()
        self._row_of: dict[Cell, int] = {}

    def set_cells(self, table: pd.DataFrame, cells: Sequence[Cell], classes: ClassList) -> None:
        """Show cells.

        Parameters
        ----------
        table : DataFrame
            A row a cell, with the class, what is known of it, ``certainty``, ``check`` and ``decision``.
        cells : sequence of tuple of int
            Plane and label of each row.
        classes : ClassList
            In the order of the groups; cells without a class are among the last, unsure.
        """
        names = table[CLASS].replace("", UNSURE).to_numpy(object)
        classes = classes.covering([*names, UNSURE])
        known = table[CLASS_PROBABILITY].to_numpy(float)
        sure = np.where(np.isnan(known), table["certainty"].to_numpy(float), known)
        place = {name: number for number, name in enumerate(classes.names)}
        groups = np.array([place[name] for name in names], int)
        theirs = (table[CLASS_BY] == PERSON).to_numpy(bool)
        order = np.lexsort((np.nan_to_num(sure, nan=2.0), theirs, groups))
        accepted = (table["decision"] == ACCEPTED).to_numpy(bool)
        words = _captions(known, theirs, accepted)
        check = table["check"].to_numpy(bool)
        items: list[Item] = []
        for number, one in enumerate(classes):
            members = order[groups[order] == number].tolist()
            key = f"{number + 1}  " if number < 9 else ""
            items.append(Item(one.name, None, f"{key}{one.name}: {len(members)}"))
            items += [Item(one.name, cells[row], words[row], bool(check[row])) for row in members]
        self._set(items, classes)

    def clear(self) -> None:
        """Show nothing."""
        self._set([], ClassList())

    def _set(self, items: list[Item], classes: ClassList) -> None:
        self.beginResetModel()
        self.items, self.classes = items, classes
        self._row_of = {item.cell: row for row, item in enumerate(items) if item.cell is not None}
        self.endResetModel()

    def row_of(self, cell: Cell) -> int | None:
        """Return where a cell stands; None where it is not shown."""
        return self._row_of.get(cell)

    def group(self, name: str) -> list[Cell]:
        """Return the cells of a class, in their order."""
        return [item.cell for item in self.items if item.name == name and item.cell is not None]

    def after(self, cell: Cell) -> Cell | None:
        """Return the next cell of the same class; None for the last one."""
        row = self._row_of.get(cell, len(self.items))
        return next((item.cell for item in self.items[row + 1 : row + 2]), None)

    # Qt --------------------------------------------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self.items)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled
        if index.isValid() and self.items[index.row()].cell is not None:
            flags |= Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled
        return flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        item = self.items[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return item.words
        if role == Qt.ItemDataRole.DecorationRole and item.cell is not None:
            return self._picture(item.cell)
        if role == Qt.ItemDataRole.ToolTipRole:
            if item.cell is None:
                return f"Click: select all. Drop cells here: name them {item.name}. Right button: classes."
            return f"Cell {item.cell[1]}, {item.name}" + (", to check" if item.check else "")
        return None


def _captions(known: np.ndarray, theirs: np.ndarray, accepted: np.ndarray) -> list[str]:
    """Return what stands below each picture: who said the class, or how probable it is; and a tick."""
    words = []
    for sure, named, right in zip(known.tolist(), theirs.tolist(), accepted.tolist(), strict=True):
        said = "named" if named else "" if sure != sure else f"{100 * sure:.0f} %"
        words.append(f"{said} ✓".strip() if right else said)
    return words
