"""A reviewed layer: its table and its count follow every edit; decisions; splitting and merging."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_wbcseg import load_result, save
from napari_wbcseg.box import Box
from napari_wbcseg.errors import EditError, SettingsError
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.plugin.review.layer_review import LayerReview
from napari_wbcseg.plugin.review.training_set import field_writer
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.plugin.shared.metadata import METADATA_KEY, LayerInfo
from napari_wbcseg.plugin.shared.training_data import reader_of_layers
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.measure import measure_labels

from ...drawings import measure_cells
from ..conftest import dark_discs, discs

CENTRES = ((30, 30), (30, 110), (90, 70))
NUMBER = st.integers(0, 9)


@pytest.fixture
def viewer(qapp):
    """Let the tests have a viewer without a window: no part of this needs one."""
    return ViewerModel()


@pytest.fixture
def review(viewer):
    """Review three round cells of numbers 1 to 3, on their image."""
    image = viewer.add_image(discs(centres=CENTRES), rgb=True)
    made = LayerReview(viewer, add_three(viewer), image)
    yield made
    made.close()


def three_cells(dtype=np.int32, shape=(120, 160)):
    rows, cols = np.indices(shape)
    labels = np.zeros(shape, dtype)
    for number, (row, col) in enumerate(CENTRES, 1):
        labels[(rows - row) ** 2 + (cols - col) ** 2 <= 144] = number
    return labels


def add_three(viewer, **options):
    return viewer.add_labels(three_cells(), name="mine", **options)


def soon(what, seconds=30.0):
    """Let the event loop run until something is so; the timers are the review's own."""
    end = time.monotonic() + seconds
    while not what():
        QApplication.processEvents()
        assert time.monotonic() < end, "it did not happen"


def agrees(review):
    """Say whether the table is that of the labels as they are now."""
    expected = measure_cells(review.labels.data, review.image.data)
    columns = [name for name in expected if name not in ("certainty", "check")]
    return review.cells[columns].equals(expected[columns])


def test_any_labels_on_any_image_are_measured(review):
    assert agrees(review)
    assert (review.count, review.cells["check"].sum(), review.summary()) == (3, 0, "3 white cells")
    assert review.cells["certainty"].isna().all(), "nobody knows it of labels drawn by hand"


def test_the_stain_is_measured_in_the_light_that_the_cells_were_found_in_and_another_image_in_its_own(viewer):
    images = [viewer.add_image(discs(centres=CENTRES), rgb=True) for _ in range(2)]
    info = LayerInfo("cells", source_id=str(images[0].unique_id), backgrounds=((250.0, 240.0, 245.0),))
    labels = add_three(viewer, metadata=info.metadata)
    with closing(LayerReview(viewer, labels, images[0])) as review:
        source = PixelSource(images[0].data, background=info.backgrounds[0])
        density = source.density(labels.data > 0)
        expected = [density[labels.data == number].mean() for number in (1, 2, 3)]
        assert review.cells["mean_stain"].tolist() == pytest.approx(expected)
        review.set_image(images[1])
        assert agrees(review)
        assert review.cells["mean_stain"].tolist() != pytest.approx(expected)


def paint(layer):
    layer.brush_size = 9
    layer.paint((30, 44), 1)


def erase(layer):
    layer.brush_size = 9
    layer.paint((30, 36), 0)


def draw_new(layer):
    layer.brush_size = 15
    layer.paint((90, 130), 9)


def fill_with(number):
    return lambda layer: layer.fill((30, 30), number)


