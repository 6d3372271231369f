"""Fine-tuning from end to end: choose, train, score beside the model it started from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..datasets.corrections import read_corrections
from ..datasets.pair import Pairs
from ..datasets.read import pairs_of
from ..evaluation.compare import Comparison
from ..network.library import load_model, save_to_library
from ..network.model_file import ModelFile
from ..progress import Progress, silent
from ..settings import TrainingSettings
from .replay import BLEND, FineTuningPlan, plan_fine_tuning
from .train import train


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
        See `napari_wbcseg.training.replay.plan_fine_tuning`.
    out : str or Path, optional
        Folder for history and checkpoint.
    name : str, optional
        Name of the new model.
    resume, progress, on_event, should_stop
        See `napari_wbcseg.train`.
    on_plan : callable, optional
        Told what will be done, before it is.

    Raises
    ------
    DatasetError, TrainingError, ModelError
        As the parts: no field, fields that cannot be trained on, a model that is none.
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
