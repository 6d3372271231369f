"""Small images of noise, the same ones each time."""

from __future__ import annotations

import numpy as np


def random_rgb(height: int = 12, width: int = 17, top: int = 255, dtype: type = np.uint8) -> np.ndarray:
    """Return an image (height, width, 3) with values from 0 to ``top``."""
    return np.random.default_rng(0).integers(0, top, (height, width, 3), endpoint=True).astype(dtype)


def random_grey(top: int = 255, dtype: type = np.uint8) -> np.ndarray:
    """Return the first colour of `random_rgb`."""
    return random_rgb(top=top, dtype=dtype)[..., 0]
