from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.errors import Cancelled, TrainingError
from napari_wbcseg.network.classic import classic_arrays, classic_grey
from napari_wbcseg.network.device import dtype_policy
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training import classic, loop
from napari_wbcseg.training.loop import cosine_rate
from napari_wbcseg.training.plan import RECIPES
from napari_wbcseg.training.train import TrainingResult, train

from ..tiny_networks import TINY, dark_disc_pairs, random_model

RECIPE = RECIPES["classic"]
FAST = TrainingSettings(epochs=3, learning_rate=1e-2, precision="float32")


def curve(history: list[dict[str, Any]], key: str = "loss") -> list[float]:
    return [row[key] for row in history]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """Return the folder and the result of a whole training, which the tests compare with theirs."""
    folder = tmp_path_factory.mktemp("kept")
    return folder, train(dark_disc_pairs(), FAST, folder, init=random_model(TINY))


@pytest.fixture
def whole(kept: tuple[Path, TrainingResult]) -> TrainingResult:
    """Return the result of `FAST` in one go."""
    return kept[1]


@pytest.fixture
def done(kept: tuple[Path, TrainingResult], tmp_path: Path) -> Path:
    """Return a folder in which `FAST` came to its end."""
    return shutil.copytree(kept[0], tmp_path / "done")


# What is learnt ------------------------------------------------------------------------------------


def test_the_published_recipe_trains_the_published_network(tmp_path: Path) -> None:
    result = train(dark_disc_pairs(3), TrainingSettings(epochs=1), tmp_path, name="first try")

    header = ModelFile.read(tmp_path / "first-try.safetensors").header
    assert header == result.model.header
    assert repr(result) == f"<TrainingResult: {result.model.id}, 1 epoch, all epochs done as planned>"
    assert header.architecture.parameter_count == 7_846_081
    assert header.training["epochs_done"] == 1
    assert header.scores["training_loss"] == result.history[0]["loss"]
    assert header.canonical_diameter is None
    assert (tmp_path / "history.csv").read_text().startswith("epoch,")


def test_dark_discs_are_learnt(pairs: list[TrainingPair], tiny: ModelFile) -> None:
    from napari_wbcseg.evaluation.metrics import soft_dice
    from napari_wbcseg.network.engines import create_engine

    result = train(pairs, FAST.replace(epochs=50, dropout=0.0), init=tiny)

    images, targets = classic_arrays(pairs)
    probability = create_engine(result.model).predict(images.astype(np.float32) / 255)
    assert soft_dice(targets / 255, probability) > 0.9
    assert result.history[-1]["dice"] > result.history[0]["dice"]


def test_the_second_network_of_a_model_is_kept(pairs: list[TrainingPair], tiny: ModelFile) -> None:
    start = tiny.with_second(random_model(TINY, seed=1))

    tuned = train(pairs, FAST, init=start).model

    assert tuned.second is not None
    assert start.second is not None
    assert all(np.array_equal(tuned.second.weights[k], v) for k, v in start.second.weights.items())
    assert any((tuned.first.weights[k] != v).any() for k, v in start.first.weights.items())


def test_the_weights_kept_are_those_of_the_best_epoch(pairs: list[TrainingPair], tiny: ModelFile) -> None:
    # So high a rate that some epochs are worse than the one before.
    settings = FAST.replace(epochs=8, learning_rate=0.3, validation_fraction=0.3)
    result = train(pairs, settings, init=tiny)

    losses = curve(result.history, "val_loss")
    best = int(np.argmin(losses)) + 1
    assert best < 8
    assert result.model.header.training["best_epoch"] == best
    again = train(pairs, settings.replace(epochs=best), init=tiny)
    assert all(np.array_equal(again.model.weights[k], v) for k, v in result.model.weights.items())


def test_training_twice_gives_one_curve_and_another_seed_another(
    pairs: list[TrainingPair], tiny: ModelFile, whole: TrainingResult
) -> None:
    again, other = (train(pairs, FAST.replace(seed=seed), init=tiny) for seed in (FAST.seed, 1))
    assert curve(again.history) == curve(whole.history)
    assert curve(other.history) != curve(whole.history)


