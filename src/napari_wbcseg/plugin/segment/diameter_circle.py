"""A circle on the canvas, as large as the cell diameter that is being set by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Shapes
from qtpy.QtCore import QTimer

from ..shared.layers import clear_shapes
from ..shared.passing_layer import enter, helper_layer
from ..shared.viewer import middle_of_view, plane_shape

_COLOUR = "#00e5ff"
_LINE = 2  # pixels of the screen


class DiameterCircle:
    """Shows a length on an image, and lets the user drag it onto a cell or pull it to the cell's size.

    It is a Shapes layer that is there while the length is set, and gone otherwise.

    Parameters
    ----------
    viewer : napari.Viewer
    pulled : callable
        Called with the diameter, in pixels of the image, after the circle was pulled.
    """

    def __init__(self, viewer: ViewerModel, pulled: Callable[[float], object]) -> None:
        self._viewer, self._pulled = viewer, pulled
        #: The layer of the circle while it is shown.
        self.layer: Shapes | None = None
        self._diameter = 0.0

    def show(self, diameter: float, source: Layer) -> None:
        """Draw the circle, in the middle of the view the first time; later where the user left it."""
        if self.layer is None:
            self._add(diameter, source)
        elif diameter != self._diameter:
            centre = np.asarray(self.layer.data[0]).mean(axis=0)
            with self.layer.events.data.blocker(self._on_data):
                clear_shapes(self.layer)
                self.layer.add_ellipses(_box(centre, diameter))
                self.layer.selected_data = {0}
        self._diameter = diameter

    def hide(self) -> None:
        """Take the circle away and give the layer that was active before its place back."""
        layer, self.layer = self.layer, None
        if layer is not None:
            layer.events.data.disconnect(self._on_data)
            self._leave()

    def _add(self, diameter: float, source: Layer) -> None:
        zoom = self._viewer.scene.camera.zoom * float(np.abs(source.scale[-2:]).mean())
        width = max(_LINE / zoom, diameter / 50)
        self.layer = layer = helper_layer(source, "cell diameter", 2, edge_color=_COLOUR, edge_width=width)
        layer.add_ellipses(_box(self._middle(source), diameter))
        self._leave = enter(self._viewer, layer, lambda: QTimer.singleShot(0, self.hide))
        layer.mode = "select"
        layer.selected_data = {0}
        layer.events.data.connect(self._on_data)

    def _middle(self, source: Layer) -> np.ndarray:
        """Return the pixel in the middle of the view; of the image where the view is elsewhere."""
        shape = np.array(plane_shape(source))[-2:]
        middle = np.array(middle_of_view(self._viewer, source))
        inside = ((middle >= 0) & (middle < shape)).all()
        return middle if inside else shape / 2

    def _on_data(self, event: Any) -> None:
        if event.action in ("changed", "removed"):  # napari is in the middle of it
            QTimer.singleShot(0, self._take_diameter)

    def _take_diameter(self) -> None:
        if self.layer is None:
            return
        if not self.layer.nshapes:
            self.hide()
            return
        corners = np.asarray(self.layer.data[0], float)  # of its box, which may have been turned
        diameter = round(float(np.linalg.norm(np.diff(corners[:3], axis=0), axis=1).mean()), 1)
        if abs(diameter - self._diameter) > 0.05:
            self._pulled(diameter)


def _box(centre: np.ndarray, diameter: float) -> np.ndarray:
    """Return the corners of the square around a circle."""
    half = diameter / 2
    return np.asarray(centre) + np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
