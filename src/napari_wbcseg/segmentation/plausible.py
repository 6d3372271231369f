"""What cannot be a white cell, whatever the network says: too small, too unsure, or a red cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .found import Found
from .instances import Instances
from .red_cells import (
    SMALLEST_BESIDE_OTHERS,
    SMALLEST_WHITE_CELL,
    TYPICAL_WHITE_CELL,
    RedCells,
    density_of,
    width_of_others,
)

# A small lymphocyte is about half as wide as a large monocyte, a platelet not a third.
_SMALLEST_OF_TYPICAL = 0.42
# Of a cell that the image border cuts, an eighth of the area must show.
_SHOWING_AT_BORDER = 0.35
_LEAST_CERTAINTY = 0.55
# A nucleus absorbs this much more, in some colour, than the denser part of red cells.
_DARKER = 1.25
# Share of the cell; a platelet that lies on a red cell covers less.
_LEAST_NUCLEUS = 0.2


def leave_out_unlikely(instances: Instances, image: np.ndarray, red: RedCells | None) -> Instances:
    """Leave out instances that are unsure, or hold nothing darker than a red cell: no nucleus.

    Parameters
    ----------
    instances : Instances
    image : ndarray of float32, shape (h, w, 3)
        What the network took, at the scale of the instances.
    red : RedCells or None
    """
    from scipy import ndimage

    labels = instances.labels
    out = []
    for index, window in enumerate(ndimage.find_objects(labels), 1):
        if window is None:
            continue
        if instances.certainty.get(index, 1.0) < _LEAST_CERTAINTY:
            out.append(index)
        elif red is not None:
            inside = density_of(image[window][labels[window] == index])
            nucleus = (inside > _DARKER * density_of(red.stain) + 0.02).any(axis=-1)
            if nucleus.mean() < _LEAST_NUCLEUS:
                out.append(index)
    if not out:
        return instances
    certainty = {index: sure for index, sure in instances.certainty.items() if index not in out}
    return Instances(np.where(np.isin(labels, out), 0, labels).astype(np.int32), certainty)


def typical_diameter(areas: np.ndarray) -> float:
    """Return the median diameter, by area: platelets, though many, do not count for much.

    Parameters
    ----------
    areas : ndarray, shape (n,)
        Of the cells, square pixels; 0 counts for nothing.

    Returns
    -------
    float
        Pixels; 0 without a cell.
    """
    areas = np.sort(areas)
    if not areas.any():
        return 0.0
    cumulated = np.cumsum(areas)
    return float(2 * np.sqrt(areas[np.searchsorted(cumulated, cumulated[-1] / 2)] / np.pi))


def too_small(areas: np.ndarray, cut: np.ndarray, red_cell: float | None) -> np.ndarray:
    """Say which cells are much smaller than the others, or smaller than a red cell.

    Parameters
    ----------
    areas : ndarray, shape (n,)
        Square pixels; 0 counts for nothing.
    cut : ndarray of bool, shape (n,)
        Cells that the image border cuts; they may be smaller.
    red_cell : float or None
        Diameter of the red cells, pixels.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    typical = typical_diameter(areas)
    smallest = _SMALLEST_OF_TYPICAL * typical
    if red_cell is not None:
        smallest = max(smallest, SMALLEST_WHITE_CELL * red_cell)
        typical = max(typical, TYPICAL_WHITE_CELL * red_cell)
    return areas < np.pi / 4 * np.where(cut, _SHOWING_AT_BORDER * typical, smallest) ** 2


def leave_out_small(found: Found, image: np.ndarray, red: RedCells | None) -> Found:
    """Leave out what is much smaller than the other cells, or smaller than a red cell.

    Cells that the image border cuts may be smaller.

    Parameters
    ----------
    found : Found
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    red : RedCells or None
        Where they could not be measured, what else is stained is the ruler.
    """
    if not found.labels.any():
        return found
    if red is not None:
        red_cell: float | None = red.diameter
    else:
        others = width_of_others(image, found.labels)
        red_cell = None if others is None else others * SMALLEST_BESIDE_OTHERS / SMALLEST_WHITE_CELL
    labels = found.labels
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    cut = np.zeros(len(areas), bool)
    cut[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = True
    small = too_small(areas, cut, red_cell)
    small[0] = False
    if not small.any():
        return found
    return replace(found, labels=np.where(small[labels], 0, labels).astype(np.int32))
