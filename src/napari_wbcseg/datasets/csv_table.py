"""A table in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, columns: set[str], **options: Any) -> pd.DataFrame:
    """Read a CSV file that has at least these columns; ``options`` are those of ``pandas.read_csv``.

    Raises
    ------
    DatasetError
        If the table is missing, unreadable or lacks a column.
    """
    import pandas as pd

    try:
        table: pd.DataFrame = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise DatasetError(f"The table {path} cannot be read: {error}.") from None
    missing = columns - set(table.columns)
    if missing:
        raise DatasetError(f"The table {path} lacks the columns {', '.join(sorted(missing))}.")
    return table
