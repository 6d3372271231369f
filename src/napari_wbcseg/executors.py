"""Work handed to an executor, threads here or the workers of a cluster, and taken in as it is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TypeVar

from .errors import WBCSegError

Item = TypeVar("Item")
Result = TypeVar("Result")

_LISTEN_SECONDS = 0.5  # Windows hears Ctrl-C between two waits only


class ClusterError(WBCSegError):
    """A cluster that cannot be reached, or cannot do the work."""


class Capacity:
    """So many bytes or pixels, of which each image takes what it needs and waits until that is free."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._free = size or 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, needed: int) -> Iterator[None]:
        """Hold some of it; one that needs more than there is waits until it has all of it."""
        if self.size is None:
            yield
            return
        needed = min(needed, self.size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()


def completed(waiting: dict[Future[Result], Item]) -> Iterator[tuple[Item, Future[Result]]]:
    """Yield what is waited for in the order in which it is done, and take it out of the dictionary."""
    finished: SimpleQueue[Future[Result]] = SimpleQueue()
    for future in list(waiting):
        future.add_done_callback(finished.put)
    while waiting:
        try:
            future = finished.get(timeout=_LISTEN_SECONDS)
        except Empty:
            continue
        yield waiting.pop(future), future
