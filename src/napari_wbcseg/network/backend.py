"""How Keras is imported: quietly, and on a backend that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

from ..errors import TrainingError

BACKENDS = ("tensorflow", "torch", "jax")
#: A `keras.Model`, of which nobody need import Keras to speak.
KerasModel = Any


def import_keras() -> ModuleType:
    """Import Keras and return it.

    ``KERAS_BACKEND`` and Keras' own configuration file are respected. Only when neither
    says anything and TensorFlow, Keras' default, is not installed, PyTorch or JAX is
    chosen, whichever is there.

    Raises
    ------
    TrainingError
        If Keras or every backend is missing, or what is configured is none that it has now.
    """
    keras = sys.modules.get("keras")
    if keras is None or not hasattr(keras, "ops"):
        keras = _imported()
    if keras.config.image_data_format() != "channels_last":
        raise TrainingError(
            'Keras is configured for "channels_first", and these networks are of "channels_last": change '
            f"image_data_format in {_configuration()}."
        )
    return keras


def _imported() -> ModuleType:
    # TensorFlow's start-up lines would drown what this package prints.
    quietly = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
    if "KERAS_BACKEND" not in os.environ and not os.path.exists(_configuration()):
        first, *_ = installed_backends() or BACKENDS
        if first != "tensorflow":
            os.environ["KERAS_BACKEND"] = first
    try:
        with _without_native_lines() if quietly else nullcontext():
            return importlib.import_module("keras")
    except Exception as error:  # assertions, for one, on a configuration that Keras 1 or 2 wrote
        what = "pip install keras tensorflow"
        if "KERAS_BACKEND" in os.environ:
            there = ", ".join(installed_backends() or BACKENDS)
            what = f"KERAS_BACKEND is {os.environ['KERAS_BACKEND']!r}; set it to one of {there}"
        elif os.path.exists(_configuration()):
            what += (
                f", or delete {_configuration()}: it asks for what is not installed, or is of an older Keras"
            )
        raise TrainingError(f"Keras cannot start ({error or type(error).__name__}): {what}.") from None


@contextmanager
def _without_native_lines() -> Iterator[None]:
    """Hold back what is written past Python: TensorFlow 2.21 speaks before it heeds its log level."""
    try:
        stream = os.dup(2)
    except OSError:  # a window without a terminal has none
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stream, 2)
        os.close(stream)


def installed_backends() -> tuple[str, ...]:
    """Return those of `BACKENDS` that are installed, the best first, without importing them."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def _configuration() -> str:
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "keras.json")
