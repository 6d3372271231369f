"""What a careful afternoon with scikit-image gives: a threshold on the nuclear stain and a watershed.

No training and no parameter per data set. The nuclei of white cells are what absorbs most
red light and much more of it than of blue; Otsu's threshold on that, in optical density,
finds them. Their size says how large the cells are; a second threshold inside a disc of
that size finds the cytoplasm; a watershed on the distance to the nuclei parts the cells.
"""

from __future__ import annotations

import numpy as np

#: A nucleus fills about this share of its cell's diameter.
_NUCLEUS_SHARE = 0.65
_WORKING_SIDE = 1024
#: Optical density beyond which a camera tells nothing any more.
_DEEPEST = 1.5
#: Red cells stay below this, chromatin does not.
_LEAST_DENSITY = 0.5
_LEAST_NUCLEUS = 0.35


def segment_classically(image: np.ndarray) -> np.ndarray:
    """Find white cells with thresholds and a watershed.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.

    Returns
    -------
    ndarray of int32, shape (H, W)
    """
    from skimage.transform import resize

    scale = min(1.0, _WORKING_SIDE / max(image.shape[:2]))
    if scale == 1.0:
        return _segment(image)
    shape = tuple(max(1, round(side * scale)) for side in image.shape[:2])
    small = resize(image, (*shape, 3), anti_aliasing=True, preserve_range=True)
    labels = _segment(small)
    return resize(labels, image.shape[:2], order=0, preserve_range=True, anti_aliasing=False).astype(np.int32)


def _segment(image: np.ndarray) -> np.ndarray:
    from scipy import ndimage
    from skimage.filters import gaussian, threshold_multiotsu, threshold_otsu
    from skimage.measure import label, regionprops
    from skimage.morphology import disk, opening
    from skimage.segmentation import watershed

    from napari_wbcseg.images.illumination import background_colour, transmittance

    nothing = np.zeros(image.shape[:2], np.int32)
    light = np.maximum(transmittance(image, background_colour(image)), 1 / 255)
    density = gaussian(np.minimum(-np.log(light), _DEEPEST), 1.0, channel_axis=-1)
    lit = image.max(axis=-1) > 30  # not the dark edge of the microscope's field
    # Chromatin absorbs red and green and lets blue pass; red cells absorb blue most, red least.
    stain = np.where(lit, np.clip(density[..., 0] + density[..., 1] - density[..., 2], 0, None), 0)
    try:
        high = threshold_multiotsu(stain[lit], 3)[-1]
    except ValueError:  # fewer than three grey levels: an empty picture
        return nothing
    if high < _LEAST_DENSITY:
        return nothing
    nuclei = opening(stain > high, disk(2))
    # Lobes of one nucleus lie closer together than they are large.
    pieces = [region for region in regionprops(label(nuclei)) if region.area >= 30]
    if not pieces:
        return nothing
    largest = max(region.equivalent_diameter_area for region in pieces)
    gap = 0.2 * largest
    grown = ndimage.distance_transform_edt(~nuclei) <= gap
    nuclei |= ndimage.distance_transform_edt(grown) > gap
    regions = [r for r in regionprops(label(nuclei)) if r.area >= 30]
    # The typical nucleus, weighted by area, since platelets may outnumber the cells.
    sizes = np.array([r.equivalent_diameter_area for r in regions])
    order = np.argsort(sizes)
    weight = np.cumsum(sizes[order] ** 2)
    typical = float(sizes[order][np.searchsorted(weight, weight[-1] / 2)])
    markers = np.zeros(image.shape[:2], np.int32)
    for number, region in enumerate(regions, 1):
        if region.equivalent_diameter_area >= _LEAST_NUCLEUS * typical:
            markers[region.slice][region.image] = number
    reach = (1 / _NUCLEUS_SHARE - 1) * typical / 2
    distance = ndimage.distance_transform_edt(markers == 0)
    total = density.sum(axis=-1)
    near = (distance <= 1.6 * reach) & lit
    cell = total > 0.4 * threshold_otsu(total[near])
    body = ((distance <= reach) & cell) | (markers > 0)
    body = opening(body, disk(max(1, round(0.05 * typical)))) | (markers > 0)
    labels = watershed(distance, markers, mask=ndimage.binary_fill_holes(body))
    return np.asarray(labels, dtype=np.int32)