def test_processes_that_draw_the_batches_change_nothing(
    pairs: list[TrainingPair], tiny: ModelFile, whole: TrainingResult
) -> None:
    beside = train(pairs, FAST, init=tiny, processes=2)
    assert curve(beside.history) == curve(whole.history)
    assert all(np.array_equal(beside.model.weights[k], v) for k, v in whole.model.weights.items())


def test_fine_tuning_starts_from_the_given_weights(pairs: list[TrainingPair], tiny: ModelFile) -> None:
    result = train(pairs, FAST.replace(epochs=1, learning_rate=1e-9), init=tiny)
    for name, value in tiny.weights.items():
        np.testing.assert_allclose(result.model.weights[name], value, rtol=1e-3, atol=1e-5)
    assert tiny.id in result.model.header.training_data


# Resuming ------------------------------------------------------------------------------------------


def test_resuming_gives_what_training_in_one_go_gives(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path
) -> None:
    settings = FAST.replace(epochs=5, plateau_patience=1, learning_rate=0.2)
    whole = train(pairs, settings, init=tiny)
    assert min(curve(whole.history, "lr")) < 0.1  # the plateau's state matters

    events: list[dict[str, Any]] = []
    train(pairs, settings.replace(epochs=3), tmp_path, init=tiny)
    resumed = train(pairs, settings, tmp_path, init=tiny, resume=True, on_event=events.append)

    assert len(events[0]["history"]) == 3
    assert curve(resumed.history) == curve(whole.history)
    assert curve(resumed.history, "lr") == curve(whole.history, "lr")
    assert all(np.array_equal(resumed.model.weights[k], v) for k, v in whole.model.weights.items())


def test_training_killed_outright_loses_at_most_one_epoch(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path
) -> None:
    code = (
        "import os, signal\n"
        "from napari_wbcseg.training.train import train\n"
        "from tests.training.test_train import FAST, dark_disc_pairs, random_model, TINY\n"
        "def kill(event):\n"
        "    if event['event'] == 'step' and event['epoch'] == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train(dark_disc_pairs(), FAST, {str(tmp_path)!r}, init=random_model(TINY), on_event=kill)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, timeout=200)
    assert done.returncode == -9, done.stderr.decode()[-2000:]

    events: list[dict[str, Any]] = []
    resumed = train(pairs, FAST, tmp_path, init=tiny, resume=True, on_event=events.append)

    assert len(events[0]["history"]) == 2
    assert len(resumed.history) == 3


def test_training_that_died_right_after_its_last_epoch_does_none_besides(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path
) -> None:
    settings = FAST.replace(epochs=50, learning_rate=1e-12, early_stop_patience=2, dropout=0.0)
    whole = train(pairs, settings, init=tiny)

    def die(event: dict[str, Any]) -> None:
        if event["event"] == "epoch" and event["epoch"] == len(whole.history):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pairs, settings, tmp_path, init=tiny, on_event=die)
    resumed = train(pairs, settings, tmp_path, init=tiny, resume=True)
    assert curve(resumed.history) == curve(whole.history)
    assert resumed.ended == whole.ended


def test_resuming_a_finished_training_does_nothing_again(
    pairs: list[TrainingPair], tiny: ModelFile, whole: TrainingResult, done: Path
) -> None:
    again = train(pairs, FAST, done, init=tiny, resume=True)
    assert again.history == whole.history
    assert all(np.array_equal(again.model.weights[k], v) for k, v in whole.model.weights.items())


