"""Where the cells of a synthetic smear lie."""

from __future__ import annotations

from math import pi

import numpy as np

from .camera import Aperture
from .parameters import SmearParameters
from .white_cells import KINDS, WhiteCell, draw_outline

# Neighbours in a touching group: distance of centres over the sum of radii.
_TOUCH = (0.80, 0.92)
# Cells that are not to touch keep at least this apart (outlines bulge beyond their radius).
_APART = 1.25


def _groups(rng: np.random.Generator, number: int, touching: float) -> list[int]:
    """Return sizes of groups that add up to ``number``, the large ones first."""
    in_groups = round(touching * number)
    if in_groups < 2:
        return [1] * number
    sizes = []
    while in_groups >= 2:
        size = min(int(rng.choice([2, 3, 4], p=[0.65, 0.25, 0.10])), in_groups)
        if in_groups - size == 1:  # leave nobody alone
            size += 1 if size < 4 else -1
        sizes.append(size)
        in_groups -= size
    return sorted(sizes, reverse=True) + [1] * (number - sum(sizes))


def _arrange(rng: np.random.Generator, radii: np.ndarray) -> np.ndarray:
    """Return centres of one group of touching cells, about the first."""
    centres = [np.zeros(2)]
    for i in range(1, len(radii)):
        for _ in range(50):
            beside = int(rng.integers(i))
            angle = rng.uniform(0, 2 * pi)
            distance = rng.uniform(*_TOUCH) * (radii[i] + radii[beside])
            place = centres[beside] + distance * np.array([np.sin(angle), np.cos(angle)])
            away = np.hypot(*(np.array(centres) - place).T)
            if (away >= 0.8 * (radii[:i] + radii[i])).all():
                break
        centres.append(place)
    return np.array(centres)


def place_white_cells(
    rng: np.random.Generator, field: SmearParameters, number: int, aperture: Aperture | None
) -> list[WhiteCell]:
    """Return white cells scattered over a field, as many of ``number`` as fit.

    Centres lie in the image and in the aperture; cells at the border are cut by it.
    """
    drawn = rng.choice(list(field.kinds), number, p=list(field.kinds.values()))
    spread = np.clip(rng.normal(1, 0.07, number), 0.8, 1.25)
    radii = 0.5 * field.cell_diameter * np.array([KINDS[kind].diameter for kind in drawn]) * spread
    placed = np.empty((number, 3))
    cells: list[WhiteCell] = []

    def with_room(radii: np.ndarray, placed: np.ndarray) -> np.ndarray | None:
        """Return centres of a group where it is seen and touches no other cell; None if it fits nowhere."""
        for _ in range(200):
            centres = _arrange(rng, radii) + rng.uniform(0, 1, 2) * field.shape
            seen = (centres >= 0).all() and (centres < field.shape).all()
            if aperture is not None:
                seen &= (np.hypot(*(centres - (aperture.row, aperture.col)).T) < aperture.radius).all()
            apart = np.hypot(centres[:, :1] - placed[:, 0], centres[:, 1:] - placed[:, 1])
            if seen and (apart >= _APART * (radii[:, None] + placed[:, 2])).all():
                return centres
        return None

    waiting = _groups(rng, number, field.touching)
    failed = 0
    while waiting and failed < 5:  # single cells that found no room in a row: it is full
        size = waiting.pop(0)
        members = slice(len(cells), len(cells) + size)
        centres = with_room(radii[members], placed[: len(cells)])
        if centres is None:  # a group that fits nowhere is tried again as single cells
            waiting += [1] * size if size > 1 else []
            failed += size == 1
            continue
        failed = 0
        for (row, col), radius, kind in zip(centres, radii[members], drawn[members], strict=True):
            placed[len(cells)] = row, col, radius
            outline = draw_outline(rng, str(kind))
            cells.append(WhiteCell(row, col, float(radius), str(kind), outline, int(rng.integers(2**31))))
    return cells


def place_red_cells(
    rng: np.random.Generator, shape: tuple[int, int], radius: float, density: float, white: np.ndarray
) -> np.ndarray:
    """Return centres and radii of red cells, float64 (n, 3), that make room for each other.

    Points fallen at random push each other apart for some rounds; a share of the
    pairs does not, and overlaps as cells in a real smear do.
    """
    from scipy.spatial import cKDTree

    edge = 1.2 * radius
    size = np.array(shape) + 2 * edge
    number = rng.poisson(density * size[0] * size[1] / (pi * radius**2))
    if number == 0:
        return np.empty((0, 3))
    points = rng.uniform(0, 1, (number, 2)) * size - edge
    radii = radius * np.clip(rng.normal(1, 0.08, number), 0.62, 1.3)
    sticky = rng.random(number) < 0.22
    close = rng.uniform(0.5, 1.05, number)
    whites = cKDTree(white[:, :2]) if len(white) else None
    for _ in range(14):
        pairs = cKDTree(points).query_pairs(2.1 * radius, output_type="ndarray")
        shift = np.zeros_like(points)
        if len(pairs):
            a, b = pairs[:, 0], pairs[:, 1]
            apart = points[a] - points[b]
            distance = np.maximum(np.hypot(apart[:, 0], apart[:, 1]), 1e-3)
            # None, one or both of the pair are sticky.
            room = (radii[a] + radii[b]) * np.array([1.04, 0.93, 0.55])[sticky[a].astype(int) + sticky[b]]
            push = np.clip(room - distance, 0, None) * 0.35
            step = apart * (push / distance)[:, None]
            np.add.at(shift, a, step)
            np.add.at(shift, b, -step)
        if whites is not None:
            closest = [*range(1, min(3, len(white)) + 1)]  # a list, so that one is a column too
            distance, nearest = map(np.asarray, whites.query(points, k=closest))
            for k in range(distance.shape[1]):
                away = points - white[nearest[:, k], :2]
                push = np.clip(white[nearest[:, k], 2] + close * radii - distance[:, k], 0, None)
                shift += away * (push / np.maximum(distance[:, k], 1e-3))[:, None] * 0.8
        points += shift
    return np.column_stack([points, radii])
