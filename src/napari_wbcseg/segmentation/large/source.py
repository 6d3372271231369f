"""Parts of a large image, as the rest of the package takes them; what was read last is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from ...errors import ImageError

_TILE = 1024
_CACHE_BYTES = 384 * 2**20


class PixelSource:
    """Reads rectangles of an image as RGB, 0 to 255.

    Parameters
    ----------
    array : array, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        NumPy, dask, zarr, or anything else that gives pixels when it is sliced.
    value_range : float, optional
        Value that becomes 255; found from the whole image when not given
        (see `napari_wbcseg.images.read.bit_range`).

    Raises
    ------
    ImageError
        If the array is no image.
    """

    def __init__(self, array: Any, value_range: float | None = None) -> None:
        from ...images.read import bit_range

        shape = tuple(int(side) for side in array.shape)
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
            raise ImageError(f"An array of shape {shape} is not one image; give grey or RGB.")
        self._array = _sliceable(array)
        self._in_memory = isinstance(array, np.ndarray) and not isinstance(array, np.memmap)
        self.shape = (shape[0], shape[1])
        self.dtype = np.dtype(array.dtype)
        self.value_range = bit_range(self._array) if value_range is None else float(value_range)
        self._tiles: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """Return the pixels of a rectangle inside the image.

        Returns
        -------
        ndarray of float32, shape (bottom - top, right - left, 3)
            RGB, 0 to 255.
        """
        from ...images.read import prepare_image

        return prepare_image(self.raw(top, left, bottom, right), self.value_range).pixels

    def raw(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """Return the same as it is stored."""
        if self._in_memory:
            return np.asarray(self._array[top:bottom, left:right])
        first = self._tile(top // _TILE, left // _TILE)
        out = np.empty((bottom - top, right - left, *first.shape[2:]), first.dtype)
        for i in range(top // _TILE, (bottom - 1) // _TILE + 1):
            for j in range(left // _TILE, (right - 1) // _TILE + 1):
                r0, r1 = max(top, i * _TILE), min(bottom, (i + 1) * _TILE)
                c0, c1 = max(left, j * _TILE), min(right, (j + 1) * _TILE)
                part = self._tile(i, j)[r0 - i * _TILE : r1 - i * _TILE, c0 - j * _TILE : c1 - j * _TILE]
                out[r0 - top : r1 - top, c0 - left : c1 - left] = part
        return out

    def _tile(self, row: int, col: int) -> np.ndarray:
        with self._lock:
            if (row, col) in self._tiles:
                self._tiles.move_to_end((row, col))
                return self._tiles[row, col]
            tile = np.asarray(self._array[row * _TILE : (row + 1) * _TILE, col * _TILE : (col + 1) * _TILE])
            self._tiles[row, col] = tile
            self._bytes += tile.nbytes
            while self._bytes > _CACHE_BYTES and len(self._tiles) > 1:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes
            return tile


def _sliceable(array: Any) -> Any:
    """Return an array that knows its least and greatest value, which those of zarr do not."""
    if hasattr(array, "min") and hasattr(array, "max"):
        return array
    import dask.array as da

    return da.from_array(array, chunks=getattr(array, "chunks", "auto"), name=False)
