"""Regions worth a close look: the network's own first glance, at half its resolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .maps import Predictor, covering_windows
from .resample import resample
from .windows import Window

#: Diameter of a cell at the first glance, pixels.
GLANCE_DIAMETER = 30.0
_LEAST_CELL = 0.25
_LEAST_CENTRE = 0.2
_MARGIN = 0.25


def propose(image: np.ndarray, diameter: float, predictor: Predictor) -> np.ndarray:
    """Find the regions of an image where white cells may be.

    Recall comes first, since the network looks again.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    diameter : float
        Diameter of a cell, image pixels.
    predictor : Predictor

    Returns
    -------
    ndarray of int64, shape (n, 4)
        Boxes ``row0, col0, row1, col1`` in image pixels, ends exclusive, with a margin of
        a quarter of a cell around.
    """
    from scipy import ndimage

    factor = GLANCE_DIAMETER / diameter
    small = resample(image, factor)
    regions, _ = ndimage.label(near_cells(small, predictor), np.ones((3, 3)))
    height, width = image.shape[:2]
    scale = (height / small.shape[0], width / small.shape[1])
    margin = _MARGIN * diameter
    boxes = []
    for rows, cols in ndimage.find_objects(regions):
        if max(rows.stop - rows.start, cols.stop - cols.start) < 0.2 * GLANCE_DIAMETER:
            continue
        boxes.append(
            (
                max(0, round(rows.start * scale[0] - margin)),
                max(0, round(cols.start * scale[1] - margin)),
                min(height, round(rows.stop * scale[0] + margin)),
                min(width, round(cols.stop * scale[1] + margin)),
            )
        )
    return np.array(boxes, np.int64).reshape(-1, 4)


def near_cells(
    small: np.ndarray, predictor: Predictor, windows: Sequence[Window] | None = None
) -> np.ndarray:
    """Say which pixels may belong to a cell.

    Parameters
    ----------
    small : ndarray of float32, shape (h, w, 3)
        What the network takes, scaled to the `GLANCE_DIAMETER`.
    predictor : Predictor
    windows : sequence of Window, optional
        By default as many as cover the image.

    Returns
    -------
    ndarray of bool, shape (h, w)
    """
    if windows is None:
        windows = covering_windows(small.shape[:2], predictor.model.architecture.multiple)
    maps = predictor.predict(small, windows, "Looking for cells")
    return (maps.cell > _LEAST_CELL) | (maps.centre > _LEAST_CENTRE)