EDITS = {
    "paint": paint,
    "erase": erase,
    "new": draw_new,
    "recolour": fill_with(7),
    "delete": fill_with(0),
    "swallow": fill_with(2),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_the_table_follows_an_edit_its_undo_and_its_redo(review, edit):
    layer, before = review.labels, review.cells.copy()
    edit(layer)
    soon(lambda: not review.cells.equals(before))
    assert agrees(review)
    after = review.cells.copy()
    layer.undo()
    soon(lambda: review.cells.equals(before))
    layer.redo()
    soon(lambda: review.cells.equals(after))


def test_data_replaced_in_place_or_by_another_array_are_followed(review):
    review.labels.data[20:24, 20:24] = 0
    review.labels.refresh()
    soon(lambda: agrees(review) and review.count == 3)
    review.labels.data = np.where(three_cells() == 2, 0, three_cells() * 10)
    soon(lambda: agrees(review) and review.count == 2)
    review.labels.data = np.zeros((50, 60), np.int32)
    soon(lambda: review.count == 0)
    assert "no image of the same shape" in review.image_problem


def test_every_move_of_the_brush_is_followed_before_the_button_is_let_go(review):
    with review.labels.block_history():
        paint(review.labels)
        soon(lambda: review.cells["area"].iloc[0] == np.count_nonzero(review.labels.data == 1))


def test_a_label_in_two_pieces_is_flagged_until_it_is_mended_or_accepted(review):
    review.labels.brush_size = 9
    review.labels.paint((90, 130), 1)
    soon(lambda: review.cells["check"].sum() == 1)
    assert review.cells["flag"].tolist() == ["2 pieces", "", ""]
    assert review.summary() == "3 white cells, 1 to check"
    review.accept([(0, 1)])
    assert (review.cells["check"].sum(), review.cells["decision"].iloc[0]) == (0, "accepted")
    review.accept([(0, 1)])
    assert (review.cells["check"].sum(), review.cells["decision"].iloc[0]) == (1, "")
    review.undo()
    assert review.cells["check"].sum() == 0


def test_a_label_swallowed_by_another_is_flagged_and_undo_takes_the_flag_away(review):
    told = []
    review.noted.connect(told.append)
    review.labels.fill((30, 30), 2)
    soon(lambda: review.count == 2)
    assert review.cells["flag"].tolist() == ["2 pieces; swallowed 1", ""]
    assert told[-1] == "Cell 1 was swallowed by cell 2. Undo takes it back."
    review.undo()
    assert review.cells["flag"].tolist() == ["", "", ""]
    review.redo()
    assert review.cells["flag"].tolist() == ["2 pieces; swallowed 1", ""]


def test_undo_of_the_split_that_made_a_swallowed_cell_leaves_no_flag_of_it(review):
    (_, new) = review.split((0, 1), np.array([[30.0, 10.0], [30.0, 50.0]]))
    rows, cols = np.nonzero(review.labels.data == new[1])
    review.labels.fill((rows[0], cols[0]), 1)
    soon(lambda: review.count == 3)
    assert review.cells["flag"].tolist() == ["swallowed 4", "", ""]
    review.undo()
    review.undo()
    assert (review.cells["flag"].tolist(), review.summary()) == (["", "", ""], "3 white cells")
    review.redo()
    review.redo()
    assert review.cells["flag"].tolist() == ["swallowed 4", "", ""]


def test_what_an_edit_flagged_is_to_be_checked_when_the_layer_is_reviewed_again(review):
    """A cell that took another one was not, nor one that had been accepted before, though files say so."""
    layer, columns = review.labels, ["check", "flag", "decision"]
    review.accept([(0, 3)])
    layer.fill((30, 30), 2)
    layer.brush_size = 9
    layer.paint((90, 130), 3)
    soon(lambda: review.cells["check"].tolist() == [True, True])
    before = review.cells[columns]
    review.close()
    with closing(LayerReview(review.viewer, layer, review.image)) as again:
        assert again.cells[columns].equals(before)
        again.accept([(0, 3)])
        assert again.cells["check"].tolist() == [True, False]
        for _ in range(3):
            again.undo()
        assert again.cells["flag"].tolist() == ["", "", ""]


def test_a_rejected_cell_leaves_labels_and_count_and_undo_brings_it_back(review):
    review.accept([(0, 2)])
    before = review.cells.copy()
    review.reject([(0, 2)])
    assert review.count == 2
    assert not (review.labels.data == 2).any()
    review.undo()
    assert review.cells.equals(before), "accepted as it was"


def test_what_was_drawn_before_the_layer_was_reviewed_is_undone_too(viewer):
    """The review has the keys of napari's Undo, which did nothing then."""
    layer = add_three(viewer)
    draw_new(layer)
    with closing(LayerReview(viewer, layer)) as review:
        review.undo()
        assert review.count == 3
        review.undo()
        review.redo()
        assert review.count == 4
        review.accept([(0, 1)])
        review.undo()
        assert review.count == 4
        assert (review.cells["decision"] == "").all()
        review.undo()
        assert review.count == 3


@pytest.mark.parametrize("rows", [120, 60])
def test_what_was_done_before_is_not_drawn_into_other_labels(review, rows):
    """Napari keeps its history of the labels before: their pixels were written into those of a script."""
    review.reject([(0, 1)])
    other = np.zeros((rows, 160), np.int32)
    other[40:50, 40:50] = 5
    review.labels.data = other.copy()
    review.undo()
    np.testing.assert_array_equal(review.labels.data, other)
    draw_new(review.labels)
    review.undo()
    np.testing.assert_array_equal(review.labels.data, other)


def test_what_was_drawn_before_on_a_plane_that_is_not_shown_is_undone_in_the_count_too(viewer):
    """Only the plane shown was compared: a cell that was gone from the labels was counted on."""
    layer = viewer.add_labels(np.stack([three_cells()] * 4))
    layer.data_setitem((np.full(400, 3), *map(np.ravel, np.mgrid[80:100, 120:140])), 9)
    viewer.dims.set_point(0, 0)
    with closing(LayerReview(viewer, layer)) as review:
        assert review.count == 13
        review.undo()
        assert (review.count, review.summary(3)) == (12, "3 white cells")


def test_of_a_hidden_layer_too_an_undo_is_one_step(review):
    """Such a layer tells of no change: one Undo went through all edits, and no Redo brought them back."""
    for number in (1, 2):
        review.reject([(0, number)])
    review.labels.visible = False
    review.undo()
    assert review.cells["label"].tolist() == [2, 3]
    review.redo()
    assert review.cells["label"].tolist() == [3]


def test_a_cell_of_a_hidden_layer_is_rejected_on_another_plane_than_was_shown(viewer):
    """Of such a plane napari has no picture, wrote into that, and raised an IndexError halfway."""
    layer = viewer.add_labels(np.stack([three_cells()] * 2))
    with closing(LayerReview(viewer, layer)) as review:
        layer.visible = False
        viewer.dims.set_point(0, 1)
        review.reject([(1, 2)])
        assert (review.count, (layer.data == 2).sum(axis=(1, 2)).tolist()) == (5, [441, 0])


def test_an_undo_is_followed_on_every_plane_of_a_stack(viewer):
    """Only the planes that were edited last were compared: the table lacked the cells that came back."""
    planes = 10
    with closing(LayerReview(viewer, viewer.add_labels(np.stack([three_cells()] * planes)))) as review:
        for plane in range(planes):
            review.reject([(plane, 1)])
        for _ in range(planes):
            review.undo()
        assert (review.count, review.summary(0)) == (3 * planes, "3 white cells")


def test_a_split_and_a_merge_are_one_step_of_undo_each(review):
    before = review.labels.data.copy()
    assert review.split((0, 2), [(10, 110), (50, 110)]) == [(0, 2), (0, 4)]
    assert review.count == 4
    halves = review.labels.data.copy()
    assert review.merge([(0, 4), (0, 2)]) == (0, 2)
    assert review.count == 3
    assert review.cells["flag"].tolist() == ["", "", ""], "a merged cell was not swallowed"
    np.testing.assert_array_equal(review.labels.data, before)
    review.undo()
    np.testing.assert_array_equal(review.labels.data, halves)
    review.undo()
    np.testing.assert_array_equal(review.labels.data, before)


def test_a_merged_cell_is_what_the_largest_was_or_what_a_person_named(review):
    """It was what the one with the lowest number was, such as the fragment of a nucleus."""
    review.labels.data_setitem(np.nonzero(review.labels.data[:30] == 1), 0)
    review.labels.features = {"class": ["", "lymphocyte", "neutrophil", ""], "class_by": ["", *3 * ["model"]]}
    assert review.merge([(0, 1), (0, 2)]) == (0, 2)
    assert review.cells["class"].tolist() == ["neutrophil", ""]
    review.undo()
    review.name([(0, 1)], "basophil")
    review.merge([(0, 1), (0, 2)])
    assert review.cells["class"].tolist() == ["basophil", ""]
    review.undo()
    assert review.cells["class"].tolist() == ["basophil", "neutrophil", ""]


def test_what_was_said_of_a_cell_that_is_gone_is_not_said_of_a_new_one(review):
    """The number of one that was rejected was that of the next, which had its class from a person then."""
    layer = review.labels
    review.name([(0, 3)], "basophil")
    review.reject([(0, 3)])
    (first, second) = review.split((0, 1), np.array([[10.0, 30.0], [50.0, 30.0]]))
    assert (first, second) == ((0, 1), (0, 4))
    draw_new(layer)
    layer.fill((90, 130), 3)  # as napari's own next number is
    soon(lambda: review.count == 4)
    assert review.cells["class"].tolist() == ["", "", "", ""]
    while not (layer.data == 3).sum() > 400:
        review.undo()
    assert review.cells.set_index("label").loc[3, "class"] == "basophil"


def test_a_new_cell_gets_no_number_of_one_that_was_accepted_or_swallowed(review):
    """The number of one drawn by hand was free again: the new cell was accepted, or the flag was gone."""
    layer, cut = review.labels, np.array([[10.0, 30.0], [50.0, 30.0]])
    draw_new(layer)
    layer.fill((90, 130), 4)
    soon(lambda: 4 in set(review.cells["label"]))
    review.accept([(0, 4)])
    review.reject([(0, 4)])
    assert review.split((0, 1), cut) == [(0, 1), (0, 5)]
    assert review.cells["decision"].tolist() == [""] * 4
    review.undo()
    review.undo()
    layer.fill((90, 130), 3)
    soon(lambda: review.count == 3)
    review.split((0, 1), cut)
    assert review.cells.set_index("label").loc[3, "flag"] == "2 pieces; swallowed 4"


def test_pieces_take_no_other_cells_number_where_the_type_is_nearly_used_up(viewer):
    labels = np.zeros((60, 300), np.uint8)
    for number, label in enumerate((1, 1, 1, 2, 3, 4, 5, 6, 8, 255)):
        labels[20:40, 10 + 28 * number : 30 + 28 * number] = label
    with closing(LayerReview(viewer, viewer.add_labels(labels))) as review:
        assert review.split((0, 1)) == [(0, 1), (0, 7), (0, 9)]
        assert review.count == 10


def test_a_missed_cell_is_looked_for_in_the_light_of_the_stack_without_reading_it_again(viewer, monkeypatch):
    labels = np.stack([three_cells()] * 2)
    image = np.full(labels.shape, 900, np.uint16)
    image[1] = 4000
    asked = []

    def outlined(source, *_):
        asked.append(source.value_range)
        return Box(0, 0, 1, 1), np.ones((1, 1), bool)

    monkeypatch.setattr("napari_wbcseg.plugin.review.layer_review.outline_at", outlined)
    with closing(LayerReview(viewer, viewer.add_labels(labels), viewer.add_image(image))) as review:
        monkeypatch.setattr(
            "napari_wbcseg.images.pixel_source.bit_range", lambda array: pytest.fail("reads all")
        )
        review.outline_at(0, (0, 0), lambda cell: None)
        soon(lambda: review.count == 7)
    assert asked == [4095]


def test_a_mask_is_split_into_its_pieces(viewer):
    layer = viewer.add_labels(three_cells() > 0)
    review = LayerReview(viewer, layer)
    assert review.cells["flag"].tolist() == ["3 pieces"]
    review.split((0, 1))
    assert review.count == 3
    assert review.cells["mean_stain"].isna().all()
    assert review.image_problem


def test_why_an_outline_that_was_found_is_not_drawn_is_said(viewer, monkeypatch):
    """It was a traceback; of cells on disk all of them were read before."""
    found = Box(0, 0, 2, 2), np.ones((2, 2), bool)
    monkeypatch.setattr("napari_wbcseg.plugin.review.layer_review.outline_at", lambda *_: found)
    layer = viewer.add_labels(np.tile(np.arange(256, dtype=np.uint8), (4, 1)))
    said = []
    with closing(LayerReview(viewer, layer, viewer.add_image(discs((4, 256), ()), rgb=True))) as review:
        review.noted.connect(said.append)
        review.outline_at(0, (0, 0), lambda cell: None)
        soon(lambda: said)
        assert "have no number left" in said[-1]
        layer.editable = False
        with pytest.raises(EditError, match="switched off"):
            review.outline_at(0, (0, 0), lambda cell: None)


def test_an_outline_takes_no_pixel_of_what_was_drawn_while_it_was_looked_for(review, monkeypatch):
    """A cell that one drew, or brought back by Undo, lost them."""
    go_on, found = threading.Event(), Box(50, 50, 60, 70)

    def slowly(*_):
        go_on.wait(20)
        return found, np.ones(found.shape, bool)

    monkeypatch.setattr("napari_wbcseg.plugin.review.layer_review.outline_at", slowly)
    added = []
    review.outline_at(0, (55, 65), added.append)
    review.labels.data_setitem(np.nonzero(np.tri(60, 60)), 9)
    drawn = review.labels.data == 9
    go_on.set()
    soon(lambda: added)
    np.testing.assert_array_equal(review.labels.data == 9, drawn)
    assert 0 < (review.labels.data == added[0][1]).sum() < found.area
    said = []
    review.noted.connect(said.append)
    review.outline_at(0, (55, 65), added.append)
    soon(lambda: said)
    assert "outlined there already" in said[-1]
    assert len(added) == 1


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda review: review.reject([(0, 9)]), "no cell 9"),
        (lambda review: review.reject([]), "Choose a cell"),
        (lambda review: review.merge([(0, 1)]), "two cells"),
        (lambda review: review.split((0, 1)), "one piece"),
        (lambda review: review.split((0, 1), [(100, 0), (100, 9)]), "right across"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(review, ask, words):
    with pytest.raises(EditError, match=words):
        ask(review)


def test_a_layer_that_cannot_be_edited_is_reviewed_all_the_same(viewer):
    layer = viewer.add_labels([three_cells(), three_cells()[::2, ::2]], multiscale=True)
    review = LayerReview(viewer, layer)
    assert review.count == 3
    with pytest.raises(EditError, match="several resolutions"):
        review.reject([(0, 1)])
    review.close()
    fixed = three_cells()
    fixed.flags.writeable = False
    review = LayerReview(viewer, viewer.add_labels(fixed))
    with pytest.raises(EditError, match="cannot be edited"):
        review.reject([(0, 1)])
    review.close()


def test_a_stack_is_counted_plane_by_plane(viewer):
    stack = np.stack([three_cells(), np.where(three_cells() == 2, 5, 0)])
    image = viewer.add_image(np.stack([discs(centres=CENTRES)] * 2), rgb=True)
    review = LayerReview(viewer, viewer.add_labels(stack), image)
    viewer.dims.set_current_step(0, 1)
    words = ["4 white cells", "3 white cells", "1 white cell"]
    assert [review.summary(plane) for plane in (None, 0, 1)] == words
    assert review.cells["plane"].tolist() == [0, 0, 0, 1]
    review.labels.brush_size = 9
    review.labels.paint((1, 90, 70), 3)
    soon(lambda: review.summary(1) == "2 white cells")
    assert review.summary(0) == "3 white cells"
    review.split((0, 1), [(0, 30), (60, 30)])
    assert [review.summary(plane) for plane in (0, 1)] == ["4 white cells", "2 white cells"]
    viewer.dims.set_current_step(0, 0)
    review.labels.undo()
    review.labels.undo()
    soon(lambda: review.count == 4)
    with pytest.raises(EditError, match="different planes"):
        review.merge([(0, 1), (1, 5)])
    review.close()


def test_a_number_that_is_on_several_planes_is_a_cell_on_each(viewer, tmp_path, monkeypatch):
    """Another program numbers each plane from 1: a name or a decision was that of all cells of the number."""
    layer = viewer.add_labels(np.stack([three_cells()] * 2))
    with closing(LayerReview(viewer, layer)) as review:
        review.name([(1, 2)], "blast")
        review.accept([(1, 1)])
        said = review.cells.set_index(["plane", "label"])[["class", "decision"]]
        assert said.index[said["class"].eq("blast")].tolist() == [(1, 2)]
        assert said.index[said["decision"].eq("accepted")].tolist() == [(1, 1)]
        assert review.taken_back == set()
    with closing(LayerReview(viewer, layer)) as again:
        assert again.cells.set_index(["plane", "label"])[["class", "decision"]].equals(said)
    layer.fill((0, 30, 30), 0)
    (file,) = [one for one in save(layer, tmp_path / "stack", "tiff") if one.name.endswith("result.json")]
    kept = load_result(file).cells
    assert kept["plane"].tolist() == [0, 0, 1, 1, 1]
    assert kept["class"].eq("blast").tolist() == [False, False, False, True, False]
    assert kept["decision"].eq("accepted").tolist() == [False, False, True, False, False]
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "training"))
    image = viewer.add_image(np.stack([discs(centres=CENTRES)] * 2), rgb=True)
    added = field_writer(image, layer)(silent)
    assert [[one.label for one in field.decisions] for field in added] == [[], [1]]


