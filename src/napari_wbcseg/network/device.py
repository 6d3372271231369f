"""Which device Keras computes on, and why, and how many processors: users must never have to guess."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from typing import Any

from ..words import counted
from .backend import import_keras

#: Environment variable for the threads of a process, where several share one machine.
THREADS_VARIABLE = "WBCSEG_THREADS"
_BFLOAT16_GENERATION = 8  # of NVIDIA's GPUs, by their compute capability


@dataclass(frozen=True)
class DeviceReport:
    """A device and the reason why it is the one in use.

    Attributes
    ----------
    words : str
        What it is and why, such as ``CPU (AMD EPYC, 2 threads): TensorFlow found no GPU it can use``.
    kind : str
        ``gpu``, ``tpu`` or ``cpu``.
    bfloat16 : bool
        Whether it gains by computing in bfloat16.
    """

    words: str
    kind: str
    bfloat16: bool


def describe_device() -> DeviceReport:
    """Say which device training uses; imports Keras and its backend."""
    backend = import_keras().backend.backend()
    finder = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}.get(backend)
    kind, name, why, bfloat16 = finder() if finder else ("cpu", "", f"Keras has {backend} there", False)
    if kind == "cpu":
        processor = _cpu_info("model name") or platform.processor() or platform.machine()
        name = f"{processor}, {counted(available_cpus(), 'thread')}"
    return DeviceReport(f"{kind.upper()} ({name}): {why}", kind, bfloat16)


def available_cpus() -> int:
    """Return how many processors this process may use; `THREADS_VARIABLE` allows it fewer or more."""
    wanted = os.environ.get(THREADS_VARIABLE, "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    try:
        return len(os.sched_getaffinity(0)) or 1
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def dtype_policy(precision: str) -> str:
    """Return the Keras dtype policy for a precision setting on this device.

    ``auto`` takes mixed bfloat16, with float32 weights and outputs, where it was measured
    to gain: TensorFlow on processors with bfloat16 instructions (0.29 s a step against
    0.74 s), and GPUs that compute in it. Unlike float16 it needs no scaling of the loss.
    """
    if precision == "auto":
        precision = "mixed" if describe_device().bfloat16 else "float32"
    return {"float32": "float32", "mixed": "mixed_bfloat16"}[precision]


# What each backend found: the kind of the device, its name, why it is the one, whether it gains by bfloat16.
Found = tuple[str, str, str, bool]


def _tensorflow() -> Found:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details: dict[str, Any] = tf.config.experimental.get_device_details(gpus[0])
        name = str(details.get("device_name", gpus[0].name))
        bfloat16 = details.get("compute_capability", (0, 0))[0] >= _BFLOAT16_GENERATION
        return "gpu", name, f"TensorFlow found it{_others(len(gpus))}", bfloat16
    why = "TensorFlow found no GPU it can use"
    if platform.system() == "Windows":
        why = "TensorFlow has no GPU on Windows; Keras with PyTorch has (KERAS_BACKEND=torch)"
    elif platform.system() == "Darwin":
        why = "TensorFlow uses no Apple GPU here; Keras with PyTorch does (KERAS_BACKEND=torch)"
    elif not tf.test.is_built_with_gpu_support():
        why = "this TensorFlow is built without GPU support"
    return "cpu", "", why, bool({"avx512_bf16", "amx_bf16"} & set(_cpu_info("flags").split()))


def _torch() -> Found:
    import torch

    if torch.cuda.is_available():
        why = f"PyTorch found it{_others(torch.cuda.device_count())}"
        bfloat16 = bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return "gpu", torch.cuda.get_device_name(0), why, bfloat16
    if torch.backends.mps.is_available():
        return "gpu", "Apple, Metal", "PyTorch found it", False
    return "cpu", "", "PyTorch found no GPU it can use", False


def _jax() -> Found:
    import jax

    device, *others = jax.devices()
    if device.platform == "cpu":
        return "cpu", "", "JAX found no GPU it can use", False
    why = f"JAX found it and {len(others)} more" if others else "JAX found it"
    if device.platform == "tpu":
        return "tpu", str(device.device_kind), why, True
    generation = str(getattr(device, "compute_capability", "0")).split(".")[0]  # other makers' have none
    bfloat16 = generation.isdigit() and int(generation) >= _BFLOAT16_GENERATION
    return "gpu", str(device.device_kind), why, bfloat16


def _others(count: int) -> str:
    """Say of several GPUs that Keras' distribution API works on JAX alone."""
    return f" (of {count}; to train on all, set KERAS_BACKEND=jax)" if count > 1 else ""


def _cpu_info(field: str) -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # on Linux
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == field:
                return value.strip()
    return ""
