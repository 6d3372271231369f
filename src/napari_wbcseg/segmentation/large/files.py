"""The files of a large result, and its table."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...classification.classes import CLASS, CLASS_BY
from ...errors import OutputError, SettingsError
from ...files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

LABELS_FOLDER = "labels.zarr"
PROBABILITY_FOLDER = "probability.zarr"
RESULT_FILE = "result.json"
#: What says of the folder, in JSON, what it is a result of.
PLAN_FILE = "plan.json"
TableFormat = Literal["csv", "parquet"]


def check_table(table: str) -> None:
    if table not in ("csv", "parquet"):
        raise SettingsError(f"A table of cells is written as csv or parquet, not as {table!r}.")
    if table == "parquet" and not any(find_spec(name) for name in ("pyarrow", "fastparquet")):
        raise SettingsError(
            'Parquet needs pyarrow: pip install "napari-wbcseg[slides]", or write the table as csv.'
        )


def write_table(table: pd.DataFrame, file: Path) -> None:
    content = io.BytesIO()
    if file.suffix == ".parquet":
        table.to_parquet(content, index=False)
    else:
        table.to_csv(content, index=False)
    write_atomically(file, content.getvalue(), OutputError)


def read_table(file: Path) -> pd.DataFrame:
    import pandas as pd

    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    table = pd.read_csv(file)
    # Cells of which nobody said anything are empty, not numbers that are none.
    words = [name for name in (CLASS, CLASS_BY) if name in table]
    return table.assign(**{name: table[name].fillna("").astype("str") for name in words})
