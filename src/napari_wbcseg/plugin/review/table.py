"""The table of cells: dense, sorted and filtered by column arithmetic, thousands of rows at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QTableView

from ...classification.classes import CLASS
from ...errors import SettingsError
from ...segmentation.measure import STAIN_COLUMNS
from ..controls.basic_widgets import there
from ..shared.columns import COLUMNS, Column, status
from .decisions import Cell, keys_of
from .selection import SelectedRows, Selection

_TO_CHECK = QColor(242, 165, 65, 70)
_NO_INDEX = QModelIndex()
_ROWS_MEASURED = 50  # to find the width of a column: asking every row is slow with thousands
_STATUS_WIDTH = 130  # pixels of the screen
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
        self._table: pd.DataFrame | None = None
        self._unit = "px"
        self._conditions: list[str] = []
        self._sorted: tuple[str, bool] | None = None
        self._rows = pd.DataFrame()  # those of the table that are shown
        #: The cells of the rows, from the top.
        self.shown: list[Cell] = []
        self._row_of: dict[Cell, int] = {}

    # Content ---------------------------------------------------------------------------------------------

    def set_table(self, table: pd.DataFrame | None, unit: str) -> None:
        """Show this table, or none; its ``status`` is made from decision, flag and check.

        Raises
        ------
        SettingsError
            If it cannot be asked for the conditions: then all of it is shown.
        """
        if table is not None:
            said = zip(table["decision"], table["flag"], table["check"], strict=True)
            table = table.assign(status=[status(*row) for row in said])
        self._unit = unit
        try:
            self._show(table, self._conditions)
        except SettingsError:
            self._show(table, [])
            raise

    def set_conditions(self, conditions: Iterable[str]) -> None:
        """Show only rows for which all of the conditions hold, such as ``area > 300``.

        Raises
        ------
        SettingsError
            If a condition cannot be read.
        """
        self._show(self._table, [text.strip() for text in conditions if text.strip()])

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; -1 for the order of the labels."""
        self._sorted = (COLUMNS[column].name, order == Qt.SortOrder.DescendingOrder) if column >= 0 else None
        self._show(self._table, self._conditions)

    def _show(self, table: pd.DataFrame | None, conditions: list[str]) -> None:
        rows = pd.DataFrame({"label": []}) if table is None else self._ordered(table, conditions)
        self.beginResetModel()
        self._table, self._conditions, self._rows = table, conditions, rows
        self.shown = keys_of(rows)
        self._row_of = {cell: row for row, cell in enumerate(self.shown)}
        self.endResetModel()

    def _ordered(self, table: pd.DataFrame, conditions: list[str]) -> pd.DataFrame:
        """Return the rows that are shown, in their order."""
        keep = np.ones(len(table), bool)
        for condition in conditions:
            keep &= _holds(table, condition)
        rows = table[keep]
        if self._sorted is not None and self._sorted[0] in table:
            name, descending = self._sorted  # what is not known comes last either way
            rows = rows.sort_values(name, ascending=not descending, kind="stable")
        return rows

    # Asked by the widget ---------------------------------------------------------------------------------

    @property
    def to_check(self) -> list[Cell]:
        """Those of the rows that are worth a second look."""
        return [cell for cell, check in zip(self.shown, self.values("check"), strict=True) if check]

    def row_of(self, cell: Cell) -> int | None:
        """Return where a cell stands; None where it is filtered out or not there."""
        return self._row_of.get(cell)

    def values(self, name: str) -> np.ndarray:
        """Return a column of the rows shown."""
        return self._rows[name].to_numpy() if name in self._rows else np.zeros(0)

    def tells(self, column: Column) -> bool:
        """Say whether a column is worth its place: some labels have no certainty, some no image."""
        table = self._table
        known = "mean_stain" if column.name == "lobes" else column.name
        if table is None or known not in table:
            return False
        if known == CLASS:
            return bool(table[CLASS].ne("").any())
        often_lacking = known in ("certainty", *STAIN_COLUMNS) and len(table)
        return bool(table[known].notna().any()) if often_lacking else True

    # Qt --------------------------------------------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self.shown)

    def columnCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = index.row(), COLUMNS[index.column()]
        if not index.isValid() or column.name not in self._rows:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(self.values(column.name)[row])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column.decimals >= 0 else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.BackgroundRole and self.values("check")[row]:
            return _TO_CHECK
        if role == Qt.ItemDataRole.DecorationRole and column.name == "label":
            colour = self._colour(self.shown[row][1])
            return None if colour is None else QColor.fromRgbF(*map(float, colour[:3]))
        return column.tip if role == Qt.ItemDataRole.ToolTipRole else None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].header(self._unit)
        return COLUMNS[section].tip if role == Qt.ItemDataRole.ToolTipRole else None


def _holds(table: pd.DataFrame, condition: str) -> np.ndarray:
    """Return for each row whether a condition holds."""
    try:
        readable = _CLASS.sub("`class`", condition)
        held = table.eval(readable, engine="python", parser="pandas", local_dict={}, global_dict={})
    except Exception as error:  # whatever pandas makes of what was typed
        unknown = re.match("name '(.+)' is not defined", str(error))
        why = f"there is no column {unknown[1]}" if unknown else "it is not complete"
        raise SettingsError(
            f"The filter {condition} cannot be read: {why}. Write it like: area > 300 and lobes >= 2."
        ) from None
    held = np.asarray(held)
    if held.shape != (len(table),) or held.dtype != bool:
        raise SettingsError(f"The filter {condition} is no condition. Write it like: area > 300.")
    return held


class CellTable(QTableView):
    """Shows a `CellTableModel`; rows are selected as a whole."""

    def __init__(self, model: CellTableModel, selection: Selection) -> None:
        super().__init__()
        self._cells = model
        self.setModel(model)
        self._selected = SelectedRows(self, selection, lambda row: model.shown[row], model.row_of)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSortingEnabled(True)
        columns, rows = there(self.horizontalHeader()), there(self.verticalHeader())
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        columns.setSortIndicatorClearable(True)
        columns.setResizeContentsPrecision(_ROWS_MEASURED)
        rows.hide()
        rows.setDefaultSectionSize(20)
        self.setWordWrap(False)
        self.setMinimumHeight(140)
        model.modelAboutToBeReset.connect(self._before_reset)
        model.modelReset.connect(self._after_reset)

    def fit_columns(self) -> None:
        """Give each column the width that its title needs, and its values as far as some rows tell."""
        self.resizeColumnsToContents()
        status = [column.name for column in COLUMNS].index("status")  # filled in while cells are corrected
        self.setColumnWidth(status, max(self.columnWidth(status), _STATUS_WIDTH))

    def _before_reset(self) -> None:
        self._scrolled = there(self.verticalScrollBar()).value()

    def _after_reset(self) -> None:
        for index, column in enumerate(COLUMNS):
            self.setColumnHidden(index, not self._cells.tells(column))
        self._selected.show()
        there(self.verticalScrollBar()).setValue(self._scrolled)
