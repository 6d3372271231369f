"""One file of a run: where its results go, whether it was done before, and what came of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..classification.classify import classifier_of
from ..errors import ImageError, SettingsError, WBCSegError, first_line
from ..images.lazy import is_large_file
from ..images.read import image_pixels, read_file
from ..network.model_file import ModelFile
from ..results.formats.tables import failed_row
from ..results.load import load_result, record_now
from ..results.names import LARGE_SUFFIX, RESULT_SUFFIX
from ..results.records import ResultRecord
from ..results.save import FORMATS, files_of
from ..settings import SegmentationSettings
from ..version import __version__
from .report import report_pictures

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

    def beside_large(self, name: str) -> dict[str, Path]:
        """Return the files that are wanted beside the folder of a large image, by their format."""
        base = self.folder / name
        return {kind: files_of(base, kind)[0] for kind in self.formats if FORMATS[kind].in_parts}

    def files_of(self, name: str, record: ResultRecord) -> list[Path]:
        """Return the files that belong to an image that is done."""
        if record.large:
            return [self.large_folder(name), *self.beside_large(name).values()]
        return files_of(self.folder / name, self.wanted(flat=len(record.shape) == 2))

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
            or not record.image.is_of(item.path)
            or not (record.labels and (self.folder / record.labels).exists())
        ):
            return None
        return record

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


def pictures_in(item: BatchItem, record: ResultRecord, outputs: Outputs) -> dict[str, list[Any]]:
    """Return the pictures and the gallery that the report shows of an image that is done.

    Of a result that another than a run saved, corrected perhaps, the pictures are drawn now.

    Raises
    ------
    WBCSegError
        If the image or its labels cannot be read, or it is another one by now.
    """
    if record.pictures:
        return {"pictures": record.pictures, "gallery": record.gallery}
    result = load_result(outputs.record_file(item.name))
    if not record.image.is_of(item.path):
        raise ImageError(f"{item.path} has changed since its cells were saved.")
    return report_pictures(read_file(item.path).pixels, result)
