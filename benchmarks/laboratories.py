"""Other laboratories, played: an image as another stain, light or camera would have shown it.

These are fixed and chosen by hand, apart from the random recolouring of the training
(`napari_wbcseg.training.samples.augment`), so that they tell how a method bears what it has not met.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from napari_wbcseg.images.illumination import background_colour, transmittance

_WHITE = np.array([238.0, 236.0, 240.0])


def _shown(density: np.ndarray, light: np.ndarray = _WHITE) -> np.ndarray:
    return np.clip(light * np.exp(-np.maximum(density, 0)), 0, 255).round().astype(np.uint8)


def yellowed(density: np.ndarray) -> np.ndarray:
    """Play an old lamp and a brownish stain."""
    mix = np.array([[1.0, 0.1, 0.0], [0.1, 0.9, 0.1], [0.3, 0.2, 0.8]])
    return _shown(density @ mix.T, np.array([232.0, 214.0, 150.0]))


def faded(density: np.ndarray) -> np.ndarray:
    """Play less than half the stain."""
    return _shown(0.42 * density)


def overstained(density: np.ndarray) -> np.ndarray:
    """Play much stain and little light."""
    return _shown(1.8 * density, np.array([190.0, 186.0, 196.0]))


def pink(density: np.ndarray) -> np.ndarray:
    """Play much eosin: red cells and background are pink, nuclei reddish."""
    mix = np.array([[0.55, 0.05, 0.0], [0.25, 1.0, 0.1], [0.15, 0.25, 0.9]])
    return _shown(density @ mix.T, np.array([244.0, 222.0, 228.0]))


def blue(density: np.ndarray) -> np.ndarray:
    """Play a stain too alkaline: everything turns blue."""
    mix = np.array([[1.2, 0.35, 0.2], [0.2, 0.8, 0.1], [0.0, 0.1, 0.4]])
    return _shown(density @ mix.T, np.array([224.0, 232.0, 244.0]))


def grey(density: np.ndarray) -> np.ndarray:
    """Play a camera without colour."""
    return _shown(np.repeat(density.mean(axis=-1, keepdims=True), 3, axis=-1), np.full(3, 230.0))


def telephone(density: np.ndarray) -> np.ndarray:
    """Play a telephone held to the eyepiece: dark corners, blur, sharpening, compression."""
    height, width = density.shape[:2]
    rows, cols = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    shade = np.exp(-0.28 * (rows**2 + cols**2))[..., None]
    picture = _shown(1.1 * density, np.array([235.0, 225.0, 205.0])) * shade
    picture = cv2.GaussianBlur(picture, (0, 0), 0.008 * min(height, width) ** 0.9 + 0.4)
    picture = picture + 1.2 * (picture - cv2.GaussianBlur(picture, (0, 0), 2.0))
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    _, stream = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR))[..., ::-1].copy()


def contrasty(density: np.ndarray) -> np.ndarray:
    """Play a camera that steepens every edge and burns out what is bright."""
    pixels = _shown(density, np.full(3, 250.0)).astype(np.float32) / 255
    pixels = np.clip(1.25 * pixels**1.5, 0, 1)
    pixels = pixels + 0.8 * (pixels - cv2.GaussianBlur(pixels, (0, 0), 1.5))
    return np.clip(pixels * 255, 0, 255).astype(np.uint8)


def _as_in(laboratory: Callable[[np.ndarray], np.ndarray], image: np.ndarray, cell: float) -> np.ndarray:
    density = -np.log(np.maximum(transmittance(image, background_colour(image)), 0.02)).astype(np.float64)
    return laboratory(density)


#: What makes of an image, uint8 (H, W, 3), and the diameter of its cells what each would have shown.
LABORATORIES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    made.__name__: partial(_as_in, made)
    for made in (yellowed, faded, overstained, pink, blue, grey, telephone, contrasty)
}
