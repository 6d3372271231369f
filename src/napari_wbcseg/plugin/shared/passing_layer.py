"""Passing layers, such as for a line that the user draws across a cell or over a scale bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Shapes
from qtpy.QtCore import QTimer

from .metadata import LayerInfo
from .viewer import placement

_STROKE = "#ffd400"


def helper_layer(layer: Layer, name: str, ndim: int | None = None, **looks: Any) -> Shapes:
    """Return a layer of our own, placed as another one, in its last axes; not a part of any result."""
    ndim = layer.ndim if ndim is None else ndim
    return Shapes(
        ndim=ndim,
        name=name,
        face_color="transparent",
        metadata=LayerInfo("helper").metadata,
        **looks,
        **placement(layer, ndim),
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
    name : str
        Of the passing layer: what is to be drawn.
    drawn : callable
        Called with the points, ndarray of float, shape (n, 2), in pixels.
    ended : callable
        Called when the tool goes away, with a line or without.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        name: str,
        drawn: Callable[[np.ndarray], object],
        ended: Callable[[], object],
    ) -> None:
        self._viewer, self._name, self._drawn, self._ended = viewer, name, drawn, ended
        self._shapes: Shapes | None = None

    @property
    def waits(self) -> bool:
        """Whether a line is waited for."""
        return self._shapes is not None

    def start(self, layer: Layer, width: float) -> None:
        """Wait for a line, which is so many pixels wide, and told in the pixels of this layer."""
        shapes = self._shapes = helper_layer(layer, self._name, edge_color=_STROKE, edge_width=width)
        self._leave = enter(self._viewer, shapes, self._later)
        shapes.mode = "add_path"
        shapes.current_edge_color, shapes.current_edge_width = _STROKE, width
        shapes.events.data.connect(self._on_data)
        shapes.bind_key("Escape", lambda _: self._later(), overwrite=True)

    def _on_data(self, event: Any) -> None:
        # A path that has just begun is two times the same point.
        shapes = self._shapes
        if shapes is None or event.action != "added" or not shapes.nshapes:
            return
        points = np.asarray(shapes.data[-1], float)[:, -2:]
        if len(points) > 1 and np.ptp(points, axis=0).any():
            self._later(points)

    def _later(self, points: np.ndarray | None = None) -> None:
        """End once napari is done with the event: the layer cannot go while it is drawn on."""
        QTimer.singleShot(0, lambda: self._end(points))

    def _end(self, points: np.ndarray | None) -> None:
        if self.waits:
            self.close()
            if points is not None:
                self._drawn(points)

    def close(self) -> None:
        """Take the tool away."""
        shapes, self._shapes = self._shapes, None
        if shapes is not None:
            shapes.events.data.disconnect(self._on_data)
            self._leave()
            self._ended()
