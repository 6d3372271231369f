"""What `benchmarks/training.py` counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("The benchmarks are not beside the tests.", allow_module_level=True)
sys.path.insert(0, str(FOLDER))

import training  # noqa: E402

from napari_wbcseg.network.architecture import CLASSIC, Output, UNetArchitecture  # noqa: E402


def test_operations_are_two_for_each_weight_and_place() -> None:
    small = UNetArchitecture(input_channels=1, widths=(2, 3), outputs=(Output("cell", 1, "sigmoid"),))
    full, half = 64 * 64, 32 * 32
    contracting = full * 9 * (1 * 2 + 2 * 2) + half * 9 * (2 * 3 + 3 * 3)
    expanding = full * 9 * ((3 + 2) * 2 + 2 * 2) + full * 2
    assert training.forward_operations(small, 64) == 2 * (contracting + expanding)


def test_the_published_network_takes_seven_billion_for_a_tile() -> None:
    assert training.forward_operations(CLASSIC) == pytest.approx(7e9, rel=0.02)


def test_its_pairs_can_be_trained_on(tmp_path: Path) -> None:
    from napari_wbcseg.datasets.read import read_pairs
    from napari_wbcseg.settings import TrainingSettings
    from napari_wbcseg.training.plan import make_plan

    training.write_pairs(tmp_path, 6)
    plan = make_plan(read_pairs(tmp_path), TrainingSettings.for_recipe("robust", validation_fraction=0.2))
    assert (len(plan.training), len(plan.validation)) == (5, 1)
