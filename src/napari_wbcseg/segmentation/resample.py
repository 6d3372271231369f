"""Images at the scale of the network, and back."""

from __future__ import annotations

import numpy as np


def resample(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale an image, averaging where it shrinks.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W) or (H, W, C)
    factor : float
        Size of the result over the size of the image.

    Returns
    -------
    ndarray of float32
        At least one pixel along each side.

    Examples
    --------
    >>> resample(np.ones((10, 20, 3), np.float32), 0.5).shape
    (5, 10, 3)
    """
    import cv2

    height, width = image.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return image
    flags = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=flags)


def enlarge(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate a map linearly to a given shape (H, W)."""
    import cv2

    if image.shape[:2] == shape:
        return image
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
