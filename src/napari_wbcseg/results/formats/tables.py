"""Tables as files: a row an image, a row a cell, as CSV; and the columns of a table in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...classification.classes import CLASS, probability_columns
from ...files import write_atomically
from ...images.pixel_size import PixelSize
from ...segmentation.large.files import as_csv
from ...segmentation.measure import LENGTHS, in_physical_units, joined

#: Columns of ``counts.csv``; diameters and sizes in pixels, the field without its surround.
COUNT_COLUMNS = (
    *("image", "count", "white_cells", "erythroblasts", "erythroblasts_per_100", "to_check", "cell_diameter"),
    *("field_mm2", "white_cells_per_mm2", "width", "height", "seconds", "status", "error", "notes"),
)


def count_column(name: str) -> str:
    """Return the column of ``counts.csv`` for a class, which may be called as one that is there already.

    Examples
    --------
    >>> count_column("blast"), count_column("erythroblasts")
    ('blast', 'class erythroblasts')
    """
    return f"class {name}" if name in COUNT_COLUMNS else name


def write_counts(path: str | Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write ``counts.csv``: a row an image, with the columns `COUNT_COLUMNS` and one a class.

    A value that a row lacks is left empty.
    """
    table = pd.DataFrame(list(rows))
    classes = [str(name) for name in table if name not in COUNT_COLUMNS]
    table = table.reindex(columns=[*COUNT_COLUMNS, *classes])
    for name in ("count", "white_cells", "erythroblasts", "to_check", "width", "height", *classes):
        table[name] = table[name].astype("Int64")  # whole numbers, though some rows have none
    return write_table(path, table)


def write_cells(path: str | Path, tables: Sequence[tuple[str, pd.DataFrame]]) -> Path:
    """Write ``cells.csv``: a row a cell, its image in the first column.

    Parameters
    ----------
    path : str or Path
    tables : sequence of (str, DataFrame)
        The image's name and its cells.
    """
    named = [with_image(table, name) for name, table in tables]
    return write_table(path, joined(named) if named else pd.DataFrame({"image": []}))


def with_image(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with the name of the image in its first column."""
    table = table.drop(columns="image", errors="ignore")
    table.insert(0, "image", name)
    return table


def write_table(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, numbers to six digits; see `as_csv`."""
    return write_atomically(path, as_csv(table, "%.6g"))


def with_micrometres(cells: pd.DataFrame, pixel_size: PixelSize | None) -> pd.DataFrame:
    """Return the table with its lengths and areas in µm beside those in pixels.

    Parameters
    ----------
    cells : DataFrame
        With columns of `measure_labels`.
    pixel_size : PixelSize or None
        Without one, or in a unit that is no length, the table stays as it is.

    Returns
    -------
    DataFrame
        With ``area_um2``, ``diameter_um``, ``perimeter_um`` and ``nucleus_area_um2`` behind
        the columns in pixels, where there are those. Of pixels that are no squares, the shape is
        not known; see `in_physical_units`.
    """
    if pixel_size is None or pixel_size.micrometres is None:
        return cells
    measured = in_physical_units(cells, pixel_size.micrometres)
    known = {name: power for name, power in LENGTHS.items() if name in cells}
    in_um = {name: f"{name}_um{power if power > 1 else ''}" for name, power in known.items()}
    # A table that was read from our own CSV has them already; of pixels that are no squares the shape is not
    # known, in the table of the window either.
    table = cells.drop(columns=in_um.values(), errors="ignore")
    table = table.assign(**measured.filter(["circularity", "eccentricity"]))
    for name, title in in_um.items():
        table.insert(list(table.columns).index(name) + 1, title, measured[name])
    return table


def failed_row(image: str, error: str, seconds: float = 0.0) -> dict[str, Any]:
    """Return the row of ``counts.csv`` of an image that could not be segmented."""
    return {"image": image, "seconds": round(seconds, 3), "status": "failed", "error": error}


def table_to_columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return a table as lists that JSON holds: infinity as a word, what is unknown as None."""
    return {str(name): [_json_value(value) for value in table[name].tolist()] for name in table.columns}


def columns_to_table(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Return the table of `table_to_columns`, with the types it had."""
    # A class may be called inf.
    table = pd.DataFrame(
        {
            name: np.array(values, object) if name == CLASS else _column(values)
            for name, values in columns.items()
        }
    )
    for name in probability_columns(table):  # of no type without cells, and words where one was drawn then
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    return table


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return None if value is pd.NA or value is pd.NaT else str(value)


def _column(values: list[Any]) -> np.ndarray:
    kinds = {float if value in ("inf", "-inf") else type(value) for value in values}
    if kinds <= {bool}:
        return np.array(values, bool)
    if kinds <= {int}:
        return np.array(values, np.int64)
    if kinds <= {int, float, type(None)}:
        return np.array([math.nan if value is None else float(value) for value in values], float)
    return np.array(values, object)
