"""Pictures of single cells, all at one scale, cut out when they are looked at."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QColor, QPixmap

from ...box import Box
from ...classification.crops import PARAMETERS, cut_out
from ...errors import ImageError
from ...images.prepare import bit_range, rgb_pixels
from ..controls.basic_widgets import pixmap
from ..shared.jobs import timer
from ..shared.viewer import image_data
from .decisions import Cell

_MOST_KEPT = 4000
_MOST_WANTED = 200  # of pictures on disk: those that were scrolled past before are not read
_LOAD_FOR = 0.02  # seconds
_ROOM = 1.2  # over what the classifier sees, so that cells larger than most are whole
_BLANK = QColor(200, 200, 200)


class Crops(QObject):
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
    zoom : float
        Pixels of the screen for one of these.
    """

    #: Emitted when pictures were read that were grey before.
    loaded = Signal()

    def __init__(
        self, labels: Labels, image: Image | None, diameter: float, side: int, zoom: float = 1
    ) -> None:
        super().__init__()
        self._labels, self._diameter = labels, max(diameter, 1.0)
        self._side, self._zoom = round(side * zoom), zoom
        self._source = None if image is None else image.data
        self._image: Any = None if image is None else image_data(image)
        self._kept: dict[tuple[Cell, Box], QPixmap] = {}
        self._wanted: dict[tuple[Cell, Box], None] = {}  # the latest last
        self._at_once = all(isinstance(data, np.ndarray | None) for data in (image_data(labels), self._image))
        self._soon = timer(0, self._load, self)
        self._blank = QPixmap(self._side, self._side)
        self._blank.setDevicePixelRatio(zoom)
        self._blank.fill(_BLANK)
        if image is not None:
            try:
                # The coarsest level tells the range: all of a large image would have to be read.
                self._range = float(bit_range(image.data[-1] if image.multiscale else self._image))
            except ImageError:
                self._image = None

    def suit(self, labels: Labels, image: Image | None, diameter: float) -> bool:
        """Say whether they are of these layers as they are, at a scale that is about right for such cells."""
        same = labels is self._labels and self._source is (None if image is None else image.data)
        return same and 0.8 < diameter / self._diameter < 1.25

    def picture(self, cell: Cell, box: Box) -> QPixmap:
        """Return the picture of a cell, given with its box; of pixels on disk a grey one until it is read."""
        drawn = self._at_once and self._image is None  # its outline, which edits change within its box
        if (cell, box) in self._kept and not drawn:
            return self._kept[cell, box]
        if self._at_once:
            return self._keep(cell, box)
        self._wanted.pop((cell, box), None)
        self._wanted[cell, box] = None
        self._soon.start()
        return self._blank

    def _keep(self, cell: Cell, box: Box) -> QPixmap:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[cell, box] = self._cut(cell, box)
        return self._kept[cell, box]

    def _load(self) -> None:
        """Read what was asked for last, for as long as nobody notices, and go on after what else there is."""
        self._wanted = dict(list(self._wanted.items())[-_MOST_WANTED:])
        until = time.perf_counter() + _LOAD_FOR
        while self._wanted and time.perf_counter() < until:
            key, _ = self._wanted.popitem()
            self._keep(*key)
        self.loaded.emit()
        if self._wanted:
            self._soon.start()

    def _cut(self, cell: Cell, box: Box) -> QPixmap:
        plane, label = cell
        shown = _ROOM * self._diameter
        planes = (plane,) if self._labels.ndim == 3 else ()
        labels = image_data(self._labels)
        around = box.grown(int(PARAMETERS.side * shown / PARAMETERS.diameter / 2) + 2, labels.shape[-2:])
        mask = np.asarray(labels[*planes, *box.slices]) == label
        if self._image is None:
            part, full = 1 - 0.6 * (np.asarray(labels[*planes, *around.slices]) == label), 1.0
        else:
            part, full = np.asarray(self._image[*planes, *around.slices]), self._range
        diameter = shown * PARAMETERS.side / self._side  # for a picture of this side that shows as much
        place = box.top - around.top, box.left - around.left
        crop, _ = cut_out(rgb_pixels(part, full) / 255, mask, place, diameter, self._side)
        return pixmap(np.rint(np.clip(crop, 0, 1) * 255).astype(np.uint8), self._zoom)
