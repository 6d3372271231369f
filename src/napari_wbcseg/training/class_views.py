"""What the classifier is taught on: each cell anew in another laboratory's stain, light and outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..classification.crops import PARAMETERS as CROPS
from ..classification.crops import alone, brought_to, optical_density
from ..images.illumination import BRIGHTEST
from ..sizes import equivalent_diameter
from .samples.affine import moving, rotation
from .samples.augment import augment, nuclear

#: Side of the crops that views are made of: a cell turned and enlarged still fits.
SIDE = 176


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
    recoloured : float
        Share of the views that get the colours of another cell, mean and spread in optical density (Reinhard
        et al., IEEE Computer Graphics 21, 2001), so that shape and granules must tell the class too.
    apart, apart_share : float
        As gain, of the paler half of a cell, its cytoplasm, alone.
    sharpened, sharpened_share : float
        Fine detail that is taken away or added at most, and how often: granules stand out more in some
        cameras than in others.
    own_stain : float
        Share of the views that are not brought to one stain, so that no laboratory's colours decide: taught
        on one stain alone, 0.76 of the cells of a laboratory never seen were right, not 0.82.
    own_size : float
        Share of the views where the cell is as large as a typical one, whatever it was: where a picture shows
        one cell, nobody knows how large the others are.
    as_it_is : float
        Share of the views whose stain, light and camera stay what they are.
    outline : tuple of float
        Pixels by which outlines are off, standard deviations of the blur that they are cut after.
    """

    octaves: float = 0.45
    stretched: float = 0.12
    shift: float = 4.0
    grey: float = 0.9
    grey_share: float = 0.25
    gain: float = 0.3
    gain_share: float = 0.4
    recoloured: float = 0.25
    apart: float = 0.35
    apart_share: float = 0.3
    sharpened: float = 1.2
    sharpened_share: float = 0.4
    own_stain: float = 0.6
    own_size: float = 0.25
    as_it_is: float = 0.25
    outline: tuple[float, float] = (0.7, 3.5)


PARAMETERS = ViewParameters()


def view(
    crop: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    other: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Return a cell as another laboratory might show it.

    Parameters
    ----------
    crop : ndarray of float32, shape (SIDE, SIDE, 3)
        Transmittance.
    mask : ndarray of float32, shape (SIDE, SIDE)
    rng : Generator
    other : tuple of ndarray, optional
        Crop and mask of another cell, which may lend its colours.

    Returns
    -------
    ndarray of float32, shape (side, side, 3)
        As `alone` makes it.
    """
    octaves, stretched, shift = PARAMETERS.octaves, PARAMETERS.stretched, PARAMETERS.shift
    if rng.random() < PARAMETERS.own_size:
        octaves, own = octaves / 3, equivalent_diameter(max(float(mask.sum()), 1.0))
        scale = CROPS.diameter / own * 2 ** rng.uniform(-octaves, octaves)
    else:
        scale = 2 ** rng.uniform(-octaves, octaves)
    turned, tilted = rng.uniform(0, 2 * np.pi, 2)
    stretch = np.diag(np.exp(rng.uniform(-stretched, stretched) * np.array([1, -1])))
    matrix = scale * rotation(turned) @ rotation(tilted) @ stretch @ rotation(-tilted)
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    middle = (CROPS.side - 1) / 2 + rng.uniform(-shift, shift, 2)
    affine = moving(matrix, np.full(2, (SIDE - 1) / 2), middle)
    size = (CROPS.side, CROPS.side)
    image = cv2.warpAffine(crop, affine, size, flags=cv2.INTER_LINEAR, borderValue=(1, 1, 1))
    inside = cv2.warpAffine(mask, affine, size, flags=cv2.INTER_LINEAR)
    if rng.random() >= PARAMETERS.as_it_is:
        if other is not None and rng.random() < PARAMETERS.recoloured:
            image = _with_colours_of(image, inside > 0.5, *other, rng)
        image = _in_other_stain(image, inside, rng)
    blurred = cv2.GaussianBlur(inside, (0, 0), float(rng.uniform(*PARAMETERS.outline)))
    outline = (blurred > rng.uniform(0.25, 0.75)).astype(np.float32)
    return alone(image, outline, one_stain=rng.random() >= PARAMETERS.own_stain)


def _in_other_stain(image: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture as another laboratory's stain, light and camera make it."""
    if rng.random() < PARAMETERS.gain_share:
        gain = np.exp(rng.normal(0, PARAMETERS.gain, 3)).astype(np.float32)
        image = np.maximum(image, 0.02) ** gain
    if rng.random() < PARAMETERS.apart_share:
        image = _cytoplasm_apart(image, inside > 0.5, rng)
    if rng.random() < PARAMETERS.sharpened_share:
        soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.7, 2.8)))
        share = np.float32(rng.uniform(-0.6, PARAMETERS.sharpened))
        image = np.clip(image + share * (image - soft), 0, BRIGHTEST)
    image = augment(image, inside > 0.5, rng)
    if rng.random() < PARAMETERS.grey_share:
        share = np.float32(rng.uniform(0, PARAMETERS.grey))
        image = (1 - share) * image + share * image.mean(axis=2, keepdims=True)
    return image


def _with_colours_of(
    image: np.ndarray, inside: np.ndarray, other: np.ndarray, other_mask: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Give a cell mean and spread of another's optical density."""
    lent, density = optical_density(other)[other_mask > 0.5], optical_density(image)
    if inside.sum() < 2 or len(lent) < 2:
        return image
    moved = brought_to(density, inside, lent.mean(axis=0), lent.std(axis=0) + 0.02, 0.02)
    share = np.float32(rng.uniform(0.3, 1.0))
    mixed = (1 - share) * density + share * moved
    return np.asarray(np.exp(-np.maximum(mixed, 0)), np.float32)


def _cytoplasm_apart(image: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if not inside.any():
        return image
    density = optical_density(image)
    nucleus = nuclear(density, inside, (45, 70))
    gain = np.exp(rng.normal(0, PARAMETERS.apart, 3)).astype(np.float32)
    return np.asarray(np.exp(-density * (nucleus + (1 - nucleus) * gain)), np.float32)
