"""The count of white cells, written on the canvas."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ...segmentation.result import count_in_words
from .metadata import METADATA_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

_shown: weakref.WeakKeyDictionary[Any, CountOverlay] = weakref.WeakKeyDictionary()


def show_count(viewer: ViewerModel, cells: Labels) -> None:
    """Write the count of a cells layer on the canvas, in place of an earlier one."""
    overlay = _shown.get(viewer.layers)
    if overlay is None:
        overlay = _shown[viewer.layers] = CountOverlay(viewer)
    overlay.show(cells)


def text_overlay(viewer: ViewerModel) -> Any:
    """Return napari's text overlay, which moved to the canvas in 0.9."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.text_overlay if canvas is None else canvas.overlays.text


class CountOverlay:
    """Keeps the text in step with the plane shown, and takes it away with the cells layer."""

    def __init__(self, viewer: ViewerModel) -> None:
        # The overlay must not keep a closed viewer alive.
        self._viewer = weakref.ref(viewer)
        self._cells: weakref.ref[Labels] | None = None
        viewer.dims.events.current_step.connect(self._update)
        viewer.layers.events.removed.connect(self._on_removed)

    def show(self, cells: Labels) -> None:
        """Write the count of this layer from now on."""
        self._cells = weakref.ref(cells)
        self._update()

    def _on_removed(self, event: Any) -> None:
        viewer, cells = self._viewer(), self._cells and self._cells()
        if viewer is not None and event.value is cells:
            self._cells = None
            text_overlay(viewer).visible = False

    def _update(self, event: Any = None) -> None:
        viewer, cells = self._viewer(), self._cells and self._cells()
        if viewer is None or cells is None:
            return
        overlay = text_overlay(viewer)
        overlay.text = count_text(cells, viewer.dims.point)
        overlay.font_size = 14
        overlay.visible = True


def count_text(cells: Labels, point: tuple[float, ...]) -> str:
    """Return the words for a cells layer: its count and, for a stack, that of the plane at a world point."""
    words, here = counts_of(cells), plane_text(cells, point)
    return f"{here}\nstack: {words}" if here else words


def counts_of(cells: Labels) -> str:
    """Return the count of a cells layer in words, such as ``23 white cells, 2 to check``."""
    return str(cells.metadata[METADATA_KEY]["summary"])


def plane_text(cells: Labels, point: tuple[float, ...]) -> str:
    """Return the count of the plane of a stack at a world point; nothing for a single image."""
    features = cells.features
    if cells.ndim == 2 or "plane" not in features:
        return ""
    plane = round(float(cells.world_to_data(point)[0]))
    here = features["plane"].to_numpy() == plane
    present = cells.metadata[METADATA_KEY].get("present")
    if present is not None:
        here &= np.isin(np.arange(len(features)), present)
    to_check = int(features["check"].to_numpy(bool)[here].sum()) if "check" in features else 0
    return f"plane {plane}: {count_in_words(int(here.sum()), to_check)}"
