"""A large image in a real viewer: cells appear tile by tile, and Cancel leaves nothing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.network.library import models_folder
from napari_wbcseg.plugin.segment.run import LargeJob
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


def start(viewer, image, **options):
    job = LargeJob(viewer, image, "dark", SETTINGS, **options)
    seen = []
    job._grew.connect(lambda done: seen.append((done.area, job.layer.name, viewer.canvas.overlays.text.text)))
    return job, seen


def test_cells_appear_tile_by_tile_what_is_on_view_first(viewer, image, qtbot, monkeypatch):
    monkeypatch.setattr("napari_wbcseg.plugin.segment.run._IN_MEMORY", 1000)
    viewer.scene.camera.center = (0, 230, 440) if hasattr(viewer, "scene") else (230, 440)
    job, seen = start(viewer, image)
    with qtbot.waitSignal(job.succeeded, timeout=120_000) as done:
        job.start()
    segmentation, arrays = done.args[0]
    assert arrays is None
    assert len(seen) == 2
    assert seen[0][0].holds(460, 880), "the tile on view came first"
    assert seen[0][1] == "white cells (1 so far) of slide"
    assert seen[0][2].replace("\n", ", ") == "1 white cell so far, 1 of 2 tiles", "on the canvas"
    cells = job.layer
    assert cells in viewer.layers
    assert cells.name == "white cells (4) of slide"
    assert tuple(cells.scale) == (0.5, 0.5)
    assert list(cells.features["label"]) == [0, 1, 2, 3, 4]
    assert cells.features["area"][4] == segmentation.cells["area"][3]
    level = cells.data[0] if cells.multiscale else cells.data
    assert np.array_equal(np.asarray(level), TRUTH)


def test_a_result_that_fits_becomes_arrays_for_ordinary_layers(viewer, image, qtbot):
    job, _ = start(viewer, image)
    with qtbot.waitSignal(job.succeeded, timeout=120_000) as done:
        job.start()
    segmentation, arrays = done.args[0]
    assert isinstance(segmentation.labels, np.ndarray)
    assert np.array_equal(arrays.labels, TRUTH)
    assert [layer.name for layer in viewer.layers] == ["slide"], "the layer that filled made room"


def test_cancel_leaves_no_layer_and_segment_again_goes_on(viewer, image, qtbot):
    job, _ = start(viewer, image)
    job._grew.connect(lambda done: job.cancel())
    with qtbot.waitSignal(job.cancelled, timeout=120_000):
        job.start()
    assert [layer.name for layer in viewer.layers] == ["slide"]
    again, seen = start(viewer, image)
    with qtbot.waitSignal(again.succeeded, timeout=120_000) as done:
        again.start()
    assert done.args[0][0].count == 4
    assert 0 < len(seen) < 2, "what was done before Cancel was kept"
