"""The network through ONNX Runtime, which starts in a fraction of a second."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

import numpy as np

from ...errors import ModelError, first_line
from ...settings import DeviceName
from ...words import counted
from ..device import available_cpus
from ..model_file import ModelFile
from ..onnx_graph import onnx_bytes

#: Execution providers of ONNX Runtime that beat its CPU one, best first, with their device.
GPU_PROVIDERS = {
    "CUDAExecutionProvider": "NVIDIA GPU (CUDA)",
    "ROCMExecutionProvider": "AMD GPU (ROCm)",
    "MIGraphXExecutionProvider": "AMD GPU (MIGraphX)",
    "DmlExecutionProvider": "GPU (DirectML)",
    "CoreMLExecutionProvider": "Apple GPU or neural engine (Core ML)",
}


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, which from 1.32 on prepares to report its use unless it is kept from it before."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")


def open_session(graph: bytes, threads: int, *providers: str) -> Any:
    """Return a session of a network in ONNX, by one of these execution providers or else on the processor."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between windows would steal the cores that prepare the next ones.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=[*providers, "CPUExecutionProvider"])


class OnnxEngine:
    """Predicts with ONNX Runtime, on a GPU where its installation offers one that works.

    Parameters
    ----------
    model : ModelFile
    threads : int, optional
        By default as many as this process may use.
    device : {"auto", "cpu"}

    Raises
    ------
    ModelError
        If it cannot run the model.
    """

    name = "onnxruntime"
    on_gpu = False

    def __init__(self, model: ModelFile, threads: int | None = None, device: DeviceName = "auto") -> None:
        threads, graph = threads or available_cpus(), onnx_bytes(model)
        why = "the installed ONNX Runtime offers no GPU" if device == "auto" else "as set"
        offered = import_onnxruntime().get_available_providers() if device == "auto" else []
        for provider in [name for name in GPU_PROVIDERS if name in offered]:
            try:
                self._session = open_session(graph, threads, provider)
                # ONNX Runtime falls back silently, so ask what it took and try it.
                if self._session.get_providers()[0] != provider:
                    raise RuntimeError("it could not be loaded")
                side, channels = model.architecture.multiple, model.architecture.input_channels
                self.predict(np.zeros((1, side, side, channels), np.float32))
            except Exception as error:  # any failure of a driver: the CPU always works
                why = f"{provider} is installed but does not work ({first_line(error)[:120]})"
            else:
                self.on_gpu = True
                self.device = f"{GPU_PROVIDERS[provider]}: ONNX Runtime's {provider} is installed and works"
                return
        self.device = f"CPU, {counted(threads, 'thread')}: {why}"
        try:
            self._session = open_session(graph, threads)
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise ModelError(f"ONNX Runtime cannot run the model {model.name}: {error}") from error

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run(None, {"image": batch})[0])
