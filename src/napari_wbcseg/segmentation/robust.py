"""The robust method: any stain, any magnification, touching cells told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..network.robust import CANONICAL_DIAMETER
from .detections import TileCells, cells_of_tile, join
from .filters import leave_out_unlikely, typical_diameter
from .found import Found
from .instances import draw_at, split_cells
from .maps import Maps, Predictor, box_windows
from .proposals import propose
from .resample import enlarge, resample
from .scale import PARAMETERS as SCALE
from .scale import Size, estimate_scale, size_likelihood
from .tiles import Tile, tile_grid

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from ..progress import Progress
    from ..settings import SegmentationSettings


@dataclass(frozen=True)
class RobustParameters:
    """What the choice of the cell size goes by, and the look around a region.

    Attributes
    ----------
    context : int
        Canonical pixels around a region that are predicted with it.
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
    """

    context: int = 16
    octaves_off: float = 0.35
    sureness: float = 2.0
    unlikely: float = 0.5
    most_found: float = 4.0
    same_size: tuple[float, float] = (0.93, 1.1)
    most_looks: int = 2


PARAMETERS = RobustParameters()


def create_predictor(model: ModelFile, settings: SegmentationSettings, progress: Progress) -> Predictor:
    """Return the predictor of a model, with the engine that the settings ask for."""
    from ..network.engines.create import create_engine

    return Predictor(model, create_engine(model, settings.engine, settings.device), settings, progress)


# The size of the cells -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SizeChoice:
    """The size of the cells of an image, and the cells found at it.

    Attributes
    ----------
    diameter : float or None
        Image pixels; None where no white cell was seen at any size.
    red_cell : float or None
        Reference size: diameter of the red cells, image pixels.
    tiles : list of TileCells
        What was found, by tile.
    """

    diameter: float | None
    red_cell: float | None
    tiles: list[TileCells]


@dataclass(frozen=True)
class _Attempt:
    """The cells found when they were looked for at one size: areas, certainties, by tile."""

    diameter: float
    tiles: list[TileCells]
    areas: np.ndarray
    certainty: np.ndarray

    @property
    def measured(self) -> float | None:
        """The median diameter, by area, of the cells found, image pixels."""
        return typical_diameter(self.areas) if len(self.areas) else None


def choose_size(image: np.ndarray, predictor: Predictor) -> SizeChoice:
    """Find out how large the white cells of an image are, without a parameter set by hand.

    They are looked for at the sizes that the estimate holds worth trying; the fittest wins.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    predictor : Predictor
    """
    sizes, red_cell = (estimate := estimate_scale(image, predictor)).sizes, estimate.red_cell
    if not sizes:
        return SizeChoice(None, red_cell, [])
    if (
        red_cell is not None
        and max(size_likelihood(size.diameter, red_cell) for size in sizes) < PARAMETERS.unlikely
    ):
        sizes.append(Size(SCALE.white_over_red * red_cell, np.inf))

    def fitness(attempt: _Attempt) -> float:
        return _fitness(attempt) * size_likelihood(attempt.measured or 1.0, red_cell, estimate.many)

    found = _attempt(image, sizes[0].diameter, predictor)
    best = fitness(found)
    for size in sizes[1:]:
        # What is seen so little of cannot come out fitter.
        if PARAMETERS.most_found * size.weight > best:
            attempt = _attempt(image, size.diameter, predictor)
            score = fitness(attempt)
            if score > best:
                best, found = score, attempt
    low, high = PARAMETERS.same_size
    for _ in range(PARAMETERS.most_looks):
        measured = found.measured
        if measured is None or low < measured / found.diameter < high:
            break
        # The estimate was off: what was found says better how large cells are.
        again = _attempt(image, measured, predictor)
        if fitness(again) <= fitness(found):
            break
        found = again
    return SizeChoice(found.diameter, red_cell, found.tiles)


def _fitness(attempt: _Attempt) -> float:
    """How much is said to be cells, how surely, and how near to the size they were looked for at."""
    if attempt.measured is None:
        return 0.0
    explained = float((attempt.certainty**PARAMETERS.sureness * attempt.areas).sum())
    octaves = np.log2(attempt.measured / attempt.diameter) / PARAMETERS.octaves_off
    return explained * float(np.exp(-0.5 * octaves**2))


def _attempt(image: np.ndarray, diameter: float, predictor: Predictor) -> _Attempt:
    """Look for cells of one size in all tiles of an image."""
    tiles = [
        cells_of_tile(find_at(image[tile.window.slices], diameter, predictor), tile)
        for tile in robust_tiles(image.shape[:2], diameter, predictor.model)
    ]
    joined = join(tiles.__getitem__, len(tiles))
    return _Attempt(diameter, tiles, joined.area, joined.certainty)


def robust_tiles(shape: tuple[int, int], diameter: float, model: ModelFile) -> list[Tile]:
    """Return the tiles of an image, (H, W), whose cells have a diameter, in image pixels."""
    return tile_grid(shape, diameter / (model.header.canonical_diameter or CANONICAL_DIAMETER))


# The cells of a size -------------------------------------------------------------------------------


def find_at(image: np.ndarray, diameter: float, predictor: Predictor) -> Found:
    """Find the cells of about one diameter in an image, or in the window of a tile.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    diameter : float
        Pixels.
    predictor : Predictor
    """
    shape = (image.shape[0], image.shape[1])
    boxes = propose(image, diameter, predictor)
    if not len(boxes):
        return Found(np.zeros(shape, np.int32), np.zeros(shape, np.float32), boxes, diameter)
    maps = _look_closely(resample(image, predictor.canonical_diameter / diameter), shape, boxes, predictor)
    threshold = predictor.settings.probability_threshold
    instances = split_cells(maps, predictor.canonical_diameter, threshold, predictor.settings.split_touching)
    instances = leave_out_unlikely(instances, maps)
    return Found(
        draw_at(instances, maps, shape, threshold),
        enlarge(maps.cell, shape),
        boxes,
        diameter,
        instances.certainty,
        instances.erythroblast,
    )


def _look_closely(
    scaled: np.ndarray, shape: tuple[int, int], boxes: np.ndarray, predictor: Predictor
) -> Maps:
    """Predict around boxes, given in the pixels of an image of one shape, in that image scaled."""
    height, width = scaled.shape[:2]
    exact = np.array([height / shape[0], width / shape[1]] * 2)
    context = PARAMETERS.context
    windows = []
    for box in boxes * exact:
        r0, c0, r1, c1 = (
            max(int(box[0]) - context, 0),
            max(int(box[1]) - context, 0),
            min(int(np.ceil(box[2])) + context, height),
            min(int(np.ceil(box[3])) + context, width),
        )
        windows += box_windows((r0, c0, r1, c1), (height, width), predictor.model.architecture.multiple)
    windows = list(dict.fromkeys(windows))
    return predictor.predict(scaled, windows, "Outlining cells", flips=predictor.settings.flips)
