"""Cells cut out one by one, at one scale, with nothing of their surroundings: what the classifier sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..box import Box
from ..images.illumination import BRIGHTEST, DARKEST


@dataclass(frozen=True)
class CropParameters:
    """How cells are cut out: choices of this package, for granules to be seen and large cells to fit.

    Attributes
    ----------
    side : int
        Pixels.
    diameter : float
        Pixels across a typical white cell of the image; with 72, 2 of 489 cells fewer are right, and 4 of 300
        of another laboratory (``benchmarks/classes.py``). What is larger than 1.3 of that is cut.
    rim : float
        Of the side: how far around a cell is kept, for outlines that are a little narrow.
    density, spread : tuple of float
        Mean and standard deviation of the optical density of red, green and blue that each cell is brought
        to: those of the 2,240 cells of the Barcelona set that are trained on.
    least_spread : float
        Is added to a cell's own standard deviation, so that noise in an even thing stays noise.
    """

    side: int = 112
    diameter: float = 86.0
    rim: float = 0.025
    density: tuple[float, float, float] = (0.69, 1.10, 0.28)
    spread: tuple[float, float, float] = (0.47, 0.77, 0.19)
    least_spread: float = 0.05


PARAMETERS = CropParameters()


def cut_out(
    pixels: np.ndarray, mask: np.ndarray, corner: Sequence[int], diameter: float, side: int = PARAMETERS.side
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a cell out, scaled to the size that cells have for the classifier.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, 3)
        Transmittance of the image, or of a part of it.
    mask : ndarray of bool, shape (h, w)
        The cell within its box.
    corner : sequence of int
        Row and column of the box in ``pixels``.
    diameter : float
        Of a typical white cell of the image, pixels.
    side : int
        Of the crop, pixels.

    Returns
    -------
    crop : ndarray of float32, shape (side, side, 3)
        Empty slide, 1, beyond the edge of the image.
    mask : ndarray of float32, shape (side, side)
        Share of each pixel that lies in the cell.
    """
    span = max(round(side * diameter / PARAMETERS.diameter), 1)
    top, left = (corner[axis] + mask.shape[axis] // 2 - span // 2 for axis in (0, 1))
    crop, inside = np.ones((span, span, 3), np.float32), np.zeros((span, span), np.float32)
    _paste(crop, np.asarray(pixels, np.float32), -top, -left)
    _paste(inside, mask.astype(np.float32), corner[0] - top, corner[1] - left)
    order = cv2.INTER_AREA if span > side else cv2.INTER_LINEAR
    size = (side, side)
    return cv2.resize(crop, size, interpolation=order), cv2.resize(inside, size, interpolation=order)


def _paste(target: np.ndarray, source: np.ndarray, row: int, col: int) -> None:
    """Copy what of an array lies in another one when put at a row and column of it, which may be negative."""
    place = Box(row, col, row + source.shape[0], col + source.shape[1]).within(target.shape)
    if place.area:
        target[place.slices] = source[place.shifted(-row, -col).slices]


def alone(crop: np.ndarray, mask: np.ndarray, one_stain: bool = True) -> np.ndarray:
    """Return what the classifier takes: the cell on nothing, 0 on empty slide, about 2 in dark stain.

    Stain and light differ more between laboratories than between classes, so each cell is brought to one
    mean and spread of optical density (after Reinhard et al., IEEE Computer Graphics 21, 2001).

    Parameters
    ----------
    crop : ndarray of float32, shape (side, side, 3)
        Transmittance.
    mask : ndarray of float32, shape (side, side)
    one_stain : bool
        False leaves the stain as it is, as most of the training does.
    """
    reach = 2 * int(np.ceil(PARAMETERS.rim * len(mask))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    soft = cv2.GaussianBlur(cv2.dilate(mask, kernel), (0, 0), 1.0)[..., None]
    density, inside = optical_density(crop), mask > 0.5
    if one_stain and inside.any():
        mean, spread = np.array([PARAMETERS.density, PARAMETERS.spread], np.float32)
        density = brought_to(density, inside, mean, spread, PARAMETERS.least_spread)
    return np.asarray((1 - np.exp(-np.maximum(density, 0))) * 2 * soft, np.float32)


def optical_density(image: np.ndarray) -> np.ndarray:
    """Return how much light was absorbed, in natural logarithms, of transmittance."""
    return np.asarray(-np.log(np.clip(image, DARKEST, BRIGHTEST)))


def brought_to(
    density: np.ndarray, inside: np.ndarray, mean: np.ndarray, spread: np.ndarray, least: float
) -> np.ndarray:
    """Bring what lies inside to a mean and a standard deviation; ``least`` is added to its own one."""
    own = np.compress(inside.ravel(), density.reshape(-1, 3), axis=0)
    middle = own.mean(axis=0)
    gain = spread / (np.sqrt(np.square(own - middle).mean(axis=0)) + least)
    # A row at a time: over so short an axis as that of the colours NumPy takes five times as long.
    middle, gain, mean = (np.tile(colour, inside.shape[1]) for colour in (middle, gain, mean))
    rows = (density.reshape(len(density), -1) - middle) * gain + mean
    return np.asarray(rows.reshape(density.shape))
