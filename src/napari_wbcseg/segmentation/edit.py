"""Corrections of a label image: split, merge, separate, remove.

Each returns an `Edit` and changes nothing; ``edit.apply(labels)`` does, and
``layer.data_setitem(edit.indices, edit.values)`` does it in napari so that it can be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from scipy import ndimage

from ..box import Box
from ..errors import EditError

#: A part smaller than this share of the cell is no cell of its own; it stays with its neighbour.
_LEAST_PART = 0.02
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


@dataclass(frozen=True)
class Edit:
    """Pixels of a label image, and what they become.

    Attributes
    ----------
    indices : tuple of ndarray of int64, each of shape (p,)
        Rows and columns; for a plane of a stack with the plane in front.
    values : ndarray of int64, shape (p,)
        The new labels.
    labels : tuple of int
        The labels that the edit leaves in place of those it was asked for.
    """

    indices: tuple[np.ndarray, ...]
    values: np.ndarray
    labels: tuple[int, ...]

    def apply(self, labels: np.ndarray) -> None:
        """Change a label image in place."""
        labels[self.indices] = self.values

    def moved(self, down: int, along: int) -> Edit:
        """Return the same edit of an image of which only a part was given, from this row and column on."""
        rows, cols = self.indices
        return Edit((rows + down, cols + along), self.values, self.labels)

    def on_plane(self, plane: int) -> Edit:
        """Return the same edit for one plane of a stack."""
        planes = np.full(self.values.shape, plane, np.int64)
        return Edit((planes, *self.indices), self.values, self.labels)


def split_by_stroke(
    labels: np.ndarray, label: int, stroke: np.ndarray, numbers: Iterable[int] | None = None
) -> Edit:
    """Cut a cell along a line; no pixel is lost.

    The largest part keeps the number. An end of the line that lies inside the cell is led on,
    straight, to its edge. Where the line meets the cell several times there may be more than two
    parts; what is smaller than 2 % of the cell stays with its neighbour.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
    label : int
        The cell.
    stroke : ndarray of float, shape (n, 2)
        Row and column of the points of the line, two or more.
    numbers : iterable of int, optional
        Free ones for new cells, as many as it takes; by default the `unused_labels` of ``labels``.

    Returns
    -------
    Edit
        Its ``labels`` are the old number and the new ones.

    Raises
    ------
    EditError
        If there is no such cell, the line does not part it, or the type of the labels has no number left.
    """
    mask, (top, left) = _mask_of(labels, label)
    points = np.asarray(stroke, float)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise EditError("A stroke is a list of points, each a row and a column.")
    if len(points) < 2 or not np.ptp(points, axis=0).any():
        raise EditError("The stroke is a single point: draw a line across the cell.")
    barrier = _draw(_led_on(points - (top, left), mask), mask.shape) & mask

    part_of = np.zeros(mask.shape, np.int64)
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    total, cut = 0, list[int]()
    for piece in range(1, count + 1):
        parts = _parts(pieces == piece, barrier)
        number = int(parts.max())
        part_of += np.where(parts > 0, total + parts, 0)
        cut += range(total + 1, total + number + 1) if number > 1 else ()
        total += number
    if not cut:
        raise EditError(f"The line does not part cell {label}: draw it right across the cell.")
    # Pieces that lay apart before belong together still, with the largest of all parts.
    return _renumber(part_of, cut, label, unused_labels(labels) if numbers is None else numbers, (top, left))


def _parts(piece: np.ndarray, barrier: np.ndarray) -> np.ndarray:
    """Return the parts, from 1, that a line cuts a piece of a cell into; what it does not cut is one."""
    parts, _ = ndimage.label(piece & ~barrier, _CROSS)
    large = np.flatnonzero(np.bincount(parts.ravel())[1:] >= max(_LEAST_PART * piece.sum(), 2)) + 1
    if not (piece & barrier).any() or len(large) < 2:
        return piece.astype(np.int64)
    kept = np.where(np.isin(parts, large), parts, 0)
    nearest = ndimage.distance_transform_edt(kept == 0, return_distances=False, return_indices=True)
    return np.where(piece, np.searchsorted(large, kept[tuple(nearest)]) + 1, 0)


def separate_pieces(labels: np.ndarray, label: int, numbers: Iterable[int] | None = None) -> Edit:
    """Give every piece of a cell, but the largest, a number of its own.

    Parameters and errors are those of `split_by_stroke`.
    """
    mask, origin = _mask_of(labels, label)
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        raise EditError(f"Cell {label} is in one piece.")
    numbers = unused_labels(labels) if numbers is None else numbers
    return _renumber(pieces, [*range(1, count + 1)], label, numbers, origin)


def merge_cells(labels: np.ndarray, chosen: Iterable[int]) -> Edit:
    """Give cells one number, that of the first.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
    chosen : iterable of int
        Two labels or more.

    Raises
    ------
    EditError
        If fewer than two are given, or one is not in the image.
    """
    numbers = list(dict.fromkeys(map(int, chosen)))
    if len(numbers) < 2:
        raise EditError("Choose two cells or more to merge.")
    rows, cols = _pixels_of(labels, numbers)
    values = np.full(rows.shape, numbers[0], np.int64)
    return Edit((rows, cols), values, (numbers[0],))


def remove_cells(labels: np.ndarray, chosen: Iterable[int]) -> Edit:
    """Turn cells into background.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
    chosen : iterable of int
        One label or more.

    Raises
    ------
    EditError
        If none is given, or one is not in the image.

    Examples
    --------
    >>> remove_cells(np.array([[1, 1, 2]]), [1]).values
    array([0, 0])
    """
    numbers = sorted({int(label) for label in chosen})
    if not numbers:
        raise EditError("Choose the cells to remove.")
    rows, cols = _pixels_of(labels, numbers)
    return Edit((rows, cols), np.zeros(rows.shape, np.int64), ())


def label_under(labels: np.ndarray, stroke: np.ndarray, preferred: Sequence[int] = ()) -> int:
    """Return the cell that a line is meant for: a preferred one that it crosses, or the one it is longest in.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
    stroke : ndarray of float, shape (n, 2)
        Row and column of the points of the line.
    preferred : sequence of int
        Labels, the most wanted first.

    Raises
    ------
    EditError
        If the line crosses no cell.

    Examples
    --------
    >>> label_under(np.array([[1, 1, 2, 2, 2]]), np.array([[0.0, 0.0], [0.0, 4.0]]))
    2
    """
    crossed = labels[_draw(np.asarray(stroke, float).reshape(-1, 2), labels.shape)]
    numbers, counts = np.unique(crossed[crossed != 0], return_counts=True)
    if not numbers.size:
        raise EditError("The line crosses no cell: draw it right across one.")
    there = set(numbers.tolist())
    return next((label for label in preferred if label in there), int(numbers[counts.argmax()]))


def unused_labels(labels: np.ndarray, start: int | None = None) -> Iterator[int]:
    """Yield numbers for new cells: from a first one on, then those that are free below it.

    Parameters
    ----------
    labels : ndarray of int
    start : int, optional
        The first; by default the largest in ``labels`` and one.

    Raises
    ------
    EditError
        If the type of the array holds no further number.

    Examples
    --------
    >>> numbers = unused_labels(np.array([[0, 1, 254]], np.uint8))
    >>> next(numbers), next(numbers)
    (255, 2)
    """
    largest = 255 if labels.dtype == bool else int(np.iinfo(labels.dtype).max)
    first = int(labels.max(initial=0)) + 1 if start is None else int(start)
    yield from range(first, largest + 1)
    yield from np.setdiff1d(np.arange(1, min(first, 2**16)), np.unique(labels)).tolist()
    raise EditError(
        f"Labels of type {labels.dtype} have no number left for a new cell: right-click the layer ▸ "
        "Convert data type ▸ int32."
    )


def _mask_of(labels: np.ndarray, label: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the mask of a cell in its bounding box, and the box's corner."""
    rows, cols = _pixels_of(labels, [label])
    box = Box(int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)
    return np.asarray(labels[box.slices] == label), (box.top, box.left)


