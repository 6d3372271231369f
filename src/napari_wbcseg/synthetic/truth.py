"""White cells side by side on one field: which pixel is whose, and the numbering of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np

from ..box import Box
from .camera import Aperture
from .white_cells import WhiteCell, paint_white_cell

Painting = tuple[Box, np.ndarray]


def paint_white_cells(
    cells: Sequence[WhiteCell], shape: tuple[int, int], aperture: Aperture | None
) -> tuple[np.ndarray, np.ndarray, list[Painting], np.ndarray]:
    """Paint each white cell on its patch.

    Returns
    -------
    labels, nuclei : ndarray of int32, shape (H, W)
        Place in ``cells`` plus one.
    paintings : list of (patch, dyes)
        What to add to the dye planes, and where.
    cover : ndarray of float32, shape (H, W)
        Share of each pixel that white cells cover.
    """
    labels, nuclei = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    cover = np.zeros(shape, np.float32)
    seen = None if aperture is None else aperture.depth(shape) > 0
    centres = np.array([(c.row, c.col, c.reach) for c in cells]).reshape(-1, 3)
    paintings: list[Painting] = []
    for number, cell in enumerate(cells):
        patch = Box.square(cell.row, cell.col, ceil(cell.reach) + 2).grown(0, within=shape)
        own = cell.depth(patch)
        depth = own
        apart = np.hypot(centres[:, 0] - cell.row, centres[:, 1] - cell.col)
        for other in np.flatnonzero(apart < centres[:, 2] + cell.reach).tolist():
            if other != number:  # the wall between two cells lies where both are as deep
                depth = np.minimum(depth, (own - cells[other].depth(patch)) / 2)
        mask = depth > 0
        if seen is not None:
            mask &= seen[patch.slices]
        mask = _largest_piece(mask)
        # A piece cut off by the border or a neighbour is neither truth nor painted.
        kept = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        if seen is not None:
            kept |= ~seen[patch.slices] & (depth > -1)
        paint, share, nucleus = paint_white_cell(cell, patch, depth)
        paintings.append((patch, paint * kept))
        cover[patch.slices] = np.minimum(cover[patch.slices] + share * kept, 1)
        labels[patch.slices][mask] = number + 1
        nuclei[patch.slices][mask & nucleus] = number + 1
    return labels, nuclei, paintings, cover


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    return pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def reading_order(labels: np.ndarray, nuclei: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Give labels 1..n by their first pixel; also return the former place of each."""
    found, first = np.unique(labels, return_index=True)
    order = [int(v) - 1 for _, v in sorted(zip(first, found, strict=True)) if v]
    table = np.zeros(int(labels.max()) + 1, np.int32)
    table[[i + 1 for i in order]] = np.arange(1, len(order) + 1)
    return table[labels], table[nuclei], order
