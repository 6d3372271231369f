"""Everything in a synthetic smear that is not a white cell: red cells, platelets, dirt."""

from __future__ import annotations

from math import ceil, pi

import cv2
import numpy as np

from ..box import Box
from .parameters import SmearParameters
from .stains import AZURE, BLUE, DYES, EOSIN, HAEMOGLOBIN, PIGMENT
from .white_cells import ANGLES, grid, outline_at, ring_outline, smooth_step, specks, texture

# How many there are on the area of a square white cell, and their radius over the diameter of one.
_DEBRIS = {
    "precipitate": (0.006, 0.22),
    "dirt": (0.010, 0.13),
    "speck": (0.05, 0.03),
    "streak": (0.006, 0.5),
    "smudge": (0.003, 0.5),
}


def _red_outline(rng: np.random.Generator, odd: float) -> np.ndarray:
    if rng.random() >= odd:
        return ring_outline(rng, 0.026, 1 + abs(rng.normal(0, 0.07)), orders=6)
    shape = rng.choice(
        ["oval", "tear", "echinocyte", "fragment", "angular"], p=[0.46, 0.14, 0.08, 0.12, 0.20]
    )
    if shape == "oval":
        return ring_outline(rng, 0.03, rng.uniform(1.12, 1.5), orders=4)
    if shape == "angular":
        return ring_outline(rng, 0.08, rng.uniform(1.0, 1.15), orders=6)
    outline = ring_outline(rng, 0.03, rng.uniform(1.0, 1.15), orders=5)
    turned = (ANGLES - rng.uniform(0, 2 * pi) + pi) % (2 * pi) - pi
    if shape == "tear":
        form = 0.88 + rng.uniform(0.4, 0.9) * np.exp(-((np.abs(turned) / 0.30) ** 1.3))
    elif shape == "echinocyte":
        spikes = int(rng.integers(9, 16))
        form = 0.95 + rng.uniform(0.02, 0.06) * np.cos(spikes * turned + 0.9 * np.sin(3 * turned))
    else:
        outline = outline * rng.uniform(0.6, 0.85)
        form = 1 - 0.35 * np.exp(-((turned / 0.7) ** 2))
    return (outline * form).astype(np.float32)


def _spikes(rng: np.random.Generator, height: float) -> np.ndarray:
    """Return what to multiply an outline with, so that it is spiked all round."""
    turn, number = rng.uniform(0, 2 * pi), int(rng.integers(8, 20))
    wave = np.cos(number * ANGLES + turn + 0.9 * np.sin(3 * ANGLES + turn))
    return np.asarray(1 + height * np.sign(wave) * np.abs(wave) ** 0.7, np.float32)


