"""Undo and redo of what a person does in a review."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..shared.metadata import LayerInfo, note
from .decisions import Decisions
from .measured_cells import MeasuredCells

_MOST_STEPS = 100  # as many as napari keeps


class History:
    """Undo and redo over edits of the layer, decisions and classes together, in the order they were made.

    A step is what was decided on the other side of it, with the classes there were, and whether it is an
    edit of the layer.

    Parameters
    ----------
    cells : MeasuredCells
        Whose layer takes its edits back itself.
    decisions : Decisions
    """

    def __init__(self, cells: MeasuredCells, decisions: Decisions) -> None:
        self._cells, self._decisions = cells, decisions
        self.clear()

    def clear(self) -> None:
        """Forget all steps."""
        self._done: list[tuple[Any, Any, bool]] = []
        self._undone: list[tuple[Any, Any, bool]] = []

    def begin(self, edited: bool) -> None:
        """Remember what there is before a step: an edit of the layer, or what a person says."""
        self._done = [*self._done[-_MOST_STEPS:], (*self._said, edited)]
        self._undone = []

    def undo(self) -> bool:
        """Take the last step back, and say whether there was one."""
        return self._go(self._done, self._undone, self._cells.labels.undo)

    def redo(self) -> bool:
        """Do again what was taken back last, and say whether there was something."""
        return self._go(self._undone, self._done, self._cells.labels.redo)

    @property
    def _said(self) -> tuple[Any, Any]:
        return self._decisions.state, LayerInfo.of(self._cells.labels).classes

    def _go(self, steps: list[Any], others: list[Any], load: Callable[[], None]) -> bool:
        self._cells.update_now()
        while steps:
            state, classes, edited = steps.pop()
            there = *self._said, edited
            if edited and not self._cells.took_back(load):
                continue  # the layer's own Undo took it back already
            self._decisions.state = state
            note(self._cells.labels, classes=classes)
            others.append(there)
            return True
        return False
