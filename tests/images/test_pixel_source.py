"""Parts of an image of any kind."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_wbcseg.images.pixel_source import PixelSource


@pytest.mark.parametrize("shape", [(9000, 12000, 3), (40, 60_000, 3)])
def test_the_light_of_a_slide_is_told_without_reading_it_as_a_whole(shape: tuple[int, ...]) -> None:
    read = []

    def block(block_info: Any = None) -> np.ndarray:
        (rows, cols, colours) = (end - start for start, end in block_info[None]["array-location"])
        read.append(rows * cols)
        return np.tile(np.array([200, 180, 240], np.uint8), (rows, cols, colours // 3))

    slide = da.map_blocks(
        block,
        chunks=da.core.normalize_chunks((500, 500, 3), shape),
        dtype=np.uint8,
        meta=np.zeros((0, 0, 0), np.uint8),
    )
    source = PixelSource(slide)
    np.testing.assert_array_equal(source.background, [200, 180, 240])
    assert sum(read) < 0.4 * shape[0] * shape[1]
