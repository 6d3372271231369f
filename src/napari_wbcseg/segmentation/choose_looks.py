"""How an image is looked at: for cells of which sizes, tried one after the other, and in which stain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..box import Box
from .detections import TileCells, join
from .filters import red_cells_by_stain, without_red_cells
from .looks import Look, looks_for, tiles_of_look, tiles_of_looks
from .prediction import Predictor
from .robust import look_at_tile
from .scale import PARAMETERS as SCALE
from .scale import Candidate, Levels, ScaleEstimate, estimate_scale, typical_diameter
from .second_look import check_in_standard_stain
from .standard_stain import StandardStain


@dataclass(frozen=True)
class ChoiceParameters:
    """What the choice of the cell size goes by.

    Attributes
    ----------
    octaves_off : float
        Standard deviation, in doublings, of the size of cells found around that looked for.
    sureness : float
        Power of the certainty with which a cell counts: many things taken for cells are less sure.
    same_size : tuple of float
        Size found over size looked for, between which the image is not looked at again.
    most_looks : int
        So often at most.
    seen_again : float
        So much of what was found is found at the size that was measured of it, or it is none: red cells
        pass for white ones where they are looked for at too small a size.
    smallest_elsewhere : float
        Least diameter of cells of another size over that of red cells: late erythroblasts are so small.
    most_other_sizes : int
        So many sizes besides that of most cells.
    """

    octaves_off: float = 0.35
    sureness: float = 2.0
    same_size: tuple[float, float] = (0.93, 1.1)
    most_looks: int = 2
    seen_again: float = 0.25
    smallest_elsewhere: float = 0.6
    most_other_sizes: int = 2


PARAMETERS = ChoiceParameters()


@dataclass(frozen=True, eq=False)
class _Attempt:
    """The cells found when they were looked for at one size, image pixels.

    Attributes
    ----------
    diameter : float
        That they were looked for at.
    tiles : list of TileCells
    measured : float
        Median diameter of the white cells, by area; 0 without one.
    explained : float
        How much is said to be cells, how surely.
    fitness : float
        The same, by how near they are to the size they were looked for at, and how likely theirs is beside
        the red cells.
    """

    diameter: float
    tiles: list[TileCells]
    measured: float
    explained: float
    fitness: float


def _attempt(levels: Levels, estimate: ScaleEstimate, diameter: float) -> _Attempt:
    """Look for cells of one size."""
    tiles = _look(levels, Look(diameter))
    rows = join(tiles, len(tiles)).rows
    rows = rows[~red_cells_by_stain(rows, estimate.red.stain)]
    measured = typical_diameter(rows["area"])
    # What is as wide as the image is a round field of view, or part of one.
    if not 0 < measured <= SCALE.most_of_image * min(levels.image.shape[:2]):
        return _Attempt(diameter, tiles, measured, 0.0, 0.0)
    explained = float((rows["certainty"] ** PARAMETERS.sureness * rows["area"]).sum())
    octaves = np.log2(measured / diameter) / PARAMETERS.octaves_off
    fitness = explained * float(np.exp(-0.5 * octaves**2)) * estimate.likelihood(measured)
    return _Attempt(diameter, tiles, measured, explained, fitness)


def choose_looks(
    image: np.ndarray,
    predictor: Predictor,
    fields: Sequence[Box],
    diameter: float | None,
    round_field: float | None,
) -> tuple[tuple[Look, ...], ScaleEstimate, list[TileCells]]:
    """Find out how large the white cells of an image are and how stained, without a parameter set by hand.

    What is unsure is looked at again in the standard stain, and where cells are pale, all of the image.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    predictor : Predictor
    fields : sequence of Box
        Its parts that show the slide; each is looked at as an image of its own.
    diameter : float or None
        Of the cells, image pixels, where it is known: then there are no others.
    round_field : float or None
        How wide the image is where it shows the round field of an eyepiece.

    Returns
    -------
    looks : tuple of Look
        For most cells, for those of quite other sizes, and in the standard stain; none where no white cell
        was seen at any size.
    estimate : ScaleEstimate
        What the levels showed, of red cells too.
    tiles : list of TileCells
        What was found, by tile.
    """
    levels = Levels(image, predictor, fields, round_field)
    estimate = estimate_scale(levels, diameter is not None)
    looks: tuple[Look, ...]
    if diameter is not None:
        looks, tiles = (Look(diameter),), _look(levels, Look(diameter))
    elif estimate.candidates:
        found = _fittest(levels, estimate)
        if not found.measured and estimate.finer_left:  # it was no cell, but a group of small ones, say
            estimate = estimate_scale(levels, finest=True)
            found = _fittest(levels, estimate)
        looks, tiles = _other_sizes(levels, found, estimate)
    else:
        return (), estimate, []
    standard = StandardStain.of(without_red_cells(tiles, estimate.red).rows, estimate.red.stain)
    if standard is not None:
        grid = tiles_of_looks(levels.fields, looks, predictor.model)
        looks = looks_for([look.diameter for look in looks], standard)
        tiles = [
            check_in_standard_stain(
                cells, looks[tile.look], image[tile.window.slices], tile.window, predictor
            )
            for tile, cells in zip(grid, tiles, strict=True)
        ]
        if standard.pale:
            tiles += _look(levels, looks[-1], len(looks) - 1)
    return looks, estimate, tiles


def _fittest(levels: Levels, estimate: ScaleEstimate) -> _Attempt:
    """Look for cells at the sizes that the estimate holds worth trying; the fittest attempt wins."""
    sizes = estimate.sizes(estimate.candidates)
    attempts = [_attempt(levels, estimate, size) for size in sizes]
    # Ink and dirt may be all that these sizes show: then the cells are among what was given up beside it.
    left = [one for one in estimate.candidates if one.score >= SCALE.sure_candidate]
    while not (found := _best(attempts)).measured and (left := _of_other_sizes(left, sizes)):
        sizes = estimate.sizes(left)
        attempts += [_attempt(levels, estimate, size) for size in sizes]
    low, high = PARAMETERS.same_size
    for _ in range(PARAMETERS.most_looks):
        if not found.measured or low < found.measured / found.diameter < high:
            break
        # The estimate was off: what was found says better how large cells are.
        again, before = _attempt(levels, estimate, found.measured), found
        if again.explained < PARAMETERS.seen_again * found.explained:
            attempts.remove(found)  # what is not seen there again
        attempts.append(again)
        if (found := _best(attempts)) is before:
            break
    return found


def _best(attempts: list[_Attempt]) -> _Attempt:
    return max(attempts, key=lambda one: one.fitness)


def _of_other_sizes(candidates: list[Candidate], sizes: list[float]) -> list[Candidate]:
    """Return the candidates that are of none of some sizes."""
    octaves = np.log2(sizes)
    return [one for one in candidates if (np.abs(np.log2(one.diameter) - octaves) >= SCALE.apart).all()]


def _other_sizes(
    levels: Levels, found: _Attempt, estimate: ScaleEstimate
) -> tuple[tuple[Look, ...], list[TileCells]]:
    """Look for cells of quite other sizes: in marrow some are four times as wide as others.

    They were surely seen when the size was estimated, and are none of those found. Returns the looks
    that found cells, and the cells of all their tiles.
    """
    looks: tuple[Look, ...] = (Look(found.diameter),)
    tiles, least = found.tiles, PARAMETERS.smallest_elsewhere * (estimate.red.diameter or 0.0)
    while found.measured and len(looks) <= PARAMETERS.most_other_sizes:
        boxes = np.concatenate([cells.rows["box"] for cells in tiles])
        missed = [
            candidate
            for candidate in estimate.candidates
            if candidate.score >= SCALE.sure_candidate
            and candidate.diameter >= least
            and not _holds(boxes, candidate.row, candidate.col)
        ]
        if not missed:
            break
        look = Look(estimate.sizes(missed)[0])
        more = tiles + _look(levels, look, len(looks))
        joined = join(more, len(more))
        if not (joined.rows["look"] == len(looks)).any():
            break
        looks, tiles = (*looks, look), more
    return looks, tiles


def _holds(boxes: np.ndarray, row: float, col: float) -> bool:
    """Say whether one of some boxes, (n, 4), holds a point."""
    return bool(((boxes[:, :2] <= (row, col)) & (boxes[:, 2:] > (row, col))).all(axis=1).any())


def _look(levels: Levels, look: Look, number: int = 0) -> list[TileCells]:
    """Look at all tiles of an image."""
    image, predictor = levels.image, levels.predictor
    found = []
    for tile in tiles_of_look(levels.fields, look, predictor.model, number):
        seen = levels if tile.window.shape == image.shape[:2] else None
        found.append(look_at_tile(tile, image[tile.window.slices], look, predictor, seen))
    return found
