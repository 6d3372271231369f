"""Regions drawn in a Shapes layer, in the pixels of another layer."""

from __future__ import annotations

from collections.abc import Sequence

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
    outlines = []
    for corners, kind in zip(regions.data, regions.shape_type, strict=True):
        if kind not in _REGION_KINDS:
            continue
        corners = np.asarray(corners, float)
        if kind == "ellipse":
            angles = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)
            across, down = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
            corners = corners.mean(axis=0) + np.outer(np.cos(angles), across) + np.outer(np.sin(angles), down)
        points = []
        for corner in corners:
            world = np.zeros(max(layer.ndim, 2))
            world[-2:] = np.asarray(regions.data_to_world(corner))[-2:]
            points.append(np.asarray(layer.world_to_data(world))[-2:])
        outlines.append(np.array(points))
    return tuple(outlines)


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
