"""The diameter of lone round red cells: what brings pictures without a white cell to scale."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

#: White cells are typically this many red cell diameters across: 1.7 and 1.85 in two laboratories.
TYPICAL_WHITE_CELL = 1.75


@dataclass(frozen=True)
class RedCellParameters:
    """What is taken for a lone red cell, and when enough of them agree.

    Attributes
    ----------
    working_pixels : int
        The picture is looked at with so many at most.
    least_cells : int
        Below this nothing is said.
    percentile, least_contrast : float
        Percentile of what is absorbed above which all counts alike: dark white cells would pull Otsu's
        threshold up. Below that contrast nothing is stained.
    least_area : float
        Pixels of a cell in the picture looked at.
    most_oblong, least_solidity : float
        Of its sides, and its area over that of its convex hull.
    octaves, agreeing : float
        Cells this near to the median, in powers of two, are of one size; they take this share of all area.
    """

    working_pixels: int = 1_000_000
    least_cells: int = 5
    percentile: float = 90
    least_contrast: float = 0.02
    least_area: float = 40
    most_oblong: float = 1.5
    least_solidity: float = 0.9
    octaves: float = 0.3
    agreeing: float = 0.6


PARAMETERS = RedCellParameters()


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
    from scipy import ndimage
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops
    from skimage.segmentation import clear_border

    factor = min(1.0, float(np.sqrt(PARAMETERS.working_pixels / (absorbed.shape[0] * absorbed.shape[1]))))
    small = cv2.resize(absorbed, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    most = small.max(axis=-1)
    told = np.clip(most, 0, np.percentile(most, PARAMETERS.percentile))
    if np.ptp(told) < PARAMETERS.least_contrast:
        return None
    stained = ndimage.binary_fill_holes(most > threshold_otsu(told))
    diameters = []
    for region in regionprops(clear_border(label(ndimage.binary_opening(stained)))):
        oblong = max(region.image.shape) / min(region.image.shape)
        round_one = oblong < PARAMETERS.most_oblong and region.solidity > PARAMETERS.least_solidity
        if round_one and region.area >= PARAMETERS.least_area:
            diameters.append(region.equivalent_diameter_area)
    if len(diameters) < PARAMETERS.least_cells:
        return None
    octaves = np.sort(np.log2(diameters))
    # By area, so that platelets and specks do not count for much.
    share = np.cumsum(np.exp2(2 * octaves))
    agreeing = np.abs(octaves - octaves[np.searchsorted(share, share[-1] / 2)]) < PARAMETERS.octaves
    area = np.exp2(2 * octaves[agreeing]).sum()
    if agreeing.sum() < PARAMETERS.least_cells or area < PARAMETERS.agreeing * share[-1]:
        return None
    return float(np.exp2(np.median(octaves[agreeing])) / factor)
