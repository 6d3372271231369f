"""The layers that are reviewed: the cells, and the stained image that goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..shared.layer_picker import LayerPicker
from ..shared.metadata import LayerInfo, is_picture, role_of
from ..shared.viewer import plane_shape

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerChoice:
    """Two lists of the viewer's layers.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    labels : LayerPicker
        The Labels layers.
    image : LayerPicker
        The images that the chosen cells may be of: those of their shape.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.labels = LayerPicker(viewer, _is_cells, "no labels yet")
        self.image = LayerPicker(viewer, self._fits, "no image of that shape", follows=self._no_other_image)

    @property
    def images(self) -> list[Layer]:
        """The images that are offered."""
        return [layer for layer in self._viewer.layers if self._fits(layer)]

    def take_source(self) -> None:
        """Offer the images for the chosen cells, and choose the one that they were found in."""
        self.image.reset_choices()
        if (source := self._source()) is not None:
            self.image.value = source

    def _source(self) -> Layer | None:
        """Return the image that the chosen cells were found in, if it is there."""
        cells = self.labels.value
        found_in = None if cells is None else LayerInfo.of(cells).source_id
        return next((layer for layer in self.images if str(layer.unique_id) == found_in), None)

    def _no_other_image(self, active: Layer) -> bool:
        """Say that another picture of the same size is not measured because it was clicked or opened."""
        return self._source() is None or not is_picture(active)

    def _fits(self, layer: Layer) -> bool:
        from napari.layers import Image

        cells = self.labels.value
        if cells is None or not isinstance(layer, Image) or role_of(layer) is not None:
            return False
        return plane_shape(layer) == plane_shape(cells)


def _is_cells(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and layer.ndim in (2, 3)
