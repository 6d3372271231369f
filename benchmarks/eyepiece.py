"""Count cells in pictures as a phone at the eyepiece takes them: a round field, dim, tinted, blurred.

    WBCSEG_DATA=FOLDER python benchmarks/eyepiece.py [--model MODEL] [--only warm small ...]

What `segment` finds in a picture as it is stands for the truth: each cell that lies whole in the circle is
to be found again, within 0.4 of a diameter, and nothing else. So this tells what the eyepiece costs, no more.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from accuracy import read_set
from bad_pictures import compressed
from scipy.optimize import linear_sum_assignment
from tables import markdown

from napari_wbcseg import Segmentation, segment
from napari_wbcseg.network.library import load_model

_NEAR = 0.4  # diameters
_CELL = 40.0  # pixels, where no cell is found as it is
_GAMMA = 2.2
#: How many images of each set are looked at, all where no number is given.
_SETS = {"leukaemia": None, "marrow": None, "blue": None, "vivax": None, "clean": 10, "txl": 10}


@dataclass(frozen=True)
class Phone:
    """What a phone makes of a picture; light is linear, lengths are in cell diameters, unless said.

    Attributes
    ----------
    dim : float
        Share of the light that the edge of the field lacks.
    light : tuple of float
        Times so much of red, green and blue.
    glare : float
        Of full brightness, in one place.
    blur : float
        Standard deviation at the edge of the field.
    motion : float
        By which the picture moved along its rows.
    noise : float
        Standard deviation, of full brightness.
    quality : int
        Of JPEG.
    cell : float, optional
        Pixels that cells are reduced to.
    """

    dim: float = 0.3
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    glare: float = 0.0
    blur: float = 0.0
    motion: float = 0.0
    noise: float = 0.01
    quality: int = 80
    cell: float | None = None


PHONES = {
    "a circle, no more": Phone(dim=0.0, noise=0.0, quality=95),
    "mild": Phone(),
    "warm and blurred": Phone(0.6, (0.9, 0.77, 0.54), blur=0.04, noise=0.02, quality=50),
    "cool, with glare": Phone(0.4, (0.75, 0.9, 1.0), glare=0.25, quality=75),
    "overexposed": Phone(0.5, (1.5, 1.43, 1.35), quality=75),
    "dark and green": Phone(0.4, (0.36, 0.45, 0.32), noise=0.02, quality=70),
    "moved": Phone(motion=0.12),
    "small, as in a video": Phone(0.4, quality=60, cell=22.0),
}


def taken(image: np.ndarray, cell: float, phone: Phone) -> tuple[np.ndarray, float]:
    """Return a picture, uint8, (H, W, 3), as a phone takes it, and its scale."""
    scale = 1.0 if phone.cell is None else min(1.0, phone.cell / cell)
    light = cv2.resize((image / 255) ** _GAMMA, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = light.shape[:2]
    rows, cols = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    radius, away = min(height, width) / 2, np.hypot(rows, cols)
    outer = np.minimum(away / radius, 1)[..., None] ** 2
    if phone.blur:
        light = (1 - outer) * light + outer * cv2.GaussianBlur(light, (0, 0), phone.blur * cell * scale)
    if phone.motion:
        length = max(3, int(phone.motion * cell * scale))
        light = cv2.blur(light, (length, 1))
    light = light * (1 - phone.dim * outer) * phone.light
    spot = np.hypot(rows - 0.3 * radius, cols + 0.4 * radius) / (0.5 * radius)
    light += phone.glare * np.exp(-(spot[..., None] ** 2))
    light *= np.clip((radius - away) / 6 + 0.5, 0, 1)[..., None]
    seen = np.clip(light + 0.002, 0, 1) ** (1 / _GAMMA)
    seen += np.random.default_rng(1).normal(0, phone.noise, seen.shape)
    levels = np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8)
    return compressed(phone.quality)(levels, cell), scale


def compared(truth: Segmentation, shape: tuple[int, ...], scale: float, found: Segmentation) -> np.ndarray:
    """Return how many cells are in the circle, how many of these are missed, and how many are too many."""
    cell = scale * (truth.cell_diameter or _CELL)
    wanted, got = (one.cells[["row", "col"]].to_numpy(float) for one in (truth, found))
    wanted = wanted * scale
    middle = (np.array(shape[:2]) * scale - 1) / 2
    inside = np.linalg.norm(wanted - middle, axis=1) < middle.min() - cell / 2
    apart = np.linalg.norm(wanted[:, None] - got[None], axis=2)
    pairs = np.transpose(linear_sum_assignment(np.minimum(apart, cell)))
    pairs = np.array([pair for pair in pairs if apart[tuple(pair)] < _NEAR * cell], int).reshape(-1, 2)
    seen = np.isin(np.arange(len(wanted)), pairs[:, 0])
    return np.array([inside.sum(), (inside & ~seen).sum(), len(got) - len(pairs)])


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="wbc")
    parser.add_argument("--only", nargs="+", default=[""], help="what the names of the rows hold")
    args = parser.parse_args()
    data, model = Path(os.environ["WBCSEG_DATA"]), load_model(args.model)
    sets = {name: read_set(name, data, number) for name, number in _SETS.items()}
    truths = {name: [segment(item.image, model) for item in items] for name, items in sets.items()}
    rows, all_sums = [], np.zeros((len(sets), 3), int)
    for title, phone in PHONES.items():
        if not any(part in title for part in args.only):
            continue
        sums = np.zeros_like(all_sums)
        for number, (name, items) in enumerate(sets.items()):
            for item, truth in zip(items, truths[name], strict=True):
                picture, scale = taken(item.image, truth.cell_diameter or _CELL, phone)
                sums[number] += compared(truth, item.image.shape, scale, segment(picture, model))
        rows.append([title, *map("{0[1]}, {0[2]} of {0[0]}".format, sums)])
        all_sums += sums
    rows.append(["together", *map("{0[1]}, {0[2]} of {0[0]}".format, all_sums)])
    print(markdown(["missed, too many", *sets], rows))


if __name__ == "__main__":
    main()
