"""The folder of a checkpoint, without a network: who may use it, and what killed runs left in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.errors import DatasetError, TrainingError
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training import checkpoint
from napari_wbcseg.training.checkpoint import LOCK, Checkpoint, State, fingerprint
from napari_wbcseg.training.folder import TrainingJob, discard_training, unfinished_trainings, write_job
from napari_wbcseg.training.train import train

LEFT = (".history.csv.0123456789ab.part", "checkpoint/.state.safetensors.ba9876543210.part")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a training that was killed while it saved."""
    folder = tmp_path / "training" / "mine"
    (folder / "checkpoint").mkdir(parents=True)
    for name in LEFT:
        (folder / name).write_bytes(b"half")
    (folder / "checkpoint" / "state.safetensors").write_bytes(b"whole")
    (folder / "thesis.part").write_bytes(b"the user's")
    return folder


def test_what_killed_runs_left_half_written_goes_at_the_next_start(folder: Path) -> None:
    with Checkpoint(folder).locked():
        assert not any((folder / name).exists() for name in LEFT)
        assert (folder / "checkpoint" / "state.safetensors").exists()
        assert (folder / "thesis.part").exists()


def test_who_only_looks_changes_nothing(
    folder: Path, pairs: list[TrainingPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCSEG_MODELS", str(folder.parents[1]))
    write_job(folder, TrainingJob(pairs, TrainingSettings(), "mine"))
    assert [found.folder for found in unfinished_trainings()] == [folder]
    assert all((folder / name).exists() for name in (*LEFT, LOCK))


def test_a_run_is_not_resumed_on_other_boxes(pairs: list[TrainingPair]) -> None:
    boxed = replace(pairs[0], platelets=(Box(0, 0, 9, 9),))
    assert fingerprint([boxed]) != fingerprint(pairs[:1]) == fingerprint([replace(pairs[0])])


def test_a_run_is_not_resumed_on_another_mask_nor_refused_by_one_that_did_not_know_it(
    pairs: list[TrainingPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = [
        replace(pairs[0], mask=np.where(pairs[0].labels > 0, np.uint8(value), 0)) for value in (255, 250)
    ]
    without, *prints = [fingerprint([pair]) for pair in (pairs[0], *masked)]
    wanted, *others = (State(settings={}, data=data, network="") for data in (prints[0], prints[1], without))
    earlier = wanted.model_copy(update={"data": without.partition("-")[0]})
    checkpoint = Checkpoint(Path("training"))
    monkeypatch.setattr(Checkpoint, "_read", lambda _: earlier)
    checkpoint.refuse_other(wanted)
    for other in others:
        monkeypatch.setattr(Checkpoint, "_read", lambda _, found=other: found)
        with pytest.raises(TrainingError, match="training data has changed"):
            checkpoint.refuse_other(wanted)


def test_one_training_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Checkpoint(folder), Checkpoint(folder)
    monkeypatch.setattr(checkpoint, "PATIENCE", 0)
    with (
        first.locked(),
        pytest.raises(TrainingError, match="Another training is at work"),
        second.locked(),
    ):
        pass
    assert not (folder / LOCK).exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"cannot be written .*Choose another"):
        train(tmp_path / "no data", out=tmp_path / "file" / "out")


def test_a_training_that_does_not_begin_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for out in ("mine", "new"):
        with pytest.raises(DatasetError):
            train(tmp_path / "no data", out=tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_else_is_in_a_folder_of_that_name_stays(folder: Path) -> None:
    other = folder / "checkpoint" / "of-another-program.pt"
    other.write_bytes(b"the user's")
    Checkpoint(folder).discard()
    assert list((folder / "checkpoint").glob("[!.]*")) == [other]


def test_a_training_that_is_at_work_is_not_discarded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_wbcseg.training.folder.PATIENCE", 0.1)
    with Checkpoint(folder).locked():
        discard_training(folder)
        assert (folder / "checkpoint" / "state.safetensors").exists()
    discard_training(folder)
    assert not folder.exists()
    discard_training(folder)
    assert not folder.exists()


def test_of_a_training_that_is_discarded_no_folder_is_left_on_windows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of a lock can be removed there when nobody holds it any more."""
    rmtree = shutil.rmtree

    def rmtree_but_the_lock(path: Path, **options: object) -> None:
        rmtree(path / "checkpoint")
        for file in path.iterdir():
            if file.name != LOCK:
                file.unlink()

    monkeypatch.setattr(shutil, "rmtree", rmtree_but_the_lock)
    discard_training(folder)
    assert not folder.exists()
