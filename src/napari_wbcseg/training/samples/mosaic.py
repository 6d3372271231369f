"""Windows of several sources side by side: many small cells in one larger field."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...images.field_of_view import border
from .class_map import UNKNOWN, scale_class_map
from .sources import Source, centroids

_DIAMETER = 60.0  # of its cells, pixels
_GRID, _TILE = 3, 128  # windows along each side, and the side of one in pixels
_FEATHER = 5  # pixels of a seam
_TRIES = 100  # after which no window is taken to show a whole cell


def mosaic(sources: Sequence[Source], rng: np.random.Generator) -> Source | None:
    """Lay windows of several sources side by side, at one cell size, as a larger field.

    Training tiles show little more than one cell; a smear shows many, small, with
    much between them.

    Parameters
    ----------
    sources : sequence of Source
        At least one; each has a whole cell.
    rng : Generator

    Returns
    -------
    Source or None
        None where no window showed a whole cell: all lie too close to a border, or are too large.
    """
    tries = (_mosaic(sources, rng) for _ in range(_TRIES))
    return next((made for made in tries if made.centres), None)


def _mosaic(sources: Sequence[Source], rng: np.random.Generator) -> Source:
    side = _GRID * _TILE
    image = np.ones((side, side, 3), np.float32)
    labels = np.zeros((side, side), np.int32)
    classes = np.full((side, side), UNKNOWN, np.float32)
    whole: list[int] = []
    ramp = np.clip((np.arange(_TILE) + 1) / _FEATHER, 0, 1).astype(np.float32)
    for row, col in np.ndindex(_GRID, _GRID):
        source = sources[int(rng.integers(len(sources)))]
        scale = _DIAMETER / source.diameter
        picture, marks, kinds = _window(source, scale, rng)
        spot = np.s_[row * _TILE : (row + 1) * _TILE, col * _TILE : (col + 1) * _TILE]
        weight = np.outer(*(ramp if before else np.ones_like(ramp) for before in (row, col)))[..., None]
        image[spot] = weight * picture + (1 - weight) * _extended(image, spot)
        classes[spot] = scale_class_map(kinds, scale)
        edge = border(marks)
        for number, index in enumerate(filter(None, np.unique(marks)), int(labels.max()) + 1):
            labels[spot][marks == index] = number
            if index in source.centres and index not in edge:
                whole.append(number)
    centres = centroids(labels, whole)
    return Source(image.astype(np.float16), labels, classes, _DIAMETER, sources[0].family, centres)


def _window(source: Source, scale: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut a window out of a scaled source, turned and perhaps mirrored: picture, labels and classes."""
    height, width = (max(_TILE, round(side * scale)) for side in source.labels.shape)
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    parts = [cv2.resize(source.image.astype(np.float32), (width, height), interpolation=flags)]
    for marks in (source.labels, source.classes):
        parts.append(cv2.resize(marks, (width, height), interpolation=cv2.INTER_NEAREST))
    turns = int(rng.integers(4))
    parts = [np.rot90(part, turns) for part in parts]
    if rng.random() < 0.5:
        parts = [part[:, ::-1] for part in parts]
    top, left = (int(rng.integers(side - _TILE + 1)) for side in parts[0].shape[:2])
    return [part[top : top + _TILE, left : left + _TILE] for part in parts]


def _extended(image: np.ndarray, spot: tuple[slice, slice]) -> np.ndarray:
    """Repeat the last pixels before a window into it, for the feathered seam."""
    above, left = (max(side.start - 1, 0) for side in spot)
    return np.float32(0.5) * (image[spot[0], left][:, None] + image[above, spot[1]][None])
