"""A mosaic lays windows of sources side by side, and knows which of its cells are whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_wbcseg.training.samples.mosaic import mosaic
from napari_wbcseg.training.samples.sources import equivalent_diameter

from .fields import source


@pytest.mark.parametrize("seed", range(4))
def test_a_mosaic_is_a_larger_field_with_cells_of_60_pixels(seed: int) -> None:
    parts = [source((70, 60, 50), (130, 160, 60)), source((100, 120, 80))]
    made = mosaic(parts, np.random.default_rng(seed))
    assert made is not None
    assert made.image.shape == (384, 384, 3)
    assert made.labels.shape == (384, 384)
    assert made.diameter == 60
    assert made.centres
    for index in made.centres:
        mask = made.labels == index
        np.testing.assert_allclose(ndimage.center_of_mass(mask), made.centres[index])
        assert 40 < equivalent_diameter(mask.sum()) < 80
    assert made.image.min() >= 0
    assert made.image.max() <= 1.25


def test_there_is_none_of_a_cell_that_no_window_shows_whole() -> None:
    """It ends a pixel from the border, and is twice as large as in a mosaic."""
    assert mosaic([source((138, 120, 120))], np.random.default_rng(0)) is None
