"""The work on one image: each tile by itself, in any order and anywhere, then all cells together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..box import Box
from ..classification.naming import said_by_model
from ..progress import Progress, silent
from .canvas import Canvas
from .detections import JoinedCells, TileCells, cells_of_tile, join, patch_of
from .found import Found
from .tiles import Tile, TileParameters, tile_grid

if TYPE_CHECKING:
    import pandas as pd

    from ..network.classifier import ClassifierFile
    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings
    from .large.global_estimates import GlobalEstimates
    from .large.source import PixelSource

#: The classic recipe knows no scale: its cores are image pixels, with room for two windows around.
CLASSIC_TILES = TileParameters(core=2048, margin=256, largest=2048, tolerance=8)


@dataclass(frozen=True)
class TileWork:
    """An image, what was estimated of it, and by what its cells are found; it can be sent to a worker."""

    source: PixelSource
    estimates: GlobalEstimates
    model: ModelFile
    settings: SegmentationSettings

    @property
    def classifier(self) -> ClassifierFile | None:
        """What tells the classes of the cells; None where they are not asked for."""
        from ..network.classifier import read_classifier

        return None if self.settings.classes is None else read_classifier(self.settings.classes)

    @property
    def tiles(self) -> list[Tile]:
        """The tiles of the image, in reading order; none where it holds no cell."""
        from .robust import robust_tiles

        if self.settings.recipe == "classic":
            return tile_grid(self.source.shape, 1.0, CLASSIC_TILES)
        return robust_tiles(self.source.shape, self.estimates.diameters, self.model)


def find_in_tile(
    work: TileWork, tile: Tile, progress: Progress = silent, known: TileCells | None = None
) -> TileCells:
    """Find the cells of one tile and their classes; that depends on its window and the arguments alone.

    Parameters
    ----------
    work : TileWork
    tile : Tile
        One of ``work.tiles``.
    progress : Progress
        Called often, to be cancelled by.
    known : TileCells, optional
        Its cells, where only their classes are still to be told.
    """
    from ..network.robust import network_input
    from . import classic, robust

    classifier, cells = work.classifier, known
    if cells is not None and (classifier is None or not len(cells)):
        return cells
    pixels = work.source.read(*tile.window)
    image = work.estimates.transmittance(pixels, tile.window)
    if cells is None:
        if work.settings.recipe == "classic":
            found = classic.find_cells(pixels, work.model, work.settings, progress)
        elif (pixels == pixels[0, 0]).all():  # of one colour, as where a slide was not scanned
            nothing = np.zeros(pixels.shape[:2], np.int32)
            found = Found(nothing, nothing.astype(np.float32), np.zeros((0, 4), np.int64), None)
        else:
            predictor = robust.create_predictor(work.model, work.settings, progress)
            found = robust.find_at(network_input(image), work.estimates.diameters[tile.size], predictor)
        cells = cells_of_tile(found, tile)
    return cells if classifier is None else _with_classes(work, tile, image, cells, classifier)


def _with_classes(
    work: TileWork, tile: Tile, image: np.ndarray, cells: TileCells, classifier: ClassifierFile
) -> TileCells:
    """Return the cells of a tile, given with its transmittance, with the probabilities of their classes."""
    from ..classification.classify import look_at

    if not len(cells):
        return cells
    corners = cells.boxes[:, :2] - (tile.window.top, tile.window.left)
    diameter = None if work.settings.recipe == "classic" else work.estimates.diameters[tile.size]
    probabilities, _ = look_at(image, corners, cells.masks, diameter, classifier)
    return replace(cells, classes=probabilities.astype(float))


def finish(
    work: TileWork, load: Callable[[int], TileCells], labels: Canvas, progress: Progress, first: int = 1
) -> tuple[pd.DataFrame, np.ndarray]:
    """Join the cells of all tiles, leave out what does not fit, number, draw and measure the rest.

    Parameters
    ----------
    work : TileWork
    load : callable
        Given the number of a tile of ``work.tiles``, return its cells.
    labels : Canvas
        Empty; the label image is drawn on it.
    progress : Progress
    first : int
        Label of the first cell.

    Returns
    -------
    cells : DataFrame
        A row a cell, as `measure_cells` gives them, places in the whole image.
    proposals : ndarray of int64, shape (m, 4)
        Regions looked at.
    """
    import pandas as pd

    from ..classification.classify import class_list
    from .measure import measure_cells

    tiles = work.tiles
    progress(0, 0, "Measuring")
    joined = join(load, len(tiles), lambda *cells: _left_out(work, *cells))
    parts = []
    for number in np.unique(joined.tile).tolist():
        rows, masks = joined.of_tile(number, load(number))
        labels.draw(*patch_of(joined.boxes[rows], masks, rows + first))
    for done, number in enumerate(np.unique(joined.tile).tolist()):
        progress(done, len(tiles), "Measuring")
        parts.append(_measured(work, joined, np.flatnonzero(joined.tile == number), labels, first))
    if not parts:
        nothing = np.zeros((1, 1), np.int32)
        return measure_cells(nothing, np.zeros((1, 1, 3), np.float32)), joined.proposals
    cells = pd.concat(parts, ignore_index=True).sort_values("label", ignore_index=True)
    cells["border"] = _at_border(joined.boxes, work.source.shape)
    classifier = work.classifier
    if classifier is not None:
        told = pd.DataFrame(joined.classes, columns=list(classifier.header.architecture.classes))
        cells = said_by_model(cells, told, class_list(classifier))
    return cells, joined.proposals


def _left_out(
    work: TileWork, areas: np.ndarray, boxes: np.ndarray, certainty: np.ndarray, size: np.ndarray
) -> np.ndarray:
    from .filters import too_small

    if work.settings.recipe == "classic":  # which has a least area of its own
        return np.zeros(len(areas), bool)
    red_cell, many = work.estimates.red_cell, work.estimates.many_red_cells
    cut, out = _at_border(boxes, work.source.shape), np.zeros(len(areas), bool)
    for number in np.unique(size):
        same = size == number  # what is small is so among those of its own size
        out[same] = too_small(areas[same], cut[same], certainty[same], red_cell, many)
    return out


def _at_border(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray((boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == shape).any(axis=1))


def _measured(
    work: TileWork, joined: JoinedCells, rows: np.ndarray, labels: Canvas, first: int
) -> pd.DataFrame:
    """Measure the cells of one tile, with their neighbours of others around them."""
    from .measure import absorbed, measure_cells

    boxes = joined.boxes[rows]
    area = Box.around(boxes.tolist()).grown(1, work.source.shape)
    part, pixels = labels.read(area), work.source.read(*area)
    density = np.zeros(area.shape, np.float32)
    density[part > 0] = absorbed(pixels[part > 0], np.asarray(work.estimates.background, np.float32))
    certainty = dict(zip((rows + first).tolist(), joined.certainty[rows].tolist(), strict=True))
    table = measure_cells(part, pixels, certainty, work.settings.check_below, density)
    table["row"] += area.top
    table["col"] += area.left
    return table[table["label"].isin(rows + first)]
