"""A table in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DatasetError, reading


def read_table(path: Path, columns: set[str], **options: Any) -> pd.DataFrame:
    """Read a CSV file that has at least these columns; ``options`` are those of ``pandas.read_csv``.

    Raises
    ------
    DatasetError
        If the table is missing, unreadable or lacks a column.
    """
    with reading(f"The table {path}", DatasetError, "write it anew"):
        table: pd.DataFrame = pd.read_csv(path, **options)
    missing = columns - set(table.columns)
    if missing:
        wanted = ", ".join(sorted(missing))
        raise DatasetError(f"The table {path} lacks the columns {wanted}: add them, separated by commas.")
    return table
