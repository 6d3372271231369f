"""What is left out: too small beside the other cells, or stained like red ones; what is sure stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..box import Box
from .detections import JoinedCells, Stain, TileCells, join
from .scale import RedCells, typical_diameter
from .standard_stain import density_of, paler_than_white_cells


@dataclass(frozen=True)
class FilterParameters:
    """By what detections are left out.

    Attributes
    ----------
    sure : float
        Certainty from which on a cell is kept though it is small.
    smallest_of_typical : float
        Diameter over that of the other cells, where red cells do not show what is small: a small lymphocyte
        is about half as wide as a large monocyte, a platelet not a third.
    smallest_of_widest : float
        The same over that of the widest look: on the validation fields of marrow, quarters of them and these
        made worse, the bare nucleus of an erythroblast is 0.18 as wide, specks that were counted are 0.04 to
        0.12.
    smallest_of_red, smallest_of_several : float
        Diameter over that of the red cells: no white cell is much smaller, and a lone thing that is may be a
        large platelet. Beside several likely cells one may be.
    several, several_large, likely : int, int, float
        So many cells of that certainty are several: then the red cells may be mistaken, since clumps of them
        pass for large ones. Of cells that are no smaller than red ones fewer will do
        (`benchmarks/accuracy.py`, platelets and blue leukaemia). Several of the certainty ``judged`` that
        would be too small beside the red cells show that these are none, but squares of a grid in the
        eyepiece, say: on the validation sets as they are and made worse such platelets are two at most.
    smallest_of_many : float
        The same as ``smallest_of_red`` where so many red cells are seen that their size is sure.
    showing_at_border : float
        The same for a cell that the border cuts: an eighth of its area shows.
    showing_of_red : float
        For such a cell, diameter over that of the red cells where these show it: on the validation sets
        platelets are up to 0.44 as wide there, what shows of cells of marrow 0.54 and more.
    erythroblast : float
        Probability of the class, more likely than not, from which on a cell need not be as large as a white
        one: late erythroblasts are smaller than red cells, and beside large platelets only their class tells
        them.
    reference : float
        Certainty from which on cells show how white cells of the image are stained: in pale or blurred
        pictures none is much surer.
    judged : float
        Certainty below which a cell is judged by stain. By hue alone red cells of sharpened pictures would be
        told up to 0.92, but of the pig's fields, as they are, two white cells are lost then.
    like_red : float
        On the way from the stain of the red cells, 0, to theirs, 1, from where on it may be a white cell's.
        On validation sets (pig, leukaemia, marrow) true cells lie at 0.47 and more, and two thirds of the
        false ones, mostly dark red cells, below.
    same_hue : float
        Degrees between the optical densities of two stains, of red, green and blue, below which they are of
        one hue: what is thicker absorbs more, and in the same hue (Beer and Lambert). On the validation sets
        as they are and made worse, 1 in 100 of the true cells that are unsure lie below 5, and three
        quarters of the false ones (`benchmarks/bad_pictures.py`, `benchmarks/eyepiece.py`).
    coloured : float
        Degrees between the density of red cells and grey from which on hues tell: below, a picture is as
        good as grey. On the same sets nothing changes between 3 and 6.
    contrast : float
        Of what red cells absorb, so far the stain of white cells is from theirs or a paler one; else they
        look alike.
    """

    sure: float = 0.97
    smallest_of_typical: float = 0.42
    smallest_of_widest: float = 0.15
    smallest_of_red: float = 0.9
    smallest_of_several: float = 0.6
    several: int = 3
    several_large: int = 2
    likely: float = 0.8
    smallest_of_many: float = 1.0
    showing_at_border: float = 0.35
    showing_of_red: float = 0.5
    erythroblast: float = 0.5
    reference: float = 0.8
    judged: float = 0.9
    like_red: float = 0.4
    same_hue: float = 5.0
    coloured: float = 4.0
    contrast: float = 0.3


PARAMETERS = FilterParameters()
_LEAST = 1e-9  # for what is hardly stained


def too_small(
    rows: np.ndarray, cut: np.ndarray, red: RedCells, erythroblast: np.ndarray | float = 0.0
) -> np.ndarray:
    """Say which cells are smaller than a red cell; where none shows its size, than the others of their look.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        A row a cell: its ``area``, its ``certainty``, from `FilterParameters.sure` on it is kept, and which
        ``look`` at the image found it, for cells of about one size.
    cut : ndarray of bool, shape (n,)
        As of `cut_by_border`: such cells may be smaller.
    red : RedCells
    erythroblast : ndarray, shape (n,), optional
        Probability that a cell is one, where that was asked for.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    beside_red_cells = red.diameter is not None
    smallest, showing = _beside_red_cells(rows, red, erythroblast) if beside_red_cells else _of_look(rows)
    least, certainty = np.where(cut, showing, smallest), rows["certainty"]
    small = (rows["area"] < np.pi / 4 * least**2) & (certainty < PARAMETERS.sure)
    if beside_red_cells and (small & (certainty >= PARAMETERS.judged)).sum() >= PARAMETERS.several:
        return too_small(rows, cut, RedCells())  # what was measured are no red cells
    return small


