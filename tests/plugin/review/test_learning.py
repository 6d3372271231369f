"""Learning the classes from cells that a person named, and cells that were missed."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_wbcseg.classification.classes import probability_columns
from napari_wbcseg.classification.classify import classify_cells
from napari_wbcseg.classification.learn import least_sure
from napari_wbcseg.datasets.corrections import learnt_file
from napari_wbcseg.errors import EditError, ModelError
from napari_wbcseg.network.classifier import read_classifier
from napari_wbcseg.plugin.review import learning
from napari_wbcseg.plugin.shared.metadata import LayerInfo
from napari_wbcseg.plugin.shared.unsaved import state_of
from napari_wbcseg.results.load import load_result
from napari_wbcseg.results.records import ResultRecord
from napari_wbcseg.results.save import save

from .test_gallery import said
from .test_widget import click

COLUMNS = 6
VIOLET, ORANGE = (90, 40, 120), (200, 120, 40)


@pytest.fixture(autouse=True)
def own_corrections(monkeypatch, tmp_path):
    """Keep what is learnt out of the user's own folder."""
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "training-set"))


def cells_of_two_kinds():
    """Draw rows of cells, violet, dark in the middle, and orange, pale there; return picture and labels."""
    rows, cols = np.indices((140, 70 * COLUMNS))
    labels = np.zeros(rows.shape, np.uint16)
    image = np.full((*rows.shape, 3), 235, np.uint8)
    for number in range(2 * COLUMNS):
        middle = (35 + 70 * (number // COLUMNS), 35 + 70 * (number % COLUMNS))
        squared = (rows - middle[0]) ** 2 + (cols - middle[1]) ** 2
        labels[squared <= (20 + number % 3) ** 2] = number + 1
        image[labels == number + 1] = VIOLET if number < COLUMNS else ORANGE
        image[squared <= 100] = (40, 15, 60) if number < COLUMNS else (235, 205, 180)
    return image, labels


def review_of(viewer, image, labels, **features):
    viewer.layers.clear()
    viewer.add_image(image, rgb=True, name="smear")
    viewer.add_labels(labels, name="mine", features=features or None)
    return viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")[1]


@pytest.fixture
def widget(viewer):
    """Review cells of two kinds, two of each named: the orange ones are of a class of one's own."""
    found = review_of(viewer, *cells_of_two_kinds())
    for labels, name in (((1, 2), "lymphocyte"), ((7, 8), "blast")):
        found.select([(0, label) for label in labels])
        found.name(name)
    return found


def until(what, seconds=120):
    """Wait until something is so; unlike `soon` it leaves the processor to the thread that works."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        QTest.qWait(20)


def name(widget, label, as_what):
    widget.select([(0, label)])
    widget.name(as_what)


def learn(widget):
    until(lambda: widget.review is not None and not widget.review.measuring)
    widget.message.setText("")
    widget.learn()
    until(lambda: widget.message.text().startswith("Learnt"))
    return widget.message.text()


def classes(widget):
    return widget.cells["class"].tolist()


def likeliest(cells):
    """Return the class that the model holds for likeliest, whoever said which it is."""
    return cells[probability_columns(cells)].idxmax(axis=1).str.removeprefix("p_").tolist()


class TestLearning:
    def test_the_others_follow_and_a_word_of_a_person_stays(self, widget):
        widget.select([(0, 12)])
        widget.name("basophil")
        assert learn(widget).startswith("Learnt from 5 named cells: the class of 7 cells changed.")
        assert likeliest(widget.cells)[:11] == ["lymphocyte"] * 6 + ["blast"] * 5
        assert said(widget, 3) == ("lymphocyte", "model")
        assert said(widget, 12) == ("basophil", "person")
        assert "blast" in widget.review.classes.names

    def test_cells_are_looked_at_anew_where_the_image_was_replaced(self, viewer, widget):
        learn(widget)
        smear = viewer.layers["smear"]
        top, bottom = smear.data[:70], smear.data[70:]
        left, right = np.vstack([top, bottom])[:, :140], np.vstack([bottom, top])[:, 140:]
        smear.data = np.hstack([left, right])
        learn(widget)
        assert likeliest(widget.cells) == ["lymphocyte"] * 2 + ["blast"] * 6 + ["lymphocyte"] * 4

    def test_a_class_that_was_accepted_stays_until_that_is_taken_back(self, widget):
        learn(widget)
        widget.select([(0, 3), (0, 9)])
        widget.accept()
        assert said(widget, 3) == ("lymphocyte", "person")
        widget.panel.buttons["learn"].click()
        until(lambda: widget.review.suggestions is None)
        assert [said(widget, label)[0] for label in (3, 4, 9)] == ["lymphocyte", "", "blast"]
        widget.select([(0, 3)])
        widget.accept()
        assert said(widget, 3) == ("", "")
        widget.undo()
        assert said(widget, 3) == ("lymphocyte", "person")
        widget.select([(0, 4)])
        widget.accept()
        assert said(widget, 4) == ("", ""), "there is no class to agree with"

    def test_what_was_accepted_is_taken_back_on_another_day_as_on_the_same(self, viewer, widget, tmp_path):
        learn(widget)
        widget.select([(0, 4), (0, 10)])
        widget.accept()
        widget.select([(0, 5)])
        widget.name("monocyte")
        widget.accept()
        save(widget.labels, tmp_path / "one-labels.tif")
        (widget.labels,) = viewer.open(tmp_path / "one-labels.tif", plugin="napari-wbcseg")
        assert said(widget, 4) == ("lymphocyte", "person")
        widget.select([(0, 4), (0, 5)])
        widget.accept()
        assert said(widget, 4) == ("lymphocyte", "model")
        assert said(widget, 5) == ("monocyte", "person"), "that was named"
        assert said(widget, 10) == ("blast", "person")
        widget.undo()
        assert said(widget, 4) == ("lymphocyte", "person")

    def test_it_can_be_switched_off_and_on_again(self, widget):
        before, button = classes(widget), widget.panel.buttons["learn"]
        learn(widget)
        after = classes(widget)
        assert after != before
        assert button.isChecked()
        button.click()
        until(lambda: widget.review.suggestions is None)
        assert classes(widget) == before
        assert not button.isChecked()
        assert not learnt_file().exists()
        for label in (3, 4, 9, 10):
            name(widget, label, "monocyte")
        QTest.qWait(1500)
        assert widget.review.suggestions is None, "nobody wants it"
        button.click()
        until(lambda: widget.review.suggestions is not None)
        assert button.isChecked()

    def test_the_next_picture_and_the_shell_know_what_was_learnt(self, viewer, widget):
        learn(widget)
        image, labels = cells_of_two_kinds()
        cells = widget.review.cells.drop(columns=["class", "class_by", "class_probability"])
        told = classify_cells(labels, cells, image, classifier=learnt_file())
        assert likeliest(told) == ["lymphocyte"] * 6 + ["blast"] * 6
        viewer.window.remove_dock_widget(widget)
        another = review_of(viewer, image[:, ::-1].copy(), labels[:, ::-1].copy())
        learn(another)
        assert likeliest(another.cells)[6:] == ["blast"] * 6, "though none is named here"

    def test_what_was_learnt_is_in_the_layer_and_its_files(self, widget, tmp_path):
        learn(widget)
        assert {"p_blast", "p_lymphocyte"} <= set(widget.labels.features.columns)
        save(widget.labels, tmp_path / "one-labels.tif")
        again = load_result(tmp_path / "one-labels.tif")
        assert again.cells["class"].tolist() == classes(widget)
        learnt = read_classifier(learnt_file()).id
        assert again.classifier == learnt
        assert ResultRecord.read(tmp_path / "one-result.json").classifier.find_classifier() == str(
            learnt_file()
        )
        widget.panel.buttons["learn"].click()
        until(lambda: LayerInfo.of(widget.labels).classifier != learnt)

    def test_what_is_suggested_is_to_be_saved(self, widget):
        """A session did not ask: the classes that were seen, and counted, were gone with the next picture."""
        before = state_of(widget.labels)
        learn(widget)
        assert state_of(widget.labels) != before
        widget.panel.buttons["learn"].click()
        until(lambda: widget.review.suggestions is None)
        assert state_of(widget.labels) == before

    def test_a_cell_that_comes_later_gets_a_class_too(self, widget):
        """One that was missed had none until another was named."""
        learn(widget)
        widget.labels.data_setitem(np.nonzero(widget.labels.data == 12), 40)
        until(lambda: widget.cells["label"].iloc[-1] == 40 and classes(widget)[-1] != "")
        widget.undo()
        until(lambda: widget.cells["label"].iloc[-1] == 12 and classes(widget)[-1] != "")

    def test_the_classifier_can_be_saved(self, widget, tmp_path, monkeypatch):
        assert not widget.panel.save_classifier.isVisibleTo(widget)
        learn(widget)
        assert widget.panel.save_classifier.isVisibleTo(widget)
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "own"), ""))
        widget.panel.save_classifier.click()
        assert "blast" in read_classifier(tmp_path / "own.safetensors").header.architecture.classes
        (tmp_path / "own.safetensors").write_bytes(b"that of another stain")
        monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.No)
        widget.panel.save_classifier.click()
        assert (tmp_path / "own.safetensors").read_bytes() == b"that of another stain"

    def test_the_least_sure_cell_is_offered_next(self, widget):
        learn(widget)
        order = [widget.review.keys()[row] for row in least_sure(widget.review.cells)]
        assert [widget.next_unsure() for _ in range(3)] == order[:3]
        assert widget.selected == [order[2]]
        widget.name("blast")
        widget.select([])
        assert widget.next_unsure() == order[0]
        assert order[2] not in [widget.next_unsure() for _ in range(12)], "it is named"

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda widget: widget.undo() or widget.undo(), "No cell is named"),
            (lambda widget: widget.viewer.layers.remove("smear"), "by the image"),
        ],
        ids=["nothing named", "no image"],
    )
    def test_why_nothing_can_be_learnt_is_said(self, widget, spoil, words):
        spoil(widget)
        widget.panel.buttons["learn"].click()
        until(lambda: words in widget.message.text())


class TestMeanwhile:
    """What is drawn, or taken away, while the classes are learnt."""

    def test_cells_that_became_others_meanwhile_are_looked_at_anew(self, viewer, widget, monkeypatch):
        """They had the classes of those that had their numbers before."""
        learn(widget)
        viewer.window.remove_dock_widget(widget)
        another = review_of(viewer, *cells_of_two_kinds())
        looked, may_go_on = threading.Event(), threading.Event()

        def slowly(*given):
            found = look(*given)
            looked.set()
            may_go_on.wait(60)
            return found

        look = learning._look
        monkeypatch.setattr(learning, "_look", slowly)
        another.learn()
        until(looked.is_set)
        labels = another.labels.data
        another.labels.data = np.where(labels > 0, 13 - labels, 0).astype(np.uint16)
        may_go_on.set()
        until(lambda: another.review.suggestions is not None and "" not in classes(another))
        assert likeliest(another.cells) == ["blast"] * 6 + ["lymphocyte"] * 6

    def test_the_button_is_up_once_nothing_is_suggested_any_more(self, widget):
        """What it offered to save was nothing, after one was asked for a file."""
        button = widget.panel.buttons["learn"]
        button.click()
        assert button.isChecked()
        widget.learning._job.cancel()  # as a person does in napari's dock
        until(lambda: not button.isChecked())
        learn(widget)
        widget.learning.wanted = None
        widget.labels.features = None  # as cells that are found anew have it
        until(lambda: not button.isChecked() and not widget.panel.save_classifier.isVisibleTo(widget))

    def test_without_the_image_it_cannot_be_switched_off(self, viewer, widget):
        """Nothing happened, and nothing was said."""
        learn(widget)
        del viewer.layers["smear"]
        button = widget.panel.buttons["learn"]
        button.click()
        assert "by the image" in widget.message.text()
        assert button.isChecked()


class TestBySuggestion:
    """What happens by itself while cells are named."""

    def test_three_cells_of_two_classes_are_enough_and_names_taken_back_are_forgotten(self, widget):
        name(widget, 3, "lymphocyte")
        QTest.qWait(1500)
        assert widget.review.suggestions is None, "of one class only two are named"
        before = classes(widget)
        name(widget, 9, "blast")
        until(lambda: widget.review.suggestions is not None)
        assert likeliest(widget.cells) == ["lymphocyte"] * 6 + ["blast"] * 6
        assert widget.panel.buttons["learn"].isChecked()
        name(widget, 12, "lymphocyte")
        until(lambda: read_classifier(learnt_file()).header.taught == 7)
        assert said(widget, 12) == ("lymphocyte", "person")
        widget.undo()
        until(lambda: read_classifier(learnt_file()).header.taught == 6)
        widget.undo()
        until(lambda: widget.review.suggestions is None)
        assert classes(widget) == before
        assert not learnt_file().exists()
        assert not widget.panel.buttons["learn"].isChecked()
        widget.redo()
        until(lambda: widget.review.suggestions is not None)

    def test_in_the_next_picture_the_first_name_is_enough(self, viewer, widget):
        learn(widget)
        viewer.window.remove_dock_widget(widget)
        image, labels = cells_of_two_kinds()
        another = review_of(viewer, image[:, ::-1].copy(), labels[:, ::-1].copy())
        QTest.qWait(1500)
        assert another.review.suggestions is None, "nothing is said unasked"
        name(another, 1, "lymphocyte")
        until(lambda: another.review.suggestions is not None)
        assert likeliest(another.cells) == ["lymphocyte"] * 6 + ["blast"] * 6

    def test_what_was_named_right_before_the_next_picture_is_learnt(self, viewer, widget):
        """Whoever named one cell a picture and went on at once taught nothing."""
        learn(widget)
        name(widget, 12, "blast")
        viewer.layers.clear()
        until(lambda: read_classifier(learnt_file()).header.taught == 5)

    def test_a_name_taken_back_when_the_picture_is_open_again_is_forgotten_too(self, viewer, widget):
        name(widget, 9, "lymphocyte")  # a slip
        learn(widget)
        viewer.window.remove_dock_widget(widget)
        again = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")[1]
        name(again, 9, "")
        until(lambda: read_classifier(learnt_file()).header.taught == 4)
        assert again.review.suggestions is None, "nothing is suggested for that"
        name(again, 8, "unsure")
        until(lambda: read_classifier(learnt_file()).header.taught == 3)
        for label in (1, 2, 7):
            name(again, label, "")
        until(lambda: not learnt_file().exists())

    def test_cells_found_anew_in_the_same_layer_take_nothing_back(self, viewer, widget):
        learn(widget)
        layer = widget.labels
        viewer.window.remove_dock_widget(widget)
        again = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")[1]
        assert said(again, 1) == ("lymphocyte", "person")
        layer.features = layer.features[["index"]] if "index" in layer.features else None
        until(lambda: said(again, 1)[1] != "person")
        QTest.qWait(2500)
        assert read_classifier(learnt_file()).header.taught == 4

    def test_a_class_that_was_renamed_does_not_come_back(self, viewer, widget):
        learn(widget)
        viewer.window.remove_dock_widget(widget)
        image, labels = cells_of_two_kinds()
        another = review_of(viewer, image[:, ::-1].copy(), labels[:, ::-1].copy())
        learn(another)
        assert said(another, 1)[0] == "lymphocyte"
        another.gallery.class_menu.change("lymphocyte", name="Lymphozyt")
        until(lambda: not another.review.measuring)
        assert said(another, 1)[0] == "Lymphozyt"
        name(another, 12, "blast")
        until(lambda: another.review.suggestions is not None)
        assert likeliest(another.cells)[:6] == ["Lymphozyt"] * 6
        assert "lymphocyte" not in another.review.classes.names

    def test_a_class_that_was_renamed_does_not_come_back_after_learning_failed(self, widget, monkeypatch):
        def fail(*_):
            raise ModelError("There is no room.")

        learn(widget)
        with monkeypatch.context() as context:
            context.setattr("napari_wbcseg.plugin.review.learning._suggestions", fail)
            widget.gallery.class_menu.change("lymphocyte", name="Lymphozyt")
            until(lambda: widget.message.text() == "There is no room.")
        learn(widget)
        assert likeliest(widget.cells)[:6] == ["Lymphozyt"] * 6
        assert "lymphocyte" not in widget.review.suggestions.classifier.header.examples

    def test_a_class_that_is_renamed_while_others_are_learnt_does_not_come_back(self, widget, monkeypatch):
        looks, may_go_on = threading.Event(), threading.Event()

        def slowly(*given):
            looks.set()
            may_go_on.wait(60)
            return look(*given)

        look = learning._look
        monkeypatch.setattr(learning, "_look", slowly)
        widget.learn()
        until(looks.is_set)
        widget.gallery.class_menu.change("monocyte", name="Monozyt")
        may_go_on.set()
        until(lambda: widget.review.suggestions is not None)
        assert "p_Monozyt" in widget.cells
        assert "p_monocyte" not in widget.cells


class TestMissedCells:
    def test_a_click_outlines_a_cell_as_the_network_sees_it(self, viewer):
        from napari_wbcseg.synthetic.smear import synthetic_smear

        drawn = synthetic_smear((384, 512), seed=3)
        inside = np.setdiff1d(drawn.labels[60:-60, 60:-60], 0)
        truth = drawn.labels == inside[0]
        widget = review_of(viewer, drawn.image, np.where(truth, 0, drawn.labels).astype(np.uint16))
        count = widget.review.count
        row, col = (int(np.median(place)) for place in np.nonzero(truth))
        click(viewer, widget.labels, row, col)
        assert widget.review.count == count, "not unless it is asked for"
        widget.panel.buttons["outline_missed"].click()
        click(viewer, widget.labels, row, col)
        until(lambda: widget.review.count == count + 1)
        (cell,) = widget.selected
        again = widget.labels.data == cell[1]
        assert (again & truth).sum() > 0.8 * (again | truth).sum()
        assert widget.cells.set_index("label").loc[cell[1], "decision"] == "accepted"
        widget.undo()
        assert widget.review.count == count
        assert not (widget.labels.data == cell[1]).any()
        widget.redo()
        assert widget.review.count == count + 1

    def test_where_there_is_none_a_sentence_says_so(self, viewer):
        labels = np.zeros((200, 200), np.uint16)
        labels[20:60, 20:60] = 1
        widget = review_of(viewer, np.full((200, 200, 3), 235, np.uint8), labels)
        widget.panel.buttons["outline_missed"].click()
        click(viewer, widget.labels, 150, 150)
        until(lambda: "sees no cell there" in widget.message.text())
        assert widget.review.count == 1
        widget.panel.buttons["outline_missed"].click()
        assert not widget.canvas.outlining
        del viewer.layers["smear"]
        with pytest.raises(EditError, match="Choose the image"):
            widget.outline_at((150, 150))
