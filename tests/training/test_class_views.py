"""Cells as another laboratory might show them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.classification.crops import PARAMETERS as CROPS
from napari_wbcseg.training.class_cells import discs, drawn_cells, joined
from napari_wbcseg.training.class_views import view

CELLS = joined([drawn_cells(2), discs(3)])


@pytest.mark.parametrize("seed", range(12))
def test_a_view_is_a_cell_on_nothing_and_follows_from_its_seed(seed: int) -> None:
    crop, mask = CELLS.cell(seed % len(CELLS))
    other = CELLS.cell((seed + 1) % len(CELLS))
    picture = view(crop, mask, np.random.default_rng(seed), other)
    assert picture.shape == (CROPS.side, CROPS.side, 3)
    assert picture.dtype == np.float32
    assert np.isfinite(picture).all()
    assert picture.max() > 0
    np.testing.assert_array_equal(picture, view(crop, mask, np.random.default_rng(seed), other))


def test_views_of_one_cell_differ_in_colour_and_size() -> None:
    crop, mask = CELLS.cell(0)
    views = [view(crop, mask, np.random.default_rng(seed), CELLS.cell(1)) for seed in range(40)]
    sizes = [np.count_nonzero(one.max(axis=2) > 0.05) for one in views]
    assert max(sizes) > 1.5 * min(sizes)
    redness = [one[..., 0].sum() / one[..., 2].sum() for one in views]
    assert max(redness) > 1.2 * min(redness)


def test_a_picture_without_a_cell_is_no_error() -> None:
    nothing = np.ones_like(CELLS.cell(0)[0])
    for seed in range(20):
        picture = view(nothing, nothing[..., 0] * 0, np.random.default_rng(seed), CELLS.cell(1))
        assert np.isfinite(picture).all()
