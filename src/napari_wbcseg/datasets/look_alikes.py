"""What a model takes for white cells where none is: a training looks there often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..box import Box, label_boxes
from .pair import Outliner

# Sizes over the true one that a model may be led to look for, where it makes its mistakes.
_SIZES = (0.4, 0.6, 0.85, 1.0)
_SMALLEST = 16.0  # pixels: of smaller cells a picture shows too little
# A cell found at another size is no mistake if it lies on a true one.
_CLEAR = 0.25


def taken_for_cells(
    image: np.ndarray, white_cell: float, outline: Outliner, true: Sequence[Box] = ()
) -> tuple[Box, ...]:
    """Return the boxes of what a model takes for white cells, where it looks for small ones too.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    white_cell : float
        Diameter of the image's white cells, pixels.
    outline : Outliner
    true : sequence of Box
        The white cells there are; what lies on one, a quarter of a cell around it included, is none.
    """
    cells = [box.grown(round(_CLEAR * white_cell), image.shape) for box in true]
    sizes = [share * white_cell for share in _SIZES if share * white_cell >= _SMALLEST]
    found = [outline(image, size) for size in sizes]
    places = [place for labels in found for _, place in label_boxes(labels)]
    return tuple(place for place in places if not any(place.iou(cell) for cell in cells))
