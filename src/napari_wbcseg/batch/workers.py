"""Files handed out to workers, threads here or a cluster's, and their rows taken in: one loop for both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..errors import Cancelled, OutputError
from ..executors import LOST, ClusterError, Room, completed
from .file import BatchItem, Row, Run, failure
from .process import process

if TYPE_CHECKING:
    from ..progress import Progress

#: One file is segmented while one is read and two are written.
_THREADS = 4
#: Pixels held at once, besides one image of any size: 150 to 600 MB.
_MOST_PIXELS = 50_000_000


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
        Called with the first file that is not done, each time that something is.
    stop : callable
        Called when the work ends early: lets go of what waits, and waits for what it must.
    failed : callable
        Makes the row of a file for which the executor has an error, or raises another.

    Raises
    ------
    ClusterError, OutputError, Cancelled
        If it would be the same with all other files, or a callback raised it.
    """
    waiting: dict[Future[Row], BatchItem] = {}
    try:
        for item in items:
            waiting[submit(item)] = item
        for item in items[:1]:
            starting(item)
        for item, future in completed(waiting):
            try:
                row = future.result()
            except (ClusterError, OutputError, Cancelled):
                raise
            except CancelledError:
                raise ClusterError(LOST) from None
            except Exception as error:
                row = failed(item, error)
            done(item, row)
            for first in list(waiting.values())[:1]:
                starting(first)
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
