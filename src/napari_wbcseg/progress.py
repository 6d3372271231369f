"""How long work tells its caller how far it is, and how the caller stops it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called often by long work; raise `Cancelled` inside it to stop the work.

    Parameters
    ----------
    done, total : int
        Steps finished and steps in all; ``total`` is 0 while it is unknown.
    stage : str
        What is being done, in words a user reads.
    """

    def __call__(self, done: int, total: int, stage: str) -> None: ...


def silent(done: int, total: int, stage: str) -> None:
    """Ignore progress; the default."""
