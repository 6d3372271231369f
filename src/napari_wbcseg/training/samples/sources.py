"""Sources, images with truth that training samples are composed from, and what is cut out of them.

A mosaic is one made of windows of several others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import cv2
import numpy as np
from scipy import ndimage

from ...box import label_boxes
from ...datasets.pair import TrainingPair
from ...images.illumination import DARKEST, normalised
from ...images.pixels import border
from ...sizes import equivalent_diameter
from .class_map import UNKNOWN, draw_class_map, scale_class_map
from .distractors import Distractor, cut_distractors

_LARGEST_CELL = 96.0  # pixels across
_PAD = 3  # pixels around a cut-out
# A place without cells is at least so wide, and so far from the next cell, in cell diameters.
_LEAST_BACKGROUND = 0.7
_CLEAR_OF_CELLS = 0.1
# Of a mosaic.
_DIAMETER = 60.0  # of its cells, pixels
_GRID, _TILE = 3, 128  # windows along each side, and the side of one in pixels
_FEATHER = 5  # pixels of a seam
_TRIES = 100  # after which no window is taken to show a whole cell


@dataclass(frozen=True)
class CutOut:
    """One white cell cut out of a source.

    ``image`` is transmittance (h, w, 3) float16, ``mask`` (h, w) float32 in [0, 1],
    ``relative_size`` its diameter over the median diameter of its source.
    """

    image: np.ndarray
    mask: np.ndarray
    diameter: float
    relative_size: float


@dataclass(frozen=True)
class Source:
    """An image with truth, light divided out, and cells at most 96 px across.

    Attributes
    ----------
    image : ndarray of float16, shape (H, W, 3)
        Transmittance; halves what thousands of them take.
    labels : ndarray of int32, shape (H, W)
    diameter : float
        Median equivalent diameter of its cells, pixels.
    family : str
        Where it comes from; sampling is balanced over families.
    centres : dict
        Centroid (row, col) of each label that the border of the image does not cut.
    distractors : list of Distractor
        Cut out of it, where they are known.
    classes : ndarray of float32, shape (H, W)
        The class map.
    look_alikes : list of tuple
        Row and column of what may be taken for white cells.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    diameter: float
    family: str
    centres: dict[int, tuple[float, float]] = field(default_factory=dict)
    distractors: list[Distractor] = field(default_factory=list)
    look_alikes: list[tuple[float, float]] = field(default_factory=list)


def centroids(labels: np.ndarray, wanted: Iterable[int]) -> dict[int, tuple[float, float]]:
    """Return the centroid (row, col) of each of these labels that there is, ascending."""
    there = np.intersect1d(labels, list(wanted)).tolist()
    found = ndimage.center_of_mass(labels > 0, labels, there)
    return {label: (float(row), float(col)) for label, (row, col) in zip(there, found, strict=True)}


def smooth_outline(labels: np.ndarray, sigma: float) -> np.ndarray:
    """Round off the blocky outlines and thin tails of hand-painted masks.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
    sigma : float
        Width of the Gaussian that smooths each mask, pixels.

    Returns
    -------
    ndarray of int32, shape (H, W)
    """
    pad = int(4 * sigma) + 2
    radius = max(1, round(2 * sigma))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Replicated at the border, so that a cell that the image cuts stays cut straight.
    wide = np.pad(labels, pad, mode="edge")
    smooth = np.zeros(wide.shape, np.int32)
    for index, box in label_boxes(labels):
        around = np.s_[box.top : box.bottom + 2 * pad, box.left : box.right + 2 * pad]
        mask = (wide[around] == index).astype(np.uint8)
        opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
        if opened.sum() > 0.6 * mask.sum():
            mask = opened
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma) > 0.5
        target = smooth[around]
        target[soft & (target == 0)] = index
    return np.ascontiguousarray(smooth[pad:-pad, pad:-pad])


def make_source(pair: TrainingPair, family: str, smooth: bool) -> Source:
    """Prepare a training pair for sampling; it has a whole cell, or says how large white cells are.

    Parameters
    ----------
    pair : TrainingPair
    family : str
    smooth : bool
        Whether outlines are rounded off, as those painted by hand need it.
    """
    labels = pair.labels
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    whole = np.setdiff1d(np.flatnonzero(areas), border(labels)).tolist()
    diameter = pair.white_cell or equivalent_diameter(float(np.median(areas[whole])))
    image = normalised(pair.image)
    distractors = cut_distractors(image, pair.red_cells, pair.platelets, diameter)
    if smooth:
        labels = smooth_outline(labels, 0.035 * diameter)
    classes = draw_class_map(pair, labels)
    factor = min(1.0, _LARGEST_CELL / diameter)
    if factor < 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT))
        classes = scale_class_map(cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT), factor)
        diameter *= factor
    image, labels, centres = image.astype(np.float16), labels.astype(np.int32), centroids(labels, whole)
    look_alikes = [(factor * (r0 + r1) / 2, factor * (c0 + c1) / 2) for r0, c0, r1, c1 in pair.look_alikes]
    return Source(image, labels, classes, diameter, family, centres, distractors, look_alikes)


def mosaic(sources: Sequence[Source], rng: np.random.Generator) -> Source | None:
    """Lay windows of several sources side by side, at one cell size, as a larger field.

    Training tiles show little more than one cell; a smear shows many, small, with
    much between them.

    Parameters
    ----------
    sources : sequence of Source
        At least one; each has a whole cell.
    rng : Generator

    Returns
    -------
    Source or None
        None where no window showed a whole cell: all lie too close to a border, or are too large.
    """
    tries = (_mosaic(sources, rng) for _ in range(_TRIES))
    return next((made for made in tries if made.centres), None)


