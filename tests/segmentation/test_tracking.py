"""Measurements that follow edits: the same as measuring anew, at the cost of what changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_wbcseg.box import Box
from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.segmentation.tracking import TrackedCells

from ..drawings import disc_labels, measure_cells, picture

SHAPE = (18, 24)
boxes = st.tuples(st.integers(0, 17), st.integers(0, 23), st.integers(1, 9), st.integers(1, 9))
edits = st.lists(st.tuples(boxes, st.integers(0, 6)), min_size=1, max_size=4)


def image_of(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 240, (*shape, 3)).astype(np.uint8)


@settings(deadline=None, max_examples=60)
@given(arrays(np.int32, SHAPE, elements=st.integers(0, 5)), edits, st.booleans())
def test_an_edited_image_has_the_measures_of_one_measured_anew(labels, edits, told_where) -> None:
    stain = PixelSource(image_of())
    tracked = TrackedCells(labels, stain)
    now = {int(n) for n in np.unique(labels)} - {0}
    for (row, col, down, along), value in edits:
        labels[row : row + down, col : col + along] = value
        where = Box(row, col, row + down, col + along) if told_where else None
        change = tracked.update(labels, tracked.differences(labels, where))
        before, now = now, {int(n) for n in np.unique(labels)} - {0}
        assert (change.added, change.removed) == (now - before, before - now)
    pd.testing.assert_frame_equal(tracked.table, TrackedCells(labels, stain).table)
    assert all(tracked.box_of(label) for label in now)


def test_it_measures_the_same_on_any_kind_of_image() -> None:
    labels = disc_labels((60, 90), [(30, 30, 40), (30, 70, 30)])
    grey = picture(labels)[..., 0]
    grey[25:35, 25:35] = 20
    expected = measure_cells(labels, grey[..., None].repeat(3, axis=2)).drop(columns=["certainty", "check"])
    for image in (grey, grey.astype(np.uint16), grey[..., None].repeat(4, axis=2), grey / np.float32(255)):
        table = TrackedCells(labels, PixelSource(image, 255 if image.dtype == np.uint16 else None)).table
        table = table.reset_index(drop=True).drop(columns=["certainty", "check"])
        pd.testing.assert_frame_equal(table, expected, rtol=1e-4)


def test_what_is_known_of_a_cell_stays_with_its_label_through_edits_and_undo() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 80, 40), (30, 130, 40)])
    told = {"certainty": [0.4, 0.9, 0.8], "check": [True, False, False], "class": list("LMN")}
    # Measurements are not taken over.
    known = pd.DataFrame({"label": [1, 2, 3], **told, "area": 1.0, "row": 1.0})
    tracked = TrackedCells(labels, None, known)
    before = labels.copy()
    labels[20:30, 20:30] = 0
    labels[labels == 2] = 0
    labels[5:9, 5:9] = 7
    assert tracked.update(labels).removed == {2}
    assert tracked.table["class"].to_dict() == {1: "L", 3: "N", 7: ""}
    assert tracked.table["check"].to_dict() == {1: True, 3: False, 7: False}
    assert tracked.table["certainty"].dropna().to_dict() == {1: 0.4, 3: 0.8}, "no model saw the new one"
    assert tracked.table.loc[1, "area"] == (labels == 1).sum()
    tracked.update(before)
    assert tracked.table["class"].tolist() == ["L", "M", "N"]
    assert tracked.table["check"].dtype == bool


def test_a_cell_that_gets_the_number_of_another_is_not_taken_for_it_before_that_is_back() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 130, 40)])
    known = TrackedCells(labels).table.assign(**{"class": ["blast", "stone"], "class_by": "person"})
    tracked, before = TrackedCells(labels, None, known), labels.copy()
    labels[labels == 1], labels[20:40, 70:90] = 0, 1
    tracked.update(labels)
    assert tracked.table[["class", "class_by"]].to_numpy().tolist() == [["", ""], ["stone", "person"]]
    tracked.update(before)
    assert tracked.table["class"].tolist() == ["blast", "stone"]


def test_an_image_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ImageError, match="NaN"):
        PixelSource(np.full((9, 9), np.nan))


def test_without_an_image_the_stain_is_not_known() -> None:
    table = TrackedCells(disc_labels((60, 60), [(30, 30, 40)])).table
    assert table[["mean_stain", "nucleus_area", "nc_ratio"]].isna().all(axis=None)
    assert table["area"].item() > 1000


def test_what_labels_alone_do_not_tell_stays_with_a_cell_that_is_as_it_was() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 130, 40)])
    measured = TrackedCells(labels, PixelSource(picture(labels))).table
    known = measured.assign(border=[True, True])  # cut by the edge of a round field of view
    tracked, stain = TrackedCells(labels, None, known), ["mean_stain", "nucleus_area", "nc_ratio", "lobes"]
    assert tracked.table["border"].tolist() == [True, True]
    assert tracked.table[stain].to_numpy(float).tolist() == known[stain].to_numpy(float).tolist()
    labels[20:30, 20:30] = 0
    tracked.update(labels)
    assert tracked.table["border"].tolist() == [False, True]
    assert tracked.table["mean_stain"].isna().tolist() == [True, False]


def test_a_cell_that_is_drawn_at_the_edge_of_a_round_field_is_cut_by_it() -> None:
    shape = (300, 400)
    rows, cols = np.mgrid[: shape[0], : shape[1]] - np.array(shape).reshape(2, 1, 1) // 2
    image = np.where(np.hypot(rows, cols)[..., None] < 140, (230, 225, 235), 4).astype(np.uint8)
    tracked = TrackedCells(disc_labels(shape, [(150, 200, 40), (150, 310, 40)]), PixelSource(image))
    assert tracked.table["border"].tolist() == [False, False]
    labels = disc_labels(shape, [(150, 200, 40), (150, 325, 40)])
    tracked.update(labels)
    assert tracked.table["border"].tolist() == [False, True]
    labels[100:200, 320:] = 0
    tracked.update(labels)
    assert tracked.table["border"].tolist() == [False, False]


def test_a_label_that_another_takes_over_was_swallowed_and_one_erased_was_not() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 80, 40), (30, 130, 40)])
    tracked = TrackedCells(labels)
    labels[labels == 2] = 1
    labels[labels == 3] = 0
    change = tracked.update(labels)
    assert change.removed == {2, 3}
    assert change.swallowed == {2: 1}
    assert tracked.table.loc[1, "pieces"] == 2


def test_a_cell_that_was_to_check_for_its_pieces_is_not_when_it_is_whole() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 130, 40)])
    labels[2:6, 60:64] = 1
    pieces = TrackedCells(labels).table
    assert pieces["check"].tolist() == [True, False]
    labels[2:6, 60:64] = 0
    assert TrackedCells(labels, None, pieces).table["check"].tolist() == [False, False]
    unsure = pieces.assign(check=True, pieces=1)
    assert TrackedCells(labels, None, unsure).table["check"].tolist() == [True, True]


def test_a_new_label_swallows_a_cell_that_it_covers_but_not_one_that_it_renames() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 80, 40)])
    tracked = TrackedCells(labels)
    labels[labels == 1] = 8
    labels[5:55, 55:105] = 9
    assert tracked.update(labels).swallowed == {2: 9}


def test_a_cell_that_leaves_its_neighbour_is_touching_no_more_and_neither_is_the_neighbour() -> None:
    labels = disc_labels((60, 120), [(30, 30, 40), (30, 70, 40)])
    tracked = TrackedCells(labels)
    assert tracked.table["touching"].tolist() == [True, True]
    labels[:, 40:55] = 0
    change = tracked.update(labels)
    assert tracked.table["touching"].tolist() == [False, False]
    assert not change.added | change.removed


def test_a_cell_beside_which_one_is_drawn_is_touching_across_a_gap_of_a_pixel() -> None:
    labels = np.zeros((60, 120), np.int32)
    labels[20:40, 20:40] = 1
    tracked = TrackedCells(labels)
    labels[20:40, 41:60] = 2
    tracked.update(labels)
    assert tracked.table["touching"].tolist() == [True, True]


def test_the_work_of_an_edit_grows_with_the_cells_that_it_concerns() -> None:
    labels = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((9, 9), int))
    tracked = TrackedCells(labels)
    one, many = Box(0, 0, 4, 4), Box(0, 0, 180, 180)
    assert tracked.work([one]) < 2**16
    assert tracked.work([many]) > 2**20


def test_edits_far_apart_are_found_apart() -> None:
    labels = np.zeros((900, 900), np.int32)
    tracked = TrackedCells(labels)
    labels[10:20, 10:30] = 1
    labels[850:860, 800:830] = 2
    assert tracked.differences(labels) == [(10, 10, 20, 30), (850, 800, 860, 830)]
    assert tracked.differences(labels, Box(0, 0, 100, 100)) == [(10, 10, 20, 30)]
    assert tracked.work(tracked.differences(labels)) < 2000
    tracked.update(labels)
    assert tracked.differences(labels) == []


def test_what_came_and_went_since_an_earlier_measurement() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 80, 40), (30, 130, 40)])
    then = TrackedCells(labels)
    labels[labels == 2] = 1
    labels[labels == 3] = 7
    change = TrackedCells(labels).changes_since(then)
    assert (change.added, change.removed, change.swallowed) == ({7}, {2, 3}, {2: 1})


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.uint64])
def test_labels_of_every_type_are_followed(dtype: type) -> None:
    labels = disc_labels((40, 40), [(20, 20, 20)]).astype(dtype)
    tracked = TrackedCells(labels)
    labels[18:22, 18:22] = 0
    tracked.update(labels)
    assert tracked.table["area"].tolist() == [np.count_nonzero(labels)]


def test_edits_of_a_large_image_are_followed() -> None:
    labels = np.zeros((4000, 4000), np.int32)
    for number in range(200):
        row, col = 100 + 380 * (number // 20), 60 + 195 * (number % 20)
        labels[row : row + 60, col : col + 60] = number + 1
    image = image_of(shape=(500, 500)).repeat(8, axis=0).repeat(8, axis=1)
    tracked = TrackedCells(labels, PixelSource(image))
    for number in range(1, 6):
        row, col = np.argwhere(labels == number)[0]
        labels[row + 5 : row + 25, col : col + 30] = 0
        tracked.update(labels, tracked.differences(labels))
        assert tracked.table.loc[number, "area"] == np.count_nonzero(labels == number)
