"""What a recipe finds in one image, before it is numbered and measured."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Found:
    """Cells of one image.

    Attributes
    ----------
    labels : ndarray of int32, shape (H, W)
        Any distinct numbers; 0 is background.
    probability : ndarray of float32, shape (H, W)
    proposals : ndarray of int64, shape (n, 4)
        ``row0, col0, row1, col1``, ends exclusive.
    cell_diameter : float or None
        Diameter in pixels that the image was analysed at.
    certainty : dict of int to float
        For some or all labels, how certain the recipe is, in [0, 1].
    notes : tuple of str
    """

    labels: np.ndarray
    probability: np.ndarray
    proposals: np.ndarray
    cell_diameter: float | None
    certainty: dict[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