def _pixels_of(labels: np.ndarray, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the pixels of cells, in reading order."""
    if labels.ndim != 2:
        raise EditError(f"Labels of shape {labels.shape} are not one plane; give one plane of the stack.")
    rows, cols = np.nonzero(np.isin(labels, numbers))
    missing = set(numbers) - set(np.unique(labels[rows, cols]).tolist())
    if missing or 0 in numbers:
        raise EditError(f"There is no cell {min(missing or {0})} in the image.")
    return rows, cols


def _renumber(
    part_of: np.ndarray, parts: list[int], label: int, numbers: Iterable[int], origin: tuple[int, int]
) -> Edit:
    """Give all but the largest of the parts, of a mask with its corner at the origin, the first numbers."""
    sizes, fresh = np.bincount(part_of.ravel()), [*islice(numbers, len(parts) - 1)]
    parts.sort(key=lambda part: -sizes[part])
    number = np.zeros(len(sizes), np.int64)
    number[parts[1:]] = fresh
    rows, cols = np.nonzero(number[part_of])
    values = number[part_of[rows, cols]]
    return Edit((rows + origin[0], cols + origin[1]), values, (label, *fresh))


def _led_on(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Lead an end of a line that lies inside the mask on, in its direction, past the mask."""
    ends = []
    for line in (points, points[::-1]):
        end, others = line[0], line[1:]
        row, col = np.round(end).astype(int)
        inside = 0 <= row < mask.shape[0] and 0 <= col < mask.shape[1] and bool(mask[row, col])
        # The direction over some pixels: neighbouring points of a drawn line may be one apart.
        away = np.linalg.norm(others - end, axis=1)
        before = others[int(np.argmax(away >= min(5.0, away.max())))]
        reach = sum(mask.shape) / max(float(np.linalg.norm(end - before)), 1e-9) if inside else 0.0
        ends.append(end + reach * (end - before))
    return np.concatenate([ends[:1], points, ends[1:]])


def _draw(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a line one pixel wide, without gaps that a step along an edge could cross."""
    from skimage.draw import line

    drawn = np.zeros(shape, bool)
    whole = np.round(points).astype(int)
    for (row0, col0), (row1, col1) in pairwise(whole):
        rows, cols = line(row0, col0, row1, col1)
        within = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
        drawn[rows[within], cols[within]] = True
    return drawn