def test_resuming_where_nothing_was_begun_begins(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path
) -> None:
    assert len(train(pairs, FAST, tmp_path, init=tiny, resume=True).history) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, p, m: (s.replace(learning_rate=0.5), p, m), "learning_rate was 0.01 and is now 0.5"),
        (lambda s, p, m: (s, p[:-1], m), "training data has changed"),
        (lambda s, p, m: (s, p, random_model(TINY, seed=3)), "network it starts from"),
    ],
)
def test_resuming_with_something_else_gets_a_sentence(
    pairs: list[TrainingPair], tiny: ModelFile, done: Path, change: Callable[..., Any], message: str
) -> None:
    settings, other_pairs, init = change(FAST, pairs, tiny)
    with pytest.raises(TrainingError, match=message):
        train(other_pairs, settings, done, init=init, resume=True)


def test_a_folder_that_changed_is_named_when_its_training_is_resumed(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path
) -> None:
    """The window, which offers to resume, does not show which folder it was."""
    folder = tmp_path / "annotated"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for pair in pairs:
        tifffile.imwrite(folder / "images" / f"{pair.name}.tif", pair.image)
        tifffile.imwrite(folder / "labels" / f"{pair.name}.tif", pair.labels.astype(np.uint16))
    train(folder, FAST, tmp_path / "out", init=tiny)
    for part in ("images", "labels"):
        (folder / part / f"{pairs[0].name}.tif").unlink()
    with pytest.raises(TrainingError, match=f"the training data in {re.escape(str(folder))} has changed"):
        train(folder, FAST, tmp_path / "out", init=tiny, resume=True)


def test_a_damaged_checkpoint_gets_a_sentence(pairs: list[TrainingPair], tiny: ModelFile, done: Path) -> None:
    state = done / "checkpoint" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-10])
    with pytest.raises(TrainingError, match=r"state\.safetensors cannot be read"):
        train(pairs, FAST, done, init=tiny, resume=True)


# Ending early --------------------------------------------------------------------------------------


def test_stopping_keeps_the_best_weights(pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path) -> None:
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps > 5  # two steps an epoch: in the third

    result = train(pairs, FAST.replace(epochs=50), tmp_path, init=tiny, should_stop=stop)

    assert steps == 6
    assert len(result.history) == 2
    assert result.ended.startswith("stopped by the user")
    expected = train(pairs, FAST.replace(epochs=2), init=tiny)
    assert all(np.array_equal(result.model.weights[k], v) for k, v in expected.model.weights.items())


def test_stopped_in_the_first_epoch_it_does_not_claim_best_weights(
    pairs: list[TrainingPair], tiny: ModelFile
) -> None:
    result = train(pairs, FAST, init=tiny, should_stop=lambda: True)
    assert "stopped by the user" in result.ended
    assert "not validated" in result.ended
    assert "best" not in result.ended


def test_training_that_was_stopped_can_go_on(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path, whole: TrainingResult
) -> None:
    answers = iter([False] * 3 + [True])
    train(pairs, FAST, tmp_path, init=tiny, should_stop=lambda: next(answers))
    resumed = train(pairs, FAST, tmp_path, init=tiny, resume=True)
    assert curve(resumed.history) == curve(whole.history)


def test_cancelling_leaves_nothing(pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path) -> None:
    def cancel(done: int, total: int, stage: str) -> None:
        if done == 3:
            assert (tmp_path / "out" / "checkpoint").exists()
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        train(pairs, FAST, tmp_path / "out", init=tiny, progress=cancel)
    assert list(tmp_path.rglob("*")) == []


def test_no_progress_ends_training_early(pairs: list[TrainingPair], tiny: ModelFile) -> None:
    settings = FAST.replace(epochs=50, learning_rate=1e-12, early_stop_patience=2, dropout=0.0)
    result = train(pairs, settings, init=tiny)
    assert len(result.history) < 20
    assert result.ended == "no progress for 2 epochs"


