"""Fine-tuning from end to end: choose, train, score beside the model it started from.

A network that goes on with new images alone forgets the old ones. So each batch mixes the user's fields
with a replay of what the model knew (rehearsal: Robins, *Catastrophic forgetting, rehearsal and
pseudorehearsal*, Connection Science 7, 1995). And the new weights are averaged with the old, which keeps most
of the gain and takes back most of the loss (Wortsman et al., *Robust fine-tuning of zero-shot models*,
CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.corrections import read_corrections
from ..datasets.download import local_sigtuple
from ..datasets.pair import REPLAYED_GROUP, SYNTHETIC_GROUP, Pairs, TrainingPair
from ..datasets.read import pairs_of
from ..datasets.sigtuple import DOUBTFUL_MASKS, TRAIN_FOLDER, cut_tiles
from ..errors import TrainingError, reading
from ..evaluation.compare import Comparison, compare_models
from ..network.library import load_model, save_to_library
from ..network.model_file import ModelFile
from ..network.tensor_file import hash_of
from ..progress import Progress, silent
from ..settings import Recipe, TrainingSettings
from ..words import counted
from .duplicates import find_duplicates
from .folder import TrainingJob
from .plan import count_cells, make_plan, require_recipe
from .robust import draw_smear
from .train import train

#: Share of the tuned weights in the new model, the rest being those it started from. Of 0.3, 0.5, 0.7 and 1,
#: the one that gains most of those that lose no more than half of what is allowed (benchmarks/finetune.md).
BLEND = 0.7
_LEARNT = "fine_tuned_on"  # in the header of a model
_PART_OF = "part of "  # there, before a field that was cut in two

#: Fold of the SigTuple set that forgetting is measured on, and that is never replayed.
ORIGINAL_FOLD = 2
_REPLAYED_TILES = 80
_SCORED_TILES = 24
_SYNTHETIC_SMEARS = 32
_SCORED_SMEARS = 4
_SCORED_SEED = 0xA5C0


@dataclass(frozen=True)
class FineTuned:
    """A model that goes on from another, and how the two compare.

    Attributes
    ----------
    model : ModelFile
        The new model, with both scores in its header. It is in no library: `keep` puts it
        there, if it is to be kept.
    comparison : Comparison
    plan : FineTuningPlan
    seconds : float
        Of training.
    """

    model: ModelFile
    comparison: Comparison
    plan: FineTuningPlan
    seconds: float

    def keep(self, name: str | None = None) -> ModelFile:
        """Put the new model into the user's library, where segmentation finds it by name.

        Raises
        ------
        ModelError
            If it cannot be written there.
        """
        return save_to_library(self.model, name)


def fine_tune(
    own: str | Path | Pairs | None = None,
    start: str | Path | ModelFile = "wbc",
    *,
    original: str | Path | Pairs | None = None,
    settings: TrainingSettings | None = None,
    blend: float = BLEND,
    out: str | Path | None = None,
    name: str | None = None,
    resume: bool = False,
    progress: Progress = silent,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_plan: Callable[[FineTuningPlan], object] | None = None,
) -> FineTuned:
    """Fine-tune a model on the user's corrections, and score it beside the model it started from.

    Parameters
    ----------
    own : str, Path or sequence of TrainingPair, optional
        The user's fields, or a data set that `read_pairs` reads; by default the training set of
        `napari_wbcseg.datasets.corrections.corrections_folder`.
    start : str, Path or ModelFile
        The model to go on from.
    original, settings, blend
        See `plan_fine_tuning`.
    out : str or Path, optional
        Folder for history, checkpoint, and the tuned weights before they are averaged.
    name : str, optional
        Name of the new model.
    resume, progress, on_event, should_stop
        See `napari_wbcseg.train`.
    on_plan : callable, optional
        Told what will be done, before it is.

    Raises
    ------
    DatasetError, ImageError, TrainingError, SettingsError, ModelError
        As the parts: no field, fields that cannot be trained on, settings or a model that are none.
    Cancelled
        If ``progress`` raised it.
    """
    model = load_model(start)
    pairs = read_corrections() if own is None else pairs_of(own)
    plan = plan_fine_tuning(pairs, model, original, settings, progress, blend)
    if on_plan is not None:
        on_plan(plan)
    result = train(
        plan.pairs,
        plan.settings,
        out,
        name=name,
        init=model,
        resume=resume,
        progress=progress,
        on_event=on_event,
        should_stop=should_stop,
        training_data=plan.described,
    )
    new, comparison = plan.finish(result.model, progress)
    return FineTuned(new, comparison, plan, result.seconds)


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


@dataclass(frozen=True)
class FineTuningPlan:
    """What a fine-tuning trains on, and what its model is scored on.

    Attributes
    ----------
    start : ModelFile
        The model to go on from.
    own : list of TrainingPair
        The user's fields that are trained on.
    held_out : list of TrainingPair
        The user's fields that are not, and that both models are scored on.
    replay : Replay
    settings : TrainingSettings
    notes : tuple of str
        What the user should know before it starts.
    blend : float
        Share of the tuned weights in the new model, in (0, 1].
    cut : str
        What a model remembers the field by that was cut in two, to train on one part and score on the
        other; empty where none was.
    """

    start: ModelFile
    own: list[TrainingPair]
    held_out: list[TrainingPair]
    replay: Replay
    settings: TrainingSettings
    notes: tuple[str, ...]
    blend: float = BLEND
    cut: str = ""

    def blended(self, tuned: ModelFile) -> ModelFile:
        """Return the new model: the tuned weights averaged with those it started from, where it had them."""
        before = self.start.weights
        weights = {
            name: (1 - self.blend) * before[name] + self.blend * value if name in before else value
            for name, value in tuned.weights.items()
        }
        header = tuned.header.replace(training={**tuned.header.training, "blend": self.blend})
        return ModelFile.make(header, weights)

    def finish(self, tuned: ModelFile, progress: Progress = silent) -> tuple[ModelFile, Comparison]:
        """Return the new model, with both scores in its header, and how it compares with the one before."""
        new = self.blended(tuned)
        seen = self.scores_what_it_saw or self.scores_what_start_saw
        comparison = compare_models(self.start, new, self.held_out, self.replay.held_out, seen, progress)
        learnt = {*new.header.extra.get(_LEARNT, ()), *map(_digest, self.own)}
        learnt |= {_PART_OF + self.cut} if self.cut else set()
        header = new.header.replace(
            extra={**new.header.extra, _LEARNT: sorted(learnt)},
            scores=comparison.scores,  # those of the training are of the weights before they were blended
            notes=comparison.verdict,
            origin=f"fine-tuned here from {comparison.old.model}",
        )
        return ModelFile.make(header, new.weights), comparison

    @property
    def pairs(self) -> list[TrainingPair]:
        """All that `napari_wbcseg.training.train.train` is given."""
        own, replayed, times = self.own, self.replay.training, 1
        if self.settings.recipe == "classic":
            # Its batches are drawn evenly from all tiles; repeated, the few weigh as much as the many.
            times = max(1, len(replayed) // max(1, len(own)))
        return [*own * times, *replayed]

    @property
    def job(self) -> TrainingJob:
        """What a training process is asked to do, with all that `plan_of` needs after a crash."""
        named = ("own", "held_out", "notes", "blend", "cut")
        kept = {name: getattr(self, name) for name in named} | {"replay": vars(self.replay)}
        name = f"{self.start.name}-tuned"
        return TrainingJob(self.pairs, self.settings, name, self.start, self.described, kept)

    @property
    def described(self) -> str:
        """What it is trained on, in words, for the model file."""
        return f"{_counted_in(self.own)} of the user, and {self.replay.described}"

    @property
    def summary(self) -> str:
        """What will be done, in sentences."""
        seen = f" that {self.start.name} has learnt from" if self.scores_what_start_saw else ""
        seen = " that it is also trained on" if self.scores_what_it_saw else seen
        return (
            f"Goes on from {self.start.name} with {self.described}. Both models are then scored on "
            f"{_counted_in(self.held_out)}{seen}."
        )

    @property
    def scores_what_it_saw(self) -> bool:
        """Whether there was too little to keep anything aside."""
        return any(pair is other for pair in self.held_out for other in self.own)

    @property
    def scores_what_start_saw(self) -> bool:
        """Whether the model that it goes on from was fine-tuned on some of what both are scored on."""
        scored = {*map(_digest, self.held_out)}
        whole_or_part = scored | {self.cut} | {_PART_OF + digest for digest in scored}
        return not whole_or_part.isdisjoint(self.start.header.extra.get(_LEARNT, ()))


def _digest(pair: TrainingPair) -> str:
    """Return what a model remembers a field by that it was fine-tuned on."""
    return hash_of(pair.image.tobytes())


def _counted_in(pairs: Pairs) -> str:
    return f"{counted(count_cells(pairs), 'cell')} in {counted(len(pairs), 'field')}"


def plan_fine_tuning(
    own: Pairs,
    start: ModelFile,
    original: str | Path | Pairs | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress = silent,
    blend: float = BLEND,
) -> FineTuningPlan:
    """Choose what to train on, what to keep aside and what to replay.

    Parameters
    ----------
    own : sequence of TrainingPair
        The user's fields, as `napari_wbcseg.datasets.corrections.read_corrections` reads them.
    start : ModelFile
        The model to go on from.
    original : str, Path or sequence of TrainingPair, optional
        What the model was trained on, or a part of it: a data set that
        `napari_wbcseg.datasets.read.read_pairs` reads. By default the SigTuple set where it is
        on this computer (`wbcseg download`). Synthetic smears are always replayed as well.
    settings : TrainingSettings, optional
        By default those of `TrainingSettings.for_recipe` for fine-tuning. Their ``validation_fraction``
        is the share of the fields that both models are scored on.
    progress : Progress
    blend : float
        Share of the tuned weights in the new model, in (0, 1].

    Raises
    ------
    SettingsError
        If the settings are none.
    TrainingError
        If no field can be trained on, a field is both trained and scored on, the settings
        are of another recipe than the model, or ``blend`` is no such share.
    DatasetError, ImageError
        If ``original`` is a path that cannot be read.
    """
    if not 0 < blend <= 1:
        raise TrainingError(f"The share of the tuned weights is {blend}: give more than 0, and at most 1.")
    if settings is not None:
        TrainingSettings.require(settings)
    else:
        settings = TrainingSettings.for_recipe(start.header.recipe, fine_tuning=True)
    require_recipe(start, settings)
    chosen = make_plan(own, settings, fine_tuning=True)
    own_pairs = [_as_own(pair) for pair in chosen.training]
    nothing_aside = chosen.validation in ([], chosen.training)
    held_out = own_pairs if nothing_aside else [_as_own(pair) for pair in chosen.validation]
    used, left_out = [*chosen.training, *chosen.validation], [name for name, _ in chosen.left_out]
    cut = (_digest(pair) for pair in own if pair not in used and pair.name not in left_out)
    replay = make_replay(original, settings.recipe, settings.seed, progress, own)
    notes = [*chosen.notes]
    if chosen.left_out_summary:
        notes.append(chosen.left_out_summary)
    if original is None and not replay.described.startswith("a sample"):
        notes.append(
            "The original training images are not on this computer: synthetic smears stand in for them. "
            "`wbcseg download` fetches the public ones (10 MB), which keeps more of what the model knows."
        )
    settings = settings.replace(validation_fraction=0.0)
    return FineTuningPlan(start, own_pairs, held_out, replay, settings, tuple(notes), blend, next(cut, ""))


def plan_of(job: TrainingJob) -> FineTuningPlan:
    """Return the plan that a job was made of (`FineTuningPlan.job`).

    Raises
    ------
    TrainingError
        If the job is no fine-tuning, or damaged.
    """
    with reading("What is kept of this fine-tuning", TrainingError, "discard it, and fine-tune again"):
        if job.fine_tuning is None or job.init is None:
            raise ValueError("it is none")
        kept = job.fine_tuning
        known = {**kept, "replay": Replay(**kept["replay"]), "notes": tuple(kept["notes"])}
        return FineTuningPlan(job.init, settings=job.settings, **known)


def _as_own(pair: TrainingPair) -> TrainingPair:
    """Keep a user's group from reading like one of the sets that recipes treat in their own way."""
    return replace(pair, group=f"own {pair.group}")


# What is replayed ---------------------------------------------------------------------------------


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
    parts = []
    progress(0, 0, "Reading the original images")
    pairs = [] if original is None else pairs_of(original)
    among_own = {id(pair) for pair, _ in find_duplicates(pairs, own)}
    others = [pair for pair in pairs if id(pair) not in among_own]
    training, held_out = _sampled(others, np.random.default_rng((seed, 0x5A3)))
    if training:
        parts.append(f"a sample of the original data ({counted(len(training), 'image')})")
    else:
        held_out = _smears(_SCORED_SEED, _SCORED_SMEARS, progress)
    if recipe == "robust" or not training:
        training += _smears(seed, _SYNTHETIC_SMEARS, progress)
        parts.append(f"{_SYNTHETIC_SMEARS} synthetic smears")
    return Replay(training, held_out, " and ".join(parts))


def _sampled(pairs: Pairs, rng: np.random.Generator) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Return some pairs to train on, and others of the same kind to score on; none without a cell."""
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
