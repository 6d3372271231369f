"""What is known of a result besides its labels, and of a run, as JSON; how to do either again."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from os.path import exists  # a `Path` raises where a name is too long
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import pandas as pd
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from ..classification.classes import BUILT_IN_CLASSES, CLASS, CLASS_BY, PERSON, ClassList, class_of
from ..classification.classify import classifier_of
from ..classification.differential import differential
from ..errors import SettingsError, WBCSegError, first_problem
from ..files import read_text, user_path, write_atomically
from ..images.read import open_large
from ..network.model_file import ModelFile
from ..segmentation.large.files import table_file
from ..segmentation.large.result import LargeResult
from ..segmentation.measure import COLUMNS
from ..segmentation.result import ABOUT, Placement, Segmentation, marked_in
from ..settings import SegmentationSettings
from ..words import in_doubt, of_part
from .formats.tables import count_column, table_to_columns
from .names import LABELS_SUFFIX, LARGE_SUFFIX, RESULT_SUFFIX, RUN_FILE
from .origins import FileRecord, ImageRecord, ModelRecord, file_sha256, here_and_now

RESULT_FORMAT = "napari-wbcseg result 1"
#: Of a ``run.json`` of any version.
RUN_FORMAT = "napari-wbcseg run"
#: What a record says in the words of the `Segmentation` that it is of.
_ALIKE = ("settings", "corner", *ABOUT)
_OF_NUMBERS = frozenset(COLUMNS) - {CLASS, CLASS_BY}


class Picture(NamedTuple):
    """A picture with a caption, as a report shows it: a JPEG in base64."""

    caption: str
    jpeg: str


class CellPicture(NamedTuple):
    """A cell as a report's gallery shows it: class, JPEG in base64, label, and probability of the class."""

    name: str
    jpeg: str
    label: int = 0
    probability: float = 1.0


def problem_of(cells: Mapping[str, list[Any]]) -> str:
    """Say why a table, a list a column, could not be read again; nothing where it can."""
    for name in sorted(_OF_NUMBERS & cells.keys()):
        words = [value for value in cells[name] if not isinstance(value, int | float | None)]
        if any(word not in ("inf", "-inf") for word in words):
            return f"its column {name} has what is no number"
    return ""


class Record(BaseModel, extra="forbid"):
    """What is written as a file of its own; says when and with which versions.

    Attributes
    ----------
    format : str
    created : str
        Date and time, ISO 8601 in UTC.
    classifier : ModelRecord or None
        What told the classes of the cells that no person named; None where nothing did, or by an earlier
        version.
    versions : dict of str
        Of Python, this package and the libraries that the result depends on.
    platform : str
    """

    _of: ClassVar[str]
    _advice: ClassVar[str]

    format: str
    created: str
    classifier: ModelRecord | None = None
    versions: dict[str, str]
    platform: str = ""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the record from a file.

        Raises
        ------
        SettingsError
            If the file cannot be read or is no such record.
        """
        path = user_path(path)
        try:
            return cls.model_validate_json(read_text(path))
        except SettingsError as error:
            raise SettingsError(f"{error} {cls._advice}") from None
        except ValidationError as error:
            raise SettingsError(
                f"{path} is not the record of {cls._of} of napari-wbcseg ({first_problem(error)}). "
                f"{cls._advice}"
            ) from None

    def write(self, path: str | Path) -> Path:
        """Write the record as JSON.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        return write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode())


