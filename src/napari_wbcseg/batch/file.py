"""One file of a run: read it, segment it, write what was found; and whether that was done before."""

from __future__ import annotations

import errno
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import Cancelled, ImageError, OutputError, SettingsError, WBCSegError
from ..images.pixel_size import PixelSize
from ..images.read import read_pixel_size
from ..progress import Progress, silent
from ..results.formats.tables import count_row, failed_row, with_micrometres
from ..results.formats.tiff import write_labels
from ..results.load import load_result
from ..results.names import LARGE_SUFFIX, RESULT_SUFFIX
from ..results.records import file_stamp
from ..results.result_record import ImageRecord, ResultRecord, encoded
from ..results.save import FORMATS, files_of, save
from ..segmentation.result import Placement, Segmentation
from ..version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from ..images.lazy import LargeImage
    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings

#: Errors after which no other file could be written either.
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

    @property
    def large(self) -> bool:
        """Whether it is segmented in parts, into a folder, rather than read as a whole."""
        from ..images.lazy import is_large_file

        try:
            return not self.problem and is_large_file(self.path)
        except Exception:  # of a damaged file; whoever reads its pixels says what is wrong
            return False

    @property
    def pixels(self) -> int:
        """Pixels that are in memory at once; 0 where the header does not tell."""
        from ..images.read import image_pixels

        return 0 if self.problem or self.large else image_pixels(self.path) or 0


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

    def record_file(self, name: str) -> Path:
        """Return the file by which an image is known to be done."""
        return self.folder / f"{name}{RESULT_SUFFIX}"

    def large_folder(self, name: str) -> Path:
        """Return the folder that holds the result of a large image."""
        return self.folder / f"{name}{LARGE_SUFFIX}"

    def wanted(self, *, flat: bool = True) -> tuple[str, ...]:
        """Return the formats of an image; a stack has no pictures."""
        names = ["tiff", *["mask"] * self.mask, *["overlay"] * self.overlay, *self.formats]
        return tuple(dict.fromkeys(name for name in names if flat or name not in ("mask", "overlay")))

    def files(self, name: str, record: ResultRecord) -> list[Path]:
        """Return the files that belong to an image."""
        base = self.folder / name
        if not record.large:
            return files_of(base, self.wanted(flat=len(record.shape) == 2))
        return [self.large_folder(name), self.record_file(name), *self.beside_large(name).values()]

    def beside_large(self, name: str) -> dict[str, Path]:
        """Return the files that are wanted beside the folder of a large image, by their format."""
        base = self.folder / name
        return {kind: files_of(base, kind)[0] for kind in self.formats if FORMATS[kind].in_parts}


class Outcome(NamedTuple):
    """What one file came to: its row of ``counts.csv``, and the error that no user could have caused."""

    row: dict[str, Any]
    error: Exception | None = None


def process(
    item: BatchItem,
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    progress: Progress = silent,
    network: AbstractContextManager[Any] | None = None,
) -> Outcome:
    """Read, segment and write one file, a large one in parts.

    Parameters
    ----------
    network : context manager
        Entered while the network is at work, such as a lock.

    Raises
    ------
    OutputError
        If no file can be written: the disk is full, for instance. Every other failure, whatever
        the exception, is an outcome.
    Cancelled
        If the callback raised it.
    """
    start = time.perf_counter()
    try:
        if item.problem:
            raise ImageError(item.problem)
        make = _large if item.large else _small
        record = make(item, model, settings, outputs, progress, network or nullcontext())
        return Outcome(row_of(item, record, outputs))
    except Cancelled:
        raise
    except Exception as error:
        for cause in (error, error.__cause__):
            if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
                raise OutputError(
                    f"Nothing can be written into {outputs.folder} any more: {cause.strerror}. What is done "
                    "is kept: make room, and give the same command again."
                ) from error
        return failure(item, error, time.perf_counter() - start)


