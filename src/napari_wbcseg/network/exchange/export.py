"""Models in the formats of others: a Keras file, an ONNX graph, a bioimage.io package.

A package, which other programs of the field run, holds the ONNX graph, a test input with the output it must
give, what is done to a picture before and after, and this package's own model file. The format is that of
https://github.com/bioimage-io/spec-bioimage-io, written and checked by ``bioimageio.spec``.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...errors import ModelError
from ...files import user_path, write_atomically
from ...images.illumination import BRIGHTEST, background_colour, transmittance
from ...synthetic.smear import synthetic_smear
from ...version import __version__
from ..architecture import UNetArchitecture
from ..classic import classic_grey
from ..engines import OnnxEngine
from ..library import BUILT_IN_MODELS
from ..model_card import short_scores
from ..model_file import ModelFile
from ..onnx_graph import OPSET, onnx_bytes
from ..tensor_file import SUFFIX, encoded
from ..unet import build_unet, set_weights

_SIDE = 128
_WHITE = 255.0
_BRIGHTEST = BRIGHTEST * _WHITE
#: Pixels at the border of a tile that are worth less than the rest.
_HALO = 16
#: Of cells in the pictures that the classic network was trained on.
_CLASSIC_DIAMETER = 63.0

_README = Path(__file__).with_name("package_readme.md")


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
        If the ending is another one, ``bioimageio.spec`` is missing for a package, or the file cannot
        be written.
    TrainingError
        If Keras is missing for a file of its own.
    """
    path = user_path(path)
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


# A package of bioimage.io --------------------------------------------------------------------------


def package_bytes(model: ModelFile) -> bytes:
    """Return a zipped package.

    Raises
    ------
    ModelError
        If ``bioimageio.spec`` is missing, or the recipe's network has no description here.
    """
    try:
        from bioimageio.spec import save_bioimageio_package
    except ImportError:
        raise ModelError(
            "A bioimage.io package needs bioimageio.spec: install it with "
            '`pip install "napari-wbcseg[bioimageio]"`.'
        ) from None
    with tempfile.TemporaryDirectory(prefix="wbcseg-export-") as name:
        folder = Path(name)
        description = _describe(model, folder)
        target = folder / "package.zip"
        save_bioimageio_package(description, output_path=target)
        return target.read_bytes()


def sample_picture(model: ModelFile) -> np.ndarray:
    """Return the picture that the package is tested with: a synthetic smear as the notes ask for it.

    Returns
    -------
    ndarray of float32, shape (1, 128, 128, C)
        0 to 255.
    """
    diameter = model.header.canonical_diameter or _CLASSIC_DIAMETER
    smear = synthetic_smear((_SIDE, _SIDE), cell_diameter=diameter, white_cells=1, seed=3)
    if model.architecture.input_channels == 1:
        return classic_grey(smear.image)[None, ..., None].astype(np.float32)
    light = transmittance(smear.image, background_colour(smear.image))
    return np.ascontiguousarray(light[None] * _WHITE, dtype=np.float32)


def network_input_of(picture: np.ndarray, architecture: UNetArchitecture) -> np.ndarray:
    """Return what the package's preprocessing makes of a picture."""
    if architecture.input_channels == 1:
        return picture / np.float32(_WHITE)
    return np.clip(picture, 0, _BRIGHTEST) * np.float32(-2 / _WHITE) + np.float32(2)


def channel_names(architecture: UNetArchitecture) -> list[str]:
    """Return a name for each channel of the output."""
    return [
        output.name if output.channels == 1 else f"{output.name}_{number}"
        for output in architecture.outputs
        for number in range(output.channels)
    ]


