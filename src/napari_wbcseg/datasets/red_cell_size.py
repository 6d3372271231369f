"""The diameter of lone round red cells: what brings pictures without a white cell to scale."""

from __future__ import annotations

from functools import reduce

import numpy as np

#: White cells are typically this many red cell diameters across: 1.7 and 1.85 in two laboratories.
TYPICAL_WHITE_CELL = 1.75
_WORKING_PIXELS = 1_000_000
_LEAST_CELLS = 5
_LEAST_AREA = 40
_OCTAVES = 0.3
_AGREEING = 0.6


def red_cell_diameter(absorbed: np.ndarray) -> float | None:
    """Measure the typical red cell of a picture.

    Stained regions (Otsu's threshold on the most absorbed colour, holes filled) that are
    single, round and of one size are red cells, where these are hundreds of times as many
    as everything else.

    Parameters
    ----------
    absorbed : ndarray of float32, shape (H, W, 3)
        0 on the empty slide, larger where stain absorbs.

    Returns
    -------
    float or None
        Pixels; None where fewer than five red cells stand alone, or their sizes disagree.
    """
    import cv2
    from scipy import ndimage
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops

    factor = min(1.0, float(np.sqrt(_WORKING_PIXELS / (absorbed.shape[0] * absorbed.shape[1]))))
    small = cv2.resize(absorbed, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    most = reduce(np.maximum, np.moveaxis(small, -1, 0))
    # Dark white cells would pull the threshold up, so they count no more than a dense red cell.
    told = np.clip(most, 0, np.percentile(most, 90))
    if np.ptp(told) < 0.02:
        return None
    stained = ndimage.binary_fill_holes(most > threshold_otsu(told))
    diameters = []
    for region in regionprops(label(ndimage.binary_opening(stained))):
        r0, c0, r1, c1 = region.bbox
        inside = r0 > 0 and c0 > 0 and r1 < stained.shape[0] and c1 < stained.shape[1]
        round_one = max(r1 - r0, c1 - c0) < 1.5 * min(r1 - r0, c1 - c0) and region.solidity > 0.9
        if inside and round_one and region.area >= _LEAST_AREA:
            diameters.append(region.equivalent_diameter_area)
    if len(diameters) < _LEAST_CELLS:
        return None
    octaves = np.sort(np.log2(diameters))
    # By area, so that platelets and specks do not count for much.
    share = np.cumsum(np.exp2(2 * octaves))
    agreeing = np.abs(octaves - octaves[np.searchsorted(share, share[-1] / 2)]) < _OCTAVES
    if agreeing.sum() < _LEAST_CELLS or np.exp2(2 * octaves[agreeing]).sum() < _AGREEING * share[-1]:
        return None
    return float(np.exp2(np.median(octaves[agreeing])) / factor)
