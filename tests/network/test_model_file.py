from __future__ import annotations

import errno
import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from napari_wbcseg.errors import ModelError
from napari_wbcseg.network.architecture import CLASSIC
from napari_wbcseg.network.model_file import ModelFile, ModelHeader

from ..tiny_networks import RICH, TINY, random_weights

HEADER = ModelHeader(
    name="mine",
    recipe="robust",
    architecture=RICH,
    canonical_diameter=48,
    training_data="12 images",
    training={"epochs": 3},
    scores={"dice": 0.9},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.safetensors"


def test_a_model_comes_back_as_it_was_written(path: Path) -> None:
    weights = random_weights(RICH)

    ModelFile.write(path, HEADER, weights, "float32")
    model = ModelFile.read(path)

    assert model.header == HEADER
    assert all(np.array_equal(model.weights[name], weights[name]) for name in weights)
    assert model.path == path


def test_it_is_shown_by_its_name_and_hash(path: Path) -> None:
    model = ModelFile.write(path, HEADER, random_weights(RICH))
    assert repr(model) == f"<ModelFile {HEADER.name}@{model.hash}>"


def test_of_a_header_no_weight_is_read(path: Path) -> None:
    ModelFile.write(path, HEADER.replace(architecture=CLASSIC), random_weights(CLASSIC))
    ModelFile.read_header(path)  # imports what is needed
    tracemalloc.start()
    try:
        assert ModelFile.read_header(path).name == "mine"
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_a_second_network_lies_in_the_same_file(path: Path) -> None:
    first, second = (ModelFile.make(HEADER, random_weights(RICH, seed), "float32") for seed in (0, 1))

    both = first.with_second(second)
    ModelFile.write(path, both.header, both.weights, "float32")
    model = ModelFile.read(path)

    assert model.second is not None
    for part, given in ((model.first, first), (model.second, second)):
        assert part.header == HEADER
        assert set(part.weights) == set(given.weights)
        assert all(np.allclose(part.weights[name], given.weights[name], rtol=1e-3) for name in part.weights)
    assert len({model.hash, model.first.hash, model.second.hash}) == 3, "each has an engine of its own"
    assert first.second is None
    assert first.first is first


def test_float16_halves_the_file_and_keeps_weights_to_a_thousandth(path: Path) -> None:
    weights = random_weights(CLASSIC)
    ModelFile.write(path, HEADER.replace(architecture=CLASSIC), weights, "float16")
    read = ModelFile.read(path).weights
    assert path.stat().st_size < 15.8e6
    assert all(np.allclose(read[name], weights[name], rtol=1e-3, atol=1e-6) for name in weights)


def test_weights_too_large_for_float16_stay_float32(path: Path) -> None:
    weights = random_weights(TINY)
    weights["down0_conv0/kernel"][0, 0, 0, 0] = 1e6
    model = ModelFile.write(path, HEADER.replace(architecture=TINY), weights)
    assert model.weights["down0_conv0/kernel"][0, 0, 0, 0] == 1e6


def test_the_hash_is_that_of_the_file(path: Path) -> None:
    model = ModelFile.write(path, HEADER, random_weights(RICH))
    assert model.hash == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert model.id == f"mine@{model.hash}"
    assert ModelFile.make(HEADER, random_weights(RICH)).hash == model.hash


def test_any_safetensors_tool_reads_the_weights(path: Path) -> None:
    ModelFile.write(path, HEADER, random_weights(RICH))
    assert {name: value.shape for name, value in load_file(path).items()} == RICH.tensor_shapes()


def write_with(path: Path, tensors: dict[str, np.ndarray], header: object = None) -> None:
    text = (
        header
        if isinstance(header, str)
        else HEADER.model_dump_json()
        if header is None
        else json.dumps(header)
    )
    save_file(tensors, path, metadata={"napari_wbcseg": text})


def changed_header(**changes: object) -> dict[str, object]:
    return {**json.loads(HEADER.model_dump_json()), **changes}


WEIGHTS = random_weights(RICH)
KERNEL = "down0_conv0/kernel"


def without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in WEIGHTS.items() if key != name}


