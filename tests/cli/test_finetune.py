"""`wbcseg finetune`, and models that go out and come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_wbcseg.datasets.corrections import add_correction
from napari_wbcseg.network.library import load_model

from ..tiny_networks import TINY, dark_disc_pairs, random_model
from .shell import wbcseg


@pytest.fixture
def training_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a training set of six fields, and other fields to replay."""
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "set"))
    for folder, pairs in (("set", dark_disc_pairs(6)), ("original", dark_disc_pairs(3, 96))):
        for pair in pairs:
            image = pair.image if folder == "set" else pair.image[::-1].copy()
            labels = pair.labels if folder == "set" else pair.labels[::-1].copy()
            add_correction(image, labels, name=pair.name, folder=tmp_path / folder)
    return tmp_path / "set"


def test_the_new_model_is_scored_beside_the_old_and_kept_only_when_told(
    training_set: Path, tmp_path: Path
) -> None:
    from napari_wbcseg.network.model_file import ModelFile

    start = random_model(TINY, name="start")
    ModelFile.write(tmp_path / "start.safetensors", start.header, start.weights)
    arguments = ["finetune", "--start", tmp_path / "start.safetensors", "--original", tmp_path / "original"]
    arguments += ["--epochs", "2", "--learning-rate", "0.02", "--precision", "float32"]

    said = wbcseg(*arguments, "--name", "mine").output
    assert "Goes on from start with" in said
    assert "your cells (" in said
    assert "original images (" in said
    assert "give --keep" in said
    assert "was not kept" in said
    assert "mine" not in wbcseg("models").stdout

    assert "Model mine: " in wbcseg(*arguments, "--name", "mine", "--keep").stdout
    header = load_model("mine").header
    assert {"held_out_dice", "held_out_dice_of_start", "original_dice"} <= set(header.scores)
    assert "fine-tuned here from start@" in " ".join(wbcseg("models", "show", "mine").stdout.split())


def test_with_no_training_set_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "none"))
    assert "wbcseg corrections add" in wbcseg("finetune", "--discard", status=1).output


def test_a_model_goes_out_comes_in_and_is_removed(model: Path, tmp_path: Path) -> None:
    wbcseg("models", "export", model, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size > 1000
    assert "must be one of" in wbcseg("models", "export", model, "out.pt", status=1).output
    wbcseg("models", "export", model, tmp_path / "out.safetensors")
    wbcseg("models", "import", tmp_path / "out.safetensors", "--name", "back")
    assert "imported from out.safetensors" in wbcseg("models").stdout
    wbcseg("models", "remove", "back", "--yes")
    assert "back" not in wbcseg("models").stdout
    assert "none of your own" in wbcseg("models", "remove", "wbc", "--yes", status=1).output
