"""One file of a run: read it, segment it, write what was found."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, ImageError, OutputError, WBCSegError
from ..images.pixel_size import PixelSize, read_pixel_size
from ..results.formats.tables import count_row, failed_row, with_micrometres
from ..results.labelled import labelled_image
from ..results.names import LARGE_SUFFIX
from ..results.records import file_sha256
from ..results.save import files_of, save

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..network.model_file import ModelFile
    from ..progress import Progress
    from ..segmentation.result import Segmentation
    from ..settings import SegmentationSettings
    from .thumbnails import Picture


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class BatchItem:
    """One file to segment.

    Attributes
    ----------
    path : Path
    image : str
        How the tables call it.
    name : str
        What its output files begin with.
    sha256 : str or None
        What its content must hash to, when a run is repeated.
    problem : str
        Why it cannot even be tried; empty when it can.
    """

    path: Path
    image: str
    name: str
    sha256: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class Outputs:
    """Where the results go, and which of them are wanted.

    Attributes
    ----------
    folder : Path
    mask, overlay : bool
        Write ``NAME-mask.jpg`` and ``NAME-overlay.png`` too.
    formats : tuple of str
        More of `napari_wbcseg.results.save.FORMATS` to write.
    model_source : str
        The name or path that the model was asked for by.
    """

    folder: Path
    mask: bool = False
    overlay: bool = True
    formats: tuple[str, ...] = ()
    model_source: str = ""

    def large_folder(self, name: str) -> Path:
        """Return the folder that holds the result of a large image."""
        return self.folder / f"{name}{LARGE_SUFFIX}"

    def wanted(self, *, flat: bool = True) -> tuple[str, ...]:
        """Return the formats of an image; a stack has no pictures."""
        names = ["tiff", *["mask"] * self.mask, *["overlay"] * self.overlay, *self.formats]
        return tuple(dict.fromkeys(name for name in names if flat or name not in ("mask", "overlay")))

    def large_outlines(self, name: str) -> Path | None:
        """Return the file for the outlines of a large image; None where they are not wanted."""
        return files_of(self.folder / name, ("geojson",))[0] if "geojson" in self.formats else None

    def files(self, name: str, *, flat: bool = True, large: bool = False) -> list[Path]:
        """Return the files that belong to an image."""
        if large:
            outlines = self.large_outlines(name)
            return [self.large_folder(name), *([outlines] if outlines is not None else [])]
        return files_of(self.folder / name, self.wanted(flat=flat))


@dataclass(frozen=True)
class Loaded:
    """A file that was read: its pixels, and what is known of it."""

    pixels: np.ndarray
    notes: tuple[str, ...]
    sha256: str
    size: int
    modified: int
    pixel_size: PixelSize | None
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What one file came to.

    Attributes
    ----------
    row : dict
        Its row of ``counts.csv``.
    cells : DataFrame or None
        Its rows of ``cells.csv``; None if it failed.
    sha256, size, modified
        Of the file as it was read: the SHA-256 of its content, its bytes, and the time of
        its last change in nanoseconds.
    flat : bool
        Whether it is one image, not a stack.
    large : bool
        Whether it was segmented in blocks, into a folder.
    pictures : tuple of Picture
        For the report: the image, then the cells to check.
    error : Exception or None
        Why it failed, when no user could have caused it.
    """

    row: dict[str, Any]
    cells: pd.DataFrame | None = None
    sha256: str | None = None
    size: int = 0
    modified: int = 0
    flat: bool = True
    large: bool = False
    pictures: tuple[Picture, ...] = field(default=(), repr=False)
    error: Exception | None = None

    @property
    def good(self) -> bool:
        """Whether there is a result."""
        return bool(self.row["status"] == "ok")


def process(
    item: BatchItem,
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    progress: Progress,
) -> Outcome:
    """Read, segment and write one file, a large one in blocks.

    Raises
    ------
    OutputError
        If the results cannot be written. Every other failure is an outcome.
    """
    from ..segmentation.pipeline import segment

    if is_large_item(item):
        return process_large(item, model, settings, outputs, progress)
    start = time.perf_counter()
    try:
        loaded = load(item)
        began = time.perf_counter()
        result = segment(loaded.pixels, model, settings, progress)
        return write(item, loaded, result, outputs, loaded.seconds + time.perf_counter() - began)
    except OutputError:
        raise
    except Exception as error:
        return failure(item, error, time.perf_counter() - start)


def is_large_item(item: BatchItem) -> bool:
    """Say whether a file is segmented in blocks rather than read as a whole."""
    from ..images.lazy import is_large_file

    return not item.problem and is_large_file(item.path)


