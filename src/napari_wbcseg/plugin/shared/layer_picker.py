"""A list of the viewer's layers of one kind, to choose from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerPicker(QComboBox):
    """Chooses one of the viewer's layers; follows the layer list, its names and the active layer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.
    accepts : callable
        Says which layers are offered.
    empty : str
        What is shown while there is none.
    none : str
        What the choice of no layer is called; empty where one must be chosen. With such a choice
        the picker starts with it, and does not follow the active layer.
    """

    layer_changed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        accepts: Callable[[Layer], bool],
        empty: str = "",
        parent: QWidget | None = None,
        *,
        none: str = "",
    ) -> None:
        super().__init__(parent)
        self._layer_list = viewer.layers
        self._accepts = accepts
        self._empty = empty
        self._none = [none] if none else []
        self._offered: list[Layer] = []
        self._chosen: Layer | None = None
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        for event in ("inserted", "removed", "reordered"):
            getattr(self._layer_list.events, event).connect(self._refill)
        self._layer_list.selection.events.active.connect(self._follow)
        self.currentIndexChanged.connect(self._on_index)
        self._refill()
        self._follow()

    @property
    def layer(self) -> Layer | None:
        """The chosen layer; None while there is none to choose."""
        return self._chosen

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        if layer is not None and layer not in self._offered:
            raise ValueError(f"The layer {layer.name!r} is not among those to choose from.")
        self._choose(layer)

    def refresh(self) -> None:
        """Ask again which layers are accepted, where that depends on more than the layers."""
        self._refill()

    def _refill(self, event: Any = None) -> None:
        if not isalive(self):  # the viewer outlives a closed widget
            return
        # Newest first in the layer list is last in the list of layers.
        offered = [layer for layer in reversed(self._layer_list) if self._accepts(layer)]
        if offered != self._offered:
            self._watch_names(offered)
            self._offered = offered
        self._rename()
        other = None if self._none else next(iter(offered), None)
        self._choose(self._chosen if self._chosen in offered else other)

    def _watch_names(self, layers: list[Layer]) -> None:
        for layer in self._offered:
            with contextlib.suppress(ValueError, RuntimeError):
                layer.events.name.disconnect(self._rename)
        for layer in layers:
            layer.events.name.connect(self._rename)

    def _rename(self, event: Any = None) -> None:
        if not isalive(self):
            return
        names = self._none + [layer.name for layer in self._offered] or [self._empty]
        if names == [self.itemText(index) for index in range(self.count())]:
            return
        self.blockSignals(True)
        self.clear()
        self.addItems(names)
        self._show_choice()
        self.blockSignals(False)
        self.setEnabled(bool(self._offered or self._none))

    def _follow(self, event: Any = None) -> None:
        if not isalive(self) or self._none:
            return
        active = self._layer_list.selection.active
        if active is not None and active in self._offered:
            self._choose(active)

    def _on_index(self, index: int) -> None:
        index -= len(self._none)
        if 0 <= index < len(self._offered):
            self._choose(self._offered[index])
        elif index == -1 and self._none:
            self._choose(None)

    def _show_choice(self) -> None:
        if self._chosen in self._offered:
            self.setCurrentIndex(self._offered.index(self._chosen) + len(self._none))
        elif self._none:
            self.setCurrentIndex(0)

    def _choose(self, layer: Layer | None) -> None:
        changed = layer is not self._chosen
        self._chosen = layer
        self.blockSignals(True)
        self._show_choice()
        self.blockSignals(False)
        if changed:
            self.layer_changed.emit()
