"""Training a network: one loop for every recipe, on whatever backend Keras has."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Cancelled, TrainingError
from ..progress import Progress, silent
from ..settings import TrainingSettings
from .architecture import UNetArchitecture
from .backend import import_keras
from .checkpoint import Checkpoint, State, check_same, fingerprint
from .model_file import SUFFIX, ModelFile, ModelHeader, make_model, write_model
from .models import clean_name
from .recipes import get_recipe

if TYPE_CHECKING:
    import keras

    from ..data.pairs import TrainingPair

#: Told what happens: JSON-serialisable, with an ``event`` of start, step, epoch, note or end.
OnEvent = Callable[[dict[str, Any]], None]

_STEP_EVENTS_EVERY = 0.25  # seconds


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
        ``images_per_second``, ``seconds``.
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
) -> TrainingResult:
    """Train a network and return its best weights as a model.

    The best epoch is the one with the lowest loss: of the validation images when some
    are kept aside (``validation_fraction``), else, as published, of the training images.
    The same loss drives the learning rate's plateau and the early stop. With one seed,
    training on one CPU gives the same curve each time.

    Parameters
    ----------
    data : str, Path or sequence of TrainingPair
        What `napari_wbcseg.data.pairs.read_pairs` reads, or the pairs.
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
        leaves nothing.
    on_event : callable, optional
        Called with dicts: ``start`` once, ``step`` about four times a second, ``epoch``
        after each epoch, ``note`` with a ``text``, ``end``. Steps and epochs carry
        ``epoch``, ``epochs``, ``loss``, ``dice``, ``lr``, ``images_per_second``,
        ``seconds_left``; epochs also ``val_loss``, ``val_dice`` and ``best``.
    should_stop : callable, optional
        Asked after each step; when it returns True, training ends and the best weights so
        far are kept.
    training_data : str, optional
        What the data is, in words, for the model file.

    Returns
    -------
    TrainingResult

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
    settings = settings or default_settings(init)
    run = _Run(settings, Path(out) if out is not None else None, name, init, on_event or _ignore)
    progress(0, 0, "Reading the training images")
    pairs, described = _read(data)
    return run(pairs, training_data or described, resume, progress, should_stop or _never)


def default_settings(init: ModelFile | None) -> TrainingSettings:
    """Return the settings taken when none are given."""
    return TrainingSettings.for_recipe(init.header.recipe) if init is not None else TrainingSettings()


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
        start = init.architecture if init is not None else self.recipe.architecture
        self.architecture: UNetArchitecture = start.model_copy(update={"dropout": settings.dropout})

    def __call__(
        self,
        pairs: list[TrainingPair],
        training_data: str,
        resume: bool,
        progress: Progress,
        should_stop: Callable[[], bool],
    ) -> TrainingResult:
        progress(0, 0, "Starting the training framework")
        from .device import describe_device

        settings = self.settings
        keras = import_keras()
        report = describe_device()
        keras.utils.set_random_seed(settings.seed)
        train_pairs, validation_pairs = split_validation(pairs, settings.validation_fraction, settings.seed)
        dataset = self.recipe.dataset(train_pairs, settings, training=True)
        validation = (
            self.recipe.dataset(validation_pairs, settings, training=False) if validation_pairs else None
        )
        policy = dtype_policy(settings.precision)
        model = self._build(policy)
        state = State(settings, fingerprint(pairs), self._network_id(), [])
        best: dict[str, np.ndarray] | None = None
        resumed = resume and self.checkpoint is not None and self.checkpoint.exists
        if resumed and self.checkpoint is not None:
            # The first step makes the optimiser's variables; building does so without a step.
            model.optimizer.build(model.trainable_variables)
            found, best = self.checkpoint.load(model)
            check_same(found, settings, state.data, state.network)
            found.settings = settings
            if found.ended and len(found.history) < settings.epochs and "plan" in found.ended:
                found.ended = ""  # it had done its epochs, and now has more to do
            state = found
        elif self.checkpoint is not None:
            self.checkpoint.discard()
        self.emit(
            {
                "event": "start",
                "name": self.name,
                "recipe": settings.recipe,
                "device": str(report),
                "precision": policy,
                "images": len(train_pairs),
                "validation_images": len(validation_pairs),
                "steps": len(dataset),
                "epochs": settings.epochs,
                "resumed_from": len(state.history),
            }
        )
        if settings.validation_fraction and not validation_pairs:
            self.emit(
                {
                    "event": "note",
                    "text": "All images belong together, so none was kept aside for validation: "
                    "progress is judged on the training images.",
                }
            )
        loop = _loop(self, state, best, dataset, validation, progress, should_stop)
        if not state.ended:
            try:
                loop.fit(model)
            except Cancelled:
                if self.checkpoint is not None:
                    self.checkpoint.discard()
                raise
        weights = loop.best
        if weights is None:
            weights = loop.current(model)
        result = self._result(loop, weights, str(report), policy, len(pairs), training_data)
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

    def _build(self, policy: str) -> keras.Model:
        from .unet import build_unet, set_weights

        keras = import_keras()
        model = build_unet(self.architecture, dtype=policy)
        if self.init is not None:
            set_weights(model, self.init.weights)
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
        loop: Any,
        weights: dict[str, np.ndarray],
        device: str,
        policy: str,
        images: int,
        training_data: str,
    ) -> TrainingResult:
        keras = import_keras()
        state: State = loop.state
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


