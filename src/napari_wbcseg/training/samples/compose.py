"""Training samples composed from real cells: any rotation, any size, touching groups, crowds.

A *source* is an image with truth, its light divided out. A *sample* is a square
window around a point of a source, turned, mirrored, bent and scaled, into which more
cells may be pasted so that they touch, and things that are no white cells. Beside the
labels goes a class map (see `class_map`), which says what each pixel shows besides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
from scipy import ndimage

from ...network.robust import CANONICAL_DIAMETER
from ...sizes import equivalent_diameter
from .affine import moving, rotation, shrunk, turned
from .class_map import NOTHING_ELSE, UNKNOWN, scale_class_map
from .distractors import Distractor, grainy, lay_distractors
from .sources import CutOut, Source, background_of, bare_nucleus, cut_outs

#: Side of a sample, and what is drawn around it and cut off, pixels.
TILE = 128
_MARGIN = TILE // 4
# Shares of the samples.
_OFF_SCALE = 0.08
_NO_CELL_OF_ITS_OWN = 0.15
_BENT = 0.25
_WITH_DISTRACTORS = 0.35
_GROUPED = 0.40
_CROWDED = 0.22
_ON_PLAIN_GROUND = 0.06
_AT_LOOK_ALIKES = 0.15  # where there are cells too
_SQUEEZED = 0.12
_MIRRORED = 0.75
# Of the pasted cells.
_BARE_NUCLEI = 0.2
_STRETCHED = 0.2
_LEAST_PASTED = 20  # pixels
_LEAST_SEEN = 0.6  # of a cell that another covers
# Plasma cells, macrophages and giant blasts among smaller ones; late erythroblasts among larger ones.
_LARGER, _SMALLER = 0.10, 0.14
# Density in red, green and blue of what is spread out over a slide: eosin, lysed haemoglobin, blue plasma.
_COLOURS = ((0.08, 0.35, 0.20), (0.15, 0.30, 0.22), (0.30, 0.18, 0.06), (0.20, 0.20, 0.18))


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


@dataclass
class Picture:
    """A sample in the making, with a margin around it.

    Attributes
    ----------
    image : ndarray of float32, shape (S, S, 3)
        Transmittance.
    labels : ndarray of int32, shape (S, S)
    classes : ndarray of float32, shape (S, S)
        The class map.
    cut : ndarray of bool, shape (S, S)
        Pixels of cells that the border of the source cuts.
    mirrored : bool
        Whether it goes on beyond that border as in a mirror.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    cut: np.ndarray
    mirrored: bool = False

    @classmethod
    def plain(cls, image: np.ndarray) -> Picture:
        """Return a picture without anything on it."""
        shape = image.shape[:2]
        return cls(image, np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(shape, bool))

    @classmethod
    def around(
        cls, source: Source, centre: np.ndarray, scale: float, side: int, rng: np.random.Generator
    ) -> Picture:
        """Cut a square around a point of a source, turned at random, slightly sheared, perhaps mirrored."""
        from skimage.measure import label

        turn = rotation(rng.uniform(0, 2 * np.pi))
        # Pixels that are not square: up to 16:9.
        squeezed = rng.uniform(-0.29, 0.29) if rng.random() < _SQUEEZED else 0.0
        stretch = np.exp(rng.normal(0, 0.05) + squeezed)
        shape = np.array([[stretch, rng.normal(0, 0.05)], [0.0, 1 / stretch]])
        if rng.random() < 0.5:
            shape = shape @ np.diag([-1.0, 1.0])
        matrix, (image, labels, classes) = shrunk(
            moving(scale * turn @ shape, centre[::-1], side / 2),
            scale,
            (source.image.astype(np.float32), cv2.INTER_AREA),
            (source.labels, cv2.INTER_NEAREST_EXACT),
            (source.classes, cv2.INTER_NEAREST_EXACT),
        )
        mirrored = rng.random() < _MIRRORED
        mode = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
        # Where the field of view ends there is empty slide, as the method sees it too.
        fill = (0.0,) * 3 if rng.random() < 0.15 else (1.0,) * 3
        image = cv2.warpAffine(image, matrix, (side, side), borderMode=mode, borderValue=fill)
        marks, kinds = (
            cv2.warpAffine(part, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=mode)
            for part in (labels.astype(np.float32), classes)
        )
        marks = marks.astype(np.int32)
        cut = ~np.isin(marks, [0, *source.centres])
        # Connected pieces have a number each, since mirroring repeats labels.
        pieces = label(marks, connectivity=1).astype(np.int32)
        return cls(image, pieces, scale_class_map(kinds, scale), cut, mirrored)

    def bend(self, diameter: float, rng: np.random.Generator) -> None:
        """Bend it smoothly, by up to about a tenth of a cell: no two cells have one shape."""
        side = self.labels.shape[0]
        knots = max(3, round(side / (0.6 * diameter)))
        shift = rng.normal(0, 0.04 * diameter, (2, knots, knots)).astype(np.float32)
        rows, cols = (
            along + cv2.resize(by, (side, side), interpolation=cv2.INTER_CUBIC)
            for along, by in zip(np.mgrid[:side, :side].astype(np.float32), shift, strict=True)
        )

        def moved(array: np.ndarray, flags: int = cv2.INTER_NEAREST) -> np.ndarray:
            return np.asarray(cv2.remap(array, cols, rows, flags, borderMode=cv2.BORDER_REPLICATE))

        self.image = moved(self.image, cv2.INTER_LINEAR)
        self.labels = moved(self.labels.astype(np.float32)).astype(np.int32)
        self.classes = moved(self.classes)
        self.cut = moved(self.cut.astype(np.uint8)) > 0

    def paste(self, cell: CutOut, scale: float, spot: np.ndarray, rng: np.random.Generator) -> None:
        """Paste a cell, turned at random and perhaps stretched, unless it would hide another."""
        side = self.labels.shape[0]
        linear = scale * turned(rng)
        if rng.random() < _STRETCHED:
            longer = np.exp(rng.uniform(0.05, 0.3))
            linear = linear @ np.diag([longer, 1 / longer])
        middle = np.array(ndimage.center_of_mass(cell.mask))
        matrix, (image, mask) = shrunk(
            moving(linear, middle[::-1], spot[::-1]),
            scale,
            (cell.image.astype(np.float32), cv2.INTER_AREA),
            (cell.mask, cv2.INTER_AREA),
        )
        alpha = cv2.warpAffine(mask, matrix, (side, side))
        patch = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        solid = alpha > 0.5
        if solid.sum() < _LEAST_PASTED:
            return
        for other in filter(None, np.unique(self.labels[solid])):
            whole = self.labels == other
            if (whole & ~solid).sum() < _LEAST_SEEN * whole.sum():
                return
        soft = cv2.GaussianBlur(alpha, (0, 0), 0.8)[..., None]
        self.image[:] = soft * patch + (1 - soft) * self.image
        self.labels[solid] = self.labels.max() + 1
        self.classes[solid] = NOTHING_ELSE
        self.cut[solid] = False

    def crop(self, margin: int) -> Sample:
        """Return the sample inside a margin of so many pixels."""
        from skimage.measure import regionprops

        side = self.labels.shape[0]
        partial = set(np.unique(self.labels[self.cut]).tolist())
        inner = np.s_[margin : side - margin, margin : side - margin]
        seen = set(np.unique(self.labels[inner]).tolist()) - partial
        whole = [
            cell
            for cell in regionprops(self.labels)
            if cell.label in seen and 0 not in cell.bbox[:2] and side not in cell.bbox[2:]
        ]
        diameters = {cell.label: float(cell.equivalent_diameter_area) for cell in whole}
        centres = {cell.label: (cell.centroid[0] - margin, cell.centroid[1] - margin) for cell in whole}
        # A cell that the source's border cuts, doubled by mirroring, is no cell at all.
        doubtful = self.cut & self.mirrored
        image, labels, classes, doubtful = (
            np.ascontiguousarray(part[inner]) for part in (self.image, self.labels, self.classes, doubtful)
        )
        return Sample(image, labels, classes, doubtful, diameters, centres)


