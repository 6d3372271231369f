"""Segment files here, in threads: the network does one at a time, others are read and written meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..errors import Cancelled
from ..executors import Room, completed
from .file import BatchItem, Row, Run
from .process import process

if TYPE_CHECKING:
    from ..progress import Progress

#: One file is segmented while one is read and two are written.
_THREADS = 4
#: Pixels held at once, besides one image of any size: 150 to 600 MB.
_MOST_PIXELS = 50_000_000


def segment_here(
    items: Sequence[BatchItem], run: Run, progress: Progress
) -> Generator[tuple[BatchItem, Row], None, None]:
    """Segment files with this machine's network.

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

    Raises
    ------
    OutputError, Cancelled
        As `process`.
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
        for item, future in completed({pool.submit(work, item): item for item in items}):
            yield item, future.result()
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
