"""The table of cells: dense, sorted and filtered by column arithmetic, thousands of rows at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QTableView
from superqt.utils import signals_blocked

from ...classification.classes import CLASS
from ...errors import SettingsError
from ...segmentation.measure import STAIN_COLUMNS
from ..shared.columns import COLUMNS, Column, status
from ..shared.panel import there
from .decisions import Cell
from .selection import OrderedSelection

_TO_CHECK = QColor(242, 165, 65, 70)
_NO_INDEX = QModelIndex()
_CLASS = re.compile(r"`?\bclass\b`?")  # a word of Python too, so pandas wants it in quotes

#: What the list *Show* offers, and the condition on a row.
SHOWN = {
    "All cells": "",
    "To check": "check",
    "Accepted": "decision == 'accepted'",
    "Not decided": "decision == ''",
    "Touching": "touching",
    "At the border": "border",
    "In pieces": "pieces > 1",
}


class CellTableModel(QAbstractTableModel):
    """Rows of a table of cells, in the order and of the selection asked for."""

    def __init__(self, colour: Callable[[int], Any]) -> None:
        super().__init__()
        self._colour = colour
        self._frame: pd.DataFrame | None = None
        self._cells: list[Cell] = []
        self._order = np.zeros(0, np.int64)
        self._row_of: dict[Cell, int] = {}
        self._unit = "px"
        self._conditions: list[str] = []
        self._sorted: tuple[str, bool] | None = None
        self.columns: list[Column] = []
        self._values: list[np.ndarray] = []
        self._check = np.zeros(0, bool)

    # Content ---------------------------------------------------------------------------------------------

    def set_table(self, table: pd.DataFrame | None, cells: list[Cell], unit: str) -> None:
        """Show this table, or none; its ``status`` is made from decision, flag and check."""
        if table is None:
            self._arrange(np.zeros(0, np.int64), partial(self._fill, None, [], unit, []))
            return
        said = zip(table["decision"], table["flag"], table["check"], strict=True)
        table = table.assign(status=[status(*row) for row in said])
        columns = [column for column in COLUMNS if _tells(column, table)]
        same = self._cells == cells and self._unit == unit and self.columns == columns
        order, fill = self._ordered(table), partial(self._fill, table, cells, unit, columns)
        if same and np.array_equal(order, self._order):
            fill()
            if self.rowCount():
                last = self.index(self.rowCount() - 1, self.columnCount() - 1)
                self.dataChanged.emit(self.index(0, 0), last)
            return
        self._arrange(order, fill)

    def _fill(self, table: pd.DataFrame | None, cells: list[Cell], unit: str, columns: list[Column]) -> None:
        self._frame, self._cells, self._unit, self.columns = table, cells, unit, columns
        if table is not None:
            self._check = table["check"].to_numpy(bool)
            self._values = [table[column.name].to_numpy() for column in columns]

    def set_conditions(self, conditions: Iterable[str]) -> None:
        """Show only rows for which all of the conditions hold, such as ``area > 300``.

        Raises
        ------
        SettingsError
            If a condition cannot be read.
        """
        before, self._conditions = self._conditions, [text.strip() for text in conditions if text.strip()]
        if self._frame is None:
            return
        try:
            order = self._ordered(self._frame)
        except SettingsError:
            self._conditions = before
            raise
        self._arrange(order)

    def _ordered(self, table: pd.DataFrame) -> np.ndarray:
        """Return the rows that are shown, in their order."""
        keep = np.ones(len(table), bool)
        for condition in self._conditions:
            keep &= _holds(table, condition)
        order = np.flatnonzero(keep)
        if self._sorted is not None and self._sorted[0] in table:
            name, descending = self._sorted
            values = table[name].to_numpy()[order]
            if values.dtype == object:
                values = np.unique(values.astype(str), return_inverse=True)[1]
            values = values.astype(float)
            # What is not known comes last either way.
            order = order[np.argsort(-values if descending else values, kind="stable")]
        return order

    def _arrange(self, order: np.ndarray, fill: Callable[[], None] = lambda: None) -> None:
        """Show these rows, in this order, once they are filled with another content, if any."""
        self.beginResetModel()
        fill()
        self._order = order
        self._row_of = {self._cells[index]: row for row, index in enumerate(order.tolist())}
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; -1 for the order of the labels."""
        descending = order == Qt.SortOrder.DescendingOrder
        self._sorted = (self.columns[column].name, descending) if 0 <= column < len(self.columns) else None
        if self._frame is not None:
            self._arrange(self._ordered(self._frame))

    @property
    def sorted_by(self) -> tuple[int, Qt.SortOrder]:
        """Place of the column that the rows are sorted by, -1 for none, and which way."""
        name, descending = self._sorted or ("", False)
        names = [column.name for column in self.columns]
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        return (names.index(name) if name in names else -1), order

    # Asked by the widget ---------------------------------------------------------------------------------

    @property
    def shown(self) -> list[Cell]:
        """The cells of the rows, from the top."""
        return [self._cells[index] for index in self._order.tolist()]

    @property
    def to_check(self) -> list[Cell]:
        """Those of the rows that are worth a second look."""
        return [self._cells[index] for index in self._order[self._check[self._order]].tolist()]

    def row_of(self, cell: Cell) -> int | None:
        """Return where a cell stands; None where it is filtered out or not there."""
        return self._row_of.get(cell)

    def cell_at(self, row: int) -> Cell:
        """Return the cell of a row."""
        return self._cells[int(self._order[row])]

    def values(self, name: str) -> np.ndarray:
        """Return a column of the rows shown."""
        if self._frame is None or name not in self._frame:
            return np.zeros(0)
        return self._frame[name].to_numpy()[self._order]

    # Qt --------------------------------------------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row, column = int(self._order[index.row()]), self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(self._values[index.column()][row])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column.decimals >= 0 else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.BackgroundRole and self._check[row]:
            return _TO_CHECK
        if role == Qt.ItemDataRole.DecorationRole and column.name == "label":
            return _swatch(self._colour(self._cells[row][1]))
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.tip
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].header(self._unit)
        return self.columns[section].tip if role == Qt.ItemDataRole.ToolTipRole else None


