"""The robust method: any stain, any magnification, touching cells told apart."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from ..box import Box, label_boxes
from ..images.pixels import resample
from .detections import Detections, TileCells, cells_of_tile
from .instances import Enlargement, draw_at, split_cells
from .looks import Look
from .prediction import Predictor, box_windows
from .regions import predict_whole_cells
from .scale import Levels
from .second_look import ask_second_network, check_in_standard_stain
from .tiles import Tile


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
    nucleus_side: int = 5
    context: int = 24
    step: int = 64
    least_certainty_elsewhere: float = 0.7


PARAMETERS = RobustParameters()


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
    cells = cells_of_tile(find_cells(image, look, predictor, levels), image, tile)
    certainty = cells.rows["certainty"]
    if look.standard is not None and look.all_in_standard:
        boxes = (Box(*box).relative_to(tile.window) for box in cells.rows["box"].tolist())
        each = zip(boxes, cells.masks, certainty.tolist(), strict=True)
        white = [look.standard.is_white_cell(image, look.diameter, *cell) for cell in each]
        return cells.only(np.array(white, bool))
    if tile.look:
        cells = cells.only(certainty >= PARAMETERS.least_certainty_elsewhere)
    return check_in_standard_stain(cells, look, image, tile.window, predictor)


def find_cells(
    image: np.ndarray, look: Look, predictor: Predictor, levels: Levels | None = None
) -> Detections:
    """Find the cells of one look in an image, or in the window of a tile.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    look : Look
    predictor : Predictor
    levels : Levels, optional
        Of an image that is one tile.
    """
    if look.standard is not None and look.all_in_standard:
        predictor, levels = predictor.in_stain(look.standard), None
    shape = (image.shape[0], image.shape[1])
    boxes = propose(image, look, predictor, levels)
    if not len(boxes):
        return Detections(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32), boxes)
    scaled = resample(image, predictor.canonical_diameter / look.diameter)
    maps, area, asked = predict_whole_cells(scaled, shape, boxes, predictor)
    threshold = predictor.settings.probability_threshold
    instances = split_cells(maps, predictor.canonical_diameter, threshold, predictor.settings.split_touching)
    instances = instances.within(asked).sure()
    if not look.all_in_standard:
        instances = ask_second_network(instances, scaled[area.slices], predictor)
    enlarged = Enlargement(area, (scaled.shape[0], scaled.shape[1]), shape)
    labels = draw_at(instances.labels, maps.cell, enlarged, threshold)
    return Detections(labels, enlarged.of(maps.cell), boxes, instances.certainty, enlarged.box[:2])


def propose(image: np.ndarray, look: Look, predictor: Predictor, levels: Levels | None = None) -> np.ndarray:
    """Find the regions of an image where white cells may be.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    look : Look
    predictor : Predictor
    levels : Levels, optional
        Of the image: what they show of it is not predicted again.

    Returns
    -------
    ndarray of int64, shape (n, 4)
        Boxes ``row0, col0, row1, col1`` in image pixels, ends exclusive, with a margin of
        a quarter of a cell around.
    """
    # Of one colour, as where a slide was not scanned; that others are not, their first row tells mostly.
    if all((part == image[0, 0]).all() for part in (image[0], image)):
        return np.zeros((0, 4), np.int64)
    maps = None if levels is None else levels.showing(look.diameter, PARAMETERS.least_diameter)
    if maps is None:
        small = resample(image, PARAMETERS.diameter / look.diameter)
        windows = _worth_showing(small, predictor, look.least_stain)
        if not windows:
            return np.zeros((0, 4), np.int64)
        maps = predictor.predict(small, windows, "Looking for cells")
    near = (maps.cell > PARAMETERS.least_cell) | (maps.centre > PARAMETERS.least_centre)
    regions, _ = ndimage.label(near, np.ones((3, 3)))
    shape = np.array(image.shape[:2])
    scale, margin = shape / near.shape, PARAMETERS.margin * look.diameter
    boxes = np.array([box for _, box in label_boxes(regions)]).reshape(-1, 2, 2)
    large = ((boxes[:, 1] - boxes[:, 0]) * scale).max(axis=1) >= PARAMETERS.smallest * look.diameter
    grown = np.rint(boxes[large] * scale + [[-margin], [margin]])
    return np.clip(grown, 0, shape).astype(np.int64).reshape(-1, 4)


def _worth_showing(small: np.ndarray, predictor: Predictor, least_stain: float | None) -> list[Box]:
    """Return the windows of a reduced image that the network is shown: all, or those around dark places."""
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
    places = label_boxes(ndimage.label(near)[0])
    step = max(predictor.multiple, PARAMETERS.step)
    windows = [window for _, box in places for window in box_windows(box, shape, step)]
    return min(windows, all_windows, key=lambda some: sum(window.area for window in some))
