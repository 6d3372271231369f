"""Files handed out to workers, threads here or a cluster's, and their rows taken in: one loop for both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..errors import Cancelled, OutputError, WBCSegError
from .file import BatchItem, Row, Run, failure, process

if TYPE_CHECKING:
    from ..progress import Progress

#: One file is segmented while one is read and two are written.
_THREADS = 4
#: Pixels held at once, besides one image of any size: 150 to 600 MB.
_MOST_PIXELS = 50_000_000
_LOST = (
    "The scheduler of the cluster was lost. What is done is kept: the same command does the rest once there "
    "is a cluster again."
)
_LISTEN_SECONDS = 0.5  # Windows hears Ctrl-C between two waits only


class ClusterError(WBCSegError):
    """A cluster that cannot be reached, or cannot do the work."""


class Room:
    """So many bytes or pixels, of which each image takes what it needs and waits until that is free."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._free = size or 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, needed: int) -> Iterator[None]:
        """Hold some of the room; one that needs more than there is waits until it has all of it."""
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


def hand_out(
    items: Sequence[BatchItem],
    submit: Callable[[BatchItem], Future[Row]],
    *,
    done: Callable[[BatchItem, Row], None],
    starting: Callable[[BatchItem], None],
    stop: Callable[[], None],
    failed: Callable[[BatchItem, Exception], Row] = failure,
) -> None:
    """Hand all files to an executor, and report what each came to.

    Parameters
    ----------
    items : sequence of BatchItem
    submit : callable
        Gives a file to the executor.
    done : callable
        Called in this thread with a file and its row of ``counts.csv``, in no particular order, once a file.
    starting : callable
        Called with the first file that is not done, each time that something is, and twice a second.
    stop : callable
        Called when the work ends early: lets go of what waits, and waits for what it must.
    failed : callable
        Makes the row of a file for which the executor has an error, or raises another.

    Raises
    ------
    ClusterError, OutputError, Cancelled
        If it would be the same with all other files, or a callback raised it.
    """
    finished: SimpleQueue[Future[Row]] = SimpleQueue()
    waiting: dict[Future[Row], BatchItem] = {}
    try:
        for item in items:
            future = submit(item)
            waiting[future] = item
            future.add_done_callback(finished.put)
        while waiting:
            starting(next(iter(waiting.values())))
            try:
                future = finished.get(timeout=_LISTEN_SECONDS)
            except Empty:
                continue
            item = waiting.pop(future)
            try:
                row = future.result()
            except (ClusterError, OutputError, Cancelled):
                raise
            except CancelledError:
                raise ClusterError(_LOST) from None
            except Exception as error:
                row = failed(item, error)
            done(item, row)
    finally:
        if waiting:
            stop()


def segment_here(
    items: Sequence[BatchItem],
    run: Run,
    *,
    done: Callable[[BatchItem, Row], None],
    starting: Callable[[BatchItem], None],
    progress: Progress,
) -> None:
    """Segment files with this machine's network, one at a time; others are read and written meanwhile.

    Decoding, compressing and the network run outside Python's lock, so threads overlap them.

    Parameters
    ----------
    items, done, starting
        As for `hand_out`.
    run : Run
    progress : Progress
        Called within the file that is segmented, in the thread that does it.
    """
    network, room, stopped = threading.Lock(), Room(_MOST_PIXELS), threading.Event()
    pool = ThreadPoolExecutor(_THREADS, "wbcseg")

    def alive(done: int, total: int, stage: str) -> None:
        if stopped.is_set():
            raise Cancelled("Stopped.")
        progress(done, total, stage)

    def work(item: BatchItem) -> Row:
        with room.take(item.pixels):
            return process(item, run, alive, network)

    def stop() -> None:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)

    with pool:
        hand_out(items, lambda item: pool.submit(work, item), done=done, starting=starting, stop=stop)
