"""The report of a run: one HTML file of what was found in each image and what to check, and its pictures."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pandas as pd

from ..box import Box
from ..classification.classes import CLASS, CLASS_PROBABILITY, class_of
from ..classification.differential import Differential
from ..errors import OutputError
from ..files import written_whole
from ..images.pixel_source import PixelSource, plane_sources
from ..images.pixels import resample
from ..images.prepare import as_rgb8
from ..images.read import LargeImage
from ..results.formats.pictures import (
    CASING_COLOUR,
    CELL_COLOUR,
    CHECK_COLOUR,
    SHIFT,
    Colour,
    cell_colours,
    draw_outlines,
    encoded,
    fixed_points,
    outer_outlines,
    traced,
)
from ..results.records import CellPicture, Picture, RunRecord
from ..segmentation.result import Segmentation, marked_in

#: The cells of a folder by class, the least sure of each first, each with the name of its image.
Gallery = dict[str, list[tuple[str, CellPicture]]]

REPORT_FILE = "report.html"
#: Cells of a class that are shown: 36 of each of ten are one megabyte.
_OF_A_CLASS = 36
_TEMPLATE = Path(__file__).with_name("report.html")
_WIDTH, _HEIGHT = 360, 270
_CELL_SIDE = 72
_CELL_CONTEXT = 2.2  # sides of a cell's picture, in diameters of the cell
_MOST_CELLS = 12
# Cells of a class that the gallery has from one image.
_OF_A_CLASS_AND_IMAGE = 12
_GALLERY_CONTEXT = 1.6  # sides of a picture of the gallery, in diameters of a typical cell: one scale for all
_LEAST_RING = 2.5  # pixels of the overview of a large image
_CASING, _LINE = 4, 2  # pixels wide


def write_report(
    path: Path,
    record: RunRecord,
    entries: Iterable[Mapping[str, Any]],
    differential: Differential,
    gallery: Gallery,
) -> None:
    """Write the report as one HTML file, which needs no other file and no network.

    The entries are taken one by one, so that the pictures of a large folder are never in
    memory together.

    Parameters
    ----------
    path : Path
    record : RunRecord
        Of the run, with what became of each input.
    entries : iterable of mapping
        Of each image its ``row`` of ``counts.csv``, its ``pictures`` as captions with JPEG in base64 (the
        image with its outlines, then the cells to check), and the name of its ``overlay``, or nothing.
    differential : Differential
        Over all images whose counts are not in doubt.
    gallery : Gallery
        Of the same images.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,  # a file may be called <script>
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = quote
    pieces = environment.get_template(_TEMPLATE.name).generate(
        record=record,
        totals=Counter(one.status for one in record.inputs),
        settings=_settings(record),
        entries=entries,
        differential=differential,
        gallery=[(name, gallery[name]) for name in differential.colours if name in gallery],
        of_a_class=_OF_A_CLASS,
        of_an_image=_OF_A_CLASS_AND_IMAGE,
    )
    with written_whole(path, OutputError) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(pieces)


def add_to_gallery(gallery: Gallery, image: str, cells: Iterable[CellPicture]) -> None:
    """Put cells of an image into the gallery of its folder, which keeps so many of a class."""
    for cell in cells:
        gallery.setdefault(cell.name, []).append((image, cell))
    for name, shown in gallery.items():
        gallery[name] = nsmallest(_OF_A_CLASS, shown, key=lambda one: one[1].probability)


def _settings(record: RunRecord) -> list[tuple[str, str]]:
    """Return the settings that are not as they come, with their recipe; the classifier is told as such."""
    usual = type(record.settings)().model_dump()
    return [
        (name.replace("_", " "), str(value))
        for name, value in record.settings.model_dump().items()
        if name == "recipe" or (value != usual[name] and name != "classes")
    ]


# Small pictures -----------------------------------------------------------------------------------------


def report_pictures(image: Any, result: Segmentation) -> dict[str, list[Any]]:
    """Draw what a report shows of an image.

    Parameters
    ----------
    image : LargeImage or array, shape (H, W), (H, W, 3), or a stack of either
        As it was read or opened.
    result : Segmentation
        What was found in it.

    Returns
    -------
    dict
        ``pictures``: the image with its cells outlined, or in a large one ringed, at most 360 by 270 pixels
        (of a stack, the plane with most cells); then the cells to check, the least certain first, at most 12.
        ``gallery``: cells of each class, the least sure first, at most 12.
    """
    levels = image.levels if isinstance(image, LargeImage) else ()
    planes = plane_sources(levels[0] if levels else image, result.stacked)
    return {"pictures": _pictures(planes, result, levels), "gallery": _gallery(planes, result)}


def small_picture(image: np.ndarray) -> str:
    """Return an image, of a stack its first plane, as a JPEG in base64, as small as a report's pictures.

    Parameters
    ----------
    image : ndarray, shape (H, W), (H, W, 3), or a stack of either
    """
    picture = as_rgb8(image if image.ndim - (image.shape[-1] == 3) == 2 else image[0])
    return _jpeg(resample(picture, _reduction(picture.shape)))


