"""How sharp an image is, beside the size of what is looked for in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    """

    cell: float = 24.0
    smooth: float = 0.5
    steep: float = 99.0
    most: float = 0.12


PARAMETERS = FocusParameters()
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
    slopes = np.hypot(*(cv2.Sobel(green, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))))
    low, high = np.percentile(green, (1, 99))
    steepest = float(np.percentile(slopes, PARAMETERS.steep))
    # A step of height h under a Gaussian of deviation s is h / (s √2π) steep at most.
    return float((high - low) / (steepest * np.sqrt(2 * np.pi)) / PARAMETERS.cell) if steepest else 0.0
