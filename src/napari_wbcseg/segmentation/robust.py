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
from .detections import Detections, TileCells, cells_of_tile
from .instances import Enlargement, draw_at, leave_out_unlikely, split_cells
from .prediction import Predictor, box_windows, resample
from .scale import Levels
from .second_look import look_again, look_again_in
from .standard_stain import PARAMETERS as STAIN
from .standard_stain import Colour, StandardStain
from .tiles import Tile, tile_grid


@dataclass(frozen=True)
class RobustParameters:
    """Where cells are looked for, at low resolution, and which of another size count.

    Recall comes first there, since the network looks again.

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
    nucleus : tuple of float
        Of the density in green of a slide's white cells, or of standard ones where these are paler: from
        where on a place may be a nucleus, at least and at most. On the validation sets 457 of 458 cells
        reach 0.49 of that, 0.65 where red cells are dark, and one of marrow that is unsure 0.25.
    beyond_red : float
        On the way to it from the density of the red cells, between these two.
    nucleus_side : int
        Reduced pixels across, a sixth of a cell, that are as dark in one.
    context : int
        Reduced pixels around one that the network is shown: it sees a cell whole.
    step : int
        Reduced pixels that sides of these windows are multiples of: each other shape costs memory.
    least_certainty_elsewhere : float
        So sure is a cell of another size. Set on the validation sets together (`benchmarks/accuracy.py`),
        marrow and leukaemia turned and enlarged too: true ones are surer than platelets and red cells.
    """

    diameter: float = 30.0
    least_diameter: float = 25.0
    least_cell: float = 0.25
    least_centre: float = 0.2
    smallest: float = 0.2
    margin: float = 0.25
    nucleus: tuple[float, float] = (0.45, 0.6)
    beyond_red: float = 0.2
    nucleus_side: int = 5
    context: int = 24
    step: int = 64
    least_certainty_elsewhere: float = 0.7


PARAMETERS = RobustParameters()


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
    least_stain : float or None
        What the network takes in green of the palest place that it is shown; None where that is all.
    """

    diameter: float
    standard: StandardStain | None = None
    all_in_standard: bool = False
    least_stain: float | None = None


def looks_for(
    diameters: Sequence[float], standard: StandardStain | None, least_stain: float | None = None
) -> tuple[Look, ...]:
    """Return the looks for cells of some diameters, that of most first, and for pale ones in the standard."""
    looks = tuple(Look(diameter, standard, False, least_stain) for diameter in diameters)
    if standard is None or not standard.pale:
        return looks
    least_stain = None if least_stain is None else palest_nucleus(STAIN.white, STAIN.red)
    return (*looks, Look(diameters[0], standard, True, least_stain))


def palest_nucleus(white: Colour, red: Colour | None) -> float:
    """Return what the network takes in green of the palest place that may be a nucleus.

    Given the densities of the white and red cells of the slide.
    """
    nucleus = min(white[1], STAIN.white[1])
    beyond = 0.0 if red is None else red[1] + PARAMETERS.beyond_red * (nucleus - red[1])
    low, high = PARAMETERS.nucleus
    return 2 - 2 * math.exp(-min(max(beyond, low * nucleus), high * nucleus))


def robust_tiles(fields: Sequence[Box], looks: Sequence[Look], model: ModelFile) -> list[Tile]:
    """Return the tiles of the fields of an image, one look after the other."""
    return [tile for number, look in enumerate(looks) for tile in tiles_of_look(fields, look, model, number)]


def tiles_of_look(fields: Sequence[Box], look: Look, model: ModelFile, number: int) -> list[Tile]:
    """Return the tiles of one look, of that number, at the fields of an image."""
    canonical = model.header.canonical_diameter or CANONICAL_DIAMETER
    return [
        tile.shifted(field.top, field.left)
        for field in fields
        for tile in tile_grid(field.shape, look.diameter / canonical, look=number)
    ]


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
        brought = predictor.in_stain(look.standard)
        found = find_at(image, look.diameter, brought, None, look.least_stain, ask_second=False)
        return cells_of_tile(found.only(look.standard.is_white_cell(image, look.diameter)), image, tile)
    found = find_at(image, look.diameter, predictor, levels, look.least_stain)
    if tile.look:
        found = found.only(lambda box, mask, certainty: certainty >= PARAMETERS.least_certainty_elsewhere)
    cells = cells_of_tile(found, image, tile)
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
) -> Detections:
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
        return Detections(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32), boxes)
    scaled = resample(image, predictor.canonical_diameter / diameter)
    maps, area, asked = look_at_whole_cells(scaled, shape, boxes, predictor)
    threshold = predictor.settings.probability_threshold
    instances = split_cells(maps, predictor.canonical_diameter, threshold, predictor.settings.split_touching)
    instances = instances.within(asked)
    instances = leave_out_unlikely(instances, maps)
    if ask_second:
        instances = look_again(instances, scaled[area.slices], predictor)
    enlarged = Enlargement(area, (scaled.shape[0], scaled.shape[1]), shape)
    labels = draw_at(instances.labels, maps.cell, enlarged, threshold)
    return Detections(labels, enlarged.of(maps.cell), boxes, instances.certainty, enlarged.box[:2])


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
    maps = None if levels is None else levels.showing(diameter, PARAMETERS.least_diameter)
    if maps is None:
        small = resample(image, PARAMETERS.diameter / diameter)
        windows = _worth_showing(small, predictor, least_stain)
        if not windows:
            return np.zeros((0, 4), np.int64)
        maps = predictor.predict(small, windows, "Looking for cells")
    near = (maps.cell > PARAMETERS.least_cell) | (maps.centre > PARAMETERS.least_centre)
    if not near.any():
        return np.zeros((0, 4), np.int64)
    regions, _ = ndimage.label(near, np.ones((3, 3)))
    shape = np.array(image.shape[:2])
    scale, margin = shape / near.shape, PARAMETERS.margin * diameter
    boxes = []
    for rows, cols in ndimage.find_objects(regions):
        start, stop = np.array([rows.start, cols.start]), np.array([rows.stop, cols.stop])
        if ((stop - start) * scale).max() >= PARAMETERS.smallest * diameter:
            first = np.maximum(np.rint(start * scale - margin), 0)
            boxes.append([*first, *np.minimum(np.rint(stop * scale + margin), shape)])
    return np.array(boxes, float).astype(np.int64).reshape(-1, 4)


def _worth_showing(small: np.ndarray, predictor: Predictor, least_stain: float | None) -> list[Box]:
    """Return the windows of a reduced image that the network is shown: all, or those around dark places."""
    from scipy import ndimage

    shape = (small.shape[0], small.shape[1])
    all_windows = box_windows((0, 0, *shape), shape, predictor.multiple)
    if least_stain is None:
        return all_windows
    seen = small if predictor.standard is None else predictor.standard.brought(small)
    green = np.ascontiguousarray(seen[..., 1])
    dark = cv2.erode(green, np.ones((PARAMETERS.nucleus_side,) * 2)) >= least_stain
    if not dark.any():
        return []
    near = cv2.dilate(dark.astype(np.uint8), np.ones((2 * PARAMETERS.context + 1,) * 2))
    places = ndimage.find_objects(ndimage.label(near)[0])
    step = max(predictor.multiple, PARAMETERS.step)
    windows = [window for place in places for window in box_windows(Box.of(place), shape, step)]
    return min(windows, all_windows, key=lambda some: sum(window.area for window in some))