def _pictures(planes: list[PixelSource], result: Segmentation, levels: Sequence[Any]) -> list[Picture]:
    cells, labels, plane, caption = result.cells, result.labels, 0, ""
    if result.stacked:
        plane = int(np.bincount(cells["plane"], minlength=1).argmax())
        cells, labels = cells[cells["plane"] == plane], labels[plane]
        caption = f"plane {plane} of 0 to {len(planes) - 1}"
    source = planes[plane]
    whole, zoom = _overview(source, levels)
    colours = cell_colours(cells, result.classes)
    if levels:
        _draw_rings(whole, cells, colours, zoom)
    else:
        outlines = [(own, colours.get(label, CELL_COLOUR)) for label, _, own in traced(labels)]
        draw_outlines(whole, outlines, zoom, _CASING, _LINE)
    pictures = [Picture(caption, _jpeg(whole))]
    for row in _least_certain(cells):
        half = max(8, round(_CELL_CONTEXT * row["diameter"] / 2))
        box, zoom = _window(row, half, source.shape), _CELL_SIDE / (2 * half)
        picture = resample(source.read8(box), zoom)
        own = outer_outlines(np.asarray(labels[box.slices]) == row["label"])
        draw_outlines(picture, [(own, CHECK_COLOUR)], zoom, _CASING, _LINE)
        certainty = row.get("certainty", np.nan)
        known = "" if np.isnan(certainty) else f", {certainty:.2f}"
        pictures.append(Picture(f"{int(row['label'])}{known}", _jpeg(picture)))
    return pictures


def _gallery(planes: list[PixelSource], result: Segmentation) -> list[CellPicture]:
    cells, sure = result.cells, CLASS_PROBABILITY
    cells = cells.assign(**{CLASS: class_of(cells), sure: cells.get(sure, 1.0)})
    cells = cells.fillna({sure: 1.0}).sort_values(sure, kind="stable")
    pictures = []
    for one in result.classes.covering(sorted(set(cells[CLASS]))):
        for row in cells[cells[CLASS] == one.name].head(_OF_A_CLASS_AND_IMAGE).to_dict("records"):
            source = planes[int(row["plane"]) if result.stacked else 0]
            half = round(_GALLERY_CONTEXT * (result.cell_diameter or row["diameter"]) / 2)
            part = source.read8(_window(row, half, source.shape))
            pixels = resample(part, _CELL_SIDE / (2 * half))
            probability = round(row[sure], 2)
            pictures.append(CellPicture(one.name, _jpeg(pixels), int(row["label"]), probability))
    return pictures


def _draw_rings(whole: np.ndarray, cells: pd.DataFrame, colours: dict[int, Colour], zoom: float) -> None:
    centres = fixed_points(cells[["col", "row"]].to_numpy(float), zoom).tolist()
    for label, diameter, centre in zip(cells["label"], cells["diameter"], centres, strict=True):
        radius = round(max(_LEAST_RING, 0.6 * diameter * zoom) * (1 << SHIFT))
        for colour, line in ((CASING_COLOUR, 2), (colours[int(label)], 1)):
            cv2.circle(whole, centre, radius, colour, line, cv2.LINE_AA, SHIFT)


def _reduction(shape: tuple[int, ...]) -> float:
    """Return how much smaller a report shows an image (H, W, ...): at most 1."""
    return min(_WIDTH / shape[1], _HEIGHT / shape[0], 1.0)


def _overview(source: PixelSource, levels: Sequence[Any]) -> tuple[np.ndarray, float]:
    """Return a small copy of an image, from its smallest level that is large enough, and its zoom."""
    zoom = _reduction(source.shape)
    size = tuple(max(1, round(side * zoom)) for side in source.shape)
    fitting = [one for one in levels if one.shape[0] >= size[0] and one.shape[1] >= size[1]]
    level = PixelSource(fitting[-1], source.value_range) if fitting else source
    step = max(1, min(level.shape[0] // size[0], level.shape[1] // size[1]))
    small = level.reduced(Box(0, 0, *level.shape), step)
    small = cv2.resize(small, size[::-1], interpolation=cv2.INTER_AREA)
    return np.rint(small).astype(np.uint8), zoom


def _least_certain(cells: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the rows of the cells to check that are shown."""
    checked = cells[cells["label"].isin(marked_in(cells))]
    if "certainty" in checked:
        checked = checked.sort_values("certainty")
    return checked.head(_MOST_CELLS).to_dict("records")


def _window(row: dict[Any, Any], half: int, shape: tuple[int, ...]) -> Box:
    """Return the surroundings of a cell, inside the image."""
    top, left = round(row["row"]), round(row["col"])
    return Box(top, left, top, left).grown(half, shape)


def _jpeg(picture: np.ndarray) -> str:
    return base64.b64encode(encoded(picture, "JPEG", quality=80, subsampling=0)).decode()
