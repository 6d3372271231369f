"""A rectangle of pixels, and those that the labels of an image lie in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_LARGEST = 2**16  # labels up to which are their own numbers


class Box(NamedTuple):
    """A rectangle of pixels, ends exclusive.

    Examples
    --------
    >>> box = Box(2, 3, 10, 20)
    >>> box.shape, box.area
    ((8, 17), 136)
    >>> box.grown(5, within=(12, 24))
    Box(top=0, left=0, bottom=12, right=24)
    """

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def around(cls, boxes: Iterable[tuple[int, int, int, int]]) -> Box:
        """Return the smallest box that holds all of these, which are some."""
        tops, lefts, bottoms, rights = zip(*boxes, strict=True)
        return cls(min(tops), min(lefts), max(bottoms), max(rights))

    @classmethod
    def of(cls, slices: tuple[slice, ...]) -> Box:
        """Return the box of rows and columns, as ``scipy.ndimage.find_objects`` gives them."""
        rows, cols = slices
        return cls(rows.start, cols.start, rows.stop, cols.stop)

    @classmethod
    def square(cls, row: float, col: float, reach: int) -> Box:
        """Return the square about the pixel nearest to a point, ``2 * reach + 1`` pixels wide."""
        row, col = round(row), round(col)
        return cls(row - reach, col - reach, row + reach + 1, col + reach + 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def area(self) -> int:
        """Pixels in it; none where an end lies before its beginning."""
        return max(self.bottom - self.top, 0) * max(self.right - self.left, 0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and columns, to index an image with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, by: int, within: tuple[int, ...]) -> Box:
        """Return the box with so much more on each side, within an image of a shape."""
        return Box(
            max(self.top - by, 0),
            max(self.left - by, 0),
            min(self.bottom + by, within[0]),
            min(self.right + by, within[1]),
        )

    def within(self, shape: tuple[int, ...]) -> Box:
        """Return what of the box lies in an image of a shape, without area where that is nothing."""
        return self.grown(0, shape)

    def shifted(self, down: int, right: int) -> Box:
        """Return the box moved."""
        return Box(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def relative_to(self, other: tuple[int, int, int, int]) -> Box:
        """Return where the box lies in another one, in rows and columns from its corner."""
        return self.shifted(-other[0], -other[1])

    def holds(self, row: float, col: float) -> bool:
        """Say whether a point lies inside."""
        return self.top <= row < self.bottom and self.left <= col < self.right

    def cuts(self, mask: np.ndarray, within: tuple[int, ...]) -> bool:
        """Say whether what a mask of the box shows goes on beyond it, in an image of a shape.

        Examples
        --------
        >>> box, mask = Box(0, 0, 1, 2), np.array([[True, False]])
        >>> box.cuts(mask, (1, 9)), box.cuts(mask, (2, 9))
        (False, True)
        """
        beyond = self.top > 0, self.bottom < within[0], self.left > 0, self.right < within[1]
        rims = mask[0], mask[-1], mask[:, 0], mask[:, -1]
        return any(there and bool(rim.any()) for there, rim in zip(beyond, rims, strict=True))

    def common(self, other: tuple[int, int, int, int]) -> Box:
        """Return what two boxes have in common, which has no area where that is nothing."""
        top, left, bottom, right = other
        ends = min(self.bottom, bottom), min(self.right, right)
        return Box(max(self.top, top), max(self.left, left), *ends)

    def iou(self, other: tuple[int, int, int, int]) -> float:
        """Return intersection over union with another box.

        Examples
        --------
        >>> Box(0, 0, 2, 2).iou(Box(0, 1, 2, 3))
        0.3333333333333333
        """
        shared = self.common(other).area
        return shared / (self.area + Box(*other).area - shared) if shared else 0.0


def ranked(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels numbered from 1, for what keeps something for each number up to the largest.

    Returns
    -------
    ranks : ndarray of int32, shape of ``labels``
        0 where there is no label above 0. Not every number need be there.
    numbers : ndarray of int64, shape (n,)
        The labels that 1, 2, ... stand for.
    """
    largest = int(labels.max(initial=0))
    if labels.min(initial=0) >= 0 and largest <= _LARGEST:
        return labels.astype(np.int32, copy=False), np.arange(1, largest + 1)
    inside = labels > 0  # below it others mark lines between cells, or what they leave out
    numbers, which = np.unique(labels[inside], return_inverse=True)
    ranks = np.zeros(labels.shape, np.int32)
    ranks[inside] = which + 1
    return ranks, numbers.astype(np.int64)


def label_boxes(labels: np.ndarray) -> list[tuple[int, Box]]:
    """Return each label of an image, (H, W), with its box, ascending.

    Examples
    --------
    >>> label_boxes(np.array([[0, 0, 7], [9, 0, 7]]))
    [(7, Box(top=0, left=2, bottom=2, right=3)), (9, Box(top=1, left=0, bottom=2, right=1))]
    """
    from scipy import ndimage

    ranks, numbers = ranked(labels)
    places = zip(numbers.tolist(), ndimage.find_objects(ranks), strict=True)
    return [(number, Box.of(place)) for number, place in places if place is not None]
