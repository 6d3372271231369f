"""An array of image planes whose pixels are read when a part of them is asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LazyPixels(ABC):
    """Planes of rows and columns that are sliced like a NumPy array, also by dask.

    Attributes
    ----------
    shape : tuple of int
        Images, rows, columns, colours (1 or 3, and perhaps alpha behind).
    dtype : dtype
    chunks : tuple of int
        What is read at once with least effort.
    """

    ndim = 4
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int, int, int]

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @abstractmethod
    def read(self, image: int, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        """Return the pixels (rows, columns, colours) of a rectangle of one plane."""

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return pixels (images, rows, columns, colours); indices drop their axis, as in NumPy."""
        key = key if isinstance(key, tuple) else (key,)
        key = (*key, *[slice(None)] * (4 - len(key)))
        images, rows, cols, _ = (range(side)[one] for one, side in zip(key, self.shape, strict=True))
        box = (*_span(rows), *_span(cols))
        wanted = [images] if isinstance(images, int) else images
        out = np.empty((len(wanted), box[1] - box[0], box[3] - box[2], self.shape[3]), self.dtype)
        if out.size:
            for number, image in enumerate(wanted):
                out[number] = self.read(image, *box)
        steps = [0 if isinstance(one, int) else slice(None, None, one.step) for one in (rows, cols)]
        return out[(0 if isinstance(images, int) else slice(None), *steps, key[3])]


def _span(wanted: range | int) -> tuple[int, int]:
    """Return the first index of a range and the one after its last, upwards."""
    if isinstance(wanted, int):
        return wanted, wanted + 1
    return (min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]) + 1) if wanted else (0, 0)
