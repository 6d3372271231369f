"""The selected cells of a review, which table, gallery and canvas show and change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from qtpy.QtCore import QItemSelection, QItemSelectionModel, QObject, Signal
from qtpy.QtWidgets import QAbstractItemView

from ..controls.basic_widgets import there
from .decisions import Cell

_Flag = QItemSelectionModel.SelectionFlag


class Selection(QObject):
    """The selected cells, in the order in which they were selected."""

    #: Emitted when cells were selected, also the same again, and whether the camera is to go there.
    changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[Cell] = []

    def select(self, cells: Iterable[Cell], centre: bool = False) -> None:
        """Select these cells and no others; with ``centre`` the camera goes to the last of them."""
        self.cells = list(dict.fromkeys(cells))
        self.changed.emit(centre)


class SelectedRows(QObject):
    """Keeps the rows of the selected cells selected in a view, whose rows come, go and change places.

    Parameters
    ----------
    view : QAbstractItemView
        Has its model.
    selection : Selection
        Which follows what the user selects in the view, too.
    cell_at, row_of : callable
        Give the cell of a row, None for a row without one, and the row of a cell, None where it is not shown.
    """

    def __init__(
        self,
        view: QAbstractItemView,
        selection: Selection,
        cell_at: Callable[[int], Cell | None],
        row_of: Callable[[Cell], int | None],
    ) -> None:
        super().__init__(view)
        self._view, self._selection, self._cell_at, self._row_of = view, selection, cell_at, row_of
        self._by_user = True
        self._rows().selectionChanged.connect(self._on_selected)
        selection.changed.connect(self._on_changed)

    def show(self) -> None:
        """Select the rows of the cells."""
        items, rows = there(self._view.model()), self._shown_rows()
        selection = QItemSelection()
        # In ranges: Qt takes long for thousands of single rows.
        for _, pairs in groupby(enumerate(sorted(rows)), lambda pair: pair[1] - pair[0]):
            together = [row for _, row in pairs]
            selection.select(items.index(together[0], 0), items.index(together[-1], 0))
        self._by_user = False
        self._rows().select(selection, _Flag.ClearAndSelect | _Flag.Rows)
        if rows:
            self._rows().setCurrentIndex(items.index(rows[-1], 0), _Flag.NoUpdate)
        self._by_user = True

    def scroll(self) -> None:
        """Scroll to the last cell that is shown."""
        if rows := self._shown_rows():
            self._view.scrollTo(there(self._view.model()).index(rows[-1], 0))

    def _on_changed(self) -> None:
        if self._by_user:  # of what is selected here the rows are selected already
            self.show()
        self.scroll()

    def _on_selected(self, *_: Any) -> None:
        if not self._by_user:
            return
        cells = [self._cell_at(index.row()) for index in self._rows().selectedRows()]
        now = dict.fromkeys(cell for cell in cells if cell is not None)
        kept = dict.fromkeys(cell for cell in self._selection.cells if cell in now)
        self._by_user = False
        self._selection.select({**kept, **now}, centre=True)
        self._by_user = True

    def _shown_rows(self) -> list[int]:
        return [row for cell in self._selection.cells if (row := self._row_of(cell)) is not None]

    def _rows(self) -> QItemSelectionModel:
        return there(self._view.selectionModel())
