"""A label image as runs: stretches of one label along a row.

A label image has some thirty times fewer runs than pixels, and shape, pieces and contacts
all follow from them, so that ten thousand cells are measured at once without a loop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

#: Up to this number a label is looked up in a table; above, labels are sorted.
_TABLE_LIMIT = 2**22


@dataclass(frozen=True)
class Runs:
    """Stretches of one label along a row, in reading order.

    Attributes
    ----------
    numbers : ndarray of int64, shape (n,)
        The labels, ascending.
    which : ndarray of int64, shape (r,)
        Position in ``numbers`` of each run's label.
    row, start, stop : ndarray of int64, shape (r,)
        Where each run is; ``stop`` is exclusive.
    """

    numbers: np.ndarray
    which: np.ndarray
    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @property
    def length(self) -> np.ndarray:
        """Pixels of each run, int64, shape (r,)."""
        return self.stop - self.start

    def total(self, values: np.ndarray) -> np.ndarray:
        """Add up a value a run to float64 a label, shape (n,)."""
        return np.bincount(self.which, values, minlength=len(self.numbers)).astype(np.float64)

    def only(self, numbers: np.ndarray) -> Runs:
        """Return the runs of some of the labels."""
        wanted = np.isin(self.numbers, numbers)
        keep = wanted[self.which]
        rank = np.cumsum(wanted) - 1
        return Runs(
            self.numbers[wanted], rank[self.which[keep]], self.row[keep], self.start[keep], self.stop[keep]
        )


def find_runs(labels: np.ndarray) -> Runs:
    """Return the runs of a label image.

    Parameters
    ----------
    labels : ndarray of int or bool, shape (H, W)
        0 is background.
    """
    labels = labels.view(np.uint8) if labels.dtype == bool else labels
    height, width = labels.shape
    if not labels.size:
        none = np.zeros(0, np.int64)
        return Runs(none, none, none, none, none)
    change = np.empty((height, width), bool)
    change[:, :1] = True
    np.not_equal(labels[:, 1:], labels[:, :-1], out=change[:, 1:])
    at = np.flatnonzero(change)
    value = labels.ravel()[at] if labels.flags.c_contiguous else labels[at // width, at % width]
    stop = np.append(at[1:], labels.size)
    cell = value != 0
    at, stop, value = at[cell], stop[cell], value[cell]
    row = at // width
    numbers, which = _ranked(value)
    return Runs(numbers, which, row, at - row * width, stop - row * width)


def _ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values, ascending, and the position of each value among them."""
    if values.size and values.min() >= 0 and values.max() < _TABLE_LIMIT:
        values = values.astype(np.int64)
        present = np.bincount(values) > 0
        rank = np.cumsum(present) - 1
        return np.flatnonzero(present).astype(np.int64), rank[values]
    numbers, which = np.unique(values, return_inverse=True)
    return numbers.astype(np.int64), which.astype(np.int64)


def runs_of_pixels(flat: np.ndarray, which: np.ndarray, width: int, numbers: np.ndarray) -> Runs:
    """Return the runs of pixels given by their flat index.

    Parameters
    ----------
    flat : ndarray of int64, shape (p,)
        Ascending positions in an image of this width whose last column is empty.
    which : ndarray of int64, shape (p,)
        Position in ``numbers`` of each pixel's label.
    width : int
    numbers : ndarray of int64, shape (n,)
    """
    if not flat.size:
        none = np.zeros(0, np.int64)
        return Runs(numbers, none, none, none, none)
    begins = np.ones(flat.size, bool)
    begins[1:] = (np.diff(flat) != 1) | (np.diff(which) != 0)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], flat.size) - 1
    row = flat[first] // width
    return Runs(numbers, which[first], row, flat[first] - row * width, flat[last] - row * width + 1)


