"""What a fine-tuning replays: a sample of what the model knew, so that it does not forget it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..datasets.download import local_sigtuple
from ..datasets.pair import REPLAYED_GROUP, SYNTHETIC_GROUP, Pairs, TrainingPair
from ..datasets.read import pairs_of
from ..datasets.sigtuple import DOUBTFUL_MASKS, TRAIN_FOLDER, cut_tiles
from ..progress import Progress, silent
from ..settings import Recipe
from ..words import counted
from .duplicates import find_duplicates
from .robust import draw_smear

#: Fold of the SigTuple set that forgetting is measured on, and that is never replayed.
ORIGINAL_FOLD = 2
_REPLAYED_TILES = 80
_SCORED_TILES = 24
_SYNTHETIC_SMEARS = 32
_SCORED_SMEARS = 4
_SCORED_SEED = 0xA5C0


@dataclass(frozen=True)
class Replay:
    """A sample of what a model was trained on at first.

    Attributes
    ----------
    training : list of TrainingPair
        Mixed into the batches.
    held_out : list of TrainingPair
        Others of the same kind, to measure what is forgotten.
    described : str
        What they are, in words.
    """

    training: list[TrainingPair]
    held_out: list[TrainingPair]
    described: str


def make_replay(
    original: str | Path | Pairs | None,
    recipe: Recipe = "robust",
    seed: int = 0,
    progress: Progress = silent,
    own: Pairs = (),
) -> Replay:
    """Return a sample of the original data, and synthetic smears beside it or in place of it.

    Parameters
    ----------
    original : str, Path or sequence of TrainingPair, optional
        See `plan_fine_tuning`. SigTuple tiles of fold 2 are only scored on; of other sets every fifth image
        is.
    recipe : {"robust", "classic"}
        The classic network was trained without synthetic smears: it gets some only where
        there is nothing else.
    seed : int
        Decides which are taken, where there are many.
    progress : Progress
    own : sequence of TrainingPair
        The user's fields. An original picture that is among them is not used: it would be trained on and
        scored on.
    """
    if original is None:
        original = local_sigtuple(TRAIN_FOLDER)
    training: list[TrainingPair] = []
    parts = []
    progress(0, 0, "Reading the original images")
    pairs = [] if original is None else pairs_of(original)
    among_own = {id(pair) for pair, _ in find_duplicates(pairs, own)}
    pairs = [pair for pair in pairs if id(pair) not in among_own]
    if not pairs:
        held_out = _smears(_SCORED_SEED, _SCORED_SMEARS, progress)
    else:
        training, held_out = _sampled(pairs, np.random.default_rng((seed, 0x5A3)))
        parts.append(f"a sample of the original data ({counted(len(training), 'image')})")
    if recipe == "robust" or not pairs:
        training += _smears(seed, _SYNTHETIC_SMEARS, progress)
        parts.append(f"{_SYNTHETIC_SMEARS} synthetic smears")
    return Replay(training, held_out, " and ".join(parts))


def _sampled(pairs: Pairs, rng: np.random.Generator) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Return some pairs to train on, and others of the same kind to score on."""
    # SigTuple in tiles and without its doubtful masks; other sets as they come, in a family of their own.
    others = [pair for pair in pairs if not pair.group.startswith("fold-")]
    tiles = cut_tiles([pair for pair in pairs if pair.group.startswith("fold-")])
    tiles += [replace(pair, group=f"{REPLAYED_GROUP} {pair.group}") for pair in others]
    tiles = [pair for pair in tiles if pair.name not in DOUBTFUL_MASKS and pair.labels.any()]
    held_out = [pair for pair in tiles if pair.group == f"fold-{ORIGINAL_FOLD}"] or tiles[::5]
    kept = {id(pair) for pair in held_out}
    training = [pair for pair in tiles if id(pair) not in kept] or list(tiles)

    def some(items: list[TrainingPair], number: int) -> list[TrainingPair]:
        if len(items) <= number:
            return items
        return [items[i] for i in sorted(rng.choice(len(items), number, replace=False))]

    return some(training, _REPLAYED_TILES), some(held_out, _SCORED_TILES)


def _smears(seed: int, number: int, progress: Progress) -> list[TrainingPair]:
    pairs = []
    for index in range(number):
        progress(index, number, "Drawing synthetic smears")
        smear, name = draw_smear((seed, index)), f"{seed}-{index}"
        # The group tells the recipe that they are replayed.
        group = f"{SYNTHETIC_GROUP} {name}"
        pairs.append(TrainingPair(f"smear-{name}", smear.image, smear.labels, group))
    return pairs
