"""Look at a layer before it is segmented: what would happen, or why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image

from .viewer import image_data


@dataclass(frozen=True)
class LayerCheck:
    """What a look at a layer told.

    Attributes
    ----------
    usable : bool
        Whether it can be segmented.
    words : str
        What will be segmented, or what is wrong and what to do.
    """

    usable: bool
    words: str


def check_layer(layer: Image | None) -> LayerCheck:
    """Say whether an image layer can be segmented, from its type and shape alone.

    Values are looked at when it runs (`napari_wbcseg.images.prepare.prepare_image`), because
    a lazy array would have to be computed here.
    """
    if layer is None:
        words = "Open an image first: File ▸ Open, or File ▸ Open Sample ▸ White blood cells."
        return LayerCheck(False, words)
    data = image_data(layer)
    shape, dtype = tuple(int(side) for side in data.shape), np.dtype(data.dtype)
    reason = _wrong_type(dtype) or _wrong_shape(shape, layer.rgb)
    if reason:
        return LayerCheck(False, reason)
    planes = shape[:-1] if layer.rgb else shape
    rows, columns = planes[-2:]
    colour = "colour" if layer.rgb else "grey"
    if len(planes) == 2:
        return LayerCheck(True, f"One {colour} image, {columns} × {rows} pixels.")
    return LayerCheck(True, f"A stack of {planes[0]} {colour} images, {columns} × {rows} pixels each.")


def _wrong_type(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "b":
        return (
            "This layer is boolean, which looks like a mask. Choose the layer with the stained image itself."
        )
    if dtype.kind not in "uif":
        return f"This layer has values of type {dtype}. Choose an image of integers or floats."
    return ""


def _wrong_shape(shape: tuple[int, ...], rgb: bool) -> str:
    if 0 in shape:
        return f"This layer has no pixels (shape {shape})."
    if not rgb and len(shape) in (3, 4) and shape[-1] < 16:
        channels = shape[-1]
        if channels in (3, 4):
            return (
                f"This layer (shape {shape}) looks like a colour image that napari took for planes. "
                "The Segment widget can show it in colour; in a script, add it with rgb=True."
            )
        return (
            f"This layer has {channels} channels (shape {shape}). "
            "Choose a grey image or one with red, green and blue."
        )
    planes = len(shape) - rgb
    if planes < 2:
        return f"This layer is not an image (shape {shape})."
    if planes > 3:
        return f"This layer has {planes} dimensions. Choose one image or one stack of images."
    return ""
