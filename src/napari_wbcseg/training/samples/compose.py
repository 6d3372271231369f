"""Training samples composed from real cells: any rotation, any size, touching groups, crowds.

A *source* is an image with truth, its light divided out. A *sample* is a square
window around a point of a source, turned, mirrored, bent and scaled, into which more
cells may be pasted so that they touch, and things that are no white cells. Beside the
labels goes a class map (see `class_map`), which says what each pixel shows besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy import ndimage

from ...datasets.class_map import NOTHING_ELSE, UNKNOWN, draw_class_map, scale_class_map
from ...images.field_of_view import border
from ...images.illumination import normalised
from .distractors import Distractor, cut_distractors, lay_distractors
from .grounds import plain_ground

if TYPE_CHECKING:
    from ...datasets.pair import TrainingPair

_LARGEST_SOURCE_CELL = 96.0
# Shares of the samples.
_OFF_SCALE = 0.08
_NO_CELL_OF_ITS_OWN = 0.15
_BENT = 0.25
_WITH_DISTRACTORS = 0.35
_GROUPED = 0.40
_CROWDED = 0.22
_ON_PLAIN_GROUND = 0.06
_SQUEEZED = 0.12
_AT_LOOK_ALIKES = 0.15  # where there are cells too
# Of the pasted cells.
_BARE_NUCLEI = 0.06
_STRETCHED = 0.2
# Plasma cells, macrophages and giant blasts among smaller ones; late erythroblasts among larger ones.
_LARGER, _SMALLER = 0.10, 0.14
# A place without cells is at least so wide, and so far from the next cell, in cell diameters.
_LEAST_BACKGROUND = 0.7
_CLEAR_OF_CELLS = 0.1


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
    family: str


@dataclass(frozen=True)
class Source:
    """An image with truth, light divided out, and cells at most 110 px across.

    Attributes
    ----------
    image : ndarray of float16, shape (H, W, 3)
        Transmittance; halves what thousands of them take.
    labels : ndarray of int32, shape (H, W)
    diameter : float
        Median equivalent diameter of its cells, pixels.
    family : str
        Where it comes from; sampling is balanced over families.
    whole : frozenset of int
        Labels that the border of the image does not cut.
    centres : dict
        Centroid (row, col) of each of those.
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
    whole: frozenset[int]
    centres: dict[int, tuple[float, float]] = field(default_factory=dict)
    distractors: list[Distractor] = field(default_factory=list)
    look_alikes: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """A window with truth.

    Attributes
    ----------
    image : ndarray of float32, shape (S, S, 3)
        Transmittance.
    labels : ndarray of int32, shape (S, S)
        Instances, 1..n.
    doubtful : ndarray of bool, shape (S, S)
        Pixels whose truth is not known, to be left out of the loss.
    diameters, centres : dict
        For each label, the equivalent diameter and the centroid (row, col) of the
        whole cell, also where the window cuts it; no entry where they are unknown.
    classes : ndarray of float32, shape (S, S)
        The class map.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    doubtful: np.ndarray
    diameters: dict[int, float]
    centres: dict[int, tuple[float, float]]


def equivalent_diameter(area: float) -> float:
    """Return the diameter of the disc of an area."""
    return float(2.0 * np.sqrt(area / np.pi))


def _centroid(mask: np.ndarray) -> tuple[float, float]:
    row, col = ndimage.center_of_mass(mask)
    return float(row), float(col)


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
    smooth = np.zeros(labels.shape, np.int32)
    pad = int(4 * sigma) + 2
    radius = max(1, round(2 * sigma))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Replicated at the border, so that a cell that the image cuts stays cut straight.
    wide = np.pad(labels, pad, mode="edge")
    for index, window in enumerate(ndimage.find_objects(labels), 1):
        if window is None:
            continue
        around = tuple(slice(part.start, part.stop + 2 * pad) for part in window)
        mask = (wide[around] == index).astype(np.uint8)
        opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
        if opened.sum() > 0.6 * mask.sum():
            mask = opened
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma) > 0.5
        # The part of the padded window that lies inside the image.
        start = [part.start - pad for part in window]
        stop = [part.stop + pad for part in window]
        inner = tuple(
            slice(max(0, -a), soft.shape[k] - max(0, b - labels.shape[k]))
            for k, (a, b) in enumerate(zip(start, stop, strict=True))
        )
        target = smooth[tuple(slice(max(a, 0), b) for a, b in zip(start, stop, strict=True))]
        target[soft[inner] & (target == 0)] = index
    return smooth


def make_source(pair: TrainingPair, family: str | None = None, smooth: bool = True) -> Source | None:
    """Prepare a training pair for sampling.

    Returns none for an image without a whole cell whose scale is therefore unknown.
    """
    labels = pair.labels
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    cut = set(np.unique(border(labels)).tolist())
    whole = [int(i) for i in np.flatnonzero(areas) if i not in cut]
    if pair.white_cell is not None:
        diameter = pair.white_cell
    elif whole:
        diameter = equivalent_diameter(float(np.median(areas[whole])))
    else:
        return None
    image = normalised(pair.image)
    distractors = cut_distractors(image, pair.red_cells, pair.platelets, diameter)
    if smooth:
        labels = smooth_outline(labels, 0.035 * diameter)
    classes = draw_class_map(pair, labels)
    factor = _LARGEST_SOURCE_CELL / diameter
    if factor < 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))
        classes = scale_class_map(cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST), factor)
        diameter *= factor
    centres = {i: _centroid(labels == i) for i in whole if (labels == i).any()}
    return Source(
        image.astype(np.float16),
        labels.astype(np.int32),
        classes,
        diameter,
        family or pair.group,
        frozenset(centres),
        centres,
        distractors,
        [
            (min(factor, 1) * (r0 + r1) / 2, min(factor, 1) * (c0 + c1) / 2)
            for r0, c0, r1, c1 in pair.look_alikes
        ],
    )


def background_of(source: Source) -> Source | None:
    """Return the largest rectangle of a source without white cells, if it is of any use."""
    margin = round(_CLEAR_OF_CELLS * source.diameter)
    boxes = [
        (rows.start - margin, cols.start - margin, rows.stop + margin, cols.stop + margin)
        for rows, cols in filter(None, ndimage.find_objects(source.labels))
    ]
    least = round(_LEAST_BACKGROUND * source.diameter)
    window = largest_empty(source.labels.shape, np.array(boxes).reshape(-1, 4), least)
    if window is None:
        return None
    labels = np.zeros_like(source.labels[window])
    return Source(
        source.image[window], labels, source.classes[window], source.diameter, source.family, frozenset()
    )


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
    edges = [
        np.unique([0, length, *boxes[:, [low, low + 2]].ravel()])
        for low, length in enumerate((height, width))
    ]
    best: tuple[int, tuple[slice, slice]] | None = None
    for i, top in enumerate(edges[0]):
        for bottom in edges[0][i + 1 :]:
            if bottom - top < least:
                continue
            beside = boxes[(boxes[:, 0] < bottom) & (boxes[:, 2] > top)]
            # Along the columns the boxes of these rows leave gaps; the widest counts.
            stop = 0
            for left, right in [*beside[np.argsort(beside[:, 1])][:, [1, 3]], (width, width)]:
                gap = int(left) - stop
                if gap >= least and (best is None or gap * (bottom - top) > best[0]):
                    best = gap * (bottom - top), np.s_[int(top) : int(bottom), stop : int(left)]
                stop = max(stop, int(right))
    return best[1] if best else None


def cut_outs(source: Source) -> list[CutOut]:
    """Cut the whole cells out of a source, with soft edges."""
    found = []
    for index in sorted(source.whole):
        window = ndimage.find_objects((source.labels == index).astype(np.uint8))[0]
        rows, cols = window
        pad = 3
        box = (
            slice(max(rows.start - pad, 0), rows.stop + pad),
            slice(max(cols.start - pad, 0), cols.stop + pad),
        )
        mask = (source.labels[box] == index).astype(np.float32)
        diameter = equivalent_diameter(float(mask.sum()))
        found.append(
            CutOut(source.image[box].copy(), mask, diameter, diameter / source.diameter, source.family)
        )
    return found


class Composer:
    """Draws samples from sources.

    Parameters
    ----------
    sources : iterable of Source
    size : int
        Side of a sample, pixels.
    canonical_diameter : float
        Typical diameter of a cell in a sample, pixels.
    weights : dict, optional
        Relative weight of each family; by default all alike.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        size: int = 128,
        canonical_diameter: float = 48.0,
        weights: dict[str, float] | None = None,
    ) -> None:
        self.families: dict[str, list[Source]] = {}
        for source in sources:
            self.families.setdefault(source.family, []).append(source)
        self.stock = {
            name: [cut for source in members for cut in cut_outs(source)]
            for name, members in self.families.items()
        }
        self.backgrounds = {
            name: [found for source in members if (found := background_of(source)) is not None]
            for name, members in self.families.items()
        }
        self.distractors: dict[str, list[Distractor]] = {}
        for members in self.families.values():
            for thing in (thing for source in members for thing in source.distractors):
                self.distractors.setdefault(thing.kind, []).append(thing)
        self.names = sorted(self.families)
        self._stocked = [name for name in self.names if self.stock[name]]
        share = np.array([(weights or {}).get(name, 1.0) for name in self.names], float)
        self.share = share / share.sum()
        self.size = size
        self.canonical_diameter = canonical_diameter
        self.margin = size // 4

    def sample(self, rng: np.random.Generator, group: int | None = None) -> Sample:
        """Draw one sample.

        Parameters
        ----------
        rng : Generator
        group : int, optional
            Number of cells to paste; by default drawn, none in most samples.
        """
        family = self.names[rng.choice(len(self.names), p=self.share)]
        spread = _octaves(rng)
        if family not in self._stocked and rng.random() < 0.6:
            # Large platelets and dense red cells must not pass for cells at any scale.
            spread = rng.uniform(-1.2, 2.0)
        # At a scale where no cell can be seen whole, its lobes, and platelets, are no cells.
        off_scale = rng.random() < _OFF_SCALE
        if off_scale:
            spread = rng.uniform(1.75, 3.0) if rng.random() < 0.75 else rng.uniform(-3.0, -2.4)
        diameter = self.canonical_diameter * 2.0**spread
        backgrounds = self.backgrounds[family]
        without = bool(backgrounds) and rng.random() < _NO_CELL_OF_ITS_OWN
        often = 0.5 if off_scale or family not in self._stocked else 0.85
        on_cell = not without and rng.random() < often
        source = _draw(backgrounds if without else self.families[family], rng, by_area=not on_cell)
        picture, mirrored = self._window(source, diameter, rng, on_cell)
        if rng.random() < _BENT:
            _bend(picture, diameter, rng)
        crowded = rng.random() < _CROWDED
        if rng.random() < (0.4 if crowded else _ON_PLAIN_GROUND):
            picture = _Picture.plain(plain_ground(picture.labels.shape, diameter, rng))
        if rng.random() < (0.6 if without else _WITH_DISTRACTORS):
            for _ in range(rng.integers(1, 4)):
                lay_distractors(
                    picture.image, picture.labels, picture.classes, diameter, self.distractors, rng
                )
        if off_scale:
            picture.labels[:] = 0
            picture.classes[:] = UNKNOWN
            picture.cut[:] = False
        else:
            count = group if group is not None else self._group_size(rng, crowded)
            for _ in range(count):
                self._paste(picture, diameter, family, rng)
        return self._crop(picture, mirrored)

    @staticmethod
    def _group_size(rng: np.random.Generator, crowded: bool) -> int:
        if crowded:
            return int(rng.integers(5, 16))
        return int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])) if rng.random() < _GROUPED else 0

    def _window(
        self, source: Source, diameter: float, rng: np.random.Generator, on_cell: bool
    ) -> tuple[_Picture, bool]:
        side = self.size + 2 * self.margin
        height, width = source.labels.shape
        spots = [source.centres[key] for key in sorted(source.centres)]
        if source.look_alikes and (not spots or rng.random() < _AT_LOOK_ALIKES):
            spots = source.look_alikes
        if on_cell and spots:
            centre = np.array(spots[rng.integers(len(spots))])
            centre = centre + rng.uniform(-0.5, 0.5, 2) * self.size * source.diameter / diameter * 0.8
        else:
            centre = rng.uniform(0, 1, 2) * (height, width)
        scale = diameter / source.diameter
        angle = rng.uniform(0, 2 * np.pi)
        # Pixels that are not square: up to 16:9.
        squeezed = rng.uniform(-0.29, 0.29) if rng.random() < _SQUEEZED else 0.0
        stretch = np.exp(rng.normal(0, 0.05) + squeezed)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shape = np.array([[stretch, rng.normal(0, 0.05)], [0.0, 1 / stretch]])
        if rng.random() < 0.5:
            shape = shape @ np.diag([-1.0, 1.0])
        linear = scale * turn @ shape
        offset = side / 2 - linear @ centre[::-1]
        matrix = np.hstack([linear, offset[:, None]]).astype(np.float64)

        image: np.ndarray = source.image.astype(np.float32)
        labels, classes = source.labels, source.classes
        if scale < 0.6:
            # Warping does not average: shrink first, so that nothing aliases.
            shrink = max(scale * 1.2, 0.05)
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
            classes = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST)
            matrix[:, 0] *= width / size[0]
            matrix[:, 1] *= height / size[1]
        mirrored = rng.random() < 0.75
        mode = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
        # Where the field of view ends there is empty slide, as the method sees it too.
        fill = (0.0,) * 3 if rng.random() < 0.15 else (1.0,) * 3
        warped = cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=fill
        )
        marks = cv2.warpAffine(
            labels.astype(np.float32), matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=mode
        ).astype(np.int32)
        kinds = cv2.warpAffine(classes, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=mode)
        cut = ~np.isin(marks, [0, *source.whole])
        return _Picture(warped, self._separate(marks), scale_class_map(kinds, scale), cut), mirrored

    @staticmethod
    def _separate(marks: np.ndarray) -> np.ndarray:
        """Renumber connected pieces, since mirroring repeats labels."""
        from skimage.measure import label

        return label(marks, connectivity=1).astype(np.int32)

    def _paste(self, picture: _Picture, diameter: float, family: str, rng: np.random.Generator) -> None:
        image, labels = picture.image, picture.labels
        if rng.random() < 0.3 or not self.stock[family]:
            family = self._stocked[rng.integers(len(self._stocked))]
        stock = self.stock[family]
        cell = stock[rng.integers(len(stock))]
        if rng.random() < _BARE_NUCLEI:
            cell = bare_nucleus(cell)
        side = labels.shape[0]
        wanted = diameter * cell.relative_size * float(np.exp(rng.normal(0, 0.16)))
        if rng.random() < _LARGER:
            wanted *= rng.uniform(1.3, 2.2)
        elif rng.random() < _SMALLER:
            wanted *= rng.uniform(0.5, 0.75)
        scale = wanted / cell.diameter
        radius = wanted / 2
        present = [i for i in np.unique(labels) if i]
        if present and rng.random() < 0.85:
            neighbour = int(rng.choice(present))
            mask = labels == neighbour
            centre = np.array(ndimage.center_of_mass(mask))
            reach = equivalent_diameter(float(mask.sum())) / 2 + radius
            angle = rng.uniform(0, 2 * np.pi)
            spot = centre + reach * rng.uniform(0.80, 1.06) * np.array([np.sin(angle), np.cos(angle)])
        else:
            spot = rng.uniform(self.margin, side - self.margin, 2)
        angle = rng.uniform(0, 2 * np.pi)
        mirror = 1.0 if rng.random() < 0.5 else -1.0
        linear = scale * np.array(
            [[np.cos(angle) * mirror, -np.sin(angle)], [np.sin(angle) * mirror, np.cos(angle)]]
        )
        if rng.random() < _STRETCHED:
            longer = np.exp(rng.uniform(0.05, 0.3))
            linear = linear @ np.diag([longer, 1 / longer])
        middle = np.array(ndimage.center_of_mass(cell.mask))
        offset = spot[::-1] - linear @ middle[::-1]
        matrix = np.hstack([linear, offset[:, None]])
        cut_out: np.ndarray = cell.image.astype(np.float32)
        mask = cell.mask
        if scale < 0.6:
            size = (max(2, round(mask.shape[1] * scale * 1.2)), max(2, round(mask.shape[0] * scale * 1.2)))
            matrix[:, 0] *= mask.shape[1] / size[0]
            matrix[:, 1] *= mask.shape[0] / size[1]
            cut_out = cv2.resize(cut_out, size, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        alpha = cv2.warpAffine(mask, matrix, (side, side), flags=cv2.INTER_LINEAR)
        patch = cv2.warpAffine(
            cut_out, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        solid = alpha > 0.5
        if solid.sum() < 20:
            return
        for other in np.unique(labels[solid]):
            if other and (labels[~solid] == other).sum() < 0.6 * (labels == other).sum():
                return
        soft = cv2.GaussianBlur(alpha, (0, 0), 0.8)[..., None]
        image[:] = soft * patch + (1 - soft) * image
        labels[solid] = labels.max() + 1
        picture.classes[solid] = NOTHING_ELSE

    def _crop(self, picture: _Picture, mirrored: bool) -> Sample:
        image, labels, cut = picture.image, picture.labels, picture.cut
        side = labels.shape[0]
        partial = set(np.unique(labels[cut]).tolist())
        start, stop = self.margin, self.margin + self.size
        objects = ndimage.find_objects(labels)
        diameters: dict[int, float] = {}
        centres: dict[int, tuple[float, float]] = {}
        inner = labels[start:stop, start:stop]
        for index in np.unique(inner):
            window = objects[index - 1] if index else None
            if window is None or index in partial:
                continue
            rows, cols = window
            mask = labels[window] == index
            if rows.start == 0 or cols.start == 0 or rows.stop == side or cols.stop == side:
                continue
            row, col = ndimage.center_of_mass(mask)
            diameters[int(index)] = equivalent_diameter(float(mask.sum()))
            centres[int(index)] = (row + rows.start - start, col + cols.start - start)
        return Sample(
            np.ascontiguousarray(image[start:stop, start:stop]),
            np.ascontiguousarray(inner),
            np.ascontiguousarray(picture.classes[start:stop, start:stop]),
            # A cell that the source's border cuts, doubled by mirroring, is no cell at all.
            np.ascontiguousarray(cut[start:stop, start:stop] & mirrored),
            diameters,
            centres,
        )


def _octaves(rng: np.random.Generator) -> float:
    """Draw the size of the cells of a sample, in doublings of the canonical one.

    Most often as the network is asked for outlines, often as the low-resolution pass shows them. Far
    beyond the sizes that are looked for, cells stay cells: seen at too coarse a scale, a group of small
    ones must not be taken for one large one.
    """
    choice = rng.random()
    if choice < 0.4:
        return float(rng.normal(0.0, 0.25))
    return float(rng.uniform(-1.3, -0.3) if choice < 0.65 else rng.uniform(-2.0, 1.4))


def _draw(sources: Sequence[Source], rng: np.random.Generator, by_area: bool) -> Source:
    """Draw a source; by area, where any place of it will do."""
    if not by_area:
        return sources[int(rng.integers(len(sources)))]
    areas = np.array([source.labels.size / source.diameter**2 for source in sources])
    return sources[int(rng.choice(len(sources), p=areas / areas.sum()))]


def bare_nucleus(cell: CutOut) -> CutOut:
    """Return a cell stripped to its nucleus: what thick films and crushed cells leave."""
    density = -np.log(np.maximum(cell.image.astype(np.float32), 0.02)).mean(axis=-1)
    inside = density[cell.mask > 0.5]
    dark = cv2.GaussianBlur(density, (0, 0), 1.0) > (inside.min() + 0.55 * (inside.max() - inside.min()))
    mask = dark & (cell.mask > 0.5)
    if mask.sum() < 0.15 * (cell.mask > 0.5).sum():
        return cell
    shape = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    soft = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.0)
    diameter = equivalent_diameter(float(shape.sum()))
    relative = cell.relative_size * diameter / cell.diameter
    return CutOut(cell.image, soft, diameter, relative, cell.family)


@dataclass
class _Picture:
    """A sample in the making."""

    image: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    cut: np.ndarray

    @classmethod
    def plain(cls, image: np.ndarray) -> _Picture:
        shape = image.shape[:2]
        return cls(image, np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(shape, bool))


def _bend(picture: _Picture, diameter: float, rng: np.random.Generator) -> None:
    """Bend a window smoothly, by up to about a tenth of a cell: no two cells have one shape."""
    side = picture.labels.shape[0]
    knots = max(3, round(side / (0.6 * diameter)))
    shift = rng.normal(0, 0.04 * diameter, (2, knots, knots)).astype(np.float32)
    rows, cols = np.mgrid[:side, :side].astype(np.float32)
    rows += cv2.resize(shift[0], (side, side), interpolation=cv2.INTER_CUBIC)
    cols += cv2.resize(shift[1], (side, side), interpolation=cv2.INTER_CUBIC)

    def moved(array: np.ndarray, flags: int = cv2.INTER_NEAREST) -> np.ndarray:
        return np.asarray(cv2.remap(array, cols, rows, flags, borderMode=cv2.BORDER_REPLICATE))

    picture.image = moved(picture.image, cv2.INTER_LINEAR)
    picture.labels = moved(picture.labels.astype(np.float32)).astype(np.int32)
    picture.classes = moved(picture.classes)
    picture.cut = moved(picture.cut.astype(np.uint8)) > 0


def mosaic(sources: Sequence[Source], rng: np.random.Generator, grid: int = 3, tile: int = 128) -> Source:
    """Lay windows of several sources side by side, at one cell size, as a larger field.

    Training tiles show little more than one cell; a smear shows many, small, with
    much between them.

    Parameters
    ----------
    sources : sequence of Source
        At least one; each has a whole cell.
    rng : Generator
    grid : int
        Windows along each side.
    tile : int
        Side of a window, pixels; cells are 60 px across.
    """
    while not (made := _mosaic(sources, rng, grid, tile)).centres:
        pass  # none of its windows happened to hold a whole cell
    return made


def _mosaic(sources: Sequence[Source], rng: np.random.Generator, grid: int, tile: int) -> Source:
    side = grid * tile
    diameter = 60.0
    image = np.ones((side, side, 3), np.float32)
    labels = np.zeros((side, side), np.int32)
    classes = np.full((side, side), UNKNOWN, np.float32)
    whole: set[int] = set()
    feather = 5
    for row in range(grid):
        for col in range(grid):
            source = sources[int(rng.integers(len(sources)))]
            scale = diameter / source.diameter
            size = (
                max(tile, round(source.labels.shape[1] * scale)),
                max(tile, round(source.labels.shape[0] * scale)),
            )
            flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            picture = cv2.resize(source.image.astype(np.float32), size, interpolation=flags)
            marks = cv2.resize(source.labels, size, interpolation=cv2.INTER_NEAREST)
            kinds = cv2.resize(source.classes, size, interpolation=cv2.INTER_NEAREST)
            turns = int(rng.integers(4))
            picture, marks, kinds = (np.rot90(part, turns) for part in (picture, marks, kinds))
            if rng.random() < 0.5:
                picture, marks, kinds = picture[:, ::-1], marks[:, ::-1], kinds[:, ::-1]
            top = int(rng.integers(picture.shape[0] - tile + 1))
            left = int(rng.integers(picture.shape[1] - tile + 1))
            picture = picture[top : top + tile, left : left + tile]
            crop = marks[top : top + tile, left : left + tile]
            ramp = np.clip((np.arange(tile) + 1) / feather, 0, 1).astype(np.float32)
            weight = (np.ones(tile, np.float32) if row == 0 else ramp)[:, None] * (
                np.ones(tile, np.float32) if col == 0 else ramp
            )
            spot = (slice(row * tile, (row + 1) * tile), slice(col * tile, (col + 1) * tile))
            classes[spot] = scale_class_map(kinds[top : top + tile, left : left + tile], scale)
            image[spot] = weight[..., None] * picture + (1 - weight[..., None]) * _extended(image, spot)
            edge = border(crop)
            first = int(labels.max())
            for offset, index in enumerate([i for i in np.unique(crop) if i], 1):
                labels[spot][crop == index] = first + offset
                if index in source.whole and index not in edge:
                    whole.add(first + offset)
    centres = {i: _centroid(labels == i) for i in sorted(whole)}
    return Source(
        image.astype(np.float16), labels, classes, diameter, sources[0].family, frozenset(centres), centres
    )


def _extended(image: np.ndarray, spot: tuple[slice, slice]) -> np.ndarray:
    """Repeat the last pixels before a window into it, for the feathered seam."""
    rows = np.full(spot[0].stop - spot[0].start, max(spot[0].start - 1, 0))
    cols = np.full(spot[1].stop - spot[1].start, max(spot[1].start - 1, 0))
    left = image[spot[0], cols[0]][:, None]
    above = image[rows[0], spot[1]][None, :]
    return np.float32(0.5) * (left + above)
