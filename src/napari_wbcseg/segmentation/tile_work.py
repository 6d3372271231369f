"""The work on one image: each tile by itself, in any order and anywhere, then all cells together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ..box import Box
from ..classification.classes import ERYTHROBLAST
from ..classification.classify import class_list, classifier_of, predict_cells
from ..classification.naming import said_by_model
from ..executors import in_threads
from ..images.pixel_source import PixelSource
from ..network.classifier import ClassifierFile
from ..network.model_file import ModelFile
from ..network.robust import network_input
from ..progress import Progress, silent
from ..settings import SegmentationSettings
from . import classic, robust
from .detections import JoinedCells, Kept, TileCells, cells_of_tile, draw, join
from .filters import red_cells_by_stain, too_small
from .global_estimates import GlobalEstimates
from .looks import tiles_of_looks
from .measure import joined, measure_labels
from .prediction import Predictor
from .scale import Levels
from .tiles import Tile, TileParameters, tile_grid

#: Side of the pieces that a result is drawn in. On disk that is two chunks, so that in the first two
#: resolutions no two pieces share a chunk, and workers may write them at the same time.
PIECE = 2048
_ALIGNED = 2

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
        for number, array in enumerate(self.arrays[levels]):
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
    kept : Kept
        Where the cells of the tiles are put.
    labels, probability : Canvas
        Where the result is drawn.
    """

    source: PixelSource
    estimates: GlobalEstimates
    model: ModelFile
    settings: SegmentationSettings
    kept: Kept
    labels: Canvas
    probability: Canvas

    @property
    def classifier(self) -> ClassifierFile | None:
        """What tells the classes of the cells; None where they are not asked for."""
        return classifier_of(self.settings)

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
    work: TileWork,
    tile: Tile,
    progress: Progress,
    known: TileCells | None,
    pixels: WindowPixels,
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
    if cells is not None and (classifier is None or not len(cells)):
        return cells
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


