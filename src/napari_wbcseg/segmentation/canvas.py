"""Where results are drawn: an array in memory or on disk, alone or with its pyramid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    def read(self, box: Box) -> np.ndarray:
        """Return a part, in full resolution."""
        return np.asarray(self.arrays[0][(*self._plane, *box.slices)])

    def draw(self, box: Box, values: np.ndarray) -> None:
        """Put the values that are not 0 over what is there."""
        self._put(box, values, lambda old, new: np.where(new != 0, new, old))

    def raise_to(self, box: Box, values: np.ndarray) -> None:
        """Put the greater of two values at each pixel."""
        self._put(box, values, np.maximum)

    def replace(self, box: Box, values: np.ndarray) -> None:
        """Put values in place of what is there."""
        self._put(box, values, None)

    def _put(
        self, box: Box, values: np.ndarray, join: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    ) -> None:
        for level, array in enumerate(self.arrays):
            step = 2**level
            top, left = -(-box.top // step), -(-box.left // step)
            part = values[top * step - box.top :: step, left * step - box.left :: step]
            if not part.size:
                continue
            place = (*self._plane, *Box(top, left, top + part.shape[0], left + part.shape[1]).slices)
            array[place] = part if join is None else join(np.asarray(array[place]), part)
