"""What the classifier is taught on: each cell anew in another laboratory's stain, light and outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..classification.crops import PARAMETERS as CROPS
from ..classification.crops import alone
from .samples.augment import augment

#: Side of the crops that views are made of: a cell turned and enlarged still fits.
SIDE = 128


@dataclass(frozen=True)
class ViewParameters:
    """How views differ: choices of this package, wider than what laboratories differ by.

    Attributes
    ----------
    octaves : float
        Doublings by which cells are at most larger or smaller: sizes are estimated, each image anew.
    stretched : float
        By how much one direction is at most longer.
    shift : float
        Pixels off the middle, at most.
    grey, grey_share : float
        How far colours are taken out at most, and in which share of the views.
    gain, gain_share : float
        How much more or less each colour is stained, standard deviation of the logarithm, and how often: a
        neutrophil may be as pink as an eosinophil elsewhere.
    as_it_is : float
        Share of the views whose stain, light and camera stay what they are.
    outline : tuple of float
        Pixels by which outlines are off, standard deviations of the blur that they are cut after.
    """

    octaves: float = 0.45
    stretched: float = 0.12
    shift: float = 3.0
    grey: float = 0.9
    grey_share: float = 0.25
    gain: float = 0.3
    gain_share: float = 0.4
    as_it_is: float = 0.3
    outline: tuple[float, float] = (0.5, 2.5)


PARAMETERS = ViewParameters()


def view(crop: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a cell as another laboratory might show it.

    Parameters
    ----------
    crop : ndarray of float32, shape (SIDE, SIDE, 3)
        Transmittance.
    mask : ndarray of float32, shape (SIDE, SIDE)
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (side, side, 3)
        As `alone` makes it.
    """
    octaves, stretched, shift = PARAMETERS.octaves, PARAMETERS.stretched, PARAMETERS.shift
    scale = 2 ** rng.uniform(-octaves, octaves)
    turned, tilted = rng.uniform(0, 2 * np.pi, 2)
    stretch = np.diag(np.exp(rng.uniform(-stretched, stretched) * np.array([1, -1])))
    matrix = scale * _rotation(turned) @ _rotation(tilted) @ stretch @ _rotation(-tilted)
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    middle = (CROPS.side - 1) / 2 + rng.uniform(-shift, shift, 2)
    affine = np.column_stack([matrix, middle - matrix @ np.full(2, (SIDE - 1) / 2)])
    size = (CROPS.side, CROPS.side)
    image = cv2.warpAffine(crop, affine, size, flags=cv2.INTER_LINEAR, borderValue=(1, 1, 1))
    inside = cv2.warpAffine(mask, affine, size, flags=cv2.INTER_LINEAR)
    if rng.random() >= PARAMETERS.as_it_is:
        image = _elsewhere(image, inside, rng)
    blurred = cv2.GaussianBlur(inside, (0, 0), float(rng.uniform(*PARAMETERS.outline)))
    return alone(image, (blurred > rng.uniform(0.25, 0.75)).astype(np.float32))


def _elsewhere(image: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture as another laboratory's stain, light and camera make it."""
    if rng.random() < PARAMETERS.gain_share:
        gain = np.exp(rng.normal(0, PARAMETERS.gain, 3)).astype(np.float32)
        image = np.maximum(image, 0.02) ** gain
    image = augment(image, inside > 0.5, rng)
    if rng.random() < PARAMETERS.grey_share:
        share = np.float32(rng.uniform(0, PARAMETERS.grey))
        image = (1 - share) * image + share * image.mean(axis=2, keepdims=True)
    return image


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
