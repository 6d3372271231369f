from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_wbcseg.data.pairs import TrainingPair
from napari_wbcseg.data.splits import cut_in_two, hold_out


def pair(
    name: str, group: str, spots: list[tuple[int, int]], shape: tuple[int, int] = (120, 160)
) -> TrainingPair:
    """Draw squares of 20 pixels with their upper left corners at the spots."""
    labels = np.zeros(shape, np.int32)
    for number, (row, col) in enumerate(spots, 1):
        labels[row : row + 20, col : col + 20] = number
    image = np.where(labels[..., None] > 0, 60, 220).repeat(3, axis=2).astype(np.uint8)
    return TrainingPair(name, image, labels, group)


def one(name: str, group: str) -> TrainingPair:
    return pair(name, group, [(10, 10)])


@given(
    groups=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=12),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_slides_are_never_torn_apart_and_both_sides_have_cells(
    groups: list[tuple[int, bool]], fraction: float, seed: int
) -> None:
    pairs = [
        pair(str(i), f"slide {group}", [(10, 10)] if cells else []) for i, (group, cells) in enumerate(groups)
    ]
    split = hold_out(pairs, fraction, seed)
    if len({group for group, cells in groups if cells}) > 1:
        assert not {p.group for p in split.training} & {p.group for p in split.held_out}
        assert len(split.training) + len(split.held_out) == len(pairs)
    if sum(cells for _, cells in groups) > 1:
        assert any(p.labels.any() for p in split.training)
        assert any(p.labels.any() for p in split.held_out)


def test_about_the_share_asked_for_is_kept_aside() -> None:
    split = hold_out([one(str(i), str(i)) for i in range(20)], 0.25)
    assert len(split.held_out) == 5
    assert split.how == "5 fields of other slides kept aside."


def test_fields_of_one_slide_are_told_apart_aloud() -> None:
    split = hold_out([one(str(i), "slide") for i in range(3)], 0.25)
    assert (len(split.training), len(split.held_out)) == (2, 1)
    assert "of the same slide" in split.how


def test_one_field_is_cut_where_no_cell_is() -> None:
    field = pair("a", "a", [(5, 5), (60, 30), (90, 130)])
    split = hold_out([field], 0.25)
    assert [p.labels.max() for p in (*split.training, *split.held_out)] == [2, 1]
    areas = [np.bincount(p.labels.ravel())[1:].tolist() for p in (*split.training, *split.held_out)]
    assert areas == [[400, 400], [400]], "every cell is whole"
    assert "One part of a kept aside" in split.how


@pytest.mark.parametrize("spots", [[], [(50, 70)], [(50, 70), (60, 80)]], ids=["none", "one", "one heap"])
def test_a_field_that_cannot_be_cut_is_left_whole_and_the_user_told(spots: list[tuple[int, int]]) -> None:
    field = pair("a", "a", spots)
    assert cut_in_two(field) is None
    split = hold_out([field], 0.25)
    assert (split.training, split.held_out) == ([field], [])
    assert "add a second field" in split.how
