"""Look at a layer before it is segmented: what would happen, or why it cannot be."""

from __future__ import annotations

from napari.layers import Image

from ...errors import ImageError
from ...images.prepare import check_values
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
        raise ImageError(
            "Open an image first: File ▸ Open File(s), or File ▸ Open Sample ▸ White blood cells."
        )
    check_values(image_data(layer))
    shape = plane_shape(layer)
    channels = shape[-1] if not layer.rgb and len(shape) in (3, 4) else None  # if they are no columns
    if channels in (3, 4):
        raise ImageError(
            f"This layer (shape {shape}) looks like a colour image that napari took for planes. "
            "The Segment widget can show it in colour; in a script, add it with rgb=True."
        )
    if channels is not None and channels < 16:
        raise ImageError(
            f"This layer has {channels} channels (shape {shape}). "
            "Choose a grey image or one with red, green and blue."
        )
    if len(shape) not in (2, 3):
        raise ImageError(f"This layer has {len(shape)} dimensions. Choose one image or one stack of images.")
    rows, columns = shape[-2:]
    colour = "colour" if layer.rgb else "grey"
    if len(shape) == 2:
        return f"One {colour} image, {columns} × {rows} pixels."
    return f"A stack of {shape[0]} {colour} images, {columns} × {rows} pixels each."
