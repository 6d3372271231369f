"""The diameter of lone red cells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.datasets.red_cell_size import red_cell_diameter
from napari_wbcseg.images.illumination import normalised
from napari_wbcseg.synthetic.smear import synthetic_smear


@pytest.mark.parametrize("diameter", [40.0, 80.0, 120.0])
def test_lone_red_cells_tell_their_diameter(diameter: float) -> None:
    side = round(8 * diameter)
    smear = synthetic_smear((side, side), cell_diameter=diameter, white_cells=0, density=0.2, seed=1)
    found = red_cell_diameter(1 - normalised(smear.image))
    assert found == pytest.approx(2 * np.median(smear.red_cells[:, 2]), rel=0.12)


def test_an_empty_slide_tells_nothing() -> None:
    assert red_cell_diameter(np.zeros((100, 100, 3), np.float32)) is None
    assert red_cell_diameter(np.random.default_rng(0).normal(0, 0.01, (90, 90, 3)).astype(np.float32)) is None
