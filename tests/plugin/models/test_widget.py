"""The Models widget: what it lists, takes in, gives out, and fine-tunes."""

from __future__ import annotations

import os
import signal
import sys
import threading

import numpy as np
import pytest

from napari_wbcseg.datasets.corrections import (
    add_correction,
    read_corrections,
    read_record,
    remove_correction,
)
from napari_wbcseg.errors import DatasetError
from napari_wbcseg.network.library import list_models, load_model, save_to_library
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.plugin.controls.training_run import ResumePanel
from napari_wbcseg.plugin.models import widget as models_widget
from napari_wbcseg.plugin.models.widget import ModelsWidget
from napari_wbcseg.plugin.review.training_set import field_writer
from napari_wbcseg.plugin.shared.events import events
from napari_wbcseg.plugin.shared.jobs import Job
from napari_wbcseg.plugin.shared.metadata import LayerInfo
from napari_wbcseg.progress import silent
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.folder import unfinished_trainings

from ..conftest import dark_discs, discs


@pytest.fixture(autouse=True)
def own_training_set(monkeypatch, tmp_path):
    """Keep the user's training set out of the tests."""
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "set"))
    return tmp_path / "set"


@pytest.fixture
def widget(viewer, small_model):
    small_model("my-stain", "classic")
    _, inner = viewer.window.add_plugin_dock_widget("napari-wbcseg", "White blood cell models")
    return inner


def text_of(widget: ModelsWidget) -> str:
    return widget._card.text() + widget._details.text()


class TestList:
    def test_every_model_is_there_with_its_origin_and_its_card(self, widget):
        rows = [widget._list.topLevelItem(row) for row in range(widget._list.topLevelItemCount())]
        shown = {row.text(0): row.text(4) for row in rows}
        assert shown == {info.name: info.origin for info in list_models()}
        assert shown["wbc"] == "built in"
        assert not any(row.text(2) for row in rows), "a Dice of the training does not tell which is better"
        widget.chosen = "my-stain"
        assert "my-stain" in text_of(widget)
        assert load_model("my-stain").hash in text_of(widget)

    def test_what_is_long_to_read_of_a_built_in_model_is_folded_away(self, widget):
        widget.chosen = "wbc"
        assert "any stain" in widget._card.text()
        assert "<b>notes" not in widget._card.text()
        assert "<b>notes" in widget._details.text()
        widget.chosen = "my-stain"
        assert "<b>notes" in widget._card.text()
        copied = load_model("wbc")
        widget.refresh(save_to_library(copied, "a-copy").name)
        assert "<b>notes" not in widget._card.text(), "they pushed the fine-tuning below what is in view"
        assert "<b>notes" in widget._details.text()

    def test_a_spoilt_file_is_listed_with_its_problem(self, widget, own_models_folder):
        (own_models_folder / "spoilt.safetensors").write_bytes(b"none")
        widget.refresh("spoilt")
        assert "choose a .safetensors file" in text_of(widget)
        assert not widget._export.isEnabled()

    def test_only_ones_own_models_can_be_removed(self, widget):
        widget.chosen = "wbc"
        assert not widget._remove.isEnabled()
        widget.chosen = "my-stain"
        widget.remove()
        assert "my-stain" not in [info.name for info in list_models()]
        assert widget.chosen == "wbc"

    def test_what_was_asked_about_goes_though_a_training_ends_before_the_answer(
        self, widget, small_model, monkeypatch, qtbot, tmp_path
    ):
        """The new model is chosen then: it was that which was deleted, or exported."""

        def meanwhile(answer):
            small_model("fresh")
            events.models_changed.emit("fresh")
            return answer

        widget.chosen = "my-stain"
        out = tmp_path / "out.safetensors"
        monkeypatch.setattr(models_widget, "file_to_write", lambda *_: meanwhile(out))
        with qtbot.waitSignal(widget.exported, timeout=30_000):
            widget._ask_export()
        assert ModelFile.read(out).name == "my-stain"
        widget.chosen = "my-stain"
        monkeypatch.setattr(models_widget, "confirmed", lambda *_: meanwhile(True))
        widget._ask_remove()
        names = [info.name for info in list_models()]
        assert "fresh" in names
        assert "my-stain" not in names


