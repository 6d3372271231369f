"""The measure of `benchmarks/finetune.py`: what is told of a gain and of a loss."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("The benchmarks are not beside the tests.", allow_module_level=True)
sys.path.insert(0, str(FOLDER))

import finetune  # noqa: E402
from accuracy_sets import BenchImage  # noqa: E402


def row(name: str, own: float, original: float) -> dict:
    figures = {"images": 9, "dice_5th_percentile": own, "below_0.95": 1, "count_right": 1.0}
    return {
        "name": name,
        "own": {**figures, "dice": own},
        "original": {**figures, "dice": original},
        "seconds": 60.0,
    }


def test_a_loss_beyond_what_is_allowed_is_marked() -> None:
    text = finetune.report([row("nothing", 0.9, 0.9), row("5", 0.95, 0.895), row("10", 0.91, 0.88)])
    before, five, ten = text.splitlines()[2:]
    assert "more than" not in before + five
    assert "| +0.0500 |" in five
    assert "| +0.0050 |" in five
    assert "+0.0200 (more than 0.01)" in ten


def test_the_set_is_halved_by_number_and_a_copy_is_on_one_side_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (40, 40, 3), np.uint8) for _ in range(6)]
    pictures[1] = pictures[4][:, ::-1]
    crops = [BenchImage(f"{i:03}", image, 1, np.ones((40, 40), np.int32)) for i, image in enumerate(pictures)]
    monkeypatch.setattr(finetune, "zheng_crops", lambda folder: crops)
    own, rest = finetune.halves(Path())
    assert [pair.name for pair in own] == ["000", "002"]
    assert [pair.name for pair in rest] == ["003", "004", "005"]
