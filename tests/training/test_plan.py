"""What is kept aside to validate on: something, always, and never what is trained on while that can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.training.plan import cut_in_two, split_validation

from ..tiny_networks import dark_disc_pairs


def field(cells: list[tuple[int, int]], size: int = 120, group: str = "slide") -> TrainingPair:
    """Draw one field with a square cell of 11 pixels at each place."""
    labels = np.zeros((size, size), np.int32)
    for number, (row, col) in enumerate(cells, 1):
        labels[row - 5 : row + 6, col - 5 : col + 6] = number
    return TrainingPair("field", np.full((size, size, 3), 200, np.uint8), labels, group)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 0.99])
def test_whole_groups_are_kept_aside_and_neither_side_is_empty(fraction: float) -> None:
    split = split_validation(dark_disc_pairs(6), fraction, seed=1)
    assert split.training
    assert split.validation
    assert not {pair.group for pair in split.training} & {pair.group for pair in split.validation}
    assert len(split.training) + len(split.validation) == 6
    assert not split.note


def test_images_of_one_slide_are_split_among_themselves() -> None:
    pairs = [field([(60, 60)]) for _ in range(5)]
    split = split_validation(pairs, 0.2, seed=0)
    assert (len(split.training), len(split.validation)) == (4, 1)
    assert "belong together" in split.note


def test_one_image_is_cut_between_its_cells() -> None:
    pair = field([(20, 20), (20, 90), (60, 30), (70, 80), (105, 60)])
    split = split_validation([pair], 0.2, seed=0)
    (training,), (validation,) = split.training, split.validation
    assert training.image.shape[:2] == training.labels.shape
    assert len(np.unique(training.labels)) - 1 == 4
    assert len(np.unique(validation.labels)) - 1 == 1
    whole = [(training.labels == i).sum() + (validation.labels == i).sum() for i in range(1, 6)]
    assert whole == [121] * 5
    assert "a part is kept aside" in split.note


def test_each_part_knows_what_else_lies_in_it() -> None:
    pair = replace(
        field([(20, 60), (100, 60)]), platelets=(Box(5, 5, 9, 9), Box(110, 5, 118, 9)), all_boxed=True,
        look_alikes=(Box(90, 20, 100, 30),),
    )  # fmt: skip
    upper, lower = sorted(cut_in_two(pair, 0.5) or (), key=lambda part: part.name)
    below = len(upper.labels)
    assert (upper.platelets, upper.look_alikes) == ((Box(5, 5, 9, 9),), ())
    assert lower.platelets == (Box(110 - below, 5, 118 - below, 9),)
    assert lower.look_alikes == (Box(90 - below, 20, 100 - below, 30),)


def test_where_every_line_meets_a_cell_the_cut_goes_through_as_few_as_possible() -> None:
    rows = [(15 + 8 * i, 15 + 8 * ((i * 5) % 12)) for i in range(12)]
    parts = cut_in_two(field(rows), 0.2)
    assert parts is not None
    shared = set(np.unique(parts[0].labels)) & set(np.unique(parts[1].labels)) - {0}
    assert len(shared) == 1


def test_one_cell_is_on_both_sides_and_the_note_says_so() -> None:
    pair = field([(60, 60)])
    split = split_validation([pair], 0.2, seed=0)
    assert split.training == split.validation == [pair]
    assert "the very cells that are trained on" in split.note


def test_a_part_that_cannot_be_trained_on_is_no_part() -> None:
    pair = field([(20, 60), (100, 60)])
    assert cut_in_two(pair, 0.5, left_out=lambda part: "too small") is None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fields", [1, 4])
def test_pictures_without_a_cell_are_all_trained_on_beside_some_with_cells(fields: int, seed: int) -> None:
    pairs = [replace(field([(20, 60), (100, 60)]), name=f"{i}", group=f"{i}") for i in range(fields)]
    without = [replace(field([]), name=f"without-{i}", group="no-cells") for i in range(4)]
    split = split_validation([*without[:2], *pairs, *without[2:]], 0.2, seed)
    assert [pair for pair in split.training if pair.group == "no-cells"] == without
    assert any(pair.labels.any() for pair in split.training)
    assert all(pair.labels.any() for pair in split.validation)
    assert split.validation


def test_nothing_is_kept_aside_where_that_is_asked_for() -> None:
    split = split_validation(dark_disc_pairs(3), 0.0, seed=0)
    assert (len(split.training), split.validation) == (3, [])
