"""From the cells of all blocks to one table in reading order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .block import BlockCells, empty_table

if TYPE_CHECKING:
    import pandas as pd

#: Two finds are one cell if they share this much of the smaller one.
_SAME_CELL = 0.5
_PITCH = 256


@dataclass(frozen=True)
class Cells:
    """The cells of a whole image: row *i* of the table, of the boxes and of the masks is label *i* + 1.

    Attributes
    ----------
    table : DataFrame
        As `measure_cells` gives it, places in the whole image.
    boxes : ndarray of int64, shape (n, 4)
        ``row0, col0, row1, col1``, ends exclusive.
    masks : list of ndarray of bool
        Pixels of each cell within its box.
    proposals : ndarray of int64, shape (m, 4)
        Regions looked at, ordered.
    """

    table: pd.DataFrame
    boxes: np.ndarray
    masks: list[np.ndarray]
    proposals: np.ndarray


def assemble(
    blocks: Sequence[BlockCells], too_small: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> Cells:
    """Put the cells of all blocks together, the same whatever their order.

    What two clusters have both found is kept once (the surer), pixels that two cells claim go to
    the first in reading order, and what is too small among all cells is left out.

    Parameters
    ----------
    blocks : sequence of BlockCells
    too_small : callable
        Given the areas of all cells, which of them the image border cuts, and their certainty, say
        which to leave out.

    Returns
    -------
    Cells
    """
    import pandas as pd

    tables = [block.table for block in blocks if len(block)]
    table = pd.concat(tables, ignore_index=True) if tables else empty_table()
    boxes = np.concatenate([np.zeros((0, 4), np.int64), *(block.boxes for block in blocks)])
    masks = [mask for block in blocks for mask in block.masks]
    proposals = np.concatenate([np.zeros((0, 4), np.int64), *(block.proposals for block in blocks)])

    first = np.array([int(np.argmax(mask[0])) for mask in masks], np.int64) + boxes[:, 1]
    order = np.lexsort((table["area"], boxes[:, 1], first, boxes[:, 0]))
    table = table.iloc[order].reset_index(drop=True)
    boxes, masks = boxes[order], [masks[i] for i in order]

    certainty = table["certainty"].to_numpy(float)
    keep = _without_doubles(boxes, masks, certainty)
    areas = np.where(keep, table["area"].to_numpy(float), 0)
    keep &= ~too_small(areas, table["border"].to_numpy(bool), certainty)
    kept = np.flatnonzero(keep)
    table = table.iloc[kept].reset_index(drop=True)
    boxes, masks = boxes[kept], [masks[i] for i in kept]

    _share_pixels(table, boxes, masks)
    table["label"] = np.arange(1, len(table) + 1)
    return Cells(table, boxes, masks, np.unique(proposals, axis=0))


def _overlapping(boxes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs of boxes that overlap, in order, by what lies in each square of the image."""
    squares: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, (top, left, bottom, right) in enumerate(boxes.tolist()):
        near: set[int] = set()
        for i in range(top // _PITCH, (bottom - 1) // _PITCH + 1):
            for j in range(left // _PITCH, (right - 1) // _PITCH + 1):
                near.update(squares[i, j])
                squares[i, j].append(number)
        for other in sorted(near):
            r0, c0, r1, c1 = boxes[other]
            if r0 < bottom and top < r1 and c0 < right and left < c1:
                yield other, number


def _common(a: np.ndarray, b: np.ndarray) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part that two boxes share, in the pixels of each."""
    top, left = max(a[0], b[0]), max(a[1], b[1])
    bottom, right = min(a[2], b[2]), min(a[3], b[3])
    one, two = (
        (slice(top - box[0], bottom - box[0]), slice(left - box[1], right - box[1])) for box in (a, b)
    )
    return one, two


def _without_doubles(boxes: np.ndarray, masks: list[np.ndarray], certainty: np.ndarray) -> np.ndarray:
    keep = np.ones(len(masks), bool)
    for one, two in _overlapping(boxes):
        if keep[one] and keep[two]:
            in_one, in_two = _common(boxes[one], boxes[two])
            shared = int((masks[one][in_one] & masks[two][in_two]).sum())
            if shared > _SAME_CELL * min(masks[one].sum(), masks[two].sum()):
                keep[one if certainty[one] < certainty[two] else two] = False
    return keep


def _share_pixels(table: pd.DataFrame, boxes: np.ndarray, masks: list[np.ndarray]) -> None:
    """Give each pixel to one cell; what loses pixels is measured anew where that is simple."""
    for one, two in _overlapping(boxes):
        in_one, in_two = _common(boxes[one], boxes[two])
        shared = masks[one][in_one] & masks[two][in_two]
        if not shared.any():
            continue
        masks[two] = masks[two].copy()
        masks[two][in_two] &= ~shared
        area = int(masks[two].sum())
        rows, cols = np.nonzero(masks[two])
        table.loc[two, "area"] = float(area)
        table.loc[two, "diameter"] = 2 * np.sqrt(area / np.pi)
        table.loc[two, "row"] = float(rows.mean() + boxes[two][0])
        table.loc[two, "col"] = float(cols.mean() + boxes[two][1])
        table.loc[[one, two], "touching"] = True
