"""The network through ONNX Runtime, which starts in a fraction of a second."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ModelError
from ...settings import DeviceName
from ...words import counted
from ..device import available_cpus
from .base import checked_batch

if TYPE_CHECKING:
    from ..model_file import ModelFile

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


def session_options(onnxruntime: ModuleType, threads: int) -> Any:
    """Return the options of every session of this package."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between windows would steal the cores that prepare the next ones.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


class OnnxEngine:
    """Predicts with ONNX Runtime, on a GPU where its installation offers one that works."""

    name = "onnxruntime"
    on_gpu = False

    def __init__(self, model: ModelFile, threads: int | None = None, device: DeviceName = "auto") -> None:
        from ..onnx_graph import onnx_bytes

        onnxruntime = import_onnxruntime()
        self._architecture = model.header.architecture
        graph = onnx_bytes(model)
        threads = threads or available_cpus()
        options = session_options(onnxruntime, threads)
        cpu = f"CPU, {counted(threads, 'thread')}"
        offered = onnxruntime.get_available_providers() if device == "auto" else []
        why = "the installed ONNX Runtime offers no GPU" if device == "auto" else "as set"
        self.device = f"{cpu}: {why}"
        self._session: Any = None
        for provider, gpu in GPU_PROVIDERS.items():
            if provider not in offered:
                continue
            reason = ""
            try:
                session = onnxruntime.InferenceSession(
                    graph, options, providers=[provider, "CPUExecutionProvider"]
                )
                # ONNX Runtime falls back silently, so ask what it took and try it.
                if session.get_providers()[0] == provider:
                    self._session = session
                    self._check()
                    self.on_gpu = True
                    self.device = f"{gpu}: ONNX Runtime's {provider} is installed and works"
                    return
                reason = "it could not be loaded"
            except Exception as error:  # any failure of a driver: the CPU always works
                reason = (
                    str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
                )
            self._session = None
            self.device = f"{cpu}: {provider} is installed but does not work ({reason})"
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise ModelError(f"ONNX Runtime cannot run the model {model.name}: {error}") from error

    def _check(self) -> None:
        side = self._architecture.multiple
        self.predict(np.zeros((1, side, side, self._architecture.input_channels), np.float32))

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Predict a batch; see `Engine.predict`."""
        batch = checked_batch(batch, self._architecture)
        if len(batch) == 0:
            return np.zeros((*batch.shape[:3], self._architecture.output_channels), np.float32)
        return np.asarray(self._session.run(None, {"image": batch})[0])
