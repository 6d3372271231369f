"""What looks like a white cell and is none: platelets, heaps of red cells, parasites, smudges, scale bars.

Cut out of fields where they are boxed, or drawn, they are laid into training samples, so that
the network meets in every stain what else is dark and round on a slide. Stained things that
overlap absorb one after the other: their transmittances multiply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...box import Box
from ...images.illumination import DARKEST
from . import class_map
from .affine import moving, shrunk, turned

PLATELET, RED_CELL = "platelet", "red cell"
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


def cut_distractors(
    image: np.ndarray, red_cells: Sequence[Box], platelets: Sequence[Box], white_cell: float
) -> list[Distractor]:
    """Cut platelets and lone red cells out of a field.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        Transmittance.
    red_cells, platelets : sequence of Box
        Pixels of the image.
    white_cell : float
        Diameter of the field's white cells, pixels.

    Returns
    -------
    list of Distractor
        Those that the border cuts are left out, red cells that overlap others too, and
        all red cells after the first few of a field.
    """
    boxes = [*red_cells, *platelets]
    found: list[Distractor] = []
    for number, box in enumerate(boxes):
        kind = RED_CELL if number < len(red_cells) else PLATELET
        inside = min(box[:2]) >= 2 and box.bottom <= image.shape[0] - 2 and box.right <= image.shape[1] - 2
        if not inside or min(box.shape) < _LEAST_SIDE:
            continue
        if kind == RED_CELL:
            if len(found) == _MOST_RED_CELLS_A_FIELD:
                continue
            others = boxes[:number] + boxes[number + 1 :]
            if any(box.common(other).area / box.area > _MOST_OVERLAP for other in others):
                continue
        diameter = float(np.sqrt(box.area))
        found.append(Distractor(kind, _cut(image, box), diameter, diameter / white_cell))
    return found


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    """Return what lies in the ellipse of a box, relative to what lies around it."""
    r0, c0, r1, c1 = box
    pad = max(2, round(_RING * min(r1 - r0, c1 - c0)))
    around_it = box.grown(pad, image.shape)
    patch = image[around_it.slices]
    rows, cols = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
    down = (rows + around_it.top + 0.5 - (r0 + r1) / 2) / ((r1 - r0) / 2)
    across = (cols + around_it.left + 0.5 - (c0 + c1) / 2) / ((c1 - c0) / 2)
    reach = np.hypot(down, across)
    ring = patch[(reach > 1.15) & (reach < 1.6)]
    around = np.median(ring, axis=0) if len(ring) else np.ones(3, np.float32)
    softness = 1.5 / min(r1 - r0, c1 - c0)
    inside = np.clip((1.08 - reach) / (2 * softness) + 0.5, 0, 1)[..., None]
    relative = np.clip(patch / np.maximum(around, 0.05), 0.02, 1.1)
    return (inside * relative + (1 - inside)).astype(np.float32)


def lay_distractors(
    image: np.ndarray,
    labels: np.ndarray,
    classes: np.ndarray,
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
    classes : ndarray of float32, shape (S, S)
        The class map, see `class_map`; what is laid is marked in it.
    white_cell : float
        Diameter of a white cell, pixels.
    stock : dict
        Distractors by kind.
    rng : Generator
    """
    platelets, red_cells = stock.get(PLATELET, []), stock.get(RED_CELL, [])
    often = {name: share for name, (share, has) in _ARRANGEMENTS.items() if all(map(stock.get, has))}
    layer = _Layer(labels.shape, white_cell, rng)
    shares = np.array(list(often.values()))
    kind = str(rng.choice(list(often), p=shares / shares.sum()))
    if kind in ("heap", "covered", "parasite"):
        pitch = white_cell * red_cells[0].relative_size * rng.uniform(0.15, 0.5)
        for _ in range(rng.integers(2, 5) if kind == "heap" else 1):
            layer.lay(_pick(red_cells, rng), rng.normal(0, pitch, 2))
    if kind in ("crenated", "without pallor"):
        pitch = white_cell * red_cells[0].relative_size * rng.uniform(0.7, 1.8)
        darker = float(rng.uniform(1.0, 2.6))
        change = crenated if kind == "crenated" else without_pallor
        for _ in range(rng.integers(1, 10)):
            layer.lay(change(_pick(red_cells, rng), darker, rng), rng.normal(0, pitch, 2))
    if kind in ("platelet", "covered"):
        larger = float(np.exp(rng.normal(0.15, 0.35)))
        beside = rng.normal(0, 0.06, 2) * white_cell
        layer.lay(_pick(platelets, rng), beside, larger)
    if kind == "clump":
        spread = white_cell * rng.uniform(0.12, 0.35)
        for _ in range(rng.integers(3, 14)):
            layer.lay(_pick(platelets, rng), rng.normal(0, spread, 2))
    if kind == "parasite":
        layer.stain_parasite(white_cell * red_cells[0].relative_size)
    if kind == "gametocyte":
        cover = layer.stain_parasite(white_cell * rng.uniform(0.45, 0.95))
        layer.classes[cover > 0.3] = class_map.NOTHING_ELSE
    if kind == "smudge":
        layer.smudge()
    if kind == "scale bar":
        layer.burn_scale_bar(image, labels == 0)
    front = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), _WHITE_CELL_EDGE)[..., None]
    image *= front + (1 - front) * layer.image
    seen = ~np.isnan(layer.classes) & (labels == 0)
    classes[seen] = layer.classes[seen]


