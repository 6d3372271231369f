"""How well a segmentation agrees with the truth: overlap of masks, and matching of cells.

Masks are compared pixel by pixel (`dice`, `iou`); cells are compared one to one
(`match_instances`, `match_boxes`), from which come `average_precision` and `f1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "Matches",
    "average_precision",
    "box_iou",
    "dice",
    "f1",
    "iou",
    "match_boxes",
    "match_instances",
    "soft_dice",
]

#: Added above and below the fraction, so that two empty masks agree perfectly.
SMOOTHING = 1.0


@dataclass(frozen=True)
class Matches:
    """Which cells of the truth were found, and which found cells are none.

    Attributes
    ----------
    true_positive, false_positive, false_negative : int
        Matched pairs, found cells without a partner, true cells without a partner.
    pairs : ndarray of int64, shape (true_positive, 2)
        ``truth, found``: label values for `match_instances`, row numbers for
        `match_boxes`; in the order of the truth.
    ious : ndarray of float64, shape (true_positive,)
        Intersection over union of each pair.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    pairs: np.ndarray
    ious: np.ndarray

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); 1 where there was nothing to find and nothing was found."""
        total = self.true_positive + self.false_positive + self.false_negative
        return self.true_positive / total if total else 1.0

    @property
    def precision(self) -> float:
        """Share of the found cells that are true; 1 where none was found."""
        found = self.true_positive + self.false_positive
        return self.true_positive / found if found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true cells that were found; 1 where there is none."""
        true = self.true_positive + self.false_negative
        return self.true_positive / true if true else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); 1 where both are empty."""
        total = 2 * self.true_positive + self.false_positive + self.false_negative
        return 2 * self.true_positive / total if total else 1.0

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union of the matched pairs; NaN where none matched."""
        return float(self.ious.mean()) if self.true_positive else float("nan")


