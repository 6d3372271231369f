"""White cells of the synthetic smear: outline, nucleus, cytoplasm, painted as amounts of dye.

Lengths inside a cell are in units of its radius; amounts of dye are in the units of
`stains.Stain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, pi, sin
from typing import Any

import cv2
import numpy as np

from ..box import Box
from .stains import AZURE, BLUE, DYES, EOSIN

#: At which an outline has its radii, float64 (256,).
ANGLES = np.arange(256) * (2 * pi / 256)


@dataclass(frozen=True)
class Kind:
    """One kind of white cell: how often it is, its relative diameter, amounts of dye, roughness."""

    frequency: float
    diameter: float
    nucleus: float
    chromatin: float
    azure: float
    blue: float
    eosin: float
    roughness: float


KINDS: dict[str, Kind] = {
    "neutrophil": Kind(0.54, 1.02, 1.00, 0.27, 0.080, 0.10, 0.11, 0.028),
    "lymphocyte": Kind(0.24, 0.84, 1.02, 0.22, 0.060, 0.50, 0.02, 0.024),
    "monocyte": Kind(0.09, 1.18, 0.76, 0.28, 0.090, 0.36, 0.08, 0.036),
    "eosinophil": Kind(0.06, 1.04, 0.92, 0.25, 0.060, 0.06, 0.34, 0.024),
    "basophil": Kind(0.02, 0.94, 0.66, 0.25, 0.120, 0.10, 0.12, 0.030),
    "blast": Kind(0.05, 1.12, 0.68, 0.16, 0.080, 0.66, 0.02, 0.028),
}


def texture(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> np.ndarray:
    """Return smooth noise of mean 0 and standard deviation about 1, with structures ``grain`` pixels wide."""
    grain = max(1.0, grain)
    h, w = ceil(shape[0] / grain) + 3, ceil(shape[1] / grain) + 3
    coarse = rng.standard_normal((h, w), dtype=np.float32) * 1.3
    if grain == 1.0:
        return coarse[: shape[0], : shape[1]] / 1.3
    # A random phase, so that the knots of the noise do not line up with the patch.
    dy, dx = rng.uniform(0, 1, 2)
    move = np.array([[1 / grain, 0, 1 + dx], [0, 1 / grain, 1 + dy]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(coarse, move, shape[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)


def specks(rng: np.random.Generator, shape: tuple[int, int], size: float, cover: float) -> np.ndarray:
    """Return granules of radius ``size`` pixels covering about the share ``cover``, in 0..1."""
    size = max(size, 0.45)
    number = int(cover * shape[0] * shape[1] / (pi * size**2)) + 1
    points = np.zeros(shape, np.float32)
    rows = rng.integers(0, shape[0], number)
    cols = rng.integers(0, shape[1], number)
    np.add.at(points, (rows, cols), rng.uniform(0.6, 1.4, number).astype(np.float32))
    blurred = cv2.GaussianBlur(points, (0, 0), size * 0.75) * (pi * size**2 * 1.3)
    return 1 - np.exp(-(blurred**2))


def grid(patch: Box, row: Any, col: Any, radius: Any) -> tuple[np.ndarray, ...]:
    """Return y and x of the pixels of a patch, in radii from a centre; as precise as these are."""
    y = (np.arange(patch.top, patch.bottom, dtype=np.float32)[:, None] - row) / radius
    x = (np.arange(patch.left, patch.right, dtype=np.float32)[None, :] - col) / radius
    return tuple(np.broadcast_arrays(y, x))


def smooth_step(x: np.ndarray) -> np.ndarray:
    """Return 3x² - 2x³ of ``x`` clipped to 0..1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def ring_outline(rng: np.random.Generator, roughness: float, aspect: float, orders: int = 7) -> np.ndarray:
    """Return a closed outline as radius against angle, of area pi; float32 (256,)."""
    turn = rng.uniform(0, pi)
    radius = 1 / np.sqrt((np.cos(ANGLES - turn) / aspect) ** 2 + (np.sin(ANGLES - turn) * aspect) ** 2)
    for order in range(2, orders + 1):
        height = rng.normal(0, roughness * (2 / order) ** 0.8)
        radius *= 1 + height * np.cos(order * ANGLES + rng.uniform(0, 2 * pi))
    radius = np.clip(radius, 0.5, 1.6)
    return (radius / np.sqrt(np.mean(radius**2))).astype(np.float32)


