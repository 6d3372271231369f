"""All that is known of one result besides its labels, as JSON: how to do it again, and its table."""

from __future__ import annotations

import base64
import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..classification.classes import BUILT_IN, ClassList
from ..segmentation.result import Placement, Segmentation
from ..settings import SegmentationSettings
from .files import write_bytes
from .names import LARGE_SUFFIX, RESULT_SUFFIX
from .records import ModelRecord, file_sha256, file_stamp, library_versions, read_record, relative_path

if TYPE_CHECKING:
    import pandas as pd

RESULT_FORMAT = "napari-wbcseg result 1"


class Picture(NamedTuple):
    """A JPEG with a caption, as a report shows it."""

    caption: str
    jpeg: bytes


def encoded(pictures: Sequence[Picture]) -> list[tuple[str, str]]:
    """Return pictures as JSON and HTML hold them: the JPEG in base64."""
    return [(one.caption, base64.b64encode(one.jpeg).decode()) for one in pictures]


class ImageRecord(BaseModel):
    """The image of a result.

    Attributes
    ----------
    name : str
    path : str
        Absolute path at the time; empty where the image came from no file.
    relative : str
        The same from the folder of the record, in case both are moved.
    sha256 : str or None
        Of the file's content; None where there was no file, or it is a large one.
    size, modified : int
        Bytes of the file, and the time of its last change in nanoseconds; 0 where not known.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    path: str = ""
    relative: str = ""
    sha256: str | None = None
    size: int = 0
    modified: int = 0

    @classmethod
    def of(cls, path: Path | None, name: str, folder: Path, *, hashed: bool = True) -> ImageRecord:
        """Make the record of an image's file, to lie in a folder; without one it has a name only."""
        if path is None or not path.exists():
            return cls(name=name)
        path = path.resolve()
        relative = relative_path(path, folder.resolve())
        sha256 = file_sha256(path) if hashed and path.is_file() else None
        size, modified, _ = file_stamp(path)
        return cls(name=name, path=str(path), relative=relative, sha256=sha256, size=size, modified=modified)

    def file(self, folder: Path) -> Path | None:
        """Return the file if it is still there; ``folder`` is that of the record."""
        for path in (Path(self.path or " "), folder / (self.relative or " ")):
            if path.exists():
                return path
        return None

    def is_of(self, path: Path) -> bool:
        """Whether a file holds this very image."""
        try:
            size, modified, _ = file_stamp(path)
            if self.path == str(path.resolve()) and (size, modified) == (self.size, self.modified):
                return True
            if self.sha256 is None:  # a large one: moved, perhaps
                return self.size > 0 and (size, modified) == (self.size, self.modified)
            return path.is_file() and file_sha256(path) == self.sha256
        except OSError:
            return False


