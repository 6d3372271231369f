"""Where nothing is darker than the red cells there is no nucleus, and the network need not look."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.segmentation.red_cells import RedCells
from napari_wbcseg.segmentation.stain_filter import dark_spots

RED = RedCells(17.0, np.array([0.5, 0.7, 0.4], np.float32))


def stained(factor: float, side: int) -> np.ndarray:
    """Return an empty slide with a square that absorbs so many times the density of red cells."""
    image = np.zeros((80, 90, 3), np.float32)
    density = -factor * np.log(1 - RED.stain / 2)
    image[40 : 40 + side, 30 : 30 + side] = 2 * (1 - np.exp(-density))
    return image


def test_a_nucleus_is_a_spot_and_the_slide_and_red_cells_are_none() -> None:
    spots = dark_spots(stained(1.6, 10), RED)
    assert spots.shape == (80, 90)
    assert spots[45, 35]
    assert not spots[:30].any()
    assert not dark_spots(stained(1.0, 20), RED).any()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_colour_darker_than_red_cells_is_enough(channel: int) -> None:
    image = stained(1.0, 10)
    image[..., channel] = stained(1.6, 10)[..., channel]
    assert dark_spots(image, RED).any()


def test_a_speck_is_no_spot() -> None:
    assert not dark_spots(stained(2.0, 3), RED).any()
    assert dark_spots(stained(2.0, 4), RED).any()
