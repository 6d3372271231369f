"""What runs a network to predict: OpenVINO where it gains, ONNX Runtime elsewhere, Keras if asked."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...errors import ModelError, SettingsError
from ...settings import DeviceName, EngineName
from .openvino import OpenVinoEngine, openvino_gains

if TYPE_CHECKING:
    from ..architecture import UNetArchitecture
    from ..model_file import ModelFile

#: Execution providers of ONNX Runtime that beat its CPU one, best first, with their device.
_GPU_PROVIDERS = {
    "CUDAExecutionProvider": "NVIDIA GPU (CUDA)",
    "ROCMExecutionProvider": "AMD GPU (ROCm)",
    "MIGraphXExecutionProvider": "AMD GPU (MIGraphX)",
    "DmlExecutionProvider": "GPU (DirectML)",
    "CoreMLExecutionProvider": "Apple GPU or neural engine (Core ML)",
}
_CACHE_SIZE = 4
#: Environment variable for the threads of a process, where several share one machine.
THREADS_VARIABLE = "WBCSEG_THREADS"


class Engine(Protocol):
    """Runs one model."""

    @property
    def name(self) -> str:
        """``onnxruntime``, ``openvino`` or ``keras``."""

    @property
    def device(self) -> str:
        """The device in use, and why."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Predict a batch.

        Parameters
        ----------
        batch : ndarray of float32, shape (N, H, W, C)
            H and W divisible by ``architecture.multiple``.

        Returns
        -------
        ndarray of float32, shape (N, H, W, K)
            The heads of the network joined in order. It may be called from several threads.
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
        If there is no engine of this name, or it is not installed.
    ModelError
        If the engine cannot start on any device.
    """
    makers: dict[str, Callable[[], Engine]] = {
        "auto": lambda: _fastest(model, device),
        "onnxruntime": lambda: OnnxEngine(model, device=device),
        "openvino": lambda: OpenVinoEngine(model),
        "keras": lambda: KerasEngine(model),
    }
    if kind not in makers:
        raise SettingsError(f"There is no engine {kind!r}: choose one of {', '.join(makers)}.")
    key = (model.hash, kind, device)
    with _lock:
        if key in _engines:
            _engines.move_to_end(key)
        else:
            _engines[key] = makers[kind]()
            while len(_engines) > _CACHE_SIZE:
                _engines.popitem(last=False)
        return _engines[key]


def _fastest(model: ModelFile, device: DeviceName) -> Engine:
    if not openvino_gains():
        return OnnxEngine(model, device=device)
    if device == "auto":
        import onnxruntime

        if set(_GPU_PROVIDERS) & set(onnxruntime.get_available_providers()):
            engine = OnnxEngine(model)
            if engine.on_gpu:
                return engine
    return OpenVinoEngine(model)


_engines: OrderedDict[tuple[str, str, str], Engine] = OrderedDict()
_lock = threading.Lock()


class OnnxEngine:
    """Predicts with ONNX Runtime, on a GPU where its installation offers one that works."""

    name = "onnxruntime"
    on_gpu = False

    def __init__(self, model: ModelFile, threads: int | None = None, device: DeviceName = "auto") -> None:
        import onnxruntime

        from ..onnx_graph import onnx_bytes

        self._architecture = model.header.architecture
        graph = onnx_bytes(model)
        threads = threads or available_cpus()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin between windows would steal the cores that prepare the next ones.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        cpu = f"CPU, {threads} thread{'s' * (threads > 1)}"
        offered = onnxruntime.get_available_providers() if device == "auto" else []
        why = "the installed ONNX Runtime offers no GPU" if device == "auto" else "as set"
        self.device = f"{cpu}: {why}"
        self._session: Any = None
        for provider, gpu in _GPU_PROVIDERS.items():
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


def available_cpus() -> int:
    """Return how many processors this process may use; `THREADS_VARIABLE` allows it fewer or more."""
    wanted = os.environ.get(THREADS_VARIABLE, "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    try:
        return len(os.sched_getaffinity(0)) or 1
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def checked_batch(batch: np.ndarray, architecture: UNetArchitecture) -> np.ndarray:
    """Return a batch as float32, contiguous, or raise ValueError if a network does not take its shape."""
    batch = np.ascontiguousarray(batch, dtype=np.float32)
    multiple, channels = architecture.multiple, architecture.input_channels
    if (
        batch.ndim != 4
        or batch.shape[3] != channels
        or batch.shape[1] % multiple
        or batch.shape[2] % multiple
        or 0 in batch.shape[1:3]
    ):
        raise ValueError(
            f"The network takes (N, H, W, {channels}), H and W divisible by {multiple}, not {batch.shape}."
        )
    return batch
