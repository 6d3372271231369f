"""Regions drawn in a Shapes layer, in the pixels of another layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from napari.layers import Layer, Shapes

from .metadata import role_of

# Shapes that enclose something.
_REGION_KINDS = ("rectangle", "ellipse", "polygon")
_ELLIPSE_POINTS = 64


def is_regions(layer: Layer) -> bool:
    """Say whether a layer may hold regions: Shapes of the user."""
    return layer._type_string == "shapes" and role_of(layer) is None


def region_outlines(regions: Shapes, layer: Layer) -> tuple[np.ndarray, ...]:
    """Return the outlines of what a Shapes layer encloses, in the pixels of another layer.

    Lines and paths enclose nothing and are left out. On a stack, a region counts for every plane.
    """
    outlines, to_pixels = [], _between(regions, layer)
    for corners, kind in zip(regions.data, regions.shape_type, strict=True):
        if kind not in _REGION_KINDS:
            continue
        corners = np.asarray(corners, float)
        if kind == "ellipse":
            angles = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)
            across, down = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
            corners = corners.mean(axis=0) + np.outer(np.cos(angles), across) + np.outer(np.sin(angles), down)
        outlines.append(to_pixels(corners))
    return tuple(outlines)


def _between(drawn: Layer, layer: Layer) -> Callable[[np.ndarray], np.ndarray]:
    """Return what takes points of one layer to rows and columns of another.

    The way there is affine, so some points tell it; point by point napari takes seconds for many regions.
    Where one is in nm and the other in µm, napari shows them as they lie, but converts no point.
    """
    pairs = zip(drawn.units[-2:], layer.units[-2:], strict=True)
    ratio = [(1 * one).to(other).magnitude if one.is_compatible_with(other) else 1.0 for one, other in pairs]

    def through(point: np.ndarray) -> np.ndarray:
        world = np.zeros(max(layer.ndim, 2))
        world[-2:] = np.asarray(drawn.data_to_world(point))[-2:] * ratio
        return np.asarray(layer.world_to_data(world))[-2:]

    origin = through(np.zeros(drawn.ndim))
    steps = np.array([through(axis) - origin for axis in np.eye(drawn.ndim)])
    return lambda points: origin + points @ steps


def inside(points: np.ndarray, outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Say of each point whether it lies in a region.

    Parameters
    ----------
    points : ndarray of float, shape (n, 2)
        Row and column.
    outlines : sequence of ndarray of float, shape (m, 2)
        Corners, as `region_outlines` gives them.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    from skimage.measure import points_in_poly

    found = np.zeros(len(points), bool)
    for outline in outlines:
        found |= points_in_poly(points, outline)
    return found