def paint_red_cells(
    rng: np.random.Generator,
    dyes: np.ndarray,
    cells: np.ndarray,
    clearance: np.ndarray,
    field: SmearParameters,
) -> None:
    """Add red cells to the dye planes, in place.

    A red cell is a disc, thick at the rim and thin in the middle; where a white cell
    is near, its rim follows the white cell's wall instead (it is pushed in).

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of every shape.
    dyes : ndarray of float32, shape (5, H, W)
        The planes painted on.
    cells : ndarray, shape (n, 3)
        Row, column and radius of each.
    clearance : ndarray of float32, shape (H, W)
        Distance of each pixel to the nearest white cell, in pixels.
    field : SmearParameters
        Tells how pale, odd, crenated and granular they are.
    """
    for row, col, radius in cells:
        outline = _red_outline(rng, field.odd_shapes)
        if field.crenated and rng.random() < field.crenated:
            outline = outline * _spikes(rng, rng.uniform(0.04, 0.14))
        draws = rng.uniform(0, 1, 8)
        reach = int((float(outline.max()) + 0.2) * radius + 2)
        top, left = int(row) - reach, int(col) - reach
        part = Box(top, left, top + 2 * reach + 2, left + 2 * reach + 2).within(dyes.shape[1:])
        if not part.area:
            continue
        y, x = grid(part, *np.array((row, col, radius), np.float32))
        depth = outline_at(outline, y, x) - np.sqrt(y * y + x * x)
        near = clearance[part.slices]
        if near.min() < reach and draws[0] < 0.88:  # the others lie over or under it
            free = near / radius + 0.02 - 0.3 * max(draws[0] - 0.6, 0)
            share = np.clip(0.5 + (free - depth) / 0.24, 0, 1)  # smooth minimum of both depths
            depth = free + (depth - free) * share - 0.12 * share * (1 - share)
        soft = 0.7 / radius
        cover = np.clip(depth / (2 * soft) + 0.5, 0, 1)
        # Rounded rim, then the hollow.
        rim = 0.16 + 0.10 * draws[1]
        bulge = np.sqrt(np.clip(1 - (1 - np.clip(depth / rim, 0, 1)) ** 2, 0, 1))
        middle = np.clip(field.pallor * (0.75 + 0.7 * draws[2]) if draws[3] > 0.06 else 0.05, 0, 0.95)
        begin = 0.18 + 0.14 * draws[4]
        hollow = smooth_step((depth - begin) / (0.28 + 0.55 * (1 - field.pallor) * (0.5 + draws[5])))
        if draws[6] < 0.03:  # target cell: a spot of haemoglobin in the hollow
            hollow = hollow * (1 - 0.8 * smooth_step((depth - 0.68) / 0.2))
        amount = (0.80 + 0.35 * draws[7]) * cover * (0.55 + 0.45 * bulge) * (1 - middle * hollow)
        # The wall bends light: dark just inside, bright just outside.
        amount += 0.16 * np.exp(-(((depth - 0.07) / 0.07) ** 2)) * cover
        amount -= 0.12 * np.exp(-(((depth + 0.10) / 0.08) ** 2)) * (1 - cover)
        if field.granular:
            grain = texture(rng, amount.shape, rng.uniform(0.08, 0.3) * radius)
            amount *= np.clip(1 + field.granular * grain, 0.1, None)
        dyes[HAEMOGLOBIN, *part.slices] += amount
        if draws[0] < 0.014:  # polychromatic: a young red cell, bluish
            dyes[BLUE, *part.slices] += 0.15 * cover


def _add(dyes: np.ndarray, paint: np.ndarray, square: Box) -> None:
    """Add a painted square to dye planes (..., H, W), which it may reach beyond."""
    part = square.within(dyes.shape[-2:])
    dyes[..., *part.slices] += paint[..., *part.relative_to(square).slices]


def _blob(
    rng: np.random.Generator, size: tuple[int, int], radius: float, rough: float, aspect: float
) -> np.ndarray:
    """Return the depth inside an irregular blob in the middle of a patch, in its radii."""
    half = size[0] // 2
    y, x = grid(Box(0, 0, *size), half, half, np.float32(radius))
    return outline_at(ring_outline(rng, rough, aspect, orders=8), y, x) - np.hypot(y, x)


def paint_platelet(rng: np.random.Generator, dyes: np.ndarray, row: float, col: float, radius: float) -> None:
    """Add one platelet, purple and granular with a pale seam, to the dye planes in place."""
    square = Box.square(row, col, ceil(1.7 * radius + 2))
    draws = rng.uniform(0, 1, 4)
    if not square.within(dyes.shape[1:]).area:
        return
    size = square.shape
    depth = _blob(rng, size, radius, 0.05, 1 + 0.35 * draws[0] ** 2)
    cover = np.clip(depth * radius / 1.6 + 0.5, 0, 1)
    grain = specks(rng, size, 0.22 * radius, 0.45) * smooth_step(depth / 0.45)
    core = smooth_step(depth / 0.7)
    strength = 0.5 + 0.8 * draws[1]
    azure = cover * strength * (0.16 + 0.45 * core * draws[2] + 0.55 * grain)
    _add(dyes[AZURE], azure, square)
    _add(dyes[BLUE], cover * (0.18 + 0.35 * draws[3] * core), square)