def test_what_is_called_a_platelet_is_no_cell_to_train_on(viewer, tmp_path, monkeypatch):
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "training"))
    image, layer = viewer.add_image(discs(centres=CENTRES), rgb=True), viewer.add_labels(three_cells())
    with closing(LayerReview(viewer, layer)) as review:
        review.accept([(0, 1)])
        review.name([(0, 1), (0, 2)], "platelet")
        review.name([(0, 3)], "erythroblast")
    (field,) = field_writer(image, layer)(silent)
    assert field.cells == 1
    assert field.decisions == ()
    (pair,) = reader_of_layers(image, layer)(silent)
    assert np.unique(pair.labels).tolist() == [0, 3], "nor from the layers themselves"


def test_cells_on_disk_are_read_for_the_training_set_by_the_worker_alone(viewer, tmp_path, monkeypatch):
    """Of a slide the window waited for all of them."""
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "training"))
    read = []

    def noted(part):
        read.append(part.shape)
        return part

    cells = da.from_array(three_cells()).map_blocks(noted, dtype=np.int32, meta=np.zeros((0, 0), np.int32))
    layer, image = viewer.add_labels(cells), viewer.add_image(discs(centres=CENTRES), rgb=True)
    read.clear()
    write = field_writer(image, layer)
    assert read == []
    (field,) = write(silent)
    assert (field.cells, read) == (3, [(120, 160)])


