"""Files handed out to workers, threads here or a cluster's, and their rows taken in: one loop for both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
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


def rows_of(
    waiting: dict[Future[Row], BatchItem], failed: Callable[[BatchItem, Exception], Row] = failure
) -> Generator[tuple[BatchItem, Row], None, None]:
    """Yield each file and what it came to, as an executor is done with it.

    Parameters
    ----------
    waiting : dict of Future to BatchItem
    failed : callable
        Makes the row of a file for which the executor has an error, or raises another.

    Raises
    ------
    ClusterError, OutputError, Cancelled
        If it would be the same with all other files.
    """
    for item, future in completed(waiting):
        try:
            row = future.result()
        except (ClusterError, OutputError, Cancelled):
            raise
        except CancelledError:
            raise ClusterError(LOST) from None
        except Exception as error:
            row = failed(item, error)
        yield item, row


def segment_here(
    items: Sequence[BatchItem], run: Run, progress: Progress
) -> Generator[tuple[BatchItem, Row], None, None]:
    """Segment files with this machine's network, one at a time; others are read and written meanwhile.

    Decoding, compressing and the network run outside Python's lock, so threads overlap them.

    Parameters
    ----------
    items : sequence of BatchItem
    run : Run
    progress : Progress
        Called within the file that is segmented, in the thread that does it.

    Yields
    ------
    (BatchItem, Row)
        Each file as it is done. Whoever closes the iterator early stops the others.
    """
    network, room, stopped = threading.Lock(), Room(_MOST_PIXELS), threading.Event()

    def alive(done: int, total: int, stage: str) -> None:
        if stopped.is_set():
            raise Cancelled("Stopped.")
        progress(done, total, stage)

    def work(item: BatchItem) -> Row:
        with room.take(item.pixels):
            return process(item, run, alive, network)

    pool = ThreadPoolExecutor(_THREADS, "wbcseg")
    try:
        yield from rows_of({pool.submit(work, item): item for item in items})
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