# How often each is laid, and what is cut out of fields for it.
_ARRANGEMENTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "platelet": (1.0, (PLATELET,)),
    "clump": (0.5, (PLATELET,)),
    "covered": (1.0, (PLATELET, RED_CELL)),
    "heap": (1.0, (RED_CELL,)),
    "crenated": (2.0, (RED_CELL,)),
    "without pallor": (2.0, (RED_CELL,)),
    "parasite": (1.0, (RED_CELL,)),
    "gametocyte": (2.0, ()),
    "smudge": (1.0, ()),
    "scale bar": (1.0, ()),
}
# Purples and blues that Romanowsky stains give to chromatin and to the plasm of parasites: density.
_PURPLE, _BLUE = (0.9, 1.6, 0.35), (0.7, 0.5, 0.15)
# Haemozoin, which parasites leave, is brown to black.
_PIGMENT = (0.7, 0.9, 1.1)


def crenated(thing: Distractor, darker: float, rng: np.random.Generator) -> Distractor:
    """Return a red cell with a scalloped or spiked rim, denser than it was, and mottled."""
    height, width = thing.image.shape[:2]
    # The spikes that point at the eye are dark dots, the hollows between them pale.
    mottle = rng.uniform(0.0, 0.3) * grainy((height, width), width * rng.uniform(0.06, 0.16), rng)
    picture = thing.image ** (np.float32(darker) * np.clip(1 + mottle, 0.4, None)[..., None])
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    rows, cols = rows - (height - 1) / 2, cols - (width - 1) / 2
    spikes, turn = int(rng.integers(7, 18)), rng.uniform(0, 2 * np.pi)
    angle = np.arctan2(rows, cols)
    reach = 1 + np.float32(rng.uniform(0.03, 0.12)) * np.cos(spikes * angle + turn).astype(np.float32)
    across, down = cols * reach + np.float32((width - 1) / 2), rows * reach + np.float32((height - 1) / 2)
    frayed = cv2.remap(picture, across, down, cv2.INTER_LINEAR, borderValue=(1.0, 1.0, 1.0))
    return replace(thing, image=np.asarray(frayed))


def without_pallor(thing: Distractor, darker: float, rng: np.random.Generator) -> Distractor:
    """Return a red cell as dense in its middle as at its rim, as spherocytes and thick smears show them."""
    density = -np.log(np.clip(thing.image, DARKEST, 1.0))
    height, width = density.shape[:2]
    rows, cols = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    inside = np.clip((1 - np.hypot(rows, cols) * (1 + 2 * _RING)) * 6 + 0.5, 0, 1)[..., None]
    rim = np.percentile(density[inside[..., 0] > 0.5], 85, axis=0).astype(np.float32)
    filled = np.maximum(density, inside * rim * np.float32(rng.uniform(0.7, 1.1)))
    return replace(thing, image=np.exp(-darker * filled))


def _blob(
    shape: tuple[int, ...], spot: np.ndarray, radius: float, rough: float, rng: np.random.Generator
) -> np.ndarray:
    """Return how far inside a ragged, drawn-out blob each pixel lies: 1 in its middle, below 0 outside."""
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    turn, long = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 0.45))
    rows, cols = rows - np.float32(spot[0]), cols - np.float32(spot[1])
    along = (cols * np.cos(turn) + rows * np.sin(turn)) / (radius * long)
    across = (rows * np.cos(turn) - cols * np.sin(turn)) / (radius / long)
    angle = np.arctan2(across, along)
    edge = np.ones(shape[:2], np.float32)
    for order in range(2, 9):
        edge += rng.normal(0, rough / np.sqrt(order)) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(1 - np.hypot(along, across) / np.maximum(edge, 0.2), np.float32)


