"""One row of measurements a cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from ..box import Box, ranked
from ..classification.classes import CLASS, CLASS_BY, CLASS_PROBABILITY
from ..images.field_of_view import FieldOfView
from ..images.pixel_source import PixelSource, plane_sources

#: Columns that need an image besides the labels.
STAIN_COLUMNS = ("mean_stain", "nucleus_area", "nc_ratio", "lobes")

#: Columns that are not measured: what a model or a person said of the cell.
KNOWN_COLUMNS = (CLASS, CLASS_PROBABILITY, CLASS_BY, "certainty", "check")

#: Columns of the table of cells, in order.
COLUMNS = (
    *("label", "row", "col", "area", "diameter", "perimeter", "circularity", "eccentricity"),
    *(*STAIN_COLUMNS, "pieces", "touching", "border", *KNOWN_COLUMNS),
)

#: What the powers of a length are measured in, for columns that have a unit.
LENGTHS = {"diameter": 1, "perimeter": 1, "area": 2, "nucleus_area": 2}

#: Columns of whole numbers, and of yes and no.
WHOLE_COLUMNS, FLAG_COLUMNS = ("label", "lobes", "pieces"), ("touching", "border", "check")

_MEASURED = frozenset(COLUMNS) - {"label", *KNOWN_COLUMNS}
_OF_OUTLINES = "decision", "flag"  # that the review adds
_PLACES = ["row", "col", "area"]

#: Pixels from one cell to another that touches it, at most.
GAP = 2

_SAME = 0.01  # pixels and square pixels, that a table on disk may be rounded by
#: Share of what a cell was and is that it has in common: far more after a correction by hand, as of a nucleus
#: to the whole cell, and nothing where another cell has got its number, or all cells one.
_SHARED = 0.15


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
        What is not above 0 is background; of the labels that are measured there is all of it.
    density : ndarray of float32, shape (H, W), optional
        Without it the columns of the stain are NaN.
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
        ``border`` cut by the image. No cell has a class, no ``certainty`` is known, and no
        ``check`` is set.
    boxes : ndarray of int64, shape (n, 4)
        ``row0, col0, row1, col1`` in the whole image, with exclusive ends.
    """
    regions, numbers = find_regions(labels, only, density)
    count = len(numbers)
    area, perimeter, eccentricity = (
        np.array([getattr(region, name) for region in regions], float)
        for name in ("area", "perimeter_crofton", "eccentricity")
    )
    centroid = np.array([region.centroid for region in regions], float).reshape(-1, 2) + origin
    boxes = np.array([region.bbox for region in regions], np.int64).reshape(-1, 4) + np.tile(origin, 2)
    height, width = labels.shape if image_shape is None else image_shape
    if density is None:
        stain = np.full((count, 3), np.nan)
    else:
        stain = np.array([_stain(region.image, region.image_intensity) for region in regions]).reshape(-1, 3)
    nucleus = stain[:, 1]
    rest = area - nucleus
    with np.errstate(divide="ignore", invalid="ignore"):
        circularity = np.where(perimeter > 0, np.minimum(4 * np.pi * area / perimeter**2, 1.0), 1.0)
        ratio = np.where(rest > 0, nucleus / rest, np.where(np.isnan(rest), np.nan, np.inf))
    columns = {
        "label": numbers,
        "row": centroid[:, 0],
        "col": centroid[:, 1],
        "area": area,
        "diameter": 2 * np.sqrt(area / np.pi),
        "perimeter": perimeter,
        "circularity": circularity,
        "eccentricity": eccentricity,
        "mean_stain": stain[:, 0],
        "nucleus_area": nucleus,
        "nc_ratio": ratio,
        "lobes": stain[:, 2] if density is None else stain[:, 2].astype(np.int64),
        # Pixels that meet at a corner are connected.
        "pieces": np.array([ndimage.label(region.image, np.ones((3, 3)))[1] for region in regions], np.int64),
        "touching": np.isin(numbers, touching(labels)),
        "border": (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == (height, width)).any(axis=1),
        CLASS: "",
        CLASS_PROBABILITY: np.full(count, np.nan),
        CLASS_BY: "",
        "certainty": np.full(count, np.nan),
        "check": np.zeros(count, bool),
    }
    return pd.DataFrame(columns), boxes