def test_what_the_model_and_an_earlier_review_knew_is_taken_over_and_kept_in_the_layer(viewer):
    image = viewer.add_image(discs(), rgb=True)
    result = dark_discs(image.data)
    result.cells["check"], result.cells["certainty"] = [False, True, True], [0.9, 0.5, 0.6]
    layer = add_segmentation(viewer, result, image).cells
    review = LayerReview(viewer, layer, image)
    assert review.summary() == "3 white cells, 2 to check"
    assert review.cells["certainty"].tolist() == [0.9, 0.5, 0.6]
    rows, cols = np.nonzero(layer.data == 1)
    layer.data_setitem((rows, cols), 0)
    layer.data_setitem((np.full(9, 2), np.arange(9)), 1)
    review.update_now()
    np.testing.assert_array_equal(review.cells["certainty"], [np.nan, 0.5, 0.6], "one is drawn elsewhere")
    for _ in range(2):
        review.undo()
    assert review.cells["certainty"].tolist() == [0.9, 0.5, 0.6]
    review.accept([(0, 2)])
    review.reject([(0, 3)])
    review.close()
    assert layer.name == "2 white cells of Image"
    assert layer.metadata[METADATA_KEY]["summary"] == "2 white cells"
    assert layer.features["label"].tolist() == [0, 1, 2]
    assert layer.features["decision"].tolist()[2] == "accepted"
    again = LayerReview(viewer, layer, image)
    assert again.cells["decision"].tolist() == ["", "accepted"]
    assert again.cells["check"].sum() == 0
    add_segmentation(viewer, result, image)
    soon(lambda: again.count == 3)
    assert again.summary() == "3 white cells, 2 to check", "a new run is not decided on"
    again.close()


