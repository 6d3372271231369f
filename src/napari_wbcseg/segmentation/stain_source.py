"""The stain of any part of an image, without bringing the whole of it to RGB."""

from __future__ import annotations

from typing import Any

import numpy as np

from .measure import CHUNK, absorbed
from .nucleus import pixels_of
from .runs import Runs

_SAMPLED_SIDE = 512


class StainSource:
    """Tells the optical density of pixels of one image.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, 3) or (H, W, 4)
        Grey or RGB, of any type that `napari_wbcseg.segment` takes; NumPy, dask or zarr.
    value_range : float, optional
        Value of full brightness, where it is known, as for one plane of a stack.

    Raises
    ------
    ImageError
        If the array is no such image.
    """

    def __init__(self, image: Any, value_range: float | None = None) -> None:
        from ..images.illumination import background_colour
        from ..images.read import bit_range, prepare_image

        self._image = image
        self.shape: tuple[int, int] = (int(image.shape[0]), int(image.shape[1]))
        self._value_range = bit_range(image) if value_range is None else value_range
        step = max(1, round(max(self.shape) / _SAMPLED_SIDE))
        sample = prepare_image(np.asarray(image[::step, ::step]), self._value_range)
        self.background = background_colour(sample.pixels)

    def density(self, runs: Runs, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return the density of the pixels of runs, float32, in reading order.

        Parameters
        ----------
        runs : Runs
        origin : tuple of int
            Where the runs' first row and column lie in the image.
        """
        from ..images.read import prepare_image

        if not runs.row.size:
            return np.zeros(0, np.float32)
        (top, left), height, width = origin, int(runs.row.max()) + 1, int(runs.stop.max())
        part = np.asarray(self._image[top : top + height, left : left + width])
        colours = part.reshape(height * width, 1, *part.shape[2:])
        at = pixels_of(runs, width)
        density = np.empty(at.size, np.float32)
        for start in range(0, at.size, CHUNK):
            piece = slice(start, start + CHUNK)
            pixels = prepare_image(colours[at[piece]], self._value_range).pixels
            density[piece] = absorbed(pixels[:, 0], self.background)
        return density