def no_cells() -> pd.DataFrame:
    """Return the table of no cell, whose columns have their types."""
    return measure_labels(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32))[0]


def cut_by_field(
    labels: np.ndarray, field: FieldOfView | None, origin: tuple[int, int], image_shape: tuple[int, int]
) -> np.ndarray:
    """Return the labels that the edge of a field of view cuts, as the image does.

    Parameters
    ----------
    labels : ndarray of int, shape (h, w)
    field : FieldOfView or None
        None where the whole image shows the slide.
    origin, image_shape
        See `measure_labels`.
    """
    if field is None:
        return np.zeros(0, labels.dtype)
    part = Box(0, 0, *labels.shape).shifted(*origin)
    around = part.grown(1, image_shape)
    beyond = ndimage.binary_dilation(~field.inside(around))[part.relative_to(around).slices]
    return np.unique(labels[beyond])


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of some tables; one without any has columns of no type, which would change those."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def find_regions(
    labels: np.ndarray, only: Collection[int] | None = None, density: np.ndarray | None = None
) -> tuple[list[Any], np.ndarray]:
    """Return `skimage.measure.regionprops` of any labels, however large, and the labels, ascending."""
    from skimage.measure import regionprops

    if only is not None:
        labels = np.where(np.isin(labels, list(only)), labels, 0)
    ranks, numbers = ranked(labels)
    regions = regionprops(ranks, density) if len(numbers) else []
    return regions, numbers[np.array([region.label for region in regions], np.int64) - 1]


