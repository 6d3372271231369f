"""The robust method: any stain, any magnification, touching cells told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ..box import Box
from ..network.model_file import ModelFile
from ..network.robust import CANONICAL_DIAMETER
from .close_look import look_at_whole_cells
from .detections import Found, TileCells, cells_of_tile, join
from .filters import red_cells_by_stain
from .instances import draw_at, leave_out_unlikely, split_cells
from .prediction import Predictor, box_windows, placed, resample
from .scale import PARAMETERS as SCALE
from .scale import (
    Levels,
    ScaleEstimate,
    Size,
    estimate_scale,
    size_likelihood,
    sizes_to_try,
    typical_diameter,
)
from .second_look import look_again, look_again_in
from .standard_stain import PARAMETERS as STAIN
from .standard_stain import StandardStain
from .tiles import Tile, tile_grid


@dataclass(frozen=True)
class RobustParameters:
    """What the choice of the cell size goes by.

    Attributes
    ----------
    octaves_off : float
        Standard deviation, in doublings, of the size of cells found around that looked for.
    sureness : float
        Power of the certainty with which a cell counts: many things taken for cells are less sure.
    unlikely : float
        With no size likelier than that beside the red cells, the size that fits these is tried too.
    most_found : float
        The cells found cover at most this many times the area that was seen of their size.
    same_size : tuple of float
        Size found over size looked for, between which the image is not looked at again.
    most_looks : int
        So often at most.
    smallest_elsewhere : float
        Least diameter of cells of another size over that of red cells: late erythroblasts are so small.
    most_other_sizes : int
        So many sizes besides that of most cells.
    least_certainty_elsewhere : float
        So sure is a cell of another size. Set on the validation sets together (`benchmarks/accuracy.py`),
        marrow and leukaemia turned and enlarged too: true ones are surer than platelets and red cells.
    """

    octaves_off: float = 0.35
    sureness: float = 2.0
    unlikely: float = 0.5
    most_found: float = 4.0
    same_size: tuple[float, float] = (0.93, 1.1)
    most_looks: int = 2
    smallest_elsewhere: float = 0.6
    most_other_sizes: int = 2
    least_certainty_elsewhere: float = 0.7


@dataclass(frozen=True)
class ProposalParameters:
    """What the low-resolution pass goes by. Recall comes first, since the network looks again.

    Attributes
    ----------
    diameter : float
        Diameter of a cell that the image is reduced to, pixels: the least at which the network, with
        a canonical diameter of 48, still sees cells surely.
    least_diameter : float
        The same, pixels, where a level of the size estimate shows the image so already.
    least_cell, least_centre : float
        Probabilities from which on a pixel may belong to a cell.
    smallest : float
        Cell diameters: least side of a region.
    margin : float
        Cell diameters around a region.
    nucleus : float
        Of the density in green of a slide's white cells, or of standard ones where these are paler: from
        where on a place may be a nucleus. On the validation sets 457 of 458 cells reach 0.49 of that, and
        one of marrow that is unsure 0.25; red cells have 0.26.
    nucleus_side : int
        Reduced pixels across, a sixth of a cell, that are as dark in one.
    context : int
        Reduced pixels around one that the network is shown: a cell.
    """

    diameter: float = 30.0
    least_diameter: float = 25.0
    least_cell: float = 0.25
    least_centre: float = 0.2
    smallest: float = 0.2
    margin: float = 0.25
    nucleus: float = 0.45
    nucleus_side: int = 5
    context: int = 30


PARAMETERS, PROPOSALS = RobustParameters(), ProposalParameters()


class Look(NamedTuple):
    """A look at all of an image.

    Attributes
    ----------
    diameter : float
        Of the cells that are looked for, image pixels.
    standard : StandardStain or None
        In which what is unsure is looked at again.
    all_in_standard : bool
        Whether the image is looked at in that alone.
    nuclei_alone : bool
        Whether the network is shown only places that are as dark as nuclei.
    """

    diameter: float
    standard: StandardStain | None = None
    all_in_standard: bool = False
    nuclei_alone: bool = False

    @property
    def least_stain(self) -> float | None:
        """What the network takes in green of the palest place that it is shown; None if that is all."""
        if self.standard is None or not self.nuclei_alone:
            return None
        white = STAIN.white[1] if self.all_in_standard else min(self.standard.white[1], STAIN.white[1])
        return 2 - 2 * math.exp(-PROPOSALS.nucleus * white)


def looks_for(
    diameters: Sequence[float], standard: StandardStain | None, nuclei_alone: bool = False
) -> tuple[Look, ...]:
    """Return the looks for cells of some diameters, that of most first, and for pale ones in the standard."""
    looks = tuple(Look(diameter, standard, False, nuclei_alone) for diameter in diameters)
    pale = standard is not None and standard.pale
    return (*looks, looks[0]._replace(all_in_standard=True)) if pale else looks


# The size of the cells -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Attempt:
    """The cells found when they were looked for at one size, image pixels.

    Attributes
    ----------
    diameter : float
        That they were looked for at.
    tiles : list of TileCells
    measured : float
        Their median diameter, by area; 0 without a cell.
    fitness : float
        How much is said to be cells, how surely, how near to the size they were looked for at, and how
        likely theirs is beside the red cells.
    """

    diameter: float
    tiles: list[TileCells]
    measured: float
    fitness: float


def choose_looks(
    image: np.ndarray,
    predictor: Predictor,
    diameter: float | None = None,
    fields: Sequence[Box] | None = None,
) -> tuple[tuple[Look, ...], ScaleEstimate, list[TileCells]]:
    """Find out how large the white cells of an image are and how stained, without a parameter set by hand.

    What is unsure is looked at again in the standard stain, and where cells are pale, all of the image.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    predictor : Predictor
    diameter : float, optional
        Of the cells, image pixels, where it is known: then there are no others.
    fields : sequence of Box, optional
        What is looked at as an image of its own; by default all of the image.

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
    levels = Levels(image, predictor, fields)
    estimate = estimate_scale(levels, diameter is not None)
    looks: tuple[Look, ...]
    if diameter is not None:
        looks, tiles = (Look(diameter),), _look(levels, Look(diameter))
    elif estimate.sizes:
        looks, tiles = _other_sizes(levels, _fittest(levels, estimate), estimate)
    else:
        return (), estimate, []
    rows = _white_cells(tiles, estimate)
    standard = StandardStain.of(rows["stain"], rows["certainty"], estimate.red_cell_stain)
    if standard is not None:
        grid = robust_tiles(levels.fields, looks, predictor.model)
        looks = looks_for([look.diameter for look in looks], standard)
        tiles = [
            _sure_in_standard(tile, image[tile.window.slices], looks[tile.look], cells, predictor)
            for tile, cells in zip(grid, tiles, strict=True)
        ]
        if standard.pale:
            tiles += _look(levels, looks[-1], len(looks) - 1)
    return looks, estimate, tiles


