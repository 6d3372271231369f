"""The stain of any part of an image, without bringing the whole of it to RGB."""

from __future__ import annotations

from typing import Any

import numpy as np

from .measure import density_inside

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
        from ..images.prepare import bit_range, prepare_image

        self._image = image
        self.shape: tuple[int, int] = (int(image.shape[0]), int(image.shape[1]))
        self._value_range = bit_range(image) if value_range is None else value_range
        step = max(1, round(max(self.shape) / _SAMPLED_SIDE))
        sample = prepare_image(np.asarray(image[::step, ::step]), self._value_range)
        self.background = background_colour(sample.pixels)

    def density(self, inside: np.ndarray, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return the density of some pixels of a part of the image, float32, and 0 elsewhere.

        Parameters
        ----------
        inside : ndarray of bool, shape (H, W)
        origin : tuple of int
            Where the part's first row and column lie in the image.
        """
        top, left = origin
        part = np.asarray(self._image[top : top + inside.shape[0], left : left + inside.shape[1]])
        return density_inside(inside, part, self.background, self._to_rgb)

    def _to_rgb(self, colours: np.ndarray) -> np.ndarray:
        from ..images.prepare import prepare_image

        return prepare_image(colours[:, None], self._value_range).pixels[:, 0]
