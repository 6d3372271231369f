"""What looks like a white cell and is none: platelets, their clumps, heaps of red cells.

Cut out of fields where they are boxed, they are laid into training samples, so that the
network meets in every stain what else is dark and round on a slide. Stained things that
overlap absorb one after the other: their transmittances multiply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ...datasets.pair import Box

PLATELET = "Platelet"
RED_CELL = "RBC"
_RING = 0.35
_LEAST_SIDE = 6
_MOST_OVERLAP = 0.15
_MOST_RED_CELLS_A_FIELD = 6
_WHITE_CELL_EDGE = 1.0


@dataclass(frozen=True)
class Distractor:
    """One platelet or red cell cut out of a field.

    ``image`` is transmittance relative to what surrounds it, (h, w, 3) float32, and 1
    outside it; ``relative_size`` its diameter over that of the field's white cells.
    """

    kind: str
    image: np.ndarray
    diameter: float
    relative_size: float


def cut_distractors(image: np.ndarray, boxes: Sequence[Box], white_cell: float) -> list[Distractor]:
    """Cut platelets and lone red cells out of a field.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        Transmittance.
    boxes : sequence of Box
        Pixels of the image.
    white_cell : float
        Diameter of the field's white cells, pixels.

    Returns
    -------
    list of Distractor
        Those that the border cuts are left out, red cells that overlap others too, and
        all red cells after the first few of a field.
    """
    corners = np.array([box.corners for box in boxes], float).reshape(-1, 4)
    found: list[Distractor] = []
    red_cells = 0
    for number, box in enumerate(boxes):
        if box.kind not in (PLATELET, RED_CELL):
            continue
        r0, c0, r1, c1 = box.corners
        if min(r0, c0) < 2 or r1 > image.shape[0] - 2 or c1 > image.shape[1] - 2:
            continue
        if min(r1 - r0, c1 - c0) < _LEAST_SIDE:
            continue
        if box.kind == RED_CELL:
            others = np.delete(corners, number, axis=0)
            if red_cells == _MOST_RED_CELLS_A_FIELD or _overlap(corners[number], others) > _MOST_OVERLAP:
                continue
            red_cells += 1
        diameter = float(np.sqrt((r1 - r0) * (c1 - c0)))
        found.append(Distractor(box.kind, _cut(image, box.corners), diameter, diameter / white_cell))
    return found


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """Return the largest share of a box that another covers."""
    if not len(others):
        return 0.0
    rows = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    cols = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    covered = np.clip(rows, 0, None) * np.clip(cols, 0, None)
    return float(covered.max() / ((box[2] - box[0]) * (box[3] - box[1])))


def _cut(image: np.ndarray, corners: tuple[int, int, int, int]) -> np.ndarray:
    """Return what lies in the ellipse of a box, relative to what lies around it."""
    r0, c0, r1, c1 = corners
    pad = max(2, round(_RING * min(r1 - r0, c1 - c0)))
    top, left = max(r0 - pad, 0), max(c0 - pad, 0)
    patch = image[top : r1 + pad, left : c1 + pad]
    rows, cols = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    reach = np.hypot(
        (rows + top + 0.5 - (r0 + r1) / 2) / ((r1 - r0) / 2),
        (cols + left + 0.5 - (c0 + c1) / 2) / ((c1 - c0) / 2),
    )
    ring = patch[(reach > 1.15) & (reach < 1.6)]
    around = np.median(ring, axis=0) if len(ring) else np.ones(3, np.float32)
    softness = 1.5 / min(r1 - r0, c1 - c0)
    inside = np.clip((1.08 - reach) / (2 * softness) + 0.5, 0, 1)[..., None]
    relative = np.clip(patch / np.maximum(around, 0.05), 0.02, 1.1)
    return (inside * relative + (1 - inside)).astype(np.float32)


def lay_distractors(
    image: np.ndarray,
    labels: np.ndarray,
    white_cell: float,
    stock: dict[str, list[Distractor]],
    rng: np.random.Generator,
) -> None:
    """Lay one arrangement of distractors into a picture, in place, under its white cells.

    Parameters
    ----------
    image : ndarray of float32, shape (S, S, 3)
        Transmittance.
    labels : ndarray of int, shape (S, S)
        White cells, which stay in front.
    white_cell : float
        Diameter of a white cell, pixels.
    stock : dict
        Distractors by kind.
    rng : Generator
    """
    platelets, red_cells = stock.get(PLATELET, []), stock.get(RED_CELL, [])
    kinds = [name for name, has in _ARRANGEMENTS.items() if all(stock.get(kind) for kind in has)]
    if not kinds:
        return
    spot = rng.uniform(0.1, 0.9, 2) * labels.shape
    layer = np.ones_like(image)
    kind = kinds[rng.integers(len(kinds))]
    if kind in ("heap", "covered"):
        pitch = white_cell * red_cells[0].relative_size * rng.uniform(0.15, 0.5)
        for _ in range(rng.integers(2, 5) if kind == "heap" else 1):
            _lay(layer, _any(red_cells, rng), spot + rng.normal(0, pitch, 2), white_cell, rng, 1.0)
    if kind in ("platelet", "covered"):
        larger = float(np.exp(rng.normal(0.15, 0.35)))
        _lay(layer, _any(platelets, rng), spot + rng.normal(0, 0.06, 2) * white_cell, white_cell, rng, larger)
    if kind == "clump":
        spread = white_cell * rng.uniform(0.12, 0.35)
        for _ in range(rng.integers(3, 14)):
            _lay(layer, _any(platelets, rng), spot + rng.normal(0, spread, 2), white_cell, rng, 1.0)
    front = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), _WHITE_CELL_EDGE)[..., None]
    image *= front + (1 - front) * layer


_ARRANGEMENTS = {
    "platelet": (PLATELET,),
    "clump": (PLATELET,),
    "covered": (PLATELET, RED_CELL),
    "heap": (RED_CELL,),
}


def _any(stock: list[Distractor], rng: np.random.Generator) -> Distractor:
    return stock[rng.integers(len(stock))]


def _lay(
    layer: np.ndarray,
    thing: Distractor,
    spot: np.ndarray,
    white_cell: float,
    rng: np.random.Generator,
    larger: float,
) -> None:
    """Multiply one distractor, turned and scaled, onto a layer of transmittance."""
    wanted = white_cell * thing.relative_size * larger * float(np.exp(rng.normal(0, 0.12)))
    scale = wanted / thing.diameter
    picture = thing.image ** np.float32(rng.uniform(0.7, 1.4))
    if scale < 0.6:
        size = [max(2, round(side * scale * 1.2)) for side in picture.shape[1::-1]]
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        scale = scale * thing.image.shape[0] / picture.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    mirror = 1.0 if rng.random() < 0.5 else -1.0
    linear = scale * np.array(
        [[np.cos(angle) * mirror, -np.sin(angle)], [np.sin(angle) * mirror, np.cos(angle)]]
    )
    middle = np.array([picture.shape[1] - 1, picture.shape[0] - 1]) / 2
    matrix = np.hstack([linear, (spot[::-1] - linear @ middle)[:, None]])
    layer *= cv2.warpAffine(
        picture,
        matrix,
        (layer.shape[1], layer.shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(1.0, 1.0, 1.0),
    )