def _tells(column: Column, table: pd.DataFrame) -> bool:
    """Say whether a column is worth its place: some labels have no certainty, some no image."""
    if column.name == CLASS:
        return bool(table[CLASS].ne("").any())
    known = "mean_stain" if column.name == "lobes" else column.name
    if known in ("certainty", *STAIN_COLUMNS) and len(table):
        return bool(table[known].notna().any())
    return column.name in table


def _holds(table: pd.DataFrame, condition: str) -> np.ndarray:
    """Return for each row whether a condition holds."""
    try:
        readable = _CLASS.sub("`class`", condition)
        held = table.eval(readable, engine="python", parser="pandas", local_dict={}, global_dict={})
    except Exception:  # whatever pandas makes of what was typed
        words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"'[^']*'|\"[^\"]*\"", "", condition)))
        unknown = sorted(words - set(table) - {"and", "or", "not", "in", "True", "False"})
        why = f"there is no column {unknown[0]}" if unknown else "it is not complete"
        raise SettingsError(
            f"The filter {condition} cannot be read: {why}. Write it like: area > 300 and lobes >= 2."
        ) from None
    held = np.asarray(held)
    if held.shape != (len(table),) or held.dtype != bool:
        raise SettingsError(f"The filter {condition} is no condition. Write it like: area > 300.")
    return held


def _swatch(colour: Any) -> QColor | None:
    if colour is None:
        return None
    red, green, blue = (int(255 * float(part)) for part in colour[:3])
    return QColor(red, green, blue)


class CellTable(QTableView):
    """Shows a `CellTableModel`; rows are selected as a whole."""

    #: Emitted with the selected cells when the user, and not a call, changed them.
    chosen = Signal(list)

    def __init__(self, model: CellTableModel) -> None:
        super().__init__()
        self._cells = model
        self.setModel(model)
        self._selection = OrderedSelection(self, model.cell_at, model.row_of)
        self._selection.chosen.connect(self.chosen)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSortingEnabled(True)
        columns, rows = there(self.horizontalHeader()), there(self.verticalHeader())
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        columns.setSortIndicatorClearable(True)
        rows.hide()
        rows.setDefaultSectionSize(20)
        self.setWordWrap(False)
        self.setMinimumHeight(140)
        model.modelAboutToBeReset.connect(self._before_reset)
        model.modelReset.connect(self._after_reset)

    @property
    def selected(self) -> list[Cell]:
        """The selected cells, in the order in which they were selected."""
        return list(self._selection.cells)

    def select(self, cells: Iterable[Cell]) -> None:
        """Select the rows of these cells, and scroll to the last of them."""
        self._selection.cells = list(dict.fromkeys(cells))
        self._selection.show(scroll=True)

    def fit_columns(self) -> None:
        """Give each column the width that its header and its longest value need."""
        for index, column in enumerate(self._cells.columns):
            hint = there(self.horizontalHeader()).sectionSizeHint(index)
            # Asking every row is slow with thousands; the longest numbers are the largest.
            values = self._cells.values(column.name)
            words = {column.text(value) for value in values[:200]}
            if len(values) and column.decimals >= 0:
                words.add(column.text(np.nanmax(values, initial=0)))
            metrics = self.fontMetrics()
            widest = max((metrics.horizontalAdvance(text) for text in words), default=0)
            if column.name == "status":  # filled in later, while cells are corrected
                widest = max(widest, metrics.horizontalAdvance("check: 2 pieces"))
            extra = 34 if column.name == "label" else 14
            self.setColumnWidth(index, min(max(hint, widest + extra), 180))

    def _before_reset(self) -> None:
        self._scrolled = there(self.verticalScrollBar()).value()

    def _after_reset(self) -> None:
        header = there(self.horizontalHeader())
        # Columns come and go: the arrow stays with its own.
        with signals_blocked(header):
            header.setSortIndicator(*self._cells.sorted_by)
        self._selection.show()
        there(self.verticalScrollBar()).setValue(self._scrolled)