def _describe(model: ModelFile, folder: Path) -> Any:
    """Write the files of a package into a folder, and return its description."""
    from bioimageio.spec.model import v0_5 as spec

    header, architecture = model.header, model.architecture
    picture = sample_picture(model)
    predicted = OnnxEngine(model, threads=1).predict(network_input_of(picture, architecture))

    def file(name: str, content: bytes) -> Any:
        (folder / name).write_bytes(content)
        return spec.FileDescr(source=folder / name)

    weights = file("weights.onnx", onnx_bytes(model))
    paper = {"text": "Ronneberger, Fischer, Brox: U-Net. MICCAI 2015.", "doi": "10.1007/978-3-319-24574-4_28"}
    package = {
        # The format allows few signs in a name.
        "name": f"White blood cells ({re.sub('[^A-Za-z0-9_+() -]', '-', header.name)})",
        "description": "U-Net that outlines white blood cells in stained smears "
        f"(napari-wbcseg, recipe {header.recipe}).",
        "authors": [{"name": "The napari-wbcseg developers"}],
        "cite": [paper],
        "license": "BSD-3-Clause" if header.name in BUILT_IN_MODELS else None,
        "tags": ["white-blood-cells", "hematology", "brightfield", "2d", "unet", "segmentation", "napari"],
        "documentation": file("README.md", documentation(model).encode()),
        "covers": [file("cover.png", _png(picture[0]))],
        "attachments": [file("model.safetensors", encoded(header, model.weights, "lossless"))],
        "inputs": [{**_input(architecture), "test_tensor": file("test-input.npy", _npy(picture))}],
        "outputs": [{**_output(architecture), "test_tensor": file("test-output.npy", _npy(predicted))}],
        "weights": {"onnx": {"source": weights.source, "opset_version": OPSET}},
    }
    return spec.ModelDescr.model_validate(package)


def _input(architecture: UNetArchitecture) -> dict[str, Any]:
    """Describe the picture that the network is given, and what `network_input_of` does to it."""
    colours = ["grey"] if architecture.input_channels == 1 else ["red", "green", "blue"]
    size = {"min": max(4 * _HALO, architecture.multiple), "step": architecture.multiple}
    gain, offset = (1 / _WHITE, 0.0) if architecture.input_channels == 1 else (-2 / _WHITE, 2.0)
    scaling: list[Any] = [{"id": "scale_linear", "kwargs": {"gain": gain, "offset": offset}}]
    if architecture.input_channels > 1:
        scaling.insert(0, {"id": "clip", "kwargs": {"min": 0.0, "max": _BRIGHTEST}})
    return {
        "id": "image",
        "description": f"{', '.join(colours)}; 0 to 255; see the documentation for light and size",
        "axes": [
            {"type": "batch"},
            *({"type": "space", "id": side, "size": size} for side in "yx"),
            {"type": "channel", "channel_names": colours},
        ],
        "data": {"type": "float32", "range": (0.0, None)},
        "preprocessing": [*scaling, {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}],
    }


def _output(architecture: UNetArchitecture) -> dict[str, Any]:
    """Describe the maps that the network gives."""
    sides = {side: {"tensor_id": "image", "axis_id": side} for side in "yx"}
    return {
        "id": "maps",
        "description": "a map for each channel; see the documentation",
        "axes": [
            {"type": "batch"},
            *({"type": "space", "id": side, "size": size, "halo": _HALO} for side, size in sides.items()),
            {"type": "channel", "channel_names": channel_names(architecture)},
        ],
    }


def documentation(model: ModelFile) -> str:
    """Return the README of the package, as Markdown."""
    from jinja2 import Environment, StrictUndefined

    header, environment = model.header, Environment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(_README.read_text(encoding="utf-8")).render(
        model=model,
        header=header,
        version=__version__,
        grey=model.architecture.input_channels == 1,
        channels=channel_names(model.architecture),
        diameter=header.canonical_diameter or _CLASSIC_DIAMETER,
        brightest=_BRIGHTEST,
        scores=short_scores(header.scores),
    )


def _png(picture: np.ndarray) -> bytes:
    pixels = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)[..., ::-1]  # OpenCV has blue first
    return cv2.imencode(".png", cv2.resize(np.ascontiguousarray(pixels), (512, 512)))[1].tobytes()


def _npy(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


#: What each ending stands for, in words, and what makes such a file.
_FORMATS: dict[str, tuple[str, Callable[[ModelFile], bytes]]] = {
    ".keras": ("Keras 3", _keras_bytes),
    ".onnx": ("ONNX", onnx_bytes),
    ".zip": ("bioimage.io package", package_bytes),
    SUFFIX: ("this package's own", lambda model: encoded(model.header, model.weights, "lossless")),
}
