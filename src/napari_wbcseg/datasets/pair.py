"""An image with its truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..box import Box, label_boxes

#: What the groups of pairs begin with that a fine-tuning adds to the user's; no file name does.
SYNTHETIC_GROUP, REPLAYED_GROUP = "@synthetic", "@replayed"

# Sizes over the true one that a model may be led to look for, where it makes its mistakes.
_SIZES = (0.4, 0.6, 0.85, 1.0)
_SMALLEST = 16.0  # pixels: of smaller cells a picture shows too little
# A cell found at another size is no mistake if it lies on a true one.
_CLEAR = 0.25

#: Labels the cells of an image, given the diameter of a white cell in pixels.
Outliner = Callable[["NDArray[np.uint8]", float], "NDArray[np.int32]"]


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """An image and the cells in it.

    Attributes
    ----------
    name : str
        Name of the image, without folder and suffix.
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    labels : ndarray of int32, shape (H, W)
        0 is background, cells are 1, 2, ...
    group : str
        Pairs of one group show the same slide or cells: keep them on one side of a split.
    mask : ndarray of uint8, shape (H, W), or None
        The black-and-white mask, of a JPEG as stored, before the threshold, where there was one.
    red_cells, platelets : tuple of Box
        Where something is known to be no white cell, though it may look like one.
    all_boxed : bool
        Every red cell and platelet of the image is among these.
    look_alikes : tuple of Box
        What a model took for white cells where there is none: a training looks there often.
    white_cell : float or None
        Diameter of a typical white cell, pixels, where the image shows none to tell it by.
    """

    name: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    group: str
    mask: NDArray[np.uint8] | None = None
    red_cells: tuple[Box, ...] = ()
    platelets: tuple[Box, ...] = ()
    all_boxed: bool = False
    look_alikes: tuple[Box, ...] = ()
    white_cell: float | None = None

    def cropped(self, window: Box, name: str) -> TrainingPair:
        """Return a part of it under another name, in the same group; what is boxed beyond it is cut off."""

        def moved(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
            inside = (box.common(window) for box in boxes)
            return tuple(part.relative_to(window) for part in inside if part.area)

        return replace(
            self,
            name=name,
            image=self.image[window.slices].copy(),
            labels=self.labels[window.slices].copy(),
            mask=None if self.mask is None else self.mask[window.slices].copy(),
            red_cells=moved(self.red_cells),
            platelets=moved(self.platelets),
            look_alikes=moved(self.look_alikes),
        )


#: Images with their truth.
Pairs = Sequence[TrainingPair]


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
