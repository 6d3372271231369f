"""Medians are NumPy's to the bit, which colours and stains depend on."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.images.pixels import median


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 501])
def test_the_median_is_that_of_numpy(count: int, dtype: type) -> None:
    values = (np.random.default_rng(count).integers(0, 40, count) / 7).astype(dtype)
    found = median(values)
    assert found == np.median(values)
    assert found.dtype == dtype
