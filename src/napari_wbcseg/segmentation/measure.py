"""One row of measurements a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Columns of the table of cells, in order.
COLUMNS = (
    "label",
    "row",
    "col",
    "area",
    "diameter",
    "perimeter",
    "circularity",
    "eccentricity",
    "mean_stain",
    "nucleus_area",
    "nc_ratio",
    "lobes",
    "touching",
    "border",
    "certainty",
    "check",
)


def number_in_reading_order(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber labels 1..n by their first pixel, top to bottom and left to right.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)

    Returns
    -------
    ordered : ndarray of int32, shape (H, W)
    originals : ndarray of int64, shape (n,)
        The old number of each new label, in order.
    """
    values, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    keep = values != 0
    order = np.argsort(first[keep], kind="stable")
    new = np.zeros(len(values), np.int32)
    new[np.flatnonzero(keep)[order]] = np.arange(1, keep.sum() + 1, dtype=np.int32)
    return new[inverse].reshape(labels.shape), values[keep][order].astype(np.int64)


def optical_density(pixels: np.ndarray) -> np.ndarray:
    """Return how much light each pixel absorbs, averaged over the colours.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3)
        RGB, 0 to 255.

    Returns
    -------
    ndarray of float32, shape (H, W)
        Base 10; 0 on the empty slide (Ruifrok & Johnston, 2001).
    """
    from ..data.illumination import background_colour, transmittance

    passed = transmittance(pixels, background_colour(pixels))
    return np.maximum(-np.log10(np.maximum(passed, 0.01)).mean(axis=-1), 0).astype(np.float32)


def measure_cells(
    labels: np.ndarray,
    pixels: np.ndarray,
    certainty: dict[int, float] | None = None,
    check_below: float = 0.0,
    density: np.ndarray | None = None,
) -> pd.DataFrame:
    """Measure each cell of a label image.

    Parameters
    ----------
    labels : ndarray of int32, shape (H, W)
        0 is background.
    pixels : ndarray, shape (H, W, 3)
        RGB, 0 to 255.
    certainty : dict, optional
        Certainty of labels, in [0, 1]; 1 where not given.
    check_below : float
        Cells less certain than this have ``check`` set.
    density : ndarray of float32, shape (H, W), optional
        Optical density, where it is known already.

    Returns
    -------
    DataFrame
        A row a label, ordered by label, with the columns `COLUMNS`: ``row``, ``col`` of
        the centroid, ``diameter`` of the disc of the same area and ``perimeter`` in
        pixels, areas in square pixels, ``circularity`` 4 pi area / perimeter^2 (1 for a
        disc), ``mean_stain`` the mean optical density, the nucleus by Otsu's threshold on
        the density inside the cell, ``nc_ratio`` its area over that of the rest of the
        cell, ``lobes`` its parts, ``touching`` another cell, ``border`` cut by the image.
    """
    import pandas as pd
    from skimage.measure import regionprops

    density = optical_density(pixels) if density is None else density
    touching = touching_labels(labels)
    height, width = labels.shape
    rows = []
    for region in regionprops(labels):
        r0, c0, r1, c1 = region.bbox
        area = float(region.area)
        perimeter = float(region.perimeter_crofton)
        inside = density[region.slice]
        nucleus_area, lobes = _nucleus(inside, region.image)
        sure = (certainty or {}).get(region.label, 1.0)
        rows.append(
            (
                region.label,
                region.centroid[0],
                region.centroid[1],
                area,
                region.equivalent_diameter_area,
                perimeter,
                min(4 * np.pi * area / perimeter**2, 1.0) if perimeter > 0 else 1.0,
                region.eccentricity,
                float(inside[region.image].mean()),
                nucleus_area,
                nucleus_area / (area - nucleus_area) if area > nucleus_area else np.inf,
                lobes,
                region.label in touching,
                r0 == 0 or c0 == 0 or r1 == height or c1 == width,
                sure,
                sure < check_below,
            )
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if not rows:
        whole, flags = ("label", "lobes"), ("touching", "border", "check")
        table = table.astype(
            {name: "int64" if name in whole else bool if name in flags else "float64" for name in COLUMNS}
        )
    return table


def _nucleus(density: np.ndarray, mask: np.ndarray) -> tuple[float, int]:
    """Return the area and the number of lobes of the densest part of a cell."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    values = density[mask]
    if values.size < 16 or np.ptp(values) < 1e-3:
        return 0.0, 0
    nucleus = mask & (density > threshold_otsu(values))
    parts, count = ndimage.label(ndimage.binary_opening(nucleus))
    if not count:
        return float(nucleus.sum()), 0
    areas = np.bincount(parts.ravel())[1:]
    return float(nucleus.sum()), int((areas >= 0.04 * mask.sum()).sum())


def touching_labels(labels: np.ndarray) -> set[int]:
    """Return the labels that share an edge with another label, a gap of one pixel allowed.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
    """
    found: set[int] = set()
    for axis in (0, 1):
        for step in (1, 2):
            along = np.swapaxes(labels, 0, axis)
            a, b = along[:-step], along[step:]
            meet = (a != b) & (a != 0) & (b != 0)
            found.update(np.unique(a[meet]).tolist())
            found.update(np.unique(b[meet]).tolist())
    return found
