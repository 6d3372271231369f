"""Cells as GeoJSON that QuPath opens as detections, with their class and measurements.

QuPath reads ``objectType``, ``name``, ``classification`` and ``measurements`` from the
properties of a feature, and the plane of a stack from its geometry (QuPath 0.4 and later).
Other programs find an ordinary feature collection in pixels.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from ...classification.classes import CLASS, PROBABILITY
from ...errors import OutputError
from ...files import written_whole
from ...progress import Progress
from ...segmentation.result import Segmentation
from ..origins import depths_in
from .outlines import CellOutline, outlines_of
from .pictures import CELL_COLOUR, Colour, cell_colours
from .tables import with_micrometres

CELL_CLASS = "White blood cell"
TO_CHECK = "To check"  # for QuPath, a class derived from that of the cell

#: Measurements as QuPath calls its own: in µm where the pixel size is known, else in pixels.
_NAMES = {
    "area": "Area px^2",
    "diameter": "Diameter px",
    "perimeter": "Perimeter px",
    "nucleus_area": "Nucleus: Area px^2",
    "area_um2": "Area µm^2",
    "diameter_um": "Diameter µm",
    "perimeter_um": "Perimeter µm",
    "nucleus_area_um2": "Nucleus: Area µm^2",
    "circularity": "Circularity",
    "eccentricity": "Eccentricity",
    "mean_stain": "Mean stain OD",
    "nc_ratio": "Nucleus/Cytoplasm area ratio",
    "lobes": "Nucleus: Lobes",
    "pieces": "Pieces",
    "touching": "Touching",
    "border": "Border",
    "class_probability": "Class probability",
    "certainty": "Certainty",
}


def write_geojson(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    """Write the outlines of the cells as GeoJSON (RFC 7946, in pixels), and return the file.

    Outlines run along the edges of the pixels, with the origin at the upper left corner of
    the image; a cell in pieces is a MultiPolygon. Planes of a stack are times to QuPath, as it
    opens the pages of a TIFF, unless the image's file says that they are depths, or there is none.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    cells = with_micrometres(result.cells, result.placement.pixel_size)
    colours = cell_colours(cells, result.classes)
    # Of a million cells the table is in memory once: a row is made when its outline is written.
    columns = {str(name): cells[name].to_numpy() for name in cells.columns}
    depths, marked = depths_in(result), result.marked
    rows = {label: at for at, label in enumerate(cells["label"].tolist())}
    with written_whole(path, OutputError) as part, part.open("w", encoding="utf-8") as out:
        out.write('{"type":"FeatureCollection","features":[')
        for number, outline in enumerate(outlines_of(result, progress)):
            at = rows.get(outline.label)
            row = {} if at is None else {name: values[at] for name, values in columns.items()}
            colour, check = colours.get(outline.label, CELL_COLOUR), outline.label in marked
            feature = _feature(outline, row, result.name, colour, depths, check)
            text = json.dumps(feature, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            out.write(f"{',' if number else ''}\n{text}")
        out.write("\n]}\n")
    return [path]


def _feature(
    outline: CellOutline, row: dict[str, Any], name: str, colour: Colour, depths: int, check: bool
) -> dict[str, Any]:
    words = {column: value for column, value in row.items() if isinstance(value, str) and value}
    named = words.pop(CLASS, "")
    classes = [named[:1].upper() + named[1:] or CELL_CLASS, *[TO_CHECK] * check]
    # The same cell has the same identity each time, so that QuPath can update it.
    identity = f"napari-wbcseg/{name}/{outline.plane}/{outline.label}"
    probabilities = [column for column in row if column.startswith(PROBABILITY)]
    titles = _NAMES | {name: f"Probability: {name.removeprefix(PROBABILITY)}" for name in probabilities}
    measurements = {
        title: float(row[column])
        for column, title in titles.items()
        if column in row and np.isfinite(float(row[column]))
    }
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
        "geometry": _geometry(outline, depths),
        "properties": {
            "objectType": "detection",
            "name": str(outline.label),
            "classification": {"name": ": ".join(classes), "color": list(colour)},
            "measurements": {"Label": outline.label, **measurements},
            **({"metadata": words} if words else {}),
        },
    }


def _geometry(outline: CellOutline, depths: int) -> dict[str, Any]:
    parts = [
        [[*ring.tolist(), ring[0].tolist()] for ring in (polygon.exterior, *polygon.holes)]
        for polygon in outline.polygons
    ]
    time, depth = divmod(outline.plane or 0, depths)
    plane = {} if outline.plane is None else {"plane": {"c": -1, "z": depth, "t": time}}
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0], **plane}
    return {"type": "MultiPolygon", "coordinates": parts, **plane}
