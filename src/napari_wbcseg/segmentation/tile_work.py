"""The work on one image, tile by tile: each by itself, in any order and anywhere; `finish` does the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..box import Box
from ..classification.classify import predict_cells
from ..executors import in_threads
from ..images.pixel_source import PixelSource
from ..network.classifier import ClassifierFile
from ..network.model_file import ModelFile
from ..network.robust import network_input
from ..progress import Progress
from ..settings import SegmentationSettings
from . import classic, robust
from .detections import Kept, TileCells, cells_of_tile
from .global_estimates import GlobalEstimates
from .looks import tiles_of_looks
from .prediction import Predictor
from .scale import Levels
from .tiles import Tile, TileParameters, tile_grid

#: Does a function of the work, an item and a progress for each item, here or on workers, and yields each
#: item with what came of it, in no particular order.
Each = Callable[[Callable[..., Any], Iterable[Any], Progress], Iterator[tuple[Any, Any]]]

#: The tiles of one window by number, one a look, with their cells where only classes are still to be told.
WindowTiles = Sequence[tuple[int, TileCells | None]]

#: The classic recipe knows no scale: its cores are image pixels, with room for two windows around.
CLASSIC_TILES = TileParameters(core=2048, margin=256, largest=2048, tolerance=8)


class Canvas:
    """One image, or a plane of a stack, in one or more resolutions.

    Parameters
    ----------
    arrays : sequence of arrays, each (H, W) or (N, H, W)
        NumPy or zarr, full resolution first; each holds every second pixel of that before.
    plane : int, optional
        Of a stack.
    """

    def __init__(self, arrays: Sequence[Any], plane: int | None = None) -> None:
        self.arrays = list(arrays)
        self._plane = () if plane is None else (plane,)

    def read(self, box: Box, level: int = 0) -> np.ndarray:
        """Return a part, in the pixels of one resolution."""
        return np.asarray(self.arrays[level][(*self._plane, *box.slices)])

    def draw(self, box: Box, values: np.ndarray) -> None:
        """Put the values that are not 0 over what is there."""
        self.replace(box, np.where(values != 0, values, self.read(box)))

    def replace(self, box: Box, values: np.ndarray, levels: slice = slice(None)) -> None:
        """Put values in place of what is there, in some resolutions; the box is in pixels of their first."""
        # The full resolution last: where this fails, it differs still, and all is done again.
        for number, array in reversed([*enumerate(self.arrays[levels])]):
            step = 2**number
            top, left = -(-box.top // step), -(-box.left // step)
            part = values[top * step - box.top :: step, left * step - box.left :: step]
            if part.size:
                place = Box(top, left, top + part.shape[0], left + part.shape[1])
                array[(*self._plane, *place.slices)] = part


@dataclass(frozen=True)
class TileWork:
    """All that the parts of the work on an image share; with canvases on disk it can be sent to a worker.

    Attributes
    ----------
    source : PixelSource
        The image.
    estimates : GlobalEstimates
        What was estimated of it.
    model : ModelFile
    settings : SegmentationSettings
    classifier : ClassifierFile or None
        What tells the classes of the cells: one for all tiles, though its file may be written anew meanwhile,
        as a person teaches it. None where they are not asked for.
    kept : Kept
        Where the cells of the tiles are put.
    labels, probability : Canvas
        Where the result is drawn.
    """

    source: PixelSource
    estimates: GlobalEstimates
    model: ModelFile
    settings: SegmentationSettings
    classifier: ClassifierFile | None
    kept: Kept
    labels: Canvas
    probability: Canvas

    @cached_property
    def fields(self) -> list[Box]:
        """The parts of the image that show the slide."""
        return self.estimates.fields(self.source.shape)

    @cached_property
    def tiles(self) -> list[Tile]:
        """The tiles of the image, in reading order; none where it holds no cell."""
        if self.settings.recipe == "classic":
            return tile_grid(self.source.shape, 1.0, CLASSIC_TILES)
        return tiles_of_looks(self.fields, self.estimates.looks, self.model)


def here(work: TileWork, threads: int = 1) -> Each:
    """Do the parts of the work in this process, so many at a time."""
    return lambda function, items, progress: in_threads(partial(function, work), items, threads, progress)


def by_window(
    tiles: Sequence[Tile], numbers: Iterable[int], known: Mapping[int, TileCells]
) -> list[WindowTiles]:
    """Group some of the tiles by their window, given the cells that are known of some."""
    windows: dict[Box, list[tuple[int, TileCells | None]]] = {}
    for number in numbers:
        windows.setdefault(tiles[number].window, []).append((number, known.get(number)))
    return list(windows.values())


def find_all(
    work: TileWork, each: Each, windows: Iterable[WindowTiles], left: int, progress: Progress
) -> Iterator[tuple[int, int]]:
    """Find the cells of tiles and keep them.

    Parameters
    ----------
    work : TileWork
    each : Each
    windows : iterable of WindowTiles
        The tiles that are not done yet.
    left : int
        How many tiles these are.
    progress : Progress
        Called often, to be cancelled by.

    Yields
    ------
    (int, int)
        The number of a tile that is done, and its cells.
    """
    tiles_in_all = len(work.tiles)
    finished = tiles_in_all - left

    def within(done: int, total: int, stage: str) -> None:
        if tiles_in_all > 1:
            done, total, stage = finished, tiles_in_all, "Segmenting"
        progress(done, total, stage)

    for tiles, counts in each(_find_and_keep, windows, within):
        for (number, _), count in zip(tiles, counts, strict=True):
            finished += 1
            yield number, count
        within(1, 1, "Segmenting")


def _find_and_keep(work: TileWork, tiles: WindowTiles, progress: Progress) -> list[int]:
    counts, pixels = [], WindowPixels(work, work.tiles[tiles[0][0]].window)
    for number, known in tiles:
        work.kept[number] = cells = find_in_tile(work, work.tiles[number], progress, known, pixels)
        counts.append(len(cells))
    return counts


class WindowPixels:
    """The pixels of a window of the image, read when they are asked for, and once for all looks at it."""

    def __init__(self, work: TileWork, window: Box) -> None:
        self._work, self._window = work, window

    @cached_property
    def rgb(self) -> np.ndarray:
        """As the file has them."""
        return self._work.source.read(*self._window)

    @cached_property
    def transmittance(self) -> np.ndarray:
        """Of the slide."""
        return self._work.estimates.transmittance(self.rgb, self._window)

    @cached_property
    def network_input(self) -> np.ndarray:
        """What the network takes of that."""
        return network_input(self.transmittance)


def find_in_tile(
    work: TileWork, tile: Tile, progress: Progress, known: TileCells | None, pixels: WindowPixels
) -> TileCells:
    """Find the cells of one tile and their classes; that depends on its window and the arguments alone.

    Parameters
    ----------
    work : TileWork
    tile : Tile
        One of ``work.tiles``.
    progress : Progress
        Called often, to be cancelled by.
    known : TileCells or None
        Its cells, where only their classes are still to be told.
    pixels : WindowPixels
        Of its window.
    """
    classifier, cells = work.classifier, known
    if cells is None:
        predictor = Predictor(work.model, work.settings, progress)
        if work.settings.recipe == "classic":
            found = classic.find_cells(pixels.rgb, predictor)
            cells = cells_of_tile(found, pixels.transmittance, tile)  # of which none is left out by its stain
        else:
            seen, look = pixels.network_input, work.estimates.looks[tile.look]
            levels = Levels(seen, predictor) if [tile.window] == work.fields else None
            cells = robust.look_at_tile(tile, seen, look, predictor, levels)
    if classifier is None or not len(cells):
        return cells
    corners, diameter = cells.rows["box"][:, :2] - tile.window[:2], work.estimates.class_diameter
    probabilities, _ = predict_cells(pixels.transmittance, corners, cells.masks, diameter, classifier)
    return replace(cells, classes=probabilities.astype(float))