def test_a_class_typed_into_naparis_own_table_is_a_persons_word(viewer):
    """No event tells of it, and the next decision wrote the class of before over it."""
    features = pd.DataFrame({"class": ["", "neutrophil", "neutrophil", "monocyte"], "class_by": "model"})
    layer = add_three(viewer, features=features)
    with closing(LayerReview(viewer, layer)) as review:
        layer.features.iloc[2, list(layer.features).index("class")] = "lymphocyte"
        review.accept([(0, 1)])
        assert review.cells["class"].tolist() == ["neutrophil", "lymphocyte", "monocyte"]
        assert review.cells["class_by"].tolist() == ["person", "person", "model"]
        assert layer.features["class"].tolist()[1:] == ["neutrophil", "lymphocyte", "monocyte"]
        review.undo()
        review.undo()
        assert layer.features["class"].tolist()[1:] == ["neutrophil", "neutrophil", "monocyte"]
        layer.features.iloc[3, list(layer.features).index("class")] = "blast"
        QApplication.instance().focusChanged.emit(None, None)  # as the field that was typed into goes
        soon(lambda: review.cells["class_by"].iloc[2] == "person")
        assert layer.features["class_by"].tolist()[3] == "person"


def test_a_class_that_can_have_no_such_name_is_refused_or_loses_its_spaces(viewer):
    """Whatever showed the classes ended in a traceback from then on."""
    layer = add_three(viewer, features={"class": ["", "blast ", "", ""]})
    said, place = [], 0
    with closing(LayerReview(viewer, layer)) as review:
        assert review.cells["class"].tolist() == ["blast", "", ""]
        review.noted.connect(said.append)
        place = list(layer.features).index("class")
        layer.features.iloc[2, place], layer.features.iloc[3, place] = "lymphocyte ", "x" * 61
        review.checked([])
        assert review.cells["class"].tolist() == ["blast", "lymphocyte", ""]
        assert layer.features["class"].tolist()[1:] == ["blast", "lymphocyte", ""]
        assert "at most 60 characters" in said[-1]
        with pytest.raises(SettingsError, match="at most 60 characters"):
            review.name([(0, 3)], "x" * 61)
        assert review.classes.names[-1] == "blast"
        review.accept([(0, 1)])
        layer.features.iloc[3, place] = "y" * 61
        review.undo()
        assert review.cells["decision"].tolist() == ["", "", ""], "what was refused is no step"


