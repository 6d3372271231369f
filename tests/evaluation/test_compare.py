"""What is said of two models: nothing is better before enough cells say so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg.evaluation.compare import Comparison
from napari_wbcseg.evaluation.evaluate import Evaluation
from napari_wbcseg.settings import SegmentationSettings


def scored(cell_dice: np.ndarray) -> Evaluation:
    """Return the scores of a model that reached this Dice on each cell."""
    summary = {"dice": float(cell_dice.mean()), "f1": 1.0, "count_error": 0.0, "cells": len(cell_dice)}
    return Evaluation(pd.DataFrame(), summary, "model@0", SegmentationSettings(), cell_dice)


def compared(old: np.ndarray, new: np.ndarray) -> Comparison:
    return Comparison(scored(old), scored(new), scored(old), scored(old))


def test_three_cells_say_nothing_however_much_they_gain() -> None:
    verdict = compared(np.full(3, 0.5), np.full(3, 0.9)).verdict
    assert verdict.startswith("On 3 cells of yours that it has not seen Dice was 0.500 and is 0.900 now")
    assert "too few to say which model is better" in verdict


@pytest.mark.parametrize(
    ("gain", "spread", "said"),
    [
        (0.02, 0.01, "the new model is better"),
        (-0.02, 0.01, "the new model is worse"),
        (0.02, 0.2, "may be as good as the old one"),
        (0, 0, "may be as good as the old one"),
    ],
)
def test_a_gain_counts_where_its_interval_leaves_zero_out(gain: float, spread: float, said: str) -> None:
    old = np.linspace(0.6, 0.8, 20)
    comparison = compared(old, old + gain + spread * np.tile([1, -1], 10))
    assert said in comparison.verdict
    low, high = comparison.interval
    half = 2.093 * spread * np.sqrt(20 / 19) / np.sqrt(20)  # Student's t of 19 degrees of freedom
    assert (low, high) == pytest.approx((gain - half, gain + half), abs=1e-4)


def test_one_cell_is_one_cell() -> None:
    comparison = compared(np.ones(1), np.ones(1))
    assert "On 1 cell of yours" in comparison.verdict
    assert comparison.table()[0][0] == "your cells (1 cell)"
