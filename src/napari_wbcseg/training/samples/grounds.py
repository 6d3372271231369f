"""Grounds without red cells, drawn by code: bare slide, plasma, the lysed ground of a thick film."""

from __future__ import annotations

import numpy as np

from .distractors import grainy

# Density in red, green and blue of what is spread out over a slide: eosin, lysed haemoglobin, blue plasma.
_COLOURS = ((0.08, 0.35, 0.20), (0.15, 0.30, 0.22), (0.30, 0.18, 0.06), (0.20, 0.20, 0.18))


def plain_ground(shape: tuple[int, ...], white_cell: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a ground: mottled at the scale of cells and larger, strewn with specks now and then.

    Parameters
    ----------
    shape : tuple of int
        (H, W).
    white_cell : float
        Diameter of a white cell, pixels.
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
        Transmittance.
    """
    colour = np.asarray(_COLOURS[rng.integers(len(_COLOURS))], np.float32)
    colour = colour * np.exp(rng.normal(0, 0.3, 3)).astype(np.float32)
    amount = rng.uniform(0.0, 0.6) if rng.random() < 0.6 else 0.0
    density = np.full(shape[:2], amount * rng.uniform(0.3, 1.0), np.float32)
    for grain in (white_cell * rng.uniform(0.2, 0.5), white_cell * rng.uniform(0.6, 2.0)):
        density += amount * rng.uniform(0.1, 0.6) * grainy(shape, grain, rng)
    if rng.random() < 0.4:
        specks = grainy(shape, max(1.0, 0.05 * white_cell), rng)
        density += rng.uniform(0.2, 1.2) * np.clip(specks - rng.uniform(2.0, 2.8), 0, 1)
    return np.exp(-np.clip(density, 0, 3)[..., None] * colour)
