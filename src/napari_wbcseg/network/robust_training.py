"""Training of the robust recipe: composed, recoloured samples at many sizes, and synthetic smears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..settings import Recipe as RecipeName
from ..settings import TrainingSettings
from .architecture import UNetArchitecture
from .backend import import_keras
from .robust import CANONICAL_DIAMETER, ROBUST, network_input, robust_loss, truth_of

if TYPE_CHECKING:
    from ..data.compose import Source
    from ..data.pairs import TrainingPair

TILE = 128
_SYNTHETIC = "synthetic"
_SYNTHETIC_SMEARS = 160
_SYNTHETIC_SHARE = 0.2
_MOSAICS = 40
_VALIDATION_SAMPLES = 160


class RobustRecipe:
    """The robust recipe; see `recipes.Recipe`."""

    name: RecipeName = "robust"
    architecture: UNetArchitecture = ROBUST
    canonical_diameter: float | None = CANONICAL_DIAMETER
    input = (
        "RGB divided by the colour of the empty slide (transmittance, clipped to 0..1.25), as "
        f"2 * (1 - transmittance); cells about {CANONICAL_DIAMETER:g} pixels across"
    )

    def dataset(self, pairs: Sequence[TrainingPair], settings: TrainingSettings, training: bool) -> Any:
        """Return batches of samples drawn anew each epoch; the same ones for validation."""
        from ..data.compose import Composer

        sources = prepare_sources(pairs)
        families = {source.family for source in sources}
        if not sources:
            raise TrainingError(
                "None of the training images shows a whole cell, clear of the image's border: "
                "add images that do, or outline the cells that are missing."
            )
        weights = {family: 1.0 for family in families}
        if training:
            rng = np.random.default_rng((settings.seed, 0xA11))
            for family in sorted(families):
                sources += _mosaics([s for s in sources if s.family == family], rng)
            sources += synthetic_sources(settings.seed)
            weights[_SYNTHETIC] = len(families) * _SYNTHETIC_SHARE / (1 - _SYNTHETIC_SHARE)
        composer = Composer(sources, TILE, CANONICAL_DIAMETER, weights)
        steps = settings.steps_per_epoch or max(1, len(pairs) // settings.batch_size)
        if not training:
            steps = max(1, _VALIDATION_SAMPLES // settings.batch_size)
        return _dataset(composer, settings, steps, training)

    def loss(self, y_true: Any, y_pred: Any) -> Any:
        """Return the sum of the losses of all heads."""
        return robust_loss(y_true, y_pred)

    def metrics(self) -> list[Callable[[Any, Any], Any]]:
        """Return the soft Dice coefficient of the cell channel."""
        from .dice import dice_coefficient

        def dice(y_true: Any, y_pred: Any) -> Any:
            return dice_coefficient(y_true[..., 0] * y_true[..., 5], y_pred[..., 0] * y_true[..., 5])

        return [dice]


RECIPE = RobustRecipe()


def prepare_sources(pairs: Sequence[TrainingPair]) -> list[Source]:
    """Turn training pairs into sources, one family per origin, doubtful masks left out."""
    from ..data.compose import make_source
    from ..data.sigtuple import DOUBTFUL_MASKS

    sources = []
    for pair in pairs:
        hand_painted = pair.group.startswith("fold-")
        if hand_painted and pair.name in DOUBTFUL_MASKS:
            continue
        family = "sigtuple" if hand_painted else "boxes" if pair.group.startswith("boxes") else "own"
        source = make_source(pair, family, smooth=hand_painted)
        if source is not None:
            sources.append(source)
    return sources


def synthetic_sources(seed: int) -> list[Source]:
    """Draw synthetic smears of every stain and density as sources of a family of their own."""
    from ..data.compose import make_source
    from ..data.pairs import TrainingPair
    from ..data.synthetic import random_smear

    sources: list[Source] = []
    for number in range(_SYNTHETIC_SMEARS):
        smear = random_smear(
            np.random.default_rng((seed, number)), (320, 320), cell_diameter_range=(45.0, 75.0)
        )
        pair = TrainingPair(f"smear-{number}", smear.image, smear.labels, _SYNTHETIC)
        source = make_source(pair, _SYNTHETIC, smooth=False)
        if source is not None:
            sources.append(source)
    return sources


def _mosaics(sources: list[Source], rng: np.random.Generator) -> list[Source]:
    from ..data.compose import mosaic

    return [mosaic(sources, rng) for _ in range(min(_MOSAICS, 2 * len(sources)))]


def _dataset(composer: Any, settings: TrainingSettings, steps: int, training: bool) -> Any:
    from ..data.augment import augment

    keras = import_keras()

    class Samples(keras.utils.PyDataset):  # type: ignore[name-defined,misc]
        """Batches of samples that follow from the seed, the epoch and the index alone."""

        epoch = 0

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            key = (settings.seed, self.epoch, index) if training else (0xFA17, index)
            rng = np.random.default_rng(key)
            images = np.empty((settings.batch_size, TILE, TILE, 3), np.float32)
            truths = []
            for i in range(settings.batch_size):
                sample = composer.sample(rng)
                images[i] = network_input(augment(sample.image, sample.labels > 0, rng))
                truths.append(truth_of(sample))
            return images, np.stack(truths)

    return Samples(workers=1, max_queue_size=8)
