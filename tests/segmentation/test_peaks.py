"""The peaks of a map."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.feature import peak_local_max

from napari_wbcseg.segmentation.peaks import find_peaks


@pytest.mark.parametrize("apart", [1, 2, 4])
def test_peaks_are_those_of_scikit_image_also_on_plateaus(apart: int) -> None:
    rng = np.random.default_rng(apart)
    for levels in (4, 1000):
        image = np.round(rng.random((40, 50)) * levels).astype(np.float32) / levels
        expected = peak_local_max(image, min_distance=apart, threshold_abs=0.25, exclude_border=False)
        np.testing.assert_array_equal(find_peaks(image, apart, 0.25), expected)


def test_a_map_without_a_peak_has_none() -> None:
    assert find_peaks(np.zeros((5, 7), np.float32), 2, 0.25).shape == (0, 2)
