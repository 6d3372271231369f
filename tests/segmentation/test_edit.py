"""Corrections of label images: what they change, and that they change nothing else."""

from __future__ import annotations

from itertools import count, islice

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_wbcseg.errors import EditError
from napari_wbcseg.segmentation.edit import (
    label_under,
    merge_cells,
    remove_cells,
    separate_pieces,
    split_by_stroke,
    unused_labels,
)

from ..drawings import disc_labels

points = st.lists(st.tuples(st.floats(-10, 70), st.floats(-10, 110)), min_size=2, max_size=6)


def done(labels: np.ndarray, edit) -> np.ndarray:
    changed = labels.copy()
    edit.apply(changed)
    return changed


def two_cells() -> np.ndarray:
    return disc_labels((60, 100), [(30, 30, 40), (30, 75, 30)]) * np.int32(3)  # 3 and 6


def test_a_line_through_the_middle_makes_two_halves() -> None:
    labels = two_cells()
    edit = split_by_stroke(labels, 3, [(5, 30), (55, 30)])
    changed = done(labels, edit)
    assert edit.labels == (3, 7)
    assert abs(int((changed == 3).sum()) - int((changed == 7).sum())) < 60
    cols = [np.flatnonzero((changed == number).any(axis=0)) for number in (3, 7)]
    assert min(cols[0].max(), cols[1].max()) < max(cols[0].min(), cols[1].min())
    np.testing.assert_array_equal(changed == 6, labels == 6)


def test_a_line_that_stops_short_is_led_on_to_the_edge() -> None:
    labels = two_cells()
    short, long = ([(start, 30), (end, 30)] for start, end in ((24, 36), (0, 59)))
    np.testing.assert_array_equal(
        done(labels, split_by_stroke(labels, 3, short)), done(labels, split_by_stroke(labels, 3, long))
    )


@settings(deadline=None, max_examples=100)
@given(points)
def test_no_pixel_is_lost_and_every_part_is_one_piece(stroke) -> None:
    labels = two_cells()
    try:
        edit = split_by_stroke(labels, 3, stroke)
    except EditError:
        assume(False)
    changed = done(labels, edit)
    assert set(np.unique(changed)) == {0, 6, *edit.labels}
    np.testing.assert_array_equal(np.isin(changed, edit.labels), labels == 3)
    sizes = [int((changed == number).sum()) for number in edit.labels]
    assert sizes[0] == max(sizes)
    assert min(sizes) >= 0.02 * (labels == 3).sum()
    for number in edit.labels:
        assert ndimage.label(changed == number, np.ones((3, 3)))[1] == 1


def test_a_line_may_make_more_than_two_parts() -> None:
    labels = disc_labels((60, 60), [(30, 30, 50)])
    edit = split_by_stroke(labels, 1, [(0, 22), (59, 22), (59, 38), (0, 38)], numbers=count(50))
    assert edit.labels == (1, 50, 51)


def test_cutting_in_three_takes_no_other_cells_number_where_the_type_is_nearly_used_up() -> None:
    labels = disc_labels((60, 300), [(30, 30, 50), *((30, 75 + 25 * i, 20) for i in range(7))]).astype(
        np.uint8
    )
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 8, 255], np.uint8)[labels]
    largest = int(labels.max())
    edit = split_by_stroke(
        labels, 1, [(0, 22), (59, 22), (59, 38), (0, 38)], unused_labels(labels, largest + 1)
    )
    assert edit.labels == (1, 7, 9)
    assert set(np.unique(done(labels, edit))) == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255}


def test_a_piece_apart_that_the_line_does_not_meet_stays_with_the_cell() -> None:
    labels = disc_labels((60, 120), [(30, 30, 40), (30, 95, 20)])
    labels[labels == 2] = 1
    changed = done(labels, split_by_stroke(labels, 1, [(0, 30), (59, 30)]))
    assert set(np.unique(changed[:, 80:])) == {0, 1}


def test_a_piece_that_the_line_does_not_meet_stays_one_also_where_only_corners_join_it() -> None:
    labels = disc_labels((60, 120), [(30, 30, 40)])
    labels[10:30, 80:90] = labels[30:50, 90:100] = 1
    changed = done(labels, split_by_stroke(labels, 1, [(0, 30), (59, 30)]))
    assert len(np.unique(changed[:, 80:])) == 2


