"""A folder of results: the files of each image, what was done before, and what another wrote and is kept."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import realpath  # `Path.resolve` raises where a link leads to itself
from pathlib import Path
from typing import Any

from ..classification.classify import classifier_of
from ..errors import BusyError, ImageError, OutputError, SettingsError, WBCSegError, first_line
from ..files import locked, read_text
from ..images.read import image_pixels, is_large_file, open_large
from ..network.model_file import ModelFile
from ..results.differential import not_in_tables
from ..results.formats.registry import FORMATS, files_of, formats_there
from ..results.formats.tables import failed_row
from ..results.load import record_now
from ..results.names import (
    CELLS_FILE,
    COUNTS_FILE,
    LARGE_SUFFIX,
    RESULT_SUFFIX,
    RUN_FILE,
    image_names,
    output_names,
)
from ..results.records import RUN_FORMAT, ResultRecord, RunRecord
from ..segmentation.large.files import PLAN_FILE
from ..segmentation.large.result import LargeResult
from ..segmentation.result import Placement
from ..settings import SegmentationSettings
from ..version import __version__
from .report import REPORT_FILE

#: A row of ``counts.csv``.
Row = dict[str, Any]

#: Formats of which a stack has none.
_FLAT = ("mask", "overlay")

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
        return not self.problem and is_large_file(self.path)

    @cached_property
    def pixels(self) -> int:
        """Pixels that are in memory at once; 0 where the header does not tell."""
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
        More of `napari_wbcseg.results.formats.registry.FORMATS` to write.
    model_source : str
        The name or path that the model was asked for by.
    """

    folder: Path
    mask: bool = False
    overlay: bool = True
    formats: tuple[str, ...] = ()
    model_source: str = ""

    @classmethod
    def of(cls, record: RunRecord, folder: Path) -> Outputs:
        """Return those of a recorded run into a folder."""
        return Outputs(folder, record.mask, record.overlay, record.formats, record.model.source)

    def record_file(self, name: str) -> Path:
        """Return the file by which an image is known to be done."""
        return self.folder / f"{name}{RESULT_SUFFIX}"

    def large_folder(self, name: str) -> Path:
        """Return the folder that holds the result of a large image."""
        return self.folder / f"{name}{LARGE_SUFFIX}"

    def wanted(self, *, flat: bool = True) -> list[str]:
        """Return the formats of an image; a stack has no pictures."""
        names = ["tiff", *["mask"] * self.mask, *["overlay"] * self.overlay, *self.formats]
        return list(dict.fromkeys(name for name in names if flat or name not in _FLAT))

    def files_beside(self, name: str, record: ResultRecord) -> dict[str, Path]:
        """Return the files beside the labels and the record of an image, by their format.

        Those that are wanted, and those that an earlier run wrote, which are to tell of the same cells.
        """
        flat, base = len(record.shape) == 2, self.folder / name
        kinds = dict.fromkeys([*self.wanted(), *formats_there(base)])
        left_out = ("tiff", "json", *(() if flat else _FLAT))
        return {
            kind: files_of(base, kind)[0]
            for kind in kinds
            if kind not in left_out and (FORMATS[kind].in_parts or not record.large)
        }

    def files_of(self, name: str, record: ResultRecord) -> list[Path]:
        """Return the files that belong to an image that is done."""
        labels = [self.large_folder(name)] if record.large else files_of(self.folder / name, "tiff")
        return [*labels, *self.files_beside(name, record).values()]

    def is_corrected(self, record: ResultRecord) -> bool:
        """Whether a person drew, corrected or named cells of a result."""
        try:
            return record.settings is None or record_now(record, self.folder)[0].corrected
        except ImageError:  # of a large image, nothing is left to lose
            return not record.large

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
    again : bool
        Whether all is done, whatever an earlier run did and a person corrected.
    """

    model: ModelFile
    settings: SegmentationSettings
    again: bool = False

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
        classifier, told_by = classifier_of(self.settings), record.classifier
        if classifier is None or told_by is None:
            return classifier is None and told_by is None
        # What a person's cells taught is part of the corrections.
        taught = record.corrected and record.settings and record.settings.classes == self.settings.classes
        return bool(taught) or told_by.hash == classifier.hash

    def segmented(self, item: BatchItem) -> ResultRecord | None:
        """Return the record of an image that need not be segmented again.

        The same image was segmented with the same settings, model, classifier and version of this
        package, and its labels are there. Corrections made since are kept.
        """
        record = self.read(item.name)
        if (
            record is None
            or self.outdates(record)
            or item.sha256 not in (None, record.image.sha256)
            or not (record.labels and (self.folder / record.labels).exists())
            or not (record.image.is_of(item.path) or self._is_of_large(record, item.path))
        ):
            return None
        return record

    def _is_of_large(self, record: ResultRecord, path: Path) -> bool:
        """Whether a large image is that of a result, though it was copied, and so has another date."""
        if record.large:
            with suppress(WBCSegError):
                image = open_large(path)
                LargeResult.open(self.folder / record.labels).plan_of(image.full)
                return record.placement == Placement.of_pixels(2, image.pixel_size)
        return False

    def done_before(self, item: BatchItem) -> ResultRecord | None:
        """Return the record of an image that is segmented, and has all files that are wanted."""
        record = self.segmented(item)
        there = record is not None and all(path.exists() for path in self.files_of(item.name, record))
        return record if there else None

    def corrected(self, item: BatchItem) -> ResultRecord | None:
        """Return the record of an image that is segmented, and whose cells a person corrected or named."""
        record = self.segmented(item)
        return record if record is not None and self.is_corrected(record) else None


def failure(item: BatchItem, error: Exception, seconds: float = 0.0) -> Row:
    """Return the row of a file that could not be segmented, and why in a sentence."""
    if isinstance(error, WBCSegError):
        text = str(error)
        # Arrays do not know the name of their file.
        text = text if item.problem or item.path.name in text else f"{item.path}: {text}"
    else:
        _logger.debug("%s", item.path, exc_info=error)
        text = f"{item.image} failed with an unexpected {type(error).__name__}: {first_line(error)}"
    return failed_row(item.image, text, seconds)


def row_of(item: BatchItem, record: ResultRecord, outputs: Outputs) -> Row:
    """Return the row of ``counts.csv`` of an image that is done."""
    now, cells = record_now(record, outputs.folder)
    return now.row(item.image, cells)


# Whose a folder is -------------------------------------------------------------------------------------


def alone_in(folder: Path) -> AbstractContextManager[None]:
    """Keep other runs out of a folder while the context lasts.

    Raises
    ------
    BusyError
        If one is at work there.
    """
    busy = BusyError(f"Another run is writing into {folder}: wait for its end, or give another folder.")
    return locked(folder / ".wbcseg.lock", busy)


def items_of(record: RunRecord | ResultRecord, folder: Path) -> list[BatchItem]:
    """Return the inputs of a recorded run, or the image of a recorded result, to be segmented again.

    Parameters
    ----------
    record : RunRecord or ResultRecord
    folder : Path
        Where the record lies; inputs that moved along with it are found.
    """
    if isinstance(record, RunRecord):
        return [
            BatchItem(one.file(folder) or Path(one.path), one.image, one.name, one.sha256)
            for one in record.inputs
        ]
    image = record.image
    if (path := image.file(folder)) is not None:
        return [BatchItem(path, image.name, sha256=image.sha256)]
    where = image.path or "it came from no file"
    problem = f"The image of the recorded result is not there ({where}); name the image."
    return [BatchItem(Path(image.name), image.name, problem=problem)]


def earlier_items(folder: Path) -> list[BatchItem]:
    """Return the inputs of the run that wrote into a folder before.

    Raises
    ------
    OutputError
        If what the run would write is there and no run wrote it.
    """
    file = folder / RUN_FILE
    try:
        return items_of(RunRecord.read(file), folder)
    except SettingsError:
        if file.exists() and RUN_FORMAT in read_text(file)[:200]:
            return []  # of another version of this package, or damaged
    for name in (COUNTS_FILE, CELLS_FILE, RUN_FILE, REPORT_FILE):
        if (folder / name).exists():
            raise OutputError(
                f"{folder} holds a {name} that no run of this program wrote, and it would be overwritten. "
                "Give another folder, or move that file away."
            )
    return []


def set_aside(outputs: Outputs) -> dict[str, ResultRecord]:
    """Return the results by name that a person corrected and the tables do not tell of; the latest first."""
    files = sorted(not_in_tables(outputs.folder), key=lambda file: -file.stat().st_mtime_ns)
    known = {name: outputs.read(name) for name in (file.name.removesuffix(RESULT_SUFFIX) for file in files)}
    return {name: one for name, one in known.items() if one and outputs.is_corrected(one)}


def with_own_names(items: Iterable[BatchItem], earlier: Sequence[BatchItem], run: Run) -> list[BatchItem]:
    """Give each input a name whose files are its own or no one's; that which it had before, if any.

    One of which a person corrected a result of these settings, before a run with others set that aside,
    has the name of that again.
    """
    had = {realpath(item.path): item.name for item in earlier if item.name}
    taken = {name.casefold() for name in had.values()}
    good = {item.path: item for item in items if not item.problem}

    def free(path: Path, name: str) -> bool:
        own = had.get(realpath(path)) == name
        if not own and name.casefold() in taken:
            return False
        if not run.record_file(name).exists():
            base = run.folder / name
            there = [*files_of(base, run.wanted()), run.large_folder(name)]
            return own or not (formats_there(base) or any(file.exists() for file in there))
        record = run.read(name)
        if record is None:
            return own
        if record.settings is None:
            return False  # drawn by hand
        corrected = not run.again and run.is_corrected(record)
        if corrected and not run.segmented(replace(good[path], name=name)):
            return False  # it would be lost
        image = record.image.file(run.folder)
        same = image is not None and realpath(image) == realpath(path)
        return own or same or record.image.is_of(path)

    wanted = {path: had.get(realpath(path)) or item.name for path, item in good.items()}
    of_image = {realpath(path): item for path, item in good.items()}
    for name, record in () if run.again else set_aside(run).items():
        item = of_image.get(realpath(record.image.file(run.folder) or run.folder))
        if item is None or run.corrected(replace(item, name=wanted[item.path])):
            continue
        if run.corrected(replace(item, name=name)):
            wanted[item.path] = name
    names = output_names(good, wanted, free)
    return [item if item.problem else replace(item, name=names[item.path]) for item in items]


def with_others_done(items: list[BatchItem], earlier: Sequence[BatchItem], run: Run) -> list[BatchItem]:
    """Add what an earlier run did into the same folder with the same model and settings, for the tables."""
    given = {realpath(item.path) for item in items}
    others = [item for item in earlier if realpath(item.path) not in given and run.done_before(item)]
    if not others:
        return items
    items = [*items, *others]
    good = [item for item in items if not item.problem]
    if len({item.image for item in good}) < len(good):
        shown = image_names([item.path for item in good])
        items = [item if item.problem else replace(item, image=shown[item.path]) for item in items]
    return items


def forget_large(run: Run, items: Sequence[BatchItem]) -> None:
    """Remove what was found in large images, which would be taken up otherwise."""
    for item in items:
        folder = run.large_folder(item.name)
        if (folder / PLAN_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
