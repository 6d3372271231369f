"""Cells as regions of interest of ImageJ and Fiji: a zip that the ROI Manager opens."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from roifile import ROI_TYPE, ImagejRoi

from ...classification.classes import class_of
from ...errors import OutputError
from ...files import written_whole
from ...progress import Progress
from ...segmentation.result import Segmentation
from .outlines import CellOutline, outlines_of
from .pictures import CELL_COLOUR, Colour, cell_colours

#: ImageJ keeps places in 16 bits and takes what is larger for negative.
FARTHEST = 60_535
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # java.awt.geom.PathIterator


def write_rois(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    """Write the outlines of the cells as a zip of ImageJ regions, and return the file.

    Outlines run along the edges of the pixels, as ImageJ's own wand draws them, so that
    an area measured there is the number of pixels. Cells in pieces or with holes become
    composite regions; in a stack each has the position of its plane.

    Raises
    ------
    OutputError
        If the file cannot be written; see `check_rois`.
    """
    check_rois(path, result)
    marked, colours = result.marked, cell_colours(result.cells, result.classes)
    names = dict(zip(result.cells["label"], class_of(result.cells), strict=True))
    with (
        written_whole(path, OutputError) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for outline in outlines_of(result, progress):
            colour = colours.get(outline.label, CELL_COLOUR)
            roi = _roi(outline, names.get(outline.label, ""), outline.label in marked, colour)
            # A fixed date: the same cells give the same bytes.
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes())
    return [path]


def check_rois(path: Path, result: Segmentation) -> None:
    """Raise `OutputError` if a cell may lie farther out than ImageJ can say."""
    farthest = max(map(sum, zip(result.labels.shape[-2:], result.corner, strict=True)))
    if farthest > FARTHEST:
        raise OutputError(
            f"{path} was not written: ImageJ's regions end at {FARTHEST} pixels and the image has "
            f"{farthest}. Save GeoJSON instead, which has no such limit."
        )


def _roi(outline: CellOutline, name: str, check: bool, colour: Colour) -> ImagejRoi:
    rings = [ring for part in outline.polygons for ring in (part.exterior, *part.holes)]
    points = np.concatenate(rings)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    words = re.sub(r"[^\w.-]+", "-", name)  # the names are those of files in the zip
    position = 0 if outline.plane is None else outline.plane + 1  # in the stack; 0 stands for no stack
    plane = f"{position:04d}-" if position else ""
    roi = ImagejRoi(
        name=f"{plane}cell-{outline.label:05d}{f'-{words}' if words else ''}{'-check' if check else ''}",
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        position=position,
        stroke_color=bytes((255, *colour)),
    )
    if len(rings) == 1:
        roi.roitype = ROI_TYPE.TRACED
        roi.n_coordinates = len(points)
        roi.integer_coordinates = (points - (left, top)).astype(np.int32)
        return roi
    path: list[float] = []
    for ring in rings:
        for number, (x, y) in enumerate(ring.tolist()):
            path += [_LINE if number else _MOVE, x, y]
        path.append(_CLOSE)
    roi.roitype = ROI_TYPE.RECT
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi
