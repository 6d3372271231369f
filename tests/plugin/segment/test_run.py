"""A large image in a real viewer: cells appear tile by tile, and Cancel leaves nothing."""

from __future__ import annotations

import copy
import gc
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

from napari_wbcseg.network.library import models_folder
from napari_wbcseg.plugin.controls.panel import Panel, open_panel
from napari_wbcseg.plugin.segment.run import SegmentRun, _folders
from napari_wbcseg.plugin.segment.widget import SegmentWidget
from napari_wbcseg.plugin.shared.metadata import note
from napari_wbcseg.plugin.shared.pictures import source_image
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.result import passing_folder
from napari_wbcseg.settings import SegmentationSettings

from ...drawings import disc_labels, picture, write_dark_robust_model

SETTINGS = SegmentationSettings(cell_diameter=20.0, split_touching=False)
# With cells of 20 pixels a tile is 427 wide.
TRUTH = disc_labels((500, 900), [(50, 60, 20), (60, 330, 21), (450, 80, 19), (460, 880, 20)])


@pytest.fixture
def image(viewer, own_models_folder):
    """Return a lazy pyramid in the viewer, its pixels half a micrometre apart."""
    import dask.array as da

    write_dark_robust_model(models_folder() / "dark.safetensors")
    full = da.from_array(picture(TRUTH), chunks=(128, 128, 3))
    return viewer.add_image([full, full[::2, ::2]], rgb=True, multiscale=True, scale=(0.5, 0.5), name="slide")


def start(viewer, image):
    run, seen = SegmentRun(viewer, Panel(), lambda: image), []
    run.start(image, None, "dark", SETTINGS, False)

    def on_tile(done):
        if run.filling is not None:  # not after Cancel
            seen.append((done.area, run.filling.name, viewer.canvas.overlays.text.text))

    run._job.yielded.connect(on_tile)
    return run, seen


def test_cells_appear_tile_by_tile_what_is_on_view_first(viewer, image, qtbot, monkeypatch):
    monkeypatch.setattr("napari_wbcseg.plugin.segment.run.IN_MEMORY", 1000)
    monkeypatch.setenv("WBCSEG_THREADS", "1")  # of two that are done at once either may be the first
    viewer.scene.camera.center = (0, 230, 440) if hasattr(viewer, "scene") else (230, 440)
    note(image, path="slide.tif")
    run, seen = start(viewer, image)
    with qtbot.waitSignal(run.segmented, timeout=120_000) as done:
        pass
    segmentation, layers = done.args
    assert layers.probability is None
    assert len(seen) == 2
    assert seen[0][0].holds(460, 880), "the tile on view came first"
    assert seen[0][1] == "1 cell so far of slide"
    assert seen[0][2].replace("\n", ", ") == "1 cell so far, 1 of 2 tiles", "on the canvas"
    cells = layers.cells
    assert cells in viewer.layers
    assert cells.name == "4 white cells of slide"
    assert tuple(cells.scale) == (0.5, 0.5)
    assert list(cells.features["label"]) == [0, 1, 2, 3, 4]
    assert cells.features["area"][4] == segmentation.cells["area"][3]
    level = cells.data[0] if cells.multiscale else cells.data
    del segmentation, done
    gc.collect()
    assert np.array_equal(np.asarray(level), TRUTH), "as long as the layer is there"
    viewer.layers.remove(image)
    again = viewer.add_layer(Layer.create(*image.as_layer_data_tuple()))
    qtbot.waitUntil(lambda: source_image(viewer, cells) is again, timeout=5000)


def test_that_cells_go_with_napari_unless_they_are_saved_is_said(viewer, image, qtbot, monkeypatch):
    """An hour of work on a slide was gone with the window, and no word of it."""
    monkeypatch.setattr("napari_wbcseg.plugin.segment.run.IN_MEMORY", 1000)
    monkeypatch.setattr("napari_wbcseg.plugin.segment.widget.choose_part", lambda *_: None)
    widget = SegmentWidget(viewer)
    qtbot.addWidget(widget)
    widget.model, widget.settings = "dark", SETTINGS
    with qtbot.waitSignal(widget.segmented, timeout=120_000):
        widget.run()
    assert "until napari is closed: save them" in widget.message.text()


def test_closing_napari_asks_where_hours_of_work_would_be_lost(viewer, image, qtbot, monkeypatch):
    """It closed, while a slide was being segmented or before its cells were saved, without a question."""
    monkeypatch.setattr("napari_wbcseg.plugin.segment.run.IN_MEMORY", 1000)
    monkeypatch.setattr("napari_wbcseg.plugin.segment.widget.choose_part", lambda *_: None)
    viewer.show()
    widget = open_panel(viewer, "Segment white blood cells")
    asked, answers = [], ["No", "No", "Yes"]

    def question(parent, title, text, *_):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, answers.pop(0))

    monkeypatch.setattr(QMessageBox, "question", question)
    window = viewer.window._qt_window
    # The fixture closes the viewer again, and napari cannot do that with a window that is deleted.
    window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    widget.model, widget.settings = "dark", SETTINGS
    with qtbot.waitSignal(widget.segmented, timeout=120_000):
        widget.run()
        window.close()
        qtbot.waitUntil(lambda: len(asked) == 1, timeout=5000)
    assert asked[0].startswith("slide is being segmented")
    window.close()
    qtbot.waitUntil(lambda: len(asked) == 2, timeout=5000)
    assert "gone with napari: 4 white cells of slide" in asked[1]
    assert window.isVisible()
    viewer.window.remove_dock_widget(widget)
    open_panel(viewer, "Segment white blood cells")
    viewer.window.remove_dock_widget(open_panel(viewer, "Segment white blood cells"))
    del widget
    gc.collect()
    window.close()
    qtbot.waitUntil(lambda: len(asked) == 3, timeout=5000)
    assert asked[2] == asked[1], "by nobody else, though the panel is closed"
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=5000)
    assert answers == []


