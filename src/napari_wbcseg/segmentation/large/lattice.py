"""Where to look closely: regions of a large image found on a lattice that is one for the whole image.

The image is divided into square *units* of about half a cell. Tiles of units are looked at (by the
stain, or by a first glance of the network), each once, and each unit is found *active* or quiet.
Active units that are near each other form a *cluster*, which is segmented by itself. None of this
depends on the blocks in which an image is worked through: a block only asks for the clusters whose
middle lies in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

#: Units along the side of a tile.
TILE = 44
#: Units along the side of the largest cluster; larger ones are cut along a lattice of this pitch.
LARGEST = 16
# Units of surroundings that a cluster, and a piece of one, are segmented with.
_AROUND_CLUSTER, _AROUND_PIECE = 2, 6
_REACH = 2 * LARGEST + 2
_AROUND = np.ones((3, 3), bool)
_QUIET, _ACTIVE = 0, 1
_UNKNOWN = -1


@dataclass(frozen=True)
class Rectangle:
    """``top, left, bottom, right``, ends exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    def grown(self, by: int) -> Rectangle:
        """Return the rectangle with so much more on each side."""
        return Rectangle(self.top - by, self.left - by, self.bottom + by, self.right + by)

    def within(self, shape: tuple[int, int]) -> Rectangle:
        """Return the part inside an image of a shape."""
        return Rectangle(
            max(self.top, 0), max(self.left, 0), min(self.bottom, shape[0]), min(self.right, shape[1])
        )

    def holds(self, row: float, col: float) -> bool:
        """Say whether a point lies inside."""
        return self.top <= row < self.bottom and self.left <= col < self.right

    def scaled(self, by: int) -> Rectangle:
        """Return the rectangle in pixels, given in units of so many."""
        return Rectangle(self.top * by, self.left * by, self.bottom * by, self.right * by)


@dataclass(frozen=True)
class Cluster:
    """A group of active units, or a piece of a group too large to be segmented at once.

    Attributes
    ----------
    place : Rectangle
        Where the middles of its cells are, pixels of the image.
    crop : Rectangle
        What is segmented: its place and the surroundings, inside the image.
    foreign : ndarray of bool
        Units of the crop that belong to other clusters; the first unit is that of the
        crop's corner.
    unit : int
        Side of a unit, pixels.
    """

    place: Rectangle
    crop: Rectangle
    foreign: np.ndarray
    unit: int

    def owns(self, row: float, col: float) -> bool:
        """Say whether a cell whose middle is at this pixel of the image is one of this cluster's."""
        if not self.place.holds(row, col):
            return False
        i = int(row) // self.unit - self.crop.top // self.unit
        j = int(col) // self.unit - self.crop.left // self.unit
        return not self.foreign[i, j]


