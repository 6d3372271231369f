"""An image in a file that was opened, whatever its format: its planes, and what the file says of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from .pixel_size import PixelSize, Stated, in_micrometres

CHUNK = 512
"""Pixels that a chunk is long at least, in whole tiles or strips."""


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """What the readers of all formats return.

    Attributes
    ----------
    levels : tuple of arrays, each (N, H, W, C)
        Full resolution first; slicing one reads its pixels.
    notes : tuple of str
        What was left out, and what its planes are.
    in_parts : bool
        Whether a part can be read without the whole.
    fields : int
        How many images of the file were put together as planes.
    alpha : bool
        Whether the last of two or four channels is known to be transparency.
    read_stated : callable
        Reads what the file states of the size of its pixels.
    read_orientation : callable
        Reads how a camera noted that it was turned (EXIF and TIFF): 1 to 8.
    close : callable
        What is read after that fails.
    """

    levels: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    in_parts: bool = True
    fields: int = 1
    alpha: bool = False
    read_stated: Callable[[], Stated | None] = lambda: None
    read_orientation: Callable[[], Any] = lambda: 1
    close: Callable[[], None] = lambda: None

    @cached_property
    def pixel_size(self) -> tuple[PixelSize | None, tuple[str, ...]]:
        """The size of a pixel, and why there is none where the file states one."""
        try:
            return in_micrometres(self.read_stated())
        except Exception:  # broken tags, of any kind: the pixels may be sound
            return None, ()

    @cached_property
    def orientation(self) -> int:
        """How a camera noted that it was turned, 1 to 8; 1 where it noted nothing."""
        try:
            found = self.read_orientation()
        except Exception:  # as above
            return 1
        return found if isinstance(found, int) and 1 <= found <= 8 else 1

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, with those on its orientation and its pixel size."""
        if self.orientation == 1:
            return (*self.notes, *self.pixel_size[1])
        turned = (
            f"The camera noted that the picture was turned or mirrored (orientation {self.orientation}); it "
            "was taken as it is stored, which is what napari shows, so that outlines lie on it."
        )
        return (*self.notes, turned, *self.pixel_size[1])


class LazyPixels(ABC):
    """Planes of rows and columns that are sliced like a NumPy array, also by dask.

    Attributes
    ----------
    shape : tuple of int
        Images, rows, columns, colours (1 or 3, and perhaps alpha behind).
    dtype : dtype
    chunks : tuple of int
        What is read at once with least effort.
    again : callable
        Opens the same in another process, which cannot get the open file sent.
    """

    ndim = 4
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int, int, int]
    again: Callable[[], LazyPixels]

    def __reduce__(self) -> tuple[Callable[[], LazyPixels], tuple[()]]:
        return self.again, ()

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @abstractmethod
    def read(self, image: int, box: Box) -> NDArray[Any]:
        """Return the pixels (rows, columns, colours) of a part of one plane."""

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return pixels (images, rows, columns, colours); indices drop their axis, as in NumPy."""
        key = key if isinstance(key, tuple) else (key,)
        key = (*key, *[slice(None)] * (4 - len(key)))
        images, rows, cols, _ = (range(side)[one] for one, side in zip(key, self.shape, strict=True))
        (top, bottom), (left, right) = _span(rows), _span(cols)
        box = Box(top, left, bottom, right)
        wanted = [images] if isinstance(images, int) else images
        out = np.empty((len(wanted), *box.shape, self.shape[3]), self.dtype)
        if out.size:
            for number, image in enumerate(wanted):
                out[number] = self.read(image, box)
        steps = [0 if isinstance(one, int) else slice(None, None, one.step) for one in (rows, cols)]
        return out[(0 if isinstance(images, int) else slice(None), *steps, key[3])]


def _span(wanted: range | int) -> tuple[int, int]:
    """Return the first index of a range and the one after its last, upwards."""
    if isinstance(wanted, int):
        return wanted, wanted + 1
    return (min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]) + 1) if wanted else (0, 0)


def chunk_of(side: int, step: int) -> int:
    """Return how long a chunk is along a side that is stored in tiles or strips of so many pixels."""
    return min(side, step * math.ceil(CHUNK / step))