def test_columns_of_others_stay_and_labels_far_apart_are_kept_too(viewer):
    layer = add_three(viewer, features={"name": ["", "a", "b", "c"]})
    review = LayerReview(viewer, layer)
    assert review.cells["name"].tolist() == ["a", "b", "c"]
    assert layer.features["name"].tolist() == ["", "a", "b", "c"]
    layer.data = np.where(three_cells() == 3, 2_000_000_000, three_cells())
    soon(lambda: 2_000_000_000 in set(review.cells["label"]))
    assert layer.features["index"].tolist() == [0, 1, 2, 2_000_000_000]
    assert layer.features["area"].notna().sum() == 3
    review.close()


@pytest.mark.parametrize("labels", [np.zeros((40, 40), np.uint8), np.zeros((2, 40, 40), np.int64)])
def test_labels_without_a_cell_are_an_empty_table(viewer, labels):
    review = LayerReview(viewer, viewer.add_labels(labels))
    assert (review.count, len(review.cells), review.summary()) == (0, 0, "0 white cells")
    review.close()


def test_a_large_layer_is_measured_in_the_background_and_edits_meanwhile_are_kept(viewer):
    labels = np.tile(three_cells(), (5, 5))
    image = np.tile(discs(centres=CENTRES), (5, 5, 1))
    review = LayerReview(viewer, viewer.add_labels(labels), viewer.add_image(image, rgb=True))
    assert review.measuring
    review.labels.paint((300, 400), 77)
    soon(lambda: 77 in set(review.cells["label"]) and not review.measuring and agrees(review), 60)
    review.measure()
    review.close()
    assert not review.measuring, "closing leaves nothing running"


