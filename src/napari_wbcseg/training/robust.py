"""Training of the robust recipe: composed, recoloured samples at many sizes, and synthetic smears."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any

import cv2
import numpy as np

from ..box import Box
from ..datasets.pair import REPLAYED_GROUP, SYNTHETIC_GROUP, Pairs, TrainingPair
from ..datasets.sigtuple import DOUBTFUL_MASKS
from ..datasets.single_cells import GROUP as CLASS_GROUP
from ..datasets.single_cells import WITHOUT_CELLS
from ..images.illumination import BRIGHTEST
from ..images.pixels import border
from ..network.architecture import UNetArchitecture
from ..network.device import available_cpus
from ..network.robust import CANONICAL_DIAMETER, ROBUST, network_input
from ..progress import Progress, silent
from ..settings import TrainingSettings
from ..synthetic.smear import SyntheticSmear, random_smear
from .batches import Batch, Batches, Feeder
from .preview import Preview
from .samples.augment import NO_CELL, augment
from .samples.compose import TILE, Composer
from .samples.sources import Source, make_source, mosaic
from .truth import CELL_KNOWN, dice_coefficient, robust_loss, truth_of

_SYNTHETIC, _HAND_PAINTED, _OWN = "synthetic", "sigtuple", "own"
# Families by what their groups begin with; those of classes and of pictures without cells are their own.
_FAMILIES = {
    "fold-": _HAND_PAINTED,
    "boxes": "boxes",
    "fields": "fields",
    REPLAYED_GROUP: "replayed",
    SYNTHETIC_GROUP: _SYNTHETIC,
}
_SYNTHETIC_SMEARS = 240
_SYNTHETIC_SHARE = 0.2
_MOSAICS = 40
_CLASS_MOSAICS = 8
# How often a family is drawn, where the others are drawn once; a class of single cells stands beside seven.
_SHARES = {"no-cells": 0.5, "class-platelet": 0.2, "class-erythroblast": 0.5}
_SHARE_OF_A_CLASS = 0.2
_VALIDATION_SAMPLES = 160
_MOST_HELPERS = 8


class RobustRecipe:
    """The robust recipe; see `plan.RECIPES`."""

    architecture: UNetArchitecture = ROBUST
    canonical_diameter: float | None = CANONICAL_DIAMETER
    input = (
        f"RGB divided by the colour of the empty slide (transmittance, clipped to 0..{BRIGHTEST:g}), as "
        f"2 * (1 - transmittance); cells about {CANONICAL_DIAMETER:g} pixels across"
    )

    def left_out(self, pair: TrainingPair) -> str:
        """Return why a pair is of no use: a doubtful mask, or no cell to tell the scale by."""
        if _family(pair) == _HAND_PAINTED and pair.name in DOUBTFUL_MASKS:
            return "its mask misses much of the cell or leaks into what is around it"
        if pair.white_cell is not None:
            return ""
        if not pair.labels.any():
            return "no cell is outlined in it"
        cut = np.isin(pair.labels[pair.labels > 0], border(pair.labels)).all()
        return "every cell in it is cut by the image's border" if cut else ""

    def tiles(self, pairs: Pairs, settings: TrainingSettings) -> int:
        """Return the number of samples that are drawn in an epoch."""
        return _steps(pairs, settings) * settings.batch_size

    def batches(
        self, pairs: Pairs, settings: TrainingSettings, training: bool, progress: Progress = silent
    ) -> Batches:
        """Return batches of samples drawn anew each epoch; the same ones for validation."""
        sources = [source_of(pair) for pair in pairs]
        families = sorted({source.family for source in sources})
        weights = family_weights(families) if training else {family: _weight(family) for family in families}
        if training:
            rng = np.random.default_rng((settings.seed, 0xA11))
            for family in families:
                sources += _mosaics([s for s in sources if s.family == family and s.centres], rng)
            if _SYNTHETIC not in families:
                sources += synthetic_sources(settings.seed, progress)
        composer = Composer(sources, weights)
        steps = _steps(pairs, settings) if training else max(1, _VALIDATION_SAMPLES // settings.batch_size)
        draw = partial(draw_samples, composer, settings.batch_size, settings.seed if training else None)
        return Batches(draw, steps, heavy=True)

    def preview(self, pairs: Pairs, count: int) -> Preview | None:
        """Return windows around the first whole cells, at the canonical size and as they are lit, if any."""
        sources = ((pair.name, source_of(pair)) for pair in pairs)
        centred = ((name, source, centre) for name, source in sources for centre in source.centres.values())
        windows = [(name, *_window(source, centre)) for name, source, centre in islice(centred, count)]
        if not windows:
            return None
        names, images, truths = zip(*windows, strict=True)
        light = np.array(images, np.float32)
        shown = np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
        return Preview(shown, np.array(truths, bool), network_input(light), names)

    loss = staticmethod(robust_loss)

    def dice(self, y_true: Any, y_pred: Any) -> Any:
        """Return the soft Dice coefficient of the cell channel, where cells are known."""
        known = y_true[..., CELL_KNOWN]
        return dice_coefficient(y_true[..., 0] * known, y_pred[..., 0] * known)


def draw_samples(composer: Composer, size: int, seed: int | None, epoch: int, index: int) -> Batch:
    """Return a batch of images and truths, as `network_input` and `truth_of` make them.

    It follows from the seed, the epoch and the index alone; without a seed it is the same each epoch, to
    validate on.
    """
    rng = np.random.default_rng((0xFA17, index) if seed is None else (seed, epoch, index))
    images, truths = [], []
    for _ in range(size):
        sample = composer.sample(rng)
        cell = float(np.median([*sample.diameters.values()] or [NO_CELL]))
        images.append(network_input(augment(sample.image, sample.labels > 0, rng, cell)))
        truths.append(truth_of(sample))
    return np.stack(images), np.stack(truths)


def _steps(pairs: Pairs, settings: TrainingSettings) -> int:
    return settings.steps_per_epoch or max(1, len(pairs) // settings.batch_size)


def _weight(family: str) -> float:
    return _SHARES.get(family, _SHARE_OF_A_CLASS if family.startswith(CLASS_GROUP) else 1.0)


def family_weights(families: Iterable[str]) -> dict[str, float]:
    """Return how often each family is trained on, synthetic smears among them, whatever their order."""
    weights = {family: _weight(family) for family in sorted(families)}
    if _SYNTHETIC in weights:
        # Fine-tuning brings its own replay: the user's cells are as frequent as all of that.
        return weights | {_OWN: max(1.0, len(weights) - 1.0)}
    return weights | {_SYNTHETIC: sum(weights.values()) * _SYNTHETIC_SHARE / (1 - _SYNTHETIC_SHARE)}


def source_of(pair: TrainingPair) -> Source:
    """Return a pair, which is none to leave out, as a source of the family of its origin."""
    family = _family(pair)
    return make_source(pair, family, smooth=family == _HAND_PAINTED)


def _family(pair: TrainingPair) -> str:
    group = pair.group
    if group == pair.name:  # a user's, which may be named as our groups are
        return _OWN
    if group.startswith(CLASS_GROUP) or group == WITHOUT_CELLS:
        return group
    return next((name for start, name in _FAMILIES.items() if group.startswith(start)), _OWN)


def synthetic_sources(seed: int, progress: Progress = silent) -> list[Source]:
    """Draw synthetic smears of every stain and density as sources of a family of their own."""
    count, sources = _SYNTHETIC_SMEARS, []
    # A few are drawn here in the time that processes take to start.
    processes = min(available_cpus(), _MOST_HELPERS) if count > 8 else 0
    with contextlib.closing(Feeder(partial(_synthetic_source, seed), count, processes=processes)) as feeder:
        for number in range(count):
            sources.append(feeder.get(0, number))
            progress(number + 1, count, "Drawing synthetic smears")
    return sources


def draw_smear(key: tuple[int, int]) -> SyntheticSmear:
    """Draw a synthetic smear, by a seed and its number."""
    return random_smear(np.random.default_rng(key), (320, 320), cell_diameter_range=(45.0, 75.0))


def _synthetic_source(seed: int, _: int, number: int) -> Source:
    smear = draw_smear((seed, number))
    pair = TrainingPair(
        f"smear-{number}",
        smear.image,
        smear.labels,
        _SYNTHETIC,
        red_cells=_boxes(smear.red_cells, smear.labels.shape),
        platelets=_boxes(smear.platelets, smear.labels.shape),
        all_boxed=True,
        white_cell=smear.cell_diameter,
    )
    return make_source(pair, _SYNTHETIC, smooth=False)


def _boxes(discs: np.ndarray, shape: tuple[int, ...]) -> tuple[Box, ...]:
    """Return the boxes of discs, rows of (row, col, radius), clipped to the image; none outside it."""
    corners = np.column_stack([discs[:, :2] - discs[:, 2:], discs[:, :2] + discs[:, 2:]]).round().astype(int)
    corners = np.clip(corners, 0, [*shape, *shape])
    return tuple(box for box in map(Box._make, corners.tolist()) if box.area)


def _mosaics(sources: list[Source], rng: np.random.Generator) -> list[Source]:
    most = _CLASS_MOSAICS if sources and sources[0].family.startswith(CLASS_GROUP) else _MOSAICS
    made = (mosaic(sources, rng) for _ in range(min(most, 2 * len(sources))))
    return [source for source in made if source is not None]


def _window(source: Source, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Cut a tile around a point at the canonical size; beyond the image is empty slide."""
    scale = CANONICAL_DIAMETER / source.diameter
    reach = TILE / 2 / scale
    # Inside the image where it is large enough, so that as little as possible is made up.
    row, col = (
        min(max(c, reach), max(side - reach, reach))
        for c, side in zip(centre, source.labels.shape, strict=True)
    )
    move = np.array([[scale, 0, TILE / 2 - scale * col], [0, scale, TILE / 2 - scale * row]])
    picture = cv2.warpAffine(source.image.astype(np.float32), move, (TILE, TILE), borderValue=(1, 1, 1))
    cells = cv2.warpAffine(source.labels.astype(np.float32), move, (TILE, TILE), flags=cv2.INTER_NEAREST)
    return picture, cells > 0
