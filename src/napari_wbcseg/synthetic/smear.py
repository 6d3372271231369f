"""A synthetic blood smear with exact truth: the embedded picture of demo, documentation and tests.

The slide is painted as amounts of dye, and photographed as a microscope camera would:
light absorbed after Beer and Lambert, uneven, defocused, noisy and compressed. Stain,
magnification, density and seed are parameters; the same parameters give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import pi

import numpy as np

from ..errors import SettingsError
from .stains import BACKGROUNDS, DYES, RGB, STAINS, Stain, random_stain

__all__ = [
    "BACKGROUNDS",
    "STAINS",
    "Stain",
    "SyntheticSmear",
    "random_smear",
    "random_stain",
    "synthetic_smear",
]

_CANONICAL_DIAMETER = 63.0
USUAL_KINDS = {
    "neutrophil": 0.54,
    "lymphocyte": 0.24,
    "monocyte": 0.09,
    "eosinophil": 0.06,
    "basophil": 0.02,
    "blast": 0.05,
}
KIND_NAMES = tuple(USUAL_KINDS)


@dataclass(frozen=True)
class SyntheticSmear:
    """A drawn field of a blood smear, and what is in it.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    labels : ndarray of int32, shape (H, W)
        Whole white cells, 1..count in reading order (of their first pixel), each in
        one piece; 0 elsewhere. What the field's dark edge hides is not labelled.
    nuclei : ndarray of int32, shape (H, W)
        Pixels of the nuclei, carrying their cell's label. A cell cut by the border
        may show none.
    cell_diameter : float
        Diameter of a typical white cell, in pixels.
    kinds : tuple of str
        Kind of each white cell; ``kinds[i]`` belongs to label ``i + 1``.
    seed : int
        Seed it was drawn with.
    stain : Stain
        Stain it was drawn in.
    red_cells, platelets : ndarray of float, shape (n, 3)
        Row, column and radius of each, also where white cells hide it.
    """

    image: np.ndarray
    labels: np.ndarray
    nuclei: np.ndarray
    cell_diameter: float
    kinds: tuple[str, ...]
    seed: int
    stain: Stain
    red_cells: np.ndarray
    platelets: np.ndarray

    @property
    def count(self) -> int:
        """Number of white cells."""
        return len(self.kinds)


def synthetic_smear(
    shape: tuple[int, int] = (768, 1024),
    *,
    cell_diameter: float = 63.0,
    white_cells: int | None = None,
    kinds: Mapping[str, float] | None = None,
    touching: float = 0.3,
    density: float = 0.42,
    pallor: float = 0.7,
    odd_shapes: float = 0.12,
    crenated: float = 0.0,
    granular: float = 0.0,
    platelets: float = 1.0,
    debris: float = 1.0,
    stain: str | Stain = "giemsa",
    background: str | RGB | None = None,
    dark_edge: float = 0.03,
    uneven_light: float = 0.4,
    blur: float = 0.8,
    sharpening: float = 0.7,
    aberration: float = 0.5,
    noise: float = 2.0,
    jpeg_quality: int | None = 90,
    seed: int = 0,
) -> SyntheticSmear:
    """Draw a field of a stained blood smear with exact truth.

    Parameters
    ----------
    shape : tuple of 2 int
        Rows and columns.
    cell_diameter : float
        Diameter of a typical white cell in pixels, 6 to 1000: the magnification.
    white_cells : int, optional
        Number of white cells; by default as many as such a field would hold.
    kinds : mapping of str to float, optional
        Relative frequency of the kinds: neutrophil, lymphocyte, monocyte,
        eosinophil, basophil, blast. By default about those of healthy blood, with
        some blasts.
    touching : float
        Share of the white cells that lie in groups of 2 to 4, flattened against
        each other.
    density : float
        Area of all red cells as a share of the image: 0.1 is sparse, 0.8 crowded.
    pallor : float
        How pale the middle of red cells is, 0 to 1.
    odd_shapes : float
        Share of red cells that are oval, tear drops, spiked or fragments.
    crenated : float
        Share of red cells whose rim is spiked all round, as in old or drying blood.
    granular : float
        How mottled red cells are, 0 to 1.
    platelets, debris : float
        Amount, 1 being usual.
    stain : str or Stain
        One of `STAINS`, or colours of your own.
    background : str or tuple of 3 float, optional
        Colour of the empty field: white, yellow, bluish or RGB; by default the stain's.
    dark_edge : float
        Share of the image hidden by the round edge of the microscope's field, 0 to 0.6.
    uneven_light : float
        0 is even; 1 loses a third of the light across the image.
    blur : float
        Defocus, standard deviation in pixels at a cell diameter of 63; it grows
        with the magnification.
    sharpening : float
        Gain of the camera's unsharp mask.
    aberration : float
        Shift of red against blue at the image's corners, in pixels.
    noise : float
        Standard deviation of the sensor noise, in grey levels.
    jpeg_quality : int or None
        Quality of the JPEG that the picture goes through, 1 to 100, or None.
    seed : int
        Seed of every random choice.

    Returns
    -------
    SyntheticSmear
        The picture and its truth.

    Raises
    ------
    SettingsError
        If a parameter is out of range or ``white_cells`` do not fit into the image.

    Examples
    --------
    >>> smear = synthetic_smear((200, 300), seed=1)
    >>> smear.image.shape, int(smear.labels.max()) == smear.count
    ((200, 300, 3), True)
    """
    field = _Field(
        shape=_check_shape(shape),
        cell_diameter=cell_diameter,
        white_cells=white_cells,
        kinds=_mixture(kinds),
        touching=touching,
        density=density,
        pallor=pallor,
        odd_shapes=odd_shapes,
        crenated=crenated,
        granular=granular,
        platelets=platelets,
        debris=debris,
        stain=_stain_of(stain, background),
        dark_edge=dark_edge,
        uneven_light=uneven_light,
        blur=blur,
        sharpening=sharpening,
        aberration=aberration,
        noise=noise,
        jpeg_quality=jpeg_quality,
        seed=seed,
    )
    return _draw(field, all_must_fit=True)


def random_smear(
    rng: np.random.Generator | int,
    shape: tuple[int, int] = (256, 256),
    *,
    cell_diameter_range: tuple[float, float] = (20.0, 160.0),
) -> SyntheticSmear:
    """Draw a field with every parameter at random over a wide range, to train robust networks on.

    Domain randomisation after Tobin et al. (2017): far wider than any laboratory, so
    that real smears lie inside.

    Parameters
    ----------
    rng : numpy.random.Generator or int
        Source of every choice, or a seed.
    shape : tuple of 2 int
        Rows and columns.
    cell_diameter_range : tuple of 2 float
        Smallest and largest diameter of a white cell in pixels; drawn evenly on a
        logarithmic scale. Equal ends fix it.

    Returns
    -------
    SyntheticSmear
        The picture and its truth; it may hold no white cell.

    Raises
    ------
    SettingsError
        If the shape or the range cannot be used.
    """
    if not isinstance(rng, np.random.Generator):
        rng = np.random.default_rng(rng)
    shape = _check_shape(shape)
    low, high = cell_diameter_range
    if not 6 <= low <= high <= 1000:
        raise SettingsError(
            f"cell_diameter_range={low:g}..{high:g} cannot be used: stay within 6 and 1000 pixels."
        )
    diameter = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    shares = rng.dirichlet(np.full(len(KIND_NAMES), 0.6)) + 0.03
    areas = shape[0] * shape[1] / (pi / 4 * diameter**2)
    crowd = rng.choice([0.0, 0.05, 0.15, 0.35], p=[0.05, 0.35, 0.40, 0.20]) * rng.uniform(0.6, 1.4)
    number = int(rng.poisson(crowd * areas)) if crowd else 0
    if crowd and number == 0 and rng.random() < 0.8:
        number = 1
    field = _Field(
        shape=shape,
        cell_diameter=diameter,
        white_cells=number,
        kinds=dict(zip(KIND_NAMES, shares / shares.sum(), strict=True)),
        touching=float(rng.choice([0.0, rng.uniform(0, 1)], p=[0.3, 0.7])),
        density=float(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.15, 0.85)], p=[0.15, 0.85])),
        pallor=float(rng.uniform(0, 1)),
        odd_shapes=float(rng.beta(0.7, 2)),
        crenated=float(rng.uniform(0.2, 1)) if rng.random() < 0.2 else 0.0,
        granular=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.25 else 0.0,
        platelets=float(min(rng.gamma(1.0, 1.5), 10)),
        debris=float(min(rng.gamma(0.7, 2.0), 10)),
        stain=random_stain(rng),
        dark_edge=float(rng.uniform(0.01, 0.3)) if rng.random() < 0.15 else 0.0,
        uneven_light=float(rng.uniform(0, 1.2)),
        blur=float(np.clip(rng.lognormal(np.log(0.8), 0.5), 0.2, 2.6)),
        sharpening=float(rng.choice([0.0, rng.uniform(0, 1.6)])),
        aberration=float(rng.uniform(0, 1.5)),
        noise=float(np.clip(rng.gamma(1.5, 1.8), 0, 10)),
        jpeg_quality=int(rng.integers(35, 99)) if rng.random() < 0.75 else None,
        seed=int(rng.integers(2**31)),
    )
    return _draw(field, all_must_fit=False)


@dataclass(frozen=True)
class _Field:
    """Checked parameters of a field; see `synthetic_smear`."""

    shape: tuple[int, int]
    cell_diameter: float
    white_cells: int | None
    kinds: dict[str, float]
    touching: float
    density: float
    pallor: float
    odd_shapes: float
    crenated: float
    granular: float
    platelets: float
    debris: float
    stain: Stain
    dark_edge: float
    uneven_light: float
    blur: float
    sharpening: float
    aberration: float
    noise: float
    jpeg_quality: int | None
    seed: int

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in ("white_cells", "jpeg_quality"):
                continue
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float | np.number)
                or not low <= value <= high
            ):
                raise SettingsError(
                    f"{name}={value!r} cannot be used: give a number from {low:g} to {high:g}."
                )
            if name in ("white_cells", "jpeg_quality", "seed") and not isinstance(value, int | np.integer):
                raise SettingsError(f"{name}={value!r} cannot be used: give a whole number.")


_RANGES: dict[str, tuple[float, float]] = {
    "cell_diameter": (6, 1000),
    "white_cells": (0, 1_000_000),
    "touching": (0, 1),
    "density": (0, 1.5),
    "pallor": (0, 1),
    "odd_shapes": (0, 1),
    "crenated": (0, 1),
    "granular": (0, 1),
    "platelets": (0, 50),
    "debris": (0, 50),
    "dark_edge": (0, 0.6),
    "uneven_light": (0, 2),
    "blur": (0, 10),
    "sharpening": (0, 5),
    "aberration": (0, 20),
    "noise": (0, 60),
    "jpeg_quality": (1, 100),
    "seed": (0, 2**63 - 1),
}


def _check_shape(shape: Sequence[int]) -> tuple[int, int]:
    try:
        height, width = (int(n) for n in shape)
    except (TypeError, ValueError):
        raise SettingsError(
            f"shape={shape!r} cannot be used: give rows and columns, such as (768, 1024)."
        ) from None
    if not (16 <= height <= 32_000 and 16 <= width <= 32_000):
        raise SettingsError(
            f"shape={height} × {width} cannot be used: both sides must be from 16 to 32000 pixels."
        )
    return height, width


def _stain_of(stain: str | Stain, background: str | RGB | None) -> Stain:
    if isinstance(stain, str):
        if stain not in STAINS:
            raise SettingsError(f"There is no stain named {stain!r}: choose one of {', '.join(STAINS)}.")
        stain = STAINS[stain]
    elif not isinstance(stain, Stain):
        raise SettingsError(f"stain={stain!r} cannot be used: give a name or a Stain.")
    if background is None:
        return stain
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise SettingsError(
                f"There is no background named {background!r}: choose one of {', '.join(BACKGROUNDS)}, "
                "or give RGB."
            )
        return replace(stain, background=BACKGROUNDS[background])
    colour = tuple(float(v) for v in background)
    if len(colour) != 3 or not all(0 <= v <= 255 for v in colour):
        raise SettingsError(f"background={background!r} cannot be used: give three numbers from 0 to 255.")
    return replace(stain, background=colour)


def _mixture(kinds: Mapping[str, float] | None) -> dict[str, float]:
    shares = {**USUAL_KINDS} if kinds is None else {str(k): float(v) for k, v in kinds.items()}
    unknown = [k for k in shares if k not in KIND_NAMES]
    if unknown:
        raise SettingsError(
            f"There is no white cell named {unknown[0]!r}: choose from {', '.join(KIND_NAMES)}."
        )
    total = sum(shares.values())
    if not np.isfinite(total) or total <= 0 or min(shares.values()) < 0:
        raise SettingsError("kinds cannot be used: give frequencies of 0 or more, and at least one above 0.")
    return {k: v / total for k, v in shares.items()}


def _draw(field: _Field, *, all_must_fit: bool) -> SyntheticSmear:
    """Place, paint and photograph everything in a field."""
    from . import camera as optics
    from . import surroundings as around
    from .placement import place_red_cells, place_white_cells
    from .truth import paint_white_cells, reading_order

    # One stream for each part, so that changing one leaves the others as they are.
    white_rng, red_rng, small_rng, light_rng, camera_rng = (
        np.random.default_rng([field.seed, part]) for part in range(5)
    )
    shape, diameter = field.shape, field.cell_diameter
    aperture = optics.draw_aperture(light_rng, shape, field.dark_edge)
    wanted = field.white_cells
    if wanted is None:
        areas = shape[0] * shape[1] / (pi / 4 * diameter**2)
        wanted = int(white_rng.poisson(0.05 * areas * (1 - field.dark_edge)))
    cells = place_white_cells(white_rng, shape, diameter, wanted, field.kinds, field.touching, aperture)
    if all_must_fit and field.white_cells is not None and len(cells) < wanted:
        raise SettingsError(
            f"Only {len(cells)} of {wanted} white cells with a diameter of {diameter:g} pixels fit into an "
            f"image of {shape[0]} × {shape[1]} pixels: ask for fewer or smaller cells, or a larger image."
        )
    labels, nuclei, paintings, cover = paint_white_cells(cells, shape, aperture)
    clearance = around.clearance_of(labels)

    dyes = np.zeros((DYES, *shape), np.float32)
    discs = np.array([(cell.row, cell.col, cell.radius) for cell in cells]).reshape(-1, 3)
    radius = 0.5 * diameter * red_rng.uniform(0.50, 0.62)
    reds = place_red_cells(red_rng, shape, radius, field.density, discs)
    around.paint_red_cells(
        red_rng,
        dyes,
        reds,
        clearance,
        pallor=field.pallor,
        odd_shapes=field.odd_shapes,
        crenated=field.crenated,
        granular=field.granular,
    )
    number = int(small_rng.poisson(0.05 * field.platelets * shape[0] * shape[1] / diameter**2))
    platelets = around.paint_platelets(small_rng, dyes, diameter, number, clearance)
    around.paint_debris(small_rng, dyes, diameter, field.debris, clearance)
    dyes *= 1 - 0.8 * cover  # a white cell hides most of what lies over or under it
    for rows, cols, paint in paintings:
        dyes[:, rows, cols] += paint

    camera = optics.Camera(
        background=field.stain.background,
        blur=field.blur * diameter / _CANONICAL_DIAMETER,
        sharpening=field.sharpening,
        noise=field.noise,
        uneven_light=field.uneven_light,
        aberration=field.aberration,
        jpeg_quality=field.jpeg_quality,
    )
    image = optics.photograph(camera_rng, dyes, field.stain, camera, aperture)
    labels, nuclei, order = reading_order(labels, nuclei)
    return SyntheticSmear(
        image=image,
        labels=labels,
        nuclei=nuclei,
        cell_diameter=float(diameter),
        kinds=tuple(cells[i].kind for i in order),
        seed=int(field.seed),
        stain=field.stain,
        red_cells=reds,
        platelets=platelets,
    )
