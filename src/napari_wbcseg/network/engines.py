"""What runs a network to predict: OpenVINO where it gains, ONNX Runtime elsewhere.

ONNX Runtime starts in a fraction of a second; OpenVINO is twice as fast on processors that know bfloat16.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ..errors import ModelError, SettingsError, first_line
from ..settings import DeviceName, EngineName
from ..words import counted
from .device import available_cpus
from .model_file import ModelFile
from .onnx_graph import onnx_bytes

#: Execution providers of ONNX Runtime that beat its CPU one, best first, with their device.
GPU_PROVIDERS = {
    "CUDAExecutionProvider": "NVIDIA GPU (CUDA)",
    "ROCMExecutionProvider": "AMD GPU (ROCm)",
    "MIGraphXExecutionProvider": "AMD GPU (MIGraphX)",
    "DmlExecutionProvider": "GPU (DirectML)",
    "CoreMLExecutionProvider": "Apple GPU or neural engine (Core ML)",
}
_CACHE_SIZE = 4
_TELEMETRY = "openvino_telemetry"


class Engine(Protocol):
    """Runs one model; it may be called from several threads.

    Attributes
    ----------
    name : str
        ``onnxruntime`` or ``openvino``.
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
    kind : {"auto", "onnxruntime", "openvino"}
        ``auto`` is ONNX Runtime on a GPU that its installation offers, else OpenVINO where it is
        installed and the processor computes in bfloat16, else ONNX Runtime.
    device : {"auto", "cpu"}
        For ONNX Runtime; OpenVINO computes on the processor.

    Raises
    ------
    SettingsError
        If OpenVINO is asked for and not installed.
    ModelError
        If the engine cannot start on any device.
    """
    key = (model.hash, kind, device)
    with _engines_lock:
        # The one asked for becomes the last of those kept.
        _engines[key] = _engines.pop(key) if key in _engines else _start_engine(model, kind, device)
        while len(_engines) > _CACHE_SIZE:
            del _engines[next(iter(_engines))]
        return _engines[key]


def _start_engine(model: ModelFile, kind: EngineName, device: DeviceName) -> Engine:
    if kind == "auto" and openvino_gains():
        if device == "auto" and set(GPU_PROVIDERS) & set(import_onnxruntime().get_available_providers()):
            engine = OnnxEngine(model)
            if engine.on_gpu:
                return engine
        kind = "openvino"
    if kind == "openvino":
        return OpenVinoEngine(onnx_bytes(model), model.name)
    return OnnxEngine(model, device=device)


_engines: dict[tuple[str, str, str], Engine] = {}
_engines_lock = threading.Lock()


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


class OpenVinoEngine:
    """Predicts with OpenVINO on the processor.

    Parameters
    ----------
    graph : bytes
        The network in ONNX.
    name : str
        Of the model.

    Raises
    ------
    SettingsError
        If OpenVINO is not installed.
    ModelError
        If it cannot run the model.
    """

    name = "openvino"

    def __init__(self, graph: bytes, name: str) -> None:
        threads = available_cpus()
        try:
            precision, kind = ("bf16", "bfloat16") if processor_has_bfloat16() else ("f32", "float32")
            options = {
                "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                # Bound to cores of their own, the threads of two processes would share one.
                "ENABLE_CPU_PINNING": False,
            }
            network = _channels_first(_openvino_core().read_model(graph))
            self._request = _openvino_core().compile_model(network, "CPU", options).create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot run the model {name}: {error}") from error
        # A request is for one caller at a time, and uses all threads as it is.
        self._lock = threading.Lock()
        self.device = (
            f"CPU, {counted(threads, 'thread')}: OpenVINO is installed and the processor computes in {kind}"
        )

    def predict(self, batch: np.ndarray) -> np.ndarray:
        with self._lock:
            found = self._request.infer({0: batch}, share_inputs=True, share_outputs=True)
            # A copy: the next call writes into the same memory.
            return np.moveaxis(np.array(found[0], np.float32), 1, -1)


def _channels_first(network: Any) -> Any:
    """Return a network that leaves maps in the order it computes in, which saves a twentieth of its time."""
    if len(network.output().partial_shape) < 4:  # a classifier, without maps
        return network
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    process = PrePostProcessor(network)
    process.output().model().set_layout(Layout("NHWC"))
    process.output().tensor().set_layout(Layout("NCHW"))
    return process.build()


def openvino_gains() -> bool:
    """Say whether OpenVINO is installed and faster here than ONNX Runtime: in float32 the two are tied."""
    try:
        return find_spec("openvino") is not None and processor_has_bfloat16()
    # Installed, but it or its part for processors cannot be loaded: whoever did not ask for it need not know.
    except (SettingsError, RuntimeError):
        return False


@cache
def processor_has_bfloat16() -> bool:
    """Say whether the processor has instructions for bfloat16, as OpenVINO sees it."""
    return "BF16" in _openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _openvino_core() -> Any:
    # OpenVINO reports its import over the network, unless the module that does so is not to be found.
    hidden = _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise SettingsError(
            f"The engine openvino is not installed ({error}): pip install 'napari-wbcseg[openvino]', "
            "or set the engine to auto."
        ) from None
    finally:
        if hidden:
            sys.modules.pop(_TELEMETRY, None)  # two threads may have hidden it
    return openvino.Core()
