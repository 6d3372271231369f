"""Pictures of single cells, all at one scale, cut out when they are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtGui import QImage, QPixmap

from ...classification.crops import PARAMETERS, cut_out
from ...errors import ImageError
from ..shared.viewer import image_data
from .decisions import Cell
from .edits import plane_of

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from ...box import Box

_MOST_KEPT = 4000


class Crops:
    """Cuts cells out of a picture; each is kept until it has another box.

    Parameters
    ----------
    labels : Labels
    image : Image or None
        Of the same shape. Without one the cells are drawn grey on white.
    diameter : float
        Of a typical cell, pixels.
    side : int
        Of the pictures, pixels.
    """

    def __init__(self, labels: Labels, image: Image | None, diameter: float, side: int) -> None:
        from ...images.prepare import bit_range

        self._labels, self._diameter, self._side = labels, max(diameter, 1.0), side
        self._layer = image
        self._image: Any = None if image is None else image_data(image)
        self._range = 255.0
        self._kept: dict[Cell, tuple[Box, QPixmap]] = {}
        if self._image is not None:
            try:
                self._range = float(bit_range(self._image))
            except ImageError:
                self._image = None

    def suit(self, image: Image | None, diameter: float) -> bool:
        """Say whether they are those of an image, at a scale that is about right for such cells."""
        return image is self._layer and 0.8 < diameter / self._diameter < 1.25

    def picture(self, cell: Cell, box: Box) -> QPixmap:
        """Return the picture of a cell, given with its box."""
        kept = self._kept.get(cell)
        if kept is None or kept[0] != box:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[cell] = box, self._cut(cell, box)
        return kept[1]

    def _cut(self, cell: Cell, box: Box) -> QPixmap:
        plane, label = cell
        around = int(PARAMETERS.side * self._diameter / PARAMETERS.diameter / 2) + 2
        labels = plane_of(self._labels, plane)
        top, left = max(box[0] - around, 0), max(box[1] - around, 0)
        here = slice(top, box[2] + around), slice(left, box[3] + around)
        mask = labels[box[0] : box[2], box[1] : box[3]] == label
        if self._image is None:
            pixels = 1 - 0.6 * (labels[here] == label)
        else:
            image = self._image if self._labels.ndim == 2 else self._image[plane]
            pixels = np.asarray(image[here], np.float32) / self._range
        pixels = pixels[..., :3] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        # The window is the classifier's, whatever its size on the screen.
        crop, _ = cut_out(pixels, mask, (box[0] - top, box[1] - left), self._diameter, PARAMETERS.side)
        return _pixmap(crop, self._side)


def _pixmap(crop: np.ndarray, side: int) -> QPixmap:
    import cv2

    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    levels = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8).tobytes()
    return QPixmap.fromImage(QImage(levels, side, side, 3 * side, QImage.Format.Format_RGB888))
