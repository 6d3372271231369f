"""The count on the canvas: of the cells that are seen, in a font with which all of it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer

from .metadata import is_cells, is_picture
from .preferences import preference

_FONT, _SMALLEST_FONT = 14, 6  # points
_WIDTH = 0.9  # pixels of the screen that a letter takes at most, for a point of its font
_MARGIN = 24  # pixels of the screen beside the text


def write_count(viewer: ViewerModel, lines: Callable[[Labels], list[str]], before: str) -> str:
    """Write the count of the cells that are seen, and no other, on a viewer's canvas; return what is written.

    These are the cells of the active layer, or of the topmost one, unless a picture covers them.

    Parameters
    ----------
    viewer : ViewerModel
    lines : callable
        Returns what is written of a layer of cells.
    before : str
        What was written last; other words are the user's own, and stay.
    """
    overlay = viewer.canvas.overlays.text
    if overlay.visible and overlay.text not in ("", before):
        return before
    cells = _seen(viewer) if preference("count_on_canvas") else None
    told = [] if cells is None else lines(cells)
    if told:
        overlay.text, overlay.font_size = fitted(told, viewer.canvas.size[1])
    overlay.visible = bool(told)
    return overlay.text if told else ""


def fitted(lines: list[str], width: float) -> tuple[str, float]:
    """Return a text that is shown whole in this many pixels, and the points of its font."""
    room = max(width - _MARGIN, 1) / _WIDTH
    if max(map(len, lines)) * _FONT > room:
        lines = [part for line in lines for part in line.split(", ")]
    return "\n".join(lines), float(np.clip(room // max(map(len, lines)), _SMALLEST_FONT, _FONT))


def _seen(viewer: ViewerModel) -> Labels | None:
    """Return the layer of cells that is looked at; None where there is none, or a picture covers it."""
    layers = list(viewer.layers)
    seen = [
        layer
        for place, layer in enumerate(layers)
        if is_cells(layer)
        and layer.visible
        and (viewer.canvas.grid.enabled or not any(_covers(above, layer) for above in layers[place + 1 :]))
    ]
    active = viewer.layers.selection.active
    return active if active in seen else next(reversed(seen), None)


def _covers(above: Layer, below: Layer) -> bool:
    """Say whether a picture hides a layer that lies below it."""
    if not is_picture(above) or not above.visible or above.opacity < 1:
        return False
    if str(above.blending) in ("additive", "minimum", "multiplicative"):
        return False
    (low, high), (top, bottom) = (layer.extent.world[:, -2:] for layer in (above, below))
    return bool((low <= top + 1e-6).all() and (high >= bottom - 1e-6).all())
