"""How large a pixel of a layer is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .preferences import preference

if TYPE_CHECKING:
    from napari.layers import Layer

PIXEL = "px"
MICROMETRE = "µm"


def pixel_size(layer: Layer) -> tuple[float, float, str]:
    """Return height and width of a pixel and their unit.

    Micrometres where the layer has units of length; 1, 1 and ``px`` otherwise, for a scale
    without a unit says nothing of sizes, and where the preferences ask for pixels.
    """
    known = None if preference("units") == "pixels" else size_in_micrometres(layer)
    return (1.0, 1.0, PIXEL) if known is None else (*known, MICROMETRE)


def size_in_micrometres(layer: Layer) -> tuple[float, float] | None:
    """Return height and width of a pixel, µm; None where the layer has no units of length."""
    try:
        factors = [float((1 * unit).to("micrometer").magnitude) for unit in layer.units[-2:]]
    except Exception:  # pint's own errors: a unit that is no length, such as pixel
        return None
    height, width = (
        abs(float(scale)) * factor for scale, factor in zip(layer.scale[-2:], factors, strict=True)
    )
    return height, width
