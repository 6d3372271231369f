"""All that is known of one result besides its labels, as JSON: how to do it again, and its table."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..settings import SegmentationSettings
from .files import write_bytes
from .labelled import LabelledImage, Placement
from .names import RESULT_SUFFIX
from .records import ModelRecord, file_sha256, library_versions, read_record

if TYPE_CHECKING:
    import pandas as pd

RESULT_FORMAT = "napari-wbcseg result 1"


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
        Of the file's content; None where there was no file.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    path: str = ""
    relative: str = ""
    sha256: str | None = None


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
    scale, translate, units, axis_labels : tuple
        Where the pixels lie, an entry an axis.
    count, to_check : int
    cells : dict of list
        The table, a list a column; lengths in pixels, unknown values None.
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
    count: int
    to_check: int
    cells: dict[str, list[Any]] = {}

    @classmethod
    def of(cls, result: LabelledImage, folder: Path, labels: str = "") -> ResultRecord:
        """Make the record of a result, to lie in a folder beside its labels file."""
        name, _, model_hash = result.model.partition("@")
        model = None
        if model_hash:
            model = ModelRecord(name=name, hash=model_hash, source=result.model_source or name)
        place = result.placement
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            image=_image_record(result, folder),
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
            count=len(result.cells),
            to_check=len(result.to_check),
            cells=table_to_columns(result.cells),
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
    def placement(self) -> Placement:
        """Where the pixels lie."""
        return Placement(self.scale, self.translate, self.units, self.axis_labels)

    @property
    def table(self) -> pd.DataFrame:
        """The table of the cells."""
        return columns_to_table(self.cells)

    def image_file(self, folder: Path) -> Path | None:
        """Return the image's file if it is still there; ``folder`` is that of the record."""
        for path in (Path(self.image.path or " "), folder / (self.image.relative or " ")):
            if path.is_file():
                return path
        return None


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


def _image_record(result: LabelledImage, folder: Path) -> ImageRecord:
    path = result.image_path
    if path is None or not path.is_file():
        return ImageRecord(name=result.name)
    path = path.resolve()
    try:
        relative = Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # on another drive of Windows
        relative = ""
    return ImageRecord(name=result.name, path=str(path), relative=relative, sha256=file_sha256(path))
