"""The selection of a review on the canvas: cells are clicked there, framed, and looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes
from qtpy.QtCore import QObject, QTimer, Signal

from ...box import Box
from ..shared.class_colours import colour_cells
from ..shared.layers import clear_shapes, rectangles
from ..shared.metadata import LayerInfo, note, role_of
from ..shared.passing_layer import helper_layer
from ..shared.viewer import PLACED, label_at, placement, remove_layers
from .layer_review import LayerReview
from .selection import Selection

_FRAME = "#ff8c1a"
_MOST_FRAMES = 50
_CLICK = 4  # pixels of the screen that a hand may move during a click
_LEAST_ON_SCREEN = 40  # pixels of the screen; a smaller cell is zoomed to
_WISHED_ON_SCREEN = 160


def centre_on(viewer: ViewerModel, layer: Labels, plane: int, box: Box) -> None:
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


class OnCanvas(QObject):
    """Selects the cells of a review that are clicked, and shows those that are selected.

    Parameters
    ----------
    review : LayerReview
    images : callable
        Gives the pictures under the cells: a click counts when one of them is active, too.
    selection : Selection

    Attributes
    ----------
    outlining : bool
        Whether a click asks for the outline of a cell that was missed.
    """

    #: Emitted with the plane and the place, row and column in pixels, of a click while a cell is missed.
    missed = Signal(int, object)

    def __init__(
        self, review: LayerReview, images: Callable[[], Sequence[Layer]], selection: Selection
    ) -> None:
        super().__init__()
        self._review, self._viewer, self._selection = review, review.viewer, selection
        self._images = images
        self.outlining = False
        self._frames: Shapes | None = None
        self._framed: list[tuple[int, Box]] = []
        self._viewer.mouse_drag_callbacks.append(self._on_drag)
        review.cleanup.connect(review.labels.events.selected_label, self._on_label)
        selection.changed.connect(self.show)
        for moved in PLACED:
            review.cleanup.connect(getattr(review.labels.events, moved), self._place)

    def close(self, later: bool) -> None:
        """Leave the canvas as it was found; where napari is removing layers, ours go a little later."""
        self._viewer.mouse_drag_callbacks.remove(self._on_drag)
        self._selection.changed.disconnect(self.show)
        remove = partial(remove_layers, self._viewer, self._frames)
        if later:
            QTimer.singleShot(0, remove)
        else:
            remove()

    def show(self, centre: bool = False) -> None:
        """Show which cells were selected: by label and frames, by the camera where that is to go there."""
        review, layers, cells = self._review, self._viewer.layers, self._selection.cells
        if cells:
            with review.labels.events.selected_label.blocker(self._on_label):
                review.labels.selected_label = cells[-1][1]
            drawing = layers.selection.active is not None and role_of(layers.selection.active) == "helper"
            # In 3D napari's status bar fails on labels that become active before the mouse moves.
            if review.labels in layers and not drawing and self._viewer.dims.ndisplay == 2:
                layers.selection.active = review.labels
            if centre:
                centre_on(self._viewer, review.labels, cells[-1][0], review.box_of(cells[-1]))
        self.frame()

    def frame(self) -> None:
        """Frame the selected cells where they are now, in a layer of their own."""
        labels, layers = self._review.labels, self._viewer.layers
        places = [(cell[0], self._review.box_of(cell)) for cell in self._selection.cells[-_MOST_FRAMES:]]
        there = self._frames is not None and self._frames in layers
        if labels not in layers or (places == self._framed and (there or not places)):
            return
        if self._frames is None or not there:
            self._frames = helper_layer(labels, "selected cells", opacity=0.9)
            note(self._frames, source_id=LayerInfo.of(labels).source_id)  # goes with its picture
            self._frames.editable = False
            selection, active = set(layers.selection), layers.selection.active
            with layers.selection.events.active.blocker():
                layers.insert(layers.index(labels) + 1, self._frames)
                layers.selection, layers.selection.active = selection, active
        self._framed = places
        # The layer stays when it is empty: adding and removing one takes napari far longer.
        clear_shapes(self._frames)
        if not places:
            return
        side = float(np.median([max(box.shape) for _, box in places]))
        gap, width = max(2.0, 0.12 * side), max(1.0, 0.05 * side)
        boxes = np.array([(plane, *box) for plane, box in places], float)
        boxes[:, 1:] += (-gap, -gap, gap, gap)
        corners = list(rectangles(boxes if labels.ndim == 3 else boxes[:, 1:]))
        self._frames.add(corners, shape_type="rectangle", edge_color=_FRAME, edge_width=width)

    def _place(self, event: Any) -> None:
        """Let the frames lie where the cells do, in pixels of their size."""
        if self._frames is None:
            return
        for name, value in placement(event.source, event.source.ndim).items():
            setattr(self._frames, name, value)

    def colour(self) -> None:
        """Outline the cells in the colours of their classes, as they are now."""
        review = self._review
        if review.count:
            # A new colormap tells that a label was chosen, too.
            with review.labels.events.selected_label.blocker(self._on_label):
                colour_cells(review.labels, review.cells, review.classes)

    def _on_label(self, event: Any = None) -> None:
        """Follow the layer, whose picker or list chose a label."""
        cell = (self._review.plane or 0, int(self._review.labels.selected_label))
        self._selection.select([cell] if cell in set(self._review.keys()) else [])

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Iterator[None]:
        """Tell a click from a drag, in the modes of the layer in which a click does nothing else."""
        active, labels = viewer.layers.selection.active, self._review.labels
        if event.button != 1 or not labels.visible:
            return
        clicked = [None, labels, *self._images()]
        if active not in clicked or (active is not None and str(active.mode) != "pan_zoom"):
            return
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            if np.abs(np.array(event.pos) - start).max() > _CLICK:
                return
            yield
        view = {"view_direction": event.view_direction, "dims_displayed": event.dims_displayed}
        label = label_at(labels, event.position, **view)
        place = np.asarray(labels.world_to_data(event.position), float)[-2:]
        self._on_click(label, "Shift" in event.modifiers, place)

    def _on_click(self, label: int, add: bool, place: np.ndarray) -> None:
        """Follow a click on the image; Shift adds a cell, or takes it out."""
        plane, before = self._review.plane, self._selection.cells if add else []
        if label == 0 and plane is not None and self.outlining:
            self.missed.emit(plane, place)
        elif label == 0 or plane is None:
            self._selection.select(before)
        elif (plane, label) in before:
            self._selection.select(cell for cell in before if cell != (plane, label))
        else:
            self._selection.select([*before, (plane, label)])
