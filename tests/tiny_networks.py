"""Small networks and small training images that the tests of the network share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.network.architecture import Output, UNetArchitecture
from napari_wbcseg.network.model_file import ModelFile, ModelHeader
from napari_wbcseg.network.unet import build_unet, set_weights
from napari_wbcseg.settings import Recipe

#: Like the published network, but of two levels and a few features.
TINY = UNetArchitecture(input_channels=1, widths=(4, 8), outputs=(Output("cell", 1, "sigmoid"),))

#: Everything an architecture can have.
RICH = UNetArchitecture(
    input_channels=3,
    widths=(4, 6, 8),
    batch_norm=True,
    outputs=(
        Output("cell", 1, "sigmoid"),
        Output("centre", 1, "sigmoid"),
        Output("offset", 2, "linear"),
        Output("size", 1, "linear"),
    ),
)


def random_weights(architecture: UNetArchitecture, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw weights that keep signals alive through all levels, without Keras."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in architecture.tensor_shapes().items():
        if name.endswith("/kernel"):
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape)
        elif name.endswith(("/gamma", "/moving_variance")):
            value = rng.uniform(0.5, 2, shape)
        else:
            value = rng.normal(0, 0.2, shape)
        weights[name] = value.astype(np.float32)
    return weights


def random_model(
    architecture: UNetArchitecture = TINY, seed: int = 0, name: str = "tiny", recipe: Recipe = "classic"
) -> ModelFile:
    """Return a model with random weights."""
    header = ModelHeader(name=name, recipe=recipe, architecture=architecture)
    return ModelFile.make(header, random_weights(architecture, seed), "float32")


def small_robust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the robust recipe draw and validate on a few samples, where it draws hundreds of smears."""
    for name, value in {"_SYNTHETIC_SMEARS": 2, "_MOSAICS": 1, "_VALIDATION_SAMPLES": 4}.items():
        monkeypatch.setattr(f"napari_wbcseg.training.robust.{name}", value)
    monkeypatch.setattr("napari_wbcseg.training.fine_tune._SYNTHETIC_SMEARS", 2)
    monkeypatch.setattr("napari_wbcseg.training.fine_tune._SCORED_SMEARS", 1)


def predicted_by_keras(model: ModelFile, batch: np.ndarray) -> np.ndarray:
    """Return what the Keras network of a model makes of a batch."""
    network = build_unet(model.architecture)
    set_weights(network, model.weights)
    return np.asarray(network.predict_on_batch(batch), np.float32)


def dark_disc_pairs(count: int = 6, size: int = 128) -> list[TrainingPair]:
    """Draw dark discs on a light ground, with exact labels: learnt in a few steps."""
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[:size, :size]
    pairs = []
    for i in range(count):
        row, col = rng.uniform(0.3, 0.7, 2) * size
        disc = (rows - row) ** 2 + (cols - col) ** 2 < (size / 4) ** 2
        image = np.where(disc[..., None], (120, 60, 140), (230, 210, 220)) + rng.normal(0, 5, (size, size, 3))
        pairs.append(
            TrainingPair(
                f"disc-{i}", np.clip(image, 0, 255).astype(np.uint8), disc.astype(np.int32), f"slide-{i // 2}"
            )
        )
    return pairs


@pytest.fixture
def pairs() -> list[TrainingPair]:
    """Return six tiles of three slides."""
    return dark_disc_pairs()


@pytest.fixture
def tiny() -> ModelFile:
    """Return a small network to start from, because the published one is too large for fast tests."""
    return random_model(TINY)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty user's folder of models."""
    folder = tmp_path / "library"
    monkeypatch.setenv("WBCSEG_MODELS", str(folder))
    return folder
