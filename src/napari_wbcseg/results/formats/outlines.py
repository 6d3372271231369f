"""Outlines of cells along the edges of their pixels, holes and separate parts included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ...box import Box, label_boxes
from ...classification.classify import parts_of
from ...progress import Progress
from ...segmentation.result import Segmentation

_OFTEN = 200  # cells between two reports of progress
_LEAST_HALF = 16  # pixels from the middle of a cell to the edge of what is looked at first


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected part of a cell.

    Points are ``x, y`` in pixels from the upper left corner of the image, so that a pixel
    in row *r* and column *c* covers x from *c* to *c* + 1. Rings are not closed: the first
    point is not said again. Exteriors turn counterclockwise and holes clockwise as GeoJSON
    (RFC 7946) asks, that is, where y is taken to point up.

    Attributes
    ----------
    exterior : ndarray of int64, shape (n, 2)
    holes : tuple of ndarray of int64, shape (n, 2)
    """

    exterior: np.ndarray
    holes: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class CellOutline:
    """The outline of one label on one plane.

    Attributes
    ----------
    label : int
    plane : int or None
        None in an image that is no stack.
    polygons : tuple of Polygon
        More than one where the label is in several pieces, a corner being no bridge.
    """

    label: int
    plane: int | None
    polygons: tuple[Polygon, ...]


def cell_outlines(labels: np.ndarray, corner: tuple[int, int] = (0, 0)) -> Iterator[CellOutline]:
    """Yield the outline of every label, plane by plane and in the order of the labels.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W) or (N, H, W)
        0 is background. Labels need not be contiguous.
    corner : (int, int)
        Row and column of the labels' first pixel in the image.
    """
    stack = labels if labels.ndim == 3 else labels[None]
    for number, plane in enumerate(stack):
        for label, box in label_boxes(plane):
            polygons = mask_polygons(plane[box.slices] == label, box.shifted(*corner)[:2])
            yield CellOutline(label, number if labels.ndim == 3 else None, polygons)


def outlines_of(result: Segmentation, progress: Progress) -> Iterator[CellOutline]:
    """Yield the outline of every cell of a result; labels on disk are read in parts."""
    if isinstance(result.labels, np.ndarray):
        outlines = cell_outlines(result.labels, result.corner)
    else:
        outlines = _outlines_on_disk(result.labels, result.cells)
    for done, outline in enumerate(outlines):
        if done % _OFTEN == 0:
            progress(done, result.count, "Outlining cells")
        yield outline


def _outlines_on_disk(labels: Any, cells: pd.DataFrame) -> Iterator[CellOutline]:
    """Yield the outline of each cell in a table, part by part of its labels (H, W)."""
    places = cells.reindex(columns=["label", "row", "col", "diameter", "area"]).fillna({"area": 1})
    for part, rows in parts_of(labels, places, np.arange(len(cells))):
        inside = np.asarray(labels[part.slices])
        for label, row, col, diameter, area in places.iloc[rows].itertuples(index=False):
            half = max(_LEAST_HALF, round(diameter))
            box = Box.square(row, col, half).within(labels.shape)
            mask = inside[box.relative_to(part).slices] == label
            # Long, or in pieces, or not there at all.
            while box.shape != labels.shape and (box.cuts(mask, labels.shape) or mask.sum() < area):
                half *= 2
                box = Box.square(row, col, half).within(labels.shape)
                mask = np.asarray(labels[box.slices]) == label
            yield CellOutline(int(label), None, mask_polygons(mask, box[:2]))


def mask_polygons(mask: np.ndarray, origin: tuple[int, int] = (0, 0)) -> tuple[Polygon, ...]:
    """Return the polygons that cover the pixels of a mask, exactly.

    The area of the polygons is the number of pixels. Every ring is simple: where pixels
    meet only at a corner, rings touch there and do not cross.

    Parameters
    ----------
    mask : ndarray of bool, shape (h, w)
    origin : (int, int)
        Row and column of the mask's first pixel in the image.

    Examples
    --------
    >>> mask_polygons(np.ones((2, 3), bool))[0].exterior.tolist()
    [[3, 0], [3, 2], [0, 2], [0, 0]]
    """
    from scipy import ndimage

    parts, count = ndimage.label(mask)  # edges join pixels, corners do not
    if count == 1:
        return (_polygon(mask, origin),)
    return tuple(
        _polygon(parts[box] == number, (origin[0] + box[0].start, origin[1] + box[1].start))
        for number, box in enumerate(ndimage.find_objects(parts), start=1)
    )


def _polygon(part: np.ndarray, origin: tuple[int, int]) -> Polygon:
    """Return the polygon of pixels that are all joined by edges."""
    # OpenCV follows the centres of the outermost pixels. With each pixel made four, these
    # are the quarters next to a corner of the pixel, and so name that corner.
    quarters = np.zeros((2 * part.shape[0] + 2, 2 * part.shape[1] + 2), np.uint8)
    inner = quarters[1:-1, 1:-1]
    inner[::2, ::2] = inner[::2, 1::2] = inner[1::2, ::2] = inner[1::2, 1::2] = part
    contours, _ = cv2.findContours(quarters, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [
        ring
        for contour in contours
        for ring in _simple_rings(_without_repeats(contour[:, 0, :].astype(np.int64) // 2))
    ]
    # Pixels joined by edges have one outer ring, which is the largest.
    if len(rings) > 1:
        rings.sort(key=lambda ring: cv2.contourArea(ring.astype(np.int32)), reverse=True)
    shift = np.array([origin[1], origin[0]])
    # OpenCV turns the other way.
    exterior, *holes = (_without_straight_points(ring)[::-1] + shift for ring in rings)
    return Polygon(exterior, tuple(holes))


def _without_repeats(points: np.ndarray) -> np.ndarray:
    """Leave out points equal to the one before."""
    before = _turned(points, 1)
    return points[(points[:, 0] != before[:, 0]) | (points[:, 1] != before[:, 1])]


def _turned(ring: np.ndarray, by: int) -> np.ndarray:
    """Return the points of a ring, beginning ``by`` points earlier; NumPy's roll is slow on short ones."""
    return np.concatenate((ring[-by:], ring[:-by]))


def _simple_rings(ring: np.ndarray) -> list[np.ndarray]:
    """Cut a ring that passes some points twice into rings that pass each point once."""
    keys = ring[:, 0] * (ring[:, 1].max(initial=0) + 1) + ring[:, 1]
    if len(np.unique(keys)) == len(keys):
        return [ring]
    rings: list[list[tuple[int, int]]] = []
    path: list[tuple[int, int]] = []
    where: dict[tuple[int, int], int] = {}
    for point in [(x, y) for x, y in ring.tolist()]:
        if point in where:
            start = where[point]
            rings.append(path[start:])
            for gone in path[start:]:
                del where[gone]
            del path[start:]
        where[point] = len(path)
        path.append(point)
    return [np.array(part, dtype=np.int64) for part in (*rings, path) if len(part) >= 4]


def _without_straight_points(ring: np.ndarray) -> np.ndarray:
    """Keep the corners only."""
    before, after = ring - _turned(ring, 1), _turned(ring, -1) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
