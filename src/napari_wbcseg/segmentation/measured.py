"""The table of labels that may have been edited since they were measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_SAME = 0.01  # pixels and square pixels, that a table on disk may be rounded by


def current_cells(labels: np.ndarray, table: Any, image: Any = None) -> tuple[pd.DataFrame, bool]:
    """Return a table that fits the labels: a row for each cell that is there now.

    A row stays as it is where the area and the centroid in it are those of the label. Cells
    that changed or are new are measured; those that are gone lose their row.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W) or (N, H, W)
    table : DataFrame or None
        Such as a layer's features: with a ``label``, or a row for each label from 0 on.
    image : array, optional
        What the stain of new cells is measured on; without it that stays unknown (NaN).

    Returns
    -------
    cells : DataFrame
        In the order of planes and labels, with the columns of the table besides those measured.
    changed : bool
        Whether any row was measured, or lost.
    """
    import pandas as pd

    known = _known_rows(table)
    stacked = labels.ndim == 3
    parts, kept = [], 0
    for number, plane in enumerate(labels if stacked else labels[None]):
        rows = known[known["plane"] == number] if stacked and "plane" in known else known
        picture = image if image is None or not stacked else image[number]
        part, fitting = _plane_cells(plane, rows, picture)
        kept += fitting
        parts.append(part.assign(plane=number) if stacked else part)
    filled = [part for part in parts if len(part)] or parts[:1]
    cells = pd.concat(filled, ignore_index=True)
    return cells, kept != len(cells) or kept != len(known)


def _known_rows(table: Any) -> pd.DataFrame:
    """Return the rows of a table that are of cells, with their label in a column."""
    import pandas as pd

    known = pd.DataFrame() if table is None else pd.DataFrame(table).reset_index(drop=True)
    if not {"row", "col", "area"} <= set(known.columns):
        return pd.DataFrame({"label": np.zeros(0, np.int64)})
    if "label" not in known:
        # napari finds the row of a label by its position.
        known = known.assign(label=np.arange(len(known)))
    known = known[known["area"].notna() & (known["label"] > 0)]
    return known.astype({"label": np.int64})


def _plane_cells(plane: np.ndarray, rows: pd.DataFrame, image: Any) -> tuple[pd.DataFrame, int]:
    """Return the table of one plane, and how many of its rows were known."""
    import pandas as pd

    from .large.source import PixelSource
    from .measure import FLAG_COLUMNS, STAIN_COLUMNS, WHOLE_COLUMNS, measure_labels, region_properties

    there, numbers = region_properties(plane)
    fits = rows.iloc[:0]
    if len(rows) and len(numbers):
        place = np.searchsorted(numbers, rows["label"]).clip(max=len(numbers) - 1)
        same = numbers[place] == rows["label"].to_numpy()
        for name, measured in (("area", "area"), ("row", "centroid-0"), ("col", "centroid-1")):
            same &= np.abs(there[measured][place] - rows[name].to_numpy(float)) < _SAME
        fits = rows[same].drop_duplicates("label")
    new = np.setdiff1d(numbers, fits["label"].to_numpy())
    if not len(new) and len(fits):
        return fits.sort_values("label"), len(fits)
    density = None
    if image is not None and len(new):
        density = PixelSource(image).density(np.isin(plane, new))
    fresh, _ = measure_labels(plane, density, new)
    if density is None and len(new):
        fresh = fresh.astype(dict.fromkeys(STAIN_COLUMNS, float)).assign(
            **dict.fromkeys(STAIN_COLUMNS, np.nan)
        )
    if not len(fits):
        return fresh, 0
    cells = pd.concat([fits, fresh], ignore_index=True).sort_values("label")
    for name in (name for name in FLAG_COLUMNS if name in cells):
        cells[name] = cells[name].eq(True)
    for name in (name for name in WHOLE_COLUMNS if name in cells and cells[name].notna().all()):
        cells[name] = cells[name].astype(np.int64)
    return cells, len(fits)
