"""Undo and redo over edits of the layer and decisions together, in the order in which they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .decisions import Decisions
from .measured_cells import MeasuredCells

_MOST_STEPS = 100  # as many as napari keeps


class Step(NamedTuple):
    """What is taken back, or done again: what was decided on the other side, and an edit or none."""

    state: Any
    edited: bool


class History:
    """The steps of one review.

    Parameters
    ----------
    cells : MeasuredCells
        Whose layer takes its edits back itself.
    decisions : Decisions
    """

    def __init__(self, cells: MeasuredCells, decisions: Decisions) -> None:
        self._cells, self._decisions = cells, decisions
        self._done: list[Step] = []
        self._undone: list[Step] = []

    def begin(self, edited: bool) -> None:
        """Remember what there is before a step: an edit of the layer, or a decision."""
        self._done = [*self._done[-_MOST_STEPS:], Step(self._decisions.state, edited)]
        self._undone = []

    def clear(self) -> None:
        """Forget all steps."""
        self._done, self._undone = [], []

    def undo(self) -> bool:
        """Take the last step back, and say whether there was one."""
        return self._go(self._done, self._undone, self._cells.labels.undo)

    def redo(self) -> bool:
        """Do again what was taken back last, and say whether there was something."""
        return self._go(self._undone, self._done, self._cells.labels.redo)

    def _go(self, steps: list[Step], others: list[Step], load: Callable[[], None]) -> bool:
        self._cells.update_now()
        while steps:
            step = steps.pop()
            there = Step(self._decisions.state, step.edited)
            if step.edited and not self._cells.took_back(load):
                continue  # the layer's own Undo took it back already
            self._decisions.state = step.state
            others.append(there)
            return True
        return False
