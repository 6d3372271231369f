"""Corrections that were not saved outlive napari, and are offered to whoever starts it next."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image
from qtpy.QtWidgets import QMessageBox

from napari_wbcseg import load_result
from napari_wbcseg.errors import OutputError
from napari_wbcseg.images.read import ImageWarning
from napari_wbcseg.plugin.controls.panel import open_panel
from napari_wbcseg.plugin.controls.unsaved_offer import UnsavedOffer
from napari_wbcseg.plugin.segment.save_form import SaveForm
from napari_wbcseg.plugin.shared.counts import counts_of
from napari_wbcseg.plugin.shared.jobs import Job
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.plugin.shared.metadata import LayerInfo, is_picture
from napari_wbcseg.plugin.shared.unsaved import keep_unsaved
from napari_wbcseg.plugin.shared.unsaved_copies import UnsavedCopy, copies_left, take, unsaved_folder
from napari_wbcseg.plugin.writer import write_tiff

from ..conftest import dark_discs, discs

REVIEW = "Review white blood cells"
WAIT = 60_000

CORRECT_UNTIL_KILLED = textwrap.dedent(
    """
    import sys
    import napari
    from napari_wbcseg.plugin.shared.layers import add_segmentation
    from napari_wbcseg.plugin.controls.panel import open_panel
    from tests.plugin.conftest import dark_discs

    viewer = napari.Viewer(show=False)
    (image,) = viewer.open(sys.argv[1])
    review = open_panel(viewer, "Review white blood cells")
    add_segmentation(viewer, dark_discs(image.data), image)
    review.select([(0, 1)])
    review.name("monocyte")
    review.select([(0, 2)])
    review.reject()
    review.labels.brush_size = 8
    review.labels.paint((100, 20), 7)
    print("corrected", flush=True)
    napari.run(force=True)
    """
)


@pytest.fixture
def picture(tmp_path):
    """Write a picture of three dark discs."""
    Image.fromarray(discs()).save(tmp_path / "smear.png")
    return tmp_path / "smear.png"


def copies():
    """Return the folders of the copies that hold cells."""
    return [path.parent for path in unsaved_folder().glob("*/cells-result.json")]


def left_copy(viewer, review, qtbot):
    """Accept a cell, take its layer away, and return the copy that is left of it."""
    review.select([(0, 1)])
    review.accept()
    qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
    viewer.layers.remove(review.labels)
    qtbot.waitUntil(lambda: len(copies_left()) == 1, timeout=WAIT)
    (copy,) = copies_left()
    return copy


def reviewed(viewer, picture, qtbot):
    """Segment a picture and open a review of its cells."""
    (image,) = viewer.open(picture)
    review = open_panel(viewer, REVIEW)
    add_segmentation(viewer, dark_discs(image.data), image)
    qtbot.waitUntil(lambda: review.review is not None and review.review.count == 3)
    return review


@pytest.fixture
def review(viewer, picture, qtbot):
    return reviewed(viewer, picture, qtbot)


def offer_of(panel):
    return panel.findChild(UnsavedOffer)


class TestKilled:
    @pytest.fixture
    def killed(self, picture, tmp_path):
        """Correct cells in another napari, and kill it a moment later."""
        process = subprocess.Popen(
            [sys.executable, "-c", CORRECT_UNTIL_KILLED, str(picture)],
            env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"corrected\n"
        end = time.monotonic() + 60
        while (
            not (found := copies())
            or not load_result(found[0] / "cells-result.json").cells["class"].eq("monocyte").any()
        ):
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(2)
        assert process.poll() is None, "it was to be killed, and ended by itself"
        assert copies_left() == [], "another napari is at work on it"
        process.send_signal(signal.SIGKILL)
        process.wait()

    def test_a_copy_that_was_removed_by_hand_is_offered_no_more(self, killed, viewer):
        assert len(copies_left()) == 1
        shutil.rmtree(unsaved_folder())
        assert copies_left() == []
        assert not offer_of(open_panel(viewer, REVIEW)).text.text()

    def test_one_more_copy_is_told_of(self, killed, viewer):
        (folder,) = copies()
        shutil.copytree(folder, folder.with_name("other"))
        assert offer_of(open_panel(viewer, REVIEW)).text.text().endswith(" 1 more is kept.")

    def test_the_next_start_offers_every_correction(self, killed, viewer, qtbot):
        panel = open_panel(viewer, REVIEW)
        offer = offer_of(panel)
        assert "Corrections of smear, made today at" in offer.text.text()
        offer.accept_button.click()
        qtbot.waitUntil(lambda: panel.review is not None and not panel.review.measuring, timeout=WAIT)
        assert not offer.isVisibleTo(panel)
        assert [layer.name for layer in viewer.layers][:2] == ["smear", "3 white cells of smear"]
        assert np.unique(panel.labels.data).tolist() == [0, 1, 3, 7]
        cells = panel.cells.set_index("label")
        assert cells.loc[1, ["class", "class_by"]].tolist() == ["monocyte", "person"]
        assert panel.image is viewer.layers["smear"]
        panel.select([(0, 3)])
        panel.accept()
        qtbot.waitUntil(
            lambda: load_result(copies()[0] / "cells-result.json").cells["decision"].eq("accepted").any(),
            timeout=WAIT,
        )
        assert len(copies()) == 1, "it goes on in the same copy"

    @pytest.mark.parametrize(("said", "left"), [("Yes", 0), ("No", 1)])
    def test_discard_asks_first(self, killed, viewer, monkeypatch, said, left):
        offer = offer_of(open_panel(viewer, "Segment white blood cells"))
        monkeypatch.setattr(QMessageBox, "question", lambda *_: getattr(QMessageBox.StandardButton, said))
        offer.discard_button.click()
        assert len(copies()) == left == int(bool(offer.text.text()))


class TestCopies:
    def test_cells_that_nobody_corrected_have_none(self, review, qtbot):
        qtbot.wait(1500)
        assert copies() == []

    def test_it_goes_when_the_corrections_are_taken_back(self, review, qtbot):
        review.select([(0, 1)])
        review.accept()
        qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
        review.undo()
        qtbot.waitUntil(lambda: copies() == [], timeout=WAIT)

    def test_it_goes_when_the_cells_are_saved(self, viewer, review, qtbot, tmp_path):
        review.labels.brush_size = 8
        review.labels.paint((100, 20), 7)
        qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
        form = SaveForm(viewer, lambda: review.labels)
        qtbot.addWidget(form)
        for formats, left in ((["csv"], 1), (["tiff"], 0)):
            form.formats = formats
            with qtbot.waitSignal(form.saved, timeout=WAIT):
                form.save(tmp_path / "mine")
            assert len(copies()) == left, "a table alone cannot be opened again"
        assert LayerInfo.of(review.labels).record == str(tmp_path / "mine-result.json")

    def test_it_goes_too_when_they_are_saved_as_napari_saves_layers(self, review, qtbot, tmp_path):
        review.labels.paint((100, 20), 7)
        qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
        write_tiff(str(tmp_path / "mine.tif"), [review.labels.as_layer_data_tuple()])
        qtbot.waitUntil(lambda: copies() == [], timeout=WAIT)
        assert LayerInfo.of(review.labels).record == str(tmp_path / "mine-result.json")

    def test_saved_files_are_left_alone_until_they_are_saved_again(self, viewer, review, qtbot, tmp_path):
        form = SaveForm(viewer, lambda: review.labels)
        qtbot.addWidget(form)
        form.formats = ["tiff"]
        with qtbot.waitSignal(form.saved, timeout=WAIT):
            form.save(tmp_path / "mine")
        before = {path: path.read_bytes() for path in tmp_path.glob("mine-*")}
        viewer.layers.clear()
        viewer.open(tmp_path / "mine-result.json", plugin="napari-wbcseg")
        qtbot.waitUntil(lambda: review.review is not None and not review.review.measuring, timeout=WAIT)
        qtbot.wait(1000)
        assert copies() == [], "opened and looked at only"
        review.select([(0, 2)])
        review.name("basophil")
        qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
        assert {path: path.read_bytes() for path in tmp_path.glob("mine-*")} == before

    def test_labels_drawn_by_hand_are_kept_once_they_are_reviewed(self, viewer, qtbot):
        labels = np.zeros((60, 60), np.uint16)
        labels[10:30, 10:30] = 4
        viewer.add_image(np.full((60, 60), 200, np.uint8), name="from a script")
        viewer.add_labels(labels, name="mine")
        panel = open_panel(viewer, REVIEW)
        qtbot.wait(1000)
        assert copies() == []
        panel.select([(0, 4)])
        panel.name("blast")
        qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
        assert load_result(copies()[0] / "cells-result.json").cells["class"].tolist() == ["blast"]
        viewer.layers.clear()
        panel.close()


def test_that_classes_went_as_napari_converted_the_layer_is_said(viewer, picture, monkeypatch):
    """The cells came back from an image without a class, and no word told of it."""
    from napari.layers._layer_actions import _convert_to_image, _convert_to_labels

    said = []
    monkeypatch.setattr("napari_wbcseg.plugin.shared.unsaved.show_info", said.append)
    keep_unsaved(viewer)
    (image,) = viewer.open(picture)
    name = add_segmentation(viewer, dark_discs(image.data), image).cells.name
    _convert_to_image(viewer.layers)
    viewer.layers.selection = {viewer.layers[name]}
    assert not said
    _convert_to_labels(viewer.layers)
    assert len(said) == 1
    assert said[0].startswith(f"{name} has no table any more")


@pytest.mark.parametrize("written", [False, True])
def test_what_was_not_saved_of_cells_that_were_removed_is_offered(viewer, review, qtbot, written):
    """A slip in the layer list took corrections away, and only the next napari told that they were kept."""
    review.select([(0, 1)])
    review.name("monocyte")
    if written:
        qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
        viewer.layers.move(len(viewer.layers) - 1, 0)
        assert not offer_of(review).text.text()
    viewer.layers.remove(review.labels)
    qtbot.waitUntil(lambda: "Corrections of smear" in offer_of(review).text.text(), timeout=WAIT)
    offer_of(review).accept_button.click()
    qtbot.waitUntil(lambda: review.review is not None and not review.review.measuring, timeout=WAIT)
    assert review.cells.set_index("label").loc[1, "class"] == "monocyte"
    assert len(copies()) == 1
    qtbot.waitUntil(lambda: review.image is not None, timeout=WAIT)
    assert [layer for layer in viewer.layers if is_picture(layer)] == [review.image], "it is open once"


def test_a_count_that_comes_after_its_cells_were_taken_away_leaves_no_second_copy(viewer, review, qtbot):
    """That of a large stack does; both copies were offered at the next start."""
    layer = review.labels
    left_copy(viewer, review, qtbot)
    counts_of(viewer).changed.emit(layer)
    keep_unsaved(viewer).flush()
    assert len(copies()) == 1


def test_what_was_not_opened_is_offered_still(viewer, review, qtbot):
    """Whoever pressed Cancel while the picture was read was offered them at the next start only."""
    review.select([(0, 1)])
    review.accept()
    qtbot.waitUntil(lambda: len(copies()) == 1, timeout=WAIT)
    viewer.layers.remove(review.labels)
    qtbot.waitUntil(lambda: "Corrections of smear" in offer_of(review).text.text(), timeout=WAIT)
    offer_of(review).accept_button.click()
    (opening,) = (job for job in Job._running if job._title == "Opening corrections")
    with qtbot.waitSignal(opening.ended, timeout=WAIT):
        opening.cancel()
    assert "Corrections of smear" in offer_of(review).text.text()
    assert len(copies()) == 1


def test_what_is_gone_on_with_while_discard_asks_is_not_discarded(viewer, review, qtbot, monkeypatch):
    """As a session does, which may have been reading its picture."""
    copy = left_copy(viewer, review, qtbot)

    def answer(*_):
        assert take(copy)
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(QMessageBox, "question", answer)
    offer_of(review).discard_button.click()
    assert len(copies()) == 1


def test_a_full_disk_is_said_and_leaves_no_folder_a_correction(monkeypatch):
    monkeypatch.setattr("napari_wbcseg.plugin.shared.unsaved_copies.UnsavedCopy.hold", full)
    with pytest.raises(OutputError, match=r"The disk is full: .*about\.json was not written"):
        UnsavedCopy.begin({"name": "smear", "path": None, "record": None})
    assert not list(unsaved_folder().iterdir())


def test_cells_that_cannot_be_kept_as_napari_ends_do_not_hinder_those_of_others(viewer, monkeypatch, capsys):
    first, second = (
        add_segmentation(viewer, dark_discs(discs()), viewer.add_image(discs())).cells for _ in range(2)
    )
    kept, hold, refused = keep_unsaved(viewer), UnsavedCopy.hold, []

    def hold_all_but_the_first(copy):
        if not refused:
            refused.append(copy)
            full(copy)
        hold(copy)

    monkeypatch.setattr(UnsavedCopy, "hold", hold_all_but_the_first)
    for layer in (first, second):
        layer.data[layer.data == 1] = 0
        kept._on_changed(layer)
    kept.flush()
    assert "are not kept. The disk is full" in capsys.readouterr().out
    assert len(copies()) == 1


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_copy_is_not_of_another_picture_that_took_the_place_of_its_own(viewer, review, picture, qtbot):
    """A session showed the corrections of the old picture on the new one, and Save wrote them."""
    copy = left_copy(viewer, review, qtbot)
    record = picture.with_name("smear-result.json")
    assert copy.is_of(record, picture)
    Image.fromarray(discs(centres=((60, 60),))).save(picture)
    assert not copy.is_of(record, picture)
    with pytest.warns(ImageWarning, match="another picture"):
        assert [kind for *_, kind in copy.layers()] == ["labels"]
