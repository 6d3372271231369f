"""The images that `accuracy.py` scores on, each with what is known of it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from scipy import ndimage

from napari_wbcseg.box import label_boxes
from napari_wbcseg.datasets.boxes import WHITE_KIND, read_boxed_pairs, read_boxes, split_names
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.sigtuple import (
    DOUBTFUL_MASKS,
    cut_tiles,
    fold_of,
    read_sigtuple,
    test_fields,
)
from napari_wbcseg.images.illumination import background_colour, transmittance
from napari_wbcseg.images.read import read_image
from napari_wbcseg.training.samples.affine import moving, rotation
from napari_wbcseg.training.samples.sources import CutOut, equivalent_diameter, largest_empty, smooth_outline

HERE = Path(__file__).parent
COUNTS_TABLE = HERE / "clean_test_counts.csv"
DOUBTFUL_TABLE = HERE / "txl_doubtful.csv"

Item = TypeVar("Item")
_SIGTUPLE_DIAMETER = 63
_LEAST_REGION = 100


@dataclass(frozen=True, eq=False)
class BenchImage:
    """One image and what is known of its white cells.

    Attributes
    ----------
    name : str
    image : ndarray of uint8, shape (H, W, 3)
    count : int
        True number of white cells.
    labels : ndarray of int32, shape (H, W), or None
        Outlines; each value a cell, or for ``regions`` a black-and-white mask.
    boxes : ndarray of int, shape (n, 4), or None
        ``row0, col0, row1, col1``, ends exclusive.
    points : ndarray of float, shape (n, 2), or None
        About the centres of the cells.
    regions : bool
        The truth does not tell touching cells apart.
    doubtful : bool
        The truth looks wrong.
    kind : str
        Part of its set.
    fold : int or None
        SigTuple fold that it belongs to.
    ignore : ndarray of int, shape (n, 4), or None
        Boxes of places where finding or not finding something is no mistake.
    """

    name: str
    image: np.ndarray
    count: int
    labels: np.ndarray | None = None
    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    regions: bool = False
    doubtful: bool = False
    kind: str = ""
    fold: int | None = None
    ignore: np.ndarray | None = None


# Sets as they come ---------------------------------------------------------------------------------


def sigtuple_tiles(path: Path, folds: Sequence[int]) -> list[BenchImage]:
    """Return the 128x128 tiles of some folds, with the tiles of their fields."""
    pairs = [pair for pair in cut_tiles(read_sigtuple(path)) if fold_of(pair.name) in folds]
    return [
        BenchImage(
            pair.name,
            pair.image,
            int(pair.labels.max()),
            pair.labels,
            regions=True,
            doubtful=pair.name in DOUBTFUL_MASKS,
            fold=fold_of(pair.name),
        )
        for pair in pairs
    ]


def clean_fields(path: Path) -> list[BenchImage]:
    """Return the test fields that share no cell with the training set, counted by eye."""
    with COUNTS_TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = {file.stem: file for file in test_fields(path)}
    found = []
    for row in rows:
        points = [[float(v) for v in point.split(":")] for point in row["centres"].split()]
        found.append(
            BenchImage(
                row["field"],
                read_image(files[row["field"]]),
                int(row["white_cells"]),
                points=np.array(points).reshape(-1, 2),
            )
        )
    return found


def txl_validation(path: Path) -> list[BenchImage]:
    """Return the fields of TXL-PBC that are never trained on, with their boxes."""
    with DOUBTFUL_TABLE.open(newline="") as file:
        doubtful = {row["image"] for row in csv.DictReader(file)}
    table = read_boxes(path)
    table = table[table["kind"] == WHITE_KIND]
    found = []
    for name in split_names(path)[1]:
        boxes = table.loc[table["image"] == name, ["r0", "c0", "r1", "c1"]].to_numpy(int)
        image = read_image(path / "images" / name)
        found.append(BenchImage(name, image, len(boxes), boxes=boxes, doubtful=name in doubtful))
    return found


def zheng_crops(path: Path) -> list[BenchImage]:
    """Return the 300 crops of one cell each, outlined by experts."""
    found = []
    for file in sorted(path.glob("*.bmp")):
        truth = read_image(file.with_suffix(".png"))
        truth = truth[..., 0] if truth.ndim == 3 else truth
        found.append(BenchImage(file.stem, read_image(file), 1, (truth > 64).astype(np.int32)))
    return found


# Touching groups -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Host:
    """A background to lay cells on.

    ``image`` (H, W, 3) float32 is transmittance, ``light`` (3,) the colour of its empty
    slide, ``labels`` (H, W) int32 the one cell that is there already, or nothing.
    """

    image: np.ndarray
    light: np.ndarray
    labels: np.ndarray


def cut_cells(pair: TrainingPair, smooth: bool) -> list[CutOut]:
    """Cut the whole cells out of a pair, at their own resolution, light divided out."""
    image = transmittance(pair.image, background_colour(pair.image))
    areas = np.bincount(pair.labels.ravel())[1:]
    if not areas.any():
        return []
    labels = pair.labels
    if smooth:
        labels = smooth_outline(labels, 0.035 * equivalent_diameter(float(np.median(areas[areas > 0]))))
    cuts = []
    for index, box in label_boxes(labels):
        wide = box.grown(2, labels.shape)
        if wide.shape != (box.shape[0] + 4, box.shape[1] + 4):  # too near the border
            continue
        mask = (labels[wide.slices] == index).astype(np.float32)
        diameter = equivalent_diameter(float(mask.sum()))
        cuts.append(CutOut(image[wide.slices].copy(), mask, diameter, 1.0, pair.group))
    return cuts


def touching_group(
    host: Host, stock: Sequence[CutOut], number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Lay real cells on a real background so that they touch.

    Each cell is turned, perhaps mirrored, scaled by up to a tenth, and moved towards a
    cell that is there until the two overlap by two to eight hundredths of its area.

    Parameters
    ----------
    host : Host
        The cell it may hold counts as the first of the group.
    stock : sequence of CutOut
        Cells to draw from, of one laboratory.
    number : int
        Cells in the group.
    rng : Generator

    Returns
    -------
    tuple of ndarray, or None
        The picture, uint8 (H, W, 3), and its labels, int32 (H, W); none where the group
        does not fit onto the host.
    """
    image, labels = host.image.copy(), host.labels.copy()
    middle = np.array(labels.shape) / 2
    present = int(labels.max())
    while present < number:
        cut = stock[int(rng.integers(len(stock)))]
        for _ in range(12):
            angle = rng.uniform(0, 2 * np.pi)
            patch, mask = _turn(cut, rng.uniform(0, 2 * np.pi), rng.random() < 0.5, rng.uniform(0.9, 1.1))
            area = float((mask > 0.5).sum())
            if present == 0:
                spot = middle + rng.normal(0, 0.1, 2) * cut.diameter
                placed = _place(image.shape[:2], mask, spot)
            else:
                neighbour = int(rng.integers(1, present + 1))
                start = np.array(ndimage.center_of_mass(labels == neighbour))
                wanted = rng.uniform(0.02, 0.08) * area
                placed = _approach(labels, neighbour, mask, start, angle, wanted)
            if placed is None:
                continue
            spot_slices, solid = placed
            under = np.bincount(labels[spot_slices][solid], minlength=present + 1)[1:]
            if (under > 0.1 * area).any():
                continue
            soft = cv2.GaussianBlur(mask, (0, 0), 0.012 * cut.diameter + 0.5)[..., None]
            image[spot_slices] = soft * patch + (1 - soft) * image[spot_slices]
            present += 1
            labels[spot_slices][solid] = present
            break
        else:
            return None
    pixels = np.clip(image * host.light, 0, 255).round().astype(np.uint8)
    return pixels, labels


