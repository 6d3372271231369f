"""Training a network: one loop for every recipe, on whatever backend Keras has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..datasets.pair import Pairs
from ..datasets.read import pairs_of
from ..errors import TrainingError
from ..files import user_path, write_atomically
from ..network.backend import KerasModel, import_keras
from ..network.device import describe_device, dtype_policy
from ..network.library import load_model
from ..network.model_file import ModelFile, ModelHeader, clean_name
from ..network.tensor_file import SUFFIX
from ..network.unet import build_unet, set_weights, weights_of
from ..progress import Progress, silent
from ..settings import Recipe, TrainingSettings
from ..words import counted
from .batches import Batch, Feeder, data_parallel, helper_processes
from .checkpoint import Checkpoint, State, fingerprint
from .loop import OnEvent, TrainingLoop
from .plan import RECIPES, TrainingPlan, make_plan, require_recipe

_PREVIEW_TILES = 4


@dataclass(frozen=True)
class TrainingResult:
    """A trained model and how it came about.

    Attributes
    ----------
    model : ModelFile
        The best weights; its ``path`` is set when training was given a folder.
    history : list of dict
        One row an epoch: ``epoch`` (from 1), ``loss``, ``dice`` and other metrics, the same
        with ``val_`` in front when there were validation images, ``lr``,
        ``images_per_second``, ``waiting`` (the share of the time in which the network at
        most waited for its batches), ``seconds``.
    device : str
        What it was trained on, and why.
    seconds : float
        How long training took, earlier runs that were resumed included.
    ended : str
        Why it ended, in words.
    """

    model: ModelFile
    history: list[dict[str, Any]]
    device: str
    seconds: float
    ended: str = ""

    def __repr__(self) -> str:
        return f"<TrainingResult: {self.model.id}, {counted(len(self.history), 'epoch')}, {self.ended}>"


def train(
    data: str | Path | Pairs,
    settings: TrainingSettings | None = None,
    out: str | Path | None = None,
    *,
    name: str | None = None,
    init: str | Path | ModelFile | None = None,
    resume: bool = False,
    progress: Progress = silent,
    on_event: OnEvent | None = None,
    should_stop: Callable[[], bool] | None = None,
    training_data: str | None = None,
    preview: bool = False,
    processes: int | None = None,
) -> TrainingResult:
    """Train a network and return its best weights as a model.

    The best epoch is the one with the lowest loss: of the validation images when some
    are kept aside (``validation_fraction``), else, as published, of the training images;
    along a cosine without validation the last epoch is kept.
    The same loss drives the learning rate's plateau and the early stop. With one seed,
    training on one CPU gives the same curve each time.

    Parameters
    ----------
    data : str, Path or sequence of TrainingPair
        What `napari_wbcseg.datasets.read.read_pairs` reads, or the pairs.
    settings : TrainingSettings, optional
        By default those of the recipe of ``init`` for fine-tuning; without it the published ones.
    out : str or Path, optional
        Folder for the model (``NAME.safetensors``), ``history.csv``, and a checkpoint
        each epoch.
    name : str, optional
        Name of the model.
    init : str, Path or ModelFile, optional
        Start from this model instead of random weights (fine-tuning).
    resume : bool
        Go on from the checkpoint in ``out``; where there is none, start. The result is
        that of training that was never interrupted; at most one epoch is done twice.
    progress : Progress
        Called after each step. When it raises `Cancelled`, training ends at once and
        leaves nothing. It may take its time: the training pauses meanwhile.
    on_event : callable, optional
        Called with dicts: ``start`` once, with the epochs done before as ``history``, ``step``
        about four times a second, ``epoch`` after each epoch, ``note`` with a ``text``, ``end``.
        Steps and epochs carry ``epoch``, ``epochs``, ``loss``, ``dice``, ``lr``, ``images_per_second``,
        ``seconds_left``; epochs also ``val_loss``, ``val_dice`` and ``best``. With
        ``preview`` also ``preview_tiles`` once and ``preview`` now and then, see
        `napari_wbcseg.training.preview`.
    should_stop : callable, optional
        Asked after each step; when it returns True, training ends and the best weights so
        far are kept.
    training_data : str, optional
        What the data is, in words, for the model file.
    preview : bool
        Predict a few validation tiles now and then, for at most 1 % of the time.
    processes : int, optional
        Helper processes that prepare batches, 0 for a thread of this one. By default as
        many as the device needs; the result does not depend on it.

    Raises
    ------
    SettingsError, ModelError
        If the settings are none, or there is no such model.
    TrainingError
        If the data, the settings, the initial model or the checkpoint do not fit, if the
        loss is no number before the first epoch ends, or if the disk is full or ``out``
        cannot be written.
    DatasetError, ImageError
        If ``data`` is a path that cannot be read.
    Cancelled
        If ``progress`` raised it.
    """
    init = None if init is None else load_model(init)
    if settings is not None:
        TrainingSettings.require(settings)
    else:
        recipe: Recipe = "classic" if init is None else init.header.recipe
        settings = TrainingSettings.for_recipe(recipe, fine_tuning=init is not None)
    network = _Network(settings, init, name)
    folder = None if out is None else user_path(out)
    checkpoint = None if folder is None else Checkpoint(folder)
    emit = on_event or (lambda event: None)
    with contextlib.ExitStack() as stack:
        if checkpoint is not None:
            stack.enter_context(checkpoint.locked())
            if resume:
                checkpoint.refuse_other(State(settings=settings.model_dump(), data="", network=network.id))
        progress(0, 0, "Reading the training images")
        pairs = pairs_of(data)
        plan = make_plan(pairs, settings, init is not None)
        progress(0, 0, "Starting the training framework")
        import_keras().utils.set_random_seed(settings.seed)
        training = network.recipe.batches(plan.training, settings, True, progress)
        kept = network.recipe.batches(plan.validation, settings, False) if plan.validation else None
        device = describe_device()
        if processes is None:
            processes = helper_processes(device.kind) if training.heavy else 0
        feeder = stack.enter_context(
            contextlib.closing(Feeder(training.draw, training.steps, settings.epochs, processes))
        )
        together = stack.enter_context(data_parallel(training, kept))
        facts = {
            "device": device.words + (f"; {together} of them work together" if together > 1 else ""),
            "arithmetic": dtype_policy(settings.precision),
        }
        model = network.build(facts["arithmetic"])
        state = State(settings=settings.model_dump(), data=fingerprint(pairs), network=network.id)
        if checkpoint is not None and resume:
            where = f" in {data}" if isinstance(data, str | Path) else ""
            state = checkpoint.restore(model, state, where)
        elif checkpoint is not None:
            checkpoint.discard()
        emit(_start_event(network, plan, facts, feeder, state))
        for text in plan.notes:
            emit({"event": "note", "text": text})
        watched = plan.validation or plan.training
        shown = network.recipe.preview(watched, _PREVIEW_TILES) if preview else None
        stop = should_stop or (lambda: False)
        TrainingLoop(settings, state, feeder, kept, checkpoint, shown, progress, emit, stop).fit(model)
        where = f" from {Path(data).name}" if isinstance(data, str | Path) else ""
        described = training_data or f"{counted(len(set(pairs)), 'image')}{where}"
        trained = network.trained(model, state, facts | {"images": len(set(pairs))}, described)
        if folder is not None:
            trained = ModelFile.write(folder / f"{trained.name}{SUFFIX}", trained.header, trained.weights)
            table = pd.DataFrame(state.history, columns=None if state.history else ["epoch"])
            write_atomically(folder / "history.csv", table.to_csv(index=False).encode(), TrainingError)
    path = str(trained.path) if trained.path else None
    ended = {"text": state.ended, "model": path, "best_epoch": state.best_epoch, "seconds": state.seconds}
    emit({"event": "end", **ended})
    return TrainingResult(trained, list(state.history), facts["device"], state.seconds, state.ended)


def _start_event(
    network: _Network, plan: TrainingPlan, facts: dict[str, Any], feeder: Feeder[Batch], state: State
) -> dict[str, Any]:
    last = network.settings.keeps_the_last(validated=bool(plan.validation))  # then none is the best so far
    return {
        "event": "start",
        "name": network.name,
        "recipe": network.settings.recipe,
        "device": facts["device"],
        "precision": facts["arithmetic"],
        "images": len(set(plan.training)),
        "validation_images": len(plan.validation),
        "plan": " ".join(part for part in (plan.summary, plan.left_out_summary) if part),
        "steps": feeder.steps,
        "epochs": network.settings.epochs,
        "processes": feeder.processes,
        "history": [{**row, "best": row["epoch"] == state.best_epoch and not last} for row in state.history],
    }


class _Network:
    """The network that is trained, and what its file will say of it."""

    def __init__(self, settings: TrainingSettings, init: ModelFile | None, name: str | None) -> None:
        self.settings = settings
        self.recipe = RECIPES[settings.recipe]
        self.name = clean_name(name or (f"{init.name}-tuned" if init else f"my-{settings.recipe}"))
        self.init = init
        start = self.recipe.architecture
        if init is not None:
            require_recipe(init, settings)
            # A model of an earlier version learns the outputs it lacks.
            start = init.architecture.with_outputs(start.outputs)
        self.architecture = start.model_copy(update={"dropout": settings.dropout})

    @property
    def id(self) -> str:
        """What tells it from others, its initial weights included."""
        start = self.init.hash if self.init is not None else "random"
        return f"{start} {self.architecture.model_dump_json()}"

    def build(self, policy: str) -> KerasModel:
        """Return the compiled model."""
        model = build_unet(self.architecture, dtype=policy)
        if self.init is not None:
            set_weights(model, {**weights_of(model), **self.init.first.weights})
        keras = import_keras()
        model.compile(
            optimizer=keras.optimizers.Adam(self.settings.learning_rate),
            loss=self.recipe.loss,
            metrics=[keras.metrics.MeanMetricWrapper(self.recipe.dice, name="dice")],
        )
        # What has variables is made now: were it made in the first step, TensorFlow would trace that twice.
        model.optimizer.build(model.trainable_variables)
        return model

    def trained(
        self, model: KerasModel, state: State, facts: dict[str, Any], training_data: str
    ) -> ModelFile:
        """Return the best weights, or those there are where no epoch was the best, as a model."""
        keras, init = import_keras(), self.init
        row = state.history[state.best_epoch - 1] if state.best_epoch else {}
        scores = {
            key if key.startswith("val_") else f"training_{key}": float(value)
            for key, value in row.items()
            if key.removeprefix("val_") in ("loss", "dice")
        }
        if init is not None:
            training_data += f"; starting from {init.id} ({init.header.training_data})"
        diameter = init.header.canonical_diameter if init else self.recipe.canonical_diameter
        header = ModelHeader(
            name=self.name,
            recipe=self.settings.recipe,
            architecture=self.architecture,
            canonical_diameter=diameter,
            input=self.recipe.input,
            training_data=training_data,
            training={
                **self.settings.model_dump(),
                **facts,
                "epochs_done": len(state.history),
                "best_epoch": state.best_epoch,
                "seconds": round(state.seconds, 1),
                "keras": f"{keras.__version__} on {keras.backend.backend()}",
                "ended": state.ended,
            },
            scores=scores,
            extra=init.header.extra if init else {},
        )
        made = ModelFile.make(header, weights_of(model) if state.best is None else state.best)
        return made.with_second(init.second) if init and init.second else made
