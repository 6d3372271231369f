from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wbcseg.evaluation.metrics import soft_dice
from napari_wbcseg.training.dice import dice_coefficient, dice_loss


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
