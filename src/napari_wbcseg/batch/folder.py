"""A folder of results: the files of each image, and whether it is done."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import BusyError, ImageError, SettingsError, WBCSegError, first_line
from ..files import locked
from ..images.read import size_of_file
from ..network.model_file import ModelFile
from ..results.formats.registry import FORMATS, formats_there
from ..results.formats.tables import failed_row
from ..results.load import record_now
from ..results.names import LARGE_SUFFIX, RESULT_SUFFIX
from ..results.origins import ModelRecord
from ..results.records import ResultRecord, RunRecord
from ..segmentation.large.folder import LABELS_FOLDER
from ..settings import SegmentationSettings
from ..version import __version__
from ..words import of_part

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
    def _size(self) -> tuple[int, bool]:
        return (0, False) if self.problem else size_of_file(self.path)

    @property
    def large(self) -> bool:
        """Whether it is segmented in parts, into a folder, rather than read as a whole."""
        return self._size[1]

    def may_have(self, shape: tuple[int, ...]) -> bool:
        """Whether its image is of this shape, (H, W) or (N, H, W), as far as the head of the file tells."""
        return self._size[0] in (0, math.prod(shape))

    @property
    def pixels(self) -> int:
        """Pixels that are in memory at once; 0 where the header does not tell."""
        return 0 if self.large else self._size[0]


@dataclass(frozen=True)
class Outputs:
    """Where the results go, and which of them are wanted.

    Attributes
    ----------
    folder : Path
    formats : tuple of str
        Which of `napari_wbcseg.results.formats.registry.FORMATS` to write besides the labels and the record.
    model_source : str
        The name or path that the model was asked for by.
    """

    folder: Path
    formats: tuple[str, ...] = ("overlay",)
    model_source: str = ""

    @classmethod
    def of(cls, record: RunRecord, folder: Path) -> Outputs:
        """Return those of a recorded run into a folder."""
        return Outputs(folder, record.formats, record.model.source)

    def record_file(self, name: str) -> Path:
        """Return the file by which an image is known to be done."""
        return self.folder / f"{name}{RESULT_SUFFIX}"

    def large_folder(self, name: str) -> Path:
        """Return the folder that holds the result of a large image."""
        return self.folder / f"{name}{LARGE_SUFFIX}"

    def beside(self, name: str, record: ResultRecord) -> list[str]:
        """Return the formats of an image that is done, besides its labels and record.

        Those that are wanted, and those that an earlier run wrote, which are to tell of the same cells.
        """
        kinds = dict.fromkeys([*self.formats, *formats_there(self.folder / name)])
        left = ("tiff", "json", *left_out(kinds, record.shape, record.large))
        return [kind for kind in kinds if kind not in left]

    def lacking(self, name: str, record: ResultRecord) -> list[str]:
        """Return those of these formats that are not there."""
        there = formats_there(self.folder / name)
        return [kind for kind in self.beside(name, record) if kind not in there]

    def is_corrected(self, record: ResultRecord) -> bool:
        """Whether a person drew, corrected or named cells of a result, or may have, where it is damaged."""
        try:
            return record.settings is None or record_now(record, self.folder)[0].corrected
        except ImageError:
            return not record.large or (self.folder / record.labels / LABELS_FOLDER).is_dir()

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
    classifier : ModelRecord or None
        What its settings ask to tell the classes, as it was when the run began.
    again : bool
        Whether all is done, whatever an earlier run did; what a person corrected stays beside it.
    """

    model: ModelFile
    settings: SegmentationSettings
    classifier: ModelRecord | None
    again: bool = False

    def outdates(self, record: ResultRecord | None) -> bool:
        """Whether a record is of other settings, another model, classifier or version of this package."""
        if record is None:
            return False
        told_by = None if self.classifier is None else self.classifier.hash
        return not record.made_by(self.settings, self.model.hash, told_by, __version__)

    def segmented(self, item: BatchItem) -> ResultRecord | None:
        """Return the record of an image that need not be segmented again.

        All of the same image was segmented with the same settings, model, classifier and version of this
        package, and its labels are there. Corrections made since are kept, those of a part of it too.
        """
        record = self.read(item.name)
        if (
            record is None
            or self.outdates(record)
            or item.sha256 not in (None, record.image.sha256)
            or not (record.labels and (self.folder / record.labels).exists())
            or not record.is_of(item.path, self.folder)
            or (record.seconds is None and not item.may_have(record.shape))  # napari showed another in it
            or (of_part(record.notes) and not self.is_corrected(record))
        ):
            return None
        return record

    def done_before(self, item: BatchItem) -> ResultRecord | None:
        """Return the record of an image that is segmented, and has all files that are wanted."""
        record = self.segmented(item)
        return None if record is None or self.lacking(item.name, record) else record

    def corrected(self, item: BatchItem) -> ResultRecord | None:
        """Return the record of an image that is segmented, and whose cells a person corrected or named."""
        record = self.segmented(item)
        return record if record is not None and self.is_corrected(record) else None


def left_out(kinds: Iterable[str], shape: tuple[int, ...], large: bool) -> list[str]:
    """Return the formats that cannot hold an image of a shape, or not one that is read in parts."""
    formats = (FORMATS[kind] for kind in kinds)
    return [one.name for one in formats if (large and not one.in_parts) or max(shape[-2:]) > one.most_side]


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