class ResultRecord(BaseModel):
    """One result without its labels (``NAME-result.json``).

    Attributes
    ----------
    created : str
        Date and time, ISO 8601 in UTC.
    image : ImageRecord
    settings : SegmentationSettings or None
        None where the labels were drawn by hand.
    model : ModelRecord or None
    versions : dict of str
    platform : str
    cell_diameter : float or None
        In pixels.
    notes : tuple of str
    edited : bool
        Whether the labels were changed after the model found them; doing it again gives
        what the model found.
    labels : str
        Name of the labels file beside it; empty where there is none.
    shape : tuple of int
        Of the labels.
    scale, translate, units, axis_labels, affine : tuple
        Where the pixels lie, an entry an axis.
    count, to_check : int
    classes : list of dict
        What the classes of the cells are; empty for those that are built in.
    seconds : float or None
        That a run took for it.
    pictures : list of (str, str)
        What the report of a run shows of it: captions, and JPEG in base64.
    gallery : list of (str, str)
        Some cells of each class, likewise.
    cells : dict of list
        The table, a list a column; lengths in pixels, unknown values None. That of a large image is
        in its folder.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["napari-wbcseg result 1"] = "napari-wbcseg result 1"
    created: str
    image: ImageRecord
    settings: SegmentationSettings | None = None
    model: ModelRecord | None = None
    versions: dict[str, str]
    platform: str = ""
    cell_diameter: float | None = None
    notes: tuple[str, ...] = ()
    edited: bool = False
    labels: str = ""
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    axis_labels: tuple[str, ...] = ()
    affine: tuple[tuple[float, ...], ...] = ()
    count: int
    to_check: int
    classes: list[dict[str, Any]] = []
    seconds: float | None = None
    pictures: list[tuple[str, str]] = []
    gallery: list[tuple[str, str]] = []
    cells: dict[str, list[Any]] = {}

    @classmethod
    def of(
        cls,
        result: Segmentation,
        folder: Path,
        labels: str = "",
        *,
        image: ImageRecord | None = None,
        seconds: float | None = None,
        pictures: Sequence[Picture] = (),
        gallery: Sequence[Picture] = (),
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
        seconds, pictures, gallery
            See the attributes.
        """
        name, _, model_hash = result.model.partition("@")
        model = None
        if model_hash:
            model = ModelRecord(name=name, hash=model_hash, source=result.model_source or name)
        place = result.placement
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            image=image or ImageRecord.of(result.image_path, result.name, folder),
            settings=result.settings,
            model=model,
            versions=library_versions(),
            platform=platform.platform(),
            cell_diameter=result.cell_diameter,
            notes=result.notes,
            edited=result.edited,
            labels=labels,
            shape=result.labels.shape,
            scale=place.scale,
            translate=place.translate,
            units=place.units,
            axis_labels=place.axis_labels,
            affine=place.affine,
            count=result.count,
            to_check=result.to_check,
            classes=[] if result.classes == BUILT_IN else result.classes.to_list(),
            seconds=seconds,
            pictures=encoded(pictures),
            gallery=encoded(gallery),
            cells={} if labels.endswith(LARGE_SUFFIX) else table_to_columns(result.cells),
        )

    def write(self, path: str | Path) -> Path:
        """Write the record as JSON, a column of the table a line.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        import json

        head = self.model_dump_json(indent=2, exclude={"cells"}).removesuffix("\n}")
        columns = ",\n".join(
            f"    {json.dumps(name, ensure_ascii=False)}: {json.dumps(values, ensure_ascii=False)}"
            for name, values in self.cells.items()
        )
        return write_bytes(path, f'{head},\n  "cells": {{\n{columns}\n  }}\n}}\n'.encode())

    @classmethod
    def read(cls, path: str | Path) -> ResultRecord:
        """Read a ``NAME-result.json``.

        Raises
        ------
        SettingsError
            If the file cannot be read or is no record of a result.
        """
        advice = f"Give the NAME{RESULT_SUFFIX} that was saved with the labels."
        return read_record(cls, path, "a result", advice)

    @property
    def class_list(self) -> ClassList:
        """What the classes of the cells are."""
        return ClassList.from_list(self.classes) if self.classes else BUILT_IN

    @property
    def placement(self) -> Placement:
        """Where the pixels lie."""
        return Placement(self.scale, self.translate, self.units, self.axis_labels, self.affine)

    @property
    def table(self) -> pd.DataFrame:
        """The table of the cells."""
        return columns_to_table(self.cells)

    @property
    def large(self) -> bool:
        """Whether it is of a large image, whose labels and table are in a folder."""
        return self.labels.endswith(LARGE_SUFFIX)


def table_to_columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return a table as lists that JSON holds: infinity as a word, what is unknown as None."""
    return {str(name): [_json_value(value) for value in table[name].tolist()] for name in table.columns}


def columns_to_table(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Return the table of `table_to_columns`, with the types it had."""
    import pandas as pd

    return pd.DataFrame({name: _column(values) for name, values in columns.items()})


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return None if value != value else str(value)  # pandas' own kinds of nothing


def _column(values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in known) and len(known) == len(values):
        return np.array(values, bool)
    if all(isinstance(value, int) and not isinstance(value, bool) for value in known) and known == values:
        return np.array(values, np.int64)
    if all(isinstance(value, int | float) or value in ("inf", "-inf") for value in known):
        return np.array([math.nan if value is None else float(value) for value in values], float)
    return np.array(values, object)