def _fittest(levels: Levels, estimate: ScaleEstimate) -> _Attempt:
    """Look for cells at the sizes that the estimate holds worth trying; the fittest attempt wins."""
    sizes, red_cell = list(estimate.sizes), estimate.red_cell
    if (
        red_cell is not None
        and max(size_likelihood(size.diameter, red_cell) for size in sizes) < PARAMETERS.unlikely
    ):
        sizes.append(Size(SCALE.white_over_red * red_cell, np.inf))
    found = _attempt(levels, sizes[0].diameter, estimate)
    for size in sizes[1:]:
        # What is seen so little of cannot come out fitter.
        if PARAMETERS.most_found * size.weight > found.fitness:
            attempt = _attempt(levels, size.diameter, estimate)
            found = max(found, attempt, key=lambda one: one.fitness)
    low, high = PARAMETERS.same_size
    for _ in range(PARAMETERS.most_looks):
        if not found.measured or low < found.measured / found.diameter < high:
            break
        # The estimate was off: what was found says better how large cells are.
        again = _attempt(levels, found.measured, estimate)
        if again.fitness <= found.fitness:
            break
        found = again
    return found


def _other_sizes(
    levels: Levels, found: _Attempt, estimate: ScaleEstimate
) -> tuple[tuple[Look, ...], list[TileCells]]:
    """Look for cells of quite other sizes: in marrow some are four times as wide as others.

    They were surely seen when the size was estimated, and are none of those found. Returns the looks
    that found cells, and the cells of all their tiles.
    """
    looks: tuple[Look, ...] = (Look(found.diameter),)
    tiles, least = found.tiles, PARAMETERS.smallest_elsewhere * (estimate.red_cell or 0.0)
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
        look = Look(sizes_to_try(missed, estimate.red_cell)[0].diameter)
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
    for tile in _tiles_of(levels.fields, look, predictor.model, number):
        seen = levels if tile.window.shape == image.shape[:2] else None
        found.append(look_at_tile(tile, image[tile.window.slices], look, predictor, seen))
    return found