def test_without_validation_a_cosine_goes_to_its_end_whatever_the_loss_and_its_last_weights_are_kept(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path
) -> None:
    settings = FAST.replace(
        epochs=6, learning_rate=1e-12, early_stop_patience=2, dropout=0.0, validation_fraction=0.0
    )
    notes: list[str] = []
    cosine = settings.replace(schedule="cosine")
    result = train(
        pairs, cosine, tmp_path, init=tiny, on_event=lambda event: notes.append(event.get("text", ""))
    )
    assert any("kept is therefore the last one" in note for note in notes)
    assert len(result.history) == 6
    assert result.model.header.training["best_epoch"] == 6
    events: list[dict[str, Any]] = []
    train(pairs, cosine, tmp_path, init=tiny, resume=True, on_event=events.append)
    assert not any(row["best"] for row in events[0]["history"]), "the curve marked the last epoch as the best"
    assert len(train(pairs, settings, init=tiny).history) < 6


def test_more_patience_goes_on_with_a_training_that_ended_early(
    pairs: list[TrainingPair], tiny: ModelFile, tmp_path: Path
) -> None:
    settings = FAST.replace(epochs=6, learning_rate=1e-12, early_stop_patience=1, dropout=0.0)
    assert len(train(pairs, settings, tmp_path, init=tiny).history) < 6
    patient = settings.replace(early_stop_patience=9)
    assert len(train(pairs, patient, tmp_path, init=tiny, resume=True).history) == 6


def test_other_settings_are_refused_before_the_data_are_read(tiny: ModelFile, done: Path) -> None:
    with pytest.raises(TrainingError, match="learning_rate was"):
        train(done / "no data", FAST.replace(learning_rate=0.1), done, init=tiny, resume=True)