def dice(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the Dice coefficient of two masks, ``2 |A ∩ B| / (|A| + |B|)``.

    Parameters
    ----------
    truth, prediction : array_like of one shape
        Masks or label images; every value other than 0 is foreground.

    Returns
    -------
    float
        From 0 (nothing in common) to 1 (the same); 1 where both are empty.

    Raises
    ------
    ImageError
        If the shapes differ.

    References
    ----------
    Dice, L. R. (1945), *Measures of the amount of ecologic association between
    species*, Ecology 26(3), 297-302.

    Examples
    --------
    >>> float(dice([[1, 1], [0, 0]], [[1, 0], [1, 0]]))
    0.5
    """
    a, b = _masks(truth, prediction)
    size = np.count_nonzero(a) + np.count_nonzero(b)
    return 2.0 * np.count_nonzero(a & b) / size if size else 1.0


def iou(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the intersection over union of two masks, ``|A ∩ B| / |A ∪ B|``.

    Parameters
    ----------
    truth, prediction : array_like of one shape
        Masks or label images; every value other than 0 is foreground.

    Returns
    -------
    float
        From 0 to 1; 1 where both are empty.

    Raises
    ------
    ImageError
        If the shapes differ.

    References
    ----------
    Jaccard, P. (1912), *The distribution of the flora in the alpine zone*, New
    Phytologist 11(2), 37-50.

    Examples
    --------
    >>> float(iou([[1, 1], [0, 0]], [[1, 0], [0, 0]]))
    0.5
    """
    a, b = _masks(truth, prediction)
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def match_instances(truth_labels: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> Matches:
    """Match the cells of two label images one to one.

    Of all one-to-one matchings of cells whose intersection over union is at least
    ``threshold`` the one with the most pairs is taken, and of those the one with
    the greatest sum of IoU. Only cells that overlap are ever compared, so the work
    grows with the number of pixels and not with the square of the number of cells.

    Parameters
    ----------
    truth_labels, labels : array_like of int or bool, one shape
        Label images of any dimension; 0 is background, each other value is a cell.
    threshold : float
        Smallest IoU of a match, in (0, 1].

    Raises
    ------
    ImageError
        If the shapes differ, or a label image does not hold whole numbers from 0.

    References
    ----------
    The measure is that of Caicedo et al. (2019), *Nucleus segmentation across imaging
    experiments: the 2018 Data Science Bowl*, Nature Methods 16, 1247-1253. The
    sparse assignment is solved with SciPy's implementation of Jonker and Volgenant (1987).

    Examples
    --------
    >>> matches = match_instances([[1, 1, 0, 2]], [[1, 1, 0, 0]])
    >>> matches.true_positive, matches.false_negative, matches.false_positive
    (1, 1, 0)
    """
    a = _label_image(truth_labels, "true labels")
    b = _label_image(labels, "labels")
    if a.shape != b.shape:
        raise ImageError(f"The labels compared differ in shape: {a.shape} and {b.shape}.")
    values_a, areas_a, index_a = _cells(a)
    values_b, areas_b, index_b = _cells(b)
    both = (a.ravel() != 0) & (b.ravel() != 0)
    # One number per pair of overlapping cells, counted once each: the sparse contingency table.
    width = max(len(values_b), 1)
    keys, overlap = np.unique(index_a[both] * width + index_b[both], return_counts=True)
    rows, columns = np.divmod(keys, width)
    ious = overlap / (areas_a[rows] + areas_b[columns] - overlap)
    chosen = _assign(rows, columns, ious, threshold)
    pairs = np.stack([values_a[rows[chosen]], values_b[columns[chosen]]], axis=1).astype(np.int64)
    return _matches(pairs, ious[chosen], len(values_a), len(values_b))


def average_precision(truth_labels: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> float:
    """Return TP / (TP + FP + FN) of the cells matched at an IoU of at least ``threshold``.

    This is the average precision of the cell segmentation literature (Data Science
    Bowl 2018, StarDist, Cellpose), not the area under a precision-recall curve.

    Parameters
    ----------
    truth_labels, labels : array_like of int or bool, one shape
        Label images; 0 is background.
    threshold : float
        Smallest IoU of a match.

    Returns
    -------
    float
        From 0 to 1; 1 where both images are empty.

    Raises
    ------
    ImageError
        If the shapes differ, or a label image does not hold whole numbers from 0.

    Examples
    --------
    >>> average_precision([[1, 1, 0, 2]], [[1, 1, 0, 0]])
    0.5
    """
    return match_instances(truth_labels, labels, threshold).average_precision


def f1(truth_labels: ArrayLike, labels: ArrayLike, threshold: float = 0.5) -> float:
    """Return 2 TP / (2 TP + FP + FN) of the cells matched at an IoU of at least ``threshold``.

    Parameters, errors and the value for two empty images are those of `average_precision`.

    Examples
    --------
    >>> round(f1([[1, 1, 0, 2]], [[1, 1, 0, 0]]), 3)
    0.667
    """
    return match_instances(truth_labels, labels, threshold).f1


def box_iou(truth_boxes: ArrayLike, boxes: ArrayLike) -> np.ndarray:
    """Return the intersection over union of every pair of boxes.

    Parameters
    ----------
    truth_boxes, boxes : array_like of numbers, shapes (n, 4) and (m, 4)
        ``row0, col0, row1, col1`` in pixels with exclusive ends.

    Returns
    -------
    ndarray of float64, shape (n, m)

    Raises
    ------
    ImageError
        If a shape is not (n, 4).

    Examples
    --------
    >>> box_iou([[0, 0, 2, 2]], [[0, 0, 2, 1]]).tolist()
    [[0.5]]
    """
    a, b = _boxes(truth_boxes), _boxes(boxes)
    start = np.maximum(a[:, None, :2], b[None, :, :2])
    stop = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(stop - start, 0, None).prod(axis=2)
    union = _area(a)[:, None] + _area(b)[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def match_boxes(truth_boxes: ArrayLike, boxes: ArrayLike, threshold: float = 0.5) -> Matches:
    """Match two sets of boxes one to one, by the rule of `match_instances`.

    Parameters
    ----------
    truth_boxes, boxes : array_like of numbers, shapes (n, 4) and (m, 4)
        ``row0, col0, row1, col1`` in pixels with exclusive ends.
    threshold : float
        Smallest IoU of a match, in (0, 1].

    Returns
    -------
    Matches
        Its pairs are row numbers.

    Raises
    ------
    ImageError
        If a shape is not (n, 4).
    """
    table = box_iou(truth_boxes, boxes)
    rows, columns = np.nonzero(table)
    ious = table[rows, columns]
    chosen = _assign(rows, columns, ious, threshold)
    pairs = np.stack([rows[chosen], columns[chosen]], axis=1).astype(np.int64)
    return _matches(pairs, ious[chosen], *table.shape)


def _masks(truth: ArrayLike, prediction: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if a.shape != b.shape:
        raise ImageError(f"The masks compared differ in shape: {a.shape} and {b.shape}.")
    return a, b


def _label_image(labels: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise ImageError(f"The {what} must be whole numbers, not {array.dtype}.")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ImageError(f"The {what} must not be negative; the least is {array.min()}.")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def _cells(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the label values without 0, their areas, and each pixel's position among them."""
    flat = labels.ravel()
    top = int(flat.max()) if flat.size else 0
    if top <= 4 * flat.size + 1024:
        # Counting beats sorting by far, and labels are nearly always small numbers.
        areas = np.bincount(flat.astype(np.int64), minlength=1)
        areas[0] = 0
        values = np.flatnonzero(areas)
        position = np.zeros(len(areas), dtype=np.int64)
        position[values] = np.arange(len(values))
        return values, areas[values], position[flat]
    values, index, areas = np.unique(flat, return_inverse=True, return_counts=True)
    if values[0] == 0:
        return values[1:], areas[1:], index - 1
    return values, areas, index


def _assign(rows: np.ndarray, columns: np.ndarray, ious: np.ndarray, threshold: float) -> np.ndarray:
    """Return which of the candidate pairs make the best one-to-one matching, in the order of the rows."""
    candidates = np.flatnonzero(ious >= threshold)
    r, c = rows[candidates], columns[candidates]
    alone = (np.bincount(r, minlength=1)[r] == 1) & (np.bincount(c, minlength=1)[c] == 1)
    chosen = candidates[alone]  # above an IoU of one half that is every pair
    if not alone.all():
        rest = candidates[~alone]
        chosen = np.concatenate([chosen, rest[_best_matching(r[~alone], c[~alone], ious[rest])]])
    return chosen[np.argsort(rows[chosen], kind="stable")]


def _best_matching(rows: np.ndarray, columns: np.ndarray, ious: np.ndarray) -> np.ndarray:
    """Return the positions of the pairs that match most rows, and among those sum to the greatest IoU."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    row_values, row = np.unique(rows, return_inverse=True)
    column_values, column = np.unique(columns, return_inverse=True)
    n, m = len(row_values), len(column_values)
    # A column of its own for each row lets it stay unmatched at no gain. A pair counts 1 and the
    # IoUs of all pairs together less than 1, so a further pair always beats better overlap.
    everyone = np.arange(n)
    weights = np.concatenate([1 + ious / (n + 1), np.full(n, 1e-9)])
    coordinates = (np.concatenate([row, everyone]), np.concatenate([column, m + everyone]))
    graph = csr_array((weights, coordinates), shape=(n, m + n))
    partner = np.empty(n, dtype=np.int64)
    matched_row, matched_column = min_weight_full_bipartite_matching(graph, maximize=True)
    partner[matched_row] = matched_column
    return np.flatnonzero(partner[row] == column)


def _matches(pairs: np.ndarray, ious: np.ndarray, true: int, found: int) -> Matches:
    n = len(pairs)
    return Matches(n, found - n, true - n, pairs, ious)


def _boxes(boxes: ArrayLike) -> np.ndarray:
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ImageError(f"Boxes must have the shape (n, 4), not {array.shape}.")
    return array


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)


def soft_dice(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Return the soft Dice coefficient: that of probabilities, over all pixels together.

    Parameters
    ----------
    y_true, y_pred : ndarray of one shape
        Truth in {0, 1} and probability in [0, 1].
    """
    truth = np.asarray(y_true, np.float64)
    probability = np.asarray(y_pred, np.float64)
    overlap = float((truth * probability).sum())
    return (2.0 * overlap + SMOOTHING) / (float(truth.sum()) + float(probability.sum()) + SMOOTHING)
