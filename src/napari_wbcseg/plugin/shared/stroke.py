"""Passing layers, such as for a line that the user draws across a cell or over a scale bar."""

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


def enter(viewer: ViewerModel, layer: Layer, left: Callable[[], object]) -> Callable[[], None]:
    """Put a passing layer on top and make it active, until another is: then ``left`` is called.

    Returns
    -------
    callable
        Takes the layer away, and gives the one that was active before its place back.
    """
    layers = viewer.layers
    before = layers.selection.active

    def on_active(event: Any) -> None:
        if layers.selection.active is not layer:
            left()

    def leave() -> None:
        layers.selection.events.active.disconnect(on_active)
        was_active = layers.selection.active is layer
        if layer in layers:
            layers.remove(layer)
        if was_active and before in layers:
            layers.selection.active = before

    layers.append(layer)
    layers.selection.active = layer
    layers.selection.events.active.connect(on_active)
    return leave


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
        self._drawn, self._ended = drawn, ended
        self._over = False
        shapes = self._shapes = helper_layer(layer, name, edge_color=_STROKE, edge_width=width)
        self._leave = enter(viewer, shapes, lambda: self._later(None))
        shapes.mode = "add_path"
        shapes.current_edge_color, shapes.current_edge_width = _STROKE, width
        shapes.events.data.connect(self._on_data)
        shapes.bind_key("Escape", lambda _: self._later(None), overwrite=True)

    def _on_data(self, event: Any) -> None:
        # A path that has just begun is two times the same point.
        if action_of(event) != "added" or not self._shapes.nshapes:
            return
        points = np.asarray(self._shapes.data[-1], float)[:, -2:]
        if len(points) > 1 and np.ptp(points, axis=0).any():
            self._later(points)

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
        self._shapes.events.data.disconnect(self._on_data)
        self._leave()
        self._ended()
