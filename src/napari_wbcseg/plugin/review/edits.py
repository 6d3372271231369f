"""What napari's events tell of an edit of a Labels layer, and edits that its Undo takes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Labels

from ...box import Box
from ...errors import EditError
from ...segmentation.edit import Edit
from ..shared.metadata import LayerInfo
from ..shared.viewer import image_data, plane_shown
from .decisions import Cell
from .large_edit import ON_DISK

#: Where something changed: planes and a box in them; None stands for all of it.
Place = tuple[range | None, Box | None]


def plane_count(layer: Labels) -> int:
    """Return how many planes a layer has; 1 for a single image."""
    return 1 if layer.ndim == 2 else int(image_data(layer).shape[0])


def plane_of(layer: Labels, plane: int) -> np.ndarray:
    """Return the labels of one plane, without a copy where they are a NumPy array."""
    data = image_data(layer)
    return np.asarray(data if layer.ndim == 2 else data[plane])


def places_painted(value: Any) -> Iterator[Place]:
    """Say what a ``paint`` event changed.

    Parameters
    ----------
    value : list
        The event's value, one item a brush mark, fill or polygon: an object with ``slice_key``, or, of
        `Labels.data_setitem`, a tuple whose first item is an index of the pixels.
    """
    for atom in value:
        slices: Any = getattr(atom, "slice_key", None)
        if slices is None:
            slices = tuple(slice(int(np.min(axis)), int(np.max(axis)) + 1) for axis in atom[0])
        before, (rows, cols) = slices[:-2], slices[-2:]
        planes = range(before[0].start, before[0].stop) if before else None
        yield planes, Box.of((rows, cols))


def place_redrawn(event: Any, layer: Labels, dims: Dims) -> Place:
    """Say what a ``labels_update`` event, which comes while the mouse is still down, changed."""
    offset, shape = getattr(event, "offset", None), np.shape(getattr(event, "data", ()))
    plain = tuple(dims.displayed) == tuple(range(dims.ndim))[-2:]
    if offset is None or len(offset) != 2 or len(shape) < 2 or not plain:
        return None, None
    top, left = map(int, offset)
    return shown_planes(layer, dims), Box(top, left, top + shape[0], left + shape[1])


def shown_planes(layer: Labels, dims: Dims) -> range | None:
    """Return the plane on the canvas; None for all of them, where the view is not of one."""
    if layer.ndim == 2:
        return range(1)
    if dims.ndisplay != 2 or tuple(dims.displayed) != tuple(range(dims.ndim))[-2:]:
        return None
    plane = plane_shown(layer, dims.point) or 0
    return range(plane, plane + 1) if 0 <= plane < plane_count(layer) else range(0)


def edit_cells(
    layer: Labels, cells: Mapping[Cell, Box], make: Callable[[np.ndarray, list[int]], Edit]
) -> list[int]:
    """Edit cells, as one step that the layer's Undo takes back, and return the labels that they have then.

    Parameters
    ----------
    layer : Labels
    cells : dict of tuple of int to Box
        Each with its box.
    make : callable
        Given the part of a plane that holds the boxes, for a whole one takes long to look at, and the labels.

    Raises
    ------
    EditError
        If the layer cannot be edited.
    """
    if LayerInfo.of(layer).folder is not None:
        raise EditError(ON_DISK)
    if layer.multiscale or not layer.editable:
        why = "it has several resolutions" if layer.multiscale else "its editing is switched off"
        raise EditError(f"The layer {layer.name} cannot be edited: {why}.")
    planes: dict[int, dict[int, Box]] = {}
    for (plane, label), box in cells.items():
        planes.setdefault(plane, {})[label] = box
    edits = []
    for plane, boxes in planes.items():
        box = Box.around(boxes.values())
        edit = make(plane_of(layer, plane)[box.slices], list(boxes)).moved(box.top, box.left)
        edits.append(edit if layer.ndim == 2 else edit.on_plane(plane))
    try:
        with layer.block_history():
            for edit in edits:
                layer.data_setitem(edit.indices, edit.values)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise EditError(
            f"The layer {layer.name} cannot be edited ({error}). Add a copy that can: "
            "viewer.add_labels(numpy.array(layer.data))."
        ) from None
    return [label for edit in edits for label in edit.labels]