def failure(item: BatchItem, error: Exception, seconds: float = 0.0) -> Outcome:
    """Return the outcome of a file that could not be segmented, in a sentence."""
    if isinstance(error, WBCSegError):
        text = str(error)
        # Arrays do not know the name of their file.
        text = text if item.problem or item.path.name in text else f"{item.path}: {text}"
        return Outcome(failed_row(item.image, text, seconds))
    reason = (str(error).strip().splitlines() or ["no reason given"])[0]
    text = f"{item.image} failed with an unexpected {type(error).__name__}: {reason}"
    return Outcome(failed_row(item.image, text, seconds), error)


def row_of(item: BatchItem, record: ResultRecord, outputs: Outputs) -> dict[str, Any]:
    """Return the row of ``counts.csv`` of an image that is done."""
    return count_row(item.image, record, cells_of(item, record, outputs))


def cells_of(item: BatchItem, record: ResultRecord, outputs: Outputs) -> pd.DataFrame:
    """Return the rows of ``cells.csv`` of an image that is done."""
    from ..segmentation.large.result import LargeResult

    table = LargeResult.open(outputs.large_folder(item.name)).cells if record.large else record.table
    return with_micrometres(table, record.placement.pixel_size)


def pictures_in(item: BatchItem, outputs: Outputs) -> dict[str, list[tuple[str, str]]]:
    """Return the pictures and the gallery that the report shows of an image that is done.

    Of a result that another than a run saved, corrected perhaps, the pictures are drawn now.

    Raises
    ------
    WBCSegError
        If the image or its labels cannot be read.
    """
    from ..images.read import read_image
    from .thumbnails import gallery_of, pictures_of

    record = ResultRecord.read(outputs.record_file(item.name))
    if record.pictures:
        return {"pictures": record.pictures, "gallery": record.gallery}
    image, result = read_image(item.path), load_result(outputs.record_file(item.name))
    return {"pictures": encoded(pictures_of(image, result)), "gallery": encoded(gallery_of(image, result))}


def done_before(
    item: BatchItem, model: ModelFile, settings: SegmentationSettings, outputs: Outputs
) -> tuple[ResultRecord | None, bool]:
    """Look for the result of an earlier run.

    Returns
    -------
    record : ResultRecord or None
        Where the same image was segmented with the same settings, model and version of this
        package, and all files that are wanted are there. Corrections made since are kept.
    outdated : bool
        Whether there is a result of other settings, another model or another version.
    """
    try:
        record = ResultRecord.read(outputs.record_file(item.name))
    except SettingsError:
        return None, False
    if (
        record.settings != settings
        or record.model is None
        or record.model.hash != model.hash
        or record.versions.get("napari-wbcseg") != __version__
    ):
        return None, True
    if item.sha256 not in (None, record.image.sha256) or not record.image.is_of(item.path):
        return None, False
    if not all(path.exists() for path in outputs.files(item.name, record)):
        return None, False
    return _with_corrections(item, record, outputs) if record.large else record, False


# The two ways of doing a file -------------------------------------------------------------------------


def _small(
    item: BatchItem,
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    progress: Progress,
    network: AbstractContextManager[Any],
) -> ResultRecord:
    from ..images.read import read_image_and_notes
    from ..segmentation.pipeline import segment
    from .thumbnails import gallery_of, pictures_of

    start = time.perf_counter()
    before = _stamp(item.path)
    pixels, read_notes = read_image_and_notes(item.path)
    pixel_size = read_pixel_size(item.path)
    image = ImageRecord.of(item.path, item.image, outputs.folder)
    if _stamp(item.path) != before:
        raise ImageError(f"{item.path} was changed while it was read; give the same command again.")
    if item.sha256 not in (None, image.sha256):
        raise ImageError(
            f"{item.path} is not the file that the recorded run read (its SHA-256 differs); "
            "put the old file back, or segment anew without --repeat."
        )
    asked = time.perf_counter()
    with network:
        start += time.perf_counter() - asked  # while it was another file's turn
        result = segment(pixels, model, settings, progress)
    notes = [*read_notes, *result.notes]
    if result.stacked and (outputs.mask or outputs.overlay):
        notes.append("A stack has no overlay or mask picture.")
    result = _of_item(result, item, outputs, notes, pixel_size)
    base = outputs.folder / item.name
    # The record goes first and comes last: an image that has one is done.
    outputs.record_file(item.name).unlink(missing_ok=True)
    (labels, _) = files_of(base, "tiff")
    write_labels(labels, result.labels, pixel_size)
    if others := [name for name in outputs.wanted(flat=not result.stacked) if name not in ("tiff", "json")]:
        save(result, base, others, image=pixels)
    shown = {"pictures": pictures_of(pixels, result), "gallery": gallery_of(pixels, result)}
    seconds = round(time.perf_counter() - start, 3)
    record = ResultRecord.of(result, outputs.folder, labels.name, image=image, seconds=seconds, **shown)
    record.write(outputs.record_file(item.name))
    return record


