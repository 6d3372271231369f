"""How Keras is imported: quietly, and on a backend that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType

from ..errors import TrainingError

BACKENDS = ("tensorflow", "torch", "jax")


def import_keras() -> ModuleType:
    """Import Keras and return it.

    ``KERAS_BACKEND`` and Keras' own configuration file are respected. Only when neither
    says anything and TensorFlow, Keras' default, is not installed, PyTorch or JAX is
    chosen, whichever is there.

    Raises
    ------
    TrainingError
        If Keras or every backend is missing.
    """
    loaded = sys.modules.get("keras")
    if loaded is not None and hasattr(loaded, "ops"):
        return loaded
    # TensorFlow's start-up lines would drown what this package prints.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "KERAS_BACKEND" not in os.environ and not _has_configuration():
        choice = default_backend()
        if choice is None:
            raise TrainingError(
                "Training needs TensorFlow, PyTorch or JAX, and none is installed: "
                "install one, for example with `pip install tensorflow`."
            )
        if choice != "tensorflow":
            os.environ["KERAS_BACKEND"] = choice
    try:
        return importlib.import_module("keras")
    except ImportError as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        raise TrainingError(
            f"Keras cannot start on the backend {backend!r} ({error}): install it, or set the environment "
            f"variable KERAS_BACKEND to one of {', '.join(installed_backends()) or 'tensorflow, torch, jax'}."
        ) from None


def installed_backends() -> tuple[str, ...]:
    """Return those of `BACKENDS` that are installed, without importing them."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def default_backend() -> str | None:
    """Return the backend taken when nobody chose one, or None when none is installed."""
    return next(iter(installed_backends()), None)


def _has_configuration() -> bool:
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.exists(os.path.join(home, "keras.json"))