def paint_platelets(
    rng: np.random.Generator, dyes: np.ndarray, diameter: float, number: int, clearance: np.ndarray
) -> np.ndarray:
    """Add single platelets and a clump now and then, none inside a white cell.

    Returns
    -------
    ndarray of float, shape (n, 3)
        Row, column and radius of each.
    """
    shape = dyes.shape[1:]
    painted = []
    while number > 0:
        row, col = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        clump = int(rng.integers(3, 12)) if rng.random() < 0.05 else 1
        for _ in range(clump):
            radius = diameter * np.clip(rng.lognormal(np.log(0.085), 0.35), 0.045, 0.2)
            here = row + rng.normal(0, 0.16) * diameter * (clump > 1)
            there = col + rng.normal(0, 0.16) * diameter * (clump > 1)
            index = int(np.clip(here, 0, shape[0] - 1)), int(np.clip(there, 0, shape[1] - 1))
            if clearance[index] > radius * 1.2:
                paint_platelet(rng, dyes, here, there, radius)
                painted.append((here, there, radius))
        number -= clump
    return np.array(painted, float).reshape(-1, 3)


def paint_debris(
    rng: np.random.Generator, dyes: np.ndarray, diameter: float, amount: float, clearance: np.ndarray
) -> None:
    """Add precipitate, dirt, smears of stain and smudged nuclei; none inside a white cell."""
    shape = dyes.shape[1:]
    area = shape[0] * shape[1] / diameter**2
    for kind, (rate, size) in _DEBRIS.items():
        for _ in range(rng.poisson(rate * amount * area)):
            row, col = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
            if clearance[int(row), int(col)] < 0.35 * diameter:
                continue
            radius = diameter * size * rng.uniform(0.6, 1.4)
            _paint_debris(rng, dyes, kind, Box.square(row, col, ceil(1.6 * radius + 3)), radius, diameter)


def _paint_debris(
    rng: np.random.Generator, dyes: np.ndarray, kind: str, square: Box, radius: float, diameter: float
) -> None:
    size = square.shape
    aspect = rng.uniform(1.3, 1.9) if kind == "streak" else rng.uniform(1, 1.3)
    depth = _blob(rng, size, radius, 0.18, aspect)
    cover = np.clip(depth * radius / 2 + 0.5, 0, 1)
    paint = np.zeros((DYES, *size), np.float32)
    if kind == "precipitate":
        grain = specks(rng, size, 0.014 * diameter + 0.3, 0.16)
        paint[AZURE] = grain * smooth_step(depth / 0.5) * rng.uniform(0.5, 1.3)
    elif kind == "dirt":
        grain = np.clip(1 + 0.7 * texture(rng, size, 0.3 * radius), 0, None)
        paint[PIGMENT] = cover * grain * rng.uniform(0.5, 1.5)
        # It refracts: a bright seam around the dark.
        paint[PIGMENT] -= 0.25 * np.exp(-(((depth + 0.18) / 0.14) ** 2))
    elif kind == "speck":
        paint[[PIGMENT, AZURE][int(rng.integers(2))]] = cover * rng.uniform(0.3, 1.1)
    elif kind == "streak":
        cloud = np.clip(0.5 + 0.5 * texture(rng, size, 0.25 * radius), 0, None)
        cloud = smooth_step(depth / 0.8) * cloud * rng.uniform(0.05, 0.2)
        paint[[AZURE, BLUE, EOSIN][int(rng.integers(3))]] = cloud
    else:  # what is left of a crushed cell: a pale, frayed nucleus without a wall
        cloud = np.clip(0.6 + 0.5 * texture(rng, size, 0.16 * radius), 0, None)
        frayed = depth + 0.12 * texture(rng, size, 0.2 * radius)
        paint[AZURE] = smooth_step(frayed / 0.7) * cloud * rng.uniform(0.12, 0.3)
    _add(dyes, paint, square)


def clearance_of(labels: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the nearest white cell, in pixels; infinite without cells."""
    if not labels.any():
        return np.full(labels.shape, np.inf, np.float32)
    return cv2.distanceTransform((labels == 0).astype(np.uint8), cv2.DIST_L2, 5)
