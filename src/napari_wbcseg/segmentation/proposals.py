"""The low-resolution pass: regions that may hold white cells, at half the network's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .prediction import Predictor, box_windows, resample


@dataclass(frozen=True)
class ProposalParameters:
    """What the low-resolution pass goes by. Recall comes first, since the network looks again.

    Attributes
    ----------
    diameter : float
        Diameter of a cell that the image is reduced to, pixels: the least at which the network, with
        a canonical diameter of 48, still sees cells surely.
    least_cell, least_centre : float
        Probabilities from which on a pixel may belong to a cell.
    smallest : float
        Cell diameters: least side of a region.
    margin : float
        Cell diameters around a region.
    """

    diameter: float = 30.0
    least_cell: float = 0.25
    least_centre: float = 0.2
    smallest: float = 0.2
    margin: float = 0.25


PARAMETERS = ProposalParameters()


def propose(image: np.ndarray, diameter: float, predictor: Predictor) -> np.ndarray:
    """Find the regions of an image where white cells may be.

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

    # Of one colour, as where a slide was not scanned; that others are not, their first row tells mostly.
    if all((part == image[0, 0]).all() for part in (image[0], image)):
        return np.zeros((0, 4), np.int64)
    small = resample(image, PARAMETERS.diameter / diameter)
    windows = box_windows((0, 0, *small.shape[:2]), small.shape[:2], predictor.multiple)
    maps = predictor.predict(small, windows, "Looking for cells")
    near = (maps.cell > PARAMETERS.least_cell) | (maps.centre > PARAMETERS.least_centre)
    regions, _ = ndimage.label(near, np.ones((3, 3)))
    shape = np.array(image.shape[:2])
    scale, margin = shape / small.shape[:2], PARAMETERS.margin * diameter
    boxes = []
    for rows, cols in ndimage.find_objects(regions):
        start, stop = np.array([rows.start, cols.start]), np.array([rows.stop, cols.stop])
        if (stop - start).max() >= PARAMETERS.smallest * PARAMETERS.diameter:
            first = np.maximum(np.rint(start * scale - margin), 0)
            boxes.append([*first, *np.minimum(np.rint(stop * scale + margin), shape)])
    return np.array(boxes, float).astype(np.int64).reshape(-1, 4)
