"""Cells that are known by their boxes: how many of them were found."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from napari_wbcseg.evaluation.metrics import Matches, best_matching


def box_iou(truth_boxes: ArrayLike, boxes: ArrayLike) -> np.ndarray:
    """Return the intersection over union of every pair of boxes, float64 (n, m).

    Parameters
    ----------
    truth_boxes, boxes : array_like of numbers, shapes (n, 4) and (m, 4)
        ``row0, col0, row1, col1`` in pixels with exclusive ends.
    """
    a, b = (np.asarray(each, np.float64).reshape(-1, 4) for each in (truth_boxes, boxes))
    start = np.maximum(a[:, None, :2], b[None, :, :2])
    stop = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(stop - start, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def match_boxes(truth_boxes: ArrayLike, boxes: ArrayLike, threshold: float = 0.5) -> Matches:
    """Match two sets of boxes one to one, as `match_instances` does cells; its pairs are row numbers."""
    table = box_iou(truth_boxes, boxes)
    rows, columns = np.nonzero(table)
    chosen = best_matching(rows, columns, table[rows, columns], threshold)
    pairs = np.stack([rows[chosen], columns[chosen]], axis=1)
    n, (true, found) = len(chosen), table.shape
    return Matches(n, found - n, true - n, pairs, table[rows, columns][chosen])
