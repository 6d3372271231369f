"""The network through Keras itself, on whatever device its backend has."""

from __future__ import annotations

import threading

import numpy as np

from ..device import describe_device
from ..model_file import ModelFile
from ..unet import build_unet, set_weights


class KerasEngine:
    """Predicts with the Keras model itself."""

    name = "keras"

    def __init__(self, model: ModelFile) -> None:
        self._model = build_unet(model.architecture)
        set_weights(self._model, model.first.weights)
        self.device = str(describe_device())
        self._batch_size = 0
        # Keras traces a function at the first call; two threads must not do so at once.
        self._lock = threading.Lock()

    def predict(self, batch: np.ndarray) -> np.ndarray:
        # Padded to the longest so far: TensorFlow and JAX compile the network anew for each new shape.
        count = len(batch)
        with self._lock:
            self._batch_size = max(self._batch_size, count)
            batch = np.pad(batch, [(0, self._batch_size - count), *[(0, 0)] * 3])
            return np.asarray(self._model.predict_on_batch(batch), np.float32)[:count]
