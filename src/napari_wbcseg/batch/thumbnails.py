"""Small pictures for the report of a run: the image with its outlines, and each cell to check."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..box import Box
from ..classification.classes import CLASS, CLASS_PROBABILITY, class_of
from ..images.prepare import as_rgb8
from ..results.formats.pictures import (
    CASING_COLOUR,
    CELL_COLOUR,
    CHECK_COLOUR,
    SHIFT,
    cell_colours,
    encoded,
    fixed_points,
    outer_outlines,
    traced,
    zoomed,
)
from ..results.records import Picture

if TYPE_CHECKING:
    import pandas as pd

    from ..segmentation.large.source import PixelSource
    from ..segmentation.result import Segmentation

_WIDTH, _HEIGHT = 360, 270
_CELL_SIDE = 72
_CELL_CONTEXT = 2.2  # sides of a cell's picture, in diameters of the cell
_MOST_CELLS = 12
_OF_A_CLASS = 6
_GALLERY_CONTEXT = 1.6  # sides of a picture of the gallery, in diameters of a typical cell: one scale for all
_LEAST_RING = 2.5  # pixels of the overview of a large image
_READ_SIDE = 2048  # pixels of a large image read at once


def pictures_of(image: np.ndarray, result: Segmentation) -> list[Picture]:
    """Draw the pictures that a report shows of an image.

    Parameters
    ----------
    image : ndarray, shape (H, W), (H, W, 3), or a stack of either
        As it was read.
    result : Segmentation
        What was found in it.

    Returns
    -------
    list of Picture
        The image with its cells outlined, at most 360 by 270 pixels (of a stack, the
        plane with most cells); then the cells to check, the least certain first, at most 12.
    """
    labels, cells, caption = result.labels, result.cells, ""
    if result.stacked:
        plane = int(np.bincount(cells["plane"]).argmax()) if len(cells) else 0
        image, labels = image[plane], labels[plane]
        cells = cells[cells["plane"] == plane] if len(cells) else cells
        caption = f"plane {plane} of 0 to {len(result.labels) - 1}"
    picture = as_rgb8(image)
    whole = _outlined(picture, labels, cell_colours(cells, result.classes))
    pictures = [Picture(caption, _jpeg(whole))]
    for row in _least_certain(cells):
        here = _around(row, labels.shape).slices
        pictures.append(_cell_picture(picture[here], labels[here], row))
    return pictures


def pictures_of_large(levels: Sequence[Any], source: PixelSource, result: Segmentation) -> list[Picture]:
    """Draw the pictures that a report shows of a large image.

    Parameters
    ----------
    levels : sequence of arrays, each (H, W) or (H, W, 3)
        The image in full resolution, and in others where it has them.
    source : PixelSource
        It in full resolution.
    result : Segmentation
        What was found in it.

    Returns
    -------
    list of Picture
        As `pictures_of`, with a ring around each cell in place of its outline.
    """
    import cv2

    whole = _overview(levels, source.value_range)
    zoom = whole.shape[1] / source.shape[1]
    cells = result.cells
    colours = cell_colours(cells, result.classes)
    centres = fixed_points(cells[["col", "row"]].to_numpy(float), zoom).tolist()
    for label, diameter, centre in zip(cells["label"], cells["diameter"], centres, strict=True):
        radius = round(max(_LEAST_RING, 0.6 * diameter * zoom) * (1 << SHIFT))
        for colour, line in ((CASING_COLOUR, 2), (colours[int(label)], 1)):
            cv2.circle(whole, centre, radius, colour, line, cv2.LINE_AA, SHIFT)
    pictures = [Picture("", _jpeg(whole))]
    for row in _least_certain(cells):
        box = _around(row, source.shape)
        pixels = as_rgb8(source.read(*box))
        pictures.append(_cell_picture(pixels, np.asarray(result.labels[box.slices]), row))
    return pictures


def small_picture(image: np.ndarray) -> str:
    """Return an image, of a stack its first plane, as a JPEG in base64, as small as a report's pictures.

    Parameters
    ----------
    image : ndarray, shape (H, W), (H, W, 3), or a stack of either
    """
    picture = as_rgb8(image if image.ndim - (image.shape[-1] == 3) == 2 else image[0])
    return _jpeg(zoomed(picture, _reduction(picture.shape)))


def gallery_of(image: np.ndarray | PixelSource, result: Segmentation) -> list[Picture]:
    """Draw some cells of each class, the most certain first, with the class as caption; none without classes.

    Parameters
    ----------
    image : ndarray, shape (H, W), (H, W, 3), or a stack of either; or PixelSource
        As it was read, or of a large one what reads it.
    result : Segmentation
    """
    import cv2

    from ..segmentation.large.source import PixelSource

    cells = result.cells[class_of(result.cells) != ""]
    if not len(cells):
        return []
    cells = cells.sort_values(CLASS_PROBABILITY, ascending=False, kind="stable")
    pictures = []
    for one in result.classes.covering(sorted(set(cells[CLASS]))):
        for row in cells[cells[CLASS] == one.name].head(_OF_A_CLASS).to_dict("records"):
            plane: Any = int(row["plane"]) if result.stacked else slice(None)
            half = round(_GALLERY_CONTEXT * (result.cell_diameter or row["diameter"]) / 2)
            place = _window(row, half, result.labels.shape[-2:])
            part = image.read(*place) if isinstance(image, PixelSource) else image[plane][place.slices]
            pixels = zoomed(as_rgb8(part), _CELL_SIDE / (2 * half), cv2.INTER_AREA)
            pictures.append(Picture(one.name, _jpeg(pixels)))
    return pictures


def _reduction(shape: tuple[int, ...]) -> float:
    """Return how much smaller a report shows an image (H, W, ...): at most 1."""
    return min(_WIDTH / shape[1], _HEIGHT / shape[0], 1.0)


def _overview(levels: Sequence[Any], value_range: float) -> np.ndarray:
    """Return a small copy of an image, from its smallest level that is large enough, read in parts."""
    import cv2

    from ..segmentation.large.source import PixelSource

    height, width = levels[0].shape[:2]
    zoom = _reduction(levels[0].shape)
    size = (max(1, round(height * zoom)), max(1, round(width * zoom)))
    level = next(
        one for one in reversed(levels) if all(a >= b for a, b in zip(one.shape, size, strict=False))
    )
    source = PixelSource(level, value_range)
    small = np.empty((*size, 3), np.uint8)
    rows, cols = (np.linspace(0, side, max(1, -(-side // _READ_SIDE)) + 1) / side for side in level.shape[:2])
    for top, bottom in pairwise(np.rint(rows * size[0]).astype(int).tolist()):
        for left, right in pairwise(np.rint(cols * size[1]).astype(int).tolist()):
            if top == bottom or left == right:
                continue
            down, along = level.shape[0] / size[0], level.shape[1] / size[1]
            box = (int(top * down), int(left * along), round(bottom * down), round(right * along))
            part = cv2.resize(source.read(*box), (right - left, bottom - top), interpolation=cv2.INTER_AREA)
            small[top:bottom, left:right] = as_rgb8(part)
    return small


def _least_certain(cells: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the rows of the cells to check that are shown."""
    if not len(cells):
        return []
    checked = cells[cells["check"].astype(bool)]
    return checked.sort_values("certainty").head(_MOST_CELLS).to_dict("records")