def _stain(mask: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return the mean density of a cell, the area of its nucleus, and the number of its lobes.

    The nucleus is what is denser than Otsu's threshold (Otsu, 1979) of the cell's own densities,
    256 levels; its lobes are the parts that remain after a morphological opening by a cross of
    three pixels and are no granules, see `NucleusParameters`.
    """
    from skimage.filters import threshold_otsu

    values = density[mask]
    mean = values.mean(dtype=np.float64)
    if values.size < NUCLEUS.fewest_pixels or np.ptp(values) < NUCLEUS.least_spread:
        return np.array([mean, 0.0, 0.0])
    nucleus = mask & (density > threshold_otsu(values))
    parts, _ = ndimage.label(ndimage.binary_opening(nucleus))
    lobes = np.count_nonzero(np.bincount(parts.ravel())[1:] >= NUCLEUS.least_lobe * values.size)
    return np.array([mean, np.count_nonzero(nucleus), lobes])


def touching(labels: np.ndarray) -> np.ndarray:
    """Return the labels that share an edge with another one, a gap of one pixel allowed."""
    met = [np.zeros(0, labels.dtype)]
    for turned in (labels, labels.T):
        for gap in range(1, GAP + 1):
            one, other = turned[gap:], turned[:-gap]
            meet = (one != other) & (one > 0) & (other > 0)
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
        for shape in table.filter(["perimeter", "circularity", "eccentricity"]):
            table[shape] = np.nan
    return table


# Labels that may have been edited since they were measured --------------------------------------------


def current_cells(
    labels: np.ndarray, table: Any, image: Any = None, backgrounds: Sequence[Sequence[float] | None] = ()
) -> tuple[pd.DataFrame, bool]:
    """Return a table that fits the labels: a row for each cell that is there now.

    A row stays as it is where the area and the centroid in it are those of the label. Cells
    that changed or are new are measured, see `measured_again`; those that are gone lose their row.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W) or (N, H, W)
    table : DataFrame or None
        Such as a layer's features: with a ``label``, or a row for each label from 0 on.
    image : array, optional
        What the stain of new cells is measured on; without it that stays unknown (NaN).
    backgrounds : sequence
        The colour of its empty slide, a plane each, see `plane_sources`.

    Returns
    -------
    cells : DataFrame
        In the order of planes and labels, with the columns of the table besides those measured.
    changed : bool
        Whether any row was measured, or lost.
    """
    known = known_rows(table)
    stacked = labels.ndim == 3
    planes = labels if stacked else labels[None]

    @cache
    def sources() -> Sequence[PixelSource | None]:  # of which all may be read: asked where a cell is new
        return [None] * len(planes) if image is None else plane_sources(image, stacked, backgrounds)

    parts, kept = [], 0
    for number, plane in enumerate(planes):
        rows = known[known["plane"] == number] if stacked and "plane" in known else known
        part, fitting = _plane_cells(plane, rows, number, sources)
        kept += fitting
        parts.append(part.assign(plane=number) if stacked else part)
    cells = joined(parts)
    return cells, kept != len(cells) or kept != len(known)


def known_rows(table: Any) -> pd.DataFrame:
    """Return the rows of a table that are of cells, with their label in a column."""
    known = pd.DataFrame() if table is None else pd.DataFrame(table)
    known = known.reset_index(drop=known.index.name != "label" or "label" in known)
    if not set(_PLACES) <= set(known):
        return pd.DataFrame({"label": np.zeros(0, np.int64)})
    if "label" not in known:
        # napari finds the row of a label by its position, or by this column.
        known = known.assign(label=known.get("index", np.arange(len(known))))
    for name in ("label", *_PLACES):  # another program may have made words of them
        known[name] = pd.to_numeric(known[name], errors="coerce")
    known = known[known["area"].notna() & (known["label"] > 0)]
    return known.drop(columns="index", errors="ignore").astype({"label": np.int64})


def fitting_rows(
    rows: pd.DataFrame, regions: list[Any], numbers: np.ndarray, origin: tuple[int, int] = (0, 0)
) -> pd.DataFrame:
    """Return the rows whose area and centroid are those of their label.

    Parameters
    ----------
    rows : DataFrame
    regions, numbers
        As `find_regions` returns them.
    origin : tuple of int
        Where the first row and column of these lie in the image.
    """
    if not len(rows) or not len(numbers):
        return rows.iloc[:0]
    place = np.searchsorted(numbers, rows["label"]).clip(max=len(numbers) - 1)
    same = numbers[place] == rows["label"].to_numpy()
    measured = np.array([(region.area, *np.add(region.centroid, origin)) for region in regions])[place]
    same &= (np.abs(measured - rows[["area", "row", "col"]].to_numpy(float)) < _SAME).all(axis=1)
    return rows[same].drop_duplicates("label")


def _plane_cells(
    plane: np.ndarray, rows: pd.DataFrame, number: int, sources: Callable[[], Sequence[PixelSource | None]]
) -> tuple[pd.DataFrame, int]:
    """Return the table of one plane, and how many of its rows were known."""
    regions, numbers = find_regions(plane)
    fits = fitting_rows(rows, regions, numbers)
    new = np.setdiff1d(numbers, fits["label"].to_numpy())
    if not len(new) and len(fits) == len(rows) > 0:
        return fits.sort_values("label"), len(fits)
    source = sources()[number] if len(new) else None
    cells, _ = measured_again(fits, rows, plane, new, source)
    if "touching" in cells:
        cells["touching"] = cells["label"].isin(touching(plane))  # the neighbours of what changed, too
    for name in cells.filter(FLAG_COLUMNS):
        cells[name] = cells[name].eq(True)
    for name in cells.filter(WHOLE_COLUMNS).dropna(axis=1):
        cells[name] = cells[name].astype(np.int64)
    return cells, len(fits)


def measured_again(
    table: pd.DataFrame | None,
    known: pd.DataFrame | None,
    labels: np.ndarray,
    only: Collection[int] | None = None,
    source: PixelSource | None = None,
    origin: tuple[int, int] = (0, 0),
    image_shape: tuple[int, ...] | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table of cells with rows measured anew for those that changed, are new, or are gone.

    What was said of a cell, by a person or a model, stays with it while it is still the cell that it was:
    its label is there, and it overlaps what that was (see `_SHARED`). A decision was on its outline, and
    goes with that. Cells in pieces are to check.

    Parameters
    ----------
    table : DataFrame or None
        A row a ``label``.
    known : DataFrame or None
        What was said of cells, by ``label``, and as what they were measured then.
    labels, only, origin, image_shape
        See `measure_labels`.
    source : PixelSource, optional
        The whole image; without it the stain is not known (NaN) but of cells that are as they were.

    Returns
    -------
    table : DataFrame
        Ordered by label.
    boxes : ndarray of int64, shape (n, 4)
        Of the cells that were measured, ordered by label.
    """
    density = None
    if source is not None:
        inside = labels != 0 if only is None else np.isin(labels, list(only))
        density = source.density(inside, origin)
    fresh, boxes = measure_labels(labels, density, only, origin, image_shape)
    if source is not None and len(fresh):
        cut = cut_by_field(labels, source.field_of_view, origin, source.shape)
        fresh["border"] |= fresh["label"].isin(cut)
    fresh["check"] = fresh["pieces"] > 1  # a slip; or a mask, whose cells have one number
    if known is not None:
        fresh = _with_said(fresh, known)
    if table is None:
        return fresh, boxes
    rest = table if only is None else table[~table["label"].isin(list(only))]
    parts = [rows for rows in (rest, fresh) if len(rows)] or [fresh]
    return pd.concat(parts).sort_values("label", ignore_index=True), boxes


