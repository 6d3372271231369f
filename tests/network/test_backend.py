"""The same code on every Keras backend that is installed, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.errors import TrainingError
from napari_wbcseg.network.backend import BACKENDS, import_keras
from napari_wbcseg.network.engines import create_engine
from napari_wbcseg.settings import TrainingSettings

from ..tiny_networks import RICH, TINY, dark_disc_pairs, predicted_by_keras, random_model

# One step on one batch, with nothing random in it.
STEP = TrainingSettings(epochs=1, batch_size=6, learning_rate=1e-3, dropout=0.0, precision="float32")


#: A backend that is not installed; where all are, one that is none.
MISSING = next((name for name in BACKENDS if importlib.util.find_spec(name) is None), "bar")


def images(channels: int) -> np.ndarray:
    return np.random.default_rng(4).random((2, 16, 24, channels), np.float32)


def main(out: Path) -> None:
    """Predict and train a step on the backend of this process, and keep the results."""
    import keras

    from napari_wbcseg.training.train import train

    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    trained = train(dark_disc_pairs(), STEP, init=random_model(TINY))
    np.savez(
        out,
        tiny=predicted_by_keras(random_model(TINY), images(1)),
        rich=predicted_by_keras(random_model(RICH), images(3)),
        trained=create_engine(trained.model).predict(images(1)),
        loss=trained.history[0]["loss"],
        device=trained.device,
    )


def run(backend: str, out: Path) -> dict[str, np.ndarray]:
    root = Path(__file__).parents[2]
    code = f"from pathlib import Path; from {__name__} import main; main(Path({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as found:
        return dict(found)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Results on TensorFlow."""
    return run("tensorflow", tmp_path_factory.mktemp("reference") / "tensorflow.npz")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_and_a_prediction_are_the_same_on_every_backend(
    backend: str, reference: dict[str, np.ndarray], tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    found = reference if backend == "tensorflow" else run(backend, tmp_path / "found.npz")

    for key in ("tiny", "rich", "trained", "loss"):
        np.testing.assert_allclose(found[key], reference[key], atol=1e-4)
    # ... and they are those of ONNX Runtime, and training did something.
    np.testing.assert_allclose(
        found["rich"], create_engine(random_model(RICH), "onnxruntime").predict(images(3)), atol=1e-4
    )
    assert np.abs(found["trained"] - found["tiny"]).max() > 1e-3
    assert ":" in str(found["device"])


def test_without_tensorflow_another_backend_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    code = (
        "import importlib.util, os, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'tensorflow' else find(name, *a)\n"
        "from napari_wbcseg.network import backend\n"
        "assert backend.installed_backends()[0] == 'torch'\n"
        "importlib.import_module = lambda name: sys\n"
        "backend._imported()\n"
        "assert os.environ['KERAS_BACKEND'] == 'torch'\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment.update(PYTHONPATH=str(tmp_path), KERAS_HOME=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


@pytest.mark.parametrize(
    ("configuration", "backend", "words"),
    [
        (
            '{"image_dim_ordering": "th", "backend": "theano"}',
            None,
            "pip install keras tensorflow, or delete .*keras.json",
        ),
        ('{"floatx": "float8", "backend": "tensorflow"}', None, "delete .*keras.json"),
        ('["tensorflow"]', None, "delete .*keras.json"),
        ("{}", "foo", "KERAS_BACKEND is 'foo'; set it to one of .*tensorflow"),
        ("{}", MISSING, f"KERAS_BACKEND is '{MISSING}'"),
    ],
)
def test_what_keras_cannot_start_with_gets_a_sentence(
    tmp_path: Path, configuration: str, backend: str | None, words: str
) -> None:
    (tmp_path / "keras.json").write_text(configuration)
    code = (
        "import re, sys\n"
        "from napari_wbcseg.errors import TrainingError\n"
        "from napari_wbcseg.network.backend import import_keras\n"
        "try:\n"
        "    import_keras()\n"
        "except TrainingError as error:\n"
        "    assert re.search(sys.argv[1], str(error)), error\n"
        "else:\n"
        "    raise SystemExit('no error')\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment |= {"KERAS_HOME": str(tmp_path)} | ({"KERAS_BACKEND": backend} if backend else {})
    subprocess.run([sys.executable, "-c", code, words], env=environment, check=True, timeout=60)


def test_it_is_imported_without_a_word() -> None:
    code = "from napari_wbcseg.network.backend import import_keras; import_keras()"
    # What was imported here before may have set it.
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_channels_first_gets_a_sentence() -> None:
    keras = import_keras()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(TrainingError, match=r"change image_data_format in .*keras\.json"):
            import_keras()
    finally:
        keras.config.set_image_data_format("channels_last")