def _white_cells(tiles: list[TileCells], estimate: ScaleEstimate) -> np.ndarray:
    """Return the rows of the cells of all tiles, without those stained like the red cells."""
    rows = join(tiles, len(tiles)).rows
    return rows[~red_cells_by_stain(rows["stain"], rows["certainty"], estimate.red_cell_stain)]


def _attempt(levels: Levels, diameter: float, estimate: ScaleEstimate) -> _Attempt:
    tiles = _look(levels, Look(diameter))
    rows = _white_cells(tiles, estimate)
    measured = typical_diameter(rows["area"])
    # What is as wide as the image is a round field of view, or part of one.
    if not 0 < measured <= SCALE.most_of_image * min(levels.image.shape[:2]):
        return _Attempt(diameter, tiles, measured, 0.0)
    explained = float((rows["certainty"] ** PARAMETERS.sureness * rows["area"]).sum())
    octaves = np.log2(measured / diameter) / PARAMETERS.octaves_off
    likely = size_likelihood(measured, estimate.red_cell, estimate.many)
    return _Attempt(diameter, tiles, measured, explained * float(np.exp(-0.5 * octaves**2)) * likely)


def robust_tiles(fields: Sequence[Box], looks: Sequence[Look], model: ModelFile) -> list[Tile]:
    """Return the tiles of the fields of an image, one look after the other."""
    return [tile for number, look in enumerate(looks) for tile in _tiles_of(fields, look, model, number)]


def _tiles_of(fields: Sequence[Box], look: Look, model: ModelFile, number: int) -> list[Tile]:
    canonical = model.header.canonical_diameter or CANONICAL_DIAMETER
    return [
        tile.shifted(field.top, field.left)
        for field in fields
        for tile in tile_grid(field.shape, look.diameter / canonical, look=number)
    ]


# The cells of a look -------------------------------------------------------------------------------


def look_at_tile(
    tile: Tile, image: np.ndarray, look: Look, predictor: Predictor, levels: Levels | None = None
) -> TileCells:
    """Return the cells that a tile claims.

    Parameters
    ----------
    tile : Tile
    image : ndarray of float32, shape (h, w, 3)
        Its window, what the network takes.
    look : Look
        Of which the tile is part.
    predictor : Predictor
    levels : Levels, optional
        Of an image that is one tile.
    """
    if look.standard is not None and look.all_in_standard:
        brought = look.standard.brought(image)
        found = find_at(brought, look.diameter, predictor, None, look.least_stain, ask_second=False)
        return cells_of_tile(found.only(look.standard.is_white_cell(image, look.diameter)), image, tile)
    found = find_at(image, look.diameter, predictor, levels, look.least_stain)
    if tile.look:
        found = found.only(lambda box, mask, certainty: certainty >= PARAMETERS.least_certainty_elsewhere)
    return _sure_in_standard(tile, image, look, cells_of_tile(found, image, tile), predictor)


def _sure_in_standard(
    tile: Tile, image: np.ndarray, look: Look, cells: TileCells, predictor: Predictor
) -> TileCells:
    """Return the cells of a tile without what looks like something else in the standard stain of the look."""
    if look.standard is None:
        return cells
    return look_again_in(look.standard, cells, image, tile.window, look.diameter, predictor)


