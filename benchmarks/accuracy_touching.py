"""Groups of real cells, laid on real backgrounds so that they touch, with exact truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from accuracy_sets import BenchImage, around, clean_fields
from scipy import ndimage

from napari_wbcseg.box import label_boxes
from napari_wbcseg.datasets.boxes import read_boxed_pairs, split_names
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.sigtuple import DOUBTFUL_MASKS, fold_of, read_sigtuple
from napari_wbcseg.images.illumination import background_colour, transmittance
from napari_wbcseg.sizes import equivalent_diameter
from napari_wbcseg.training.samples.affine import moving, rotation
from napari_wbcseg.training.samples.sources import CutOut, largest_empty, smooth_outline

_SIGTUPLE_DIAMETER, _FOLD = 63, 2
_GROUPS = 100


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
        cuts.append(CutOut(image[wide.slices].copy(), mask, diameter, 1.0))
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


def touching_groups(root: Path) -> list[BenchImage]:
    """Compose a hundred groups of 2 to 4 cells that touch, with exact truth.

    SigTuple cells, of fold 2, lie on regions of the clean test fields without white cells; the held-out cells
    of TXL-PBC, too large for such regions, around a cell of a held-out field, its rim mirrored outwards for
    room.
    """
    pairs = [pair for pair in read_sigtuple(root / "sigtuple") if fold_of(pair.name) == _FOLD]
    pairs = [pair for pair in pairs if pair.name not in DOUBTFUL_MASKS]
    cuts = [cut for pair in pairs for cut in cut_cells(pair, smooth=True)]
    usual = [cut for cut in cuts if 0.75 < cut.diameter / _SIGTUPLE_DIAMETER < 1.4]
    empty = [host for field in clean_fields(root / "sigtuple") for host in _empty_hosts(field)]
    fields = read_boxed_pairs(root / "txl_pbc", split_names(root / "txl_pbc")[1])
    lone = [cut for pair in fields if pair.labels.max() == 1 for cut in cut_cells(pair, smooth=False)]
    mirrored = [host for pair in fields if (host := _hosting_cell(pair)) is not None]
    makers = [("sigtuple", usual, empty), ("txl", lone, mirrored)]
    rng, found = np.random.default_rng(0), list[BenchImage]()
    while len(found) < _GROUPS:
        kind, stock, hosts = makers[len(found) % len(makers)]
        size = int(rng.integers(2, 5))
        made = touching_group(hosts[int(rng.integers(len(hosts)))], stock, size, rng)
        if made is not None:
            found.append(BenchImage(f"group-{len(found):03d}", made[0], size, made[1], kind=kind))
    return found


def _empty_hosts(field: BenchImage) -> list[Host]:
    side = 4 * _SIGTUPLE_DIAMETER
    window = largest_empty(field.image.shape[:2], around(field.points, 48), side)
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