class Composer:
    """Draws samples from sources.

    Parameters
    ----------
    sources : iterable of Source
    weights : dict, optional
        Relative weight of each family; by default all alike.
    """

    def __init__(self, sources: Iterable[Source], weights: dict[str, float] | None = None) -> None:
        self.families: defaultdict[str, list[Source]] = defaultdict(list)
        for source in sources:
            self.families[source.family].append(source)
        families = self.families.items()
        self.stock = {name: [*chain(*map(cut_outs, members))] for name, members in families}
        self.backgrounds = {name: [*filter(None, map(background_of, members))] for name, members in families}
        self.distractors: defaultdict[str, list[Distractor]] = defaultdict(list)
        for source in chain(*self.families.values()):
            for thing in source.distractors:
                self.distractors[thing.kind].append(thing)
        self.names = sorted(self.families)
        self._stocked = [name for name in self.names if self.stock[name]]
        share = np.array([(weights or {}).get(name, 1.0) for name in self.names], float)
        self.share = share / share.sum()

    def sample(self, rng: np.random.Generator) -> Sample:
        """Draw one sample."""
        family = self.names[rng.choice(len(self.names), p=self.share)]
        spread = _octaves(rng)
        if family not in self._stocked and rng.random() < 0.6:
            # Large platelets and dense red cells must not pass for cells at any scale.
            spread = rng.uniform(-1.2, 2.0)
        # At a scale where no cell can be seen whole, its lobes, and platelets, are no cells.
        off_scale = rng.random() < _OFF_SCALE
        if off_scale:
            spread = rng.uniform(1.75, 3.0) if rng.random() < 0.75 else rng.uniform(-3.0, -2.4)
        diameter = CANONICAL_DIAMETER * 2.0**spread
        backgrounds = self.backgrounds[family]
        without = bool(backgrounds) and rng.random() < _NO_CELL_OF_ITS_OWN
        often = 0.5 if off_scale or family not in self._stocked else 0.85
        on_cell = not without and rng.random() < often
        source = _draw(backgrounds if without else self.families[family], rng, by_area=not on_cell)
        centre = self._centre(source, diameter, rng, on_cell)
        picture = Picture.around(source, centre, diameter / source.diameter, TILE + 2 * _MARGIN, rng)
        if rng.random() < _BENT:
            picture.bend(diameter, rng)
        crowded = rng.random() < _CROWDED
        if rng.random() < (0.4 if crowded else _ON_PLAIN_GROUND):
            picture = Picture.plain(_plain_ground(picture.labels.shape, diameter, rng))
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
            for _ in range(_group_size(rng, crowded)):
                self._paste(picture, diameter, family, rng)
        return picture.crop(_MARGIN)

    def _centre(self, source: Source, diameter: float, rng: np.random.Generator, on_cell: bool) -> np.ndarray:
        """Draw the (row, column) of a source that a sample is around."""
        spots = list(source.centres.values())
        if source.look_alikes and (not spots or rng.random() < _AT_LOOK_ALIKES):
            spots = source.look_alikes
        if on_cell and spots:
            spot = np.array(spots[rng.integers(len(spots))])
            return spot + rng.uniform(-0.5, 0.5, 2) * TILE * source.diameter / diameter * 0.8
        return rng.uniform(0, 1, 2) * source.labels.shape

    def _paste(self, picture: Picture, diameter: float, family: str, rng: np.random.Generator) -> None:
        """Paste a cell, mostly of this family, and mostly beside another; none where no source has one."""
        if not self._stocked:
            return
        if rng.random() < 0.3 or not self.stock[family]:
            family = self._stocked[rng.integers(len(self._stocked))]
        stock = self.stock[family]
        cell = stock[rng.integers(len(stock))]
        if rng.random() < _BARE_NUCLEI:
            cell = bare_nucleus(cell)
        wanted = diameter * cell.relative_size * float(np.exp(rng.normal(0, 0.16)))
        if rng.random() < _LARGER:
            wanted *= rng.uniform(1.3, 2.2)
        elif rng.random() < _SMALLER:
            wanted *= rng.uniform(0.5, 0.75)
        labels = picture.labels
        present = [i for i in np.unique(labels) if i]
        if present and rng.random() < 0.85:
            mask = labels == int(rng.choice(present))
            reach = equivalent_diameter(float(mask.sum())) / 2 + wanted / 2
            angle = rng.uniform(0, 2 * np.pi)
            away = reach * rng.uniform(0.80, 1.06) * np.array([np.sin(angle), np.cos(angle)])
            spot = np.array(ndimage.center_of_mass(mask)) + away
        else:
            spot = rng.uniform(_MARGIN, _MARGIN + TILE, 2)
        picture.paste(cell, wanted / cell.diameter, spot, rng)


