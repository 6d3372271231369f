"""Training of the robust recipe, made small: fewer synthetic smears, mosaics and steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg import SegmentationSettings, TrainingSettings, segment, synthetic_smear, train
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.sigtuple import DOUBTFUL_MASKS
from napari_wbcseg.errors import TrainingError
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.network.robust import CANONICAL_DIAMETER, ROBUST
from napari_wbcseg.training.plan import RECIPES, cut_in_two
from napari_wbcseg.training.robust import family_weights, source_of, synthetic_sources
from napari_wbcseg.training.truth import TRUTH_CHANNELS

from ..dark_model import spots
from ..tiny_networks import random_model, small_robust

RECIPE = RECIPES["robust"]
TINY = TrainingSettings.for_recipe("robust", epochs=1, steps_per_epoch=1, batch_size=2)
#: Its network with two narrow levels.
SMALL = ROBUST.model_copy(update={"widths": (4, 8)})


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_robust(monkeypatch)


@pytest.fixture(scope="module")
def pairs() -> list[TrainingPair]:
    smears = [
        synthetic_smear((160, 192), cell_diameter=50, white_cells=3, dark_edge=0, seed=seed)
        for seed in (0, 1, 3)  # each with a whole cell
    ]
    return [TrainingPair(f"smear-{i}", s.image, s.labels, f"slide-{i}") for i, s in enumerate(smears)]


def test_one_step_makes_a_model_that_segments(pairs: list[TrainingPair], tmp_path: Path) -> None:
    result = train(pairs, TINY, tmp_path / "out", name="step")
    assert len(result.history) == 1
    assert np.isfinite(result.history[0]["loss"])
    assert 0 <= result.history[0]["dice"] <= 1
    model = ModelFile.read(tmp_path / "out" / "step.safetensors")
    assert model.id == result.model.id
    assert model.header.recipe == "robust"
    assert model.header.architecture == ROBUST
    assert model.header.canonical_diameter == CANONICAL_DIAMETER
    assert "transmittance" in model.header.input
    found = segment(pairs[0].image, model, SegmentationSettings(cell_diameter=50))
    assert found.labels.shape == pairs[0].labels.shape
    assert found.model == model.id


def test_a_batch_follows_from_seed_epoch_and_index(pairs: list[TrainingPair]) -> None:
    first, again = (RECIPE.batches(pairs, TINY.replace(steps_per_epoch=3), True) for _ in range(2))
    assert first.steps == 3
    images, truth = first.draw(0, 1)
    assert images.shape == (2, 128, 128, 3)
    assert images.dtype == np.float32
    assert truth.shape == (2, 128, 128, TRUTH_CHANNELS)
    for ours, theirs in zip(first.draw(0, 1), again.draw(0, 1), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(images, first.draw(0, 2)[0])
    assert not np.array_equal(images, first.draw(1, 1)[0])
    other = RECIPE.batches(pairs, TINY.replace(seed=1, steps_per_epoch=3), True)
    assert not np.array_equal(images, other.draw(0, 1)[0])


def test_validation_sees_the_same_samples_each_epoch_and_with_every_seed(pairs: list[TrainingPair]) -> None:
    first = RECIPE.batches(pairs, TINY, False)
    assert first.steps == 2
    images = first.draw(0, 0)[0]
    np.testing.assert_array_equal(first.draw(7, 0)[0], images)
    np.testing.assert_array_equal(RECIPE.batches(pairs, TINY.replace(seed=5), False).draw(0, 0)[0], images)


def test_an_epoch_is_one_pass_over_the_images_unless_steps_are_given(pairs: list[TrainingPair]) -> None:
    for batch_size, steps in ((1, 3), (64, 1)):
        settings = TINY.replace(steps_per_epoch=None, batch_size=batch_size)
        assert RECIPE.batches(pairs, settings, True).steps == steps
        assert RECIPE.tiles(pairs, settings) == steps * batch_size


def test_training_twice_gives_one_curve(pairs: list[TrainingPair]) -> None:
    settings, start = TINY.replace(steps_per_epoch=2, dropout=0.1), random_model(SMALL, recipe="robust")
    # Neither threads nor processes that prepare the batches may change it.
    first, again = (train(pairs, settings, init=start, processes=count) for count in (0, 2))
    assert [row["loss"] for row in first.history] == [row["loss"] for row in again.history]
    assert all(np.array_equal(again.model.weights[k], v) for k, v in first.model.weights.items())


def test_each_origin_is_a_family_and_doubtful_masks_are_left_out(pairs: list[TrainingPair]) -> None:
    doubtful = sorted(DOUBTFUL_MASKS)[0]
    given = [
        replace(pairs[0], name="train-1", group="fold-0"),
        replace(pairs[1], name=doubtful, group="fold-1"),
        replace(pairs[1], name="a", group="boxes"),
        replace(pairs[0], name="mine", group="slide"),
        replace(pairs[0], name="boxes 1", group="boxes 1"),  # a user's, only named so
    ]
    used = [pair for pair in given if not RECIPE.left_out(pair)]
    assert [source_of(pair).family for pair in used] == ["sigtuple", "boxes", "own", "own"]


def test_a_users_image_that_is_named_as_our_sets_are_is_the_users_cut_in_two_as_well() -> None:
    image, labels = spots((300, 400), ((80, 80), (80, 300), (220, 80), (220, 300)))
    halves = cut_in_two(TrainingPair("fold-1", image, labels.astype(np.int32), "fold-1"), 0.5)
    assert halves is not None
    assert [source_of(half).family for half in halves] == ["own", "own"]


def test_how_often_a_family_is_drawn_does_not_depend_on_the_order_of_a_set() -> None:
    families = ["class-a", "class-b", "class-platelet", "no-cells", "own", "boxes", "fields"]
    weights = family_weights(families)
    assert family_weights(reversed(families)) == weights
    assert weights["synthetic"] == pytest.approx(0.25 * sum(weights[family] for family in families))
    assert family_weights(["own", "replayed", "synthetic"]) == {"own": 2, "replayed": 1, "synthetic": 1}


def test_synthetic_smears_follow_from_the_seed() -> None:
    first, again = synthetic_sources(3), synthetic_sources(3)
    assert {source.family for source in first} <= {"synthetic"}
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours.image, theirs.image)


def test_images_without_a_whole_cell_are_explained() -> None:
    labels = np.zeros((90, 90), np.int32)
    labels[:40, 20:60] = 1
    cut = TrainingPair("cut", np.full((90, 90, 3), 200, np.uint8), labels, "slide")
    with pytest.raises(TrainingError, match="whole cell, clear of the image's border"):
        train([cut], TINY)