def outline_at(outline: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the radius of ``outline`` in the direction of each point."""
    position = np.arctan2(y, x) * (len(ANGLES) / (2 * pi))
    low = np.floor(position)
    part = position - low
    index = low.astype(np.int32) % len(ANGLES)
    return outline[index] * (1 - part) + outline[(index + 1) % len(ANGLES)] * part


@dataclass(frozen=True)
class WhiteCell:
    """A white cell: where it lies, how large it is, its outline.

    Attributes
    ----------
    row, col, radius : float
        Centre and radius of the circle of equal area, in pixels.
    kind : str
        One of `KINDS`.
    outline : ndarray of float32, shape (256,)
        Radius against angle, in units of ``radius``.
    seed : int
        Seed of everything inside the cell.
    """

    row: float
    col: float
    radius: float
    kind: str
    outline: np.ndarray
    seed: int

    @property
    def reach(self) -> float:
        """Largest distance of the outline from the centre, in pixels."""
        return float(self.outline.max()) * self.radius

    def depth(self, patch: Box) -> np.ndarray:
        """Return how far inside the outline each pixel of a patch is, in pixels, negative outside."""
        y, x = grid(patch, self.row, self.col, self.radius)
        return (outline_at(self.outline, y, x) - np.hypot(y, x)) * self.radius


def draw_outline(rng: np.random.Generator, kind: str) -> np.ndarray:
    """Return an outline fit for a kind of white cell."""
    look = KINDS[kind]
    aspect = 1 + abs(rng.normal(0, 0.10 if kind == "monocyte" else 0.055))
    rough = look.roughness * rng.uniform(0.4, 1.4)
    return ring_outline(rng, rough, min(aspect, 1.25), orders=9)


def _ellipse(
    y: np.ndarray, x: np.ndarray, cy: float, cx: float, a: float, b: float, turn: float
) -> np.ndarray:
    c, s = cos(turn), sin(turn)
    u, v = (x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s
    return (1 - np.sqrt((u / a) ** 2 + (v / b) ** 2)) * min(a, b)


def _capsule(y: np.ndarray, x: np.ndarray, p: np.ndarray, q: np.ndarray, half: float) -> np.ndarray:
    direction = q - p
    along = ((y - p[0]) * direction[0] + (x - p[1]) * direction[1]) / max(float(direction @ direction), 1e-6)
    along = np.clip(along, 0, 1)
    return half - np.hypot(y - p[0] - along * direction[0], x - p[1] - along * direction[1])


def _join(parts: list[np.ndarray], softness: float) -> np.ndarray:
    """Smooth union of depths (log-sum-exp)."""
    if len(parts) == 1:
        return parts[0]
    stack = np.stack(parts) / softness
    top = stack.max(0)
    return softness * (top + np.log(np.exp(np.maximum(stack - top, -30)).sum(0)))


def _chain(
    rng: np.random.Generator, lobes: int, width: tuple[float, float], span: float, bridge: float
) -> tuple:
    """Return lobes (cy, cx, a, b, turn) along a bent line, and the bridges between them."""
    start = rng.uniform(0, 2 * pi)
    away = rng.uniform(0.36, 0.46) if lobes > 1 else 0.0
    angles = start + (np.arange(lobes) / max(lobes - 1, 1) - 0.5) * span + rng.normal(0, 0.09, lobes)
    reach = away * rng.uniform(0.85, 1.15, lobes)
    points = np.stack([reach * np.sin(angles), reach * np.cos(angles)], 1)
    points += -points.mean(0) * rng.uniform(0.3, 0.9) + rng.normal(0, 0.05, 2)
    ellipses = []
    for point, angle in zip(points, angles, strict=True):
        a = rng.uniform(*width)
        ellipses.append((*point, a * rng.uniform(1.0, 1.3), a * rng.uniform(0.82, 1.0), angle + pi / 2))
    bridges = [(points[i], points[i + 1], bridge * rng.uniform(0.6, 1.3)) for i in range(lobes - 1)]
    return ellipses, bridges


def _nucleus_parts(rng: np.random.Generator, kind: str) -> tuple:
    if kind == "neutrophil":
        if rng.random() < 0.22:  # a band form: one bent sausage
            return _chain(rng, 5, (0.22, 0.28), rng.uniform(3.0, 4.6), 0.22)
        lobes = int(rng.choice([2, 3, 4, 5], p=[0.22, 0.43, 0.27, 0.08]))
        width = {2: (0.33, 0.42), 3: (0.28, 0.37), 4: (0.25, 0.31), 5: (0.22, 0.28)}[lobes]
        span = {2: 2.6, 3: 3.6, 4: 4.3, 5: 4.7}[lobes] * rng.uniform(0.85, 1.1)
        return _chain(rng, lobes, width, span, 0.10)
    if kind == "eosinophil":
        return _chain(rng, 2 if rng.random() < 0.8 else 3, (0.32, 0.40), rng.uniform(2.0, 3.0), 0.08)
    if kind == "basophil":
        return _chain(rng, int(rng.integers(2, 4)), (0.30, 0.38), rng.uniform(2.0, 3.2), 0.2)
    if kind == "monocyte":
        if rng.random() < 0.7:
            return _chain(rng, 3, (0.36, 0.46), rng.uniform(1.8, 3.2), 0.33)
        return _chain(rng, 2, (0.42, 0.52), rng.uniform(1.2, 2.0), 0.36)
    size = rng.uniform(0.76, 0.96) if kind == "lymphocyte" else rng.uniform(0.72, 0.86)
    if kind == "lymphocyte" and rng.random() < 0.2:  # a large lymphocyte shows more of its cytoplasm
        size = rng.uniform(0.6, 0.72)
    shift = rng.normal(0, 0.5 * (1 - size), 2)
    aspect = 1 + min(abs(rng.normal(0, 0.08)), 0.22)
    return [(shift[0], shift[1], size * aspect, size / aspect, rng.uniform(0, pi))], []


def _nucleus_depth(
    rng: np.random.Generator, cell: WhiteCell, y: np.ndarray, x: np.ndarray, depth: np.ndarray
) -> np.ndarray:
    """Return how deep each pixel lies in the nucleus, in pixels, negative outside."""
    ellipses, bridges = _nucleus_parts(rng, cell.kind)
    parts = [_ellipse(y, x, *ellipse) for ellipse in ellipses]
    parts += [_capsule(y, x, *bridge) for bridge in bridges]
    nucleus = _join(parts, 0.025)
    rough = 0.022 if cell.kind in ("lymphocyte", "blast") else 0.032
    nucleus = nucleus + rough * texture(rng, y.shape, 0.28 * cell.radius)
    nucleus = nucleus + rng.uniform(0.0, 0.06) * texture(rng, y.shape, 0.7 * cell.radius)
    if cell.kind in ("lymphocyte", "blast", "monocyte") and rng.random() < 0.45:  # a dent in the side
        turn, dent = rng.uniform(0, 2 * pi), rng.uniform(0.10, 0.26)
        where = 0.92 if cell.kind != "monocyte" else 0.7
        hollow = _ellipse(y, x, where * sin(turn), where * cos(turn), dent, dent * 0.8, turn)
        nucleus = np.minimum(nucleus, -hollow)
    # Near its wall the nucleus is pushed in, never through.
    room = depth - (0.02 * cell.radius + 0.5)
    return -_join([-nucleus * cell.radius, -room], max(0.04 * cell.radius, 0.3))


def paint_white_cell(
    cell: WhiteCell, patch: Box, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paint one white cell on its patch.

    Parameters
    ----------
    cell : WhiteCell
        The cell.
    patch : Box
        Part of the image.
    depth : ndarray of float32, shape (h, w)
        Pixels inside the cell's wall, where neighbours have flattened it too.

    Returns
    -------
    dyes : ndarray of float32, shape (5, h, w)
        Amount of each dye.
    cover : ndarray of float32, shape (h, w)
        Share of each pixel that the cell covers.
    nucleus : ndarray of bool, shape (h, w)
        The nucleus.
    """
    rng = np.random.default_rng(cell.seed)
    look, radius, shape = KINDS[cell.kind], cell.radius, depth.shape
    y, x = grid(patch, cell.row, cell.col, radius)
    cover = np.clip(depth + 0.5, 0, 1).astype(np.float32)
    nucleus = _nucleus_depth(rng, cell, y, x, depth)
    inside = np.clip(nucleus / 1.2 + 0.5, 0, 1)

    stain = rng.uniform(0.75, 1.25, 3) * np.clip(rng.lognormal(0, 0.2), 0.65, 1.5)
    edge = rng.uniform(0.35, 0.9)  # cells thin out towards their wall, some much
    thick = edge + (1 - edge) * smooth_step(depth / (rng.uniform(0.2, 0.5) * radius))
    cloud = 1 + 0.16 * texture(rng, shape, 0.30 * radius) + 0.10 * texture(rng, shape, 0.10 * radius)
    wall = rng.uniform(0.0, 0.3) * np.exp(-((depth / (0.05 * radius + 0.4)) ** 2))
    body = np.clip(thick * cloud + wall, 0, None)

    dyes = np.zeros((DYES, *shape), np.float32)
    dyes[AZURE] = look.azure * stain[0] * body
    dyes[BLUE] = look.blue * stain[1] * body
    dyes[EOSIN] = look.eosin * stain[2] * body
    granules = _granules(rng, cell, dyes, depth)
    if cell.kind == "lymphocyte":  # a paler yard around the nucleus
        dyes[BLUE] *= 1 - 0.45 * np.exp(-np.clip(-nucleus, 0, None) / (0.06 * radius + 0.3))
    if cell.kind in ("monocyte", "blast") or (cell.kind == "neutrophil" and rng.random() < 0.15):
        size = radius * rng.uniform(0.05, 0.09)
        holes = specks(rng, shape, size, rng.choice([0.0, 0.03, 0.10], p=[0.4, 0.35, 0.25]))
        dyes *= 1 - 0.75 * holes * (depth > 0.08 * radius)

    # Chromatin: coarse clumps and fine grain, condensed at the nuclear envelope.
    clumps = 0.6 * np.tanh(1.4 * texture(rng, shape, 0.16 * radius))
    clumps = clumps - 0.8 * np.abs(texture(rng, shape, 0.09 * radius))
    clumps += 0.5 + 0.45 * texture(rng, shape, 0.045 * radius)
    envelope = np.exp(-(((nucleus - 0.02 * radius) / (0.04 * radius + 0.5)) ** 2))
    condensed = 1 + look.chromatin * (clumps + 1.1 * envelope - 0.2)
    chromatin = look.nucleus * rng.uniform(0.88, 1.12) * condensed
    if cell.kind == "blast":
        chromatin = chromatin * (1 - 0.40 * _nucleoli(rng, y, x))
    chromatin = np.clip(chromatin, 0.15, None)
    dyes *= 1 - 0.75 * inside
    dyes[AZURE] += inside * chromatin
    dyes[BLUE] += inside * (0.18 + 0.06 * clumps)
    if cell.kind == "basophil":
        dyes[AZURE] += granules * (0.9 * inside + 0.4 * (1 - inside))
    return dyes * cover, cover, nucleus > 0


def _granules(rng: np.random.Generator, cell: WhiteCell, dyes: np.ndarray, depth: np.ndarray) -> np.ndarray:
    radius, shape = cell.radius, depth.shape
    inner = smooth_step(depth / (0.06 * radius + 0.5) + 0.3)
    if cell.kind == "neutrophil":
        toxic = 2.6 if rng.random() < 0.12 else 1.0  # toxic granulation: coarse and dark
        grains = specks(rng, shape, 0.017 * radius * min(toxic, 1.6), rng.uniform(0.12, 0.5))
        field = grains * inner * np.clip(1 + 0.6 * texture(rng, shape, 0.2 * radius), 0.1, None)
        dyes[AZURE] += rng.uniform(0.05, 0.14) * toxic * field
        dyes[EOSIN] += rng.uniform(0.08, 0.24) * field
    elif cell.kind == "eosinophil":
        field = specks(rng, shape, 0.045 * radius, 1.3) * inner
        dyes[EOSIN] += rng.uniform(0.5, 0.9) * (0.4 * inner + 0.6 * field)
        dyes[AZURE] += rng.uniform(0.02, 0.16) * field
    elif cell.kind == "basophil":
        field = specks(rng, shape, 0.055 * radius, rng.uniform(0.35, 1.1)) * inner
        dyes[AZURE] += rng.uniform(0.5, 0.9) * field
    else:
        few = rng.uniform(0.0, 0.05) if cell.kind == "lymphocyte" else rng.uniform(0.02, 0.12)
        field = specks(rng, shape, 0.022 * radius, few) * inner
        dyes[AZURE] += 0.18 * field
    return field


def _nucleoli(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    field = np.zeros(y.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        cy, cx = rng.normal(0, 0.28, 2)
        size = rng.uniform(0.09, 0.17)
        field = np.maximum(field, smooth_step(_ellipse(y, x, cy, cx, size, size * 0.85, 0.3) / (0.5 * size)))
    return field
