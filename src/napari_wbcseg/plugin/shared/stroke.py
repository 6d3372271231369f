"""A line that the user draws on the canvas, such as across a cell or over a scale bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Shapes
from qtpy.QtCore import QTimer

from .metadata import LayerInfo
from .viewer import action_of, placement

_STROKE = "#ffd400"


def helper_layer(layer: Layer, name: str, **looks: Any) -> Shapes:
    """Return a layer of our own, placed as another one; not a part of any result."""
    return Shapes(
        ndim=layer.ndim,
        name=name,
        face_color="transparent",
        metadata=LayerInfo("helper").metadata,
        **looks,
        **placement(layer, layer.ndim),
    )


class StrokeTool:
    """Lets the user draw one line on the canvas, with the path tool of a passing Shapes layer.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : Layer
        Whose pixels the line is told in.
    name : str
        Of the passing layer: what is to be drawn.
    width : float
        Of the line, pixels.
    drawn : callable
        Called with the points, ndarray of float, shape (n, 2), in pixels.
    ended : callable
        Called when the tool goes away, with a line or without.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        layer: Layer,
        name: str,
        width: float,
        drawn: Callable[[np.ndarray], None],
        ended: Callable[[], None],
    ) -> None:
        self._viewer, self._layer, self._drawn, self._ended = viewer, layer, drawn, ended
        shapes = self._shapes = helper_layer(layer, name, edge_color=_STROKE, edge_width=width)
        viewer.layers.insert(len(viewer.layers), shapes)
        viewer.layers.selection.active = shapes
        shapes.mode = "add_path"
        shapes.current_edge_color, shapes.current_edge_width = _STROKE, width
        shapes.events.data.connect(self._on_data)
        shapes.bind_key("Escape", lambda _: self._later(None), overwrite=True)
        viewer.layers.selection.events.active.connect(self._on_active)
        self._over = False

    def _on_data(self, event: Any) -> None:
        # A path that has just begun is two times the same point.
        if action_of(event) != "added" or not self._shapes.nshapes:
            return
        points = np.asarray(self._shapes.data[-1], float)[:, -2:]
        if len(points) > 1 and np.ptp(points, axis=0).any():
            self._later(points)

    def _on_active(self, event: Any) -> None:
        if self._viewer.layers.selection.active is not self._shapes:
            self._later(None)

    def _later(self, points: np.ndarray | None) -> None:
        """End once napari is done with the event: the layer cannot go while it is drawn on."""
        if not self._over:
            self._over = True
            QTimer.singleShot(0, lambda: self._end(points))

    def _end(self, points: np.ndarray | None) -> None:
        self.close()
        if points is not None:
            self._drawn(points)

    def close(self) -> None:
        """Take the tool away."""
        self._over = True
        shapes, layers = self._shapes, self._viewer.layers
        layers.selection.events.active.disconnect(self._on_active)
        shapes.events.data.disconnect(self._on_data)
        if shapes in layers:
            layers.remove(shapes)
        if self._layer in layers:
            layers.selection.active = self._layer
        self._ended()