def test_cells_that_were_saved_are_not_said_to_be_lost(viewer, image, qtbot, monkeypatch, tmp_path):
    """As OME-Zarr alone they were; and the window stood still until all of their labels had been read."""
    monkeypatch.setattr("napari_wbcseg.plugin.segment.run.IN_MEMORY", 1000)
    monkeypatch.setattr("napari_wbcseg.plugin.segment.widget.choose_part", lambda *_: None)
    widget, read = SegmentWidget(viewer), []
    qtbot.addWidget(widget)
    widget.model, widget.settings = "dark", SETTINGS
    with qtbot.waitSignal(widget.segmented, timeout=120_000):
        widget.run()
    assert "4 white cells of slide" in widget._at_stake()
    monkeypatch.setattr("napari_wbcseg.plugin.shared.unsaved.fingerprint", read.append)
    form = widget.panel.save
    form.formats = ["ome-zarr"]
    with qtbot.waitSignal(form.saved, timeout=60_000):
        form.save(tmp_path / "slide")
    assert widget._at_stake() == ""
    assert not read


def test_two_windows_do_not_segment_one_slide_at_once(viewer, image, qtbot):
    """They wrote into one folder: the cells of the one were drawn over and taken from the other."""
    run, _ = start(viewer, image)
    with qtbot.waitSignals([run.segmented], timeout=120_000):
        qtbot.waitUntil(lambda: bool(_folders), timeout=60_000)
        other, _ = start(viewer, image)
        with qtbot.waitSignal(other._panel.failed, timeout=60_000) as told:
            pass
    assert "slide is still being segmented" in told.args[0]
    assert len(viewer.layers) == 4


def test_a_result_that_fits_becomes_arrays_for_ordinary_layers(viewer, image, qtbot):
    run, _ = start(viewer, image)
    with qtbot.waitSignal(run.segmented, timeout=120_000) as done:
        pass
    segmentation, layers = done.args
    assert isinstance(segmentation.labels, np.ndarray)
    assert np.array_equal(layers.cells.data, TRUTH)
    assert len(viewer.layers) == 4, "the layer that filled made room"


def test_the_labels_on_disk_outlast_the_last_tile_that_is_still_to_be_shown(viewer, image):
    run = SegmentRun(viewer, Panel(), lambda: image)
    run._source, run._key = image, ("slide", "dark", "")
    (segmentation, arrays, _), levels = run._fill("dark", SETTINGS, silent, lambda _: None), run._levels
    assert arrays is not None, "the result is in memory, and needs no folder"
    assert np.array_equal(np.asarray(levels[0]), segmentation.labels)
    copies, folder = copy.deepcopy(levels), Path(passing_folder(levels[0]).name)
    run._clear()
    _folders.pop(run._key)  # as when the layers are added
    del levels
    assert np.array_equal(np.asarray(copies[0]), segmentation.labels), (
        "as those of a layer that was duplicated"
    )
    del copies
    gc.collect()
    assert not folder.exists(), "nobody has them any more"


def test_cancel_leaves_no_layer_and_segment_again_goes_on(viewer, image, qtbot):
    run, _ = start(viewer, image)
    run._job.yielded.connect(lambda done: run._job.cancel(), Qt.ConnectionType.DirectConnection)  # at once
    with qtbot.waitSignal(run.cancelled, timeout=120_000):
        pass
    assert [layer.name for layer in viewer.layers] == ["slide"]
    again, seen = start(viewer, image)
    with qtbot.waitSignal(again.segmented, timeout=120_000) as done:
        pass
    assert done.args[0].count == 4
    assert len(seen) < 2, "what was done before Cancel was kept"


def test_an_image_that_is_taken_away_meanwhile_and_opened_again_is_gone_on_with(viewer, image, qtbot):
    """*Next* in a session took it away: the work went on to its end, and then for nothing."""
    note(image, path="slide.tif")
    run, _ = start(viewer, image)
    run._job.yielded.connect(lambda done: image in viewer.layers and viewer.layers.remove(image))
    with qtbot.waitSignal(run._panel.failed, timeout=120_000) as told:
        pass
    assert "was removed while it was being segmented" in told.args[0]
    assert told.args[0].endswith("Open it again, and Segment goes on where it was.")
    assert not viewer.layers
    again, seen = start(viewer, viewer.add_layer(Layer.create(*image.as_layer_data_tuple())))
    with qtbot.waitSignal(again.segmented, timeout=120_000) as done:
        pass
    assert done.args[0].count == 4
    assert len(seen) < 2, "what was done before was kept"
    assert not _folders, "nothing is left to go on with"
