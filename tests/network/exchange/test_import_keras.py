from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_wbcseg.errors import ModelError
from napari_wbcseg.network.architecture import CLASSIC
from napari_wbcseg.network.exchange.export import export_model
from napari_wbcseg.network.exchange.import_keras import import_keras_weights
from napari_wbcseg.network.library import import_model_file, load_model
from napari_wbcseg.network.model_file import ModelFile

from ...tiny_networks import random_weights

WEIGHTS = random_weights(CLASSIC, seed=5)


def keras2(path: Path, inside: str = "") -> Path:
    """Write weights as Keras 2 does: a group a layer, in the order of an attribute."""
    with h5py.File(path, "w") as file:
        root = file.create_group(inside) if inside else file
        names = []
        for number, conv in enumerate(CLASSIC.convolutions(), 1):
            names += [f"conv2d_{number}", f"dropout_{number}"]
            root.create_group(f"dropout_{number}").attrs["weight_names"] = []
            layer = root.create_group(f"conv2d_{number}")
            inner = [f"conv2d_{number}/kernel:0", f"conv2d_{number}/bias:0"]
            layer.attrs["weight_names"] = [name.encode() for name in inner]
            for name, part in zip(inner, ("kernel", "bias"), strict=True):
                layer[name] = WEIGHTS[f"{conv.name}/{part}"]
        root.attrs["layer_names"] = [name.encode() for name in names]
    return path


def keras3(path: Path) -> Path:
    """Write weights as Keras 3 does: layers of a kind numbered as they come."""
    with h5py.File(path, "w") as file:
        for number, conv in enumerate(CLASSIC.convolutions()):
            inside = file.create_group(f"layers/conv2d{f'_{number}' if number else ''}/vars")
            inside["0"], inside["1"] = WEIGHTS[f"{conv.name}/kernel"], WEIGHTS[f"{conv.name}/bias"]
        file.create_group("layers/max_pooling2d/vars")
        file.create_group("optimizer/vars")
    return path


def archive(path: Path) -> Path:
    inner = keras3(path.with_suffix(".weights.h5"))
    with zipfile.ZipFile(path, "w") as file:
        file.write(inner, "model.weights.h5")
        file.writestr("config.json", '{"module": "os", "class_name": "system"}')
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: keras2(folder / "unet.hdf5"),
        lambda folder: keras2(folder / "unet.h5", "model_weights"),
        lambda folder: keras3(folder / "unet.weights.h5"),
        lambda folder: archive(folder / "unet.keras"),
    ],
    ids=["weights of Keras 2", "model of Keras 2", "weights of Keras 3", "archive of Keras 3"],
)
def test_every_layout_gives_the_published_network(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    model = import_keras_weights(write(tmp_path))
    assert model.name == "unet"
    assert model.header.recipe == "classic"
    assert model.architecture == CLASSIC
    assert all(np.array_equal(model.weights[name], value) for name, value in WEIGHTS.items())


def test_it_joins_the_library_and_says_where_it_came_from(tmp_path: Path, library: Path) -> None:
    saved = import_model_file(keras3(tmp_path / "theirs.weights.h5"))
    assert load_model("theirs").hash == saved.hash
    assert saved.header.origin == "imported from theirs.weights.h5"
    assert "evaluate it before use" in saved.header.notes
    assert all(np.array_equal(saved.weights[name], value) for name, value in WEIGHTS.items())


def test_a_copy_of_a_model_has_its_very_weights(tmp_path: Path, library: Path) -> None:
    """Results of the one are taken for those of the other; outlines were some pixels off."""
    header = import_keras_weights(keras3(tmp_path / "a.weights.h5")).header
    model = ModelFile.write(tmp_path / "a.safetensors", header, WEIGHTS, "float32")
    export_model(import_model_file(model.path), tmp_path / "b.safetensors")
    copy = ModelFile.read(tmp_path / "b.safetensors")
    assert model.hash in copy.hashes
    assert all(np.array_equal(copy.weights[name], value) for name, value in WEIGHTS.items())


def other_network(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["layers/conv2d_3/vars/0"]
        file["layers/conv2d_3/vars/0"] = np.zeros((3, 3, 5, 5), np.float32)


def fewer_layers(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["layers/conv2d_3"]


def not_a_number(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["layers/conv2d/vars/0"][0, 0, 0, 0] = np.nan


def external_link(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["layers/conv2d"]
        file["layers/conv2d"] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(path: Path) -> None:
    with h5py.File(path, "a") as file:
        shape = file["layers/conv2d/vars/1"].shape
        del file["layers/conv2d/vars/1"]
        outside = [(str(path.with_name("secret")), 0, h5py.h5f.UNLIMITED)]
        file["layers/conv2d/vars"].create_dataset("1", shape, np.float32, external=outside)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_archive_gets_a_sentence(tmp_path: Path, method: int) -> None:
    path = tmp_path / "w.keras"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("model.weights.h5", bytes(100_000) + np.random.default_rng(0).bytes(1000))
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:place] + b"\xff\x00\xff\x00" + content[place + 4 :])
        with pytest.raises(ModelError, match=r"w\.keras"):
            import_keras_weights(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_network, "another network"),
        (fewer_layers, "36 arrays, in number or shape not the 38 of the published U-Net"),
        (not_a_number, "conv2d/.* has a weight that is NaN"),
        (external_link, "refused: .*conv2d points to another"),
        (external_storage, "refused: .*points to another"),
        (lambda path: path.write_bytes(path.read_bytes()[:100_000]), "truncated or damaged"),
        (lambda path: path.write_bytes(b"import os"), "choose weights saved by Keras"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "truncated or damaged"),
        (lambda path: path.unlink(), "is not there: check the name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_imported_gets_a_sentence(
    tmp_path: Path, library: Path, spoil: Callable[[Path], object], words: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(4096))
    path = keras3(tmp_path / "w.weights.h5")
    spoil(path)
    with pytest.raises(ModelError, match=rf"w\.weights\.h5.*{words}|{words}.*w\.weights\.h5"):
        import_model_file(path)
    assert not library.exists()


def in_circles(path: Path) -> None:
    with h5py.File(path, "a") as file:
        groups = [file.create_group(f"layers/a{number}") for number in range(40)]
        for one, next_ in zip(groups, [*groups[1:], file], strict=True):  # 2^40 ways
            one["left"], one["right"] = next_, next_


def unwritten(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for number in range(5):
            layer = file[f"layers/conv2d{f'_{number}' if number else ''}/vars"]
            del layer["0"]
            layer.create_dataset("0", (3, 3, 2000, 2000), np.float64, chunks=True)


def one_chunk(path: Path) -> None:
    with h5py.File(path, "a") as file:
        layer = file["layers/conv2d/vars"]
        shape = layer["1"].shape
        del layer["1"]
        options = {"maxshape": (None,), "chunks": (2**28,), "compression": "gzip"}
        layer.create_dataset("1", shape, np.float32, **options)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (in_circles, None),
        (unwritten, "another network"),
        (one_chunk, "which is no weight"),
    ],
)
def test_what_an_h5_declares_is_not_believed(
    tmp_path: Path, spoil: Callable[[Path], None], words: str | None
) -> None:
    path = keras3(tmp_path / "w.weights.h5")
    spoil(path)
    tracemalloc.start()
    try:
        if words is None:
            assert import_keras_weights(path).architecture == CLASSIC
        else:
            with pytest.raises(ModelError, match=words):
                import_keras_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 400e6
    finally:
        tracemalloc.stop()
