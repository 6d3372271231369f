"""`wbcseg train` and `finetune` follow a training, and leave what was learned."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from napari_wbcseg.datasets.corrections import add_correction
from napari_wbcseg.network.library import load_model
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.folder import TrainingJob, new_training_folder, read_record, write_job
from napari_wbcseg.training.train import train

from ..dark_model import write_dark_model
from ..tiny_networks import TINY, dark_disc_pairs, random_model
from .shell import started, wbcseg


class TestTrain:
    @pytest.fixture
    def tiny(self, model: Path) -> Path:
        """Return a small network to start from: the published one takes a minute an epoch."""
        return model

    @pytest.mark.slow
    def test_training_tells_the_device_follows_the_epochs_and_writes_the_model(
        self, pairs: Path, tiny: Path, tmp_path: Path
    ) -> None:
        result = wbcseg("train", pairs, "--start", tiny, "--epochs", 2, "--out", "new/mine.safetensors")
        assert re.search(r"Device: (CPU|GPU)", result.stderr)
        assert re.search(r"epoch\s+1 of 2\s+loss 0\.\d{4}\s+dice 0\.\d{4}", result.stderr)
        assert "Trained for 2 epochs" in result.stdout
        shown = " ".join(wbcseg("models", "show", "new/mine.safetensors").stdout.split())
        assert "name mine" in shown
        assert "3 images from pairs" in shown
        assert (tmp_path / "new" / "mine-training" / "history.csv").is_file()

    @pytest.mark.slow
    def test_going_on_from_a_model_takes_the_small_steps_of_a_fine_tuning(
        self, pairs: Path, tiny: Path
    ) -> None:
        wbcseg("train", pairs, "--start", tiny, "--seed", 3, "--out", "mine.safetensors")
        wanted = TrainingSettings.for_recipe("classic", fine_tuning=True, seed=3)
        assert (wanted.epochs, wanted.learning_rate) == (6, 5e-5)
        by_shell = ModelFile.read("mine.safetensors").header.training
        by_default = train(pairs, init=load_model(tiny)).model.header.training
        assert wanted.model_dump().items() <= by_shell.items()
        assert wanted.replace(seed=0).model_dump().items() <= by_default.items()

    @pytest.mark.slow
    def test_a_name_puts_the_model_into_the_library(self, pairs: Path, tiny: Path) -> None:
        wbcseg("train", pairs, "--start", tiny, "--epochs", 1, "--name", "mine")
        assert "mine" in wbcseg("models").stdout
        wbcseg("segment", pairs / "0.png", "-m", "mine", "-o", "out")

    @pytest.mark.slow
    def test_ctrl_c_keeps_the_best_and_resume_goes_on(self, pairs: Path, tiny: Path, tmp_path: Path) -> None:
        command = ["train", pairs, "--start", tiny]
        command += ["--out", "new/mine.safetensors", "--early-stop-patience", 100_000]
        command += ["--schedule", "plateau", "--epochs"]
        process = started(*command, 10_000)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch   3"):
                break
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "stopped by the user" in output
        assert "--resume" in output
        assert (tmp_path / "new" / "mine.safetensors").is_file()
        (tmp_path / "new" / "mine.safetensors").unlink()
        again = wbcseg(*command, 10_000, status=1)
        assert "of a training that was interrupted: add --resume" in again.stderr
        done = len((tmp_path / "new" / "mine-training" / "history.csv").read_text().splitlines()) - 1
        other = ["train", "nowhere", *command[2:], 10_000, "--resume", "--seed", 5]
        assert "seed was 0 and is now 5" in wbcseg(*other, status=1).stderr  # before data are read
        result = wbcseg(*command, done + 2, "--resume")
        assert f"resumed after epoch {done}" in result.stderr
        assert f"Trained for {done + 2} epochs" in result.stdout

    def test_data_that_cannot_be_used_is_a_sentence(self, tmp_path: Path) -> None:
        result = wbcseg("train", tmp_path / "nowhere", "--name", "mine", status=1)
        assert result.stderr.startswith("There is no folder or archive")
        assert result.stderr.count("\n") == 1

    @pytest.mark.slow
    def test_a_model_of_the_same_name_is_not_replaced_by_a_training_that_goes_on(
        self, pairs: Path, tiny: Path, tmp_path: Path
    ) -> None:
        taken = write_dark_model(tmp_path / "library" / "mine.safetensors")
        output = wbcseg("train", pairs, "--start", tiny, "--epochs", 1, "--name", "mine", "--resume").stdout
        assert load_model("mine").hash == taken.hash
        assert "Model mine-2:" in output

    @pytest.mark.parametrize("out", ["mine.safetensors", "runs"])
    def test_a_model_that_is_there_is_not_written_over(self, pairs: Path, tmp_path: Path, out: str) -> None:
        file = Path(out) if out.endswith(".safetensors") else Path(out, "mine.safetensors")
        before = write_dark_model(file).hash
        for more in ((), ("--resume",)):  # there is nothing to go on with
            result = wbcseg("train", pairs, "--out", out, "--name", "mine", *more, status=1)
            assert f"{file} is there already" in result.stderr
        assert ModelFile.read(file).hash == before

    @pytest.mark.parametrize("command", [("train", "pairs"), ("finetune", "pairs")])
    def test_what_napari_keeps_of_an_interrupted_training_stays(
        self, pairs: Path, command: tuple[str, str]
    ) -> None:
        folder = new_training_folder("mine")
        write_job(folder, TrainingJob(pairs, TrainingSettings(), "mine"))
        assert "go on with it or discard it there" in wbcseg(*command, "--name", "mine", status=1).stderr
        assert read_record(folder)["data"] == str(pairs)


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
    start = random_model(TINY, name="start")
    ModelFile.write(tmp_path / "start.safetensors", start.header, start.weights)
    arguments = ["finetune", "--start", tmp_path / "start.safetensors", "--original", tmp_path / "original"]
    arguments += ["--epochs", "2", "--learning-rate", "0.02", "--precision", "float32"]

    said = wbcseg(*arguments, "--name", "mine").output
    assert "Goes on from start with" in said
    assert "your cells (" in said
    assert "original images (" in said
    assert "with --resume --keep keeps it still" in said
    assert "was not kept" in said
    assert "mine" not in wbcseg("models").stdout

    kept = wbcseg(*arguments, "--name", "mine", "--resume", "--keep")
    assert "resumed after epoch 2" in kept.stderr
    assert "Model mine: " in kept.stdout
    header = load_model("mine").header
    assert {"held_out_dice", "held_out_dice_of_start", "original_dice"} <= set(header.scores)
    assert "fine-tuned here from start@" in " ".join(wbcseg("models", "show", "mine").stdout.split())


def test_with_no_training_set_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "none"))
    assert "wbcseg corrections add" in wbcseg("finetune", "--discard", status=1).output
