"""Models in the formats of others: a Keras file, an ONNX graph, a bioimage.io package."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ...errors import ModelError
from ...files import write_atomically
from ..model_file import ModelFile
from ..onnx_graph import onnx_bytes
from ..tensor_file import SUFFIX, encoded
from ..unet import build_unet, set_weights
from .bioimageio import package_bytes


def export_model(model: ModelFile, path: str | Path) -> Path:
    """Write a model in the format that the ending of a file name stands for.

    Parameters
    ----------
    model : ModelFile
    path : str or Path
        Ends in ``.keras`` (needs Keras and a backend of it), ``.onnx``, ``.zip`` (a bioimage.io
        package; needs ``napari-wbcseg[bioimageio]``) or ``.safetensors``.

    Returns
    -------
    Path
        The file, which is whole or not there.

    Raises
    ------
    ModelError
        If the ending is another one, what the format needs is not installed, or the file cannot
        be written.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in _FORMATS:
        known = ", ".join(f"{suffix} ({words})" for suffix, (words, _) in _FORMATS.items())
        raise ModelError(f"{path}: the ending says the format, and must be one of {known}.")
    _, write = _FORMATS[path.suffix.lower()]
    write_atomically(path, write(model), ModelError)
    return path


def _keras_bytes(model: ModelFile) -> bytes:
    """Return a ``.keras`` file of the network alone, without loss or optimiser.

    Every backend of Keras 3 loads it, without any code of this package.
    """
    network = build_unet(model.architecture)
    set_weights(network, model.first.weights)
    with tempfile.TemporaryDirectory(prefix="wbcseg-export-") as folder:
        path = Path(folder) / "model.keras"
        network.save(path)
        return path.read_bytes()


#: What each ending stands for, in words, and what makes such a file.
_FORMATS: dict[str, tuple[str, Callable[[ModelFile], bytes]]] = {
    ".keras": ("Keras 3", _keras_bytes),
    ".onnx": ("ONNX", onnx_bytes),
    ".zip": ("bioimage.io package", package_bytes),
    SUFFIX: ("this package's own", lambda model: encoded(model.header, model.weights)),
}
