"""What goes wrong with training data, disks and folders ends in a sentence, and nothing good is lost."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.errors import ModelError, TrainingError
from napari_wbcseg.network.library import require_writable, save_to_library
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.plan import make_plan
from napari_wbcseg.training.train import train

from ..tiny_networks import dark_disc_pairs

FAST = TrainingSettings(epochs=4, learning_rate=1e-2, precision="float32")
ROBUST = TrainingSettings.for_recipe("robust", validation_fraction=0.2)


def cut_off(pair: TrainingPair) -> TrainingPair:
    """Move the cell of a pair out of the picture, by half."""
    middle = int(np.nonzero(pair.labels)[1].mean())
    return replace(
        pair, name=f"{pair.name}-cut", image=pair.image[:, middle:], labels=pair.labels[:, middle:]
    )


def test_three_pairs_are_trained_on_and_one_is_validated_on_and_the_user_is_told_what_to_expect() -> None:
    plan = make_plan(dark_disc_pairs(3), ROBUST, fine_tuning=True)
    assert (len(plan.training), len(plan.validation)) in {(2, 1), (1, 2)}
    assert any("few" in note for note in plan.notes)
    assert any("mean nothing" in note for note in plan.notes), "so few cells say little of the model"


def test_a_tile_with_its_cell_cut_off_is_left_out_aloud() -> None:
    pairs = dark_disc_pairs(3)
    plan = make_plan([*pairs, cut_off(pairs[0])], ROBUST)
    assert plan.left_out == [("disc-0-cut", "every cell in it is cut by the image's border")]
    assert "disc-0-cut" not in [pair.name for pair in (*plan.training, *plan.validation)]
    with pytest.raises(TrainingError, match="None of the training images shows a whole cell"):
        make_plan([cut_off(pair) for pair in pairs], ROBUST)


def test_a_copy_of_a_validation_tile_is_refused_before_anything_is_trained(
    tiny: ModelFile, tmp_path: Path
) -> None:
    pairs = dark_disc_pairs(4)
    copies = [
        replace(
            pair, name=f"copy-{pair.name}", image=pair.image[::-1], labels=pair.labels[::-1], group=f"{i}"
        )
        for i, pair in enumerate(pairs)
    ]
    settings = FAST.replace(validation_fraction=0.3)
    with pytest.raises(TrainingError, match=r"same picture.*copy-disc-"):
        train([*pairs, *copies], settings, tmp_path, init=tiny)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_full_disk_in_a_later_epoch_keeps_the_earlier_ones_to_go_on_from(
    tiny: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = dark_disc_pairs(4)
    expected = train(pairs, FAST, init=tiny).history
    seen: list[int] = []
    real = os.fsync

    def full_from_the_third_epoch(descriptor: int) -> None:
        if len(seen) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_from_the_third_epoch)
    with pytest.raises(TrainingError, match=r"disk is full: .*checkpoint.*Make room"):
        train(
            pairs,
            FAST,
            tmp_path,
            init=tiny,
            on_event=lambda event: seen.append(1) if event["event"] == "epoch" else None,
        )
    assert len(seen) == 2
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(os, "fsync", real)
    resumed = train(pairs, FAST, tmp_path, init=tiny, resume=True)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in expected]


def test_a_checkpoint_without_the_best_weights_is_not_gone_on_with(tiny: ModelFile, tmp_path: Path) -> None:
    train(dark_disc_pairs(4), FAST.replace(epochs=2), tmp_path, init=tiny)
    state = tmp_path / "checkpoint" / "state.safetensors"
    with safe_open(state, framework="numpy") as file:
        metadata = file.metadata()
    tensors = {name: value for name, value in load_file(state).items() if not name.startswith("best/")}
    save_file(tensors, state, metadata)
    with pytest.raises(TrainingError, match=r"earlier version wrote it.*train again without resuming"):
        train(dark_disc_pairs(4), FAST.replace(epochs=3), tmp_path, init=tiny, resume=True)


def test_a_protected_models_folder_is_refused_before_the_work_and_after_it(
    library: Path, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(library)
    assert list(library.iterdir()) == []

    def protected(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # Root may write anywhere, so the refusal of the system is played.
    monkeypatch.setattr(Path, "open", protected)
    for work in (lambda: require_writable(library), lambda: save_to_library(tiny)):
        with pytest.raises(ModelError, match=r"protected.*choose another folder"):
            work()
