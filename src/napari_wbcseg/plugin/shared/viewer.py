"""What is asked of a viewer and its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import Dims, ViewerModel
from napari.layers import Labels, Layer

from ...results.layer import placement_of
from .preferences import preference

#: Events that tell that a layer lies elsewhere, or that its pixels have another size.
PLACED = ("units", "scale", "translate", "rotate", "shear", "affine")


def own_viewer(viewer: ViewerModel) -> ViewerModel:
    """Return the viewer itself where napari handed out a proxy of it.

    The layers that a proxy gives are proxies too, and not the same object twice.
    """
    itself: ViewerModel = getattr(viewer, "__wrapped__", viewer)
    return itself


def all_in_view(viewer: ViewerModel) -> bool:
    """Say whether the layers are seen from edge to edge, as after *Reset view*."""
    if viewer.dims.ndisplay != 2 or not viewer.layers:
        return False
    low, high = viewer.layers.extent.world[:, list(viewer.dims.displayed)]
    camera = viewer.scene.camera
    half = np.array(viewer.canvas.size) / camera.zoom / 2
    centre = np.asarray(camera.center)[-2:]
    return bool((centre - half <= low).all() and (centre + half >= high).all())


def image_data(layer: Layer) -> Any:
    """Return a layer's array, that of the highest resolution where it has several.

    Axes in front that have one place only, as in (1, 1, H, W, 3), are left out of what is more than a stack.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    while len(data.shape) - bool(getattr(layer, "rgb", False)) > 3 and data.shape[0] == 1:
        data = data[0]
    return data


def plane_of(layer: Layer, plane: int) -> np.ndarray:
    """Return one plane of a layer of labels, without a copy where they are a NumPy array."""
    data = image_data(layer)
    return np.asarray(data if layer.ndim == 2 else data[plane])


def label_at(layer: Labels, position: Any, **looked_at: Any) -> int:
    """Return the label of a layer at a world position, 0 where there is none; see `Layer.get_value`."""
    value = layer.get_value(position, world=True, **looked_at)
    # A layer of several resolutions tells the level too.
    return int((value[-1] if isinstance(value, tuple) else value) or 0)


def plane_shape(layer: Layer) -> tuple[int, ...]:
    """Return rows and columns of a layer, for a stack with its planes in front, without colours."""
    shape = image_data(layer).shape
    return tuple(int(side) for side in (shape[:-1] if getattr(layer, "rgb", False) else shape))


def plane_events(dims: Dims) -> tuple[Any, ...]:
    """Return the events that tell that another plane of a stack is shown, or none any more."""
    return dims.events.current_step, dims.events.ndisplay, dims.events.order


def plane_shown(layer: Layer, point: tuple[float, ...]) -> int | None:
    """Return the plane of a stack at a world point; None for a single image."""
    return None if layer.ndim < 3 else round(float(layer.world_to_data(point)[-3]))


def middle_of_view(viewer: ViewerModel, layer: Layer) -> tuple[float, float]:
    """Return row and column of a layer's pixel in the middle of what is on view; it may lie outside."""
    point = np.array(viewer.dims.point, float)
    point[list(viewer.dims.displayed)[-2:]] = np.asarray(viewer.scene.camera.center, float)[-2:]
    row, col = layer.world_to_data(point)[-2:]
    return float(row), float(col)


def remove_layers(viewer: ViewerModel, *layers: Layer | None) -> None:
    """Take layers away, those of them that are there."""
    for layer in layers:
        if layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)


def placement(source: Layer | None, ndim: int) -> dict[str, Any]:
    """Return what places a layer of ``ndim`` dimensions where the source is."""
    if source is None:
        return {}
    names = ("scale", "translate", "units", "axis_labels")
    place = {name: getattr(source, name)[-ndim:] for name in names}
    if source.ndim == ndim:
        place.update(rotate=source.rotate, shear=source.shear, affine=source.affine)
    else:  # what these do to the last axes
        whole = np.array(placement_of(source, source.ndim).affine or np.eye(source.ndim + 1))
        place["affine"] = whole[-ndim - 1 :, -ndim - 1 :]
    return place


def placement_of_part(source: Layer, corner: Sequence[int]) -> dict[str, Any]:
    """Return what places a part of a plane that begins at a row and column of it."""
    place = placement(source, 2)
    place["translate"] = source.affine.inverse(source.data_to_world(corner))[-2:]
    return place


def times(shape: tuple[int, ...]) -> str:
    """Return a shape as it is written: ``480 × 640``."""
    return " × ".join(map(str, shape))


def pixel_size(layer: Layer) -> tuple[float, float, str]:
    """Return height and width of a pixel and their unit.

    Micrometres where the layer has units of length; 1, 1 and ``px`` otherwise, for a scale
    without a unit says nothing of sizes, and where the preferences ask for pixels.
    """
    known = None if preference("units") == "pixels" else size_in_micrometres(layer)
    return (1.0, 1.0, "px") if known is None else (*known, "µm")


def size_in_micrometres(layer: Layer) -> tuple[float, float] | None:
    """Return height and width of a pixel, µm; None where the layer has no units of length, or is sheared."""
    size = placement_of(layer, layer.ndim).pixel_size
    return None if size is None else size.micrometres
