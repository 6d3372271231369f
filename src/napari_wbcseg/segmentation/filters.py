"""What is left out: too small beside the other cells, or stained like red ones; what is sure stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .detections import JoinedCells, TileCells, join
from .scale import ScaleEstimate, typical_diameter


@dataclass(frozen=True)
class FilterParameters:
    """By what detections are left out.

    Attributes
    ----------
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
    erythroblast : float
        Probability of the class, more likely than not, from which on a cell need not be as large as a white
        one: late erythroblasts are smaller than red cells, and beside large platelets only their class tells
        them.
    reference : float
        Certainty from which on cells show how white cells of the image are stained: in pale or blurred
        pictures none is much surer.
    judged : float
        Certainty below which a cell is judged by that.
    like_red : float
        On the way from the stain of the red cells, 0, to theirs, 1, from where on it may be a white cell's.
        On validation sets (pig, leukaemia, marrow) true cells lie at 0.47 and more, and two thirds of the
        false ones, mostly dark red cells, below.
    blasts : float
        Certainty of the surest cell from which on few red cells may be pale blasts in truth
        (`benchmarks/bad_pictures.py`).
    paler : float
        Of what red cells absorb, so much that what absorbs less is no blast that passes for one of them:
        there 29 of 30 true cells absorb more.
    contrast : float
        Of what red cells absorb, so far the stain of white cells is from theirs or a paler one; else they
        look alike.
    """

    sure: float = 0.97
    smallest_of_typical: float = 0.42
    smallest_of_red: float = 0.9
    smallest_of_several: float = 0.6
    several: int = 4
    likely: float = 0.8
    smallest_of_many: float = 1.0
    showing_at_border: float = 0.35
    erythroblast: float = 0.5
    reference: float = 0.8
    judged: float = 0.9
    like_red: float = 0.4
    blasts: float = 0.86
    paler: float = 0.8
    contrast: float = 0.3


PARAMETERS = FilterParameters()
_LEAST_SQUARE = 1e-9  # of a stain; red cells may hardly be stained

#: What is absorbed of red, green and blue: 0 on the empty slide, 2 in the dark.
Stain = tuple[float, float, float]


def too_small(
    areas: np.ndarray,
    cut: np.ndarray,
    certainty: np.ndarray,
    red_cell: float | None,
    many: bool = False,
    erythroblast: np.ndarray | float = 0.0,
    look: np.ndarray | None = None,
) -> np.ndarray:
    """Say which cells are much smaller than the others of their look, or smaller than a red cell.

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
    erythroblast : ndarray, shape (n,), optional
        Probability that a cell is one, where that was asked for.
    look : ndarray of int, shape (n,), optional
        Which look at the image found it, for cells of about one size; by default one found all.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    typical, look = np.zeros(len(areas)), np.zeros(len(areas)) if look is None else look
    for number in np.unique(look):
        typical[look == number] = typical_diameter(areas[look == number])
    smallest = PARAMETERS.smallest_of_typical * typical
    if red_cell is not None:
        several = np.count_nonzero((areas > 0) & (certainty >= PARAMETERS.likely)) >= PARAMETERS.several
        of_red = PARAMETERS.smallest_of_several if several else PARAMETERS.smallest_of_red
        of_red = PARAMETERS.smallest_of_many if many else of_red
        likely = np.greater_equal(erythroblast, PARAMETERS.erythroblast)
        smallest = np.maximum(smallest, np.where(likely, PARAMETERS.smallest_of_several, of_red) * red_cell)
    least = np.where(cut, PARAMETERS.showing_at_border * typical, smallest)
    return (areas < np.pi / 4 * least**2) & (certainty < PARAMETERS.sure)


def red_cells_by_stain(
    rows: np.ndarray, red_cell_stain: Stain | None, many: bool = False, seen: np.ndarray | None = None
) -> np.ndarray:
    """Say which unsure cells are stained like the red cells rather than like the white cells of the image.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        A row a cell, with ``stain``, what their darker halves absorb, and ``certainty``.
    red_cell_stain : tuple of float or None
        The same of the red cells.
    many : bool
        Whether many red cells show their stain.
    seen : ndarray, shape (m,), optional
        Rows of all cells that may show how white ones are stained; by default the same.

    Returns
    -------
    ndarray of bool, shape (n,)
        Where no white cell shows how they are stained, what is stained like the red cells is one; but
        these may be blasts where they are few: then only what is paler.
    """
    stain, seen = rows["stain"], rows if seen is None else seen
    white = white_cell_stain(seen, red_cell_stain, many)
    if red_cell_stain is None:
        return np.zeros(len(rows), bool)
    red = np.array(red_cell_stain)
    if white is None:
        like_red = _from_red(stain, red_cell_stain) < PARAMETERS.contrast
        if not many and (seen["certainty"] >= PARAMETERS.blasts).any():
            like_red &= stain.sum(axis=1) < PARAMETERS.paler * red.sum()
    else:
        way = white - red
        like_red = (stain - red) @ way < PARAMETERS.like_red * (way @ way)
        like_red &= stain.sum(axis=1) < white.sum()
    return np.asarray(like_red & (rows["certainty"] < PARAMETERS.judged))


def white_cells(tiles: list[TileCells], estimate: ScaleEstimate) -> JoinedCells:
    """Return the cells of all tiles of an image, without those that `red_cells_by_stain` leaves out."""
    stain, many = estimate.red_cell_stain, estimate.many
    return join(tiles, len(tiles), lambda cells: red_cells_by_stain(cells.rows, stain, many))


def white_cell_stain(rows: np.ndarray, red_cell_stain: Stain | None, many: bool = False) -> np.ndarray | None:
    """Return how white cells are stained, (3,), by those that are sure; None where these do not show it.

    Dense red cells may pass for sure white ones by the dozen. Where most are stained like red cells of which
    many are seen, what is plainly another thing beside them is the example. Of few red cells some may be
    pale blasts. See `red_cells_by_stain` for the parameters.
    """
    if red_cell_stain is None:
        return None
    sure = rows["stain"][rows["certainty"] >= PARAMETERS.reference]
    unlike = sure[_from_red(sure, red_cell_stain) >= PARAMETERS.contrast]
    for examples in (sure, unlike) if many else (sure,):
        if len(examples):
            white = np.asarray(np.median(examples, axis=0))
            if _from_red(white, red_cell_stain) >= PARAMETERS.contrast:
                return white
    return None


def _from_red(stain: np.ndarray, red_cell_stain: Stain) -> np.ndarray:
    """Return how far stains, (..., 3), are from that of red cells or a paler one, over what these absorb."""
    red = np.array(red_cell_stain)
    square = max(red @ red, _LEAST_SQUARE)
    paler = np.clip(stain @ red / square, 0, 1)[..., None] * red
    return np.asarray(np.linalg.norm(stain - paler, axis=-1) / np.sqrt(square))
