"""Cells on the canvas: outlined in the colour of their class, orange where they are to be checked."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
from napari.layers import Labels

from ...classification.classes import ClassList
from ...results.formats.pictures import CELL_COLOUR, CHECK_COLOUR, cell_colours, class_counts
from ...segmentation.measure import known_rows
from .metadata import LayerInfo
from .viewer import image_data

# Each time a plane is shown napari looks for its outlines: 0.04 s for so many pixels.
_OUTLINED = 2**22
_OF_DIAMETER = 0.04  # width of an outline
_OPACITY = 0.9
_LARGEST = 2**16  # label that napari colours one by one, where numba is not installed
_NAME = "classes of cells"


def colour_cells(layer: Labels, cells: pd.DataFrame, classes: ClassList) -> None:
    """Outline the cells of a layer; where its planes are large they are filled. Colours of the user stay.

    Parameters
    ----------
    layer : Labels
    cells : DataFrame
        With ``label``, ``diameter``, ``check`` and, where it is known, ``class``.
    classes : ClassList
    """
    from napari.utils.colormaps import DirectLabelColormap

    if image_data(layer).dtype == bool or cells["label"].max() > _LARGEST:
        return
    ours = isinstance(layer.colormap, DirectLabelColormap)
    if ours and layer.colormap.name != _NAME:
        return
    of_cells = [(None, CELL_COLOUR), *cell_colours(cells, classes).items()]
    colours = {label: np.array([*colour, 255]) / 255 for label, colour in of_cells}
    colours[0] = np.zeros(4)
    before = layer.colormap.color_dict if ours else {}
    if before.keys() == colours.keys() and np.allclose(list(before.values()), list(colours.values())):
        return
    layer.colormap = DirectLabelColormap(color_dict=colours, name=_NAME, display_name=_NAME)
    if not ours and np.prod(image_data(layer).shape[-2:], dtype=float) <= _OUTLINED:
        typical = float(np.nan_to_num(cells["diameter"].median())) if "diameter" in cells else 0.0
        layer.contour, layer.opacity = max(1, round(_OF_DIAMETER * typical)), _OPACITY


def show_classes(layer: Labels) -> None:
    """Colour the cells of a layer by what its features know of them."""
    colour_cells(layer, known_rows(layer.features), LayerInfo.of(layer).class_list)


def legend(cells: pd.DataFrame, classes: ClassList) -> str:
    """Return what the colours of outlines mean and how many cells have each, as rich text.

    Parameters
    ----------
    cells : DataFrame
        With ``class`` and ``check`` where they are known.
    classes : ClassList
    """
    parts = class_counts(cells, classes)
    if parts and (to_check := int(cells["check"].eq(True).sum()) if "check" in cells else 0):
        parts.append((f"to check {to_check}", CHECK_COLOUR))
    return "&ensp; ".join(
        f'<span style="white-space: nowrap"><font color="#{bytes(rgb).hex()}">■</font> {escape(words)}</span>'
        for words, rgb in parts
    )
