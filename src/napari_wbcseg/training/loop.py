"""The course of a training: epochs, events, checkpoints, and what ends it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..network.backend import import_keras
from ..progress import Progress
from ..settings import TrainingSettings
from ..words import counted
from .batches import Feeder, fed_dataset
from .checkpoint import Checkpoint, State
from .preview import Preview

if TYPE_CHECKING:
    import keras

#: Told what happens: JSON-serialisable, with an ``event`` of start, step, epoch, note or end.
OnEvent = Callable[[dict[str, Any]], None]

STOPPED = "stopped by the user; the best weights so far are kept"
_STEP_EVENTS_EVERY = 0.25  # seconds
_PAUSE = 0.5  # seconds in a callback after which it was a pause


class _EndTraining(Exception):
    """Raised inside `fit`."""


class TrainingLoop:
    """Follows, records and ends the training of a model.

    Parameters
    ----------
    settings : TrainingSettings
    state : State
        Where the training stands; changed as it goes on.
    best : dict of ndarray or None
        The best weights so far.
    feeder, validation : Feeder
        The batches; ``validation`` is None where nothing is kept aside.
    checkpoint : Checkpoint or None
    preview : Preview or None
    progress, emit, should_stop : callable
        As `napari_wbcseg.training.train.train`.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        state: State,
        best: dict[str, np.ndarray] | None,
        feeder: Feeder,
        validation: Feeder | None,
        checkpoint: Checkpoint | None,
        preview: Preview | None,
        progress: Progress,
        emit: OnEvent,
        should_stop: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.state = state
        self.best = best
        self.monitor = "val_loss" if validation is not None else "loss"
        self.steps = len(feeder.batches)
        self._feeder = feeder
        self._dataset = fed_dataset(feeder)
        self._validation = None if validation is None else fed_dataset(validation, keep=True)
        self._checkpoint = checkpoint
        self._preview = preview
        self._progress = progress
        self._emit = emit
        self._should_stop = should_stop
        self._followers: list[Any] = []
        self._steps_done = 0
        self._epoch_started = 0.0
        self._steps_ended = 0.0
        self._last_event = 0.0
        self._rate = settings.learning_rate

    def fit(self, model: keras.Model) -> None:
        """Train from where the state stands until something ends it."""
        keras = import_keras()
        state, settings = self.state, self.settings
        self._followers = self._make_followers()
        self._dataset.epoch = len(state.history)  # Keras looks at a batch before the first epoch
        self._callback = keras.callbacks.LambdaCallback(
            on_train_begin=self._on_train_begin,
            on_epoch_begin=self._on_epoch_begin,
            on_train_batch_end=self._on_train_batch_end,
            on_epoch_end=self._on_epoch_end,
        )
        try:
            model.fit(
                self._dataset,
                validation_data=self._validation,
                epochs=settings.epochs,
                initial_epoch=len(state.history),
                shuffle=False,  # the batches are, so that it can be repeated
                callbacks=[*self._followers, self._callback],
                verbose=0,
            )
        except _EndTraining as end:
            state.ended = str(end)
        else:
            state.ended = (
                "all epochs done as planned"
                if len(state.history) >= settings.epochs
                else f"no progress for {counted(settings.early_stop_patience, 'epoch')}"
            )
        if self._checkpoint is not None and state.history and state.ended != STOPPED:
            self._checkpoint.save(model, state, None)

    @property
    def _model(self) -> Any:
        # On JAX the variables are away during an epoch; asking for the model brings them back.
        return self._callback.model

    def _make_followers(self) -> list[Any]:
        """Return Keras' own callbacks; replaying the history brings them to where they stood."""
        keras = import_keras()
        settings = self.settings
        followers: list[Any] = [
            keras.callbacks.EarlyStopping(
                monitor=self.monitor, patience=settings.early_stop_patience, mode="min"
            )
        ]
        if settings.schedule == "plateau":
            followers.append(
                keras.callbacks.ReduceLROnPlateau(
                    monitor=self.monitor,
                    factor=settings.plateau_factor,
                    patience=settings.plateau_patience,
                    min_lr=min(1e-7, settings.learning_rate),
                    mode="min",
                )
            )
        return followers

    # What Keras calls --------------------------------------------------------------------------------

    def _on_train_begin(self, logs: Any = None) -> None:
        model = self._model
        model.optimizer.learning_rate = self.settings.learning_rate
        for row in self.state.history:
            for follower in self._followers:
                follower.on_epoch_end(row["epoch"] - 1, dict(row))
        model.stop_training = False
        if self._preview is not None:
            self._emit(self._preview.scene())
            self._emit(self._preview.predict(model, len(self.state.history)))

    def _on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        keras = import_keras()
        self._dataset.epoch = epoch
        if keras.backend.backend() == "torch":
            # There, dropout draws from a global generator that no checkpoint holds.
            keras.utils.set_random_seed((self.settings.seed + epoch) % 2**32)
        optimizer = self._model.optimizer
        if self.settings.schedule == "cosine":
            optimizer.learning_rate = cosine_rate(self.settings, epoch)
        self._rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        self._steps_done = 0
        self._feeder.forget_waited()
        self._epoch_started = time.monotonic()

    def _on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps_done = batch + 1
        epoch = len(self.state.history)
        asked = time.monotonic()
        self._progress(
            epoch * self.steps + self._steps_done,
            self.settings.epochs * self.steps,
            f"Epoch {epoch + 1} of {self.settings.epochs}",
        )
        if self._should_stop():
            self._end(STOPPED)
        now = time.monotonic()
        if now - asked > _PAUSE:
            # Whoever was asked made the training pause: that is no time trained.
            self._epoch_started += now - asked
            self._feeder.forget_waited()
        self._steps_ended = now
        # Reading the loss waits for the device, so not at every step.
        if now - self._last_event < _STEP_EVENTS_EVERY and self._steps_done < self.steps:
            return
        self._last_event = now
        values = _floats(logs)
        self._check_finite(values)
        self._steps_ended = time.monotonic()
        self._emit({"event": "step", "step": self._steps_done, "steps": self.steps, **values, **self._pace()})
        if self._preview is not None and self._preview.due:
            self._emit(self._preview.predict(self._model, epoch + 1))

    def _on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        from ..network.unet import weights_of

        state = self.state
        values = _floats(logs)
        values.pop("learning_rate", None)
        self._check_finite(values)
        pace = self._pace(epoch_over=True)
        seconds = time.monotonic() - self._epoch_started
        state.seconds += seconds
        improved = all(values[self.monitor] < row[self.monitor] for row in state.history)
        model = self._model
        weights = weights_of(model)
        # A ReLU can turn NaN into 0, so that spoilt weights give a loss that looks sound.
        if not all(np.isfinite(value).all() for value in weights.values()):
            self._fail()
        row = {
            "epoch": epoch + 1,
            **values,
            "lr": self._rate,
            "images_per_second": pace["images_per_second"],
            "waiting": pace["waiting"],
            "seconds": round(seconds, 3),
        }
        state.history.append(row)
        if improved:
            self.best = weights
            state.best_epoch = epoch + 1
        if self._checkpoint is not None:
            self._checkpoint.save(model, state, weights if improved else None)
        self._emit({"event": "epoch", **row, **pace, "best": improved})
        if self._preview is not None and (self._preview.due or epoch + 1 == self.settings.epochs):
            self._emit(self._preview.predict(model, epoch + 1))

    # What is told, and what ends it ------------------------------------------------------------------

    def _check_finite(self, values: dict[str, float]) -> None:
        if not math.isfinite(values.get("loss", 0.0)):
            self._fail()

    def _fail(self) -> None:
        if self.best is None:
            raise TrainingError(
                "The loss or the weights are no longer numbers in the first epoch: lower the learning "
                f"rate (now {self.settings.learning_rate:g}), or train with precision float32."
            )
        self._end("the loss or the weights were no longer numbers; the best weights before that are kept")

    def _end(self, why: str) -> None:
        _ = self._model
        raise _EndTraining(why)

    def _pace(self, epoch_over: bool = False) -> dict[str, Any]:
        epochs, done = self.settings.epochs, len(self.state.history)
        stepping = max(self._steps_ended - self._epoch_started, 1e-6)
        part = self._steps_done / self.steps
        if epoch_over:
            # Validation included.
            left = (epochs - done - 1) * (time.monotonic() - self._epoch_started)
        elif self.state.history:
            left = (epochs - done - part) * self.state.seconds / done
        else:
            left = (epochs - part) * stepping / part
        return {
            "epoch": done + 1,
            "epochs": epochs,
            "lr": self._rate,
            "images_per_second": round(self._steps_done * self.settings.batch_size / stepping, 2),
            "waiting": round(min(self._feeder.waited / stepping, 1.0), 4),
            "seconds_left": round(max(left, 0.0), 1),
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
