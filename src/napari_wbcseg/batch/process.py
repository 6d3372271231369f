"""Doing the files of a run: each is read and segmented, and what was found is written; here in threads."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import Cancelled, ImageError, OutputError, WBCSegError
from ..executors import Capacity, ClusterError, in_threads
from ..files import remove
from ..images.read import LargeImage, open_large, read_file
from ..images.tiff_writer import write_tiff
from ..progress import Progress, silent
from ..results.formats.registry import files_of, formats_there, planes_there, write_anew
from ..results.formats.tables import columns_to_table
from ..results.load import load_result, record_now
from ..results.origins import ImageRecord
from ..results.records import ResultRecord
from ..results.save import alone_with
from ..segmentation.large.folder import PLAN_FILE
from ..segmentation.large.result import LargeResult
from ..segmentation.large.run import segment_large
from ..segmentation.pipeline import segment
from ..segmentation.result import Placement, Segmentation
from .folder import BatchItem, Outputs, Row, Run, failure, left_out
from .report import report_pictures

if TYPE_CHECKING:
    from distributed import Client

#: Errors after which no other file could be written either.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
#: One file is segmented while one is read and two are written.
_THREADS = 4
#: Pixels held at once, 150 to 600 MB; an image that has more is held alone.
_MOST_PIXELS = 50_000_000
#: A record, and the cells that it is of.
_Done = tuple[ResultRecord, pd.DataFrame]
_OF_ITS_MAKING = ("created", "versions", "platform", "seconds")


def segment_here(
    items: Sequence[BatchItem], run: Run, progress: Progress
) -> Generator[tuple[BatchItem, Row], None, None]:
    """Segment files with this machine's network.

    It does one file at a time; others are read and written meanwhile. Decoding, compressing and the network
    run outside Python's lock, so threads overlap them.

    Parameters
    ----------
    items : sequence of BatchItem
    run : Run
    progress : Progress
        Called while files are segmented.

    Yields
    ------
    (BatchItem, Row)
        Each file as it is done. Whoever closes the iterator early stops the others.

    Raises
    ------
    OutputError, Cancelled
        As `process`.
    """
    network, capacity = threading.Lock(), Capacity(_MOST_PIXELS)

    def work(item: BatchItem, alive: Progress) -> Row:
        with capacity.take(item.pixels):
            return process(item, run, alive, network)

    return in_threads(work, items, _THREADS, progress)


def process(
    item: BatchItem,
    run: Run,
    progress: Progress = silent,
    network: AbstractContextManager[Any] | None = None,
    client: Client | None = None,
) -> Row:
    """Read, segment and write one file, a large one in parts.

    Parameters
    ----------
    item : BatchItem
    run : Run
    progress : Progress
    network : context manager, optional
        Entered while the network is at work, such as a lock.
    client : distributed.Client, optional
        Over whose workers the tiles of a large file are spread.

    Returns
    -------
    Row
        That of the file, whatever went wrong with it.

    Raises
    ------
    OutputError
        If no file can be written: the disk is full, for instance.
    ClusterError
        If the cluster cannot do the work.
    Cancelled
        If the callback raised it.
    """
    start = time.perf_counter()
    try:
        if item.problem:
            raise ImageError(item.problem)
        if (done := _segmented(item, run, progress)) is None:
            common = item, run, progress, network or nullcontext()
            done = _large(*common, client) if item.large else _small(*common)
        record, cells = done
        return record.row(item.image, cells)
    except (Cancelled, ClusterError):
        raise
    except Exception as error:
        for cause in (error, error.__cause__):
            if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
                raise OutputError(
                    f"Nothing can be written into {run.folder} any more: {cause.strerror}. What is done "
                    "is kept: make room, and give the same command again."
                ) from error
        return failure(item, error, time.perf_counter() - start)


def _segmented(item: BatchItem, run: Run, progress: Progress) -> _Done | None:
    """Return what is known of an image that need not be segmented again, with the files that it lacked.

    Raises
    ------
    ImageError
        If a person corrected it since the run chose its name.
    OutputError
        If a file that it lacked cannot be written.
    """
    known = None if run.again else run.segmented(item)
    if known is None:
        meanwhile = run.read(item.name)
        if meanwhile is not None and run.is_corrected(meanwhile):
            raise ImageError(
                f"{item.image} was corrected while this run was under way, and that is kept. Segment once "
                "more: what this run finds in it gets another name then."
            )
        return None
    try:
        return _with_all_files(item, known, run, progress)
    except (Cancelled, OutputError):  # what was found is sound
        raise
    except WBCSegError:  # damaged
        if run.corrected(item):
            raise
        return None


def _with_all_files(item: BatchItem, known: ResultRecord, run: Run, progress: Progress) -> _Done:
    record, cells = refreshed(item, known, run)
    if lacking := run.lacking(item.name, record):
        _write(lacking, run.folder / item.name, *_reopened(item, record, run), progress)
    return record, cells


def _small(item: BatchItem, run: Run, progress: Progress, network: AbstractContextManager[Any]) -> _Done:
    start = time.perf_counter()
    before = ImageRecord.of(item.path, item.image, run.folder, hashed=False)
    pixels, read_notes, pixel_size = read_file(item.path)
    image = ImageRecord.of(item.path, item.image, run.folder)
    if (image.size, image.modified) != (before.size, before.modified):
        raise ImageError(f"{item.path} was changed while it was read; give the same command again.")
    if item.sha256 not in (None, image.sha256):
        raise ImageError(
            f"{item.path} is not the file that the recorded run read (its SHA-256 differs); "
            "put the old file back, or name the image to segment it as it is now."
        )
    asked = time.perf_counter()
    with network:
        start += time.perf_counter() - asked  # while it was another file's turn
        result = segment(pixels, run.model, run.settings, progress)
        labels = np.asarray(result.labels)  # of more than 64 million pixels they are on disk
        progress(0, 0, "Writing")  # unless that is over for which this was done
    place = Placement.of_pixels(result.labels.ndim, pixel_size)
    notes = [*read_notes, *result.notes, *_not_written(run.formats, labels.shape)]
    result = replace(result, labels=labels, notes=tuple(dict.fromkeys(notes)), place=place)
    base = run.folder / item.name
    with alone_with(base):
        if (saved := _segmented(item, run, progress)) is not None:  # meanwhile, by a person
            return saved
        # The record goes first and comes last: an image that has one is done.
        run.record_file(item.name).unlink(missing_ok=True)
        (file, _) = files_of(base, "tiff")
        write_tiff(file, labels, result.placement.pixel_size)
        return write_result(item, result, file.name, pixels, image, run, silent, start)


def _large(
    item: BatchItem, run: Run, progress: Progress, network: AbstractContextManager[Any], client: Client | None
) -> _Done:
    """Segment a large file into a folder of its own; a run that was interrupted goes on where it stopped."""
    folder = run.large_folder(item.name)
    with network:
        start = time.perf_counter()
        # As it is now: where another takes its place meanwhile, the next run sees that.
        stamp = ImageRecord.of(item.path, item.image, run.folder, hashed=False)
        image = open_large(item.path)
        progress(0, 0, "Segmenting")  # unless that is over for which this was done
        if (saved := _segmented(item, run, progress)) is not None:  # while it was another file's turn
            return saved
        known = run.read(item.name)
        make_room(item, run, image)
        if run.again and known is not None and (folder / PLAN_FILE).is_file():  # it would be taken up
            shutil.rmtree(folder, ignore_errors=True)
        result = segment_large(image, folder, run.model, run.settings, progress, client=client)
    result = in_tiles(item, result, image, run)
    return write_result(item, result, folder.name, image, stamp, run, progress, start)


def make_room(item: BatchItem, outputs: Outputs, image: LargeImage) -> None:
    """Remove the record of what the folder of a large image is about to replace.

    Of a small image in its place also the files that are not written of a large one.
    """
    base, known = outputs.folder / item.name, outputs.read(item.name)
    (_, record) = files_of(base, "tiff")
    if known is not None and not known.large:
        for kind in left_out(formats_there(base), image.full.shape[:2], large=True):
            for file in {*files_of(base, kind), *planes_there(base, kind)} - {record}:
                remove(file)
    record.unlink(missing_ok=True)


def in_tiles(item: BatchItem, result: Segmentation, image: LargeImage, outputs: Outputs) -> Segmentation:
    """Return what was found in a large image with all that is noted of it."""
    where = f"Segmented in tiles: its labels and table are in {outputs.large_folder(item.name).name}."
    wanted = [name for name in outputs.formats if name not in ("tiff", "json", "csv", "overlay")]
    left = _not_written(wanted, result.labels.shape, large=True)
    return replace(result, notes=tuple(dict.fromkeys([where, *image.notes, *result.notes, *left])))


def _not_written(formats: Sequence[str], shape: tuple[int, ...], large: bool = False) -> list[str]:
    """Return a note on formats that cannot hold an image of a shape, where there are such."""
    left = left_out(formats, shape, large)
    return [f"Not written for it: {', '.join(left)}."] if left else []


def write_result(
    item: BatchItem,
    result: Segmentation,
    labels: str,
    image: Any,
    stamp: ImageRecord,
    outputs: Outputs,
    progress: Progress,
    start: float | None = None,
    known: ResultRecord | None = None,
) -> _Done:
    """Write what is wanted of an image besides its labels, and its record last; return this and the cells.

    Of a known result that became another it tells still when, how fast and by which versions it was made.
    It is not written over a record that is there now, unless that is the known one: a person saved meanwhile.
    """
    own: dict[str, Any] = {"name": item.image, "image_path": item.path, "model_source": outputs.model_source}
    result = replace(result, **own)
    record, file = ResultRecord.of(result, outputs.folder, labels, stamp), outputs.record_file(item.name)
    if known is not None:
        record = record.model_copy(update={name: getattr(known, name) for name in _OF_ITS_MAKING})
        if (saved := outputs.read(item.name)) is not None and saved.created == known.created:
            record.write(file)  # without pictures: where this is stopped, `with_pictures` does the rest
    _write(outputs.beside(item.name, record), outputs.folder / item.name, result, image, progress)
    progress(0, 0, "Drawing the report")
    more: dict[str, Any] = {} if image is None else report_pictures(image, result)
    saved = outputs.read(item.name)
    if saved is not None and (known is None or saved.created != known.created):
        return record_now(saved, outputs.folder)
    if start is not None:
        more["seconds"] = round(time.perf_counter() - start, 3)
    record = record.model_copy(update=more)
    record.write(file)
    return record, result.cells if record.large else columns_to_table(record.cells)


def _write(kinds: Iterable[str], base: Path, result: Segmentation, image: Any, progress: Progress) -> None:
    for kind in kinds:
        write_anew(kind, base, result, image, progress)


def refreshed(item: BatchItem, record: ResultRecord, outputs: Outputs) -> _Done:
    """Return the record of an image that is done, and its cells.

    Where these became others since, what was written of them is written anew first.

    Raises
    ------
    WBCSegError
        If what was found is damaged, or cannot be written again.
    """
    now, cells = record_now(record, outputs.folder)
    if now == record:
        if record.image.file(outputs.folder) is None and record.is_of(item.path, outputs.folder):  # it moved
            image = ImageRecord.of(
                item.path, record.image.name, outputs.folder, hashed=record.image.sha256 is not None
            )
            record = record.model_copy(update={"image": image})
            record.write(outputs.record_file(item.name))
        return record, cells
    result, image = _reopened(item, now, outputs)
    if result.stacked:  # a number that another program gave to cells of several planes is one cell's now
        write_tiff(outputs.folder / now.labels, result.labels, result.placement.pixel_size)
    return write_result(item, result, now.labels, image, now.image, outputs, silent, known=now)


def _reopened(item: BatchItem, record: ResultRecord, outputs: Outputs) -> tuple[Segmentation, Any]:
    """Return what was found in an image as it is in the files now, and the image.

    None in place of the image where it is gone, or another one by now: no picture is shown of it then.
    """
    if not record.large:
        result = load_result(outputs.record_file(item.name))
        with suppress(ImageError):
            if record.image.is_of(item.path):
                pixels = read_file(item.path).pixels
                # Of a file of several pictures napari may have opened others.
                if pixels.shape[: result.labels.ndim] == result.labels.shape:
                    return result, pixels
        return result, None
    large = LargeResult.open(outputs.folder / record.labels)
    large.keep()
    result = record.segmentation(large.labels.arrays[0], large.cells, outputs.folder)
    with suppress(ImageError):
        image = open_large(item.path)
        large.plan_of(image.full)
        return result, image
    return result, None


def with_pictures(
    item: BatchItem, record: ResultRecord, outputs: Outputs, *, write: bool = False
) -> ResultRecord:
    """Return the record of an image that is done with what the report shows of it.

    Of a result that another than a run saved, corrected perhaps, the pictures are drawn now.

    Parameters
    ----------
    item : BatchItem
    record : ResultRecord
    outputs : Outputs
    write : bool
        Write the record with its pictures, and the files beside it, which may tell of the cells before.

    Raises
    ------
    WBCSegError
        If the image or its labels cannot be read, it is another one by now, or a file cannot be written.
    """
    if record.pictures:
        return record
    result, image = _reopened(item, record, outputs)
    if image is None:
        raise ImageError(f"{item.path} is gone, or has changed since its cells were saved.")
    if write:
        now, _ = write_result(item, result, record.labels, image, record.image, outputs, silent, known=record)
        return now
    return record.model_copy(update=report_pictures(image, result))
