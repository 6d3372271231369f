"""Look at a layer before it is segmented: what would happen, or why it cannot be."""

from __future__ import annotations

import numpy as np
from napari.layers import Image

from ...errors import ImageError
from .viewer import image_data, plane_shape


def check_layer(layer: Image | None) -> str:
    """Return what would be segmented of an image layer, from its type and shape alone.

    Values are looked at when it runs (`napari_wbcseg.images.prepare.prepare_image`), because
    a lazy array would have to be computed here.

    Raises
    ------
    ImageError
        If it cannot be segmented.
    """
    if layer is None:
        raise ImageError("Open an image first: File ▸ Open, or File ▸ Open Sample ▸ White blood cells.")
    dtype = np.dtype(image_data(layer).dtype)
    if dtype.kind == "b":
        raise ImageError(
            "This layer is boolean, which looks like a mask. Choose the layer with the stained image itself."
        )
    if dtype.kind not in "uif":
        raise ImageError(f"This layer has values of type {dtype}. Choose an image of integers or floats.")
    shape = tuple(int(side) for side in image_data(layer).shape)
    _refuse_shape(shape, layer.rgb)
    planes = plane_shape(layer)
    rows, columns = planes[-2:]
    colour = "colour" if layer.rgb else "grey"
    if len(planes) == 2:
        return f"One {colour} image, {columns} × {rows} pixels."
    return f"A stack of {planes[0]} {colour} images, {columns} × {rows} pixels each."


def _refuse_shape(shape: tuple[int, ...], rgb: bool) -> None:
    channels, planes = shape[-1], len(shape) - rgb
    if 0 in shape:
        raise ImageError(f"This layer has no pixels (shape {shape}).")
    if not rgb and len(shape) in (3, 4) and channels in (3, 4):
        raise ImageError(
            f"This layer (shape {shape}) looks like a colour image that napari took for planes. "
            "The Segment widget can show it in colour; in a script, add it with rgb=True."
        )
    if not rgb and len(shape) in (3, 4) and channels < 16:
        raise ImageError(
            f"This layer has {channels} channels (shape {shape}). "
            "Choose a grey image or one with red, green and blue."
        )
    if planes < 2:
        raise ImageError(f"This layer is not an image (shape {shape}).")
    if planes > 3:
        raise ImageError(f"This layer has {planes} dimensions. Choose one image or one stack of images.")