def test_a_line_is_led_on_in_its_direction_and_not_in_that_of_its_last_pixels() -> None:
    labels = two_cells()
    hand = [(20, 30), (30, 30), (39, 30), (39, 31)]  # which slips at the end
    straight = done(labels, split_by_stroke(labels, 3, [(20, 30), (39, 30)]))
    assert (done(labels, split_by_stroke(labels, 3, hand)) != straight).sum() < 20


@pytest.mark.parametrize(
    ("stroke", "words"),
    [
        ([(0, 0), (0, 90)], "right across"),
        ([(30, 30), (30, 30)], "single point"),
        ([(30, 30)], "single point"),
        ([(1, 2, 3), (4, 5, 6)], "a row and a column"),
        ([(0, np.nan), (59, 30)], "a row and a column"),
    ],
)
def test_a_line_that_parts_nothing_is_refused(stroke, words: str) -> None:
    with pytest.raises(EditError, match=words):
        split_by_stroke(two_cells(), 3, stroke)


def test_a_line_cuts_the_cell_it_is_meant_for() -> None:
    labels = two_cells()
    across = np.array([(30.0, 45.0), (30.0, 99.0)])
    assert label_under(labels, across) == 6
    assert label_under(labels, across, preferred=[3]) == 3
    assert label_under(labels, across, preferred=[9]) == 6
    with pytest.raises(EditError, match="crosses no cell"):
        label_under(labels, across - 30)


def test_pieces_get_numbers_of_their_own_and_the_largest_keeps_the_old_one() -> None:
    labels = disc_labels((60, 160), [(30, 30, 20), (30, 80, 40), (30, 130, 20)])
    labels[labels > 0] = 1
    edit = separate_pieces(labels, 1)
    changed = done(labels, edit)
    assert edit.labels == (1, 2, 3)
    assert changed[30, 80] == 1
    assert sorted(changed[30, [30, 130]]) == [2, 3]
    with pytest.raises(EditError, match="one piece"):
        separate_pieces(changed, 1)


def test_merged_cells_have_the_number_of_the_first() -> None:
    labels = two_cells()
    edit = merge_cells(labels, [6, 3, 6])
    np.testing.assert_array_equal(done(labels, edit), np.where(labels > 0, 6, 0))
    assert edit.labels == (6,)


def test_removed_cells_become_background() -> None:
    labels = two_cells()
    np.testing.assert_array_equal(done(labels, remove_cells(labels, [3])), np.where(labels == 6, 6, 0))


def test_an_edit_of_a_part_is_made_where_that_lies() -> None:
    labels = two_cells()
    changed = done(labels, remove_cells(labels[5:, 20:], [6]).moved(5, 20))
    np.testing.assert_array_equal(changed, np.where(labels == 3, 3, 0))


def test_an_edit_of_a_plane_leaves_the_others() -> None:
    stack = np.stack([two_cells(), two_cells()])
    changed = done(stack, remove_cells(stack[1], [3, 6]).on_plane(1))
    np.testing.assert_array_equal(changed[0], stack[0])
    assert not changed[1].any()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda labels: merge_cells(labels, [3]), "two cells"),
        (lambda labels: merge_cells(labels, [3, 4]), "no cell 4"),
        (lambda labels: remove_cells(labels, []), "Choose"),
        (lambda labels: remove_cells(labels, [0]), "no cell 0"),
        (lambda labels: split_by_stroke(labels, 9, [(0, 0), (9, 9)]), "no cell 9"),
        (lambda labels: remove_cells(labels[None], [3]), "one plane"),
    ],
)
def test_what_is_not_there_is_refused(ask, words: str) -> None:
    with pytest.raises(EditError, match=words):
        ask(two_cells())


def test_new_numbers_fit_the_type() -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    labels[labels == 77] = 0
    few = unused_labels(labels)
    assert next(few) == 77
    assert list(islice(unused_labels(labels.astype(np.int32)), 2)) == [256, 257]
    with pytest.raises(EditError, match="Convert data type"):
        next(few)
