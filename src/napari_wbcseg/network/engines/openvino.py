"""The network through OpenVINO, in bfloat16 where the processor computes in it: twice as fast there."""

from __future__ import annotations

import sys
import threading
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ...errors import ModelError, SettingsError
from ...words import counted
from ..device import available_cpus

_TELEMETRY = "openvino_telemetry"


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
        precision, kind = ("bf16", "bfloat16") if processor_has_bfloat16() else ("f32", "float32")
        try:
            compiled = _core().compile_model(
                _channels_first(_core().read_model(graph)),
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": precision,
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": threads,
                    # Bound to cores of their own, the threads of two processes would share one.
                    "ENABLE_CPU_PINNING": False,
                },
            )
            self._request = compiled.create_infer_request()
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
    except SettingsError:  # installed, but it cannot be loaded: whoever did not ask for it need not know
        return False


@cache
def processor_has_bfloat16() -> bool:
    """Say whether the processor has instructions for bfloat16, as OpenVINO sees it."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> Any:
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
            del sys.modules[_TELEMETRY]
    return openvino.Core()