class _EndTraining(Exception):
    """Raised inside `fit`."""


def _loop(
    run: _Run,
    state: State,
    best: dict[str, np.ndarray] | None,
    dataset: Any,
    validation: Any,
    progress: Progress,
    should_stop: Callable[[], bool],
) -> Any:
    """Return the callback that follows, records and ends the training."""
    keras = import_keras()
    settings = run.settings

    class Loop(keras.callbacks.Callback):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.state = state
            self.best = best
            self.steps = len(dataset)
            self.steps_done = 0
            self.epoch_started = 0.0
            self.last_event = 0.0

        def fit(self, model: Any) -> None:
            """Train from where the state stands until something ends it."""
            monitor = "val_loss" if validation is not None else "loss"
            # They are those of Keras, brought to where they stood by replaying the history.
            followers: list[Any] = [
                keras.callbacks.EarlyStopping(
                    monitor=monitor, patience=settings.early_stop_patience, mode="min"
                ),
            ]
            if settings.schedule == "plateau":
                followers.append(
                    keras.callbacks.ReduceLROnPlateau(
                        monitor=monitor,
                        factor=settings.plateau_factor,
                        patience=settings.plateau_patience,
                        min_lr=min(1e-7, settings.learning_rate),
                        mode="min",
                    )
                )
            self.monitor = monitor
            self.followers = followers
            try:
                model.fit(
                    dataset,
                    validation_data=validation,
                    epochs=settings.epochs,
                    initial_epoch=len(state.history),
                    shuffle=False,  # the dataset does it, so that it can be repeated
                    callbacks=[*followers, self],
                    verbose=0,
                )
            except _EndTraining as end:
                state.ended = str(end)
            else:
                state.ended = (
                    "all epochs done as planned"
                    if len(state.history) >= settings.epochs
                    else f"no progress for {settings.early_stop_patience} epochs"
                )
            if run.checkpoint is not None and state.history and state.ended != _STOPPED:
                run.checkpoint.save(model, state, None)

        def current(self, model: Any) -> dict[str, np.ndarray]:
            from .unet import weights_of

            return weights_of(model)

        def on_train_begin(self, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = settings.learning_rate
            for row in state.history:
                for follower in self.followers:
                    follower.on_epoch_end(row["epoch"] - 1, dict(row))
            self.model.stop_training = False

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            dataset.epoch = epoch
            if keras.backend.backend() == "torch":
                # There, dropout draws from a global generator that no checkpoint holds.
                keras.utils.set_random_seed((settings.seed + epoch) % 2**32)
            self.steps_done = 0
            self.epoch_started = time.monotonic()
            if settings.schedule == "cosine":
                self.model.optimizer.learning_rate = cosine_rate(settings, epoch)
            self.rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps_done = batch + 1
            epoch = len(state.history)
            progress(
                epoch * self.steps + self.steps_done,
                settings.epochs * self.steps,
                f"Epoch {epoch + 1} of {settings.epochs}",
            )
            if should_stop():
                self._end(_STOPPED)
            now = time.monotonic()
            # Reading the loss waits for the device, so not at every step.
            if now - self.last_event < _STEP_EVENTS_EVERY and self.steps_done < self.steps:
                return
            self.last_event = now
            values = _floats(logs)
            self._check_finite(values)
            run.emit(
                {"event": "step", "step": self.steps_done, "steps": self.steps, **values, **self._pace()}
            )

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            values = _floats(logs)
            values.pop("learning_rate", None)
            self._check_finite(values)
            pace = self._pace(epoch_over=True)
            seconds = time.monotonic() - self.epoch_started
            state.seconds += seconds
            earlier = [row[self.monitor] for row in state.history]
            improved = all(values[self.monitor] < other for other in earlier)
            weights = self.current(self.model)
            # A ReLU can turn NaN into 0, so that spoilt weights give a loss that looks sound.
            if not all(np.isfinite(value).all() for value in weights.values()):
                self._fail()
            row = {
                "epoch": epoch + 1,
                **values,
                "lr": self.rate,
                "images_per_second": pace["images_per_second"],
                "seconds": round(seconds, 3),
            }
            state.history.append(row)
            if improved:
                self.best = weights
                state.best_epoch = epoch + 1
            if run.checkpoint is not None:
                run.checkpoint.save(self.model, state, weights if improved else None)
            run.emit({"event": "epoch", **row, **pace, "best": improved})

        def _check_finite(self, values: dict[str, float]) -> None:
            if not math.isfinite(values.get("loss", 0.0)):
                self._fail()

        def _fail(self) -> None:
            if self.best is None:
                raise TrainingError(
                    "The loss or the weights are no longer numbers in the first epoch: lower the learning "
                    f"rate (now {settings.learning_rate:g}), or train with precision float32."
                )
            self._end("the loss or the weights were no longer numbers; the best weights before that are kept")

        def _end(self, why: str) -> None:
            # On JAX the variables are away during an epoch; asking for the model brings them back.
            _ = self.model
            raise _EndTraining(why)

        def _pace(self, epoch_over: bool = False) -> dict[str, Any]:
            elapsed = max(time.monotonic() - self.epoch_started, 1e-6)
            done = len(state.history) + (1 if epoch_over else 0)
            part = 0.0 if epoch_over else self.steps_done / self.steps
            an_epoch = elapsed if epoch_over else elapsed / part
            return {
                "epoch": len(state.history) + 1,
                "epochs": settings.epochs,
                "lr": self.rate,
                "images_per_second": round(self.steps_done * settings.batch_size / elapsed, 2),
                "seconds_left": round((settings.epochs - done - part) * an_epoch, 1),
            }

    return Loop()


def cosine_rate(settings: TrainingSettings, epoch: int) -> float:
    """Return the learning rate of an epoch (from 0): down along half a cosine to a hundredth."""
    part = epoch / max(settings.epochs - 1, 1)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


_STOPPED = "stopped by the user; the best weights so far are kept"


def split_validation(
    pairs: Sequence[TrainingPair], fraction: float, seed: int
) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Keep whole groups of pairs aside for validation.

    Parameters
    ----------
    pairs : sequence of TrainingPair
    fraction : float
        Share of the pairs to reach; groups are drawn until it is reached, at least one,
        and at least one is left to train on. With a single group nothing is kept aside.
    seed : int

    Returns
    -------
    training, validation : list of TrainingPair
        In the order given.
    """
    groups = sorted({pair.group for pair in pairs})
    if fraction <= 0 or len(groups) < 2:
        return list(pairs), []
    sizes = {group: sum(pair.group == group for pair in pairs) for group in groups}
    order = np.random.default_rng((seed, 0x5EED)).permutation(len(groups))
    kept: set[str] = set()
    count = 0
    for i in order[:-1]:
        group = groups[i]
        # One group too many may be further from the wanted share than one too few.
        if kept and abs(count + sizes[group] - fraction * len(pairs)) > abs(count - fraction * len(pairs)):
            continue
        kept.add(group)
        count += sizes[group]
        if count >= fraction * len(pairs):
            break
    return [pair for pair in pairs if pair.group not in kept], [pair for pair in pairs if pair.group in kept]


def dtype_policy(precision: str) -> str:
    """Return the Keras dtype policy for a precision setting on this device.

    ``auto`` takes mixed bfloat16, with float32 weights and outputs, where it was measured
    to gain: TensorFlow on processors with bfloat16 instructions (0.29 s a step against
    0.74 s), and GPUs that compute in it. Unlike float16 it needs no scaling of the loss.
    """
    if precision == "float32":
        return "float32"
    if precision == "mixed":
        return "mixed_bfloat16"
    from .device import cpu_flags, describe_device

    report = describe_device()
    if report.kind == "tpu":
        return "mixed_bfloat16"
    if report.kind == "gpu":
        return "mixed_bfloat16" if _gpu_has_bfloat16(report.backend) else "float32"
    if report.backend == "tensorflow" and cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        return "mixed_bfloat16"
    return "float32"


def _gpu_has_bfloat16(backend: str) -> bool:
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    if backend == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        return bool(capability[0] >= 8)
    return False


def _read(data: str | Path | Sequence[TrainingPair]) -> tuple[list[TrainingPair], str]:
    if isinstance(data, (str, Path)):
        from ..data.pairs import read_pairs

        pairs, where = read_pairs(data), f" from {Path(data).name}"
    else:
        pairs, where = list(data), ""
    if not pairs:
        raise TrainingError("There is no training image: give at least one with its labels.")
    if not any((pair.labels > 0).any() for pair in pairs):
        raise TrainingError("None of the training images has a labelled cell: outline some first.")
    return pairs, f"{len(pairs)} image{'s' * (len(pairs) > 1)}{where}"


def _write_history(path: Path, history: list[dict[str, Any]]) -> None:
    import csv
    import io

    from .files import write_atomically

    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]) if history else ["epoch"])
    writer.writeheader()
    writer.writerows(history)
    write_atomically(path, text.getvalue().encode(), TrainingError)


def _floats(logs: Any) -> dict[str, float]:
    return {key: float(value) for key, value in (logs or {}).items()}


def _ignore(event: dict[str, Any]) -> None:
    pass


def _never() -> bool:
    return False
