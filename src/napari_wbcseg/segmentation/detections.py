"""The cells of tiles: what each claims, and how those of all tiles become the cells of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ..box import Box, label_boxes
from ..images.pixels import median
from .tiles import Tile


@dataclass(frozen=True)
class JoinParameters:
    """How the cells of neighbouring tiles are joined.

    Attributes
    ----------
    same_cell : float
        Two detections are one cell if they share more than this of the smaller one, as in the
        suppression of non-maxima by overlap (Neubeck & Van Gool, ICPR 2006).
    """

    same_cell: float = 0.5


PARAMETERS = JoinParameters()


@dataclass(frozen=True)
class Detections:
    """Cells of one image, or of the window of a tile.

    Attributes
    ----------
    labels : ndarray of int32, shape (h, w)
        Any distinct numbers; 0 is background. Of the part of the image outside which nothing was detected.
    probability : ndarray of float32, shape of ``labels``
    proposals : ndarray of int64, shape (n, 4)
        ``row0, col0, row1, col1``, ends exclusive.
    certainty : dict of int to float
        For some or all labels, how certain the recipe is, in [0, 1].
    corner : tuple of int
        Row and column of the image where that part begins.
    """

    labels: np.ndarray
    probability: np.ndarray
    proposals: np.ndarray
    certainty: dict[int, float] = field(default_factory=dict)
    corner: tuple[int, int] = (0, 0)

    @property
    def area(self) -> Box:
        """That part of the image."""
        return Box(0, 0, *self.labels.shape).shifted(*self.corner)


#: What is known of a cell: its ``label``; the ``tile`` that it comes from, and its ``index`` there; row and
#: column of its ``first`` pixel, by which cells are ordered; its ``box`` in the image, ends exclusive, and
#: ``area`` in square pixels; its ``certainty`` in [0, 1]; of its darker half, its nucleus, the mean ``stain``
#: that the image held; and which ``look`` at the image found it.
ROW = np.dtype(
    [
        *((name, "i8") for name in ("label", "tile", "index", "area", "look")),
        *(("first", "i8", 2), ("box", "i8", 4), ("certainty", "f8"), ("stain", "f8", 3)),
    ]
)


@dataclass(frozen=True)
class TileCells:
    """The cells that a tile claims.

    Attributes
    ----------
    rows : structured ndarray, shape (n,)
        Of each what `ROW` names; labels and tiles are not known yet.
    masks : list of ndarray of bool
        The pixels of each within its box.
    classes : ndarray of float64, shape (n, k)
        Probability of each class that was asked for.
    proposals : ndarray of int64, shape (m, 4)
        Regions looked at whose middle lies in the tile's core.
    seen : Box
        The part of the image outside which the probability is 0.
    probability : ndarray of float32, shape of ``seen``
    """

    rows: np.ndarray
    masks: list[np.ndarray]
    classes: np.ndarray
    proposals: np.ndarray
    seen: Box
    probability: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def shifted(self, down: int, right: int) -> TileCells:
        """Return it in an image that has so many rows and columns more before it."""
        rows = self.rows.copy()
        rows["first"] += (down, right)
        rows["box"] += (down, right, down, right)
        proposals = self.proposals + np.array((down, right, down, right))
        return replace(self, rows=rows, proposals=proposals, seen=self.seen.shifted(down, right))

    def only(self, keep: np.ndarray) -> TileCells:
        """Return it with some of the cells, (n,)."""
        rows = self.rows[keep]
        rows["index"] = np.arange(len(rows))
        masks = [self.masks[row] for row in np.flatnonzero(keep)]
        return replace(self, rows=rows, masks=masks, classes=self.classes[keep])


def cells_of_tile(found: Detections, image: np.ndarray, tile: Tile) -> TileCells:
    """Return the cells of a tile's window that are the tile's own.

    Parameters
    ----------
    found : Detections
        Of the tile's window.
    image : ndarray of float32, shape (h, w, 3)
        The window, 0 on the empty slide.
    tile : Tile
    """
    corner = tile.window[:2]
    rows, masks = list[tuple[Any, ...]](), list[np.ndarray]()
    for number, place in label_boxes(found.labels):
        mask, within = found.labels[place.slices] == number, place.shifted(*found.corner)
        box, (down, across) = within.shifted(*corner), np.nonzero(mask)
        if not tile.claims(down.mean() + box.top, across.mean() + box.left):
            continue
        first, certainty = (box.top, box.left + across[0]), found.certainty.get(number, 1.0)
        stain = tuple(darker_half(image[within.slices][mask]))
        rows.append((0, 0, len(masks), mask.sum(), tile.look, first, box, certainty, stain))
        masks.append(mask)
    lines, columns = (np.flatnonzero(found.probability.any(axis=axis)).tolist() for axis in (1, 0))
    seen = Box(lines[0], columns[0], lines[-1] + 1, columns[-1] + 1) if lines else Box(0, 0, 0, 0)
    proposals = found.proposals.reshape(-1, 4) + np.tile(corner, 2)
    middles = (proposals[:, :2] + proposals[:, 2:]) / 2
    here = np.array([tile.core.holds(*middle) for middle in middles], bool)
    return TileCells(
        np.array(rows, ROW),
        masks,
        np.zeros((len(rows), 0)),
        proposals[here].astype(np.int64),
        seen.shifted(*found.corner).shifted(*corner),
        found.probability[seen.slices],
    )


#: What is absorbed of red, green and blue: 0 on the empty slide, 2 in the dark.
Stain = tuple[float, float, float]


def darker_half(colours: np.ndarray) -> np.ndarray:
    """Return the mean of the half of some colours, (n, 3), that absorb most."""
    each = np.ascontiguousarray(colours.T)  # over so short an axis as that of the colours NumPy takes longer
    absorbed = each.sum(axis=0)
    return np.asarray(np.compress(absorbed >= median(absorbed), each, axis=1).mean(axis=1))


class Kept(Protocol):
    """Where the cells of the tiles that are done are, by the number of the tile."""

    def __getitem__(self, tile: int, /) -> TileCells: ...

    def __setitem__(self, tile: int, cells: TileCells, /) -> None: ...


def draw(boxes: np.ndarray, masks: Sequence[np.ndarray], numbers: np.ndarray, area: Box) -> np.ndarray:
    """Draw cells with their numbers.

    Parameters
    ----------
    boxes : ndarray of int64, shape (n, 4)
    masks : sequence of ndarray of bool
        Each within its box.
    numbers : ndarray of int, shape (n,)
    area : Box
        What is drawn of the image; it holds all boxes.

    Returns
    -------
    ndarray of int32, shape of ``area``
        0 where no cell is.
    """
    drawn = np.zeros(area.shape, np.int32)
    for (top, left, bottom, right), mask, number in zip(boxes.tolist(), masks, numbers, strict=True):
        drawn[top - area.top : bottom - area.top, left - area.left : right - area.left][mask] = number
    return drawn


@dataclass(frozen=True)
class JoinedCells:
    """The cells of an image, in reading order.

    Attributes
    ----------
    rows : structured ndarray, shape (n,)
        Of each what `ROW` names.
    classes : ndarray of float64, shape (n, k)
        Probability of each class that was asked for.
    changed : dict of int to ndarray of bool
        By label, the masks of cells that gave pixels to a neighbour.
    proposals : ndarray of int64, shape (m, 4)
        The regions looked at in all tiles, ordered; a part of the cells has none.
    seen : ndarray of int64, shape (tiles, 4)
        The box of each tile outside which its probability is 0.
    """

    rows: np.ndarray
    classes: np.ndarray
    changed: dict[int, np.ndarray] = field(default_factory=dict)
    proposals: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    seen: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, which: np.ndarray) -> JoinedCells:
        """Return some of the cells."""
        rows = self.rows[which]
        changed = {label: self.changed[label] for label in rows["label"].tolist() if label in self.changed}
        return JoinedCells(rows, self.classes[which], changed)

    def masks(self, kept: Kept) -> list[np.ndarray]:
        """Return the pixels of each cell within its box."""
        masks: dict[int, np.ndarray] = {}
        tile, index = self.rows["tile"], self.rows["index"]
        for number in np.unique(tile).tolist():  # of which one is held at a time
            there = kept[number].masks
            masks |= {row: there[index[row]] for row in np.flatnonzero(tile == number).tolist()}
        return [self.changed.get(label, masks[row]) for row, label in enumerate(self.rows["label"].tolist())]


#: Says which of some cells to leave out.
LeftOut = Callable[[JoinedCells], np.ndarray]


def join(kept: Kept, count: int, left_out: LeftOut | None = None, first: int = 1) -> JoinedCells:
    """Join the cells of all tiles, the same in whatever order they were found.

    What two tiles claim is kept once, that of the first look, or the surer; pixels that two cells
    claim go to the first in reading order. Only masks of cells that lie over those of another tile are held.

    Parameters
    ----------
    kept : Kept
        The cells of the tiles.
    count : int
        Tiles.
    left_out : callable, optional
        A filter that looks at all cells.
    first : int
        Label of the first cell.
    """
    cells = _gathered(kept, count)
    boxes, area, certainty, look = (cells.rows[name] for name in ("box", "area", "certainty", "look"))
    pairs = list(_overlapping(boxes, cells.rows["tile"]))
    meeting = np.unique(np.array(pairs, np.int64))
    masks = dict(zip(meeting.tolist(), cells.part(meeting).masks(kept), strict=True))
    keep = np.ones(len(cells), bool)
    rank = np.argsort(np.lexsort((-certainty, look))).tolist()
    better_first = [sorted(pair, key=rank.__getitem__) for pair in pairs]
    # The best first: what is removed itself removes nothing.
    for one, two in sorted(better_first, key=lambda pair: rank[pair[0]]):
        shared, _ = _shared(boxes, masks, one, two)
        if keep[one] and keep[two] and shared.sum() > PARAMETERS.same_cell * min(area[one], area[two]):
            keep[two] = False
    if left_out is not None:
        keep[keep] = ~left_out(cells.part(keep))
    changed: dict[int, np.ndarray] = {}
    for one, two in pairs:
        shared, place = _shared(boxes, masks, one, two)
        if shared.any() and keep[one] and keep[two]:
            changed[two] = masks[two] = masks[two].copy()
            masks[two][place] &= ~shared
            area[two] = masks[two].sum()
            keep[two] = area[two] > 0
            pixel = np.unravel_index(masks[two].argmax(), masks[two].shape)
            cells.rows["first"][two] = boxes[two, :2] + pixel
    order = np.flatnonzero(keep)
    order = order[np.lexsort(cells.rows["first"][order].T[::-1])]
    rows = cells.rows[order]
    rows["label"] = first + np.arange(len(rows))
    given = {first + number: changed[row] for number, row in enumerate(order.tolist()) if row in changed}
    return JoinedCells(rows, cells.classes[order], given, cells.proposals, cells.seen)


def _gathered(kept: Kept, count: int) -> JoinedCells:
    """Return the cells of all tiles by their first pixel, numbered from 0."""
    found, classes = [np.zeros(0, ROW)], []
    proposals, seen = [np.zeros((0, 4), np.int64)], np.zeros((count, 4), np.int64)
    for number in range(count):
        cells = kept[number]
        proposals.append(cells.proposals)
        seen[number] = cells.seen
        if len(cells):
            found.append(cells.rows.copy())
            found[-1]["tile"] = number
            classes.append(cells.classes)
    rows = np.concatenate(found)
    # Where two cells have the same first pixel, by tile.
    order = np.lexsort((rows["index"], rows["tile"], *rows["first"].T[::-1]))
    rows = rows[order]
    rows["label"] = np.arange(len(rows))
    told = np.concatenate(classes or [np.zeros((0, 0))])[order]
    return JoinedCells(rows, told, {}, np.unique(np.concatenate(proposals), axis=0), seen)


def _overlapping(boxes: np.ndarray, tile: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs of boxes, ordered by their first row, of different tiles that overlap."""
    for one, stop in enumerate(np.searchsorted(boxes[:, 0], boxes[:, 2])):
        others = slice(one + 1, stop)
        apart = (boxes[others, 1] >= boxes[one, 3]) | (boxes[one, 1] >= boxes[others, 3])
        yield from ((one, one + 1 + int(two)) for two in np.flatnonzero(~apart & (tile[others] != tile[one])))


def _shared(
    boxes: np.ndarray, masks: dict[int, np.ndarray], one: int, two: int
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Return the pixels that two cells share, and where in the box of the second they lie."""
    first, second = (Box(*boxes[row].tolist()) for row in (one, two))
    both = first.common(second)
    in_one, in_two = (both.relative_to(box).slices for box in (first, second))
    return masks[one][in_one] & masks[two][in_two], in_two