def _outlined(
    picture: np.ndarray, labels: np.ndarray, colours: dict[int, tuple[int, int, int]]
) -> np.ndarray:
    zoom = _reduction(labels.shape)
    small = zoomed(picture, zoom)
    for label, _, outlines in traced(labels):
        _draw(small, outlines, zoom, colours.get(label, CELL_COLOUR))
    return small


def _half_side(row: dict[Any, Any]) -> int:
    return max(8, round(_CELL_CONTEXT * row["diameter"] / 2))


def _around(row: dict[Any, Any], shape: tuple[int, ...]) -> Box:
    """Return the surroundings of a cell, inside the image."""
    return _window(row, _half_side(row), shape)


def _window(row: dict[Any, Any], half: int, shape: tuple[int, ...]) -> Box:
    top, left = round(row["row"]), round(row["col"])
    return Box(top, left, top, left).grown(half, shape)


def _cell_picture(picture: np.ndarray, labels: np.ndarray, row: dict[Any, Any]) -> Picture:
    zoom = _CELL_SIDE / (2 * _half_side(row))
    picture = zoomed(picture, zoom)
    label = int(row["label"])
    _draw(picture, outer_outlines(labels == label), zoom, CHECK_COLOUR)
    certainty = row.get("certainty", np.nan)
    known = "" if np.isnan(certainty) else f", {certainty:.2f}"
    return Picture(f"{label}{known}", _jpeg(picture))


def _draw(picture: np.ndarray, outlines: list[np.ndarray], zoom: float, colour: tuple[int, int, int]) -> None:
    import cv2

    points = [fixed_points(outline, zoom) for outline in outlines]
    for own, line in ((CASING_COLOUR, 4), (colour, 2)):
        cv2.polylines(picture, points, True, own, line, cv2.LINE_AA, shift=SHIFT)


def _jpeg(picture: np.ndarray) -> str:
    return base64.b64encode(encoded(picture, "JPEG", quality=80, subsampling=0)).decode()
