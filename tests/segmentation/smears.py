"""Noisy smears with cells on the borders of tiles, and what makes two results the same."""

from __future__ import annotations

import numpy as np

from napari_wbcseg.segmentation.result import Segmentation
from napari_wbcseg.settings import SegmentationSettings

from ..drawings import disc_labels, picture

# A tile is 64 wide. Nearly every dark pixel is a centre to the network of the tests.
SETTINGS = SegmentationSettings(cell_diameter=24.0, split_touching=False)


def smear(height: int, width: int, seed: int) -> np.ndarray:
    """Return a noisy picture with dark discs all over it."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 1, (max(1, height * width // 2500), 2)) * (height, width)
    labels = disc_labels((height, width), [(row, col, rng.uniform(20, 28)) for row, col in places])
    noise = rng.normal(0, 12, (height, width, 3))
    return np.clip(picture(labels) * [0.9, 0.6, 1.0] + noise, 0, 255).astype(np.uint8)


def assert_same(one: Segmentation, two: Segmentation) -> None:
    np.testing.assert_array_equal(np.asarray(one.labels), np.asarray(two.labels))
    np.testing.assert_array_equal(one.proposals, two.proposals)
    assert one.cell_diameter == two.cell_diameter
    assert one.notes == two.notes
    assert one.cells.equals(two.cells)
