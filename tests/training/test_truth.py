"""What the networks are taught, and how their answers are scored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wbcseg.evaluation.metrics import soft_dice
from napari_wbcseg.network.robust import CANONICAL_DIAMETER, ROBUST
from napari_wbcseg.training.samples.class_map import NOTHING_ELSE, PLATELET, UNKNOWN
from napari_wbcseg.training.samples.compose import Sample
from napari_wbcseg.training.truth import TRUTH_CHANNELS, dice_coefficient, dice_loss, robust_loss, truth_of

CELL, CENTRE, OFFSET, SIZE = 0, 1, slice(2, 4), 4
RED_CELL, PLATELETS = 5, 6
VALID, SHAPE, SIZED, CLASSES = range(7, 11)


def sample(
    *cells: tuple[float, float, float],
    unknown: tuple[int, ...] = (),
    doubtful: bool = False,
    classes: np.ndarray | None = None,
) -> Sample:
    """Return a sample of discs ``(row, col, diameter)``, of which some have no known centre."""
    rows, cols = np.mgrid[:96, :96]
    labels = np.zeros((96, 96), np.int32)
    diameters, centres = {}, {}
    for number, (row, col, diameter) in enumerate(cells, 1):
        labels[(rows - row) ** 2 + (cols - col) ** 2 <= diameter**2 / 4] = number
        if number not in unknown:
            diameters[number], centres[number] = diameter, (row, col)
    doubt = np.zeros((96, 96), bool)
    doubt[:10] = doubtful
    if classes is None:
        classes = np.full((96, 96), UNKNOWN, np.float32)
    return Sample(np.ones((96, 96, 3), np.float32), labels, classes, doubt, diameters, centres)


def perfect(truth: np.ndarray) -> np.ndarray:
    """Return the prediction that says exactly the truth, for a batch of one."""
    return truth[None, ..., :VALID].copy()


def loss(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.asarray(robust_loss(truth[None], predicted)))


def test_each_pixel_of_a_cell_points_to_its_centre_in_canonical_radii() -> None:
    drawn = sample((30, 30, 40), (65, 70, 30))
    truth = truth_of(drawn)
    assert truth.shape == (96, 96, TRUTH_CHANNELS)
    assert truth.dtype == np.float32
    rows, cols = np.mgrid[:96, :96]
    for index, centre in drawn.centres.items():
        mask = drawn.labels == index
        points_to = np.stack([rows[mask], cols[mask]], 1) + truth[mask][:, OFFSET] * CANONICAL_DIAMETER / 2
        np.testing.assert_allclose(points_to, np.broadcast_to(centre, points_to.shape), atol=1e-4)
    assert not truth[drawn.labels == 0][:, 2:5].any()


def test_centres_are_peaks_as_wide_as_a_tenth_of_the_cell() -> None:
    truth = truth_of(sample((30, 30, 40), (65, 70, 20)))[..., CENTRE]
    assert truth[30, 30] == truth[65, 70] == 1
    assert truth[30, 34] == pytest.approx(np.exp(-0.5))
    assert truth[65, 72] == pytest.approx(np.exp(-0.5))
    assert truth[0, 95] < 1e-6


def test_size_is_told_in_octaves_of_the_canonical_diameter() -> None:
    truth = truth_of(sample((30, 30, CANONICAL_DIAMETER), (75, 75, CANONICAL_DIAMETER / 2)))
    assert truth[30, 30, SIZE] == 0
    assert truth[75, 75, SIZE] == -1


def test_a_centre_outside_the_window_is_pointed_to_all_the_same() -> None:
    truth = truth_of(sample((-5, 40, 40)))
    assert truth[0, 40, OFFSET][0] == pytest.approx(-5 / (CANONICAL_DIAMETER / 2))


def test_the_perfect_answer_beats_every_other() -> None:
    truth = truth_of(sample((30, 30, 40), (65, 70, 30)))
    best = loss(truth, perfect(truth))
    assert best < 0.01
    for channel, change in ((CELL, 0.3), (CENTRE, 0.3), (2, 0.5), (3, 0.5), (SIZE, 0.5), (RED_CELL, 0.3)):
        wrong = perfect(truth)
        wrong[..., channel] = (
            np.abs(wrong[..., channel] - change) if channel in (0, 1, 5) else wrong[..., channel] + change
        )
        assert loss(truth, wrong) > best + 0.01, channel


def test_doubtful_pixels_do_not_count() -> None:
    truth = truth_of(sample((40, 40, 40), doubtful=True))
    assert not truth[:10, :, VALID].any()
    wrong = perfect(truth)
    wrong[:, :10, :, :2] = 1
    assert loss(truth, wrong) == pytest.approx(loss(truth, perfect(truth)), abs=1e-5)


def test_a_cell_without_a_known_centre_teaches_its_outline_alone() -> None:
    truth = truth_of(sample((40, 40, 40), unknown=(1,)))
    inside = truth[..., CELL] > 0
    assert (truth[inside][:, SHAPE] == -1).all()
    guess = perfect(truth)
    guess[0, inside, 1:RED_CELL] = 0.9
    assert loss(truth, guess) == pytest.approx(loss(truth, perfect(truth)), abs=1e-5)
    guess[0, inside, 0] = 0.1
    assert loss(truth, guess) > loss(truth, perfect(truth)) + 0.1


def test_offset_and_size_of_the_background_do_not_count() -> None:
    truth = truth_of(sample((40, 40, 40)))
    guess = perfect(truth)
    guess[0, truth[..., CELL] == 0, 2:RED_CELL] = 3
    assert loss(truth, guess) == pytest.approx(loss(truth, perfect(truth)), abs=1e-5)


def test_an_empty_sample_has_a_finite_loss_that_falls_with_false_cells() -> None:
    truth = truth_of(sample())
    clean, false = perfect(truth), perfect(truth)
    false[..., :2] = 0.5
    assert np.isfinite(loss(truth, clean))
    assert loss(truth, clean) < loss(truth, false)


# Red cells, platelets ------------------------------------------------------------------------------


def mapped(value: float, inside: np.ndarray, elsewhere: float = NOTHING_ELSE) -> np.ndarray:
    return np.where(inside, value, elsewhere).astype(np.float32)


SQUARE = np.zeros((96, 96), bool)
SQUARE[60:90, 10:40] = True


def test_red_cells_tell_their_own_size() -> None:
    truth = truth_of(sample((30, 30, 40), classes=mapped(CANONICAL_DIAMETER / 2, SQUARE)))
    assert (truth[SQUARE][:, RED_CELL] == 1).all()
    assert (truth[SQUARE][:, SIZE] == -1).all()
    assert (truth[SQUARE][:, SIZED] > 0).all()
    assert truth[..., RED_CELL].sum() == SQUARE.sum()


def test_what_nobody_said_is_not_taught() -> None:
    truth = truth_of(sample((30, 30, 40), classes=mapped(PLATELET, SQUARE, UNKNOWN)))
    assert (truth[SQUARE][:, [PLATELETS, CLASSES]] == 1).all()
    cell = truth[..., CELL] > 0
    # But a white cell is no red cell, whatever lies around it.
    assert (truth[..., CLASSES] == (SQUARE | cell)).all()
    guess = perfect(truth)
    guess[0, ~(SQUARE | cell), RED_CELL:] = 0.9
    assert loss(truth, guess) == pytest.approx(loss(truth, perfect(truth)), abs=1e-4)


def test_the_network_says_all_of_it_and_is_small() -> None:
    assert [(output.name, output.channels) for output in ROBUST.outputs] == [
        ("cell", 1),
        ("centre", 1),
        ("offset", 2),
        ("size", 1),
        ("red_cell", 1),
        ("platelet", 1),
    ]
    assert ROBUST.multiple == 16
    assert sum(np.prod(shape) for shape in ROBUST.tensor_shapes().values()) * 2 < 20e6


# The published loss -------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 4),
    side=st.integers(1, 64),
    share=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_keras_and_numpy_agree(seed: int, count: int, side: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, side, side, 1)) < share).astype(np.float32)
    probability = rng.random((count, side, side, 1), dtype=np.float32)

    expected = soft_dice(truth, probability)

    assert float(dice_coefficient(truth, probability)) == pytest.approx(expected, abs=1e-6)
    assert float(dice_loss(truth, probability)) == pytest.approx(1 - expected, abs=1e-6)


def test_the_sums_run_over_all_pixels_of_the_batch() -> None:
    truth = np.zeros((2, 10, 10, 1))
    truth[0] = 1
    probability = np.zeros((2, 10, 10, 1))
    probability[0, :5] = 1
    assert soft_dice(truth, probability) == (2 * 50 + 1) / (100 + 50 + 1)


def test_two_empty_masks_agree() -> None:
    assert soft_dice(np.zeros((4, 4)), np.zeros((4, 4))) == 1


def test_half_precision_does_not_overflow() -> None:
    ones = np.ones((1, 512, 512, 1), np.float16)
    assert float(dice_coefficient(ones, ones)) == pytest.approx(1, abs=1e-6)