def _group_size(rng: np.random.Generator, crowded: bool) -> int:
    """Draw how many cells are pasted, none in most samples."""
    if crowded:
        return int(rng.integers(5, 16))
    return int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])) if rng.random() < _GROUPED else 0


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


def _plain_ground(shape: tuple[int, ...], white_cell: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a ground: mottled at the scale of cells and larger, strewn with specks now and then.

    Parameters
    ----------
    shape : tuple of int
        (H, W).
    white_cell : float
        Diameter of a white cell, pixels.
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
        Transmittance.
    """
    colour = np.asarray(_COLOURS[rng.integers(len(_COLOURS))], np.float32)
    colour = colour * np.exp(rng.normal(0, 0.3, 3)).astype(np.float32)
    amount = rng.uniform(0.0, 0.6) if rng.random() < 0.6 else 0.0
    density = np.full(shape[:2], amount * rng.uniform(0.3, 1.0), np.float32)
    for grain in (white_cell * rng.uniform(0.2, 0.5), white_cell * rng.uniform(0.6, 2.0)):
        density += amount * rng.uniform(0.1, 0.6) * grainy(shape, grain, rng)
    if rng.random() < 0.4:
        specks = grainy(shape, max(1.0, 0.05 * white_cell), rng)
        density += rng.uniform(0.2, 1.2) * np.clip(specks - rng.uniform(2.0, 2.8), 0, 1)
    return np.exp(-np.clip(density, 0, 3)[..., None] * colour)
