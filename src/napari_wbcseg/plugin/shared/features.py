"""The table of cells as a layer's features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels

from ...classification.classes import probability_columns


def labels_of(features: pd.DataFrame) -> Any:
    """Return the label of each row of a layer's features; see `features_table`."""
    return features["index"] if "index" in features else range(len(features))


def cells_of(features: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the plane, 0 where there is none, and the label of each row of a layer's features."""
    planes = features["plane"].fillna(0) if "plane" in features else [0] * len(features)
    return [(int(plane), int(label)) for plane, label in zip(planes, labels_of(features), strict=True)]


def known_values(layer: Labels, column: str) -> dict[tuple[int, int], Any]:
    """Return what a layer's features say of each cell; empty where they have no such column."""
    features = layer.features
    if column not in features:
        return {}
    pairs = zip(cells_of(features), features[column].tolist(), strict=True)
    return {cell: value for cell, value in pairs if value is not None and value == value}


def known_cells(layer: Labels) -> pd.DataFrame:
    """Return the features of a layer, such as ``class``, by ``label`` and, of a stack, ``plane``."""
    features = layer.features
    own = ["index", "flag", "decision"]
    return features.drop(columns=own, errors="ignore").assign(label=labels_of(features))


def features_table(cells: pd.DataFrame, others: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a table of cells in the form of a layer's features.

    Parameters
    ----------
    cells : DataFrame
        With a column ``label``.
    others : DataFrame, optional
        More columns, indexed by label.

    Returns
    -------
    DataFrame
        Row *n* belongs to label *n*, as napari's own table wants it. Where labels are far apart,
        or in no order, such as 1 and 4,000,000,000, or those of another program are the same on several
        planes, a column ``index`` holds the labels instead.
    """
    table = cells.set_index("label", drop=False)
    numbers, own = table.index.to_numpy(), table.index.is_unique
    if not len(numbers) or (own and numbers.min() > 0 and numbers.max() <= 4 * len(numbers) + 10_000):
        rows = np.arange(int(numbers.max(initial=0)) + 1)
        dense = table.reindex(rows)
        dense["label"] = rows
    else:
        rows = np.concatenate([[0], numbers])
        dense = pd.concat([pd.DataFrame(index=[0]), table])
        dense.insert(0, "index", rows)
    for name in table.columns:
        kind = table[name].dtype.kind
        if kind == "b":
            dense[name] = dense[name].eq(True)
        elif name in ("decision", "flag"):
            # napari shows empty words at the mouse, but not what is missing.
            dense[name] = dense[name].where(dense[name].notna() & (dense[name] != ""), np.nan)
    return (dense if others is None else dense.join(others)).reset_index(drop=True)


def write_features(layer: Labels, cells: pd.DataFrame) -> None:
    """Keep the table in the layer's features, in the form of `features_table`; columns of others stay."""
    before = layer.features
    # A classifier that learned may tell other classes than the one before.
    stale = probability_columns(before) if probability_columns(cells) else []
    others = before.drop(columns=[name for name in before if name in cells or name in ("index", *stale)])
    others.index = labels_of(before)
    others = others[~others.index.duplicated()]
    layer.features = features_table(cells, others)