def find_at(
    image: np.ndarray,
    diameter: float,
    predictor: Predictor,
    levels: Levels | None = None,
    least_stain: float | None = None,
    ask_second: bool = True,
) -> Found:
    """Find the cells of about one diameter in an image, or in the window of a tile.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    diameter : float
        Pixels.
    predictor : Predictor
    levels : Levels, optional
        Of an image that is one tile.
    least_stain : float, optional
        What of the image, in green, may be a nucleus; by default anything.
    ask_second : bool
        Whether the second network is asked about what the first is unsure of.
    """
    shape = (image.shape[0], image.shape[1])
    boxes = propose(image, diameter, predictor, levels, least_stain)
    if not len(boxes):
        return Found(np.zeros(shape, np.int32), np.zeros(shape, np.float32), boxes)
    scaled = resample(image, predictor.canonical_diameter / diameter)
    maps, area, asked = look_at_whole_cells(scaled, shape, boxes, predictor)
    threshold = predictor.settings.probability_threshold
    instances = split_cells(maps, predictor.canonical_diameter, threshold, predictor.settings.split_touching)
    instances = instances.within(asked)
    instances = leave_out_unlikely(instances, maps)
    if ask_second:
        instances = look_again(instances, scaled[area.slices], predictor)
    labels, cell = (placed(part, area, scaled.shape[:2]) for part in (instances.labels, maps.cell))
    probability = cv2.resize(cell, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return Found(draw_at(labels, cell, shape, threshold), probability, boxes, instances.certainty)


def propose(
    image: np.ndarray,
    diameter: float,
    predictor: Predictor,
    levels: Levels | None = None,
    least_stain: float | None = None,
) -> np.ndarray:
    """Find the regions of an image where white cells may be.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    diameter : float
        Diameter of a cell, image pixels.
    predictor : Predictor
    levels : Levels, optional
        Of the image: what they show of it is not predicted again.
    least_stain : float, optional
        See `find_at`.

    Returns
    -------
    ndarray of int64, shape (n, 4)
        Boxes ``row0, col0, row1, col1`` in image pixels, ends exclusive, with a margin of
        a quarter of a cell around.
    """
    from scipy import ndimage

    # Of one colour, as where a slide was not scanned; that others are not, their first row tells mostly.
    if all((part == image[0, 0]).all() for part in (image[0], image)):
        return np.zeros((0, 4), np.int64)
    maps = None if levels is None else levels.showing(diameter, PROPOSALS.least_diameter)
    if maps is None:
        small = resample(image, PROPOSALS.diameter / diameter)
        windows = _worth_showing(small, predictor.multiple, least_stain)
        if not windows:
            return np.zeros((0, 4), np.int64)
        maps = predictor.predict(small, windows, "Looking for cells")
    near = (maps.cell > PROPOSALS.least_cell) | (maps.centre > PROPOSALS.least_centre)
    regions, _ = ndimage.label(near, np.ones((3, 3)))
    shape = np.array(image.shape[:2])
    scale, margin = shape / near.shape, PROPOSALS.margin * diameter
    boxes = []
    for rows, cols in ndimage.find_objects(regions):
        start, stop = np.array([rows.start, cols.start]), np.array([rows.stop, cols.stop])
        if ((stop - start) * scale).max() >= PROPOSALS.smallest * diameter:
            first = np.maximum(np.rint(start * scale - margin), 0)
            boxes.append([*first, *np.minimum(np.rint(stop * scale + margin), shape)])
    return np.array(boxes, float).astype(np.int64).reshape(-1, 4)


def _worth_showing(small: np.ndarray, multiple: int, least_stain: float | None) -> list[Box]:
    """Return the windows of a reduced image that the network is shown: all, or those around dark places."""
    from scipy import ndimage

    shape = (small.shape[0], small.shape[1])
    all_windows = box_windows((0, 0, *shape), shape, multiple)
    if least_stain is None:
        return all_windows
    green = np.ascontiguousarray(small[..., 1])
    dark = cv2.erode(green, np.ones((PROPOSALS.nucleus_side,) * 2)) >= least_stain
    near = cv2.dilate(dark.astype(np.uint8), np.ones((2 * PROPOSALS.context + 1,) * 2))
    places = ndimage.find_objects(ndimage.label(near)[0])
    windows = [window for place in places for window in box_windows(Box.of(place), shape, multiple)]
    return min(windows, all_windows, key=lambda some: sum(window.area for window in some))
