"""How sharp an image is, and whether several are one place at several depths of focus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..words import counted
from .pixels import percentiles


@dataclass(frozen=True)
class FocusParameters:
    """How sharpness is measured, and from where on a picture is called out of focus.

    Attributes
    ----------
    cell : float
        Pixels across that a cell is measured at: noise and compression weigh little there.
    smooth : float
        Standard deviation of the Gaussian against what noise is left, pixels at that size.
    steep : float
        Percentile of the slopes that is taken for the edges.
    most : float
        Cell diameters. Sharp pictures of the validation sets lie at 0.04 to 0.11; from 0.12 on cells of
        leukaemia and of a phone's pictures are missed (`benchmarks/bad_pictures.py`).
    side, coarse : int, float
        Pixels across that planes are compared at, and the standard deviation of the Gaussian of what is so
        coarse, such as the light, that it does not count.
    one_field : float
        Correlation of neighbouring planes: above 0.95 a few micrometres out of focus, below 0.3 for other
        fields.
    """

    cell: float = 24.0
    smooth: float = 0.5
    steep: float = 99.0
    most: float = 0.12
    side: int = 96
    coarse: float = 6.0
    one_field: float = 0.8


PARAMETERS = FocusParameters()
#: Asked of three or four grey planes besides.
COLOURS_FIRST = "Are they its red, green and blue? Give these as the last axis: (rows, columns, 3)."
OUT_OF_FOCUS = (
    "The picture is out of focus, so cells may have been missed. Look at it before you use the count."
)


def edge_spread(image: np.ndarray, cell: float) -> float:
    """Measure over how much of a cell the steepest edges are spread.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
    cell : float
        Diameter of a cell, pixels.

    Returns
    -------
    float
        Standard deviation of the Gaussian that would spread them so, in cell diameters; 0 in an image of
        one colour.
    """
    import cv2

    scale = PARAMETERS.cell / cell
    shape = np.maximum(np.rint(np.array(image.shape[1::-1]) * scale), 1).astype(int)
    # Green is what nuclei and red cells both absorb.
    green = cv2.resize(np.ascontiguousarray(image[..., 1]), shape.tolist(), interpolation=cv2.INTER_AREA)
    green = cv2.GaussianBlur(green, (0, 0), PARAMETERS.smooth)
    slopes = cv2.magnitude(*(cv2.Sobel(green, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))))
    low, high = percentiles(green, 1, 99)
    (steepest,) = percentiles(slopes, PARAMETERS.steep)
    # A step of height h under a Gaussian of deviation s is h / (s √2π) steep at most.
    return float((high - low) / (steepest * np.sqrt(2 * np.pi)) / PARAMETERS.cell) if steepest else 0.0


def is_one_field(planes: Iterable[NDArray[np.float32]]) -> bool:
    """Say whether all planes of a stack, each (h, w, 3) and small, show one place, as a focus stack does."""
    import cv2

    size = (PARAMETERS.side, PARAMETERS.side)
    before = None
    for plane in planes:
        small = cv2.resize(plane.mean(axis=-1), size, interpolation=cv2.INTER_AREA)
        small -= cv2.GaussianBlur(small, (0, 0), PARAMETERS.coarse)
        small /= max(float(np.linalg.norm(small)), 1e-6)
        if before is not None and float((small * before).sum()) < PARAMETERS.one_field:
            return False
        before = small
    return True


def focus_note(count: int) -> str:
    """Return what is asked about a stack whose planes show one field."""
    return (
        f"The {counted(count, 'plane')} seem to be one field at several depths of focus, or times: are they? "
        "Each plane was counted by itself, so that one cell counts up to that many times. Count one plane "
        "instead."
    )