class ActivityMap:
    """Which units of an image are active; tiles are looked at when they are first asked for.

    Parameters
    ----------
    shape : tuple of int
        Of the image, pixels.
    unit : int
        Side of a unit, pixels.
    look : callable
        Given a `Rectangle` of whole units in pixels, which may reach beyond the image, return
        which of its units are active: ndarray of bool. It is asked for one tile at a time.
    """

    def __init__(self, shape: tuple[int, int], unit: int, look: Callable[[Rectangle], np.ndarray]) -> None:
        self.shape, self.unit, self._look = shape, unit, look
        self._units = np.full((-(-shape[0] // unit), -(-shape[1] // unit)), _UNKNOWN, np.int8)

    def ensure(self, units: Rectangle) -> Iterator[Rectangle]:
        """Look at the tiles that a rectangle of units touches, as far as that is yet to be done.

        Yields
        ------
        Rectangle
            Each tile looked at, in units, after it was.
        """
        inside = units.within(self._units.shape)
        for i in range(inside.top // TILE, -(-inside.bottom // TILE)):
            for j in range(inside.left // TILE, -(-inside.right // TILE)):
                tile = Rectangle(i * TILE, j * TILE, (i + 1) * TILE, (j + 1) * TILE)
                if self._units[tile.top, tile.left] == _UNKNOWN:
                    target = self._units[tile.top : tile.bottom, tile.left : tile.right]
                    active = self._look(tile.scaled(self.unit))
                    target[...] = active[: target.shape[0], : target.shape[1]]
                    yield tile

    def around(self, block: Rectangle) -> Rectangle:
        """Return the units that must be known to tell the clusters of a block of pixels."""
        unit = self.unit
        return (
            Rectangle(
                block.top // unit, block.left // unit, -(-block.bottom // unit), -(-block.right // unit)
            )
            .grown(_REACH)
            .within(self._units.shape)
        )

    def clusters(self, block: Rectangle) -> list[Cluster]:
        """Return the clusters whose middle lies in a block of pixels; ``around(block)`` must be known."""
        from scipy import ndimage

        known = self.around(block)
        active = self._units[known.top : known.bottom, known.left : known.right] == _ACTIVE
        if not active.any():
            return []
        # Two units apart at most: active units a whole unit away from each other hang together.
        labels, _ = ndimage.label(ndimage.binary_dilation(active, _AROUND), _AROUND)
        boxes = [
            Rectangle(
                rows.start + known.top,
                cols.start + known.left,
                rows.stop + known.top,
                cols.stop + known.left,
            )
            for rows, cols in ndimage.find_objects(labels)
        ]
        giant = np.array([False, *(max(b.bottom - b.top, b.right - b.left) > LARGEST + 2 for b in boxes)])
        found = []
        for number, box in enumerate(boxes, 1):
            if not giant[number]:
                if self._middle_in(box, block):
                    found.append(self._cluster(box, known, (labels != number) & (labels > 0), 0))
                continue
            for piece in _pieces(box):
                if self._middle_in(piece, block) and (_part(labels, piece, known) == number).any():
                    # Of pieces of one group the places overlap a little, so that none falls between.
                    foreign = (labels > 0) & ~giant[labels]
                    found.append(self._cluster(piece, known, foreign, self.unit // 4))
        return sorted(found, key=lambda cluster: (cluster.place.top, cluster.place.left))

    def _middle_in(self, units: Rectangle, block: Rectangle) -> bool:
        return block.holds(
            min((units.top + units.bottom) / 2 * self.unit, self.shape[0] - 1),
            min((units.left + units.right) / 2 * self.unit, self.shape[1] - 1),
        )

    def _cluster(self, units: Rectangle, known: Rectangle, foreign: np.ndarray, tolerance: int) -> Cluster:
        crop = units.grown(_AROUND_PIECE if tolerance else _AROUND_CLUSTER).within(self._units.shape)
        return Cluster(
            units.scaled(self.unit).grown(tolerance).within(self.shape),
            crop.scaled(self.unit).within(self.shape),
            _part(foreign, crop, known),
            self.unit,
        )


def _pieces(box: Rectangle) -> Iterator[Rectangle]:
    for i in range(box.top // LARGEST, -(-box.bottom // LARGEST)):
        for j in range(box.left // LARGEST, -(-box.right // LARGEST)):
            yield Rectangle(i * LARGEST, j * LARGEST, (i + 1) * LARGEST, (j + 1) * LARGEST)


def _part(values: np.ndarray, units: Rectangle, origin: Rectangle) -> np.ndarray:
    """Cut a rectangle of units out of an array that starts at another's corner, zeros beyond it."""
    part = np.zeros((units.bottom - units.top, units.right - units.left), values.dtype)
    inside = units.within((origin.top + values.shape[0], origin.left + values.shape[1]))
    top, left = max(inside.top, origin.top), max(inside.left, origin.left)
    if top < inside.bottom and left < inside.right:
        part[top - units.top : inside.bottom - units.top, left - units.left : inside.right - units.left] = (
            values[
                top - origin.top : inside.bottom - origin.top, left - origin.left : inside.right - origin.left
            ]
        )
    return part
