"""Layers that are the colours of one image, and how they become one layer in colour.

A file with its colours in front, (3, H, W), opens as a stack of three grey planes;
``channel_axis`` opens one layer a colour. Both are smears in colour that napari shows
as something else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer

from ...images.prepare import bit_range
from ...progress import Progress
from ..shared.metadata import is_picture, note
from ..shared.pictures import id_of
from ..shared.viewer import image_data, placement, plane_shape, times

_RED_GREEN_BLUE = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class ColourOffer:
    """Layers that can be joined into one in colour.

    Attributes
    ----------
    layers : tuple of Image
        One layer with an axis of colours, or three: red, green and blue.
    axis : int
        Which axis the colours are on, where it is one layer.
    words : str
        What was noticed, as a sentence.
    """

    layers: tuple[Image, ...]
    axis: int
    words: str

    @property
    def name(self) -> str:
        """Name of the layer in colour."""
        base = _base(self.layers[0])
        return f"{base} in colour" if len(self.layers) > 1 else base

    def join(self, progress: Progress) -> np.ndarray:
        """Return the image in colour, uint8, colours last; for a worker thread.

        Raises
        ------
        ImageError
            If the values cannot be those of an image.
        """
        progress(0, 0, "Joining the colours")
        first, *others = (np.asarray(image_data(layer)) for layer in self.layers)
        joined = np.stack([first, *others], -1) if others else np.moveaxis(first, self.axis, -1)[..., :3]
        if joined.dtype == np.uint8:
            return np.ascontiguousarray(joined)
        full = bit_range(joined)
        return np.clip(np.rint(joined.astype(np.float32) * (255 / full)), 0, 255).astype(np.uint8)

    def add(self, viewer: ViewerModel, joined: np.ndarray) -> Image:
        """Add the image in colour, and take away what it shows better."""
        first, ndim, name = self.layers[0], joined.ndim - 1, self.name
        place = placement(first, ndim)
        if self.axis == -1:  # the axes of the planes come before it
            of_axes = ("scale", "translate", "units", "axis_labels")
            place = {one: getattr(first, one)[-ndim - 1 : -1] for one in of_axes}
        if len(self.layers) == 1:
            viewer.layers.remove(first)
        added: Image = viewer.add_image(joined, rgb=True, name=name, **place)
        for layer in self.layers if len(self.layers) > 1 else ():
            layer.visible = False
            note(layer, source_id=id_of(added))  # napari shows no unit where layers differ in it
        return added


def colour_offer(viewer: ViewerModel, layer: Image | None) -> ColourOffer | None:
    """Say whether a layer, or it and its neighbours, may be the colours of one image."""
    if layer is None or layer.rgb:
        return None
    shape = plane_shape(layer)
    if len(shape) in (3, 4) and shape[-1] in (3, 4):
        words = f"This looks like a colour image that napari took for planes (shape {times(shape)})."
        return ColourOffer((layer,), -1, words)
    if len(shape) == 3 and shape[0] in (3, 4):
        words = f"A stack of {shape[0]} grey images, or the colours of one image (shape {times(shape)})?"
        return ColourOffer((layer,), 0, words)
    channels = _channels(viewer, layer)
    if channels is None:
        return None
    names = ", ".join(channel.name for channel in channels)
    return ColourOffer(channels, 0, f"Are {names} the red, green and blue of one image?")


def _channels(viewer: ViewerModel, layer: Image) -> tuple[Image, ...] | None:
    """Return the three layers that one image was opened as, in the order red, green, blue."""
    form = plane_shape(layer), layer.ndim, layer.dtype
    alike = [
        other
        for other in viewer.layers
        if is_picture(other)
        and not other.rgb
        and (plane_shape(other), other.ndim, other.dtype) == form
        and np.allclose(other.scale, layer.scale)
        and np.allclose(other.translate, layer.translate)
    ]
    for of_colour in (_colour_in_name, _colour_shown):
        by_colour = {of_colour(other): other for other in alike}
        if layer in by_colour.values() and all(colour in by_colour for colour in _RED_GREEN_BLUE):
            return tuple(by_colour[colour] for colour in _RED_GREEN_BLUE)
    family = [other for other in alike if _base(other) == _base(layer)]
    return tuple(family) if len(family) == 3 else None


def _colour_in_name(layer: Layer) -> str:
    """Return the colour that a layer is named for, such as ``smear-red``; empty for none or several."""
    words = re.split(r"[^a-z]+", layer.name.lower())
    named = [colour for colour in _RED_GREEN_BLUE if colour in words or colour[0] in words]
    return named[0] if len(named) == 1 else ""


def _colour_shown(layer: Image) -> str:
    """Return the colour that a layer's brightest pixels are shown in; empty for any other than the three.

    What opens OME-Zarr names a colour map after the channel, or after nothing.
    """
    shown = np.asarray(layer.colormap.colors)[-1, :3].round(2).tolist()
    pure = ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    return _RED_GREEN_BLUE[pure.index(shown)] if shown in pure else ""


def _base(layer: Layer) -> str:
    """Return a layer's name without the number that napari adds to those of one name."""
    return re.sub(r" \[\d+\]\Z", "", layer.name)
