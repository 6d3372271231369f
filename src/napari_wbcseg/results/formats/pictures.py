"""Pictures of a result: the mask, and the image with its cells outlined and numbered."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from ...box import Box, label_boxes
from ...classification.classes import BUILT_IN_CLASSES, ClassList, class_of
from ...errors import OutputError
from ...files import write_atomically
from ...images.pixels import resample
from ...images.prepare import as_rgb8
from ...segmentation.result import marked_in

Colour = tuple[int, int, int]  # RGB, 0 to 255

# A light blue and an orange: far from the pinks, purples and yellows of blood stains, and told
# apart by colour-blind eyes. A dark casing makes both stand out on a white ground as well.
CELL_COLOUR = (0, 225, 255)
CHECK_COLOUR = (255, 150, 0)
CASING_COLOUR = (20, 20, 20)
_LEAST_SIDE = 640
_GREATEST_SIDE = 6000
#: Bits behind the point in coordinates given to OpenCV.
SHIFT = 4


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture (H, W) or (H, W, 3) of uint8, in the format of the path's ending."""
    kind = Image.registered_extensions()[Path(path).suffix.lower()]
    options: dict[str, Any] = {"quality": 95} if kind == "JPEG" else {"optimize": False, "compress_level": 4}
    return write_atomically(path, encoded(image, kind, **options))


