"""Another laboratory's stain, light, optics and camera, put on a training image at random.

All functions work on transmittance (see `illumination`): float32, shape (H, W, 3), 1 on
the empty slide. Ranges are wider than what one laboratory shows, since a user's
smear is always another laboratory's.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...images.illumination import BRIGHTEST, DARKEST
from .distractors import grainy

# Shares of the samples.
_STAINED_APART = 0.4
_PALE_CYTOPLASM = 0.15
_CLUMPED = 0.4
_FADED = 0.12
_OVEREXPOSED = 0.15
_VEILED = 0.12
_DESATURATED = 0.2
_SHARPENED = 0.25
_GLARE = 0.08
# Standard deviation of what is out of focus, in cell diameters, at most.
_MOST_BLUR = 0.1
# Length of what is moved, in cell diameters, at most.
_MOST_MOTION = 0.2
#: Diameter of a cell, pixels, where none shows: a picture without cells is blurred by 2 pixels at most.
NO_CELL = 20.0
# Of those whose red cells are dark: crenated, or dried badly.
_MOTTLED = 0.25


def random_stain(image: np.ndarray, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change how much, and in which colours, the stain absorbs.

    Works in optical density, where stains add (Ruifrok & Johnston, Anal. Quant. Cytol.
    Histol. 23, 2001). Now and then white cells and everything else change apart, as
    they do when buffer or staining time differ between laboratories.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
    cells : ndarray of bool, shape (H, W)
        Pixels of white cells.
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
    """
    density = -np.log(np.maximum(image, DARKEST))
    if rng.random() < _PALE_CYTOPLASM:
        density = _paled(density, cells, float(rng.uniform(0.15, 0.8)))
    if rng.random() < _CLUMPED:
        density = _clumped(density, cells, rng)
    mixed = density.reshape(-1, 3) @ _stain_matrix(rng).T
    mixed = mixed.reshape(density.shape)
    if rng.random() < _STAINED_APART:
        other = (density.reshape(-1, 3) @ _stain_matrix(rng).T).reshape(density.shape)
        choice = rng.random()
        if choice < 0.25:
            other *= rng.uniform(0.1, 0.6)
        elif choice < 0.65:
            # Dark red cells, bluish ones among them, as dark as nuclei.
            other *= (rng.uniform(1.2, 4.0) * rng.uniform(0.5, 1.6, 3)).astype(np.float32)
            if rng.random() < _MOTTLED:
                grain = grainy(image.shape[:2], rng.uniform(2.0, 7.0), rng)
                other *= np.clip(1 + rng.uniform(0.1, 0.35) * grain, 0.4, None)[..., None]
        inside = _softly(cells, 1.2)
        mixed = inside * mixed + (1 - inside) * other
    if rng.random() < 0.3:
        mixed = np.maximum(mixed, 0.0) ** rng.uniform(0.75, 1.35)
    if rng.random() < _FADED:
        # Overexposed or old: lilac, pink, next to nothing.
        mixed *= (rng.uniform(0.15, 0.6) * np.exp(rng.normal(0, 0.3, 3))).astype(np.float32)
    return np.exp(-np.maximum(mixed, -0.3)).astype(np.float32)


def _paled(density: np.ndarray, cells: np.ndarray, left: float) -> np.ndarray:
    """Take stain out of the paler half of white cells: their cytoplasm."""
    if not cells.any():
        return density
    nucleus = nuclear(density, cells, (40, 75))
    inside = _softly(cells, 1.0)
    return density * (1 - inside * (1 - nucleus) * (1 - left))