def _mosaic(sources: Sequence[Source], rng: np.random.Generator) -> Source:
    side = _GRID * _TILE
    image = np.ones((side, side, 3), np.float32)
    labels = np.zeros((side, side), np.int32)
    classes = np.full((side, side), UNKNOWN, np.float32)
    whole: list[int] = []
    ramp = np.clip((np.arange(_TILE) + 1) / _FEATHER, 0, 1).astype(np.float32)
    for row, col in np.ndindex(_GRID, _GRID):
        source = sources[int(rng.integers(len(sources)))]
        scale = _DIAMETER / source.diameter
        picture, marks, kinds = _mosaic_window(source, scale, rng)
        spot = np.s_[row * _TILE : (row + 1) * _TILE, col * _TILE : (col + 1) * _TILE]
        weight = np.outer(*(ramp if before else np.ones_like(ramp) for before in (row, col)))[..., None]
        image[spot] = weight * picture + (1 - weight) * _extended(image, spot)
        classes[spot] = scale_class_map(kinds, scale)
        edge = border(marks)
        for number, index in enumerate(filter(None, np.unique(marks)), int(labels.max()) + 1):
            labels[spot][marks == index] = number
            if index in source.centres and index not in edge:
                whole.append(number)
    centres = centroids(labels, whole)
    return Source(image.astype(np.float16), labels, classes, _DIAMETER, sources[0].family, centres)


def _mosaic_window(source: Source, scale: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut a window out of a scaled source, turned and perhaps mirrored: picture, labels and classes."""
    height, width = (max(_TILE, round(side * scale)) for side in source.labels.shape)
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    parts = [cv2.resize(source.image.astype(np.float32), (width, height), interpolation=flags)]
    for marks in (source.labels, source.classes):
        parts.append(cv2.resize(marks, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
    turns = int(rng.integers(4))
    parts = [np.rot90(part, turns) for part in parts]
    if rng.random() < 0.5:
        parts = [part[:, ::-1] for part in parts]
    top, left = (int(rng.integers(side - _TILE + 1)) for side in parts[0].shape[:2])
    return [part[top : top + _TILE, left : left + _TILE] for part in parts]


def _extended(image: np.ndarray, spot: tuple[slice, slice]) -> np.ndarray:
    """Repeat the last pixels before a window into it, for the feathered seam."""
    above, left = (max(side.start - 1, 0) for side in spot)
    return np.float32(0.5) * (image[spot[0], left][:, None] + image[above, spot[1]][None])


def background_of(source: Source) -> Source | None:
    """Return the largest rectangle of a source without white cells, if it is of any use."""
    margin = round(_CLEAR_OF_CELLS * source.diameter)
    boxes = [box.grown(margin, source.labels.shape) for _, box in label_boxes(source.labels)]
    least = round(_LEAST_BACKGROUND * source.diameter)
    window = largest_empty(source.labels.shape, np.array(boxes).reshape(-1, 4), least)
    if window is None:
        return None
    labels = np.zeros_like(source.labels[window])
    return Source(source.image[window], labels, source.classes[window], source.diameter, source.family)


def largest_empty(shape: tuple[int, ...], boxes: np.ndarray, least: int) -> tuple[slice, slice] | None:
    """Return the largest rectangle that meets none of some boxes and is at least so wide and high.

    Parameters
    ----------
    shape : tuple of int
        Of the image, (H, W).
    boxes : ndarray of float, shape (n, 4)
        ``row0, col0, row1, col1``, ends exclusive; they may reach over the image, or lie outside it.
    least : int
        Pixels.
    """
    height, width = shape[:2]
    boxes = np.clip(boxes, 0, [height, width, height, width]).astype(int)
    best: tuple[int, tuple[slice, slice]] | None = None
    for top, bottom in combinations(np.unique([0, height, *boxes[:, [0, 2]].ravel()]).tolist(), 2):
        if bottom - top < least:
            continue
        beside = boxes[(boxes[:, 0] < bottom) & (boxes[:, 2] > top)]
        # Along the columns the boxes of these rows leave gaps; the widest counts.
        stop = 0
        for left, right in [*beside[np.argsort(beside[:, 1])][:, [1, 3]].tolist(), (width, width)]:
            gap = left - stop
            if gap >= least and (best is None or gap * (bottom - top) > best[0]):
                best = gap * (bottom - top), np.s_[top:bottom, stop:left]
            stop = max(stop, right)
    return best[1] if best else None


def cut_outs(source: Source) -> list[CutOut]:
    """Cut the whole cells out of a source, with soft edges."""
    found, boxes = [], dict(label_boxes(source.labels))
    for index in source.centres:
        window = boxes[index].grown(_PAD, source.labels.shape).slices
        mask = (source.labels[window] == index).astype(np.float32)
        diameter = equivalent_diameter(float(mask.sum()))
        found.append(CutOut(source.image[window].copy(), mask, diameter, diameter / source.diameter))
    return found


def bare_nucleus(cell: CutOut) -> CutOut:
    """Return a cell stripped to its nucleus: what thick films and crushed cells leave."""
    density = -np.log(np.maximum(cell.image.astype(np.float32), DARKEST)).mean(axis=-1)
    inside = density[cell.mask > 0.5]
    dark = cv2.GaussianBlur(density, (0, 0), 1.0) > (inside.min() + 0.55 * (inside.max() - inside.min()))
    mask = dark & (cell.mask > 0.5)
    if mask.sum() < 0.15 * (cell.mask > 0.5).sum():
        return cell
    shape = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    soft = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.0)
    diameter = equivalent_diameter(float(shape.sum()))
    relative = cell.relative_size * diameter / cell.diameter
    return replace(cell, mask=soft, diameter=diameter, relative_size=relative)