class ResultRecord(Record):
    """One result without its labels (``NAME-result.json``).

    Attributes
    ----------
    image : ImageRecord
    settings : SegmentationSettings or None
        None where the labels were drawn by hand.
    model : ModelRecord or None
    cell_diameter : float or None
    class_diameter : float, tuple of float, or None
        In pixels; alike in a result of an earlier version.
    field_share : float or None
        Share of the image that shows the slide, and not a surround.
    backgrounds : tuple of tuple of float
        Colour of the empty slide, RGB, a plane each; empty in a result of an earlier version.
    notes : tuple of str
    edited : bool
        Whether the cells were corrected, decided on or named after the model found them; doing it
        again gives what the model found.
    labels : str
        Name of the labels file beside it; empty where there is none.
    shape : tuple of int
        Of the labels.
    scale, translate, units, axis_labels, affine : tuple
        Where the pixels lie, an entry an axis.
    corner : tuple of int
        Row and column of the first pixel in the image, where the labels are of a part of that.
    count, to_check : int
    classes : list of dict
        What the classes of the cells are; empty for those that are built in.
    seconds : float or None
        That a run took for it.
    pictures : list of Picture
        What the report of a run shows of it.
    gallery : list of CellPicture
        The least sure cells of each class, likewise.
    cells : dict of list
        The table, a list a column; lengths in pixels, unknown values None. That of a large image is
        in its folder.
    cells_sha256 : str
        Of the file that holds the cells, when all else was written: the labels, or of a large image the table
        in its folder. Empty where there was none, or in a result of an earlier version.
    """

    _of: ClassVar[str] = "a result"
    _advice: ClassVar[str] = f"Give the NAME{RESULT_SUFFIX} that was saved with the labels."

    format: Literal["napari-wbcseg result 1"] = "napari-wbcseg result 1"
    image: ImageRecord
    settings: SegmentationSettings | None = None
    model: ModelRecord | None = None
    cell_diameter: float | None = None
    class_diameter: float | tuple[float, ...] | None = Field(
        default_factory=lambda earlier: earlier["cell_diameter"]
    )
    field_share: float | None = None
    backgrounds: tuple[tuple[float, float, float] | None, ...] = ()
    notes: tuple[str, ...] = ()
    edited: bool = False
    labels: str = ""
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    axis_labels: tuple[str, ...] = ()
    affine: tuple[tuple[float, ...], ...] = ()
    corner: tuple[int, int] = (0, 0)
    count: int
    to_check: int
    classes: list[dict[str, Any]] = []
    seconds: float | None = None
    pictures: list[Picture] = []
    gallery: list[CellPicture] = []
    cells: dict[str, list[Any]] = {}
    cells_sha256: str = ""

    @field_validator("cells")
    @classmethod
    def _are_a_table(cls, cells: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if len({len(values) for values in cells.values()}) > 1:
            raise ValueError("its columns are not of one length")
        if problem := problem_of(cells):
            raise ValueError(problem)
        return cells

    @classmethod
    def of(
        cls, result: Segmentation, folder: Path, labels: str = "", image: ImageRecord | None = None
    ) -> ResultRecord:
        """Make the record of a result, to lie in a folder beside its labels file.

        Parameters
        ----------
        result : Segmentation
        folder : Path
        labels : str
            The labels file, or the folder of a large result, which has the table itself.
        image : ImageRecord, optional
            By default that of the result's image file as it is now.
        """
        asked = (result.settings.classes or "") if result.settings else ""
        return cls(
            image=image or ImageRecord.of(result.image_path, result.name, folder, state=result.image_state),
            model=ModelRecord.of(result.model, result.model_source),
            classifier=ModelRecord.of(result.classifier, asked),
            labels=labels,
            shape=result.labels.shape,
            classes=[] if result.classes == BUILT_IN_CLASSES else result.classes.to_list(),
            **{name: getattr(result, name) for name in _ALIKE},
            **_of_cells(result.cells, folder, labels),
            **asdict(result.placement),
            **here_and_now(),
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the record from a file; a copy, or what was renamed, is of the labels that bear its own name.

        Raises
        ------
        SettingsError
            If the file cannot be read or is no such record.
        """
        record, path = super().read(path), user_path(path)
        own = path.name.removesuffix(RESULT_SUFFIX) + (LARGE_SUFFIX if record.large else LABELS_SUFFIX)
        if record.labels in ("", own) or not exists(path.with_name(own)):
            return record
        return record.model_copy(update={"labels": own})

    def write(self, path: str | Path) -> Path:
        """Write the record as JSON, a column of the table a line.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        head = self.model_dump_json(indent=2, exclude={"cells"}).removesuffix("\n}")
        columns = ",\n".join(
            f"    {json.dumps(name, ensure_ascii=False)}: {json.dumps(values, ensure_ascii=False)}"
            for name, values in self.cells.items()
        )
        return write_atomically(path, f'{head},\n  "cells": {{\n{columns}\n  }}\n}}\n'.encode())

    @property
    def class_list(self) -> ClassList:
        """What the classes of the cells are."""
        return ClassList.from_list(self.classes) if self.classes else BUILT_IN_CLASSES

    @property
    def placement(self) -> Placement:
        """Where the pixels lie."""
        return Placement(self.scale, self.translate, self.units, self.axis_labels, self.affine)

    @property
    def corrected(self) -> bool:
        """Whether a person changed the labels, or named cells."""
        return self.edited or PERSON in self.cells.get(CLASS_BY, ())

    def made_by(
        self, settings: SegmentationSettings, model: str, classifier: str | None, version: str | None
    ) -> bool:
        """Whether it was made by these settings and version, and a model and a classifier of these hashes."""
        if self.settings is None or self.settings.replace(classes=None) != settings.replace(classes=None):
            return False
        if self.model is None or self.model.hash != model or self.versions.get("napari-wbcseg") != version:
            return False
        if classifier is None or self.classifier is None:
            return classifier is None and self.classifier is None
        # What a person's cells taught is part of the corrections.
        taught = self.corrected and self.settings.classes == settings.classes
        return taught or self.classifier.hash == classifier

    @property
    def large(self) -> bool:
        """Whether it is of a large image, whose labels and table are in a folder."""
        return self.labels.endswith(LARGE_SUFFIX)

    def is_of(self, path: Path, folder: Path) -> bool:
        """Whether a file holds the image of this result, which is recorded in a folder.

        A large one is known by its pixels where it was copied, and so has another date.
        """
        if self.image.is_of(path):
            return True
        if not self.large:
            return False
        with suppress(WBCSegError):
            image = open_large(path)
            LargeResult.open(folder / self.labels).plan_of(image.full)
            # A size that the file does not state was given by a person.
            return image.pixel_size is None or self.placement == Placement.of_pixels(2, image.pixel_size)
        return False

    def with_cells(self, cells: pd.DataFrame, folder: Path, **change: Any) -> Self:
        """Return the record, which lies in a folder, with a table of cells that became another."""
        return self.model_copy(update={**_of_cells(cells, folder, self.labels), **change})

    @property
    def field_mm2(self) -> float | None:
        """Area of the slide that the image shows, mm², all planes together; None without a pixel size."""
        size = self.placement.pixel_size
        if self.field_share is None or size is None or size.micrometres is None:
            return None
        return math.prod((*self.shape, *size.micrometres)) * self.field_share / 1e6

    def segmentation(self, labels: Any, cells: pd.DataFrame, folder: Path) -> Segmentation:
        """Return the result, recorded in a folder, of labels, (H, W) or (N, H, W), and their table."""
        return Segmentation(
            labels=labels,
            cells=cells,
            place=self.placement,
            name=self.image.name,
            image_path=self.image.unchanged(folder),
            image_state=self.image.state,
            model=self.model.id if self.model else "",
            classifier=self.classifier.id if self.classifier else "",
            model_source=self.model.source if self.model else "",
            classes=self.class_list,
            **{name: getattr(self, name) for name in _ALIKE},
        )

    @property
    def in_doubt(self) -> bool:
        """Whether a note asks what the count depends on, and nobody has corrected the cells since."""
        return in_doubt(self.notes, self.edited)

    def row(self, image: str, cells: pd.DataFrame) -> dict[str, Any]:
        """Return the row of ``counts.csv``, given what tables call the image, and its cells as they are now.

        In doubt it says how many cells are outlined, not what they are.
        """
        found, field = differential(cells, self.class_list), self.field_mm2
        white, erythroblasts = (None, None) if self.in_doubt else (found.white_cells, found.erythroblasts)
        row = {
            "image": image,
            "count": len(cells),
            "white_cells": white,
            "erythroblasts": erythroblasts,
            "erythroblasts_per_100": 100 * found.erythroblasts / white if white else None,
            "to_check": len(marked_in(cells)),
            "cell_diameter": self.cell_diameter,
            "field_mm2": field,
            "white_cells_per_mm2": white / field if field and white is not None else None,
            "width": self.shape[-1],
            "height": self.shape[-2],
            "seconds": self.seconds,
            "status": "ok",
            "error": "",
            "notes": " ".join(dict.fromkeys(self.notes)),
        }
        if self.in_doubt or (self.classifier is None and class_of(cells).eq("").all()):
            return row
        classes = Counter({share.name: share.count for share in found.shares})
        classes.update(found.others)  # a class with parts may have cells among both
        return {**row, **{count_column(name): count for name, count in classes.items()}}


def _of_cells(cells: pd.DataFrame, folder: Path, labels: str) -> dict[str, Any]:
    """Return what a record says of cells whose labels, if they have any, lie in a folder."""
    large, file = labels.endswith(LARGE_SUFFIX), folder / labels
    return {
        "count": len(cells),
        "to_check": len(marked_in(cells)),
        "cells": {} if large else table_to_columns(cells),
        "cells_sha256": file_sha256(table_file(file) if large else file) if labels else "",
    }


class InputRecord(FileRecord):
    """One input of a run, and what became of it.

    Attributes
    ----------
    image : str
        How ``counts.csv`` and ``cells.csv`` call it.
    name : str
        What its output files begin with.
    status : {"ok", "failed", "pending"}
    count : int or None
    error : str
    """

    image: str
    name: str
    status: Literal["ok", "failed", "pending"] = "ok"
    count: int | None = None
    error: str = ""


class RunRecord(Record):
    """What a run did, from which the same run can be repeated (``run.json``).

    Attributes
    ----------
    settings : SegmentationSettings
    model : ModelRecord
    device : str
        What the network ran on.
    formats : tuple of str
        Those of `FORMATS` that were written besides the labels and the record.
    inputs : list of InputRecord
    finished : bool
        False when the run was stopped before its end.
    """

    _of: ClassVar[str] = "a run"
    _advice: ClassVar[str] = f"Give the {RUN_FILE} that `wbcseg segment` wrote."

    format: Literal["napari-wbcseg run 1"] = "napari-wbcseg run 1"
    settings: SegmentationSettings
    model: ModelRecord
    device: str = ""
    formats: tuple[str, ...] = ("overlay",)
    inputs: list[InputRecord] = Field(default_factory=list)
    finished: bool = True

    @model_validator(mode="before")
    @classmethod
    def _with_pictures_named(cls, values: Any) -> Any:
        """Take the pictures, of which earlier versions said apart whether they were written, for formats."""
        if not isinstance(values, dict) or not {"mask", "overlay"} & values.keys():
            return values
        written = {"mask": False, "overlay": True} | values
        named = [name for name in ("mask", "overlay") if written.pop(name)]
        others = values.get("formats", [])
        return {**written, "formats": [*named, *others] if isinstance(others, list) else others}

    def counts(self, one: InputRecord, folder: Path) -> bool:
        """Whether what was found in an input counts in this run, whose results are in a folder.

        Of one that it failed at or did not come to, an earlier run may have left a result that does not.
        """
        if one.status == "ok":
            return True
        try:
            result = ResultRecord.read(folder / f"{one.name}{RESULT_SUFFIX}")
        except SettingsError:
            return False
        told_by = None if self.classifier is None else self.classifier.hash
        own = self.settings, self.model.hash, told_by, self.versions.get("napari-wbcseg")
        path = one.file(folder)
        alike = result.settings is None or result.made_by(*own)
        whole = result.corrected or not of_part(result.notes)
        return alike and whole and path is not None and result.is_of(path, folder)

    @classmethod
    def start(
        cls, settings: SegmentationSettings, model: ModelFile, source: str | None = None, **values: Any
    ) -> RunRecord:
        """Begin the record of a run: time, model, classifier, versions and platform are filled in."""
        classifier = classifier_of(settings)
        if source is None or user_path(source).exists():
            source = str(model.path.resolve()) if model.path else model.name
        return cls(
            settings=settings,
            model=ModelRecord(name=model.name, hash=model.hash, source=source),
            classifier=None if classifier is None else ModelRecord.of(classifier.id, settings.classes or ""),
            **here_and_now(),
            **values,
        )
