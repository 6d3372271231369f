"""Weights of the published U-Net from a Keras file, read as numbers.

Three layouts are known: ``.hdf5`` or ``.h5`` as Keras 2 writes it (weights alone or a whole
model), ``.weights.h5`` of Keras 3, and the ``.keras`` archive, which holds one of those. Only
arrays are read, by h5py: no configuration is deserialised and no code is run. Files that point
to other files are refused (so did CVE-2026-1669 read what it should not).
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import ModelError, reading
from ...files import user_path
from ...images.find import natural_key
from ..architecture import CLASSIC
from ..classic import INPUT
from ..model_file import ModelFile, ModelHeader, clean_name
from ..tensor_file import read_content

KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")
_MAX_BYTES = 1 << 30
_OPTIMISER = ("optimizer", "optimizer_weights", "_optimizer", "metrics")


def import_keras_weights(path: str | Path, name: str | None = None) -> ModelFile:
    """Read the weights of the published network from a file that Keras wrote.

    Parameters
    ----------
    path : str or Path
        Its convolutions, in the order of the network, must be those of
        `napari_wbcseg.network.architecture.CLASSIC`; other layers have no weights.
    name : str, optional
        Of the model; by default that of the file.

    Returns
    -------
    ModelFile
        Of the recipe ``classic``; not saved.

    Raises
    ------
    ModelError
        If the file cannot be read, refers to other files, or holds another network.
    """
    path = user_path(path)
    weights = _read_weights(read_content(path), path)
    header = ModelHeader(
        name=clean_name(name or path.name.split(".")[0]),
        recipe="classic",
        architecture=CLASSIC,
        input=INPUT,
        training_data=f"unknown: weights from the Keras file {path.name}",
        notes="Imported weights. The network is known, its training is not: evaluate it before use.",
    )
    return ModelFile.make(header, weights, "float32")


def _read_weights(content: bytes, path: Path) -> dict[str, np.ndarray]:
    advice = "choose weights saved by Keras (.hdf5, .weights.h5, .keras), or copy the file again"
    with reading(path, ModelError, advice):
        if content[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entry = archive.getinfo("model.weights.h5")
                if entry.file_size > _MAX_BYTES:
                    raise ModelError(f"{path} unpacks to {entry.file_size / 1e9:.1f} GB: it is no U-Net.")
                content = archive.read(entry)
        with h5py.File(io.BytesIO(content), "r") as file:
            _refuse_references(file, path)
            stored, shapes = list(_stored(file)), CLASSIC.tensor_shapes()
            if [dataset.shape for dataset in stored] != list(shapes.values()):
                raise ModelError(
                    f"{path} holds {len(stored)} arrays, in number or shape not the {len(shapes)} of the "
                    "published U-Net: it is another network, which cannot be imported."
                )
            return {name: _array(dataset, path) for name, dataset in zip(shapes, stored, strict=True)}


def _refuse_references(file: h5py.File, path: Path) -> None:
    """Refuse links, and arrays kept outside: they would read other files of this computer."""

    def outside(name: str, link: Any) -> str | None:
        item = file[name] if isinstance(link, h5py.HardLink) else None
        kept = isinstance(item, h5py.Group) or not (item is None or item.external or item.is_virtual)
        return None if kept else name

    name = file.visititems_links(outside)
    if name is not None:
        raise ModelError(
            f"{path} was refused: {name} points to another place or file. "
            "Get the weights from a source you trust, saved by Keras."
        )


def _stored(file: h5py.File) -> Iterator[h5py.Dataset]:
    """Yield the arrays of all layers, in the order of the network; none is read yet."""
    root = file.get("model_weights", file)
    if "layer_names" in root.attrs:  # Keras 2 tells the order
        for layer in map(_text, root.attrs["layer_names"]):
            yield from (root[layer][_text(name)] for name in root[layer].attrs.get("weight_names", ()))
        return
    root = next((root[key] for key in ("layers", "_layer_checkpoint_dependencies") if key in root), root)
    groups = [key for key in root if isinstance(root[key], h5py.Group) and key not in _OPTIMISER]
    # Keras 3 numbers layers of a kind as they come: conv2d, conv2d_1, conv2d_2, ...
    for key in sorted(groups, key=natural_key):
        inside = root[key].get("vars")
        if isinstance(inside, h5py.Group):
            yield from (inside[number] for number in sorted(inside, key=natural_key))


def _array(dataset: h5py.Dataset, path: Path) -> np.ndarray:
    packed = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize  # is unpacked whole
    if dataset.dtype.kind != "f" or packed > _MAX_BYTES >> 2:
        raise ModelError(f"{path}: {dataset.name} is {dataset.dtype} {dataset.shape}, which is no weight.")
    array = np.asarray(dataset, np.float32)
    if not np.isfinite(array).all():
        raise ModelError(f"{path} is spoilt: {dataset.name} has a weight that is NaN or infinite.")
    return array


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