def _with_said(fresh: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return measured cells with what was said of those of them that are still what they were."""
    known = known[known["label"].isin(fresh["label"])]
    before = known.drop_duplicates("label").set_index("label").reindex(fresh["label"]).set_axis(fresh.index)
    still = fresh["label"].isin(known["label"]) & _still_themselves(fresh, before)
    if {"check", "pieces"} <= set(before):  # what was in pieces was to check for that
        before["check"] = before["check"].eq(True) & ~(before["pieces"] > 1)
    for name, values in before.items():
        if name in _MEASURED:
            continue
        there = still & (name not in _OF_OUTLINES)
        if name not in fresh:
            fresh[name] = values.where(there, np.nan if values.dtype.kind in "biuf" else "")
        elif fresh[name].dtype == bool:
            fresh[name] |= values.eq(True) & there
        else:
            fresh[name] = values.where(there & values.notna(), fresh[name]).astype(fresh[name].dtype)
    return _with_unmeasurable(fresh, before)


def _with_unmeasurable(fresh: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Return cells with what labels alone do not tell, where their outline is as it was before.

    Where there is no image now, that is the edge of a field of view that cuts a cell, and the stain.
    """
    if not set(_PLACES) <= set(before):
        return fresh
    same = (fresh[_PLACES] - before[_PLACES].astype(float)).abs().lt(_SAME).all(axis=1)
    if "border" in before:
        fresh["border"] |= before["border"].eq(True) & same
    for name in before.filter(STAIN_COLUMNS):
        fresh[name] = fresh[name].fillna(pd.to_numeric(before[name], errors="coerce").where(same))
    return fresh


def _still_themselves(now: pd.DataFrame, before: pd.DataFrame) -> pd.Series:
    """Say which cells overlap what they were, taken for squares; where that is unknown, all do."""
    if not set(_PLACES) <= set(before):
        return pd.Series(True, now.index)
    new, old = (table[_PLACES].to_numpy(float) for table in (now, before))
    sides = np.sqrt(np.stack([new[:, 2], old[:, 2]]))
    apart = np.abs(new[:, :2] - old[:, :2])
    both = np.clip(sides.mean(axis=0)[:, None] - apart, 0, sides.min(axis=0)[:, None]).prod(axis=1)
    return pd.Series(~(both < _SHARED * (new[:, 2] + old[:, 2] - both)), now.index)