def cut_by_border(boxes: np.ndarray, fields: Sequence[Box]) -> np.ndarray:
    """Say which boxes, (n, 4), reach the border of that of some fields of an image that they lie in."""
    ends = np.array(fields)[:, None]
    inside = (boxes[:, :2] >= ends[..., :2]).all(axis=2) & (boxes[:, 2:] <= ends[..., 2:]).all(axis=2)
    return np.asarray((inside & (boxes == ends).any(axis=2)).any(axis=0))


def _beside_red_cells(
    rows: np.ndarray, red: RedCells, erythroblast: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least diameter of each cell beside red ones, and that of what of it shows at the border."""
    assert red.diameter is not None
    likely = rows["area"][rows["certainty"] >= PARAMETERS.likely]
    large = likely >= np.pi / 4 * (PARAMETERS.smallest_of_red * red.diameter) ** 2
    several = len(likely) >= PARAMETERS.several or large.sum() >= PARAMETERS.several_large
    of_red = PARAMETERS.smallest_of_several if several else PARAMETERS.smallest_of_red
    of_red = PARAMETERS.smallest_of_many if red.many else of_red
    erythroblasts = np.greater_equal(erythroblast, PARAMETERS.erythroblast)
    smallest = np.where(erythroblasts, PARAMETERS.smallest_of_several, of_red)
    return red.diameter * smallest, red.diameter * np.full(len(rows), PARAMETERS.showing_of_red)


def _of_look(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same by the cells of the same look, and by those of the widest."""
    typical = np.zeros(len(rows))
    for look in np.unique(rows["look"]):
        own = rows["look"] == look
        typical[own] = typical_diameter(rows["area"][own])
    widest = PARAMETERS.smallest_of_widest * typical.max(initial=0.0)
    smallest = np.maximum(PARAMETERS.smallest_of_typical * typical, widest)
    return smallest, PARAMETERS.showing_at_border * typical


def red_cells_by_stain(rows: np.ndarray, red_cell_stain: Stain | None) -> np.ndarray:
    """Say which unsure cells are stained like the red cells rather than like the white cells of the image.

    Parameters
    ----------
    rows : ndarray, shape (n,)
        A row a cell, with ``stain``, what their darker halves absorb, and ``certainty``.
    red_cell_stain : tuple of float or None
        The same of the red cells.

    Returns
    -------
    ndarray of bool, shape (n,)
        Those of the red cells' hue. Where white cells show how they are stained, also what is more like red
        cells than like these; or if these are of another hue only, what is pale beside them: smudge cells.
    """
    if red_cell_stain is None:
        return np.zeros(len(rows), bool)
    stain, red = rows["stain"], np.array(red_cell_stain)
    white = white_cell_stain(rows, red)
    out = _like_red(stain, red)
    if white is not None:
        out |= _unlike_white(stain, white, red)
    return np.asarray(out & (rows["certainty"] < PARAMETERS.judged))


def without_red_cells(tiles: list[TileCells], red: RedCells) -> JoinedCells:
    """Return the cells of all tiles of an image, without those that `red_cells_by_stain` leaves out."""
    return join(tiles, len(tiles), lambda cells: red_cells_by_stain(cells.rows, red.stain))


def white_cell_stain(rows: np.ndarray, red: np.ndarray) -> np.ndarray | None:
    """Return how white cells are stained, (3,), by the sure ones, or None.

    Dense red cells, which may pass for sure white ones by the dozen, are no examples.
    """
    sure = rows["stain"][rows["certainty"] >= PARAMETERS.reference]
    sure = sure[~_like_red(sure, red)]
    return np.asarray(np.median(sure, axis=0)) if len(sure) else None


def _unlike_white(stain: np.ndarray, white: np.ndarray, red: np.ndarray) -> np.ndarray:
    """Say which stains, (n, 3), are rather that of red cells than of white ones, each (3,), or too pale."""
    if not _apart(white, red):
        return paler_than_white_cells(density_of(stain), density_of(white))
    way = white - red
    nearer = (stain - red) @ way < PARAMETERS.like_red * (way @ way)
    return np.asarray(nearer & (stain.sum(axis=1) < white.sum()))


def _like_red(stain: np.ndarray, red: np.ndarray) -> np.ndarray:
    """Say which stains, (..., 3), are like that of red cells, (3,), in hue; in grey pictures, as dark."""
    in_colour = _degrees(density_of(red), np.ones(3)) >= PARAMETERS.coloured
    if not in_colour:
        return ~_apart(stain, red)
    return _degrees(density_of(stain), density_of(red)) < PARAMETERS.same_hue


def _degrees(density: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angle between densities, (..., 3), and another one, (3,)."""
    lengths = np.linalg.norm(density, axis=-1) * np.linalg.norm(other)
    return np.asarray(np.degrees(np.arccos(np.clip(density @ other / np.maximum(lengths, _LEAST), -1, 1))))


def _apart(stain: np.ndarray, red: np.ndarray) -> np.ndarray:
    """Say which stains, (..., 3), are far from that of red cells, (3,), and from a paler one."""
    square = max(red @ red, _LEAST)
    paler = np.clip(stain @ red / square, 0, 1)[..., None] * red
    return np.asarray(np.linalg.norm(stain - paler, axis=-1) >= PARAMETERS.contrast * np.sqrt(square))
