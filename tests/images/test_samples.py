"""Parts of a large image that stand for all of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from napari_wbcseg.images import samples
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.images.samples import PARAMETERS, image_digest, spread


@pytest.mark.parametrize("shape", [(4000, 5000), (700, 20_000), (100, 120_001)])
def test_fields_lie_in_the_image_and_do_not_overlap(shape: tuple[int, int]) -> None:
    fields = spread(shape)
    assert len(fields) <= PARAMETERS.fields_a_side**2
    assert all(box == box.within(shape) and box.area for box in fields)
    assert not any(one.common(other).area for one, other in combinations(fields, 2))


def test_a_small_image_is_known_by_each_of_its_pixels_and_by_its_type() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (700, 300, 3), np.uint8)
    changed = pixels.copy()
    changed[699, 17] ^= 1
    digests = [
        image_digest(PixelSource(one)) for one in (pixels, pixels.copy(), changed, pixels.astype(np.uint16))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_large_image_is_known_by_squares_from_corner_to_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "PARAMETERS", replace(PARAMETERS, whole=1000, digest=4, field=50))
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    for place in ((0, 0), (299, 399), (0, 399)):
        changed = pixels.copy()
        changed[place] ^= 1
        assert image_digest(PixelSource(changed)) != image_digest(PixelSource(pixels))
