"""Training a network: one loop for every recipe, on whatever backend Keras has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Cancelled, TrainingError
from ..network.architecture import UNetArchitecture
from ..network.backend import import_keras
from ..network.device import available_cpus
from ..network.model_file import SUFFIX, ModelFile, ModelHeader, clean_name, make_model, write_model
from ..progress import Progress, silent
from ..settings import TrainingSettings
from ..words import counted
from .batches import Feeder, helper_processes
from .checkpoint import Checkpoint, State, check_same, fingerprint
from .loop import OnEvent, TrainingLoop
from .plan import TrainingPlan, make_plan
from .preview import Preview
from .recipes import get_recipe

if TYPE_CHECKING:
    import keras

    from ..datasets.pair import TrainingPair

_PREVIEW_TILES = 4
_MOST_HELPERS = 8


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


def train(
    data: str | Path | Sequence[TrainingPair],
    settings: TrainingSettings | None = None,
    out: str | Path | None = None,
    *,
    name: str | None = None,
    init: ModelFile | None = None,
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
    are kept aside (``validation_fraction``), else, as published, of the training images.
    The same loss drives the learning rate's plateau and the early stop. With one seed,
    training on one CPU gives the same curve each time.

    Parameters
    ----------
    data : str, Path or sequence of TrainingPair
        What `napari_wbcseg.datasets.read.read_pairs` reads, or the pairs.
    settings : TrainingSettings, optional
        By default those of the recipe of ``init``; without it the published ones.
    out : str or Path, optional
        Folder for the model (``NAME.safetensors``), ``history.csv``, and a checkpoint
        each epoch.
    name : str, optional
        Name of the model.
    init : ModelFile, optional
        Start from this model instead of random weights (fine-tuning).
    resume : bool
        Go on from the checkpoint in ``out``; where there is none, start. The result is
        that of training that was never interrupted; at most one epoch is done twice.
    progress : Progress
        Called after each step. When it raises `Cancelled`, training ends at once and
        leaves nothing. It may take its time: the training pauses meanwhile.
    on_event : callable, optional
        Called with dicts: ``start`` once, ``step`` about four times a second, ``epoch``
        after each epoch, ``note`` with a ``text``, ``end``. Steps and epochs carry
        ``epoch``, ``epochs``, ``loss``, ``dice``, ``lr``, ``images_per_second``,
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
    TrainingError
        If the data, the settings, the initial model or the checkpoint do not fit, if the
        loss is no number before the first epoch ends, or if the disk is full.
    DatasetError
        If ``data`` is a path that cannot be read.
    Cancelled
        If ``progress`` raised it.
    """
    if settings is None:
        settings = TrainingSettings() if init is None else TrainingSettings.for_recipe(init.header.recipe)
    run = _Run(settings, Path(out) if out is not None else None, name, init, on_event or (lambda event: None))
    with run.alone():
        progress(0, 0, "Reading the training images")
        pairs, described = _read(data)
        return run(
            pairs,
            training_data or described,
            resume,
            progress,
            should_stop or (lambda: False),
            preview,
            processes,
        )


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        settings: TrainingSettings,
        out: Path | None,
        name: str | None,
        init: ModelFile | None,
        emit: OnEvent,
    ) -> None:
        self.settings = settings
        self.out = out
        self.recipe = get_recipe(settings.recipe)
        self.name = clean_name(name or (f"{init.name}-tuned" if init else f"my-{settings.recipe}"))
        self.init = init
        self.emit = emit
        self.checkpoint = Checkpoint(out / "checkpoint") if out is not None else None
        if init is not None and init.header.recipe != settings.recipe:
            raise TrainingError(
                f"The model {init.name} is of the recipe {init.header.recipe}, and the settings say "
                f"{settings.recipe}: choose a model of that recipe, or train with {init.header.recipe}."
            )
        start = self.recipe.architecture
        if init is not None:
            # A model of an earlier version learns the outputs it lacks.
            start = init.architecture.with_outputs(start.outputs)
        self.architecture: UNetArchitecture = start.model_copy(update={"dropout": settings.dropout})

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in the same folder."""
        if self.checkpoint is None:
            yield
        else:
            with self.checkpoint.locked():
                yield

    def __call__(
        self,
        pairs: list[TrainingPair],
        training_data: str,
        resume: bool,
        progress: Progress,
        should_stop: Callable[[], bool],
        with_preview: bool,
        processes: int | None,
    ) -> TrainingResult:
        from ..network.device import describe_device, dtype_policy
        from .distribution import data_parallel

        settings = self.settings
        plan = make_plan(pairs, settings, self.init is not None)
        progress(0, 0, "Starting the training framework")
        keras = import_keras()
        report = describe_device()
        keras.utils.set_random_seed(settings.seed)
        with contextlib.ExitStack() as stack:
            feeder, validation = self._feeders(plan, report.kind, progress, processes, stack)
            feeders = [part for part in (feeder, validation) if part is not None]
            devices = stack.enter_context(data_parallel(feeders))
            policy = dtype_policy(settings.precision)
            model = self._build(policy)
            state = State(settings, fingerprint(pairs), self._network_id(), [])
            best = self._resume(model, state) if resume else None
            if not state.history and self.checkpoint is not None:
                self.checkpoint.discard()
            device = str(report) + (f"; {devices} of them work together" if devices > 1 else "")
            self._tell_start(plan, state, device, policy, len(feeder.batches), feeder.processes)
            loop = TrainingLoop(
                settings,
                state,
                best,
                feeder,
                validation,
                self.checkpoint,
                self._preview(plan) if with_preview else None,
                progress,
                self.emit,
                should_stop,
            )
            if not state.ended:
                try:
                    loop.fit(model)
                except Cancelled:
                    if self.checkpoint is not None:
                        self.checkpoint.discard()
                    raise
            weights = loop.best
            if weights is None:
                from ..network.unet import weights_of

                weights = weights_of(model)
        result = self._result(state, weights, device, policy, len(pairs), training_data)
        self.emit(
            {
                "event": "end",
                "text": state.ended,
                "model": str(result.model.path) if result.model.path else None,
                "best_epoch": state.best_epoch,
                "seconds": state.seconds,
            }
        )
        return result

    def _feeders(
        self,
        plan: TrainingPlan,
        device: str,
        progress: Progress,
        processes: int | None,
        stack: contextlib.ExitStack,
    ) -> tuple[Feeder, Feeder | None]:
        settings = self.settings
        preparing = min(available_cpus(), _MOST_HELPERS) if processes is None else processes
        training = self.recipe.batches(plan.training, settings, True, progress, preparing)
        wanted = helper_processes(device, training.heavy) if processes is None else processes
        feeder = Feeder(training, settings.epochs, wanted)
        stack.callback(feeder.close)
        if not plan.validation:
            return feeder, None
        kept = Feeder(
            self.recipe.batches(plan.validation, settings, False, progress), settings.epochs, keep=True
        )
        stack.callback(kept.close)
        return feeder, kept

    def _resume(self, model: keras.Model, state: State) -> dict[str, np.ndarray] | None:
        """Bring the model and the state to where the checkpoint left them; return the best weights."""
        if self.checkpoint is None or not self.checkpoint.exists:
            return None
        # The first step makes the optimiser's variables; building does so without a step.
        model.optimizer.build(model.trainable_variables)
        found, best = self.checkpoint.load(model)
        check_same(found, self.settings, state.data, state.network)
        state.history = found.history
        state.best_epoch = found.best_epoch
        state.seconds = found.seconds
        # One that had done its epochs may now have more to do.
        more = len(found.history) < self.settings.epochs and "plan" in found.ended
        state.ended = "" if more else found.ended
        return best

    def _preview(self, plan: TrainingPlan) -> Preview:
        return Preview(self.recipe.preview(plan.validation or plan.training, _PREVIEW_TILES))

    def _tell_start(
        self, plan: TrainingPlan, state: State, device: str, policy: str, steps: int, processes: int
    ) -> None:
        self.emit(
            {
                "event": "start",
                "name": self.name,
                "recipe": self.settings.recipe,
                "device": device,
                "precision": policy,
                "images": len(plan.training),
                "validation_images": len(plan.validation),
                "plan": " ".join(part for part in (plan.summary, plan.left_out_summary) if part),
                "steps": steps,
                "epochs": self.settings.epochs,
                "processes": processes,
                "resumed_from": len(state.history),
            }
        )
        for text in plan.notes:
            self.emit({"event": "note", "text": text})

    def _build(self, policy: str) -> keras.Model:
        from ..network.unet import build_unet, set_weights, weights_of

        keras = import_keras()
        model = build_unet(self.architecture, dtype=policy)
        if self.init is not None:
            set_weights(model, {**weights_of(model), **self.init.weights})
        model.compile(
            optimizer=keras.optimizers.Adam(self.settings.learning_rate),
            loss=self.recipe.loss,
            metrics=self.recipe.metrics(),
        )
        return model

    def _network_id(self) -> str:
        start = self.init.hash if self.init is not None else "random"
        return f"{start} {self.architecture.model_dump_json()}"

    def _result(
        self,
        state: State,
        weights: dict[str, np.ndarray],
        device: str,
        policy: str,
        images: int,
        training_data: str,
    ) -> TrainingResult:
        keras = import_keras()
        row = state.history[state.best_epoch - 1] if state.best_epoch else {}
        scores = {
            key if key.startswith("val_") else f"training_{key}": float(value)
            for key, value in row.items()
            if key.removeprefix("val_") in ("loss", "dice")
        }
        if self.init is not None:
            training_data += f"; starting from {self.init.id} ({self.init.header.training_data})"
        header = ModelHeader(
            name=self.name,
            recipe=self.recipe.name,
            architecture=self.architecture,
            canonical_diameter=self.init.header.canonical_diameter
            if self.init
            else self.recipe.canonical_diameter,
            input=self.recipe.input,
            training_data=training_data,
            training={
                **self.settings.model_dump(),
                "images": images,
                "epochs_done": len(state.history),
                "best_epoch": state.best_epoch,
                "seconds": round(state.seconds, 1),
                "device": device,
                "arithmetic": policy,
                "keras": f"{keras.__version__} on {keras.backend.backend()}",
                "ended": state.ended,
            },
            scores=scores,
            extra=self.init.header.extra if self.init else getattr(self.recipe, "extra", {}),
        )
        if self.out is None:
            model = make_model(header, weights)
        else:
            model = write_model(self.out / f"{self.name}{SUFFIX}", header, weights)
            _write_history(self.out / "history.csv", state.history)
        return TrainingResult(model, list(state.history), device, state.seconds, state.ended)


def _read(data: str | Path | Sequence[TrainingPair]) -> tuple[list[TrainingPair], str]:
    if isinstance(data, (str, Path)):
        from ..datasets.read import read_pairs

        pairs, where = read_pairs(data), f" from {Path(data).name}"
    else:
        pairs, where = list(data), ""
    return pairs, f"{counted(len(pairs), 'image')}{where}"


def _write_history(path: Path, history: list[dict[str, Any]]) -> None:
    import pandas as pd

    from ..files import write_atomically

    table = pd.DataFrame(history, columns=None if history else ["epoch"])
    write_atomically(path, table.to_csv(index=False).encode(), TrainingError)