@pytest.fixture
def spoil_batches(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that makes the images NaN from an epoch (from 0) on."""
    original = classic.draw_tiles

    def spoil(first: int) -> None:
        def draw(*told: Any) -> tuple[np.ndarray, np.ndarray]:
            *_, epoch, _ = told
            images, targets = original(*told)
            return (images * np.nan if epoch >= first else images), targets

        monkeypatch.setattr(classic, "draw_tiles", draw)

    return spoil


def test_a_loss_that_is_no_number_ends_training_with_the_best_weights(
    pairs: list[TrainingPair], tiny: ModelFile, spoil_batches: Callable[[int], None]
) -> None:
    spoil_batches(2)
    result = train(pairs, FAST.replace(epochs=9), init=tiny)
    assert len(result.history) == 2
    assert "no longer numbers" in result.ended
    assert all(np.isfinite(value).all() for value in result.model.weights.values())


def test_an_epoch_whose_validation_is_no_number_is_never_the_best(
    pairs: list[TrainingPair], tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([np.nan, 0.4, np.nan])
    original = loop._floats

    def floats(logs: dict[str, Any]) -> dict[str, float]:
        found = original(logs)
        return found | {"val_loss": next(told)} if "val_loss" in found else found

    monkeypatch.setattr(loop, "_floats", floats)
    result = train(pairs, FAST.replace(validation_fraction=0.3), init=tiny)
    assert result.model.header.training["best_epoch"] == 2


def test_a_loss_that_never_was_a_number_gets_a_sentence(
    pairs: list[TrainingPair], tiny: ModelFile, spoil_batches: Callable[[int], None]
) -> None:
    spoil_batches(0)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(pairs, FAST, init=tiny)


# What is told --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told() -> dict[str, list[Any]]:
    """Return the events and the progress of a training with validation."""
    told: dict[str, list[Any]] = {"events": [], "progress": []}
    train(
        dark_disc_pairs(),
        FAST.replace(validation_fraction=0.3),
        init=random_model(TINY),
        on_event=told["events"].append,
        progress=lambda *step: told["progress"].append(step),
    )
    return told


def test_events_tell_everything_a_window_shows(told: dict[str, list[Any]]) -> None:
    events = told["events"]
    kinds = [event["event"] for event in events if event["event"] not in ("step", "note")]
    assert kinds == ["start", *["epoch"] * 3, "end"]
    assert "Trains on 4 cells in 4 images: 4 tiles an epoch." in events[0]["plan"]
    assert "rests on 2 cells" in events[2]["text"]
    json.dumps(events)
    assert "CPU" in events[0]["device"] or "GPU" in events[0]["device"]
    assert (events[0]["images"], events[0]["validation_images"]) == (4, 2)
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    wanted = {
        "loss",
        "dice",
        "val_loss",
        "val_dice",
        "lr",
        "images_per_second",
        "seconds_left",
        "best",
        "waiting",
    }
    assert wanted <= set(epochs[0])
    assert epochs[-1]["seconds_left"] == 0
    assert any(event["event"] == "step" and event["step"] == 1 for event in events)


def test_progress_counts_every_step(told: dict[str, list[Any]]) -> None:
    steps = [entry for entry in told["progress"] if entry[1]]
    assert [done for done, _, _ in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[-1] == (6, 6, "Epoch 3 of 3")


# Data and settings ---------------------------------------------------------------------------------


def test_every_batch_follows_from_seed_epoch_and_index(pairs: list[TrainingPair]) -> None:
    first, again = (RECIPE.batches(pairs, FAST, training=True) for _ in range(2))
    assert np.array_equal(first.draw(0, 0)[0], again.draw(0, 0)[0])
    assert not np.array_equal(first.draw(0, 0)[0], first.draw(1, 0)[0])
    epochs = [np.concatenate([first.draw(e, i)[0] for i in range(first.steps)]) for e in range(2)]
    assert sorted(tile.sum() for tile in epochs[0]) == sorted(tile.sum() for tile in epochs[1])


def test_each_batch_is_drawn_once_and_in_the_epoch_it_is_for(
    pairs: list[TrainingPair], tiny: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []
    original = classic.draw_tiles

    def noted(*told: Any) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(told[-2:])
        return original(*told)

    monkeypatch.setattr(classic, "draw_tiles", noted)
    train(pairs, FAST, init=tiny)
    assert drawn == [(epoch, index) for epoch in range(3) for index in range(2)]


def test_mirrored_copies_make_three_of_one(pairs: list[TrainingPair]) -> None:
    plain, flipped = (RECIPE.batches(pairs, FAST.replace(flips=f), training=True) for f in (False, True))
    assert (plain.steps, flipped.steps) == (2, 6)
    assert RECIPE.tiles(pairs, FAST.replace(flips=True)) == 18


def test_grey_is_weighted_and_the_dark_edge_of_the_field_becomes_white() -> None:
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [20, 20, 20], [21, 21, 21]]], np.uint8)
    assert classic_grey(image).tolist() == [[76, 150, 29, 255, 21]]


def test_what_is_smaller_than_a_tile_is_padded_with_white() -> None:
    pair = dark_disc_pairs(1, size=100)[0]
    images, targets = classic_arrays([pair])
    assert images.shape == targets.shape == (1, 128, 128, 1)
    assert (images[0, 100:] == 255).all()
    assert not targets[0, 100:].any()
    assert np.array_equal(targets[0, :100, :100, 0] > 127, pair.labels > 0)


def test_a_cosine_schedule_ends_at_a_hundredth() -> None:
    settings = FAST.replace(schedule="cosine", epochs=11, learning_rate=1.0)
    rates = [cosine_rate(settings, epoch) for epoch in range(11)]
    assert rates[0] == 1.0
    assert rates[-1] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("precision", "policy"), [("float32", "float32"), ("mixed", "mixed_bfloat16")])
def test_precision_can_be_chosen(precision: str, policy: str) -> None:
    assert dtype_policy(precision) == policy
    assert dtype_policy("auto") in {"float32", "mixed_bfloat16"}


def test_no_images_no_cells_and_a_model_of_another_recipe_get_sentences(
    pairs: list[TrainingPair], tiny: ModelFile
) -> None:
    empty = TrainingPair("empty", pairs[0].image, np.zeros_like(pairs[0].labels), "slide")
    with pytest.raises(TrainingError, match="no training image"):
        train([], FAST)
    with pytest.raises(TrainingError, match="labelled cell"):
        train([empty], FAST)
    with pytest.raises(TrainingError, match="recipe classic"):
        train(pairs, TrainingSettings.for_recipe("robust"), init=tiny)
