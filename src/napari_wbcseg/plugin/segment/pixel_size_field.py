"""The size of a pixel of an image: typed, read from its file, or taken from a line over its scale bar."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QInputDialog, QMenu, QPushButton, QWidget
from superqt.utils import signals_blocked

from ...results.layer import placement_of
from ..controls.basic_widgets import beside, fill, with_tip
from ..shared.metadata import LayerInfo, is_picture
from ..shared.passing_layer import StrokeTool
from ..shared.pictures import all_of, found_in, image_under, path_of
from ..shared.viewer import plane_shape, size_in_micrometres

_UNIT = " µm"
_LARGEST, _DIGITS = 10.0, 4  # µm; see `napari_wbcseg.images.pixel_size`
_USUAL_BAR = 10.0  # µm
_OF_IMAGE = 0.004  # width of the line


class PixelSizeField(QWidget):
    """Shows the pixel size of an image layer, and changes it for the layer and for what was found in it.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    #: Emitted with a sentence for the user; an empty one takes it away.
    said = Signal(str)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Image | None = None
        self._stroke = StrokeTool(
            viewer, "draw a line over the scale bar", self._on_line, lambda: self.said.emit("")
        )
        self.value = QDoubleSpinBox()
        self.value.setRange(0, _LARGEST)
        self.value.setDecimals(_DIGITS)
        self.value.setSingleStep(0.01)
        self.value.setSuffix(_UNIT)
        self.value.setSpecialValueText("not known")
        self.value.setKeyboardTracking(False)
        self.value.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.value.valueChanged.connect(self._on_typed)
        self.source = QPushButton("From …")
        self.source.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0; }")
        menu = QMenu(self)
        self.from_line = menu.addAction("a line over the scale bar …", self.draw_line)
        self.from_file = menu.addAction("the file", self.read_file)
        self.source.setMenu(menu)
        tip = "Sizes of cells are in µm where the size of a pixel is known; width × height if no square."
        with_tip(self.value, tip)
        with_tip(self.source, "Take it from a scale bar in the picture, or from its file.")
        fill(self, beside(self.value, self.source, wide=self.value))

    def follow(self, layer: Image | None) -> None:
        """Show the pixel size of a layer from now on; a line that is to be drawn on another one is not."""
        self._stroke.close()
        if self._layer is not None:
            self._layer.events.scale.disconnect(self._show)
        self._layer = layer
        if layer is not None:
            layer.events.scale.connect(self._show)
        self.setEnabled(layer is not None)
        self._show()

    def set_size(self, row: float, column: float, unit: str = "micrometer") -> None:
        """Give a pixel this height and width in the image and in all that lies on it."""
        image = self._layer
        if image is None:
            return
        before = placement_of(image, image.ndim).sides or np.abs(image.scale[-2:])  # also by an affine
        ratio = np.array([row, column]) / before
        layers = _on(self._viewer, image)
        places = [(layer.translate.copy(), layer.scale.copy()) for layer in layers]
        for layer, (translate, scale) in zip(layers, places, strict=True):  # linked ones change each other
            layer.units = (*layer.units[:-2], unit, unit)
            layer.translate = (*translate[:-2], *(translate[-2:] * ratio))
            layer.scale = (*scale[:-2], *(scale[-2:] * ratio))
        camera = self._viewer.scene.camera
        centre = np.array(camera.center, float)
        centre[-2:] *= ratio
        camera.center, camera.zoom = tuple(centre), camera.zoom / float(ratio.mean())

    def read_file(self) -> None:
        """Take the size that the file of the image states."""
        from ...images.read import read_pixel_size

        path = None if self._layer is None else path_of(self._layer)
        found = None if path is None else read_pixel_size(path)
        if found is None:
            self.said.emit("No file of this image states a pixel size that a microscope has.")
        else:
            self.said.emit("")
            self.set_size(found.row, found.column)

    def draw_line(self) -> None:
        """Let the user draw a line over the scale bar, and ask how long it is."""
        image = self._layer
        if image is None or self._stroke.waits:
            return
        self.said.emit("Draw a line from one end of the scale bar to the other. Esc leaves it.")
        self._stroke.start(image, max(1.0, _OF_IMAGE * max(plane_shape(image)[-2:])))

    def _on_line(self, points: np.ndarray) -> None:
        image, pixels = self._layer, float(np.linalg.norm(points[-1] - points[0]))
        length, given = QInputDialog.getDouble(
            self, "Scale bar", f"Length of the line of {pixels:.0f} pixels, in µm:", _USUAL_BAR, 0.001, 1e6, 3
        )
        if given and pixels >= 1 and self._layer is image:  # another may be chosen meanwhile
            self.set_size(length / pixels, length / pixels)

    def _on_typed(self, size: float) -> None:
        if size > 0:
            self.set_size(size, size)
        else:  # not known after all
            self.set_size(1, 1, "pixel")

    def _show(self, event: Any = None) -> None:
        known = None if self._layer is None else size_in_micrometres(self._layer)
        row, column = known or (0.0, 0.0)
        with signals_blocked(self.value):
            self.value.setSuffix(_UNIT if np.isclose(row, column, rtol=1e-3) else f" × {row:.4g}{_UNIT}")
            self.value.setValue(column)


def _on(viewer: ViewerModel, image: Image) -> list[Layer]:
    """Return an image, or the slide that it is a region of, with all that lies on it, drawn by hand too."""
    slide = next((one for one in viewer.layers if is_picture(one) and found_in(image, one)), image)
    of_it = all_of(viewer, slide)

    def on_it(layer: Layer) -> bool:
        info = LayerInfo.of(layer)
        if is_picture(layer) or info.role is not None or info.source_id is not None:
            return layer in of_it
        if isinstance(layer, Labels):
            return image_under(layer, image) is not None
        return np.allclose(layer.scale[-2:], image.scale[-2:])

    return [layer for layer in viewer.layers if on_it(layer)]
