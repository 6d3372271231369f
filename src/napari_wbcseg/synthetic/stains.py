"""Stains of the synthetic smear: what each dye takes out of red, green and blue light.

Densities are *apparent* ones, -ln(pixel / background) of the values a camera writes
(its gamma included), in the range that Romanowsky-stained smears show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

RGB = tuple[float, float, float]

# Planes of the optical density stack, in this order.
AZURE, BLUE, EOSIN, HAEMOGLOBIN, PIGMENT = range(5)
DYES = 5


@dataclass(frozen=True)
class Stain:
    """Absorption colours of one staining, and the light it is seen in.

    Attributes
    ----------
    name : str
        Name shown to people.
    azure, blue, eosin, haemoglobin, pigment : tuple of 3 float
        Optical density (natural logarithm) in red, green and blue of a unit amount:
        ``azure`` the purple of nuclei (azure B and eosin on DNA), ``blue`` of
        basophilic cytoplasm, ``eosin`` of granules, ``haemoglobin`` of red cells
        and ``pigment`` of dirt.
    background : tuple of 3 float
        RGB of the empty field, 0 to 255.
    strength : float
        Multiplies every density but that of the dirt.
    """

    name: str
    azure: RGB = (1.15, 2.25, 0.42)
    blue: RGB = (0.62, 0.42, 0.10)
    eosin: RGB = (0.14, 0.58, 0.42)
    haemoglobin: RGB = (0.40, 0.54, 0.34)
    pigment: RGB = (1.10, 0.90, 1.05)
    background: RGB = (236.0, 240.0, 231.0)
    strength: float = 1.0

    def matrix(self) -> np.ndarray:
        """Return the density of each dye, float32 of shape (5, 3)."""
        dyes = np.array([self.azure, self.blue, self.eosin, self.haemoglobin], np.float32)
        return np.vstack([dyes * self.strength, np.asarray(self.pigment, np.float32)])


_GIEMSA = Stain("giemsa")

# Azure, blue, eosin and haemoglobin of the others.
_WRIGHT = (1.05, 2.15, 0.58), (0.72, 0.48, 0.14), (0.10, 0.68, 0.56), (0.14, 0.48, 0.40)
_LEISHMAN = (1.30, 1.85, 0.36), (0.70, 0.44, 0.06), (0.14, 0.56, 0.36), (0.34, 0.50, 0.24)
_MAY_GRUNWALD = (1.22, 2.30, 0.36), (0.80, 0.58, 0.18), (0.16, 0.62, 0.56), (0.24, 0.41, 0.30)
_YELLOW = (0.80, 1.85, 0.85), (0.60, 0.46, 0.30), (0.10, 0.52, 0.50), (0.16, 0.28, 0.34)

STAINS: dict[str, Stain] = {
    stain.name: stain
    for stain in (
        _GIEMSA,
        Stain("wright", *_WRIGHT, background=(246.0, 243.0, 240.0)),
        Stain("leishman", *_LEISHMAN, background=(226.0, 232.0, 243.0)),
        Stain("may-grunwald", *_MAY_GRUNWALD, background=(254.0, 231.0, 204.0)),
        replace(_GIEMSA, name="pale", strength=0.55, background=(240.0, 240.0, 238.0)),
        replace(_GIEMSA, name="dark", strength=1.4, background=(222.0, 224.0, 212.0)),
        Stain("yellow", *_YELLOW, background=(246.0, 238.0, 160.0)),
    )
}

BACKGROUNDS: dict[str, RGB] = {
    "white": (242.0, 242.0, 240.0),
    "yellow": (246.0, 238.0, 172.0),
    "bluish": (222.0, 230.0, 244.0),
}


def random_stain(rng: np.random.Generator) -> Stain:
    """Draw the colours of a stain, and the light it is seen in, over a wide range."""
    base = list(STAINS.values())[int(rng.integers(len(STAINS)))]

    def near(colour: RGB, spread: float) -> RGB:
        r, g, b = np.asarray(colour) * np.exp(rng.normal(0, spread) + rng.normal(0, spread, 3))
        return (float(r), float(g), float(b))

    haemoglobin = near(base.haemoglobin, 0.24)
    if rng.random() < 0.25:
        # As dark as nuclei, in the blue and purple of an alkaline buffer too.
        base_of = base.haemoglobin if rng.random() < 0.4 else (1.0, 0.85, 0.4)
        haemoglobin = near(tuple(rng.uniform(0.8, 2.2) * np.asarray(base_of)), 0.3)
    lights = list(BACKGROUNDS.values())
    light = base.background if rng.random() < 0.5 else lights[int(rng.integers(len(lights)))]
    bright = np.clip(np.asarray(light) * rng.uniform(0.72, 1.05) * np.exp(rng.normal(0, 0.05, 3)), 90, 255)
    return Stain(
        name="random",
        azure=near(base.azure, 0.16),
        blue=near(base.blue, 0.28),
        eosin=near(base.eosin, 0.30),
        haemoglobin=haemoglobin,
        pigment=near(base.pigment, 0.25),
        background=(float(bright[0]), float(bright[1]), float(bright[2])),
        strength=float(np.clip(base.strength * np.exp(rng.normal(0, 0.25)), 0.4, 1.7)),
    )
