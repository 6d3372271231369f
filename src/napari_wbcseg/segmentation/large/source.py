"""Parts of an image of any kind, as the rest of the package takes them."""

from __future__ import annotations

from typing import Any

import numpy as np


class PixelSource:
    """Reads rectangles of an image as RGB, 0 to 255.

    Parameters
    ----------
    array : array, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        NumPy, dask, zarr, or anything else that gives pixels when it is sliced.
    value_range : float, optional
        Value that becomes 255; found from the whole image when not given
        (see `napari_wbcseg.images.prepare.bit_range`).

    Attributes
    ----------
    shape : tuple of int
        (H, W).
    notes : tuple of str
        What is done to the image, in sentences for the user.

    Raises
    ------
    ImageError
        If the array is no image.
    """

    def __init__(self, array: Any, value_range: float | None = None) -> None:
        from ...images.prepare import bit_range, check_shape, prepare_image

        shape = tuple(int(side) for side in array.shape)
        check_shape(shape)
        self._array = lazy_array(array)
        self.shape = (shape[0], shape[1])
        self.dtype = np.dtype(array.dtype)
        self.value_range = bit_range(self._array) if value_range is None else float(value_range)
        self.notes = prepare_image(self.raw(0, 0, 1, 1), self.value_range).notes

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """Return the pixels of a rectangle inside the image.

        Returns
        -------
        ndarray of float32, shape (bottom - top, right - left, 3)
            RGB, 0 to 255.
        """
        from ...images.prepare import prepare_image

        return prepare_image(self.raw(top, left, bottom, right), self.value_range).pixels

    def raw(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """Return the same as it is stored."""
        return np.asarray(self._array[top:bottom, left:right])


def lazy_array(array: Any) -> Any:
    """Return an array that knows its least and greatest value, which those of zarr do not."""
    if hasattr(array, "min") and hasattr(array, "max"):
        return array
    import dask.array as da

    return da.from_array(array, chunks=getattr(array, "chunks", "auto"), name=False)
