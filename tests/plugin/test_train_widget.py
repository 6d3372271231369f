"""The Train widget: a real training process, small, followed, stopped, cancelled and closed."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from napari_wbcseg.network.models import list_models
from napari_wbcseg.plugin import device_query
from napari_wbcseg.plugin.device_query import Device
from napari_wbcseg.plugin.jobs import Job
from napari_wbcseg.plugin.train_widget import TrainWidget
from napari_wbcseg.settings import TrainingSettings

from .conftest import dark_discs, discs

SMALL = TrainingSettings(recipe="classic", epochs=1, batch_size=2, dropout=0.0)


@pytest.fixture(autouse=True)
def known_device(monkeypatch):
    """Spare each test the seconds that the question takes; one test asks it."""
    monkeypatch.setattr(device_query, "_answer", Device("CPU (test)", "it is a test"))


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


@pytest.mark.slow
def test_training_on_layers_ends_with_the_model_in_the_other_widget(viewer, widget, tiles, qtbot):
    segment = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Segment white blood cells")[1]
    widget.image, widget.labels = tiles
    widget.name, widget.settings = "our stain", SMALL.replace(epochs=2)
    with qtbot.waitSignal(widget.trained, timeout=200_000) as signal:
        widget.train()
        assert widget.running
    (model,) = signal.args
    assert model.name == "our-stain"
    assert [info.name for info in list_models() if not info.built_in] == ["our-stain"]
    assert segment.model == "our-stain"
    assert segment.settings.recipe == "classic"
    assert [row["epoch"] for row in widget._history] == [1, 2]
    assert len(widget._curve._axes[0].lines[0].get_xdata()) == 2
    assert "our-stain is ready" in widget._note.text()
    assert "CPU" in widget._device.text() or "GPU" in widget._device.text()
    assert not widget.running
    qtbot.wait(50)


@pytest.mark.slow
def test_cancel_ends_the_process_within_a_second_and_keeps_nothing(viewer, widget, tiles, qtbot):
    widget.settings = SMALL.replace(epochs=500)
    widget.train()
    qtbot.waitUntil(lambda: "images/s" in widget._numbers.text(), timeout=200_000)
    pid = widget._process.pid
    start = time.monotonic()
    with qtbot.waitSignal(widget.cancelled, timeout=10_000):
        widget._cancel_button.click()
    assert time.monotonic() - start < 2, "0.8 s to leave by itself, then it is killed"
    assert not alive(pid)
    assert not [info for info in list_models() if not info.built_in]
    assert len(viewer.layers) == 2
    assert widget._train_button.isEnabled()


@pytest.mark.slow
def test_stop_keeps_the_best_weights(viewer, widget, tiles, qtbot):
    widget.settings = SMALL.replace(epochs=500)
    widget.train()
    qtbot.waitUntil(lambda: bool(widget._history), timeout=200_000)
    with qtbot.waitSignal(widget.trained, timeout=60_000):
        widget._stop_button.click()
    assert "stopped by the user" in widget._note.text()
    assert [info.name for info in list_models() if not info.built_in] == ["my-stain"]


@pytest.mark.parametrize("way", ["viewer", "widget"])
def test_closing_ends_the_process(viewer, widget, tiles, qtbot, way):
    widget.settings = SMALL.replace(epochs=500)
    widget.train()
    qtbot.waitUntil(lambda: widget._process is not None, timeout=20_000)
    pid = widget._process.pid
    if way == "viewer":
        viewer.close()
    else:
        viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: not alive(pid), timeout=5000)
    qtbot.waitUntil(lambda: not Job._running, timeout=5000)


def test_closing_while_the_process_starts_leaves_none(viewer, widget, tiles, qtbot, monkeypatch):
    from napari_wbcseg.network.worker import TrainingProcess

    started = []
    start = TrainingProcess._start

    def slow_start(self):
        process = start(self)
        started.append(process)
        time.sleep(0.5)
        return process

    monkeypatch.setattr(TrainingProcess, "_start", slow_start)
    widget.train()
    qtbot.waitUntil(lambda: bool(started), timeout=20_000)
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: started[0].poll() is not None, timeout=5000)


def test_a_folder_that_is_no_data_set_gives_its_sentence(widget, qtbot, tmp_path):
    (tmp_path / "empty").mkdir()
    widget.folder = tmp_path / "empty"
    with qtbot.waitSignal(widget.failed, timeout=100_000) as signal:
        widget.train()
    assert str(tmp_path / "empty") in signal.args[0]
    assert "Traceback" not in signal.args[0]
    assert widget._note.text() == signal.args[0]
    assert not widget.running


def test_what_is_missing_is_told_beside_the_button(viewer, widget, tmp_path):
    assert "Open an image" in widget._status.text()
    viewer.add_image(discs(), rgb=True, name="smear")
    assert "labels layer" in widget._status.text()
    viewer.add_labels(np.zeros((5, 5), int), name="other")
    assert "other has shape (5, 5) and smear (120, 160)" in widget._status.text()
    widget.folder = tmp_path / "nowhere"
    assert "nothing at" in widget._status.text()
    assert not widget._train_button.isEnabled()
    widget.folder = tmp_path
    assert widget._train_button.isEnabled()


def test_labels_without_a_cell_give_a_sentence(viewer, widget, qtbot):
    viewer.add_image(discs(), rgb=True)
    viewer.add_labels(np.zeros((120, 160), int))
    with qtbot.waitSignal(widget.failed, timeout=10_000) as signal:
        widget.train()
    assert "No cell is drawn" in signal.args[0]


def test_a_recipe_brings_its_defaults_and_its_models(widget, small_model):
    small_model("leishman", "classic")
    small_model("wright", "robust")
    for recipe, name in (("classic", "leishman"), ("robust", "wright")):
        widget._top.editors["recipe"]._value.value = recipe
        assert widget.settings == TrainingSettings.for_recipe(recipe)
        offered = [widget._init.itemData(index) for index in range(widget._init.count())]
        assert name in offered
        widget.start_from = name
        assert widget.start_from == name
    with pytest.raises(ValueError, match="leishman"):
        widget.start_from = "leishman"


@pytest.mark.slow
def test_the_device_is_asked_for_in_another_process(viewer, widget, qtbot, monkeypatch):
    import sys

    monkeypatch.setattr(device_query, "_answer", None)
    other = TrainWidget(viewer)
    qtbot.addWidget(other)
    qtbot.waitUntil(lambda: "looking" not in other._device.text(), timeout=120_000)
    assert other._device.text().startswith(("Device: CPU", "Device: GPU"))
    assert ":" in other._device.text().removeprefix("Device: "), "and why"
    assert "tensorflow" not in sys.modules
    assert "keras" not in sys.modules
