"""What napari's events tell of an edit of a Labels layer, and edits that its Undo takes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EditError
from ..segmentation.edit import merge_cells, remove_cells, separate_pieces, split_by_stroke
from ..segmentation.tracking import Box
from .review_decisions import Cell

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Labels

    from ..segmentation.edit import Edit

#: Where something changed: planes and a box in them; None stands for all of it.
Place = tuple[range | None, Box | None]


def plane_count(layer: Labels) -> int:
    """Return how many planes a layer has; 1 for a single image."""
    return 1 if layer.ndim == 2 else int(level0(layer).shape[0])


def level0(layer: Any) -> Any:
    """Return a layer's array in full resolution."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def plane_of(layer: Labels, plane: int) -> np.ndarray:
    """Return the labels of one plane, without a copy where they are a NumPy array."""
    data = level0(layer)
    return np.asarray(data if layer.ndim == 2 else data[plane])


def places_painted(value: Any, ndim: int) -> Iterator[Place]:
    """Say what a ``paint`` event changed.

    Parameters
    ----------
    value : list
        The event's value, one item a brush mark, fill or polygon: since napari 0.7 an object
        with ``slice_key``, before that, and for `Labels.data_setitem`, a tuple whose first
        item is an index of the pixels.
    ndim : int
        Dimensions of the layer.
    """
    for atom in value or ():
        slices = getattr(atom, "slice_key", None)
        if slices is None:
            index = atom[0] if isinstance(atom, Sequence) and len(atom) == 3 else ()
            if len(index) != ndim or not all(isinstance(axis, np.ndarray) for axis in index):
                yield None, None
                continue
            if not index[0].size:
                continue
            slices = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in index)
        *before, rows, cols = slices
        planes = range(before[0].start, before[0].stop) if before else None
        yield planes, (rows.start, cols.start, rows.stop, cols.stop)


def place_redrawn(event: Any, layer: Labels, dims: Dims) -> Place:
    """Say what a ``labels_update`` event, which comes while the mouse is still down, changed."""
    offset, shape = getattr(event, "offset", None), np.shape(getattr(event, "data", ()))
    plain = tuple(dims.displayed) == tuple(range(dims.ndim))[-2:]
    if offset is None or len(offset) != 2 or len(shape) < 2 or not plain:
        return None, None
    box = (int(offset[0]), int(offset[1]), int(offset[0]) + shape[0], int(offset[1]) + shape[1])
    return shown_planes(layer, dims), box


def shown_planes(layer: Labels, dims: Dims) -> range | None:
    """Return the plane on the canvas; None for all of them, where the view is not of one."""
    if layer.ndim == 2:
        return range(1)
    if dims.ndisplay != 2 or tuple(dims.displayed) != tuple(range(dims.ndim))[-2:]:
        return None
    plane = round(float(layer.world_to_data(dims.point)[0]))
    return range(plane, plane + 1) if 0 <= plane < plane_count(layer) else range(0)


def removing(layer: Labels, cells: Iterable[Cell]) -> list[Edit]:
    """Return the edits that turn cells into background."""
    return [
        _on_plane(layer, plane, remove_cells(plane_of(layer, plane), labels))
        for plane, labels in _by_plane(cells).items()
    ]


def cutting(layer: Labels, cell: Cell, stroke: np.ndarray | None, new_label: int) -> Edit:
    """Return the edit that cuts a cell along a line, or into its pieces where there is no line."""
    plane, label = cell
    labels = plane_of(layer, plane)
    if stroke is None:
        return _on_plane(layer, plane, separate_pieces(labels, label, new_label))
    return _on_plane(layer, plane, split_by_stroke(labels, label, stroke, new_label))


def merging(layer: Labels, cells: Iterable[Cell]) -> Edit:
    """Return the edit that makes one cell of several.

    Raises
    ------
    EditError
        If they are fewer than two, or lie on different planes.
    """
    planes = _by_plane(cells)
    if len(planes) > 1:
        raise EditError("Cells of different planes cannot be merged.")
    plane, labels = next(iter(planes.items()), (0, []))
    return _on_plane(layer, plane, merge_cells(plane_of(layer, plane), labels))


def _on_plane(layer: Labels, plane: int, edit: Edit) -> Edit:
    return edit if layer.ndim == 2 else edit.on_plane(plane)


def _by_plane(cells: Iterable[Cell]) -> dict[int, list[int]]:
    planes: dict[int, list[int]] = {}
    for plane, label in cells:
        planes.setdefault(plane, []).append(label)
    return planes


def apply_edits(layer: Labels, edits: Sequence[Edit]) -> None:
    """Make edits as one step that the layer's Undo takes back.

    Raises
    ------
    EditError
        If the layer cannot be edited.
    """
    if layer.multiscale or not layer.editable:
        raise EditError(
            f"The layer {layer.name} cannot be edited"
            + (
                ", because it has several resolutions."
                if layer.multiscale
                else ": its editing is switched off."
            )
        )
    try:
        with layer.block_history():
            for edit in edits:
                layer.data_setitem(edit.indices, edit.values)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise EditError(
            f"The layer {layer.name} cannot be edited ({error}). Add a copy that can: "
            "viewer.add_labels(numpy.array(layer.data))."
        ) from None
