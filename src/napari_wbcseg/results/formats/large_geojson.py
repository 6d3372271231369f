"""The cells of a large image in the formats of other programs, read cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...images.pixel_size import PixelSize
from ...progress import Progress, silent
from .geojson import write_outlines
from .outlines import CellOutline, mask_polygons
from .tables import with_micrometres

if TYPE_CHECKING:
    import pandas as pd

_LEAST_HALF = 16  # pixels from the middle of a cell to the edge of what is read first


def write_large_geojson(
    path: str | Path,
    labels: Any,
    cells: pd.DataFrame,
    pixel_size: PixelSize | None,
    name: str,
    progress: Progress = silent,
) -> Path:
    """Write the outlines of the cells of a large image as GeoJSON, for QuPath.

    Parameters
    ----------
    path : str or Path
    labels : array of int, shape (H, W)
        Label image; zarr perhaps.
    cells : DataFrame
        A row a label, with its ``row``, ``col`` and ``diameter``.
    pixel_size : PixelSize or None
    name : str
        Of the image.
    progress : Progress

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    return write_outlines(path, _outlines(labels, cells), with_micrometres(cells, pixel_size), name, progress)


def _outlines(labels: Any, cells: pd.DataFrame) -> Iterator[CellOutline]:
    shape = labels.shape
    places = cells[["label", "row", "col", "diameter"]].itertuples(index=False)
    for label, row, col, diameter in places:
        half = max(_LEAST_HALF, round(diameter))
        while True:
            top, left = max(round(row) - half, 0), max(round(col) - half, 0)
            bottom, right = min(round(row) + half, shape[0]), min(round(col) + half, shape[1])
            mask = np.asarray(labels[top:bottom, left:right]) == label
            cut = (
                (top > 0 and mask[0].any())
                or (left > 0 and mask[:, 0].any())
                or (bottom < shape[0] and mask[-1].any())
                or (right < shape[1] and mask[:, -1].any())
            )
            if not cut:
                break
            half *= 2  # long, or in pieces
        yield CellOutline(int(label), None, mask_polygons(mask, (top, left)))
