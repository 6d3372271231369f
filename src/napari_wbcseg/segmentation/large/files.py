"""The files of a large result: its table, and the cells of each tile, by which a run is taken up."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ...box import Box
from ...classification.classes import CLASS, CLASS_BY
from ...errors import OutputError, SettingsError
from ...files import write_atomically
from ...words import no_formula
from ..detections import TileCells
from ..measure import no_cells

TableFormat = Literal["csv", "parquet"]
#: What a table may be called; other files of that name, such as cells.xlsx or cells.bak, are a user's own.
TABLES = tuple(f"cells.{kind}" for kind in get_args(TableFormat))

# Steps of the probability that is stored: it packs well.
_STEPS = np.float32(255)
_WORDS = CLASS, CLASS_BY
_APOSTROPHE = r"^'(?=[=+@-])"  # that `no_formula` puts there
_ARRAYS = ("rows", "classes", "proposals", "seen")


def check_table(table: str) -> None:
    if table not in get_args(TableFormat):
        raise SettingsError(f"A table of cells is written as csv or parquet, not as {table!r}.")
    if table == "parquet" and not any(find_spec(name) for name in ("pyarrow", "fastparquet")):
        raise SettingsError(
            'Parquet needs pyarrow: pip install "napari-wbcseg[slides]", or write the table as csv.'
        )


def table_file(folder: Path) -> Path:
    """Return the table in the folder of a result.

    Raises
    ------
    ValueError
        If there is none.
    """
    return min(file for name in TABLES if (file := folder / name).exists())


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Write the table of a result, all digits, as its ending says."""
    content = io.BytesIO()
    if file.suffix == ".parquet":
        table.to_parquet(content, index=False)
    else:
        content.write(as_csv(table))
    write_atomically(file, content.getvalue(), OutputError)


def as_csv(table: pd.DataFrame, float_format: str | None = None) -> bytes:
    """Return a table as CSV, UTF-8, by default with all digits.

    What a spreadsheet would take for a formula, such as the name of a file or a class that begins with ``=``,
    gets an apostrophe in front.
    """
    words: dict[str, Any] = {
        str(name): values.map(no_formula) for name, values in table.items() if values.dtype.kind not in "biuf"
    }
    table = table.assign(**words).rename(columns=no_formula)
    return table.to_csv(index=False, lineterminator="\n", float_format=float_format).encode()


def read_table(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    # A class may be called NA or 01, and nothing where nobody said anything.
    words = pd.read_csv(file, usecols=_WORDS.__contains__, dtype="str", keep_default_na=False)
    table = pd.read_csv(file).assign(**words.replace(_APOSTROPHE, "", regex=True))
    if not len(table):  # of which a CSV says no types
        types = no_cells().dtypes
        table = table.astype({name: types.get(name, float) for name in table})
    return table


@dataclass(frozen=True)
class TileFiles:
    """The cells of tiles, a file a tile that is whole or not there; workers share them.

    Attributes
    ----------
    folder : Path
    run : str
        What the tiles are of: those of another run, whose workers may not know of its end, are left alone.
    """

    folder: Path
    run: str

    def __setitem__(self, tile: int, cells: TileCells) -> None:
        content = io.BytesIO()
        np.savez_compressed(
            content,
            **{name: getattr(cells, name) for name in _ARRAYS},
            bits=np.concatenate([np.zeros(0, np.uint8), *(np.packbits(mask) for mask in cells.masks)]),
            probability=np.rint(cells.probability * _STEPS).astype(np.uint8),
        )
        write_atomically(self._file(tile), content.getvalue(), OutputError)

    def __getitem__(self, tile: int) -> TileCells:
        cells = self.get(tile)
        if cells is None:
            raise OutputError(
                f"The results in {self.folder.parent} were changed while they were made; start it again."
            )
        return cells

    def get(self, tile: int) -> TileCells | None:
        """Return the cells of a tile; None where the file is missing or damaged, so that it is done again."""
        try:
            with np.load(self._file(tile), allow_pickle=False) as file:
                rows, classes, proposals, seen = (file[name] for name in _ARRAYS)
                bits, steps = file["bits"], file["probability"]
            shapes = rows["box"][:, 2:] - rows["box"][:, :2]
            counts = shapes.prod(axis=1)
            parts = np.split(bits, np.cumsum(-(-counts // 8)))
            masks = [
                np.unpackbits(part, count=count).astype(bool).reshape(shape)
                for part, count, shape in zip(parts, counts.tolist(), shapes.tolist(), strict=False)
            ]
        except Exception:  # NumPy, zipfile and zlib raise nearly any type on damaged files
            return None
        return TileCells(rows, masks, classes, proposals, Box(*seen.tolist()), steps / _STEPS)

    def _file(self, tile: int) -> Path:
        return self.folder / f"tile-{tile:06d}-{self.run}.npz"
