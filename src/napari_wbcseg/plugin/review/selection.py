"""The selected cells of a view, in the order in which they were selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from qtpy.QtCore import QItemSelection, QItemSelectionModel, QObject, Signal
from qtpy.QtWidgets import QAbstractItemView

from ..shared.panel import there
from .decisions import Cell

_Flag = QItemSelectionModel.SelectionFlag


class OrderedSelection(QObject):
    """Keeps which cells are selected while the rows of a view come, go and change places.

    Parameters
    ----------
    view : QAbstractItemView
        Has its model.
    cell_at, row_of : callable
        Give the cell of a row, None for a row without one, and the row of a cell, None where it is not shown.

    Attributes
    ----------
    cells : list of tuple of int
        The selected cells, in the order in which they were selected.
    """

    #: Emitted with the selected cells when the user, and not a call, changed them.
    chosen = Signal(list)

    def __init__(
        self,
        view: QAbstractItemView,
        cell_at: Callable[[int], Cell | None],
        row_of: Callable[[Cell], int | None],
    ) -> None:
        super().__init__(view)
        self._view, self._cell_at, self._row_of = view, cell_at, row_of
        self.cells: list[Cell] = []
        self._quiet = False
        self._rows().selectionChanged.connect(self._on_selection)

    def select(self, cells: Iterable[Cell]) -> None:
        """Select cells, and scroll to the last of them."""
        cells = list(dict.fromkeys(cells))
        if cells != self.cells:  # not what the user is selecting right now
            self.cells = cells
            self.show()
        self.scroll()

    def scroll(self) -> None:
        """Scroll to the last cell that is shown."""
        if rows := self._shown_rows():
            self._view.scrollTo(there(self._view.model()).index(rows[-1], 0))

    def show(self) -> None:
        """Select the rows of the cells."""
        items, rows = there(self._view.model()), self._shown_rows()
        selection = QItemSelection()
        # In ranges: Qt takes long for thousands of single rows.
        for _, pairs in groupby(enumerate(sorted(rows)), lambda pair: pair[1] - pair[0]):
            together = [row for _, row in pairs]
            selection.select(items.index(together[0], 0), items.index(together[-1], 0))
        self._quiet = True  # no choice of the user
        self._rows().select(selection, _Flag.ClearAndSelect | _Flag.Rows)
        if rows:
            self._rows().setCurrentIndex(items.index(rows[-1], 0), _Flag.NoUpdate)
        self._quiet = False

    def _shown_rows(self) -> list[int]:
        return [row for cell in self.cells if (row := self._row_of(cell)) is not None]

    def _rows(self) -> QItemSelectionModel:
        return there(self._view.selectionModel())

    def _on_selection(self, *_: Any) -> None:
        if self._quiet:
            return
        cells = [self._cell_at(index.row()) for index in self._rows().selectedRows()]
        now = dict.fromkeys(cell for cell in cells if cell is not None)
        kept = dict.fromkeys(cell for cell in self.cells if cell in now)
        self.cells = list({**kept, **now})
        self.chosen.emit(list(self.cells))
