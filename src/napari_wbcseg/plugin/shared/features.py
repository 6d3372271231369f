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


def known_values(layer: Labels, column: str) -> dict[int, Any]:
    """Return what a layer's features say of each label; empty where they have no such column."""
    features = layer.features
    if column not in features:
        return {}
    pairs = zip(labels_of(features), features[column].tolist(), strict=True)
    return {int(number): value for number, value in pairs if value is not None and value == value}


def known_cells(layer: Labels) -> pd.DataFrame:
    """Return the features of a layer, such as ``class``, by the column ``label``."""
    features = layer.features
    own = ["index", "plane", "flag", "decision"]
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
        or in no order, such as 1 and 4,000,000,000, a column ``index`` holds the labels instead.
    """
    table = cells.drop_duplicates("label").set_index("label", drop=False)
    numbers = table.index.to_numpy()
    if not len(numbers) or (numbers.min() > 0 and numbers.max() <= 4 * len(numbers) + 10_000):
        rows = np.arange(int(numbers.max(initial=0)) + 1)
        dense = table.reindex(rows)
        dense["label"] = rows
    else:
        rows = np.concatenate([[0], numbers])
        dense = table.reindex(rows)
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
