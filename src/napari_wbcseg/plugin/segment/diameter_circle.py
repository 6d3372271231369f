"""A circle on the canvas, as large as the cell diameter that is being set by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Shapes
from qtpy.QtCore import QObject, QTimer, Signal

from ..shared.metadata import LayerInfo
from ..shared.viewer import action_of, placement, plane_shape

_COLOUR = "#00e5ff"
_LINE = 2  # pixels of the screen


class DiameterCircle(QObject):
    """Shows a length on an image, and lets the user drag it onto a cell or pull it to the cell's size.

    It is a Shapes layer that is there while the length is set, and gone otherwise.
    """

    #: Emitted with the diameter, in pixels of the image, after the circle was pulled.
    pulled = Signal(float)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        #: The layer of the circle while it is shown.
        self.layer: Shapes | None = None
        self._diameter = 0.0
        self._before: Layer | None = None

    def show(self, diameter: float, source: Layer) -> None:
        """Draw the circle, in the middle of the view the first time; later where the user left it."""
        if self.layer is None:
            self._add(diameter, source)
        elif diameter != self._diameter:
            centre = np.asarray(self.layer.data[0]).mean(axis=0)
            with self.layer.events.data.blocker(self._on_data):
                self.layer.data = [_box(centre, diameter)]
                self.layer.selected_data = {0}
        self._diameter = diameter

    def hide(self, *_: object) -> None:
        """Take the circle away and give the layer that was active before its place back."""
        layer, self.layer = self.layer, None
        if layer is None:
            return
        layers = self._viewer.layers
        layers.selection.events.active.disconnect(self._on_active)
        layer.events.data.disconnect(self._on_data)
        was_active = layers.selection.active is layer
        if layer in layers:
            layers.remove(layer)
        if was_active and self._before in layers:
            layers.selection.active = self._before
        self._before = None

    def _add(self, diameter: float, source: Layer) -> None:
        layers = self._viewer.layers
        self._before = layers.selection.active
        zoom = self._viewer.scene.camera.zoom * float(np.abs(source.scale[-2:]).mean())
        self.layer = layer = Shapes(
            [_box(self._middle(source), diameter)],
            shape_type="ellipse",
            name="cell diameter",
            edge_color=_COLOUR,
            edge_width=max(_LINE / zoom, diameter / 50),
            face_color="transparent",
            metadata=LayerInfo("helper").metadata,
            **placement(source, 2),
        )
        layers.append(layer)
        layers.selection.active = layer
        layer.mode = "select"
        layer.selected_data = {0}
        layer.events.data.connect(self._on_data)
        layers.selection.events.active.connect(self._on_active)

    def _middle(self, source: Layer) -> np.ndarray:
        """Return the pixel in the middle of the view; of the image where the view is elsewhere."""
        shape = np.array(plane_shape(source))[-2:]
        world = np.zeros(source.ndim)
        world[-2:] = np.asarray(self._viewer.scene.camera.center)[-2:]
        middle = np.asarray(source.world_to_data(world))[-2:]
        inside = ((middle >= 0) & (middle < shape)).all()
        return middle if inside else shape / 2

    def _on_data(self, event: Any) -> None:
        action = action_of(event)
        if action not in ("changed", "removed") or self.layer is None:
            return
        # napari is in the middle of the event.
        if action == "removed" or not self.layer.nshapes:
            QTimer.singleShot(0, self.hide)
            return
        sides = np.ptp(np.asarray(self.layer.data[0]), axis=0)
        diameter = round(float(sides.mean()), 1)
        if abs(diameter - self._diameter) > 0.05:
            QTimer.singleShot(0, lambda: self._on_pulled(diameter))

    def _on_pulled(self, diameter: float) -> None:
        if self.layer is not None:
            self.pulled.emit(diameter)

    def _on_active(self, event: Any = None) -> None:
        if self.layer is not None and self._viewer.layers.selection.active is not self.layer:
            QTimer.singleShot(0, self.hide)


def _box(centre: np.ndarray, diameter: float) -> np.ndarray:
    """Return the corners of the square around a circle."""
    half = diameter / 2
    return np.asarray(centre) + np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
