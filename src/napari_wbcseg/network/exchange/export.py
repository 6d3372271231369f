"""Models in the formats of others: a Keras file, an ONNX graph, a bioimage.io package."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ...errors import ModelError
from ...files import write_atomically
from ..model_file import SUFFIX, ModelFile
from ..onnx_graph import described_onnx_bytes

#: Format of each ending, in words.
FORMATS = {
    ".keras": "Keras 3",
    ".onnx": "ONNX",
    ".zip": "bioimage.io package",
    SUFFIX: "this package's own",
}


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
    writers: dict[str, Callable[[ModelFile], bytes]] = {
        ".keras": keras_bytes,
        ".onnx": described_onnx_bytes,
        ".zip": _bioimageio_bytes,
        SUFFIX: _own_bytes,
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        known = ", ".join(f"{suffix} ({words})" for suffix, words in FORMATS.items())
        raise ModelError(f"{path}: the ending says the format, and must be one of {known}.")
    write_atomically(path, write(model), ModelError)
    return path


def keras_bytes(model: ModelFile) -> bytes:
    """Return a ``.keras`` file of the network alone, without loss or optimiser.

    Every backend of Keras 3 loads it, without any code of this package.
    """
    from ..unet import build_unet, set_weights

    network = build_unet(model.architecture)
    set_weights(network, model.weights)
    with tempfile.TemporaryDirectory(prefix="wbcseg-export-") as folder:
        path = Path(folder) / "model.keras"
        network.save(path)
        return path.read_bytes()


def _own_bytes(model: ModelFile) -> bytes:
    from ..model_file import encode_model

    return encode_model(model.header, model.weights)


def _bioimageio_bytes(model: ModelFile) -> bytes:
    from .bioimageio import package_bytes

    return package_bytes(model)
