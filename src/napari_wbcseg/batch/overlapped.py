"""Segment files on this machine: the next are read, and the last are written, while one is segmented."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..errors import Cancelled, OutputError
from .file import (
    BatchItem,
    Loaded,
    Outcome,
    Outputs,
    failure,
    is_large_item,
    load,
    process_large,
    write,
)

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from ..progress import Progress
    from ..settings import SegmentationSettings

_READ_AHEAD = 4
_WRITERS = 2
_MOST_WRITES = 4
#: Pixels that may wait to be segmented or written, besides one image of any size: 150 to 600 MB.
_MOST_PIXELS = 50_000_000


def segment_overlapped(
    items: Sequence[tuple[int, BatchItem]],
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    *,
    done: Callable[[int, Outcome], None],
    starting: Callable[[int], None],
    progress: Progress,
) -> None:
    """Segment files with this machine's network, reading and writing meanwhile.

    Decoding, compressing and the network run outside Python's lock, so threads overlap
    them. Both queues are bounded, by number and by pixels, so that memory does not grow
    with the number of files. Large files are not read ahead: they are done in blocks.

    Parameters
    ----------
    items : sequence of (int, BatchItem)
        Files, and the position that each is known by.
    model : ModelFile
    settings : SegmentationSettings
    outputs : Outputs
    done : callable
        Called in this thread with position and outcome, in no particular order. What was
        written before the run is stopped is still reported.
    starting : callable
        Called with the position of the file about to be segmented.
    progress : Progress
        Called within a file.

    Raises
    ------
    OutputError
        If results cannot be written: nothing further is tried then.
    Cancelled
        If a callback raised it.
    """
    from ..segmentation.pipeline import segment

    writes: deque[tuple[int, BatchItem, Future[Outcome]]] = deque()

    def collect(most: int) -> None:
        """Report finished writes, and wait until at most so many are left."""
        while writes and (len(writes) > most or writes[0][2].done()):
            index, item, written = writes.popleft()
            try:
                outcome = written.result()
            except (OutputError, Cancelled):
                raise
            except Exception as error:
                outcome = failure(item, error, 0.0)
            done(index, outcome)

    reading = ThreadPoolExecutor(1, "wbcseg-read")
    writing = ThreadPoolExecutor(_WRITERS, "wbcseg-write")
    try:
        for index, item, future in _read_ahead(reading, items):
            starting(index)
            if future is None:
                done(index, process_large(item, model, settings, outputs, progress))
                continue
            start = time.perf_counter()
            try:
                loaded = future.result()
                start = time.perf_counter()
                result = segment(loaded.pixels, model, settings, progress)
            except Cancelled:
                raise
            except Exception as error:
                done(index, failure(item, error, time.perf_counter() - start))
            else:
                seconds = loaded.seconds + time.perf_counter() - start
                collect(0 if loaded.pixels.size > _MOST_PIXELS else _MOST_WRITES - 1)
                writes.append((index, item, writing.submit(write, item, loaded, result, outputs, seconds)))
            collect(_MOST_WRITES)
        collect(0)
    finally:
        reading.shutdown(wait=False, cancel_futures=True)
        writing.shutdown(wait=True)
        for index, _, written in writes:  # stopped: what was written all the same
            if not written.exception():
                done(index, written.result())


def _read_ahead(
    reading: ThreadPoolExecutor, items: Sequence[tuple[int, BatchItem]]
) -> Iterator[tuple[int, BatchItem, Future[Loaded] | None]]:
    """Yield files in order, a few of them being read already; None for a large one, which is not."""
    from ..images.headers import image_pixels

    waiting: deque[tuple[int, BatchItem, Future[Loaded] | None, int]] = deque()
    coming = iter(items)
    held: tuple[int, BatchItem] | None = next(coming, None)
    pixels = 0
    while held is not None or waiting:
        while held is not None and len(waiting) < _READ_AHEAD:
            index, item = held
            large = is_large_item(item)
            more = 0 if large else image_pixels(item.path) or 0
            if waiting and pixels + more > _MOST_PIXELS:
                break
            waiting.append((index, item, None if large else reading.submit(load, item), more))
            pixels += more
            held = next(coming, None)
        index, item, future, fewer = waiting.popleft()
        pixels -= fewer
        yield index, item, future