def encoded(picture: np.ndarray, kind: str, **options: Any) -> bytes:
    """Return a picture of uint8 as a file of a kind that Pillow knows, such as ``JPEG``, with its options."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def cell_colours(cells: pd.DataFrame | None, classes: ClassList = BUILT_IN_CLASSES) -> dict[int, Colour]:
    """Return the colour of each cell, RGB, by its label: that of its class, or orange for those to check."""
    if cells is None or not len(cells):
        return {}
    names = class_of(cells)
    known = {one.name: one.rgb for one in classes.covering(sorted(set(names)))}
    colours = {
        int(label): known.get(name, CELL_COLOUR) for label, name in zip(cells["label"], names, strict=True)
    }
    return {**colours, **dict.fromkeys(marked_in(cells), CHECK_COLOUR)}


def class_counts(cells: pd.DataFrame, classes: ClassList) -> list[tuple[str, Colour]]:
    """Return how many cells are of each class, in words, and its colour; nothing where no class is told."""
    told = class_of(cells).value_counts()
    of_class = [
        (f"{one.name} {told[one.name]}", one.rgb)
        for one in classes.covering(sorted(told.index))
        if one.name in told
    ]
    return [*of_class, (f"no class {told['']}", CELL_COLOUR)] if of_class and "" in told else of_class


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    cells: pd.DataFrame | None = None,
    classes: ClassList = BUILT_IN_CLASSES,
) -> np.ndarray:
    """Draw the outline and the number of each cell over the image.

    Cells have the colour of their class, which a legend below the image explains. Those to check are
    drawn in orange and their number carries a question mark. Small images are enlarged so that the
    numbers can be read, very large ones reduced.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3) or (H, W)
        Any image that `segment` takes.
    labels : ndarray of int, shape (H, W)
    cells : DataFrame, optional
        Columns ``label``, ``check`` and ``class``; without it no cell is marked.
    classes : ClassList

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)

    Raises
    ------
    OutputError
        If image and labels differ in size.
    """
    picture = as_rgb8(image)
    labels = np.asarray(labels)
    if labels.shape != picture.shape[:2]:
        raise OutputError(
            f"The overlay was not drawn: the image is {picture.shape[:2]} and its labels are {labels.shape}."
        )
    marked = frozenset() if cells is None else marked_in(cells)
    colours = cell_colours(cells, classes)
    zoom = _zoom(labels.shape)
    picture = np.array(resample(picture, zoom))  # a copy: the user's own pixels stay as they are
    height, width = picture.shape[:2]
    # Outlines and numbers keep one apparent size on pictures of any size.
    unit = max(1.0, min(height, width) / 800)
    line = max(1, round(1.6 * unit))

    found = list(traced(labels))
    outlined = [(outlines, colours.get(label, CELL_COLOUR)) for label, _, outlines in found]
    draw_outlines(picture, outlined, zoom, line + 2, line)

    taken = cv2.resize((labels != 0).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    for label, box, _ in found:
        text = f"{label}?" if label in marked else str(label)
        scaled = [(box.top * zoom, box.bottom * zoom), (box.left * zoom, box.right * zoom)]
        _write_number(picture, taken, text, scaled, unit, colours.get(label, CELL_COLOUR))
    return np.concatenate([picture, *_legend(cells, classes, width, unit)])


def _legend(cells: pd.DataFrame | None, classes: ClassList, width: int, unit: float) -> list[np.ndarray]:
    """Draw rows that say which colour is which class, and how many cells are of it; none without classes."""
    font, size, line = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * unit, max(1, round(unit))
    rows: list[np.ndarray] = []
    height, left = round(24 * unit), width
    for text, colour in [] if cells is None else class_counts(cells, classes):
        needed = cv2.getTextSize(text, font, size, line)[0][0] + round(32 * unit)
        if left + needed > width:
            rows.append(np.full((height, width, 3), 255, np.uint8))
            left = round(8 * unit)
        middle, radius = (left + round(6 * unit), height // 2), round(6 * unit)
        cv2.circle(rows[-1], middle, radius, colour, -1, cv2.LINE_AA)
        cv2.circle(rows[-1], middle, radius, CASING_COLOUR, 1, cv2.LINE_AA)  # of a white one, too
        start = (left + round(16 * unit), height // 2 + round(5 * unit))
        cv2.putText(rows[-1], text, start, font, size, CASING_COLOUR, line, cv2.LINE_AA)
        left += needed
    return rows


def traced(labels: np.ndarray) -> Iterator[tuple[int, Box, list[np.ndarray]]]:
    """Yield each label with its box and its outer outlines, for drawing.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)

    Yields
    ------
    label : int
    box : Box
    outlines : list of ndarray of int, shape (n, 1, 2)
        Columns and rows of the pixels along each piece, in the pixels of the image.
    """
    for label, box in label_boxes(labels):
        mask = labels[box.slices] == label
        yield label, box, [np.add(outline, box[1::-1]) for outline in outer_outlines(mask)]


def outer_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return columns and rows of the pixels along each piece of a mask, int of shape (n, 1, 2)."""
    # The rim of one pixel closes the outline of a cell at the image's edge.
    outlines, _ = cv2.findContours(np.pad(mask.astype(np.uint8), 1), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [outline - 1 for outline in outlines]


def draw_outlines(
    picture: np.ndarray,
    outlined: Sequence[tuple[list[np.ndarray], Colour]],
    zoom: float,
    casing: int,
    line: int,
) -> None:
    """Draw the outlines of cells, in the pixels of the image, each in a colour, over all their casings.

    Parameters
    ----------
    picture : ndarray of uint8, shape (h, w, 3)
        Drawn on.
    outlined : sequence of (list of ndarray, tuple of int)
        The outlines of a cell, as `outer_outlines` gives them, and their colour.
    zoom : float
        Size of the picture over that of the image.
    casing, line : int
        Widths, pixels.
    """
    points = [([fixed_points(outline, zoom) for outline in outlines], own) for outlines, own in outlined]
    for casing_colour, width in ((CASING_COLOUR, casing), (None, line)):
        for outlines, own in points:
            cv2.polylines(picture, outlines, True, casing_colour or own, width, cv2.LINE_AA, shift=SHIFT)


def _zoom(shape: tuple[int, ...]) -> float:
    short, long = min(shape), max(shape)
    if long > _GREATEST_SIDE:
        return _GREATEST_SIDE / long
    return float(min(max(1, -(-_LEAST_SIDE // short)), max(1, _GREATEST_SIDE // long)))


def fixed_points(positions: np.ndarray, zoom: float) -> np.ndarray:
    """Return pixel positions in an enlarged or reduced picture, in OpenCV's fixed-point numbers (`SHIFT`)."""
    return np.rint(((positions + 0.5) * zoom - 0.5) * (1 << SHIFT)).astype(np.int32)


def _write_number(
    picture: np.ndarray,
    taken: np.ndarray,
    text: str,
    box: Sequence[tuple[float, float]],
    unit: float,
    colour: Colour,
) -> None:
    """Write a number beside a cell, where it covers least of the cells and numbers already there."""
    height, width = picture.shape[:2]
    font, size, bold = cv2.FONT_HERSHEY_SIMPLEX, 0.8 * unit, max(2, round(2 * unit))
    (w, h), drop = cv2.getTextSize(text, font, size, bold)
    h += drop
    gap = round(4 * unit)
    (top, bottom), (left, right) = box
    middle_row, middle_column = (top + bottom - h) / 2, (left + right - w) / 2
    places = [
        (top - h - gap, middle_column),
        (middle_row, right + gap),
        (bottom + gap, middle_column),
        (middle_row, left - w - gap),
        (top - h - gap, right),
        (bottom + gap, right),
        (top - h - gap, left - w),
        (bottom + gap, left - w),
        (middle_row, middle_column),
    ]
    inside = np.clip(places, 0, (max(0, height - h), max(0, width - w))).astype(int).tolist()
    # Other numbers weigh more than cells: a number over a cell can still be read.
    row, column = min(inside, key=lambda at: int(taken[at[0] : at[0] + h, at[1] : at[1] + w].sum()))
    taken[row : row + h, column : column + w] = 4
    start = (column, row + h - drop)
    for ink, width in ((CASING_COLOUR, bold + max(2, round(2.4 * unit))), (colour, bold)):
        cv2.putText(picture, text, start, font, size, ink, width, cv2.LINE_AA)
