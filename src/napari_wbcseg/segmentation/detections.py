"""The cells of tiles: what each claims, and how those of all tiles become the cells of the image."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..box import Box
from ..errors import OutputError
from ..files import write_atomically
from .found import Found
from .tiles import Tile


@dataclass(frozen=True)
class JoinParameters:
    """How the cells of neighbouring tiles are joined.

    Attributes
    ----------
    same_cell : float
        Two detections are one cell if they share more than this of the smaller one, as in the
        suppression of non-maxima by overlap (Neubeck & Van Gool, ICPR 2006).
    least_certainty_elsewhere : float
        So sure is a cell of another size than that of most. Set on the validation sets together
        (`benchmarks/accuracy.py`): true cells of other sizes are surer than platelets and red cells.
    """

    same_cell: float = 0.5
    least_certainty_elsewhere: float = 0.8


PARAMETERS = JoinParameters()


@dataclass(frozen=True)
class TileCells:
    """The cells that a tile claims.

    Attributes
    ----------
    boxes : ndarray of int64, shape (n, 4)
        ``row0, col0, row1, col1`` of each cell in the image, ends exclusive.
    masks : list of ndarray of bool
        Its pixels within its box.
    certainty : ndarray of float64, shape (n,)
        How sure it is, in [0, 1].
    classes : ndarray of float64, shape (n, k)
        Probability of each class that was asked for.
    proposals : ndarray of int64, shape (m, 4)
        Regions looked at whose middle lies in the tile's core.
    size : int
        Which of the sizes of the image's cells they were looked for at.
    probability : ndarray of float32 or None
        Of the tile's window; None where nothing was looked at, and when read from a file.
    """

    boxes: np.ndarray
    masks: list[np.ndarray]
    certainty: np.ndarray
    classes: np.ndarray
    proposals: np.ndarray
    size: int = 0
    probability: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.masks)

    def save(self, path: Path) -> None:
        """Write all but the probability to a file that appears whole or not at all."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            boxes=self.boxes,
            certainty=self.certainty,
            classes=self.classes,
            proposals=self.proposals,
            size=self.size,
            bits=np.concatenate([np.zeros(0, np.uint8), *(np.packbits(mask) for mask in self.masks)]),
        )
        write_atomically(path, content.getvalue(), OutputError)

    @classmethod
    def load(cls, path: Path) -> TileCells | None:
        """Read the file; None where it is missing or damaged, so that the tile is done again."""
        try:
            with np.load(path, allow_pickle=False) as file:
                boxes, bits, size = file["boxes"], file["bits"], int(file["size"])
                names = ("certainty", "classes", "proposals")
                certainty, classes, proposals = (file[name] for name in names)
            masks, start = [], 0
            for top, left, bottom, right in boxes.tolist():
                count = (bottom - top) * (right - left)
                part = bits[start : start + -(-count // 8)]
                masks.append(
                    np.unpackbits(part, count=count).astype(bool).reshape(bottom - top, right - left)
                )
                start += len(part)
        except Exception:  # NumPy, zipfile and zlib raise nearly any type on damaged files
            return None
        return cls(boxes, masks, certainty, classes, proposals, size)


def cells_of_tile(found: Found, tile: Tile) -> TileCells:
    """Return the cells of a tile's window that are the tile's own.

    Parameters
    ----------
    found : Found
        Of the tile's window.
    tile : Tile
    """
    from scipy import ndimage

    corner = np.array([tile.window.top, tile.window.left] * 2)
    boxes, masks, numbers = [], [], []
    least = PARAMETERS.least_certainty_elsewhere if tile.size else 0.0
    for number, place in enumerate(ndimage.find_objects(found.labels), 1):
        if place is None or found.certainty.get(number, 1.0) < least:
            continue
        mask = found.labels[place] == number
        box = np.array([place[0].start, place[1].start, place[0].stop, place[1].stop]) + corner
        rows, cols = np.nonzero(mask)
        if tile.claims(rows.mean() + box[0], cols.mean() + box[1]):
            boxes.append(box)
            masks.append(mask)
            numbers.append(number)
    proposals = found.proposals.reshape(-1, 4) + corner
    middles = (proposals[:, :2] + proposals[:, 2:]) / 2
    here = np.array([tile.core.holds(*middle) for middle in middles], bool)
    return TileCells(
        np.array(boxes, np.int64).reshape(-1, 4),
        masks,
        np.array([found.certainty.get(number, 1.0) for number in numbers], float),
        np.zeros((len(numbers), 0)),
        proposals[here].astype(np.int64),
        tile.size,
        found.probability if found.probability.any() else None,
    )


def patch_of(boxes: np.ndarray, masks: list[np.ndarray], numbers: np.ndarray) -> tuple[Box, np.ndarray]:
    """Draw cells with their numbers, and return the part of the image that holds them all.

    Returns
    -------
    Box
    ndarray of int32
        0 where no cell is.
    """
    area = Box.around(boxes.tolist())
    patch = np.zeros(area.shape, np.int32)
    for (top, left, bottom, right), mask, number in zip(boxes.tolist(), masks, numbers, strict=True):
        target = patch[top - area.top : bottom - area.top, left - area.left : right - area.left]
        target[mask] = number
    return area, patch


@dataclass(frozen=True)
class JoinedCells:
    """The cells of a whole image; row *i* of the arrays is label *i* + 1, in reading order.

    Attributes
    ----------
    tile, index : ndarray of int64, shape (n,)
        The tile that each comes from, and its place there.
    boxes : ndarray of int64, shape (n, 4)
    area : ndarray of int64, shape (n,)
        Square pixels.
    certainty : ndarray of float64, shape (n,)
    classes : ndarray of float64, shape (n, k)
    size : ndarray of int64, shape (n,)
        Which of the sizes of the image's cells it was looked for at.
    changed : dict of int to ndarray of bool
        By row, the masks of cells that gave pixels to a neighbour.
    proposals : ndarray of int64, shape (m, 4)
        Of all tiles, ordered.
    """

    tile: np.ndarray
    index: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    certainty: np.ndarray
    classes: np.ndarray
    size: np.ndarray
    changed: dict[int, np.ndarray]
    proposals: np.ndarray

    def __len__(self) -> int:
        return len(self.tile)

    def of_tile(self, tile: int, cells: TileCells) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the rows, ndarray of int64, and the masks of the cells that come from a tile."""
        rows = np.flatnonzero(self.tile == tile)
        return rows, [self.changed.get(row, cells.masks[self.index[row]]) for row in rows.tolist()]


#: Given the areas, boxes, certainties and sizes of cells, say which to leave out.
LeftOut = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def join(load: Callable[[int], TileCells], count: int, left_out: LeftOut | None = None) -> JoinedCells:
    """Join the cells of all tiles, the same in whatever order they were found.

    What two tiles claim is kept once, that of the size of most cells, or the surer; pixels that two cells
    claim go to the first in reading order. Only masks of cells that lie over those of another tile are held.

    Parameters
    ----------
    load : callable
        Given its number, return the cells of a tile.
    count : int
        Tiles.
    left_out : callable, optional
        A filter that looks at all cells.
    """
    rows, values, proposals = _gathered(load, count)
    (tile, index, area), first_pixel = rows[:, :3].T, rows[:, 3:5]
    boxes, size = rows[:, 5:9], rows[:, 9]
    certainty, classes = values[:, 0], values[:, 1:]
    pairs = list(_overlapping(boxes, tile))
    masks = _masks_of(np.unique(np.array(pairs, np.int64)), tile, index, load)
    keep = np.ones(len(rows), bool)
    for one, two in pairs:
        shared, _ = _shared(boxes, masks, one, two)
        same = shared.sum() > PARAMETERS.same_cell * min(area[one], area[two])
        if same and keep[one] and keep[two]:
            worse = (-size[one], certainty[one]) < (-size[two], certainty[two])
            keep[one if worse else two] = False
    if left_out is not None:
        keep[keep] = ~left_out(area[keep], boxes[keep], certainty[keep], size[keep])
    changed: dict[int, np.ndarray] = {}
    for one, two in pairs:
        shared, place = _shared(boxes, masks, one, two)
        if shared.any() and keep[one] and keep[two]:
            changed[two] = masks[two] = masks[two].copy()
            masks[two][place] &= ~shared
            area[two] = masks[two].sum()
            keep[two] = area[two] > 0
            first_pixel[two] = boxes[two, :2] + np.unravel_index(masks[two].argmax(), masks[two].shape)
    kept = np.flatnonzero(keep)
    kept = kept[np.lexsort((first_pixel[kept, 1], first_pixel[kept, 0]))]
    return JoinedCells(
        tile[kept],
        index[kept],
        boxes[kept],
        area[kept],
        certainty[kept],
        classes[kept],
        size[kept],
        {number: changed[old] for number, old in enumerate(kept.tolist()) if old in changed},
        proposals,
    )


def _gathered(load: Callable[[int], TileCells], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what is known of the cells of all tiles, by their first pixel, and all proposals.

    Returns
    -------
    ndarray of int64, shape (n, 10)
        Tile, place there, area, row and column of the first pixel, box, size.
    ndarray of float64, shape (n, 1 + k)
        Certainty, and the probability of each class.
    ndarray of int64, shape (m, 4)
    """
    whole: list[np.ndarray] = [np.zeros((0, 10), np.int64)]
    parts: list[np.ndarray] = []
    proposals = [np.zeros((0, 4), np.int64)]
    for number in range(count):
        cells = load(number)
        proposals.append(cells.proposals)
        if len(cells):
            areas = [mask.sum() for mask in cells.masks]
            first = [np.argmax(mask[0]) for mask in cells.masks] + cells.boxes[:, 1]
            places = (np.full(len(cells), number), range(len(cells)), areas, cells.boxes[:, 0], first)
            whole.append(np.column_stack([*places, cells.boxes, np.full(len(cells), cells.size)]))
            parts.append(np.column_stack([cells.certainty, cells.classes]))
    rows, values = np.concatenate(whole), np.concatenate(parts or [np.zeros((0, 1))])
    # Where two cells have the same first pixel, by tile.
    order = np.lexsort((rows[:, 1], rows[:, 0], rows[:, 4], rows[:, 3]))
    return rows[order], values[order], np.unique(np.concatenate(proposals), axis=0)


def _masks_of(
    rows: np.ndarray, tile: np.ndarray, index: np.ndarray, load: Callable[[int], TileCells]
) -> dict[int, np.ndarray]:
    masks: dict[int, np.ndarray] = {}
    for number in np.unique(tile[rows]).tolist():
        cells = load(number)
        masks |= {row: cells.masks[index[row]] for row in rows[tile[rows] == number].tolist()}
    return masks


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
    top, left = np.maximum(boxes[one, :2], boxes[two, :2])
    bottom, right = np.minimum(boxes[one, 2:], boxes[two, 2:])
    in_one, in_two = (
        (slice(top - box[0], bottom - box[0]), slice(left - box[1], right - box[1]))
        for box in (boxes[one], boxes[two])
    )
    return masks[one][in_one] & masks[two][in_two], in_two
