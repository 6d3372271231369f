"""A list of the viewer's layers of one kind, to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtWidgets import QComboBox

from ..shared.pictures import found_in


def offer(box: ComboBox, choices: Any) -> None:
    """Give a list new choices; what is chosen stays where it can, and if not, that is told."""
    chosen = box.value
    with box.changed.blocked():
        box.choices = ()  # magicgui leaves what was there before in its old order
        box.choices = choices
        if chosen in box.choices:
            box.value = chosen
    if box.value != chosen:
        box.changed.emit(box.value)


class LayerPicker(ComboBox):
    """Chooses one of the viewer's layers; follows the layer list, its names and the active layer.

    ``value`` is the chosen layer, None while there is none; ``changed`` is emitted with it.

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
    follows : callable, optional
        Says whether a layer that becomes active is to be chosen, or the one that it was found in.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        accepts: Callable[[Layer], bool],
        empty: str = "",
        *,
        none: str = "",
        follows: Callable[[Layer], bool] = lambda layer: True,
    ) -> None:
        self._layers, self._accepts = viewer.layers, accepts
        self._empty, self._none, self._follows = empty, none, follows
        super().__init__(choices=self._offered)
        self.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.native.setMinimumContentsLength(12)
        for event in ("inserted", "removed", "reordered", "renamed"):
            getattr(self._layers.events, event).connect(self.reset_choices)
        self._layers.selection.events.active.connect(self._follow)
        self._follow()

    def reset_choices(self, *_: Any) -> None:
        """Ask again which layers are accepted; the choice stays where it can."""
        if not isalive(self.native):  # the viewer outlives a closed widget
            return
        offer(self, self._offered)
        self.enabled = bool(self._none) or self.choices != (None,)

    def _offered(self, _: Any = None) -> list[tuple[str, Layer | None]]:
        # Newest first in the layer list is last in the list of layers.
        layers = [(layer.name, layer) for layer in reversed(self._layers) if self._accepts(layer)]
        if self._none or not layers:
            return [(self._none or self._empty, None), *layers]
        return layers

    def _follow(self, event: Any = None) -> None:
        active = self._layers.selection.active
        if not isalive(self.native) or self._none or active is None or not self._follows(active):
            return
        of_it = (layer for layer in self.choices if layer is not None and found_in(active, layer))
        chosen = active if active in self.choices else next(of_it, None)
        if chosen is not None:
            self.value = chosen
