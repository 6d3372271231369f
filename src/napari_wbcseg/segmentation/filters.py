"""What is left out after the network has spoken: what it is not sure of, and what is too small.

Neither overrules a cell that the network is sure of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .instances import Instances
from .prediction import Maps


@dataclass(frozen=True)
class FilterParameters:
    """By what detections are left out.

    Attributes
    ----------
    least_certainty : float
        In [0, 1].
    sure : float
        Certainty from which on a cell is kept though it is small.
    smallest_of_typical : float
        Diameter over that of the other cells: a small lymphocyte is about half as wide as a large
        monocyte, a platelet not a third.
    smallest_of_red, smallest_of_several : float
        Diameter over that of the red cells: no white cell is much smaller. Where several cells are
        likely, the red cells may be mistaken, since clumps of them pass for large ones.
    several, likely : int, float
        So many cells of that certainty are several.
    smallest_of_many : float
        The same as ``smallest_of_red`` where so many red cells are seen that their size is sure.
    showing_at_border : float
        The same for a cell that the border cuts: an eighth of its area shows.
    platelet, red_cell : float
        Mean probability of a platelet, and of a red cell, over a detection from which on it is one.
    """

    least_certainty: float = 0.45
    sure: float = 0.97
    smallest_of_typical: float = 0.42
    smallest_of_red: float = 0.9
    smallest_of_several: float = 0.6
    several: int = 4
    likely: float = 0.8
    smallest_of_many: float = 1.0
    showing_at_border: float = 0.35
    platelet: float = 0.5
    red_cell: float = 0.5


PARAMETERS = FilterParameters()


def leave_out_unlikely(instances: Instances, maps: Maps) -> Instances:
    """Leave out instances that are unsure, platelets or red cells.

    Parameters
    ----------
    instances : Instances
    maps : Maps
        At the scale of the instances.
    """
    labels = instances.labels
    areas = np.maximum(np.bincount(labels.ravel()), 1)
    platelet, red_cell = (
        np.bincount(labels.ravel(), part.ravel()) / areas for part in (maps.platelet, maps.red_cell)
    )
    out = [
        index
        for index, certainty in instances.certainty.items()
        if certainty < PARAMETERS.least_certainty
        or platelet[index] > PARAMETERS.platelet
        or red_cell[index] > PARAMETERS.red_cell
    ]
    if not out:
        return instances
    certainty = {index: sure for index, sure in instances.certainty.items() if index not in out}
    return replace(
        instances, labels=np.where(np.isin(labels, out), 0, labels).astype(np.int32), certainty=certainty
    )


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


def too_small(
    areas: np.ndarray, cut: np.ndarray, certainty: np.ndarray, red_cell: float | None, many: bool = False
) -> np.ndarray:
    """Say which cells are much smaller than the others, or smaller than a red cell.

    Parameters
    ----------
    areas : ndarray, shape (n,)
        Square pixels; 0 counts for nothing.
    cut : ndarray of bool, shape (n,)
        Cells that the image border cuts; they may be smaller.
    certainty : ndarray, shape (n,)
        Cells surer than `FilterParameters.sure` are kept.
    red_cell : float or None
        Diameter of the red cells, pixels.
    many : bool
        Whether that was measured on many.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    typical = typical_diameter(areas)
    smallest = PARAMETERS.smallest_of_typical * typical
    if red_cell is not None:
        several = np.count_nonzero((areas > 0) & (certainty >= PARAMETERS.likely)) >= PARAMETERS.several
        of_red = PARAMETERS.smallest_of_several if several else PARAMETERS.smallest_of_red
        smallest = max(smallest, (PARAMETERS.smallest_of_many if many else of_red) * red_cell)
    least = np.where(cut, PARAMETERS.showing_at_border * typical, smallest)
    return (areas < np.pi / 4 * least**2) & (certainty < PARAMETERS.sure)