def finish(work: TileWork, each: Each, progress: Progress, first: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    """Join the cells of all tiles, leave out what does not fit, number, draw and measure the rest.

    Parameters
    ----------
    work : TileWork
        All its tiles are done.
    each : Each
    progress : Progress
    first : int
        Label of the first cell.

    Returns
    -------
    cells : DataFrame
        A row a cell, as `measure_labels` gives them, places in the whole image.
    proposals : ndarray of int64, shape (m, 4)
        Regions looked at, ordered.
    """
    progress(0, 0, "Measuring")
    every = join(work.kept, len(work.tiles), partial(_left_out, work), first)
    pieces = list(_pieces(work, every))
    tables = [measure_labels(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32))[0]]  # of no cell
    for done, (_, table) in enumerate(each(_draw_and_measure, pieces, silent)):
        progress(done, len(pieces), "Measuring")
        tables += [] if table is None else [table]
    for level in range(_ALIGNED, len(work.labels.arrays), _ALIGNED):
        corners = {(box.top >> level, box.left >> level) for box, *_ in pieces}
        parts = {tuple(side // PIECE * PIECE for side in corner) for corner in corners}
        for _ in each(_coarsen, [(level, *part) for part in sorted(parts)], silent):
            progress(0, 0, "Drawing the pyramid")
    cells = joined(tables).sort_values("label", ignore_index=True)
    certainty = every.rows["certainty"]
    border = cells["border"] | _cut(work, every.rows["box"])
    cells = cells.assign(certainty=certainty, check=certainty < work.settings.check_below, border=border)
    classifier = work.classifier
    if classifier is not None and len(cells):
        told = pd.DataFrame(every.classes, columns=list(classifier.header.architecture.classes))
        cells = said_by_model(cells, told, class_list(classifier))
    return cells, every.proposals


def _left_out(work: TileWork, cells: JoinedCells) -> np.ndarray:
    rows = cells.rows
    if work.settings.recipe == "classic":  # which has a least area of its own
        return np.zeros(len(cells), bool)
    red = work.estimates.red_cells
    classifier, erythroblast = work.classifier, np.zeros(len(cells))
    names = classifier.header.architecture.classes if classifier is not None else ()
    if ERYTHROBLAST in names and len(cells):
        erythroblast = cells.classes[:, names.index(ERYTHROBLAST)]
    small = too_small(rows, _cut(work, rows["box"]), red, erythroblast)
    return small | red_cells_by_stain(rows, red.stain)


def _cut(work: TileWork, boxes: np.ndarray) -> np.ndarray:
    """Say which boxes, (n, 4), reach the border of a field."""
    ends = np.array(work.fields)[:, None]
    return np.asarray((boxes == ends).any(axis=(0, 2)))


#: A piece of the image, the tiles that saw something of it, and the cells in it or near its own.
_Piece = tuple[Box, list[int], JoinedCells]


def _pieces(work: TileWork, cells: JoinedCells) -> Iterator[_Piece]:
    """Yield the pieces of which a tile saw something."""
    shape, boxes = work.source.shape, cells.rows["box"]
    for top, left in product(*(range(0, side, PIECE) for side in shape)):
        box = Box(top, left, top + PIECE, left + PIECE).within(shape)
        tiles = np.flatnonzero(_meet(cells.seen, box))
        if len(tiles):
            box = Box.around(cells.seen[tiles].tolist()).common(box)
            area = Box.around([box, *boxes[_own(boxes, box)].tolist()])
            yield box, tiles.tolist(), cells.part(_meet(boxes, area.grown(1, shape)))


def _meet(boxes: np.ndarray, box: Box) -> np.ndarray:
    """Say which of some boxes, (n, 4), share pixels with another one."""
    return np.asarray((boxes[:, :2] < box[2:]).all(1) & (boxes[:, 2:] > box[:2]).all(1))


def _own(boxes: np.ndarray, box: Box) -> np.ndarray:
    """Say which of some cells a piece measures: those whose box begins in it."""
    return np.asarray((boxes[:, :2] >= box[:2]).all(1) & (boxes[:, :2] < box[2:]).all(1))


def _draw_and_measure(work: TileWork, piece: _Piece, progress: Progress) -> pd.DataFrame | None:
    """Draw a piece of labels and probability, and return the table of its own cells."""
    box, tiles, cells = piece
    rows = cells.rows
    kept = {number: work.kept[number] for number in {*tiles, *rows["tile"].tolist()}}
    own = rows[_own(rows["box"], box)]
    area = Box.around([box, *rows["box"].tolist()])
    labels = draw(rows["box"], cells.masks(kept), rows["label"], area)
    work.labels.replace(box, labels[box.relative_to(area).slices], slice(_ALIGNED))
    probability = np.zeros(box.shape, np.float32)
    for number in tiles:
        seen = kept[number].seen
        both = box.common(seen)
        part = probability[both.relative_to(box).slices]
        np.maximum(part, kept[number].probability[both.relative_to(seen).slices], out=part)
    work.probability.replace(box, probability, slice(_ALIGNED))
    if not len(own):
        return None
    # With the neighbours that the cells may touch.
    close = Box.around(own["box"].tolist()).grown(1, work.source.shape).common(area)
    part = labels[close.relative_to(area).slices]
    background = np.asarray(work.estimates.background, np.float32)
    density = work.source.density(part != 0, close[:2], background)
    table, _ = measure_labels(part, density, own["label"].tolist(), close[:2], work.source.shape)
    return table


def _coarsen(work: TileWork, item: tuple[int, int, int], progress: Progress) -> None:
    """Draw a part of the next coarser levels, given the first of these and the part's corner in it."""
    level, top, left = item
    for canvas in (work.labels, work.probability):
        box = Box(top, left, top + PIECE, left + PIECE).within(canvas.arrays[level].shape)
        finer = Box(*(2 * side for side in box)).within(canvas.arrays[level - 1].shape)
        canvas.replace(box, canvas.read(finer, level - 1)[::2, ::2], slice(level, level + _ALIGNED))
