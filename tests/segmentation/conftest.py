"""Tiles so small that a small image has many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from napari_wbcseg.segmentation.tiles import TileParameters


@pytest.fixture(scope="module")
def small_tiles() -> Iterator[TileParameters]:
    """Lay images out in tiles of 128 canonical pixels: of 64 of the image, where cells are 24 across."""
    parameters = TileParameters(core=128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_wbcseg.segmentation.tiles.PARAMETERS", parameters)
        yield parameters