def _clumped(density: np.ndarray, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clump the chromatin of white cells, as in plasma cells: else clumps are a mark of mottled red ones."""
    if not cells.any():
        return density
    clumps = rng.uniform(0.1, 0.5) * grainy(density.shape[:2], rng.uniform(1.5, 6.0), rng)
    inside = _softly(cells, 1.0)
    return density * np.clip(1 + inside * nuclear(density, cells, (25, 60)) * clumps[..., None], 0.3, None)


def _softly(cells: np.ndarray, blur: float) -> np.ndarray:
    """Return how far pixels are cells', (H, W, 1), with edges as soft as so many pixels' blur makes them."""
    return cv2.GaussianBlur(cells.astype(np.float32), (0, 0), blur)[..., None]


def nuclear(density: np.ndarray, cells: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Return how far pixels are as dark as nuclei, (H, W, 1): from one percentile of the cells to another."""
    dark = density.mean(axis=-1)
    low, high = np.percentile(dark[cells], percentiles)
    return np.asarray(np.clip((dark - low) / max(high - low, 1e-3), 0, 1)[..., None])


def _stain_matrix(rng: np.random.Generator) -> np.ndarray:
    strength = rng.uniform(0.0, 1.0)
    matrix = np.eye(3) + rng.normal(0.0, 0.18 * strength, (3, 3))
    matrix *= np.exp(rng.normal(0.0, 0.30 * strength, (3, 1)))
    matrix *= np.exp(rng.normal(0.0, 0.25))
    if rng.random() < 0.10:
        grey = rng.uniform(0.5, 1.0)
        matrix = (1 - grey) * matrix + grey * np.tile(rng.dirichlet(np.ones(3)), (3, 1))
    elif rng.random() < 0.06:
        matrix = matrix[rng.permutation(3)]
    return matrix.astype(np.float32)


def random_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tint, tilt and vignette the light, as an imperfect background estimate leaves it; add glare."""
    height, width = image.shape[:2]
    # A crop full of cells shows hardly any empty slide: there the estimate is far off.
    tint = np.exp(rng.normal(0.0, 0.15 if rng.random() < 0.15 else 0.05, 3)).astype(np.float32)
    image = image * tint * np.float32(np.exp(rng.normal(0.0, 0.06)))
    if rng.random() < 0.4:
        rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        cols = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        slope = rng.normal(0.0, 0.10, 2)
        image = image * (1 + slope[0] * rows + slope[1] * cols)[..., None].astype(np.float32)
    if rng.random() < 0.03:
        image = _dark_edge(image, rng)
    if rng.random() < _GLARE:
        image = image + _glare(image.shape, rng)
    return image


def _dark_edge(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the edge of the microscope's field, or black padding, into a corner or side."""
    height, width = image.shape[:2]
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = (cols - width / 2) * np.cos(angle) + (rows - height / 2) * np.sin(angle)
    across = -(cols - width / 2) * np.sin(angle) + (rows - height / 2) * np.cos(angle)
    radius = rng.uniform(3, 10) * max(height, width)
    edge = rng.uniform(0.25, 0.5) * width - across**2 / radius
    softness = rng.uniform(0.5, 5.0)
    lit = 1 / (1 + np.exp(np.clip((along - edge) / softness, -30, 30)))
    return image * lit[..., None] + rng.uniform(0.0, 0.1) * (1 - lit[..., None])


def _glare(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return light, (H, W, 1), that an eyepiece reflects into one place."""
    height, width = shape[:2]
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    row, col = rng.uniform(-0.3, 1.3, 2) * (height, width)
    reach = rng.uniform(0.3, 1.5) * max(height, width)
    away = ((rows - np.float32(row)) ** 2 + (cols - np.float32(col)) ** 2) / np.float32(reach**2)
    return np.float32(rng.uniform(0.1, 0.5)) * np.exp(-away)[..., None]


def random_optics(image: np.ndarray, rng: np.random.Generator, cell: float = NO_CELL) -> np.ndarray:
    """Defocus, sharpen, lose resolution, or move; then let stray light in.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
    rng : Generator
    cell : float
        Diameter of a cell, pixels: much further out of focus, nobody tells what it is.
    """
    choice = rng.random()
    if choice < 0.42:
        most = max(0.8, _MOST_BLUR * cell)
        image = cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(np.log(0.4), np.log(most)))))
    elif choice < 0.52:
        soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 2.0)))
        image = image + rng.uniform(0.3, 1.8) * (image - soft)
    elif choice < 0.70:
        height, width = image.shape[:2]
        factor = rng.uniform(0.3, 0.8)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        order = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC
        image = cv2.resize(small, (width, height), interpolation=order)
    elif choice < 0.76:
        image = _moved(image, _MOST_MOTION * cell * rng.uniform(0.2, 1.0), rng)
    if rng.random() < _VEILED:
        veil = np.float32(rng.uniform(0.1, 0.6))
        image = (1 - veil) * image + veil
    return image


def _moved(image: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """Blur along a line of so many pixels, in any direction, as a hand that holds a telephone does."""
    side = 2 * max(1, round(length / 2)) + 1
    middle, turn = side // 2, rng.uniform(0, np.pi)
    along = middle * np.array([np.cos(turn), np.sin(turn)])
    start, end = np.rint([middle - along, middle + along]).astype(int).tolist()
    line = cv2.line(np.zeros((side, side), np.float32), start, end, 1.0)
    return np.asarray(cv2.filter2D(image, -1, line / line.sum(), borderType=cv2.BORDER_REFLECT_101))


def random_camera(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, saturation, gamma, sharpening, noise, JPEG compression; the result is again transmittance."""
    # Overexposed, the empty slide and all that is pale saturate.
    white = rng.uniform(0.78, 1.0) if rng.random() >= _OVEREXPOSED else rng.uniform(1.0, 1.6)
    pixels = np.clip(image * white, 0.0, 1.0)
    white = min(white, 1.0)
    if rng.random() < _DESATURATED:
        grey = pixels.mean(axis=-1, keepdims=True)
        pixels = grey + np.float32(rng.uniform(0.15, 0.9)) * (pixels - grey)
    if rng.random() < 0.4:
        gamma = float(np.exp(rng.uniform(-0.6, 0.6)))
        pixels, white = pixels**gamma, white**gamma
    if rng.random() < _SHARPENED:
        pixels, white = _sharpened(pixels / white, rng), 1.0
    if rng.random() < 0.5:
        pixels = pixels + rng.normal(0.0, rng.uniform(0.004, 0.04), pixels.shape)
    if rng.random() < 0.5:
        quality = int(rng.integers(20, 95))
        eight_bit = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        # OpenCV takes red for blue: the brightness that JPEG keeps best is that of the colours swapped. It
        # stays, for a seed is to give the model that it gave.
        _, stream = cv2.imencode(".jpg", eight_bit, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR)).astype(np.float32) / 255
    return np.clip(pixels / white, 0.0, BRIGHTEST).astype(np.float32)


def _sharpened(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Steepen the contrast, burn out what is bright, and sharpen all edges, as telephones do unasked."""
    pixels = np.clip(rng.uniform(1.0, 1.35) * image ** rng.uniform(1.0, 1.8), 0.0, 1.0)
    soft = cv2.GaussianBlur(pixels, (0, 0), float(np.exp(rng.uniform(np.log(0.5), np.log(3.5)))))
    return np.asarray(pixels + rng.uniform(0.3, 1.5) * (pixels - soft))


def augment(
    image: np.ndarray, cells: np.ndarray, rng: np.random.Generator, cell: float = NO_CELL
) -> np.ndarray:
    """Apply stain, light, optics and camera in the order light meets them.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        Transmittance.
    cells : ndarray of bool, shape (H, W)
    rng : Generator
    cell : float
        Diameter of a cell, pixels.

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
    """
    if rng.random() < 0.9:
        image = random_stain(image, cells, rng)
    image = random_light(image, rng)
    image = random_optics(image, rng, cell)
    return random_camera(image, rng)