def test_measuring_that_is_cancelled_can_begin_again(viewer):
    review = LayerReview(viewer, viewer.add_labels(np.ones((600, 600), np.uint8)))
    assert review.measuring
    review._job.cancel()  # as a person does in napari's dock
    soon(lambda: not review.measuring, 60)
    review.measure()
    soon(lambda: review.count == 1 and not review.measuring, 60)
    review.close()


def accepted_and_large(viewer):
    """Add cells that take a while to be measured, two of them accepted earlier."""
    said = {"class": ["", "basophil", "basophil", ""], "decision": ["", "accepted", "accepted", ""]}
    return viewer.add_labels(np.tile(three_cells(), (5, 5)), features={**said, "class_by": "person"})


def test_undo_of_what_was_drawn_while_cells_were_measured_leaves_earlier_decisions(viewer):
    with closing(LayerReview(viewer, accepted_and_large(viewer))) as review:
        assert review.measuring
        review.labels.paint((300, 400), 77)
        soon(lambda: not review.measuring and review.count == 4, 60)
        review.undo()
        assert review.cells["label"].tolist() == [1, 2, 3]
        assert review.cells["decision"].tolist() == ["accepted", "accepted", ""]


def test_what_the_layer_knows_stays_where_measuring_was_cancelled(viewer):
    """An empty table was written over it by the next step."""
    layer = accepted_and_large(viewer)
    layer.paint((300, 400), 77)
    before = layer.features
    with closing(LayerReview(viewer, layer)) as review:
        review._job.cancel()
        soon(lambda: not review.measuring, 60)
        review.undo()
        assert (layer.data == 77).sum() == 0
        with pytest.raises(EditError, match="are measured"):
            review.set_classes(review.classes, {"monocyte": "Monozyt"})
        layer.features.iloc[3, 0] = "monocyte"  # typed
        QApplication.instance().focusChanged.emit(None, None)
        assert layer.features is before
        review.measure()
        soon(lambda: not review.measuring, 60)
        assert review.cells["decision"].tolist() == ["accepted", "accepted", ""]
        assert review.checked([(0, 3)])
        assert review.cells["class"].tolist() == ["basophil", "basophil", "monocyte"]


def test_numbers_too_large_for_the_type_that_labels_had_stay_what_they_are(viewer):
    layer = viewer.add_labels(three_cells(np.uint16))
    review = LayerReview(viewer, layer)
    layer.data = layer.data.astype(np.int64)  # "Convert data type" of napari
    layer.brush_size = 9
    layer.paint((60, 20), 2**16 + 1)
    soon(lambda: review.count == 4)
    assert review.cells["label"].tolist() == [1, 2, 3, 2**16 + 1]
    review.close()


def test_the_plane_shown_is_known_where_its_axes_are_exchanged(viewer):
    review = LayerReview(viewer, viewer.add_labels(np.stack([three_cells()] * 3)))
    viewer.dims.order = (0, 2, 1)
    viewer.dims.set_current_step(0, 2)
    assert review.plane == 2
    viewer.dims.order = (1, 0, 2)
    assert review.plane is None
    review.close()


