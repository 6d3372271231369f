"""What the review does on the canvas: cells picked by a click, and shown by a frame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.stroke import helper_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer, Shapes

    from ...box import Box

_FRAME = "#ff8c1a"
_MOST_FRAMES = 50
_CLICK = 4  # pixels of the screen that a hand may move during a click
_LEAST_ON_SCREEN = 40  # pixels of the screen; a smaller cell is zoomed to
_WISHED_ON_SCREEN = 160


def look_at(viewer: ViewerModel, layer: Labels, plane: int, box: Box) -> None:
    """Move the camera to a box of a layer; closer, where it would be too small to see."""
    corner = np.array([box[:2], box[2:]], float)
    middle = corner.mean(axis=0) - 0.5
    in_data = (plane, *middle) if layer.ndim == 3 else tuple(middle)
    world = layer.data_to_world(in_data)
    dims, before = viewer.dims, viewer.dims.ndim - layer.ndim
    for axis in dims.not_displayed:
        if axis >= before:
            dims.set_point(axis, world[axis - before])
    camera = viewer.scene.camera
    camera.center = tuple(world[axis - before] for axis in dims.displayed if axis >= before)
    side = float(np.ptp(corner, axis=0).max()) * float(np.abs(layer.scale[-2:]).mean())
    if side > 0 and side * camera.zoom < _LEAST_ON_SCREEN:
        camera.zoom = _WISHED_ON_SCREEN / side


class ClickPicker:
    """Tells which cell was clicked, in the modes of the layer in which a click does nothing else.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : Labels
    picked : callable
        Called with the label, 0 for background, whether Shift was held, and row and column in pixels.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        layer: Labels,
        others: Sequence[Layer],
        picked: Callable[[int, bool, np.ndarray], None],
    ) -> None:
        self._viewer, self._layer, self._picked = viewer, layer, picked
        self._layers = [layer, *others]
        viewer.mouse_drag_callbacks.append(self._on_drag)

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(ValueError):
            self._viewer.mouse_drag_callbacks.remove(self._on_drag)

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Iterator[None]:
        active = viewer.layers.selection.active
        if event.button != 1 or not self._layer.visible:
            return
        if active is not None and (active not in self._layers or str(active.mode) != "pan_zoom"):
            return
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            if np.abs(np.array(event.pos) - start).max() > _CLICK:
                return
            yield
        value = self._layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=event.dims_displayed,
            world=True,
        )
        # A layer of several resolutions tells the level too.
        value = value[-1] if isinstance(value, tuple) else value
        place = np.asarray(self._layer.world_to_data(event.position), float)[-2:]
        self._picked(int(value or 0), "Shift" in event.modifiers, place)


def _append_quietly(viewer: ViewerModel, helper: Layer, below: Layer) -> None:
    """Add a layer right above another, leaving the selection of layers as it is."""
    selection, active = set(viewer.layers.selection), viewer.layers.selection.active
    viewer.layers.insert(viewer.layers.index(below) + 1, helper)
    viewer.layers.selection = selection
    viewer.layers.selection.active = active


class Frames:
    """Frames around the selected cells, in a layer of their own."""

    def __init__(self, viewer: ViewerModel, layer: Labels) -> None:
        self._viewer, self._layer = viewer, layer
        self._shapes: Shapes | None = None
        self._places: list[tuple[int, Box]] = []

    def show(self, places: Sequence[tuple[int, Box]]) -> None:
        """Frame these boxes, each given with its plane, in place of those before."""
        viewer, places = self._viewer, list(places[-_MOST_FRAMES:])
        there = self._shapes is not None and self._shapes in viewer.layers
        if self._layer not in viewer.layers or (places == self._places and (there or not places)):
            return
        if self._shapes is None or not there:
            self._shapes = helper_layer(self._layer, "selected cells", opacity=0.9)
            self._shapes.editable = False
            _append_quietly(viewer, self._shapes, self._layer)
        self._places = places
        # The layer stays when it is empty: adding and removing one takes napari far longer.
        self._shapes.data = []
        if not places:
            return
        side = float(np.median([max(box.shape) for _, box in places]))
        gap, width = max(2.0, 0.12 * side), max(1.0, 0.05 * side)
        corners = [_corners(box, gap, plane if self._layer.ndim == 3 else None) for plane, box in places]
        self._shapes.add(corners, shape_type="rectangle", edge_color=_FRAME, edge_width=width)

    def close(self) -> None:
        """Take the layer away."""
        shapes, self._shapes, self._places = self._shapes, None, []
        if shapes is not None and shapes in self._viewer.layers:
            self._viewer.layers.remove(shapes)


def _corners(box: Box, gap: float, plane: int | None) -> np.ndarray:
    row0, col0, row1, col1 = box[0] - 0.5 - gap, box[1] - 0.5 - gap, box[2] - 0.5 + gap, box[3] - 0.5 + gap
    corners = np.array([[row0, col0], [row0, col1], [row1, col1], [row1, col0]])
    return corners if plane is None else np.insert(corners, 0, plane, axis=1)
