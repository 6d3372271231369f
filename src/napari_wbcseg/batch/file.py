"""One file of a run: read it, segment it, write what was found; and whether that was done before."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, ImageError, OutputError, SettingsError, WBCSegError
from ..executors import ClusterError
from ..progress import Progress, silent
from ..results.formats.tables import failed_row, with_micrometres
from ..results.formats.tiff import write_labels
from ..results.names import LARGE_SUFFIX, RESULT_SUFFIX
from ..results.origins import ImageRecord
from ..results.records import Picture, ResultRecord
from ..results.save import FORMATS, files_of, save
from ..segmentation.result import Placement, Segmentation
from ..version import __version__

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from ..images.lazy import LargeImage
    from ..images.pixel_size import PixelSize
    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings

#: Errors after which no other file could be written either.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

#: A row of ``counts.csv``.
Row = dict[str, Any]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchItem:
    """One file to segment.

    Attributes
    ----------
    path : Path
    image : str
        How the tables call it.
    name : str
        What its output files are to begin with; empty where the run chooses.
    sha256 : str or None
        What its content must hash to, when a run is repeated.
    problem : str
        Why it cannot even be tried; empty when it can.
    """

    path: Path
    image: str
    name: str = ""
    sha256: str | None = None
    problem: str = ""

    @cached_property
    def large(self) -> bool:
        """Whether it is segmented in parts, into a folder, rather than read as a whole."""
        from ..images.lazy import is_large_file

        try:
            return not self.problem and is_large_file(self.path)
        except Exception:  # of a damaged file; whoever reads its pixels says what is wrong
            return False

    @cached_property
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

    def wanted(self, *, flat: bool = True) -> list[str]:
        """Return the formats of an image; a stack has no pictures."""
        names = ["tiff", *["mask"] * self.mask, *["overlay"] * self.overlay, *self.formats]
        return list(dict.fromkeys(name for name in names if flat or name not in ("mask", "overlay")))

    def files(self, name: str, *, flat: bool = True, large: bool = False) -> list[Path]:
        """Return the files that belong to an image."""
        base = self.folder / name
        if not large:
            return files_of(base, self.wanted(flat=flat))
        return [self.large_folder(name), self.record_file(name), *self.beside_large(name).values()]

    def beside_large(self, name: str) -> dict[str, Path]:
        """Return the files that are wanted beside the folder of a large image, by their format."""
        base = self.folder / name
        return {kind: files_of(base, kind)[0] for kind in self.formats if FORMATS[kind].in_parts}

    def files_of(self, name: str, record: ResultRecord) -> list[Path]:
        """Return the files that belong to an image that is done."""
        return self.files(name, flat=len(record.shape) == 2, large=record.large)

    def read(self, name: str) -> ResultRecord | None:
        """Return the record of an earlier run or of a person; None where there is none, or a damaged one."""
        try:
            return ResultRecord.read(self.record_file(name))
        except SettingsError:
            return None


@dataclass(frozen=True, kw_only=True)
class Run(Outputs):
    """What is done with each file of a run, and what it leaves behind.

    Attributes
    ----------
    model : ModelFile
    settings : SegmentationSettings
    """

    model: ModelFile
    settings: SegmentationSettings

    def outdates(self, record: ResultRecord | None) -> bool:
        """Whether a record is of other settings, another model, classifier or version of this package."""
        return record is not None and (
            record.settings is None
            or record.settings.replace(classes=None) != self.settings.replace(classes=None)
            or not self._same_classes(record)
            or record.model is None
            or record.model.hash != self.model.hash
            or record.versions.get("napari-wbcseg") != __version__
        )

    def _same_classes(self, record: ResultRecord) -> bool:
        """Whether the classifier of this run told the classes of a result, under whatever name."""
        from ..classification.classify import classifier_of

        classifier, told_by = classifier_of(self.settings), record.classifier
        if classifier is None or told_by is None:
            return classifier is None and told_by is None
        # What a person's cells taught is part of the corrections.
        taught = record.corrected and record.settings and record.settings.classes == self.settings.classes
        return bool(taught) or told_by.hash == classifier.hash

    def loses_corrections(self, name: str, record: ResultRecord) -> bool:
        """Whether doing a file anew takes away what a person corrected or named, as it is not kept."""
        if not self.outdates(record):
            return False
        if not record.large:
            return record.corrected
        from ..segmentation.large.result import LargeResult

        try:
            return LargeResult.open(self.large_folder(name)).edited
        except ImageError:  # nothing is left to lose
            return False

    def done_before(self, item: BatchItem) -> ResultRecord | None:
        """Return the record of an image that need not be done again.

        The same image was segmented with the same settings, model, classifier and version of this
        package, and all files that are wanted are there. Corrections made since are kept.
        """
        record = self.read(item.name)
        if (
            record is None
            or self.outdates(record)
            or item.sha256 not in (None, record.image.sha256)
            or not record.image.is_of(item.path)
            or not all(path.exists() for path in self.files_of(item.name, record))
        ):
            return None
        return record


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
    network : context manager
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
        common = item, run, progress, network or nullcontext()
        return row_of(item, _large(*common, client) if item.large else _small(*common), run)
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


def failure(item: BatchItem, error: Exception, seconds: float = 0.0) -> Row:
    """Return the row of a file that could not be segmented, and why in a sentence."""
    if isinstance(error, WBCSegError):
        text = str(error)
        # Arrays do not know the name of their file.
        text = text if item.problem or item.path.name in text else f"{item.path}: {text}"
    else:
        _logger.debug("%s", item.path, exc_info=error)
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        text = f"{item.image} failed with an unexpected {type(error).__name__}: {reason}"
    return failed_row(item.image, text, seconds)


def row_of(item: BatchItem, record: ResultRecord, outputs: Outputs) -> Row:
    """Return the row of ``counts.csv`` of an image that is done."""
    return record.row(item.image, cells_of(record, outputs))


def cells_of(record: ResultRecord, outputs: Outputs) -> pd.DataFrame:
    """Return the rows of ``cells.csv`` of an image that is done."""
    return with_micrometres(record.table(outputs.folder), record.placement.pixel_size)


def pictures_in(item: BatchItem, record: ResultRecord, outputs: Outputs) -> dict[str, list[Picture]]:
    """Return the pictures and the gallery that the report shows of an image that is done.

    Of a result that another than a run saved, corrected perhaps, the pictures are drawn now.

    Raises
    ------
    WBCSegError
        If the image or its labels cannot be read.
    """
    from ..images.read import read_image
    from ..results.load import load_result
    from .thumbnails import report_pictures

    if record.pictures:
        return {"pictures": record.pictures, "gallery": record.gallery}
    return report_pictures(read_image(item.path), load_result(outputs.record_file(item.name)))


def with_corrections(item: BatchItem, record: ResultRecord, run: Run) -> ResultRecord:
    """Return the record of an image that is done; of a large one anew where its cells were corrected since.

    Raises
    ------
    WBCSegError, OSError
        If what was found in a large image is damaged, or cannot be written again.
    """
    from ..images.lazy import open_large
    from ..segmentation.large.files import RESULT_FILE
    from ..segmentation.large.result import LargeResult

    folder, own = run.large_folder(item.name), run.record_file(item.name)
    if not record.large or (folder / RESULT_FILE).stat().st_mtime_ns <= own.stat().st_mtime_ns:
        return record
    start = time.perf_counter() - (record.seconds or 0)
    large = LargeResult.open(folder)
    found = Segmentation(
        large.labels.arrays[0],
        large.cells,
        settings=record.settings,
        model=large.model,
        classifier=large.classifier,
        cell_diameter=large.cell_diameter,
        field_share=large.field_share,
        edited=True,
        classes=record.class_list,
    )
    found = _of_item(found, item, run, record.notes, record.placement.pixel_size)
    return _keep_large(item, open_large(item.path), found, run, silent, start)


# The two ways of doing a file -------------------------------------------------------------------------


def _small(
    item: BatchItem, run: Run, progress: Progress, network: AbstractContextManager[Any]
) -> ResultRecord:
    from ..images.read import read_file
    from ..segmentation.pipeline import segment
    from .thumbnails import report_pictures

    start = time.perf_counter()
    before = ImageRecord.of(item.path, item.image, run.folder, hashed=False)
    pixels, read_notes, pixel_size = read_file(item.path)
    image = ImageRecord.of(item.path, item.image, run.folder)
    if (image.size, image.modified) != (before.size, before.modified):
        raise ImageError(f"{item.path} was changed while it was read; give the same command again.")
    if item.sha256 not in (None, image.sha256):
        raise ImageError(
            f"{item.path} is not the file that the recorded run read (its SHA-256 differs); "
            "put the old file back, or segment anew without --repeat."
        )
    asked = time.perf_counter()
    with network:
        start += time.perf_counter() - asked  # while it was another file's turn
        result = segment(pixels, run.model, run.settings, progress)
    notes = [*read_notes, *result.notes]
    if result.stacked and (run.mask or run.overlay):
        notes.append("A stack has no overlay or mask picture.")
    result = _of_item(result, item, run, notes, pixel_size)
    # The record goes first and comes last: an image that has one is done.
    run.record_file(item.name).unlink(missing_ok=True)
    base = run.folder / item.name
    (labels, _) = files_of(base, "tiff")
    write_labels(labels, result.labels, result.placement.pixel_size)
    if others := [name for name in run.wanted(flat=not result.stacked) if name not in ("tiff", "json")]:
        save(result, base, others, image=pixels)
    return _record(item, run, result, labels, start, image=image, **report_pictures(pixels, result))


def _large(
    item: BatchItem,
    run: Run,
    progress: Progress,
    network: AbstractContextManager[Any],
    client: Client | None,
) -> ResultRecord:
    """Segment a large file into a folder of its own; a run that was interrupted goes on where it stopped."""
    from ..images.lazy import open_large
    from ..segmentation.large.run import LargeRun

    folder = run.large_folder(item.name)
    with network:
        start = time.perf_counter()
        image = open_large(item.path)
        run.record_file(item.name).unlink(missing_ok=True)
        tiles = LargeRun(image, folder, run.model, run.settings, client=client, progress=progress)
        for _ in tiles.tiles():
            pass
        result = tiles.finish()
    notes = [f"Segmented in tiles: its labels and table are in {folder.name}.", *image.notes, *result.notes]
    made = ("tiff", "csv", "overlay", *run.beside_large(item.name))
    if left_out := [name for name in run.wanted() if name not in made]:
        notes.append(f"Not written for it: {', '.join(left_out)}.")
    result = _of_item(result, item, run, notes, image.pixel_size)
    return _keep_large(item, image, result, run, progress, start)


def _keep_large(
    item: BatchItem, image: LargeImage, result: Segmentation, run: Run, progress: Progress, start: float
) -> ResultRecord:
    """Write what lies beside the folder of a large image: outlines, pictures, the record."""
    from .thumbnails import report_pictures

    stamp = ImageRecord.of(item.path, item.image, run.folder, hashed=False)
    for kind, path in run.beside_large(item.name).items():
        FORMATS[kind].write(path, result, None, progress)
    progress(0, 0, "Drawing the report")
    shown = report_pictures(image.full, result, image.levels)
    return _record(item, run, result, run.large_folder(item.name), start, image=stamp, **shown)


def _of_item(
    result: Segmentation, item: BatchItem, run: Run, notes: Iterable[str], pixel_size: PixelSize | None
) -> Segmentation:
    return replace(
        result,
        notes=tuple(dict.fromkeys(notes)),
        place=Placement.of_pixels(len(result.labels.shape), pixel_size),
        name=item.image,
        image_path=item.path,
        model_source=run.model_source,
    )


def _record(
    item: BatchItem, run: Run, result: Segmentation, labels: Path, start: float, **about: Any
) -> ResultRecord:
    seconds = round(time.perf_counter() - start, 3)
    record = ResultRecord.of(result, run.folder, labels.name, seconds=seconds, **about)
    record.write(run.record_file(item.name))
    return record
