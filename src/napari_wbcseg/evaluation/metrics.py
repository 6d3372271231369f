"""How well a segmentation agrees with the truth: overlap of masks, and matching of cells.

Masks are compared pixel by pixel (`dice`, `iou`), cells one to one (`match_instances`), from which
come average precision and F1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..errors import ImageError

#: Added above and below the fraction, so that two empty masks agree perfectly.
SMOOTHING = 1.0


@dataclass(frozen=True)
class Counts:
    """How many cells were found, and what that is as scores; each is 1 where there is nothing to divide by.

    Attributes
    ----------
    true_positive, false_positive, false_negative : int
        Matched pairs, found cells without a partner, true cells without a partner.
    """

    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN), as in the literature of cells (Data Science Bowl, StarDist)."""
        return _share(self.true_positive, self.true_positive + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float:
        """Share of the found cells that are true."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the true cells that were found."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
        twice = 2 * self.true_positive
        return _share(twice, twice + self.false_positive + self.false_negative)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


@dataclass(frozen=True)
class Matches(Counts):
    """Which cells of the truth were found, and which found cells are none.

    Attributes
    ----------
    pairs : ndarray of int64, shape (true_positive, 2)
        Labels of the truth and of what was found, in the order of the truth.
    ious : ndarray of float64, shape (true_positive,)
        Intersection over union of each pair.
    """

    pairs: np.ndarray
    ious: np.ndarray


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
    return _pixels(truth, prediction).f1


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
    return _pixels(truth, prediction).average_precision


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
    index_a, values_a = pd.factorize(a.ravel(), sort=True)
    index_b, values_b = pd.factorize(b.ravel(), sort=True)
    both = (a.ravel() != 0) & (b.ravel() != 0)
    # One number per pair of overlapping cells, counted once each: the sparse contingency table.
    keys, overlap = np.unique(index_a[both] * len(values_b) + index_b[both], return_counts=True)
    rows, columns = np.divmod(keys, max(len(values_b), 1))
    ious = overlap / (np.bincount(index_a)[rows] + np.bincount(index_b)[columns] - overlap)
    chosen = best_matching(rows, columns, ious, threshold)
    pairs = np.stack([values_a[rows[chosen]], values_b[columns[chosen]]], axis=1).astype(np.int64)
    true, found = (int(np.count_nonzero(values)) for values in (values_a, values_b))
    n = len(chosen)
    return Matches(n, found - n, true - n, pairs, ious[chosen])


def _pixels(truth: ArrayLike, prediction: ArrayLike) -> Counts:
    """Count the pixels of two masks as if each were a cell: their Dice is F1, their IoU the precision."""
    a, b = np.asarray(truth) != 0, np.asarray(prediction) != 0
    if a.shape != b.shape:
        raise ImageError(f"The masks compared differ in shape: {a.shape} and {b.shape}.")
    both, true, found = (int(np.count_nonzero(part)) for part in (a & b, a, b))
    return Counts(both, found - both, true - both)


def _label_image(labels: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise ImageError(f"The {what} must be whole numbers, not {array.dtype}.")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ImageError(f"The {what} must not be negative; the least is {array.min()}.")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


def best_matching(rows: np.ndarray, columns: np.ndarray, ious: np.ndarray, threshold: float) -> np.ndarray:
    """Return which pairs of rows and columns make the best one-to-one matching.

    Of those with an IoU of at least ``threshold`` it is as many as can be, and among these the
    ones with the greatest sum.

    Parameters
    ----------
    rows, columns, ious : ndarray, shape (n,)
        The pairs, each once.
    threshold : float

    Returns
    -------
    ndarray of int, shape (matches,)
        Positions among the pairs, increasing.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    candidates = np.flatnonzero(ious >= threshold)
    if not len(candidates):
        return candidates
    row_values, row = np.unique(rows[candidates], return_inverse=True)
    column_values, column = np.unique(columns[candidates], return_inverse=True)
    n, m = len(row_values), len(column_values)
    # A column of its own for each row lets it stay unmatched at no gain. A pair counts 1 and the
    # IoUs of all pairs together less than 1, so a further pair always beats better overlap.
    everyone = np.arange(n)
    weights = np.concatenate([1 + ious[candidates] / (n + 1), np.full(n, 1e-9)])
    coordinates = (np.concatenate([row, everyone]), np.concatenate([column, m + everyone]))
    graph = csr_array((weights, coordinates), shape=(n, m + n))
    _, partner = min_weight_full_bipartite_matching(graph, maximize=True)  # of the rows in their order
    return candidates[partner[row] == column]


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
