"""Fine-tuning from end to end, with a small network of the published recipe and a real training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.datasets.corrections import add_correction
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.errors import SettingsError, TrainingError
from napari_wbcseg.evaluation.compare import compare_models
from napari_wbcseg.network.library import list_models, load_model
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.network.robust import ROBUST
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.checkpoint import fingerprint
from napari_wbcseg.training.duplicates import find_duplicates
from napari_wbcseg.training.fine_tune import (
    FineTuned,
    FineTuningPlan,
    Replay,
    fine_tune,
    make_replay,
    plan_fine_tuning,
    plan_of,
)
from napari_wbcseg.training.folder import TrainingJob, read_job, write_job
from napari_wbcseg.training.plan import make_plan

from ..tiny_networks import RICH, TINY, dark_disc_pairs, random_model, small_robust

START = random_model(TINY, name="start")
GENTLE = TrainingSettings.for_recipe("robust", fine_tuning=True)
FAST = TrainingSettings.for_recipe(
    "classic", fine_tuning=True, epochs=4, learning_rate=2e-2, precision="float32", dropout=0.0
)


def original_pairs() -> list[TrainingPair]:
    """Return pairs that read like those of the original set."""
    pairs = dark_disc_pairs(8, 64)
    return [
        replace(pair, name=f"train-{i}", group=f"fold-{i % 4}", image=pair.image[::-1, ::-1].copy())
        for i, pair in enumerate(pairs)
    ]


@pytest.fixture
def few_smears(monkeypatch: pytest.MonkeyPatch) -> None:
    small_robust(monkeypatch)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    """Fine-tune once, on a training set on disk."""
    folder = tmp_path_factory.mktemp("set")
    for pair in dark_disc_pairs(8):
        add_correction(pair.image, pair.labels, name=pair.name, source=pair.group, folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WBCSEG_CORRECTIONS", str(folder))
        return fine_tune(None, START, original=original_pairs(), settings=FAST, blend=1.0)


def test_both_models_are_scored_on_cells_of_slides_that_were_not_trained_on(tuned: FineTuned) -> None:
    plan = tuned.plan
    assert plan.held_out
    assert not {pair.group for pair in plan.own} & {pair.group for pair in plan.held_out}
    old, new = tuned.comparison.old, tuned.comparison.new
    assert list(old.rows["image"]) == list(new.rows["image"]) == [pair.name for pair in plan.held_out]
    assert old.model == START.id
    assert tuned.comparison.gain > 0.1, "a network of random weights has much to learn"
    assert len(new.cell_dice) == new.summary["cells"] == sum(pair.labels.max() for pair in plan.held_out)


def test_a_sample_of_the_original_is_replayed_and_another_is_scored(tuned: FineTuned) -> None:
    replay = tuned.plan.replay
    assert {pair.group for pair in replay.held_out} == {"fold-2"}
    assert {pair.group for pair in replay.training} == {"fold-0", "fold-1", "fold-3"}
    assert len(tuned.comparison.new_original.rows) == len(replay.held_out)
    ours = [pair for pair in tuned.plan.pairs if pair.group.startswith("own")]
    assert len(ours) >= len(replay.training) // 2, "the few weigh about as much as the many"


def test_a_field_that_is_repeated_to_weigh_more_is_told_once() -> None:
    plan = plan_fine_tuning([disc_field("one", 1)], START, original_pairs(), FAST)
    assert len(plan.pairs) == 6 + 6
    assert "7 cells in 7 images: 12 tiles an epoch" in make_plan(plan.pairs, plan.settings).summary


def test_the_model_tells_both_scores_and_where_it_comes_from(tuned: FineTuned) -> None:
    header = tuned.model.header
    assert header.scores == tuned.comparison.scores, "the training's are of other weights"
    assert header.scores["held_out_dice"] == pytest.approx(tuned.comparison.new.summary["dice"], abs=1e-4)
    assert header.scores["held_out_dice_of_start"] == pytest.approx(
        tuned.comparison.old.summary["dice"], abs=1e-4
    )
    assert header.origin == f"fine-tuned here from {START.id}"
    assert START.id in header.training_data


def test_fields_that_the_model_it_goes_on_from_has_learnt_from_are_not_called_unseen(
    tuned: FineTuned,
) -> None:
    first = tuned.plan
    again = replace(first, start=tuned.model)
    assert not again.scores_what_start_saw, "the same fields are kept aside"
    assert "has not seen" in tuned.comparison.verdict
    other_way = replace(again, own=first.held_out, held_out=first.own)
    assert "scored on 6 cells in 6 fields that start-tuned has learnt from" in other_way.summary
    _, comparison = other_way.finish(tuned.model)
    assert "on cells that were trained on" in comparison.verdict


def disc_field(name: str, seed: int) -> TrainingPair:
    """Draw a field that is like no other, with two cells that a cut can go between."""
    image = np.random.default_rng(seed).integers(150, 255, (100, 100, 3), np.uint8)
    labels = np.zeros((100, 100), np.int32)
    for number, row in enumerate((15, 65), 1):
        labels[row : row + 20, 40:60] = number
    image[labels > 0] //= 3
    return TrainingPair(name, image, labels, name)


def test_nor_are_those_of_which_it_has_learnt_a_part_or_more_than_this_part() -> None:
    first, second = disc_field("b", 1), disc_field("a", 2)

    def planned(fields: list[TrainingPair], start: ModelFile) -> FineTuningPlan:
        return plan_fine_tuning(fields, start, original_pairs(), FAST)

    def learnt(plan: FineTuningPlan) -> ModelFile:
        return plan.finish(START)[0]

    one_part = planned([first], START)
    of_a_part = learnt(one_part)
    assert not planned([first], of_a_part).scores_what_start_saw, "the other part was kept aside"
    both = planned([first, second], of_a_part)
    assert {pair.name for pair in (*both.own, *both.held_out)} == {"a", "b"}
    assert both.scores_what_start_saw == (both.held_out[0].name == "b")
    assert (
        replace(both, own=both.held_out, held_out=both.own).scores_what_start_saw
        != both.scores_what_start_saw
    )
    of_all = learnt(replace(both, own=[*both.own, *both.held_out], held_out=one_part.held_out))
    assert planned([first], of_all).scores_what_start_saw


def test_an_original_without_a_cell_is_not_what_forgetting_is_measured_on(few_smears: None) -> None:
    empty = replace(disc_field("empty", 3), labels=np.zeros((100, 100), np.int32), white_cell=20.0)
    for recipe in ("robust", "classic"):
        replay = make_replay([empty], recipe)
        assert {pair.group.split()[0] for pair in (*replay.training, *replay.held_out)} == {"@synthetic"}
        assert replay.held_out
        assert replay.training


def test_it_is_kept_only_if_the_user_says_so(
    tuned: FineTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path))
    assert not [info for info in list_models() if not info.built_in]
    kept = tuned.keep("better")
    assert load_model("better").hash == kept.hash
    assert next(info for info in list_models() if info.name == "better").origin.startswith("fine-tuned")


def test_a_model_of_an_earlier_version_gets_the_outputs_that_it_lacked() -> None:
    start = random_model(RICH)
    tuned = random_model(RICH.with_outputs(ROBUST.outputs), seed=1)
    plan = FineTuningPlan(start, [], [], Replay([], [], ""), FAST, (), blend=0.5)
    new = plan.blended(tuned)
    assert new.architecture == tuned.architecture
    head, shared = "head_platelet/kernel", "head_cell/kernel"
    half_way = (start.weights[shared] + tuned.weights[shared]) / 2
    np.testing.assert_allclose(new.weights[head], tuned.weights[head], atol=1e-3)  # kept as float16
    np.testing.assert_allclose(new.weights[shared], half_way, atol=1e-3)


def test_a_model_compared_with_itself_gains_and_loses_nothing() -> None:
    pairs = dark_disc_pairs(2)
    comparison = compare_models(START, START, pairs, pairs)
    assert (comparison.gain, comparison.loss) == (0, 0)
    assert not comparison.new.cell_dice.any() or comparison.interval == (0, 0)


def test_forgetting_is_said_aloud(tuned: FineTuned) -> None:
    comparison = tuned.comparison
    worse = replace(comparison, old_original=comparison.new, new_original=comparison.old)
    assert worse.loss > 0.1
    assert "forgotten" in worse.verdict


def test_a_copy_of_a_field_that_is_scored_is_refused() -> None:
    pairs = dark_disc_pairs(6)
    pairs += [
        replace(
            pair, name=f"copy-{i}", group=f"other-{i}", image=pair.image[:, ::-1], labels=pair.labels[:, ::-1]
        )
        for i, pair in enumerate(pairs)
    ]
    with pytest.raises(TrainingError, match="same picture"):
        plan_fine_tuning(pairs, START, original_pairs(), FAST)


def test_an_original_picture_among_the_users_fields_is_neither_replayed_nor_scored(few_smears: None) -> None:
    original = original_pairs()
    own = [
        replace(
            pair, name=f"mine-{i}", group=f"mine-{i}", image=pair.image[:, ::-1], labels=pair.labels[:, ::-1]
        )
        for i, pair in enumerate(original[:6])
    ]
    plan = plan_fine_tuning(own, START, original, FAST)
    replayed = [*plan.replay.training, *plan.replay.held_out]
    assert not find_duplicates(replayed, own)
    assert {pair.name for pair in replayed} == {"train-6", "train-7"}
    all_of_them = plan_fine_tuning(own, START, original[:6], FAST)
    assert "original data" not in all_of_them.summary, "synthetic smears stand in"


def test_with_one_cell_the_scores_are_said_to_be_on_what_it_saw(few_smears: None) -> None:
    plan = plan_fine_tuning(dark_disc_pairs(1), START, original_pairs(), FAST)
    assert plan.scores_what_it_saw
    assert "that it is also trained on" in plan.summary


def test_without_the_original_data_synthetic_smears_stand_in_aloud(
    few_smears: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WBCSEG_DATA", raising=False)
    monkeypatch.setattr("napari_wbcseg.datasets.download.sigtuple_cache", lambda: tmp_path)
    plan = plan_fine_tuning(dark_disc_pairs(4), START, settings=FAST)
    assert [pair.group.split()[0] for pair in plan.replay.training] == ["@synthetic"] * 2
    assert plan.replay.held_out
    assert "2 synthetic smears" in plan.summary
    assert any("wbcseg download" in note for note in plan.notes)


def test_the_robust_recipe_gives_the_users_cells_as_much_weight_as_all_replay(few_smears: None) -> None:
    from napari_wbcseg.training.plan import RECIPES

    replayed = make_replay(original_pairs(), "robust").training
    # A user's field may be called like a synthetic one.
    pairs = [replace(pair, group=f"synthetic smear {pair.group}") for pair in dark_disc_pairs(2)]
    used = [pair for pair in (*pairs, *replayed) if not RECIPES["robust"].left_out(pair)]
    batches = RECIPES["robust"].batches(used, GENTLE, True)
    composer, *_ = batches.draw.args
    shares = dict(zip(composer.names, composer.share, strict=True))
    assert shares == pytest.approx({"own": 0.5, "sigtuple": 0.25, "synthetic": 0.25})


def robust_model() -> ModelFile:
    return load_model("wbc")


def test_the_new_weights_are_halfway_from_the_old_to_the_tuned(tuned: FineTuned) -> None:
    blended = replace(tuned.plan, blend=0.5).blended(tuned.model)
    for name, value in START.weights.items():
        middle = (value + tuned.model.weights[name]) / 2
        np.testing.assert_allclose(blended.weights[name], middle, atol=2e-3)
    assert blended.header.training["blend"] == 0.5


@pytest.mark.parametrize("fields", [1, 6], ids=["scored on what it saw", "some kept aside"])
def test_a_plan_comes_back_from_the_folder_of_its_training(tmp_path: Path, fields: int) -> None:
    plan = plan_fine_tuning(dark_disc_pairs(fields), START, original_pairs(), FAST, blend=0.9)
    write_job(tmp_path, plan.job)
    found = plan_of(read_job(tmp_path))
    assert (found.summary, found.notes, found.settings) == (plan.summary, plan.notes, plan.settings)
    assert (found.start.id, found.blend) == (START.id, 0.9)
    assert found.scores_what_it_saw == plan.scores_what_it_saw == (fields == 1)
    for ours, theirs in (
        (plan.pairs, found.pairs),
        (plan.held_out, found.held_out),
        (plan.replay.held_out, found.replay.held_out),
    ):
        assert fingerprint(ours) == fingerprint(theirs)


def test_one_that_an_earlier_version_kept_gets_a_sentence(tmp_path: Path) -> None:
    write_job(tmp_path, plan_fine_tuning(dark_disc_pairs(1), START, original_pairs(), FAST).job)
    record = tmp_path / "job" / "job.json"
    values = json.loads(record.read_text())
    del values["fine_tuning"]
    record.write_text(json.dumps({**values, "data": None, "remarks": {"fine_tuning": {}}, "scored": 3}))
    with pytest.raises(TrainingError, match="discard this training, and train again"):
        read_job(tmp_path)


def test_what_is_no_fine_tuning_gets_a_sentence() -> None:
    with pytest.raises(TrainingError, match="discard it"):
        plan_of(TrainingJob(dark_disc_pairs(1), TrainingSettings(), "mine"))


def test_settings_of_another_recipe_get_a_sentence() -> None:
    with pytest.raises(TrainingError, match="is of the recipe classic"):
        plan_fine_tuning(dark_disc_pairs(2), START, original_pairs(), GENTLE)


@pytest.mark.parametrize("given", [{}, {"epochs": 4}])
def test_settings_that_are_a_dict_get_a_sentence(given: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="settings are a dict"):
        plan_fine_tuning(dark_disc_pairs(2), START, original_pairs(), given)  # type: ignore[arg-type]


@pytest.mark.usefixtures("few_smears")
@pytest.mark.parametrize(("fraction", "kept"), [(0.25, 2), (0.5, 4), (0.0, 0)])
def test_as_many_fields_are_kept_aside_as_the_settings_say(fraction: float, kept: int) -> None:
    settings = FAST.replace(validation_fraction=fraction)
    plan = plan_fine_tuning(dark_disc_pairs(8), START, original_pairs(), settings)
    assert len(plan.own) == 8 - kept
    assert plan.scores_what_it_saw == (kept == 0)


def test_fine_tuning_moves_little(tuned: FineTuned) -> None:
    assert GENTLE.learning_rate < 1e-3
    assert GENTLE.epochs * (GENTLE.steps_per_epoch or 0) <= 400
    assert np.isfinite(tuned.seconds)
