"""The layers in which one sees a network learn: validation tiles and its prediction of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from ...training.preview import decode_array
from ..shared.canvas_guard import guard_canvas
from ..shared.metadata import LayerInfo, Role, role_of
from ..shared.viewer import remove_layers

_ROLE: Role = "training preview"
_MOST_HEIGHT, _GAP = 0.4, 0.04  # of the height of the layers
_TRUTH_COLOUR = "#ffb000"
#: From nothing to blue, as the probability grows.
_PREDICTION_COLOURS = ((0.1, 0.5, 1.0, 0.0), (0.1, 0.5, 1.0, 0.25), (0.0, 0.35, 1.0, 0.75))


class PreviewLayers:
    """Shows what a training sends of its validation tiles as three layers below the user's images."""

    def __init__(self, viewer: ViewerModel) -> None:
        guard_canvas(viewer)  # they go with the training
        self._viewer = viewer
        self._prediction: Image | None = None

    def show_tiles(self, event: dict[str, Any]) -> None:
        """Add the tiles and their true cells, replacing those of an earlier training."""
        from napari.utils import Colormap, DirectLabelColormap

        self.remove()
        image, truth = decode_array(event["image"]), decode_array(event["truth"])
        if image.size == 0:
            return
        active = self._viewer.layers.selection.active
        common = {"metadata": LayerInfo(_ROLE).metadata, **self._below(image.shape[:2])}
        self._viewer.add_image(image, rgb=True, name="validation tiles", **common)
        self._prediction = self._viewer.add_image(
            np.zeros(image.shape[:2], np.float32),
            name="prediction",
            contrast_limits=(0, 1),
            colormap=Colormap(_PREDICTION_COLOURS, name="wbcseg prediction"),
            blending="translucent",
            **common,
        )
        colours = {None: "transparent", 0: "transparent", 1: _TRUTH_COLOUR}
        outline = self._viewer.add_labels(
            truth,
            name="true outlines",
            colormap=DirectLabelColormap(color_dict=colours),
            opacity=1.0,
            **common,
        )
        outline.contour = 1
        outline.editable = False
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        self._viewer.reset_view()

    def show_prediction(self, event: dict[str, Any]) -> None:
        """Show the prediction as it is now."""
        layer = self._prediction
        if layer is None or layer not in self._viewer.layers:
            return  # the user has taken it away
        layer.data = decode_array(event["probability"]).astype(np.float32) / 255
        when = f"epoch {event['epoch']}" if event["epoch"] else "before training"
        layer.name = f"prediction ({when})"

    def remove(self) -> None:
        """Take the layers away."""
        self._prediction = None
        remove_layers(self._viewer, *(one for one in self._viewer.layers if role_of(one) == _ROLE))

    def _below(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return scale, place and units that put an image below all layers, in a size to go with them."""
        layers = list(self._viewer.layers)
        if not layers:
            return {}
        low, high = np.asarray(self._viewer.layers.extent.world)[:, -2:]
        size = high - low
        scale = float(min(size[1] / shape[1], _MOST_HEIGHT * size[0] / shape[0])) or 1.0
        left = float(low[1] + (size[1] - scale * shape[1]) / 2)
        return {
            "scale": (scale, scale),
            "translate": (float(high[0]) + _GAP * float(size[0]), left),
            "units": layers[0].units[-2:],
        }
