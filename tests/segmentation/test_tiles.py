"""The cores of the tiles are the image, and each tile sees a cell of its own whole."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_wbcseg.box import Box
from napari_wbcseg.segmentation.tiles import PARAMETERS, tile_grid

shapes = st.tuples(st.integers(1, 900), st.integers(1, 900))


@given(shapes, st.floats(0.125, 42))
def test_each_pixel_lies_in_one_core(shape: tuple[int, int], canonical_pixel: float) -> None:
    seen = np.zeros(shape, int)
    for tile in tile_grid(shape, canonical_pixel):
        seen[tile.core.slices] += 1
        assert tile.core.top % min(round(PARAMETERS.core * canonical_pixel), PARAMETERS.largest) == 0
    assert (seen == 1).all()


@given(shapes, st.floats(0.125, 1), st.floats(0, 1), st.floats(0, 1))
def test_who_claims_a_cell_sees_it_whole(
    shape: tuple[int, int], canonical_pixel: float, down: float, across: float
) -> None:
    row, col = down * (shape[0] - 1), across * (shape[1] - 1)
    claiming = [tile for tile in tile_grid(shape, canonical_pixel) if tile.claims(row, col)]
    assert claiming
    radius = 48 * canonical_pixel  # of a cell twice the usual size
    for tile in claiming:
        for low, high, at, length in zip(tile.window[:2], tile.window[2:], (row, col), shape, strict=True):
            assert low <= max(at - radius, 0)
            assert high >= min(at + radius, length)


def test_a_field_of_a_microscope_is_one_tile() -> None:
    (tile,) = tile_grid((1000, 1200), 60 / 48)
    assert tile.core == tile.window == Box(0, 0, 1000, 1200)


def test_what_is_left_at_the_edge_is_part_of_the_last_tile_where_it_is_narrow() -> None:
    assert [tile.core.right for tile in tile_grid((1000, 2048 + 255), 1.0)] == [1024, 2048 + 255]
    assert [tile.core.right for tile in tile_grid((1000, 2048 + 257), 1.0)] == [1024, 2048, 2048 + 257]


def test_cores_of_large_cells_stay_small() -> None:
    for tile in tile_grid((20_000, 20_000), 10.0):
        assert max(tile.core.shape) <= 3072
        assert max(tile.window.shape) <= 3072 + 2 * 640