class _Layer:
    """What is laid over a picture about one spot: transmittance, and the class map of it.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the picture.
    white_cell : float
        Diameter of a white cell, pixels.
    rng : Generator
    """

    def __init__(self, shape: tuple[int, ...], white_cell: float, rng: np.random.Generator) -> None:
        self.spot = rng.uniform(0.1, 0.9, 2) * shape
        self.image = np.ones((*shape, 3), np.float32)
        self.classes = np.full(shape, class_map.UNKNOWN, np.float32)
        self._white_cell, self._rng = white_cell, rng

    def lay(self, thing: Distractor, beside: np.ndarray, larger: float = 1.0) -> None:
        """Multiply one distractor, turned and scaled, onto the layer beside the spot, and mark it."""
        rng, spot = self._rng, self.spot + beside
        wanted = self._white_cell * thing.relative_size * larger * float(np.exp(rng.normal(0, 0.12)))
        scale = wanted / thing.diameter
        col, row = (round(float(place)) for place in spot[::-1])
        mark = wanted if thing.kind == RED_CELL else class_map.PLATELET
        cv2.circle(self.classes, (col, row), max(1, round(wanted / 2)), mark, -1)
        picture = thing.image ** np.float32(rng.uniform(0.7, 1.4))
        middle = np.array([picture.shape[1] - 1, picture.shape[0] - 1]) / 2
        move = moving(scale * turned(rng), middle, spot[::-1])
        move, (picture,) = shrunk(move, scale, (picture, cv2.INTER_AREA))
        self.image *= cv2.warpAffine(picture, move, self.classes.shape[::-1], borderValue=(1.0, 1.0, 1.0))

    def stain_parasite(self, red_cell: float) -> np.ndarray:
        """Stain a red cell with a trophozoite, a schizont or a gametocyte: bluish plasm, purple dots.

        It has no nucleus with an edge of its own, as white cells do. Returns what it covers of each pixel.
        """
        rng, shape = self._rng, self.classes.shape
        inside = _blob(shape, self.spot, red_cell * rng.uniform(0.2, 0.62), 0.12, rng)
        cover = np.clip(inside * 4, 0, 1)
        grain = grainy(shape, red_cell * rng.uniform(0.05, 0.16), rng)
        dots = np.clip(grain - rng.uniform(-0.2, 1.0), 0, 1)
        colour = np.asarray(_BLUE, np.float32) * rng.uniform(0.2, 1.3) * (1 + 0.2 * grain[..., None])
        dot = np.asarray(_PURPLE if rng.random() < 0.6 else _PIGMENT, np.float32)
        colour = colour + dot * (rng.uniform(0.3, 1.2) * dots)[..., None]
        self.image *= np.exp(-cover[..., None] * np.maximum(colour, 0))
        return cover

    def smudge(self) -> None:
        """Draw what is left of a crushed cell: a pale, frayed cloud of chromatin without a wall."""
        rng, shape, white_cell = self._rng, self.classes.shape, self._white_cell
        inside = _blob(shape, self.spot, white_cell * rng.uniform(0.5, 1.2), 0.16, rng)
        frayed = inside + rng.uniform(0.1, 0.3) * grainy(shape, white_cell * rng.uniform(0.06, 0.2), rng)
        cover = np.clip(frayed * rng.uniform(1.2, 4.0), 0, 1)
        cloud = 0.8 + 0.35 * grainy(shape, white_cell * rng.uniform(0.05, 0.15), rng)
        colour = np.asarray(_PURPLE, np.float32) * np.exp(rng.normal(0, 0.25, 3)).astype(np.float32)
        self.image *= np.exp(-(cover * np.maximum(cloud, 0.1) * rng.uniform(0.1, 0.45))[..., None] * colour)
        self.classes[cover > 0.3] = class_map.NOTHING_ELSE

    def burn_scale_bar(self, image: np.ndarray, free: np.ndarray) -> None:
        """Burn a scale bar and its text into a picture where it is free, on a white ground or on none."""
        rng, white_cell = self._rng, self._white_cell
        row, col = (round(float(v)) for v in self.spot)
        width, height = round(white_cell * rng.uniform(0.8, 3.0)), round(white_cell * rng.uniform(0.4, 1.2))
        part = np.s_[max(row - height, 0) : row + 4, max(col - 4, 0) : col + width + 4]
        if rng.random() < 0.6:
            image[part][free[part]] = 1.0
        thick = max(1, round(0.05 * white_cell))
        ink = np.zeros(free.shape, np.uint8)
        cv2.line(ink, (col, row), (col + width, row), 255, thick)
        text = f"{int(rng.integers(1, 500))} um" if rng.random() < 0.7 else f"{int(rng.integers(10, 99))} px"
        place, font = (col, row - 2 * thick), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(ink, text, place, font, height / 40, 255, thick, cv2.LINE_AA)
        colour = rng.uniform(0, 0.2, 3) if rng.random() < 0.8 else np.array([0.9, 0.1, 0.1])
        share = (ink * free / np.float32(255))[..., None]
        image[:] = share * colour.astype(np.float32) + (1 - share) * image
        self.classes[part] = class_map.NOTHING_ELSE


def grainy(shape: tuple[int, ...], grain: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise of mean 0 and standard deviation about 1, with structures ``grain`` pixels wide."""
    small = [max(2, int(np.ceil(side / max(grain, 1.0))) + 1) for side in shape[:2]]
    coarse = rng.standard_normal(small).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)) * 1.3


def _pick(stock: list[Distractor], rng: np.random.Generator) -> Distractor:
    return stock[rng.integers(len(stock))]
