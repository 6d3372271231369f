"""Where results are drawn: an array in memory or on disk, alone or with its pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..box import Box


class Canvas:
    """One image, or a plane of a stack, in one or more resolutions.

    Parameters
    ----------
    arrays : sequence of arrays, each (H, W) or (N, H, W)
        NumPy or zarr, full resolution first; each holds every second pixel of that before.
    plane : int, optional
        Of a stack.
    """

    def __init__(self, arrays: Sequence[Any], plane: int | None = None) -> None:
        self.arrays = list(arrays)
        self._plane = () if plane is None else (plane,)

    def read(self, box: Box, level: int = 0) -> np.ndarray:
        """Return a part, in the pixels of one resolution."""
        return np.asarray(self.arrays[level][(*self._plane, *box.slices)])

    def draw(self, box: Box, values: np.ndarray) -> None:
        """Put the values that are not 0 over what is there."""
        self.replace(box, np.where(values != 0, values, self.read(box)))

    def replace(self, box: Box, values: np.ndarray, levels: slice = slice(None)) -> None:
        """Put values in place of what is there, in some resolutions; the box is in pixels of their first."""
        for number, array in enumerate(self.arrays[levels]):
            step = 2**number
            top, left = -(-box.top // step), -(-box.left // step)
            part = values[top * step - box.top :: step, left * step - box.left :: step]
            if part.size:
                place = Box(top, left, top + part.shape[0], left + part.shape[1])
                array[(*self._plane, *place.slices)] = part
