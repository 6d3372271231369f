"""The engine of a model: OpenVINO where it gains, ONNX Runtime elsewhere, Keras if asked."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np

from ...settings import DeviceName, EngineName
from ..model_file import ModelFile
from ..onnx_graph import onnx_bytes
from .keras import KerasEngine
from .onnx import GPU_PROVIDERS, OnnxEngine, import_onnxruntime
from .openvino import OpenVinoEngine, openvino_gains

_CACHE_SIZE = 4


class Engine(Protocol):
    """Runs one model; it may be called from several threads.

    Attributes
    ----------
    name : str
        ``onnxruntime``, ``openvino`` or ``keras``.
    device : str
        The device in use, and why.
    """

    name: str
    device: str

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Predict a batch.

        Parameters
        ----------
        batch : ndarray of float32, shape (N, H, W, C)
            H and W divisible by ``architecture.multiple``.

        Returns
        -------
        ndarray of float32, shape (N, H, W, K)
            The heads of the network joined in order.
        """


def create_engine(model: ModelFile, kind: EngineName = "auto", device: DeviceName = "auto") -> Engine:
    """Return an engine for a model; the last few are kept, so asking again costs nothing.

    Parameters
    ----------
    model : ModelFile
    kind : {"auto", "onnxruntime", "openvino", "keras"}
        ``auto`` is ONNX Runtime on a GPU that its installation offers, else OpenVINO where it is
        installed and the processor computes in bfloat16, else ONNX Runtime.
    device : {"auto", "cpu"}
        For ONNX Runtime; Keras computes where its backend does, OpenVINO on the processor.

    Raises
    ------
    SettingsError
        If the engine is not installed.
    ModelError
        If the engine cannot start on any device.
    """
    key = (model.hash, kind, device)
    with _lock:
        # The one asked for becomes the last of those kept.
        _engines[key] = _engines.pop(key) if key in _engines else _started(model, kind, device)
        while len(_engines) > _CACHE_SIZE:
            del _engines[next(iter(_engines))]
        return _engines[key]


def _started(model: ModelFile, kind: EngineName, device: DeviceName) -> Engine:
    if kind == "auto" and openvino_gains():
        if device == "auto" and set(GPU_PROVIDERS) & set(import_onnxruntime().get_available_providers()):
            engine = OnnxEngine(model)
            if engine.on_gpu:
                return engine
        kind = "openvino"
    if kind == "openvino":
        return OpenVinoEngine(onnx_bytes(model), model.name)
    return KerasEngine(model) if kind == "keras" else OnnxEngine(model, device=device)


_engines: dict[tuple[str, str, str], Engine] = {}
_lock = threading.Lock()
