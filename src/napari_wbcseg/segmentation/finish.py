"""All cells of an image together, when its tiles are done: joined, left out, numbered, drawn and measured."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from ..box import Box
from ..classification.classes import ERYTHROBLAST
from ..classification.classify import class_list
from ..classification.naming import said_by_model
from ..progress import Progress, silent
from .detections import JoinedCells, draw, join
from .filters import cut_by_border, red_cells_by_stain, too_small
from .measure import GAP, cut_by_field, joined, measure_labels, no_cells
from .tile_work import Each, TileWork

#: Side of the pieces that a result is drawn in. On disk that is two chunks, so that in the first two
#: resolutions no two pieces share a chunk, and workers may write them at the same time.
PIECE = 2048
_ALIGNED = 2


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
    tables = list[pd.DataFrame]()
    for done, (_, table) in enumerate(each(_draw_and_measure, pieces, silent)):
        progress(done, len(pieces), "Measuring")
        tables += [] if table is None else [table]
    for level in range(_ALIGNED, len(work.labels.arrays), _ALIGNED):
        corners = {(box.top >> level, box.left >> level) for box, *_ in pieces}
        parts = {tuple(side // PIECE * PIECE for side in corner) for corner in corners}
        for _ in each(_coarsen, [(level, *part) for part in sorted(parts)], silent):
            progress(0, 0, "Drawing the pyramid")
    cells = joined(tables or [no_cells()]).sort_values("label", ignore_index=True)
    certainty = every.rows["certainty"]
    cells = cells.assign(certainty=certainty, check=certainty < work.settings.check_below)
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
    if classifier is not None and len(cells):
        kinds = map(class_list(classifier).kind, classifier.header.architecture.classes)
        erythroblast = cells.classes[:, [kind == ERYTHROBLAST for kind in kinds]].sum(axis=1)
    out, cut = red_cells_by_stain(rows, red.stain), cut_by_border(rows["box"], work.fields)
    white = ~out
    out[white] = too_small(rows[white], cut[white], red, erythroblast[white])
    return out


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
            yield box, tiles.tolist(), cells.part(_meet(boxes, area.grown(GAP, shape)))


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
    close = Box.around(own["box"].tolist()).grown(GAP, work.source.shape).common(area)
    part = labels[close.relative_to(area).slices]
    background = np.asarray(work.estimates.background, np.float32)
    density = work.source.density(part != 0, close[:2], background)
    table, _ = measure_labels(part, density, own["label"].tolist(), close[:2], work.source.shape)
    cut = cut_by_field(part, work.estimates.field_of_view, close[:2], work.source.shape)
    table["border"] |= table["label"].isin(cut)
    return table


def _coarsen(work: TileWork, item: tuple[int, int, int], progress: Progress) -> None:
    """Draw a part of the next coarser levels, given the first of these and the part's corner in it."""
    level, top, left = item
    for canvas in (work.labels, work.probability):
        box = Box(top, left, top + PIECE, left + PIECE).within(canvas.arrays[level].shape)
        finer = Box(*(2 * side for side in box)).within(canvas.arrays[level - 1].shape)
        canvas.replace(box, canvas.read(finer, level - 1)[::2, ::2], slice(level, level + _ALIGNED))
