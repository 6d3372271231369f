"""Windows of several sources side by side: many small cells in one larger field."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...datasets.class_map import UNKNOWN, scale_class_map
from ...images.field_of_view import border
from .sources import Source, centroids

_DIAMETER = 60.0  # of its cells, pixels
_FEATHER = 5  # pixels of a seam
_TRIES = 100  # after which no window is taken to show a whole cell


def mosaic(
    sources: Sequence[Source], rng: np.random.Generator, grid: int = 3, tile: int = 128
) -> Source | None:
    """Lay windows of several sources side by side, at one cell size, as a larger field.

    Training tiles show little more than one cell; a smear shows many, small, with
    much between them.

    Parameters
    ----------
    sources : sequence of Source
        At least one; each has a whole cell.
    rng : Generator
    grid : int
        Windows along each side.
    tile : int
        Side of a window, pixels; cells are 60 px across.

    Returns
    -------
    Source or None
        None where no window showed a whole cell: all lie too close to a border, or are too large.
    """
    tries = (_mosaic(sources, rng, grid, tile) for _ in range(_TRIES))
    return next((made for made in tries if made.centres), None)


def _mosaic(sources: Sequence[Source], rng: np.random.Generator, grid: int, tile: int) -> Source:
    side = grid * tile
    image = np.ones((side, side, 3), np.float32)
    labels = np.zeros((side, side), np.int32)
    classes = np.full((side, side), UNKNOWN, np.float32)
    whole: list[int] = []
    ramp = np.clip((np.arange(tile) + 1) / _FEATHER, 0, 1).astype(np.float32)
    for row, col in np.ndindex(grid, grid):
        source = sources[int(rng.integers(len(sources)))]
        scale = _DIAMETER / source.diameter
        picture, marks, kinds = _window(source, scale, tile, rng)
        spot = np.s_[row * tile : (row + 1) * tile, col * tile : (col + 1) * tile]
        weight = np.outer(*(ramp if before else np.ones_like(ramp) for before in (row, col)))[..., None]
        image[spot] = weight * picture + (1 - weight) * _extended(image, spot)
        classes[spot] = scale_class_map(kinds, scale)
        edge = border(marks)
        for number, index in enumerate(filter(None, np.unique(marks)), int(labels.max()) + 1):
            labels[spot][marks == index] = number
            if index in source.centres and index not in edge:
                whole.append(number)
    return Source(
        image.astype(np.float16),
        labels,
        classes,
        _DIAMETER,
        sources[0].family,
        centroids(labels, whole),
    )


def _window(
    source: Source, scale: float, tile: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a window out of a scaled source, turned and perhaps mirrored: picture, labels and classes."""
    height, width = (max(tile, round(side * scale)) for side in source.labels.shape)
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    parts = [cv2.resize(source.image.astype(np.float32), (width, height), interpolation=flags)]
    for marks in (source.labels, source.classes):
        parts.append(cv2.resize(marks, (width, height), interpolation=cv2.INTER_NEAREST))
    turns = int(rng.integers(4))
    parts = [np.rot90(part, turns) for part in parts]
    if rng.random() < 0.5:
        parts = [part[:, ::-1] for part in parts]
    top, left = (int(rng.integers(side - tile + 1)) for side in parts[0].shape[:2])
    picture, marks, kinds = (part[top : top + tile, left : left + tile] for part in parts)
    return picture, marks, kinds


def _extended(image: np.ndarray, spot: tuple[slice, slice]) -> np.ndarray:
    """Repeat the last pixels before a window into it, for the feathered seam."""
    above, left = (max(side.start - 1, 0) for side in spot)
    return np.float32(0.5) * (image[spot[0], left][:, None] + image[above, spot[1]][None])