def _large(
    item: BatchItem,
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    progress: Progress,
    network: AbstractContextManager[Any],
) -> ResultRecord:
    """Segment a large file into a folder of its own; a run that was interrupted goes on where it stopped."""
    from ..images.lazy import open_large
    from ..segmentation.large.run import LargeRun

    folder = outputs.large_folder(item.name)
    with network:
        start = time.perf_counter()
        image = open_large(item.path)
        outputs.record_file(item.name).unlink(missing_ok=True)
        run = LargeRun(image, folder, model, settings, progress=progress)
        for _ in run.tiles():
            pass
        result = run.finish()
    notes = [f"Segmented in tiles: its labels and table are in {folder.name}.", *image.notes, *result.notes]
    made = ("tiff", "csv", "overlay", *outputs.beside_large(item.name))
    if left_out := [name for name in outputs.wanted() if name not in made]:
        notes.append(f"Not written for it: {', '.join(left_out)}.")
    result = _of_item(result, item, outputs, notes, image.pixel_size)
    return _keep_large(item, image, result, outputs, progress, start)


def _keep_large(
    item: BatchItem,
    image: LargeImage,
    result: Segmentation,
    outputs: Outputs,
    progress: Progress,
    start: float,
) -> ResultRecord:
    """Write what lies beside the folder of a large image: outlines, pictures, the record."""
    from ..segmentation.large.source import PixelSource
    from .thumbnails import gallery_of, pictures_of_large

    stamp = ImageRecord.of(item.path, item.image, outputs.folder, hashed=False)
    for kind, path in outputs.beside_large(item.name).items():
        FORMATS[kind].write(path, result, None, progress)
    progress(0, 0, "Drawing the report")
    source = PixelSource(image.full)
    shown = {
        "pictures": pictures_of_large(image.levels, source, result),
        "gallery": gallery_of(source, result),
    }
    folder, seconds = outputs.large_folder(item.name), round(time.perf_counter() - start, 3)
    record = ResultRecord.of(result, outputs.folder, folder.name, image=stamp, seconds=seconds, **shown)
    record.write(outputs.record_file(item.name))
    return record


def _with_corrections(item: BatchItem, record: ResultRecord, outputs: Outputs) -> ResultRecord:
    """Return the record of a large image, made again where its cells were corrected since."""
    from ..images.lazy import open_large
    from ..segmentation.large.files import RESULT_FILE
    from ..segmentation.large.result import LargeResult

    folder = outputs.large_folder(item.name)
    own = outputs.record_file(item.name)
    if (folder / RESULT_FILE).stat().st_mtime_ns <= own.stat().st_mtime_ns:
        return record
    start = time.perf_counter() - (record.seconds or 0)
    large = LargeResult.open(folder)
    found = Segmentation(
        large.labels.arrays[0],
        large.cells,
        settings=record.settings,
        model=large.model,
        cell_diameter=large.cell_diameter,
        edited=True,
        classes=record.class_list,
    )
    found = _of_item(found, item, outputs, list(record.notes), record.placement.pixel_size)
    return _keep_large(item, open_large(item.path), found, outputs, silent, start)


def _of_item(
    result: Segmentation, item: BatchItem, outputs: Outputs, notes: list[str], pixel_size: PixelSize | None
) -> Segmentation:
    return replace(
        result,
        notes=tuple(dict.fromkeys(notes)),
        place=Placement.of_pixels(len(result.labels.shape), pixel_size),
        name=item.image,
        image_path=item.path,
        model_source=outputs.model_source,
    )


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        return file_stamp(path)
    except OSError:
        return ()  # whoever reads it says what is wrong
