"""Training samples composed from real cells: any rotation, any size, touching groups, crowds.

A *source* is an image with truth, its light divided out. A *sample* is a square
window around a point of a source, turned, mirrored, bent and scaled, into which more
cells may be pasted so that they touch, and things that are no white cells. Beside the
labels goes a class map (see `class_map`), which says what each pixel shows besides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from scipy import ndimage

from ...network.robust import CANONICAL_DIAMETER
from .class_map import UNKNOWN
from .distractors import Distractor, grainy, lay_distractors
from .sample import Picture, Sample
from .sources import Source, background_of, bare_nucleus, cut_outs, equivalent_diameter

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
# Of the pasted cells.
_BARE_NUCLEI = 0.06
# Plasma cells, macrophages and giant blasts among smaller ones; late erythroblasts among larger ones.
_LARGER, _SMALLER = 0.10, 0.14
# Density in red, green and blue of what is spread out over a slide: eosin, lysed haemoglobin, blue plasma.
_COLOURS = ((0.08, 0.35, 0.20), (0.15, 0.30, 0.22), (0.30, 0.18, 0.06), (0.20, 0.20, 0.18))


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
            for _ in range(group if group is not None else _group_size(rng, crowded)):
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
    """Draw how many cells are pasted."""
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