def meeting(runs: Runs, down: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of runs ``down`` rows apart that share a column.

    Parameters
    ----------
    runs : Runs
    down : int
        1 for neighbouring rows.
    reach : int
        0 for a shared column, 1 where a corner is enough.

    Returns
    -------
    upper, lower : ndarray of int64, shape (m,)
        Positions of the runs.
    """
    if not runs.row.size:
        return runs.row, runs.row
    # One number for row and column, so that runs are sorted by both their starts and their stops.
    pitch = int(runs.stop.max()) + 2 * reach + 2
    below = (runs.row + down) * pitch
    first = np.searchsorted(runs.row * pitch + runs.stop, below + runs.start - reach, side="right")
    after = np.searchsorted(runs.row * pitch + runs.start, below + runs.stop + reach, side="left")
    count = np.maximum(after - first, 0)
    upper = np.repeat(np.arange(len(count)), count)
    lower = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    same_row = runs.row[lower] == runs.row[upper] + down
    return upper[same_row], lower[same_row]


def pieces_of(runs: Runs, corners: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return which connected piece each run belongs to, and the label of each piece.

    Parameters
    ----------
    runs : Runs
    corners : bool
        Whether pixels that meet at a corner only are connected.

    Returns
    -------
    piece : ndarray of int64, shape (r,)
    which : ndarray of int64, shape (pieces,)
        Position in ``runs.numbers`` of each piece's label.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(runs.row)
    if not size:
        return runs.row, runs.row
    upper, lower = meeting(runs, 1, int(corners))
    same = runs.which[upper] == runs.which[lower]
    upper, lower = upper[same], lower[same]
    # Pixels of one row may be given as two runs that touch: those of different labels never join.
    graph = coo_array((np.ones(len(upper), np.int8), (upper, lower)), shape=(size, size))
    count, piece = connected_components(graph, directed=False)
    which = np.zeros(count, np.int64)
    which[piece] = runs.which
    return piece.astype(np.int64), which


@dataclass(frozen=True)
class Shapes:
    """Geometry of each label of a `Runs`, arrays of shape (n,), in pixels.

    ``box`` is int64, shape (n, 4): row0, col0, row1, col1 with exclusive ends. ``touching``
    says whether there is another label within a gap of one pixel.
    """

    area: np.ndarray
    row: np.ndarray
    col: np.ndarray
    box: np.ndarray
    perimeter: np.ndarray
    eccentricity: np.ndarray
    pieces: np.ndarray
    touching: np.ndarray

    def of(self, wanted: np.ndarray) -> Shapes:
        """Return the shapes of the labels where ``wanted``, bool of shape (n,), is true."""
        return Shapes(*(getattr(self, field.name)[wanted] for field in fields(self)))


def measure_shapes(runs: Runs) -> Shapes:
    """Measure the shape of each label.

    The perimeter is Crofton's with four directions, the eccentricity that of the ellipse of the
    same second moments; both as scikit-image defines them, which the tests compare with.
    """
    count = len(runs.numbers)
    length = runs.length.astype(np.float64)
    area = runs.total(length)
    safe = np.maximum(area, 1.0)
    row = runs.total(length * runs.row) / safe
    middle = (runs.start + runs.stop - 1) / 2.0
    col = runs.total(length * middle) / safe
    # Second moments about the centroid; a run of n pixels has (n^2 - 1) / 12 of its own.
    down, along = runs.row - row[runs.which], middle - col[runs.which]
    m_rr = runs.total(length * down**2) / safe
    m_cc = runs.total(length * (along**2 + (length**2 - 1) / 12)) / safe
    m_rc = runs.total(length * down * along) / safe
    half, root = (m_rr + m_cc) / 2, np.sqrt(((m_rr - m_cc) / 2) ** 2 + m_rc**2)
    long, short = half + root, np.maximum(half - root, 0.0)
    ratio = np.divide(short, long, out=np.ones_like(long), where=long > 1e-9)
    eccentricity = np.sqrt(1 - np.clip(ratio, 0, 1))

    far = np.iinfo(np.int64).max
    box = np.tile(np.array([far, far, 0, 0], np.int64), (count, 1))
    for side, (ufunc, value) in enumerate(
        (
            (np.minimum, runs.row),
            (np.minimum, runs.start),
            (np.maximum, runs.row + 1),
            (np.maximum, runs.stop),
        )
    ):
        ufunc.at(box[:, side], runs.which, value)

    upper, lower = meeting(runs, 1, 1)
    same = runs.which[upper] == runs.which[lower]
    perimeter = _crofton(runs, area, upper[same], lower[same])
    _, piece_of = pieces_of(runs)
    touching = np.zeros(count, bool)
    touching[touching_pairs(runs).ravel()] = True
    return Shapes(
        area=area,
        row=row,
        col=col,
        box=box,
        perimeter=perimeter,
        eccentricity=eccentricity,
        pieces=np.bincount(piece_of, minlength=count).astype(np.int64),
        touching=touching,
    )


def _crofton(runs: Runs, area: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return Crofton's perimeter: how often lines of four directions enter each label.

    A line enters at every pixel whose predecessor on it is not of the label. ``upper`` and
    ``lower`` are the pairs of runs of one label that meet, corners included.
    """
    count = len(runs.numbers)
    shared = []
    for shift in (-1, 0, 1):
        ends = np.minimum(runs.stop[upper] + shift, runs.stop[lower])
        starts = np.maximum(runs.start[upper] + shift, runs.start[lower])
        shared.append(np.bincount(runs.which[upper], np.maximum(ends - starts, 0), minlength=count))
    across = runs.total(np.ones(len(runs.row)))
    down = area - shared[1]
    diagonal = 2 * area - shared[0] - shared[2]
    return np.pi / 4 * (across + down + diagonal / np.sqrt(2))


def touching_pairs(runs: Runs) -> np.ndarray:
    """Return pairs of labels that share an edge, a gap of one pixel allowed.

    Returns
    -------
    ndarray of int64, shape (m, 2)
        Positions in ``runs.numbers``; each pair once, the lower position first.
    """
    beside = np.flatnonzero((np.diff(runs.row) == 0) & (runs.start[1:] - runs.stop[:-1] <= 1))
    pairs = [(beside, beside + 1), meeting(runs, 1, 0), meeting(runs, 2, 0)]
    a = np.concatenate([runs.which[one] for one, _ in pairs])
    b = np.concatenate([runs.which[other] for _, other in pairs])
    differ = a != b
    count = len(runs.numbers)
    pairs_once = np.unique(np.minimum(a, b)[differ] * count + np.maximum(a, b)[differ])
    return np.stack(np.divmod(pairs_once, max(count, 1)), axis=1)
