"""One row of measurements a cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classification.classes import CLASS, CLASS_BY, CLASS_PROBABILITY

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
    "pieces",
    "touching",
    "border",
    CLASS,
    CLASS_PROBABILITY,
    CLASS_BY,
    "certainty",
    "check",
)

#: What the powers of a length are measured in, for columns that have a unit.
LENGTHS = {"diameter": 1, "perimeter": 1, "area": 2, "nucleus_area": 2}

#: Columns of whole numbers, and of yes and no.
WHOLE_COLUMNS, FLAG_COLUMNS = ("label", "lobes", "pieces"), ("touching", "border", "check")

#: Columns that are not measured: what a model or a person said of the cell.
KNOWN_COLUMNS = (CLASS, CLASS_PROBABILITY, CLASS_BY, "certainty", "check")

#: Columns that need an image besides the labels.
STAIN_COLUMNS = ("mean_stain", "nucleus_area", "nc_ratio", "lobes")

_SHAPE = ("area", "bbox", "centroid")
_LARGEST_LABEL = 2**16  # up to which labels are measured under their own number


@dataclass(frozen=True)
class NucleusParameters:
    """How the nucleus is told from the rest of a cell: choices of this package, from no paper.

    Attributes
    ----------
    fewest_pixels : int
        Square pixels of a cell that has a nucleus.
    least_spread : float
        Of optical density; a cell of one tone has no nucleus.
    least_lobe : float
        Share of the cell's area that a lobe has; smaller parts are granules.
    """

    fewest_pixels: int = 16
    least_spread: float = 1e-3
    least_lobe: float = 0.04


NUCLEUS = NucleusParameters()


def absorbed(colours: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the optical density of colours, averaged over the channels.

    Parameters
    ----------
    colours : ndarray, shape (..., 3)
        RGB, 0 to 255.
    background : ndarray, shape (3,)
        Colour of the empty slide.

    Returns
    -------
    ndarray of float32, shape (...)
        Base 10; 0 on the empty slide, 2 at most (Ruifrok & Johnston, 2001).
    """
    from ..images.illumination import transmittance

    passed = np.maximum(transmittance(colours, background), 0.01)
    return np.maximum(-np.log10(passed).mean(axis=-1), 0).astype(np.float32)