@pytest.mark.parametrize(("before", "after"), [((700, 700), (600, 800)), ((4, 400, 400), (2, 400, 400))])
def test_labels_of_another_shape_are_looked_at_only_once_they_are_measured(viewer, before, after):
    """Whatever napari drew anew meanwhile, or a plane edited before that is gone, ended in a traceback."""
    layer = viewer.add_labels(np.zeros(before, np.uint8))
    with closing(LayerReview(viewer, layer)) as review:
        soon(lambda: not review.measuring)
        viewer.dims.set_point(0, 3)
        layer.paint((3, 50, 50)[-layer.ndim :], 1)
        soon(lambda: review.count == 1)
        labels = np.zeros(after, np.uint8)
        labels[..., 20:40, 20:40] = 2
        layer.data = labels
        review.update_now()
        assert review.measuring
        layer.refresh()
        review.update_now()
        soon(lambda: not review.measuring)
        layer.refresh()
        review.update_now()
        assert review.count == np.prod(after[:-2])


class Corrections(RuleBasedStateMachine):
    """Corrects cells at random; at the end all of it is taken back, and done again."""

    def __init__(self):
        super().__init__()
        rows, cols = np.indices((40, 60))
        labels = sum(
            number * ((rows - 20) ** 2 + (cols - middle) ** 2 <= 49)
            for number, middle in ((1, 12), (2, 28), (3, 48))
        )
        viewer = ViewerModel()
        self.review = LayerReview(viewer, viewer.add_labels(labels, name="mine"))
        self.first, self.steps = self.look(), 0

    def look(self):
        """Return the labels and what is said of the cells, as they are shown."""
        self.review.update_now()
        said = self.review.cells[["label", "pieces", "flag", "check", "decision", "class", "class_by"]]
        return self.review.labels.data.tolist(), said.to_dict("records"), self.review.summary()

    def cell(self, number):
        keys = self.review.keys()
        return keys[number % len(keys)]

    def act(self, correct, *arguments):
        self.steps += 1
        with suppress(EditError):  # a line beside the cell, or one cell to be merged
            correct(*arguments)

    @rule(row=st.integers(10, 30), col=st.integers(5, 55), label=st.integers(0, 5))
    def paint(self, row, col, label):
        self.review.labels.brush_size = 9
        self.act(self.review.labels.paint, (row, col), label)

    @precondition(lambda self: self.review.count)
    @rule(number=NUMBER, other=NUMBER)
    def swallow(self, number, other):
        inside = np.argwhere(self.review.labels.data == self.cell(number)[1])[0]
        self.act(self.review.labels.fill, tuple(inside), self.cell(other)[1])

    @precondition(lambda self: self.review.count)
    @rule(number=NUMBER, row=st.integers(15, 25))
    def split(self, number, row):
        self.act(self.review.split, self.cell(number), np.array([[row, 0.0], [row, 59.0]]))

    @precondition(lambda self: self.review.count)
    @rule(number=NUMBER, other=NUMBER)
    def merge(self, number, other):
        self.act(self.review.merge, [self.cell(number), self.cell(other)])

    @precondition(lambda self: self.review.count)
    @rule(number=NUMBER)
    def reject(self, number):
        self.act(self.review.reject, [self.cell(number)])

    @precondition(lambda self: self.review.count)
    @rule(number=NUMBER)
    def accept(self, number):
        self.act(self.review.accept, [self.cell(number)])

    @precondition(lambda self: self.review.count)
    @rule(number=NUMBER, name=st.sampled_from(("blast", "platelet", "")))
    def name(self, number, name):
        self.act(self.review.name, [self.cell(number)], name)

    @rule()
    def undo(self):
        self.act(self.review.undo)

    @rule()
    def redo(self):
        self.act(self.review.redo)

    @invariant()
    def each_label_has_its_row(self):
        self.review.update_now()
        expected, _ = measure_labels(self.review.labels.data)
        assert self.review.cells[["label", "area", "pieces"]].equals(expected[["label", "area", "pieces"]])

    def teardown(self):
        last = self.look()
        for _ in range(self.steps):
            self.review.undo()
        assert self.look() == self.first
        for _ in range(self.steps):
            self.review.redo()
        assert self.look() == last
        self.review.close()


def test_corrections_in_any_order_are_taken_back_and_done_again(qapp):
    run_state_machine_as_test(Corrections, settings=settings(max_examples=5, stateful_step_count=12))
