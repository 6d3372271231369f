from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.errors import ModelError
from napari_wbcseg.network.engines import OnnxEngine
from napari_wbcseg.network.exchange.export import (
    channel_names,
    documentation,
    export_model,
    network_input_of,
    sample_picture,
)
from napari_wbcseg.network.library import load_model
from napari_wbcseg.network.model_file import ModelFile, ModelHeader

from ...tiny_networks import RICH, TINY, random_model, random_weights

GREY = random_model(TINY)
COLOUR = ModelFile.make(
    ModelHeader(name="my stain, v1.2", recipe="robust", architecture=RICH, canonical_diameter=48.0),
    random_weights(RICH),
)
both = pytest.mark.parametrize("model", [GREY, COLOUR], ids=["classic", "robust"])


@both
def test_keras_loads_its_file_without_this_package_and_predicts_the_same(
    model: ModelFile, tmp_path: Path
) -> None:
    import keras

    path = export_model(model, tmp_path / "m.keras")
    network = keras.saving.load_model(path, safe_mode=True)
    batch = np.random.default_rng(0).random((1, 32, 32, model.architecture.input_channels), np.float32)
    expected = OnnxEngine(model, threads=1).predict(batch)
    np.testing.assert_allclose(network.predict_on_batch(batch), expected, atol=1e-4)
    assert getattr(network, "optimizer", None) is None


@both
def test_onnx_runtime_runs_its_file_and_finds_what_it_must_know_in_it(
    model: ModelFile, tmp_path: Path
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        export_model(model, tmp_path / "m.onnx"), providers=["CPUExecutionProvider"]
    )
    known = session.get_modelmeta().custom_metadata_map
    assert known["recipe"] == model.header.recipe
    assert known["output channels"].startswith("cell:1")
    batch = np.random.default_rng(0).random((2, 32, 48, model.architecture.input_channels), np.float32)
    expected = OnnxEngine(model, threads=1).predict(batch)
    np.testing.assert_array_equal(session.run(None, {"image": batch})[0], expected)


def test_its_own_format_is_read_back(tmp_path: Path) -> None:
    assert ModelFile.read(export_model(GREY, tmp_path / "m.safetensors")).header == GREY.header


@pytest.mark.parametrize("name", ["m.h5", "m", "m.pt"])
def test_another_ending_gets_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"must be one of \.keras \(Keras 3\)"):
        export_model(GREY, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_package_asks_for_the_library_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioimageio.spec", None)
    with pytest.raises(ModelError, match=r"pip install .napari-wbcseg\[bioimageio\]"):
        export_model(GREY, tmp_path / "m.zip")
    assert not list(tmp_path.iterdir())


needs_spec = pytest.mark.skipif(
    importlib.util.find_spec("bioimageio") is None, reason="bioimageio.spec is not installed"
)


@needs_spec
@both
def test_a_package_is_valid_and_its_test_is_what_the_network_says(model: ModelFile, tmp_path: Path) -> None:
    from bioimageio.spec import load_model_description
    from bioimageio.spec.utils import load_array

    path = export_model(model, tmp_path / "m.zip")
    described = load_model_description(path, perform_io_checks=True)
    picture = load_array(described.inputs[0].test_tensor.source)
    np.testing.assert_array_equal(picture, sample_picture(model))
    steps = [(step.id, step.kwargs) for step in described.inputs[0].preprocessing]
    prepared = picture
    for kind, options in steps:
        if kind == "clip":
            prepared = np.clip(prepared, options.min, options.max)
        elif kind == "scale_linear":
            prepared = prepared * options.gain + options.offset
    np.testing.assert_allclose(prepared, network_input_of(picture, model.architecture), atol=1e-5)
    expected = OnnxEngine(model, threads=1).predict(prepared.astype(np.float32))
    np.testing.assert_allclose(
        load_array(described.outputs[0].test_tensor.source), expected, rtol=1e-4, atol=1e-4
    )
    assert len(described.outputs[0].axes[-1].channel_names) == model.architecture.output_channels


def test_the_documentation_tells_of_every_channel_and_of_the_network_that_is_not_in_it() -> None:
    model = load_model("wbc")
    text = documentation(model)
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert ", ".join(rows[2:]).split(", ") == channel_names(model.architecture)
    assert "A second network" in text
    assert "red_cell" not in documentation(COLOUR)
    assert "second network" not in documentation(COLOUR)


@needs_spec
@pytest.mark.slow
def test_the_reference_implementation_passes_a_package(tmp_path: Path) -> None:
    code = "import bioimageio.core"
    if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode:
        pytest.skip("bioimageio.core is not installed, or does not go with the pydantic that is")
    path = export_model(COLOUR, tmp_path / "m.zip")
    code = "import sys; from bioimageio.core import test_model; print(test_model(sys.argv[1]).status)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "passed"