def _turn(cut: CutOut, angle: float, mirror: bool, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture and mask of a cell turned, mirrored and scaled, with room around it."""
    height, width = cut.mask.shape
    side = int(np.ceil(np.hypot(height, width) * scale)) + 8
    turn = rotation(angle) * scale @ np.diag([-1.0 if mirror else 1.0, 1.0])
    matrix = moving(turn, np.array([(width - 1) / 2, (height - 1) / 2]), (side - 1) / 2)
    patch = cv2.warpAffine(
        cut.image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    mask = cv2.warpAffine(cut.mask, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return np.clip(patch, 0, 1.25), mask


def _place(
    shape: tuple[int, ...], mask: np.ndarray, spot: np.ndarray
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    side = mask.shape[0]
    top, left = (round(float(v) - side / 2) for v in spot)
    if top < 0 or left < 0 or top + side > shape[0] or left + side > shape[1]:
        return None
    return np.s_[top : top + side, left : left + side], mask > 0.5


def _approach(
    labels: np.ndarray, neighbour: int, mask: np.ndarray, start: np.ndarray, angle: float, wanted: float
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Move a cell along a ray towards a neighbour until their overlap is as wanted."""
    direction = np.array([np.sin(angle), np.cos(angle)])
    reach = equivalent_diameter(float((labels == neighbour).sum())) / 2 + mask.shape[0] / 2
    for distance in np.arange(1.6 * reach, 0.3 * reach, -1.0):
        placed = _place(labels.shape, mask, start + distance * direction)
        if placed is None:
            continue
        slices, solid = placed
        if np.count_nonzero(labels[slices][solid]) >= wanted:
            touches = np.count_nonzero(labels[slices][solid] == neighbour)
            return placed if touches else None
    return None


def touching_groups(
    sigtuple: Path | None, txl: Path | None, folds: Sequence[int], number: int = 100, seed: int = 0
) -> list[BenchImage]:
    """Compose groups of 2 to 4 held-out cells that touch, with exact truth.

    SigTuple cells lie on regions of the clean test fields without white cells; the cells
    of TXL-PBC, too large for such regions, around a cell of a held-out field, its rim
    mirrored outwards for room.
    """
    makers: list[tuple[str, int | None, list[CutOut], list[Host]]] = []
    if sigtuple is not None:
        pairs = [p for p in read_sigtuple(sigtuple) if p.name not in DOUBTFUL_MASKS]
        hosts = [h for field in clean_fields(sigtuple) for h in _empty_hosts(field)]
        for fold in folds:
            cuts = [c for p in pairs if fold_of(p.name) == fold for c in cut_cells(p, smooth=True)]
            usual = [c for c in cuts if 0.75 < c.diameter / _SIGTUPLE_DIAMETER < 1.4]
            makers.append(("sigtuple", fold, usual, hosts))
    if txl is not None:
        pairs = read_boxed_pairs(txl, split_names(txl)[1])
        hosts = [h for p in pairs if (h := _hosting_cell(p)) is not None]
        cuts = [c for p in pairs if p.labels.max() == 1 for c in cut_cells(p, smooth=False)]
        # As many of these groups as of all folds together.
        makers = [m for maker in makers for m in (maker, ("txl", None, cuts, hosts))] or [
            ("txl", None, cuts, hosts)
        ]
    rng = np.random.default_rng(seed)
    found: list[BenchImage] = []
    tries = 0
    while makers and len(found) < number and tries < 20 * number:
        kind, fold, cuts, hosts = makers[len(found) % len(makers)]
        tries += 1
        size = int(rng.integers(2, 5))
        made = touching_group(hosts[int(rng.integers(len(hosts)))], cuts, size, rng)
        if made is not None:
            found.append(BenchImage(f"group-{len(found):03d}", made[0], size, made[1], kind=kind, fold=fold))
    return found


def _empty_hosts(field: BenchImage) -> list[Host]:
    side = 4 * _SIGTUPLE_DIAMETER
    window = largest_empty(field.image.shape[:2], _around(field.points, 48), side)
    if window is None:
        return []
    light = background_colour(field.image)
    image = transmittance(field.image, light)
    middle = []  # at most so much of it
    for along in window:
        length = min(along.stop - along.start, side + 60)
        start = along.start + (along.stop - along.start - length) // 2
        middle.append(slice(start, start + length))
    crop = image[tuple(middle)]
    return [Host(crop.copy(), light, np.zeros(crop.shape[:2], np.int32))]


def _hosting_cell(pair: TrainingPair) -> Host | None:
    if pair.labels.max() != 1:
        return None
    ((_, box),) = label_boxes(pair.labels)
    height, width = pair.labels.shape
    room = min(box.top, box.left, height - box.bottom, width - box.right) - 3
    if room < 90:
        return None
    light = background_colour(pair.image)
    image = transmittance(pair.image, light)
    image = np.pad(image, ((room, room), (room, room), (0, 0)), mode="reflect")
    return Host(image, light, np.pad(pair.labels, room))


# Places without white cells ------------------------------------------------------------------------


def _around(points: np.ndarray | None, radius: float) -> np.ndarray:
    """Return boxes around points."""
    points = np.zeros((0, 2)) if points is None else points
    return np.hstack([points - radius, points + radius])


def without_cells(sigtuple: Path | None, txl: Path | None) -> list[BenchImage]:
    """Return regions of real fields without white cells, and synthetic fields with none."""
    from napari_wbcseg.synthetic.smear import synthetic_smear
    from napari_wbcseg.synthetic.stains import STAINS

    found = []
    if sigtuple is not None:
        for field in clean_fields(sigtuple):
            window = largest_empty(field.image.shape[:2], _around(field.points, 55), _LEAST_REGION)
            if window is not None:
                found.append(BenchImage(field.name, field.image[window], 0, kind="sigtuple region"))
    if txl is not None:
        for field in txl_validation(txl):
            grown = np.asarray(field.boxes) + np.array([-4, -4, 4, 4])
            window = largest_empty(field.image.shape[:2], grown, _LEAST_REGION)
            if window is not None and not field.doubtful:
                found.append(BenchImage(field.name, field.image[window], 0, kind="txl region"))
    number = 0
    for stain in STAINS:
        for diameter in (30.0, 63.0, 130.0):
            smear = synthetic_smear(
                (360, 480), cell_diameter=diameter, white_cells=0, stain=stain, seed=900 + number
            )
            found.append(BenchImage(f"{stain}-{diameter:.0f}", smear.image, 0, kind="synthetic field"))
            number += 1
    return found


# Others --------------------------------------------------------------------------------------------


def synthetic_smears() -> list[BenchImage]:
    """Return synthetic smears of every stain at three magnifications."""
    from napari_wbcseg.synthetic.smear import synthetic_smear
    from napari_wbcseg.synthetic.stains import STAINS

    found = []
    for stain_number, stain in enumerate(STAINS):
        for diameter in (25.0, 63.0, 160.0):
            side = round(8 * diameter)
            smear = synthetic_smear(
                (side, side), cell_diameter=diameter, white_cells=5, stain=stain, seed=700 + stain_number
            )
            found.append(
                BenchImage(
                    f"{stain}-{diameter:.0f}",
                    smear.image,
                    smear.count,
                    smear.labels,
                    kind=f"{diameter:.0f} px",
                )
            )
    return found


def resampled(image: np.ndarray, factor: float) -> np.ndarray:
    """Return an image enlarged, or shrunk with averaging, by a factor."""
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def back_to(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return labels of a resampled image at the size of the original."""
    size = shape[1], shape[0]
    return cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)


def spread(items: list[Item], number: int | None) -> list[Item]:
    """Return so many of the items, evenly spread over them; all where no number is given."""
    if number is None or number >= len(items):
        return items
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, number).round()]