class TestInAndOut:
    def test_a_model_goes_out_and_comes_back_under_another_name(self, widget, qtbot, tmp_path):
        widget.chosen = "my-stain"
        with qtbot.waitSignal(widget.exported, timeout=30_000):
            widget.export_file(tmp_path / "out.safetensors")
        with qtbot.waitSignal(widget.imported, timeout=30_000) as caught:
            widget.import_file(tmp_path / "out.safetensors")
        assert caught.args == ["my-stain-2"]
        assert widget.chosen == "my-stain-2"
        assert "imported from out.safetensors" in text_of(widget)

    def test_a_file_that_is_no_model_is_refused_in_a_sentence(self, widget, qtbot, tmp_path):
        (tmp_path / "evil.keras").write_bytes(b"PK\x03\x04 import os")
        with qtbot.waitSignal(widget.failed, timeout=30_000) as caught:
            widget.import_file(tmp_path / "evil.keras")
        assert "truncated or damaged" in caught.args[0]

    def test_a_keras_file_is_written_by_another_process(self, widget, qtbot, tmp_path):
        widget.chosen = "my-stain"
        with qtbot.waitSignal(widget.exported, timeout=280_000):
            widget.export_file(tmp_path / "out.keras")
        assert (tmp_path / "out.keras").read_bytes()[:2] == b"PK"
        assert "tensorflow" not in sys.modules

    def test_a_file_is_written_though_the_panel_is_closed_meanwhile(
        self, viewer, widget, qtbot, tmp_path, monkeypatch
    ):
        """The process that wrote it was ended, and no word told that there is none."""
        begun, go_on, out = threading.Event(), threading.Event(), tmp_path / "out.keras"

        def slowly(model, target, progress):
            begun.set()
            go_on.wait(20)
            progress(0, 0, "Writing")
            target.touch()
            return target

        monkeypatch.setattr(models_widget, "_export_elsewhere", slowly)
        widget.chosen = "my-stain"
        widget.export_file(out)
        qtbot.waitUntil(begun.is_set, timeout=20_000)
        viewer.window.remove_dock_widget(widget)
        go_on.set()
        qtbot.waitUntil(lambda: not Job._running, timeout=20_000)
        assert out.exists()


def layers(viewer, shape=(120, 160)):
    image = discs(shape)
    found = dark_discs(image)
    return viewer.add_image(image, name="slide 7", scale=(0.5, 0.5), units="µm"), viewer.add_labels(
        found.labels, name="cells"
    )


class TestAddToTrainingSet:
    def test_what_is_drawn_is_stored_and_again_replaces_it(self, viewer):
        image, labels = layers(viewer)
        labels.features = {"label": [0, 1, 2, 3], "decision": ["", "accepted", "", "corrected"]}
        for count in (3, 2):
            field_writer(image, labels)(silent)
            (field,) = read_record()
            assert (field.name, field.cells, field.source) == ("slide-7", count, "slide 7")
            labels.data[labels.data == 2] = 0
        assert (field.scale, field.unit) == ((0.5, 0.5), "µm")
        assert [(one.label, one.decision) for one in field.decisions] == [(1, "accepted"), (3, "corrected")]
        np.testing.assert_array_equal(read_corrections()[0].labels, labels.data)

    def test_review_stores_its_layers_with_what_was_decided(self, viewer, qtbot):
        image, labels = layers(viewer)
        _, review = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")
        review.labels, review.image = labels, image
        review.select([(0, 2)])
        review.accept()
        with qtbot.waitSignal(events.training_set_changed, timeout=30_000):
            review.panel.store_field.click()
        (field,) = read_record()
        assert (field.cells, [one.label for one in field.decisions]) == (3, [2])
        qtbot.waitUntil(review.panel.store_field.isEnabled)

    def test_of_a_large_image_windows_around_the_decided_cells_are_stored(
        self, viewer, monkeypatch, tmp_path
    ):
        drawn = np.zeros((2100, 2500), np.int32)
        for number, (row, col) in enumerate([(100, 100), (130, 160), (1500, 2000), (2000, 300)], 1):
            drawn[row : row + 20, col : col + 20] = number
        pixels = np.repeat(np.where(drawn > 0, 90, 230).astype(np.uint8)[..., None], 3, axis=2)
        image, labels = viewer.add_image(pixels, name="scan"), viewer.add_labels(drawn)
        assert len(field_writer(image, labels)(silent)) == 3
        monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "one"))
        labels.features = {"label": range(5), "decision": ["", "", "", "accepted", ""]}
        (field,) = field_writer(image, labels)(silent)
        assert (field.cells, field.group) == (1, "scan")
        assert read_corrections()[0].image.shape == (512, 512, 3)

    def test_a_picture_that_was_opened_with_its_result_is_stored_as_its_own_file(self, viewer, tmp_path):
        file = tmp_path / "smear.png"
        image = viewer.add_image(
            discs(), rgb=True, name="smear.png", metadata=LayerInfo(path=str(file)).metadata
        )
        (field,) = field_writer(image, viewer.add_labels(dark_discs(discs()).labels))(silent)
        assert (field.name, field.source) == ("smear", str(file))

    def test_labels_of_another_image_are_refused(self, viewer):
        image, _ = layers(viewer)
        other = viewer.add_labels(np.ones((9, 9), np.int32))
        with pytest.raises(DatasetError, match="Choose the labels that belong"):
            field_writer(image, other)


