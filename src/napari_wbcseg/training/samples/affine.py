"""Affine maps of pictures, (2, 3) matrices of columns and rows as OpenCV takes them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_COARSE = 0.6  # scale below which a picture is shrunk before it is warped


def rotation(angle: float) -> np.ndarray:
    """Return the matrix (2, 2) of a rotation by an angle in radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def turned(rng: np.random.Generator) -> np.ndarray:
    """Return the matrix (2, 2) of a rotation by any angle, mirrored half of the time."""
    turn = rotation(rng.uniform(0, 2 * np.pi))
    return turn * (1.0 if rng.random() < 0.5 else -1.0, 1.0)


def moving(linear: np.ndarray, point: np.ndarray, to: np.ndarray | float) -> np.ndarray:
    """Return the affine map with this linear part that takes a point, (column, row), to another."""
    return np.column_stack([linear, to - linear @ point])


def shrunk(
    matrix: np.ndarray, scale: float, *parts: tuple[np.ndarray, int]
) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    """Shrink arrays of one size before they are warped, for warping does not average: nothing aliases.

    Parameters
    ----------
    matrix : ndarray of float64, shape (2, 3)
        That they are to be warped by.
    scale : float
        By which it enlarges them.
    *parts : tuple
        An array, and OpenCV's flag of its interpolation.

    Returns
    -------
    matrix : ndarray of float64, shape (2, 3)
        That takes what is returned to the same place.
    parts : sequence of ndarray
        As they were, where the scale is not small.
    """
    if scale >= _COARSE:
        return matrix, [array for array, _ in parts]
    height, width = parts[0][0].shape[:2]
    size = (max(2, round(width * scale * 1.2)), max(2, round(height * scale * 1.2)))
    smaller = [np.asarray(cv2.resize(array, size, interpolation=flag)) for array, flag in parts]
    return matrix * (width / size[0], height / size[1], 1.0), smaller
