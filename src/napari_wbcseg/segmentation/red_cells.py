"""The size of the red cells: a ruler that every smear brings along.

No white cell is much smaller than the red cells around it (a small lymphocyte is as
large as a red cell, a platelet a third of it), so the ruler tells cells from
platelets, specks and single lobes where the network alone might not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

_WORKING_PIXELS = 1_000_000
_LEAST_CELLS = 5
_LEAST_AREA = 40
_OCTAVES = 0.3
_AGREEING = 0.6
# Of all that is stained: where cells overlap everywhere, the few round specks are no red cells.
_LEAST_SHARE = 0.08
_ROUND = 0.9
_LEAST_RADIUS = 4.0
_MOST_OF_IMAGE = 0.4
_LEAST_CIRCLES = 2
_LEAST_IN_CIRCLES = 0.25
#: A white cell is at least this many red cell diameters across.
SMALLEST_WHITE_CELL = 0.9
#: The same where the width of what else is stained stands in for the red cells: a platelet is narrower.
SMALLEST_BESIDE_OTHERS = 0.7
#: White cells are typically this many, 1.7 and 1.85 in two laboratories, give or take.
TYPICAL_WHITE_CELL = 1.75
_SPREAD_OCTAVES = 0.45


@dataclass(frozen=True)
class RedCells:
    """The red cells of an image: ``diameter`` in pixels, ``stain`` of their denser part a channel."""

    diameter: float
    stain: np.ndarray


def find_red_cells(image: np.ndarray) -> RedCells | None:
    """Measure the typical red cell of an image.

    Stained regions (Otsu's threshold on the absorption, holes filled) that are single,
    round and of one size are red cells, since these are hundreds of times as many as
    white ones.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes: 0 on the empty slide, larger where stain absorbs.

    Returns
    -------
    RedCells or None
        None where fewer than five red cells stand alone, their sizes disagree, or they make
        up next to nothing of what is stained.
    """
    from scipy import ndimage
    from skimage.measure import label, regionprops

    small, factor = _working_copy(image)
    stained = _stained(small)
    if stained is None:
        return None
    stained = ndimage.binary_fill_holes(stained)
    regions = label(ndimage.binary_opening(stained, iterations=1))
    diameters, stains = [], []
    for region in regionprops(regions):
        r0, c0, r1, c1 = region.bbox
        inside = r0 > 0 and c0 > 0 and r1 < regions.shape[0] and c1 < regions.shape[1]
        if (
            inside
            and region.area >= _LEAST_AREA
            and max(r1 - r0, c1 - c0) < 1.5 * min(r1 - r0, c1 - c0)
            and region.area > 0.62 * (r1 - r0) * (c1 - c0)
            and region.solidity > 0.9
        ):
            diameters.append(region.equivalent_diameter_area)
            stains.append(np.percentile(small[region.slice][region.image], 75, axis=0))
    if len(diameters) < _LEAST_CELLS:
        return None
    order = np.argsort(diameters)
    octaves = np.log2(diameters)[order]
    # By area, so that platelets and specks do not count for much.
    share = np.cumsum(np.exp2(2 * octaves))
    middle = octaves[np.searchsorted(share, share[-1] / 2)]
    agreeing = np.abs(octaves - middle) < _OCTAVES
    area = np.exp2(2 * octaves[agreeing]).sum()
    if agreeing.sum() < _LEAST_CELLS or area < _AGREEING * share[-1]:
        return None
    if np.pi / 4 * area < _LEAST_SHARE * stained.sum():
        return None
    return RedCells(
        float(np.exp2(np.median(octaves[agreeing])) / factor),
        np.median(np.array(stains)[order][agreeing], axis=0),
    )


def density_of(stain: np.ndarray) -> np.ndarray:
    """Return the optical density, base e, of what the network takes, which is twice what is absorbed."""
    return np.asarray(-np.log(np.clip(1.0 - stain / 2.0, 0.02, None)))


def _working_copy(image: np.ndarray) -> tuple[np.ndarray, float]:
    from .resample import resample

    factor = min(1.0, float(np.sqrt(_WORKING_PIXELS / (image.shape[0] * image.shape[1]))))
    return resample(image, factor), factor


def _stained(image: np.ndarray, among: np.ndarray | None = None) -> np.ndarray | None:
    """Return where anything is stained, told by some of the pixels; none on an empty slide."""
    from skimage.filters import threshold_otsu

    # The most absorbed colour, so that red cells show whatever the stain. Dark white
    # cells would pull the threshold up, so they count no more than a dense red cell.
    absorbed = reduce(np.maximum, np.moveaxis(image, -1, 0))
    told = absorbed if among is None else absorbed[among]
    if not told.size:
        return None
    told = np.clip(told, 0, np.percentile(told, 90))
    if np.ptp(told) < 0.02:
        return None
    return np.asarray(absorbed > threshold_otsu(told))


def width_of_others(image: np.ndarray, labels: np.ndarray) -> float | None:
    """Return how wide the stained things are that are not among the cells found.

    Where too few red cells stand alone to be measured (a crop, a crowd), the largest
    circles that fit into what is stained are still no larger than red cells, and of one
    size: a heap holds hardly a larger one.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes.
    labels : ndarray of int, shape (H, W)
        The cells found; they do not take part.

    Returns
    -------
    float or None
        Pixels; none where no two circles agree, or the circles make up little
        of what is stained.
    """
    import cv2
    from skimage.feature import peak_local_max

    small, factor = _working_copy(image)
    size = small.shape[1], small.shape[0]
    cells = cv2.resize((labels > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    others = cv2.dilate(cells, np.ones((5, 5), np.uint8)) == 0
    stained = _stained(small, others)
    if stained is None:
        return None
    stained &= others
    stained = _without_pallor(stained)
    # The border of the image is no edge: half a red cell still shows how wide it is.
    depth = cv2.distanceTransform(stained.astype(np.uint8), cv2.DIST_L2, 5)
    widest = float(depth.max())
    # With stain everywhere there is no edge to tell a width by.
    if not _LEAST_RADIUS <= widest <= _MOST_OF_IMAGE * min(depth.shape):
        return None
    peaks = peak_local_max(
        depth, min_distance=max(2, int(0.7 * widest)), threshold_abs=0.5 * widest, exclude_border=False
    )
    radii = depth[tuple(peaks.T)]
    middle = float(np.median(radii))
    agree = np.abs(np.log2(radii / middle)) < _OCTAVES
    if agree.sum() < _LEAST_CIRCLES or np.pi * (radii[agree] ** 2).sum() < _LEAST_IN_CIRCLES * stained.sum():
        return None
    # The middle of one at least lies inside: the dark corners of uneven light hold wide circles too.
    from_border = np.minimum(peaks, np.array(depth.shape) - 1 - peaks).min(axis=1)
    if not (agree & (from_border > 0.5 * radii)).any():
        return None
    return 2 * middle / factor


def _without_pallor(stained: np.ndarray) -> np.ndarray:
    """Fill the pale middles of red cells, which are round, and not the gaps of a crowd, which are not."""
    from scipy import ndimage
    from skimage.measure import label, regionprops

    holes = label(ndimage.binary_fill_holes(stained) & ~stained, connectivity=1)
    filled = stained.copy()
    for hole in regionprops(holes):
        if hole.area < _LEAST_AREA or hole.solidity > _ROUND:
            filled[hole.slice] |= hole.image
    return filled


def size_likelihood(diameter: float, red_cell: float | None) -> float:
    """Return how likely it is that white cells are so large; 1 at best, or with red cells unknown."""
    if red_cell is None:
        return 1.0
    octaves = np.log2(diameter / (TYPICAL_WHITE_CELL * red_cell)) / _SPREAD_OCTAVES
    return float(np.exp(-0.5 * octaves**2))