class TestFineTuning:
    @pytest.fixture
    def panel(self, widget, monkeypatch):
        from napari_wbcseg.datasets.pair import TrainingPair

        for seed in range(3):
            image = discs((128, 128), ((30 + seed, 30), (90, 70 + 5 * seed)), 14 + seed)
            add_correction(image, dark_discs(image).labels, name=f"s{seed}")
        panel = widget.fine_tuning
        panel.refresh()
        panel.start.name = "my-stain"
        panel.settings = TrainingSettings.for_recipe(
            "classic", fine_tuning=True, epochs=1, precision="float32"
        )
        image = discs((128, 128), ((60, 60),), 20)
        panel.original = [
            TrainingPair(
                f"train-{i}",
                np.roll(image, 9 * i, 0),
                np.roll(dark_discs(image).labels, 9 * i, 0),
                f"fold-{i}",
            )
            for i in (1, 2)
        ]
        return panel

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
    def test_killed_it_goes_on_and_the_model_is_kept_only_if_the_user_says_so(self, panel, qtbot):
        panel.settings = panel.settings.replace(epochs=2000, early_stop_patience=2000)
        panel.fine_tune()
        qtbot.waitUntil(lambda: len(panel.run.monitor.history) > 1, timeout=120_000)
        with qtbot.waitSignal(panel.failed, timeout=5000):
            os.kill(panel.run.process.popen.pid, signal.SIGKILL)
        held_out = [pair.name for pair in panel._plan.held_out]

        # It has all that it needs: neither the training set nor the original is looked at again.
        for field in read_record():
            remove_correction(field.name)
        panel.original = None
        assert panel.resume.training.epochs_done >= 1
        assert ResumePanel().training is None, "the Train widget would keep its model without asking"
        done = panel.resume.training.epochs_done
        panel.resume.accept_button.click()
        qtbot.waitUntil(lambda: len(panel.run.monitor.history) > done, timeout=120_000)
        epochs = [row["epoch"] for row in panel.run.monitor.history]
        assert epochs == list(range(1, len(epochs) + 1)), "the curve is whole"
        with qtbot.waitSignal(panel.compared, timeout=60_000) as caught:
            panel.run.stop()
        comparison = caught.args[0]
        assert list(comparison.old.rows["image"]) == held_out
        assert comparison.old.model == load_model("my-stain").id

        (kept,) = unfinished_trainings()
        assert kept.fine_tuning, "until the user has decided, a crash costs nothing"
        assert panel.resume.isHidden()
        assert not panel._button.isEnabled(), "another would let the new model go unasked"
        assert comparison.old.model.startswith("my-stain@")
        assert len(comparison.old.rows) == len(comparison.new.rows) == 1
        shown = panel._table.text()
        assert all(f"<td>{word}</td>" in shown for word in ("before", "now", "Dice"))
        assert f"{comparison.new.summary['dice']:.3f}" in shown
        assert "my-stain-tuned" not in [info.name for info in list_models()]
        with qtbot.waitSignal(panel.kept):
            panel.keep()
        assert not kept.folder.exists()
        assert load_model("my-stain-tuned").header.origin.startswith("fine-tuned here from my-stain@")

    def test_cancelled_it_leaves_nothing(self, panel, qtbot):
        panel.settings = panel.settings.replace(epochs=500)
        with qtbot.waitSignal(panel.cancelled, timeout=280_000):
            panel.fine_tune()
            qtbot.waitUntil(lambda: panel.run.training, timeout=60_000)
            panel.run.cancel()
        assert not panel.run.running
        assert "3 fields, kept in" in panel._set.text(), "no more what it was about to do"
        assert unfinished_trainings() == []
        assert [info.name for info in list_models() if not info.built_in] == ["my-stain"]

    def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
        self, panel, qtbot, monkeypatch, tmp_path
    ):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path / "file" / "models"))
        with qtbot.waitSignal(panel.failed, timeout=60_000) as caught:
            panel.fine_tune()
        assert "cannot be written" in caught.args[0]