def process_large(
    item: BatchItem,
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    progress: Progress,
) -> Outcome:
    """Segment one large file in blocks, into a folder of its own.

    A run that was interrupted goes on where it stopped.

    Raises
    ------
    OutputError
        If the result cannot be written. Every other failure is an outcome.
    Cancelled
        If the callback raised it.
    """
    from ..images.lazy import open_large
    from ..results.formats.large_geojson import write_large_geojson
    from ..segmentation.large.run import LargeRun
    from .thumbnails import pictures_of_large

    start = time.perf_counter()
    folder = outputs.large_folder(item.name)
    try:
        size, modified = file_stamp(item.path)
        image = open_large(item.path)
        run = LargeRun(image, folder, model, settings, progress=progress)
        for _ in run.tiles():
            pass
        result = run.finish()
        pixel_size = read_pixel_size(item.path)
        if (outlines := outputs.large_outlines(item.name)) is not None:
            write_large_geojson(outlines, result.labels, result.cells, pixel_size, item.image, progress)
        progress(0, 0, "Drawing the report")
        pictures = pictures_of_large(image.levels, run.source, result)
    except (OutputError, Cancelled):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise OutputError(
                f"{folder} cannot be written: {error.strerror}. What is done is kept: make room, and give "
                "the same command again."
            ) from error
        return failure(item, error, time.perf_counter() - start)
    notes = [*image.notes, f"Segmented in blocks: its labels and table are in {folder.name}."]
    if left_out := [name for name in outputs.wanted() if name not in ("tiff", "csv", "overlay", "geojson")]:
        notes.append(f"Not written for it: {', '.join(left_out)}.")
    return Outcome(
        count_row(item.image, result, time.perf_counter() - start, notes),
        with_micrometres(result.cells, pixel_size),
        None,
        size,
        modified,
        large=True,
        pictures=pictures,
    )


def file_stamp(path: Path) -> tuple[int, int]:
    """Return the bytes of a file, or of all files in a folder, and when it was last changed, in ns."""
    if not path.is_dir():
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    stats = [each.stat() for each in path.rglob("*") if each.is_file()]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def load(item: BatchItem) -> Loaded:
    """Read a file.

    Raises
    ------
    ImageError
        If it is no image, or not the one that a recorded run read.
    """
    from ..images.read import read_image_and_notes

    if item.problem:
        raise ImageError(item.problem)
    start = time.perf_counter()
    pixels, notes = read_image_and_notes(item.path)
    stat = item.path.stat()
    sha256 = file_sha256(item.path)
    if item.sha256 is not None and item.sha256 != sha256:
        raise ImageError(
            f"{item.path} is not the file that the recorded run read (its SHA-256 differs); "
            "put the old file back, or segment anew without --repeat."
        )
    return Loaded(
        pixels,
        notes,
        sha256,
        stat.st_size,
        stat.st_mtime_ns,
        read_pixel_size(item.path),
        time.perf_counter() - start,
    )


def write(item: BatchItem, loaded: Loaded, result: Segmentation, outputs: Outputs, seconds: float) -> Outcome:
    """Write what was found in one file.

    Parameters
    ----------
    item : BatchItem
    loaded : Loaded
    result : Segmentation
    outputs : Outputs
    seconds : float
        Time spent on the file so far.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    from .thumbnails import pictures_of

    start = time.perf_counter()
    flat = result.labels.ndim == 2
    notes: Sequence[str] = loaded.notes
    found = labelled_image(
        result,
        image=loaded.pixels,
        image_path=item.path,
        pixel_size=loaded.pixel_size,
        name=item.image,
        model_source=outputs.model_source,
    )
    save(found, outputs.folder / item.name, outputs.wanted(flat=flat))
    if not flat and (outputs.mask or outputs.overlay):
        notes = [*notes, "A stack has no overlay or mask picture."]
    pictures = pictures_of(loaded.pixels, result)
    seconds += time.perf_counter() - start
    return Outcome(
        count_row(item.image, result, seconds, notes),
        with_micrometres(found.cells, loaded.pixel_size),
        loaded.sha256,
        loaded.size,
        loaded.modified,
        flat,
        pictures=pictures,
    )


def failure(item: BatchItem, error: Exception, seconds: float) -> Outcome:
    """Return the outcome of a file that could not be segmented, in a sentence."""
    if isinstance(error, WBCSegError):
        text = str(error)
        # Arrays do not know the name of their file.
        text = text if item.problem or item.path.name in text else f"{item.path}: {text}"
        return Outcome(failed_row(item.image, text, seconds))
    reason = (str(error).strip().splitlines() or ["no reason given"])[0]
    text = f"{item.image} failed with an unexpected {type(error).__name__}: {reason}"
    return Outcome(failed_row(item.image, text, seconds), error=error)