def measure_labels(
    labels: np.ndarray,
    density: np.ndarray | None = None,
    only: Collection[int] | None = None,
    origin: tuple[int, int] = (0, 0),
    image_shape: tuple[int, ...] | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Measure labels of an image, or of a part of one, with scikit-image.

    Parameters
    ----------
    labels : ndarray of int or bool, shape (H, W)
        0 is background; of the labels that are measured there is all of it.
    density : ndarray of float32, shape (H, W), optional
        Without it the columns of the stain are NaN, and 0 lobes.
    only : collection of int, optional
        Measure these labels.
    origin : tuple of int
        Where the first row and column lie in the whole image.
    image_shape : tuple of int, optional
        Rows and columns of the whole image.

    Returns
    -------
    table : DataFrame
        A row a label, ordered by label, with the columns `COLUMNS`: ``row``, ``col`` of
        the centroid, ``diameter`` of the disc of the same area and ``perimeter`` (Crofton's)
        in pixels, areas in square pixels, ``circularity`` 4 pi area / perimeter^2 (1 for a
        disc), ``eccentricity`` of the ellipse of the same second moments, ``mean_stain`` the
        mean optical density, the nucleus by Otsu's threshold on the density inside the cell,
        ``nc_ratio`` its area over that of the rest of the cell, ``lobes`` its parts,
        ``pieces`` the connected parts of the cell itself, ``touching`` another cell,
        ``border`` cut by the image. No cell has a class, every ``certainty`` is 1, and no
        ``check`` is set.
    boxes : ndarray of int64, shape (n, 4)
        ``row0, col0, row1, col1`` in the whole image, with exclusive ends.
    """
    import pandas as pd

    stained = density is not None
    found, numbers = region_properties(
        labels,
        only,
        (*_SHAPE, "perimeter_crofton", "eccentricity"),
        density,
        (_pieces, _stain)[: 1 + stained],
    )
    count, area = len(numbers), found["area"].astype(float)
    perimeter = found["perimeter_crofton"].astype(float)
    boxes = np.stack([found[f"bbox-{side}"] for side in range(4)], axis=1).astype(np.int64)
    boxes += np.array([*origin, *origin])
    height, width = labels.shape if image_shape is None else image_shape
    unknown = np.full(count, np.nan)
    nucleus = found["_stain-1"] if stained else unknown
    rest = area - nucleus
    with np.errstate(divide="ignore", invalid="ignore"):
        circularity = np.where(perimeter > 0, np.minimum(4 * np.pi * area / perimeter**2, 1.0), 1.0)
        ratio = np.where(rest > 0, nucleus / rest, np.where(np.isnan(rest), np.nan, np.inf))
    columns = {
        "label": numbers,
        "row": found["centroid-0"] + origin[0],
        "col": found["centroid-1"] + origin[1],
        "area": area,
        "diameter": 2 * np.sqrt(area / np.pi),
        "perimeter": perimeter,
        "circularity": circularity,
        "eccentricity": found["eccentricity"].astype(float),
        "mean_stain": found["_stain-0"] if stained else unknown,
        "nucleus_area": nucleus,
        "nc_ratio": ratio,
        "lobes": found["_stain-2"].astype(np.int64) if stained else np.zeros(count, np.int64),
        "pieces": found["_pieces"].astype(np.int64),
        "touching": np.isin(numbers, _touching(labels)),
        "border": (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == (height, width)).any(axis=1),
        CLASS: pd.Series("", range(count), dtype="str"),
        CLASS_PROBABILITY: np.full(count, np.nan),
        CLASS_BY: pd.Series("", range(count), dtype="str"),
        "certainty": np.ones(count),
        "check": np.zeros(count, bool),
    }
    return pd.DataFrame(columns, columns=list(COLUMNS)), boxes


def region_properties(
    labels: np.ndarray,
    only: Collection[int] | None = None,
    properties: Sequence[str] = _SHAPE,
    density: np.ndarray | None = None,
    extra: Sequence[Callable[..., Any]] = (),
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return `skimage.measure.regionprops_table` of any labels, however large, and the labels, ascending."""
    from skimage.measure import regionprops_table

    labels = labels.view(np.uint8) if labels.dtype == bool else labels
    if not labels.size:
        labels, density = (
            np.zeros((1, 1), np.uint8),
            None if density is None else np.zeros((1, 1), np.float32),
        )
    if only is not None:
        labels = np.where(np.isin(labels, list(only)), labels, 0)
    numbers = None
    if labels.min() < 0 or labels.max() > _LARGEST_LABEL:  # there is a box for every number up to the largest
        inside = labels != 0
        numbers, which = np.unique(labels[inside], return_inverse=True)
        labels = np.zeros(labels.shape, np.int32)
        labels[inside] = which + 1
    found = regionprops_table(
        labels.astype(np.int32, copy=False), density, ("label", *properties), extra_properties=extra
    )
    ranks = found["label"].astype(np.int64)
    return found, ranks if numbers is None else numbers[ranks - 1].astype(np.int64)


def _pieces(mask: np.ndarray) -> int:
    """Count the connected parts of a cell, pixels that meet at a corner being connected."""
    from scipy import ndimage

    return int(ndimage.label(mask, np.ones((3, 3)))[1])


def _stain(mask: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return the mean density of a cell, the area of its nucleus, and the number of its lobes.

    The nucleus is what is denser than Otsu's threshold (Otsu, 1979) of the cell's own densities,
    256 levels; its lobes are the parts that remain after a morphological opening by a cross of
    three pixels and are no granules, see `NucleusParameters`.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    values = density[mask]
    mean = values.mean(dtype=np.float64)
    if values.size < NUCLEUS.fewest_pixels or np.ptp(values) < NUCLEUS.least_spread:
        return np.array([mean, 0.0, 0.0])
    nucleus = mask & (density > threshold_otsu(values))
    parts, _ = ndimage.label(ndimage.binary_opening(nucleus))
    lobes = np.count_nonzero(np.bincount(parts.ravel())[1:] >= NUCLEUS.least_lobe * values.size)
    return np.array([mean, np.count_nonzero(nucleus), lobes])


def _touching(labels: np.ndarray) -> np.ndarray:
    """Return the labels that share an edge with another one, a gap of one pixel allowed."""
    met = [np.zeros(0, labels.dtype)]
    for turned in (labels, labels.T):
        for gap in (1, 2):
            one, other = turned[gap:], turned[:-gap]
            meet = (one != other) & (one != 0) & (other != 0)
            met += [one[meet], other[meet]]
    return np.unique(np.concatenate(met))


def in_physical_units(cells: pd.DataFrame, pixel_size: tuple[float, float]) -> pd.DataFrame:
    """Return the table with lengths and areas in the unit of the pixel size, such as micrometres.

    Parameters
    ----------
    cells : DataFrame
        With columns of `measure_labels`, in pixels.
    pixel_size : tuple of float
        Height and width of a pixel. Where they differ by more than 1 %, perimeter, circularity
        and eccentricity, which were measured on square pixels, become NaN.

    Returns
    -------
    DataFrame
        A copy; ``row`` and ``col`` stay in pixels.
    """
    height, width = pixel_size
    side = float(np.sqrt(height * width))
    table = cells.copy()
    for name, power in LENGTHS.items():
        if name in table:
            table[name] = table[name] * side**power
    if abs(height - width) > 0.01 * side:
        for name in ("perimeter", "circularity", "eccentricity"):
            if name in table:
                table[name] = np.nan
    return table
