"""The network through Keras itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from .base import checked_batch

if TYPE_CHECKING:
    from ..model_file import ModelFile


class KerasEngine:
    """Predicts with the Keras model itself, on whatever device its backend has."""

    name = "keras"

    def __init__(self, model: ModelFile) -> None:
        from ..device import describe_device
        from ..unet import build_unet, set_weights

        self._architecture = model.header.architecture
        self._model = build_unet(self._architecture)
        set_weights(self._model, model.weights)
        report = describe_device()
        self.device = f"{report.name}: {report.why}"
        self._batch_size = 0
        # Keras traces a function at the first call; two threads must not do so at once.
        self._lock = threading.Lock()

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Predict a batch; see `Engine.predict`.

        A shorter batch than an earlier one is padded to its length, because TensorFlow and
        JAX compile the network anew for each new shape.
        """
        batch = checked_batch(batch, self._architecture)
        count = len(batch)
        if count == 0:
            return np.zeros((*batch.shape[:3], self._architecture.output_channels), np.float32)
        with self._lock:
            self._batch_size = max(self._batch_size, count)
            if count < self._batch_size:
                padding = np.zeros((self._batch_size - count, *batch.shape[1:]), np.float32)
                batch = np.concatenate([batch, padding])
            return np.asarray(self._model.predict_on_batch(batch), np.float32)[:count]
