"""What is known of a cell, in words: the columns of the table, and what the status bar says at the mouse.

napari writes every column of the features there, more than fits, and areas as ``4.3e+03``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from ...classification.classes import class_of
from ...segmentation.measure import LENGTHS, in_physical_units
from .features import labels_of
from .viewer import label_at, pixel_size, plane_shown


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes
    ----------
    name : str
        In `LayerReview.cells`.
    title, tip : str
        The header, and its explanation.
    decimals : int
        How many are written; -1 for what is no number.
    """

    name: str
    title: str
    tip: str
    decimals: int = -1

    def header(self, unit: str) -> str:
        """Return the title, with the unit in a second line where there is one."""
        power = LENGTHS.get(self.name)
        return self.title if power is None else f"{self.title}\n{unit}{'²' if power == 2 else ''}"

    def text(self, value: Any) -> str:
        """Return a value as it is written in the table."""
        if isinstance(value, bool | np.bool_):
            return "yes" if value else ""
        if isinstance(value, str):
            return value
        if value != value:
            return ""
        return "∞" if np.isinf(value) else f"{value:.{max(self.decimals, 0)}f}"


COLUMNS = (
    Column("label", "cell", "Number of the cell in the layer, with its colour.", 0),
    Column("plane", "plane", "Plane of the stack, from 0.", 0),
    Column("status", "status", "What was decided, or why the cell is worth a second look."),
    Column("class", "class", "What the cell is, as a model or a person said."),
    Column("certainty", "certainty", "How sure the model was, 0 to 1; empty for cells drawn by hand.", 2),
    Column("area", "area", "Area of the cell.", 1),
    Column("diameter", "diameter", "Diameter of the disc of the same area.", 1),
    Column("perimeter", "perimeter", "Length of the outline (Crofton's formula).", 1),
    Column(
        "circularity", "circularity", "4π · area / perimeter²: 1 for a disc, less for a ragged outline.", 2
    ),
    Column("eccentricity", "eccentricity", "0 for a disc, towards 1 the longer the cell is.", 2),
    Column("mean_stain", "stain", "Mean optical density: how much light the cell absorbs.", 2),
    Column("nucleus_area", "nucleus", "Area of the dark part of the cell, by Otsu's threshold.", 1),
    Column("nc_ratio", "N:C", "Area of the nucleus over that of the rest of the cell.", 2),
    Column("lobes", "lobes", "Parts of the nucleus.", 0),
    Column("touching", "touching", "Whether another cell is within one pixel."),
    Column("border", "border", "Whether the edge of the image, or of its round field, cuts the cell."),
    Column("pieces", "pieces", "Connected parts that bear the cell's number; more than one is a slip.", 0),
)
BY_NAME = {column.name: column for column in COLUMNS}

#: Columns that a histogram makes sense of.
NUMBERS = tuple(
    column.name for column in COLUMNS if column.decimals >= 0 and column.name not in ("plane", "label")
)


def status(decision: str, flag: str, check: bool) -> str:
    """Return the words of the column *status*."""
    if check:
        return f"check: {flag or 'unsure'}"
    return f"✓ {decision}" if decision else ""


#: Columns that are told, the most wanted first: what does not fit is cut at the end.
_TOLD = ("diameter", "area", "nucleus_area", "lobes", "certainty")


def tell_at_mouse(viewer: ViewerModel, layer: Labels) -> None:
    """Put what is worth knowing of a cell into the viewer's status, which napari has just written."""
    said = viewer.status
    if not isinstance(said, dict) or "; " not in said.get("coordinates", ""):
        return
    point = viewer.cursor.position
    label = label_at(layer, point, dims_displayed=list(viewer.dims.displayed))
    place = said["coordinates"].partition("; ")[0]
    words = "; ".join(filter(None, (place, cell_in_words(layer, label, plane_shown(layer, point)))))
    if said["coordinates"] != words:
        viewer.status = {**said, "coordinates": words}


def cell_in_words(layer: Labels, label: int, plane: int | None = None) -> str:
    """Return what is known of a cell, such as ``check: unsure, diameter 61.2 px, area 2915.0 px²``."""
    features = layer.features
    rows = features[np.equal(labels_of(features), label)]
    if plane is not None and "plane" in rows:  # where cells were drawn one number may be on several
        rows = rows[rows["plane"].eq(plane)]
    if not label or rows.empty:
        return ""
    height, width, unit = pixel_size(layer)
    known = in_physical_units(rows.iloc[:1], (height, width)).iloc[0].dropna().to_dict()
    said = status(known.get("decision", ""), known.get("flag", ""), known.get("check") is True)
    words = [class_of(rows).iloc[0], said]
    for column in (BY_NAME[name] for name in _TOLD if name in known):
        text, of_what = column.text(known[column.name]), column.header(unit).partition("\n")[2]
        words.append(f"{column.title} {text} {of_what}".strip())
    return ", ".join(filter(None, words))
