"""Masks are compared by overlap, cells by a one-to-one matching that is the best there is."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_wbcseg.errors import ImageError
from napari_wbcseg.evaluation.metrics import dice, iou, match_instances

unhurried = settings(deadline=None)  # the first example pays for SciPy's import
shapes = array_shapes(min_dims=2, max_dims=3, max_side=12)
label_images = arrays(np.int32, shapes, elements=st.integers(0, 5))
label_pairs = shapes.flatmap(lambda s: st.tuples(*[arrays(np.int32, s, elements=st.integers(0, 4))] * 2))
thresholds = st.sampled_from([0.05, 0.2, 0.5, 0.75, 1.0])


@unhurried
@given(label_images, thresholds)
def test_an_image_agrees_fully_with_itself(labels: np.ndarray, threshold: float) -> None:
    assert dice(labels, labels) == 1
    assert iou(labels, labels) == 1
    matches = match_instances(labels, labels, threshold)
    assert matches.average_precision == matches.f1 == 1
    present = np.setdiff1d(labels, [0])
    np.testing.assert_array_equal(matches.pairs, np.stack([present, present], axis=1))


@unhurried
@given(label_pairs, thresholds)
def test_truth_and_prediction_may_change_places(
    pair: tuple[np.ndarray, np.ndarray], threshold: float
) -> None:
    a, b = pair
    assert dice(a, b) == dice(b, a)
    assert iou(a, b) == iou(b, a)
    there, back = match_instances(a, b, threshold), match_instances(b, a, threshold)
    assert there.true_positive == back.true_positive
    assert (there.false_positive, there.false_negative) == (back.false_negative, back.false_positive)
    assert there.ious.sum() == pytest.approx(back.ious.sum())


@unhurried
@given(label_pairs, thresholds, st.permutations(range(1, 5)))
def test_the_names_of_the_labels_do_not_matter(
    pair: tuple[np.ndarray, np.ndarray], threshold: float, names: list[int]
) -> None:
    a, b = pair
    renamed = np.array([0, *names])[b]
    before, after = match_instances(a, b, threshold), match_instances(a, renamed, threshold)
    assert before.true_positive == after.true_positive
    assert before.ious.sum() == pytest.approx(after.ious.sum())
    assert match_instances(a, renamed * 1000, threshold).average_precision == before.average_precision


@unhurried
@given(label_pairs)
def test_the_measures_are_tied_as_their_definitions_say(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    assert 0 <= iou(a, b) <= dice(a, b) <= 1
    assert dice(a, b) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)))
    matches = match_instances(a, b)
    assert matches.true_positive + matches.false_negative == len(np.setdiff1d(a, [0]))
    assert matches.true_positive + matches.false_positive == len(np.setdiff1d(b, [0]))
    assert matches.average_precision <= matches.f1
    assert matches.f1 == pytest.approx(2 * matches.average_precision / (1 + matches.average_precision))
    for (t, p), value in zip(matches.pairs, matches.ious, strict=True):
        assert value == pytest.approx(iou(a == t, b == p))


def best_by_trying_all(a: np.ndarray, b: np.ndarray, threshold: float) -> tuple[int, float]:
    """Return the most pairs, and their greatest sum of IoU, over every one-to-one matching."""
    left, right = np.setdiff1d(a, [0]), np.setdiff1d(b, [0])
    best = (0, 0.0)
    for n in range(1, min(len(left), len(right)) + 1):
        for chosen in combinations(left, n):
            for partners in permutations(right, n):
                values = [iou(a == t, b == p) for t, p in zip(chosen, partners, strict=True)]
                if min(values) >= threshold:
                    best = max(best, (n, sum(values)))
    return best


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[arrays(np.int32, (3, 4), elements=st.integers(0, 3))] * 2),
    st.sampled_from([0.01, 0.2, 0.5]),
)
def test_no_other_matching_is_better(pair: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    matches = match_instances(*pair, threshold)
    pairs, total = best_by_trying_all(*pair, threshold)
    assert matches.true_positive == pairs
    assert matches.ious.sum() == pytest.approx(total)


def test_more_pairs_are_preferred_to_one_good_pair() -> None:
    truth = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 0]])
    found = np.array([[7, 7, 7, 7, 7, 7, 8, 8, 8, 8]])
    matches = match_instances(truth, found, threshold=0.2)
    np.testing.assert_array_equal(matches.pairs, [[1, 7], [2, 8]])
    assert matches.ious == pytest.approx([4 / 6, 2 / 6])


def test_counts_of_a_known_case() -> None:
    truth = np.zeros((20, 40), dtype=np.int32)
    truth[2:12, 2:12] = 1
    truth[2:12, 20:30] = 2
    found = np.zeros_like(truth)
    found[2:12, 4:14] = 5  # IoU 80 / 120
    found[14:18, 20:30] = 6  # touches nothing
    matches = match_instances(truth, found)
    assert (matches.true_positive, matches.false_positive, matches.false_negative) == (1, 1, 1)
    assert matches.average_precision == pytest.approx(1 / 3)
    assert matches.f1 == matches.precision == matches.recall == 0.5
    assert matches.ious == pytest.approx([2 / 3])
    assert match_instances(truth, found, threshold=0.7).true_positive == 0


def test_an_iou_of_exactly_the_threshold_is_a_match_but_only_once() -> None:
    truth = np.array([[1, 1]])
    found = np.array([[3, 4]])
    assert match_instances(truth, found, 0.5).true_positive == 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.int64, np.uint64])
def test_every_integer_type_is_taken(dtype: type) -> None:
    labels = np.eye(5).astype(dtype)
    assert match_instances(labels, labels.astype(np.int32)).average_precision == 1


def test_label_values_may_be_huge() -> None:
    labels = np.array([[0, 2**40, 3]])
    assert match_instances(labels, labels).pairs.tolist() == [[3, 3], [2**40, 2**40]]


def test_nothing_found_where_nothing_is_counts_as_right() -> None:
    empty = np.zeros((4, 4), dtype=np.int32)
    full = np.ones((4, 4), dtype=np.int32)
    assert dice(empty, empty) == iou(empty, empty) == match_instances(empty, empty).f1 == 1
    assert dice(empty, full) == iou(empty, full) == match_instances(empty, full).average_precision == 0
    nothing = np.zeros((0, 5), dtype=int)
    assert match_instances(nothing, nothing).average_precision == 1


def test_what_cannot_be_compared_is_refused_in_a_sentence() -> None:
    with pytest.raises(ImageError, match=r"differ in shape: \(3, 3\) and \(4, 4\)"):
        dice(np.ones((3, 3)), np.ones((4, 4)))
    with pytest.raises(ImageError, match="differ in shape"):
        match_instances(np.ones((3, 3), int), np.ones((9,), int))
    with pytest.raises(ImageError, match="whole numbers, not float64"):
        match_instances(np.ones((3, 3)), np.ones((3, 3), int))
    with pytest.raises(ImageError, match="must not be negative"):
        match_instances(np.full((3, 3), -1), np.ones((3, 3), int))


def test_ten_thousand_cells_are_matched() -> None:
    size, step = 2000, 20
    truth = np.kron(np.arange(1, (size // step) ** 2 + 1).reshape(size // step, -1), np.ones((step, step)))
    truth = truth.astype(np.int32)
    moved = np.roll(truth, (3, 4), axis=(0, 1))
    half = match_instances(truth, moved)  # IoU 17 * 16 / (800 - 17 * 16) = 0.515
    anything = match_instances(truth, moved, threshold=0.01)  # every cell has four candidates
    assert half.true_positive == anything.true_positive == 10_000
