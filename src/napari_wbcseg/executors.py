"""Work handed out, to threads here or to the workers of a cluster, and taken in as it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import chain, islice
from queue import Empty, SimpleQueue
from typing import TypeVar

from .errors import Cancelled, WBCSegError
from .progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_LISTEN_SECONDS = 0.5  # Windows hears Ctrl-C between two waits only
_TELL_SECONDS = 0.1


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


def in_threads(
    function: Callable[[Item, Progress], Result], items: Iterable[Item], threads: int, progress: Progress
) -> Generator[tuple[Item, Result], None, None]:
    """Do something with items, a few at a time, and yield each with what came of it, as it is done.

    Parameters
    ----------
    function : callable
        Takes an item and a progress, which it calls often.
    items : iterable
        Each is asked for when there is a thread for it.
    threads : int
        At most; a single item is done by the caller.
    progress : Progress
        Called in the caller's thread. Where it raises, or the iterator is closed early, all others stop.
    """
    todo, told, stopped = iter(items), list[tuple[int, int, str]](), threading.Event()
    first = list(islice(todo, 2))
    todo = chain(first, todo)
    if threads < 2 or len(first) < 2:
        yield from ((item, function(item, progress)) for item in todo)
        return

    def tell(done: int, total: int, stage: str) -> None:
        if stopped.is_set():
            raise Cancelled("Stopped.")
        told[:] = [(done, total, stage)]

    pool, waiting = ThreadPoolExecutor(threads, "wbcseg"), dict[Future[Result], Item]()
    try:
        while True:
            for item in islice(todo, threads - len(waiting)):
                waiting[pool.submit(function, item, tell)] = item
            if not waiting:
                return
            done = wait(waiting, _TELL_SECONDS, FIRST_COMPLETED).done
            for future in [one for one in waiting if one in done]:
                yield waiting.pop(future), future.result()
            if told:
                progress(*told[0])
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


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