def with_nan() -> np.ndarray:
    value = WEIGHTS[KERNEL].copy()
    value.flat[3] = np.nan
    return value


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "is not there"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.write_bytes(b""), "choose a .safetensors"),
    "text": (
        lambda path: path.write_text("This is a letter, not a model. " * 9),
        "choose a .safetensors",
    ),
    "short text": (lambda path: path.write_text("hi"), "choose a .safetensors"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "wbcseg models import"),
    "zip, as .keras": (
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
        "wbcseg models import",
    ),
    "random bytes": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(1000)),
        "choose a .safetensors",
    ),
    "JSON bomb": (
        lambda path: path.write_bytes((100_000).to_bytes(8, "little") + b'{"a":' + b"[" * 99_995),
        "damaged",
    ),
    "no header": (lambda path: save_file(WEIGHTS, path), "no model file of this package"),
    "header not JSON": (lambda path: write_with(path, WEIGHTS, "{oops"), "choose a .safetensors"),
    "header a list": (lambda path: write_with(path, WEIGHTS, [1]), "choose a .safetensors"),
    "newer": (
        lambda path: write_with(path, WEIGHTS, changed_header(format_version=3)),
        "update napari-wbcseg",
    ),
    "recipe": (lambda path: write_with(path, WEIGHTS, changed_header(recipe="magic")), "recipe"),
    "giant": (
        lambda path: write_with(
            path, WEIGHTS, changed_header(architecture={**RICH.model_dump(), "widths": [10**9, 10**9]})
        ),
        "architecture.widths",
    ),
    "missing tensor": (lambda path: write_with(path, without(KERNEL)), f"lacks {KERNEL}"),
    "extra tensor": (
        lambda path: write_with(path, {**WEIGHTS, "backdoor": np.zeros(3, np.float32)}),
        "has backdoor",
    ),
    "wrong shape": (
        lambda path: write_with(path, {**WEIGHTS, KERNEL: np.zeros((3, 3, 1, 4), np.float32)}),
        r"\(3, 3, 1, 4\).*\(3, 3, 3, 4\)",
    ),
    "wrong dtype": (
        lambda path: write_with(path, {**WEIGHTS, KERNEL: WEIGHTS[KERNEL].astype(np.float64)}),
        "F64",
    ),
    "NaN": (lambda path: write_with(path, {**WEIGHTS, KERNEL: with_nan()}), "NaN"),
    "negative variance": (
        lambda path: write_with(path, {**WEIGHTS, "down0_norm0/moving_variance": -np.ones(4, np.float32)}),
        "negative variance",
    ),
}


OF_TENSORS = ("missing tensor", "extra tensor", "wrong shape", "wrong dtype", "NaN", "negative variance")


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_model_gets_a_sentence_that_names_it(case: str, path: Path) -> None:
    make, message = BAD[case]
    make(path)
    with pytest.raises(ModelError, match=message) as error:
        ModelFile.read(path)
    assert str(path) in str(error.value)
    assert str(error.value).endswith(".")
    if case in OF_TENSORS:
        assert ModelFile.read_header(path) == HEADER
    else:
        with pytest.raises(ModelError) as error:
            ModelFile.read_header(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("kept", [4, 8, 100, 0.5, 0.999])
def test_a_truncated_model_gets_a_sentence(path: Path, kept: float) -> None:
    ModelFile.write(path, HEADER, random_weights(RICH))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(ModelError, match=r"truncated|damaged|not a"):
        ModelFile.read(path)


def test_spoilt_weights_are_not_written(path: Path) -> None:
    weights = random_weights(RICH)
    weights[KERNEL][...] = np.nan
    with pytest.raises(ModelError, match="NaN"):
        ModelFile.write(path, HEADER, weights)
    assert not path.exists()


def test_a_full_disk_gets_a_sentence_and_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ModelFile.write(path, HEADER, random_weights(RICH))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=f"disk is full.*{path.name}"):
        ModelFile.write(path, HEADER, random_weights(RICH, seed=1))
    assert ModelFile.read(path).hash == old.hash
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        ModelFile.write(tmp_path / "file" / "m.safetensors", HEADER, random_weights(RICH))


def test_a_model_file_must_be_named_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must end in"):
        ModelFile.write(tmp_path / "model.h5", HEADER, random_weights(RICH))
