"""What the status bar says of the cell at the mouse.

napari writes every column of the features there, more than fits, and areas as ``4.3e+03``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...classification.classes import class_of
from ...segmentation.measure import in_physical_units
from .columns import BY_NAME, status
from .units import pixel_size

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

#: Columns that are told, the most wanted first: what does not fit is cut at the end.
_TOLD = ("diameter", "area", "nucleus_area", "lobes", "certainty")


def tell_at_mouse(viewer: ViewerModel, layer: Labels) -> None:
    """Put what is worth knowing of a cell into the viewer's status, which napari has just written."""
    said = viewer.status
    if not isinstance(said, dict) or "; " not in said.get("coordinates", ""):
        return
    shown = list(viewer.dims.displayed)
    value: Any = layer.get_value(viewer.cursor.position, dims_displayed=shown, world=True)
    label = value[-1] if isinstance(value, tuple) else value
    place = said["coordinates"].partition("; ")[0]
    words = "; ".join(filter(None, (place, cell_in_words(layer, int(label or 0)))))
    if said["coordinates"] != words:
        viewer.status = {**said, "coordinates": words}


def cell_in_words(layer: Labels, label: int) -> str:
    """Return what is known of a cell, such as ``check: unsure, diameter 61.2 px, area 2915.0 px²``."""
    features = layer.features
    numbers = features.get("index", features.index)
    rows = features[numbers == label]
    if not label or rows.empty:
        return ""
    height, width, unit = pixel_size(layer)
    known = in_physical_units(rows.iloc[:1], (height, width)).iloc[0].to_dict()
    decision, flag = (_text(known.get(name)) for name in ("decision", "flag"))
    words = [class_of(rows).iloc[0], status(decision, flag, known.get("check") is True)]
    for name in _TOLD:
        column, value = BY_NAME[name], known.get(name)
        if value is not None and (text := column.text(value)):
            words.append(f"{column.title} {text} {column.header(unit).partition(chr(10))[2]}".strip())
    return ", ".join(filter(None, words))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
