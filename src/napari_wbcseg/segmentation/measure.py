"""One row of measurements a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .nucleus import Stains, measure_stains, pixels_of
from .runs import Runs, find_runs, measure_shapes

if TYPE_CHECKING:
    import pandas as pd

    from .runs import Shapes

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
    "kind",
    "certainty",
    "check",
)

#: What the powers of a length are measured in, for columns that have a unit.
LENGTHS = {"diameter": 1, "perimeter": 1, "area": 2, "nucleus_area": 2}

#: Columns of whole numbers, and of yes and no.
WHOLE_COLUMNS, FLAG_COLUMNS = ("label", "lobes", "pieces"), ("touching", "border", "check")

#: Columns that need an image besides the labels.
STAIN_COLUMNS = ("mean_stain", "nucleus_area", "nc_ratio", "lobes")

#: Pixels whose colours are held at once.
CHUNK = 2**21


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
    # Cells cover little of a smear, so only their pixels are sorted.
    inside = np.flatnonzero(labels)
    values, first, inverse = np.unique(labels.ravel()[inside], return_index=True, return_inverse=True)
    order = np.argsort(first)
    new = np.empty(len(values), np.int32)
    new[order] = np.arange(1, len(values) + 1, dtype=np.int32)
    ordered = np.zeros(labels.size, np.int32)
    ordered[inside] = new[inverse]
    return ordered.reshape(labels.shape), values[order].astype(np.int64)


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
    from ..images.illumination import background_colour

    return absorbed(pixels, background_colour(pixels))


def density_inside(runs: Runs, pixels: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the optical density of the pixels of runs only, in reading order.

    Parameters
    ----------
    runs : Runs
    pixels : ndarray, shape (H, W, 3)
        RGB, 0 to 255.
    background : ndarray, shape (3,)
        Colour of the empty slide, from `napari_wbcseg.images.illumination.background_colour`.

    Returns
    -------
    ndarray of float32, shape (p,)
        As `optical_density` gives it.
    """
    colours = pixels.reshape(-1, 3)
    at = pixels_of(runs, pixels.shape[1])
    density = np.empty(at.size, np.float32)
    for start in range(0, at.size, CHUNK):
        part = slice(start, start + CHUNK)
        density[part] = absorbed(colours[at[part]], background)
    return density


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
        Base 10; 0 on the empty slide, 2 at most.
    """
    from ..images.illumination import transmittance

    passed = np.maximum(transmittance(colours, background), 0.01)
    return np.maximum(-np.log10(passed).mean(axis=-1), 0).astype(np.float32)


def measure_cells(
    labels: np.ndarray,
    pixels: np.ndarray,
    certainty: dict[int, float] | None = None,
    check_below: float = 0.0,
    density: np.ndarray | None = None,
) -> pd.DataFrame:
    """Measure each cell of a label image; ten thousand cells take about a second.

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
        cell, ``lobes`` its parts, ``pieces`` the connected parts of the cell itself,
        ``touching`` another cell, ``border`` cut by the image.
    """
    from ..images.illumination import background_colour

    runs = find_runs(labels)
    if density is None:
        values = density_inside(runs, np.asarray(pixels), background_colour(pixels))
    else:
        values = density.ravel()[pixels_of(runs, labels.shape[1])]
    table = cell_table(runs, measure_shapes(runs), labels.shape, measure_stains(runs, values))
    known = certainty or {}
    table["certainty"] = np.array([known.get(number, 1.0) for number in runs.numbers.tolist()], float)
    table["check"] = table["certainty"] < check_below
    return table


def cell_table(
    runs: Runs,
    shapes: Shapes,
    image_shape: tuple[int, ...],
    stains: Stains | None = None,
    origin: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Put what was measured into a table of the columns `COLUMNS`.

    Parameters
    ----------
    runs, shapes, stains
        What `measure_shapes` and `measure_stains` tell of the runs; without stains their columns
        are NaN, and 0 lobes.
    image_shape : tuple of int
        Rows and columns of the whole image.
    origin : tuple of int
        Where the runs' first row and column lie in it.

    Returns
    -------
    DataFrame
        A row a label; every ``kind`` is a white cell, every ``certainty`` 1, and no ``check`` is set.
    """
    import pandas as pd

    count, area = len(runs.numbers), shapes.area
    top, left = origin
    row0, col0, row1, col1 = shapes.box.T
    unknown = np.full(count, np.nan)
    nucleus = unknown if stains is None else stains.nucleus
    rest = area - nucleus
    with np.errstate(divide="ignore", invalid="ignore"):
        circularity = np.where(
            shapes.perimeter > 0, np.minimum(4 * np.pi * area / shapes.perimeter**2, 1.0), 1.0
        )
        ratio = np.where(rest > 0, nucleus / rest, np.where(np.isnan(rest), np.nan, np.inf))
    columns = {
        "label": runs.numbers.astype(np.int64),
        "row": shapes.row + top,
        "col": shapes.col + left,
        "area": area,
        "diameter": 2 * np.sqrt(area / np.pi),
        "perimeter": shapes.perimeter,
        "circularity": circularity,
        "eccentricity": shapes.eccentricity,
        "mean_stain": unknown if stains is None else stains.mean,
        "nucleus_area": nucleus,
        "nc_ratio": ratio,
        "lobes": np.zeros(count, np.int64) if stains is None else stains.lobes,
        "pieces": shapes.pieces,
        "touching": shapes.touching,
        "border": (row0 + top == 0)
        | (col0 + left == 0)
        | (row1 + top == image_shape[0])
        | (col1 + left == image_shape[1]),
        "kind": pd.Series("white cell", range(count), dtype="str"),
        "certainty": np.ones(count),
        "check": np.zeros(count, bool),
    }
    return pd.DataFrame(columns, columns=list(COLUMNS))


def in_physical_units(cells: pd.DataFrame, pixel_size: tuple[float, float]) -> pd.DataFrame:
    """Return the table with lengths and areas in the unit of the pixel size, such as micrometres.

    Parameters
    ----------
    cells : DataFrame
        With columns of `measure_cells`, in pixels.
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
