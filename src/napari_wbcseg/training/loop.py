"""The course of a training: epochs, events, checkpoints, and what ends it."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Cancelled, TrainingError
from ..network.backend import KerasModel, import_keras
from ..network.unet import weights_of
from ..progress import Progress
from ..settings import TrainingSettings
from ..words import counted
from .batches import Batch, Batches, Feeder, as_dataset
from .checkpoint import Checkpoint, State
from .preview import Preview

#: Told what happens: JSON-serialisable, with an ``event`` of start, step, epoch, note or end.
OnEvent = Callable[[dict[str, Any]], None]

STOPPED = "stopped by the user; the best weights so far are kept"
_STOPPED_AT_ONCE = (
    "stopped by the user in the first epoch; the weights are as they were then, and not validated"
)
_STEP_EVENTS_EVERY = 0.25  # seconds
_PAUSE = 0.5  # seconds in a callback after which it was a pause


class _EndTraining(Exception):
    """Raised inside `fit`."""


@dataclass
class TrainingLoop:
    """Follows, records and ends the training of a model.

    Attributes
    ----------
    settings : TrainingSettings
    state : State
        Where the training stands; changed as it goes on.
    feeder : Feeder
        The batches to train on.
    validation : Batches or None
        Those to validate on, drawn once.
    checkpoint : Checkpoint or None
    preview : Preview or None
    progress, emit, should_stop : callable
        As `napari_wbcseg.training.train.train`.
    """

    settings: TrainingSettings
    state: State
    feeder: Feeder[Batch]
    validation: Batches | None
    checkpoint: Checkpoint | None
    preview: Preview | None
    progress: Progress
    emit: OnEvent
    should_stop: Callable[[], bool]

    def __post_init__(self) -> None:
        self._monitor = "loss" if self.validation is None else "val_loss"
        # The loss of samples that are ever new says not which epoch is the best one.
        self._to_the_end = self.settings.keeps_the_last(validated=self.validation is not None)
        self._dataset = as_dataset(self.feeder.get, self.feeder.steps)
        self._dataset.epoch = len(self.state.history)  # Keras looks at a batch before the first epoch
        self._step = 0  # of the present epoch, done
        self._rate = self.settings.learning_rate
        self._epoch_started = self._last_event = 0.0
        self._no_progress = f"no progress for {counted(self.settings.early_stop_patience, 'epoch')}"

    def fit(self, model: KerasModel) -> None:
        """Train from where the state stands until something ends it; do nothing where it has ended.

        Raises
        ------
        Cancelled
            If ``progress`` raised it; no checkpoint is left.
        TrainingError
            If the loss is no number before the first epoch ends, or the disk is full.
        """
        if self.state.ended:
            return
        keras = import_keras()
        state, settings, kept = self.state, self.settings, self.validation
        self._followers = self._make_followers()
        self._callback = keras.callbacks.LambdaCallback(
            on_train_begin=self._on_train_begin,
            on_epoch_begin=self._on_epoch_begin,
            on_train_batch_end=self._on_train_batch_end,
            on_epoch_end=self._on_epoch_end,
        )
        try:
            model.fit(
                self._dataset,
                validation_data=None if kept is None else as_dataset(functools.cache(kept.draw), kept.steps),
                epochs=settings.epochs,
                initial_epoch=len(state.history),
                shuffle=False,  # the batches are, so that it can be repeated
                callbacks=[*self._followers, self._callback],
                verbose=0,
            )
        except Cancelled:
            if self.checkpoint is not None:
                self.checkpoint.discard()
            raise
        except _EndTraining as end:
            state.ended = str(end)
        else:
            as_planned = len(state.history) >= settings.epochs
            state.ended = "all epochs done as planned" if as_planned else self._no_progress
        if self.checkpoint is not None and state.history and state.ended != STOPPED:
            self.checkpoint.save(model, state)

    @property
    def _model(self) -> Any:
        # On JAX the variables are away during an epoch; asking for the model brings them back.
        return self._callback.model

    def _make_followers(self) -> list[Any]:
        """Return Keras' own callbacks; replaying the history brings them to where they stood."""
        callbacks, settings = import_keras().callbacks, self.settings
        stop = callbacks.EarlyStopping(self._monitor, patience=settings.early_stop_patience, mode="min")
        if settings.schedule == "cosine":
            along = callbacks.LearningRateScheduler(lambda epoch, rate: cosine_rate(settings, epoch))
            return [along] if self._to_the_end else [stop, along]
        factor, patience = settings.plateau_factor, settings.plateau_patience
        least = min(1e-7, settings.learning_rate)
        return [stop, callbacks.ReduceLROnPlateau(self._monitor, factor, patience, mode="min", min_lr=least)]

    # What Keras calls --------------------------------------------------------------------------------

    def _on_train_begin(self, logs: Any = None) -> None:
        model = self._model
        model.optimizer.learning_rate = self.settings.learning_rate
        for row in self.state.history:
            for follower in self._followers:
                follower.on_epoch_end(row["epoch"] - 1, dict(row))
        if model.stop_training:  # the process died before it could write that this was the last epoch
            self._end(self._no_progress)
        if self.preview is not None:
            self.emit(self.preview.scene())
        self._show_preview(len(self.state.history), always=True)

    def _on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        keras = import_keras()
        self._dataset.epoch = epoch
        if keras.backend.backend() == "torch":
            # There, dropout draws from a global generator that no checkpoint holds.
            keras.utils.set_random_seed((self.settings.seed + epoch) % 2**32)
        self._rate = float(keras.ops.convert_to_numpy(self._model.optimizer.learning_rate))
        self._step = 0
        self.feeder.waited = 0.0
        self._epoch_started = time.monotonic()

    def _on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step = batch + 1
        epoch, epochs, steps = len(self.state.history), self.settings.epochs, self.feeder.steps
        asked = time.monotonic()
        self.progress(epoch * steps + self._step, epochs * steps, f"Epoch {epoch + 1} of {epochs}")
        if self.should_stop():
            self._end(STOPPED if self.state.history else _STOPPED_AT_ONCE)
        now = time.monotonic()
        if now - asked > _PAUSE:
            # Whoever was asked made the training pause: that is no time trained.
            self._epoch_started += now - asked
            self.feeder.waited = 0.0
        # Reading the loss waits for the device, so not at every step.
        if now - self._last_event < _STEP_EVENTS_EVERY and self._step < steps:
            return
        values = _floats(logs)
        self._last_event = time.monotonic()
        self._require_numbers(values["loss"])
        where = {"step": self._step, "steps": steps, "epoch": epoch + 1, "lr": self._rate}
        self.emit({"event": "step", **where, **values, **self._pace(epoch + self._step / steps)})
        self._show_preview(epoch + 1)

    def _on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        state, model = self.state, self._model
        values = _floats(logs)
        values.pop("learning_rate", None)  # told as ``lr``
        seconds = time.monotonic() - self._epoch_started
        weights = weights_of(model)
        # A ReLU can turn NaN into 0, so that spoilt weights give a loss that looks sound.
        self._require_numbers(values["loss"], *weights.values())
        earlier = (row[self._monitor] for row in state.history)
        # What is no number, as a validation loss may be, is never the best.
        improved = values[self._monitor] < min(filter(math.isfinite, earlier), default=math.inf)
        row = {"epoch": epoch + 1, **values, "lr": self._rate}
        state.history.append(row)
        state.seconds += seconds
        pace = self._pace(epoch + 1)
        row |= {key: pace[key] for key in ("images_per_second", "waiting")} | {"seconds": round(seconds, 3)}
        if improved or self._to_the_end:
            state.best, state.best_epoch = weights, epoch + 1
        if self.checkpoint is not None:
            self.checkpoint.save(model, state)
        self.emit({"event": "epoch", **row, **pace, "best": improved and not self._to_the_end})
        self._show_preview(epoch + 1, always=epoch + 1 == self.settings.epochs)

    # What is told, and what ends it ------------------------------------------------------------------

    def _show_preview(self, epoch: int, always: bool = False) -> None:
        if self.preview is not None and (always or self.preview.due):
            self.emit(self.preview.predict(self._model, epoch))

    def _require_numbers(self, *values: float | np.ndarray) -> None:
        if all(np.isfinite(value).all() for value in values):
            return
        if self.state.best is None:
            raise TrainingError(
                "The loss or the weights are no longer numbers in the first epoch: lower the learning "
                f"rate (now {self.settings.learning_rate:g}), or train with precision float32."
            )
        self._end("the loss or the weights were no longer numbers; the best weights before that are kept")

    def _end(self, why: str) -> None:
        _ = self._model
        raise _EndTraining(why)

    def _pace(self, passed: float) -> dict[str, Any]:
        """Return how fast the epoch goes or went, and how long the rest takes when so many have passed."""
        stepping = max(self._last_event - self._epoch_started, 1e-6)
        done = len(self.state.history)
        # Whole epochs include the validation.
        epoch_seconds = self.state.seconds / done if done else stepping / passed
        return {
            "epochs": self.settings.epochs,
            "images_per_second": round(self._step * self.settings.batch_size / stepping, 2),
            "waiting": round(min(self.feeder.waited / stepping, 1.0), 4),
            "seconds_left": round((self.settings.epochs - passed) * epoch_seconds, 1),
        }


def cosine_rate(settings: TrainingSettings, epoch: int) -> float:
    """Return the learning rate of an epoch (from 0): down along half a cosine to a hundredth.

    Examples
    --------
    >>> settings = TrainingSettings(epochs=3, learning_rate=0.1)
    >>> [round(cosine_rate(settings, epoch), 4) for epoch in range(3)]
    [0.1, 0.0505, 0.001]
    """
    part = epoch / max(settings.epochs - 1, 1)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))


def _floats(logs: Any) -> dict[str, float]:
    return {key: float(value) for key, value in (logs or {}).items()}
