"""The Train widget: a real training process, small, followed, stopped, cancelled and closed."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtGui import QShowEvent

from napari_wbcseg.network.library import list_models
from napari_wbcseg.plugin.controls.model_list import ModelPicker
from napari_wbcseg.plugin.shared.events import events
from napari_wbcseg.plugin.shared.jobs import Job
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.progress import silent
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.folder import unfinished_trainings

from ..conftest import dark_discs, discs

WAIT = 200_000  # ms; of another process, on a machine that has much else to do
LONG = TrainingSettings(
    recipe="classic",
    epochs=2000,
    early_stop_patience=2000,
    batch_size=2,
    dropout=0.0,
    validation_fraction=0.5,
)


@pytest.fixture
def widget(viewer, qtbot):
    """Dock both widgets, as a user does who trains and then segments."""
    return viewer.window.add_plugin_dock_widget("napari-wbcseg", "Train WBC model")[1]


@pytest.fixture
def tiles(viewer):
    """Add a stack of two tiles and their labels."""
    image = np.stack([discs((128, 128), [(60, 60)], 30), discs((128, 128), [(50, 70)], 25)])
    labels = dark_discs(image).labels
    return viewer.add_image(image, rgb=True, name="tiles"), viewer.add_labels(labels, name="truth")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def training(widget, tiles, small_model):
    """Let the widget go on from a tiny network, for so long that a test has to end it."""
    small_model("tiny", "classic")
    widget.image, widget.labels = tiles
    widget.start.refresh()
    widget.start_from = "tiny"
    widget.settings = LONG
    return widget


def curve_points(curve):
    return [len(line.get_xdata()) > 1 for axes in curve._axes for line in axes.lines]


def own_models():
    return [info.name for info in list_models() if not info.built_in and info.name != "tiny"]


# Before it starts ------------------------------------------------------------------------------------


def plan_of(widget, qtbot):
    qtbot.waitUntil(lambda: not widget.plan.busy, timeout=20_000)
    return widget.plan


def test_it_goes_on_from_the_built_in_model_unless_told_otherwise(widget):
    assert widget.start_from == "wbc"
    assert widget.settings.recipe == "robust"
    assert widget.settings.validation_fraction > 0


def test_what_it_will_train_on_is_shown_before_it_starts(widget, tiles, qtbot):
    widget.image, widget.labels = tiles
    plan = plan_of(widget, qtbot)
    assert "Trains on 1 cell in 1 image" in plan._text.text()
    assert "Validates on 1 cell in 1 image" in plan._text.text()
    assert "is few" in plan._hints.text()
    pictures = [label for label in plan._pictures if not label.isHidden()]
    assert len(pictures) == 2
    assert "kept aside" in pictures[-1].toolTip()


def test_of_one_cell_no_picture_is_said_to_be_kept_aside(viewer, widget, qtbot):
    viewer.add_image(discs((128, 128), [(60, 60)], 30), rgb=True)
    viewer.add_labels(dark_discs(viewer.layers[0].data).labels)
    plan = plan_of(widget, qtbot)
    assert "the very cells that are trained on" in plan._hints.text()
    (shown,) = [label for label in plan._pictures if not label.isHidden()]
    assert "kept aside" not in shown.toolTip()


def test_what_is_left_out_is_told_with_the_reason(viewer, widget, qtbot):
    image = np.stack([discs((128, 128), [(60, 60)], 30), discs((128, 128), [(0, 70)], 25)])
    viewer.add_image(image, rgb=True, name="tiles")
    viewer.add_labels(dark_discs(image).labels)
    text = plan_of(widget, qtbot)._text.text()
    assert "Left out: tiles-1 (every cell in it is cut by the image's border)" in text


def test_what_is_missing_is_told_beside_the_button(viewer, widget, tmp_path, qtbot):
    assert "Open an image" in widget._problem.text()
    viewer.add_image(discs(), rgb=True, name="smear")
    assert "labels layer" in widget._problem.text()
    viewer.add_labels(np.zeros((5, 5), int), name="other")
    assert "other has shape (5, 5) and smear (120, 160)" in widget._problem.text()
    for nothing in (tmp_path / "nowhere", "a name that is too long " * 20):
        widget.folder = nothing
        assert "nothing at" in widget._problem.text()
    assert not widget._train_button.isEnabled()
    widget.folder = tmp_path
    plan_of(widget, qtbot)
    assert str(tmp_path) in widget._problem.text(), "an empty folder is no data set"


def test_cells_are_trained_on_with_the_image_that_they_were_found_in(viewer, widget):
    images, cells = [], []
    for number, centre in enumerate([(40, 40), (90, 90)]):
        image = viewer.add_image(discs(centres=[centre]), rgb=True, name=f"slide {number}")
        images.append(image)
        cells.append(add_segmentation(viewer, dark_discs(image.data), image).cells)
    drawn = viewer.add_labels(np.ones((120, 160), np.int32), name="drawn")
    widget.labels = cells[1]
    for one, other in zip(images, cells, strict=True):
        widget.image = one
        assert widget.labels is other
    widget.labels = cells[0]
    assert widget.image is images[0]
    widget.labels = drawn
    widget.image = images[1]
    assert widget.labels is drawn, "nobody knows what these are of"


def test_labels_without_a_cell_give_a_sentence(viewer, widget, qtbot):
    viewer.add_image(discs(), rgb=True)
    viewer.add_labels(np.zeros((120, 160), int))
    plan_of(widget, qtbot)
    assert "No cell is drawn" in widget._problem.text()
    assert not widget._train_button.isEnabled()


def test_numbers_that_are_too_large_are_not_lost(viewer, widget, qtbot):
    viewer.add_image(discs(), rgb=True)
    viewer.add_labels(dark_discs(discs()).labels.astype(np.int64) * 10**10, name="ids")
    plan_of(widget, qtbot)
    assert "ids has numbers beyond 31 bits" in widget._problem.text()


def test_what_was_painted_in_another_tab_is_seen_on_coming_back(viewer, widget, qtbot):
    viewer.add_image(discs(), rgb=True)
    labels = viewer.add_labels(np.zeros((120, 160), int))
    plan_of(widget, qtbot)
    labels.data[:] = dark_discs(discs()).labels
    widget.showEvent(QShowEvent())
    assert "2 cells" in plan_of(widget, qtbot)._text.text()


def test_corrections_are_a_source_as_soon_as_there_are_some(widget, qtbot, tmp_path, monkeypatch):
    from napari_wbcseg.datasets.corrections import add_correction
    from napari_wbcseg.plugin.train.source import CORRECTIONS

    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "set"))
    widget.source.choose(CORRECTIONS)
    assert "no corrections yet" in widget._problem.text()
    image = discs()
    add_correction(image, dark_discs(image).labels, name="field")
    events.training_set_changed.emit()
    assert "3 cells in 1 field," in widget.source._about_set.text()
    assert "2 cells in 1 image" in plan_of(widget, qtbot)._text.text()


def test_masks_of_parts_of_cells_can_be_trained_on_once_it_is_said_how_to_read_them(widget, tmp_path, qtbot):
    from skimage.io import imsave

    for number, radius in enumerate((20, 24)):
        image = discs((128, 128), [(64, 64)], radius)
        mask = dark_discs(image).labels.astype(np.uint8) * 64
        mask[dark_discs(discs((128, 128), [(64, 64)], 10)).labels > 0] = 128
        imsave(tmp_path / f"{number}.png", image, check_contrast=False)
        imsave(tmp_path / f"{number}-mask.png", mask, check_contrast=False)
    widget.folder = tmp_path
    plan_of(widget, qtbot)
    assert "parts of cells" in widget._problem.text()
    assert "Masks in the panel" in widget._problem.text()
    widget.source.masks.setCurrentText("all but 0 is cell")
    assert "Trains on 1 cell in 1 image" in plan_of(widget, qtbot)._text.text()
    assert len(widget.source.source().read(silent)) == 2
    assert widget.source.source().path is None, "the process would read the folder by the rule"


def test_what_it_starts_from_brings_its_settings(widget, small_model):
    small_model("leishman", "classic")
    widget.start.refresh()
    widget.start.begin_anew("classic")
    assert widget.settings == TrainingSettings(), "as published"
    widget.start_from = "leishman"
    assert widget.settings.recipe == "classic"
    assert widget.settings == TrainingSettings.for_recipe("classic", fine_tuning=True)
    widget.start.begin_anew("robust")
    assert widget.settings == TrainingSettings.for_recipe("robust")
    with pytest.raises(ValueError, match="nobody"):
        widget.start_from = "nobody"
    widget.start_from = "leishman"
    widget.start_from = ""
    assert widget.settings == TrainingSettings(), "a new network of the same recipe"


# While it trains -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_is_watched_paused_killed_resumed_and_stopped(viewer, widget, training, qtbot):
    picker = ModelPicker("wbc")  # as in the other widgets
    qtbot.addWidget(picker)
    assert picker.name == "wbc"
    widget.name = "our stain"
    widget.train()
    assert widget.running
    qtbot.waitUntil(lambda: len(widget.run.monitor.history) > 1, timeout=WAIT)
    assert "images/s" in widget.run.monitor.numbers["speed"].text()
    device = widget.run.monitor.device.text()
    assert device.startswith(("Device: CPU", "Device: GPU"))
    assert ":" in device.removeprefix("Device: "), "and why"
    assert "tensorflow" not in sys.modules
    assert "keras" not in sys.modules
    curve = widget.run.monitor.curve
    qtbot.waitUntil(lambda: all(curve_points(curve)) and len(curve_points(curve)) >= 4, timeout=WAIT)

    # One sees it learn, and one's own layers stay as they were.
    shown = {layer.name.split(" (")[0]: layer for layer in viewer.layers}
    assert set(shown) == {"tiles", "truth", "validation tiles", "prediction", "true outlines"}
    assert shown["prediction"].data.shape == shown["true outlines"].data.shape
    # The first is of the network as it came; the next may come after minutes, as each costs 1 % of the time.
    assert shown["prediction"].name.startswith("prediction (")
    assert shown["prediction"].data.any()
    assert widget.image is shown["tiles"]

    widget.run.pause_button.click()
    qtbot.waitUntil(lambda: "Paused" in widget.run.monitor.stage.text(), timeout=WAIT)
    assert widget.run.pause_button.text() == "Go on"
    widget.run.pause_button.click()
    count = len(widget.run.monitor.history)
    qtbot.waitUntil(lambda: len(widget.run.monitor.history) > count, timeout=WAIT)

    pid = widget.run.process.popen.pid
    with qtbot.waitSignal(widget.failed, timeout=WAIT) as signal_:
        os.kill(pid, signal.SIGKILL)
    assert "SIGKILL" in signal_.args[0]
    done = len(widget.run.monitor.history)
    assert widget.resume.isVisibleTo(widget)
    assert done <= widget.resume.training.epochs_done <= done + 1, "at most the epoch under way is lost"

    widget.resume.accept_button.click()
    qtbot.waitUntil(lambda: bool(widget.run.monitor.history), timeout=WAIT)
    kept = [row["epoch"] for row in widget.run.monitor.history]
    assert kept == list(range(1, len(kept) + 1)), "the curve is of the whole training"
    assert sum(row["best"] for row in widget.run.monitor.history[:done]) == 1, "the dotted line's"
    with qtbot.waitSignal(widget.trained, timeout=WAIT) as signal_:
        widget.run.stop_button.click()
    assert signal_.args[0].name == "our-stain"
    assert "our-stain is ready" in widget.message.text()
    assert "stopped by the user" in widget.message.text()
    assert own_models() == ["our-stain"]
    assert picker.findData("our-stain") >= 0, "offered, not chosen"
    assert picker.name == "wbc"
    assert unfinished_trainings() == []
    assert not widget.running
    qtbot.wait(50)


def test_what_was_reached_is_told_of_the_best_epoch_also_where_a_resumed_training_had_it_before(
    widget, small_model
):
    told = {"best_epoch": 3, "ended": "stopped by the user"}
    model = small_model("tiny", "classic")
    header = model.header.replace(scores={"val_dice": 0.9}, training=told)
    widget.run.monitor.history = [{"event": "epoch", "epoch": 7, "val_dice": 0.5}]
    widget.run.finished.emit(replace(model, header=header))
    assert "validation Dice 0.900 in epoch 3; stopped by the user." in widget.message.text()


@pytest.mark.slow
def test_cancel_ends_the_process_and_keeps_nothing(viewer, widget, training, qtbot):
    widget.train()
    qtbot.waitUntil(lambda: bool(widget.run.monitor.history), timeout=WAIT)
    pid = widget.run.process.popen.pid
    with qtbot.waitSignal(widget.cancelled, timeout=WAIT):
        widget.run.cancel_button.click()
    assert not alive(pid)
    assert own_models() == []
    assert unfinished_trainings() == []
    assert [layer.name for layer in viewer.layers] == ["tiles", "truth"]
    qtbot.waitUntil(widget._train_button.isEnabled, timeout=10_000)


@pytest.mark.parametrize("way", ["viewer", "widget"])
def test_closing_ends_the_process_and_the_training_can_be_resumed(viewer, widget, training, qtbot, way):
    widget.train()
    qtbot.waitUntil(lambda: widget.run.process is not None, timeout=20_000)
    pid = widget.run.process.popen.pid
    if way == "viewer":
        viewer.close()
    else:
        viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: not alive(pid), timeout=5000)
    qtbot.waitUntil(lambda: not Job._running, timeout=5000)
    assert [found.name for found in unfinished_trainings()] == ["my-stain"]


def test_closing_while_the_process_starts_leaves_none(viewer, widget, training, qtbot, monkeypatch):
    from napari_wbcseg.training.worker import TrainingProcess

    started = []
    start = TrainingProcess._start

    def slow_start(self, flags):
        process = start(self, flags)
        started.append(process)
        time.sleep(0.5)
        return process

    monkeypatch.setattr(TrainingProcess, "_start", slow_start)
    widget.train()
    qtbot.waitUntil(lambda: bool(started), timeout=20_000)
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: started[0].poll() is not None, timeout=5000)
