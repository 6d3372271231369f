"""A small segmentation that is a real one, so that the widgets are tested without a model."""

from __future__ import annotations

import gc
import importlib
import itertools
import threading
import time

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.result import Segmentation
from napari_wbcseg.settings import SegmentationSettings

pytest.importorskip("napari", reason="napari is not installed")

from app_model.backends.qt import QMenuItemAction
from napari.utils.theme import _themes
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

from napari_wbcseg.plugin.shared.jobs import Job

_test_number = itertools.count()


def dark_discs(image, model="test@0", settings=None, progress=silent):
    """Segment dark discs by threshold: grey or RGB, one image or a stack, as `segment` promises."""
    from scipy import ndimage

    settings = settings or SegmentationSettings()
    image = np.asarray(image)
    grey = image.mean(axis=-1) if image.shape[-1] == 3 else image
    planes = grey if grey.ndim == 3 else grey[None]
    labels = np.zeros(planes.shape, np.int32)
    rows, boxes = [], []
    for number, plane in enumerate(planes):
        progress(number, len(planes), "Looking for dark discs")
        labels[number], _ = ndimage.label(plane < 128)
        for label, box in enumerate(ndimage.find_objects(labels[number]), start=1):
            area = int((labels[number] == label).sum())
            row, col = ndimage.center_of_mass(labels[number] == label)
            rows.append(
                {
                    "plane": number,
                    "label": label,
                    "row": row,
                    "col": col,
                    "area": area,
                    "diameter": 2 * np.sqrt(area / np.pi),
                    "certainty": 0.9 if area > 300 else 0.5,
                    "check": area <= 300,
                    "border": False,
                }
            )
            boxes.append([number, box[0].start, box[1].start, box[0].stop, box[1].stop])
    columns = ["plane", "label", "row", "col", "area", "diameter", "certainty", "check", "border"]
    cells = pd.DataFrame(rows, columns=columns)
    cells["check"] = cells["check"].astype(bool)
    boxes = np.array(boxes, np.int64).reshape(-1, 5)
    probability = (labels > 0).astype(np.float32)
    if grey.ndim == 2:
        cells, boxes, labels, probability = (
            cells.drop(columns="plane"),
            boxes[:, 1:],
            labels[0],
            probability[0],
        )
    return Segmentation(labels, cells, probability, boxes, settings, model, cell_diameter=24.0)


def discs(shape=(120, 160), centres=((30, 30), (30, 110), (90, 70)), radius=12):
    """Draw dark discs on a light RGB image."""
    rows, cols = np.indices(shape)
    image = np.full((*shape, 3), 230, np.uint8)
    for row, col in centres:
        image[(rows - row) ** 2 + (cols - col) ** 2 <= radius**2] = (90, 40, 120)
    return image


class SlowSegment:
    """`dark_discs` that goes on for ever, reporting progress, until it is let go or cancelled."""

    def __init__(self):
        self.started, self.go, self.stopped = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, image, model, settings, progress):
        self.started.set()
        try:
            while not self.go.is_set():
                progress(1, 3, "Waiting")
                time.sleep(0.01)
            return dark_discs(image, model, settings, progress)
        finally:
            self.stopped.set()


@pytest.fixture
def quick_segment(monkeypatch):
    """Let the widget segment by `dark_discs`."""
    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline.segment", dark_discs)


@pytest.fixture
def slow_segment(monkeypatch):
    """Let the widget segment slowly; the object steers it."""
    slow = SlowSegment()
    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline.segment", slow)
    yield slow
    slow.go.set()


@pytest.fixture(scope="session", autouse=True)
def libraries():
    """Import what windows need."""
    for panel in ("segment", "review", "train", "models", "session"):
        importlib.import_module(f"napari_wbcseg.plugin.{panel}.widget")
    importlib.import_module("napari._qt.qt_main_window")


@pytest.fixture(autouse=True)
def libraries_are_no_garbage(libraries):
    """Napari's fixture looks for garbage three times a test: a quarter of the time, among libraries."""
    if next(_test_number) % 10 == 0:  # of the tests before nothing is left
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def installed_plugins():
    """Find the plugins once, not for each window."""
    return [found.manifest for found in PluginManifest.discover() if found.manifest]


@pytest.fixture(autouse=True)
def windows_leave_nothing(installed_plugins, npe2pm):
    """Let go of what napari keeps of each window: else each test is slower than the one before."""
    for manifest in installed_plugins:
        npe2pm.register(manifest)  # in a registry of this test, which holds its application
    emitters = [theme.events.canvas for theme in _themes.values()]
    before = [emitter.callbacks for emitter in emitters]
    yield
    for emitter, known in zip(emitters, before, strict=True):
        for callback in set(emitter.callbacks) - set(known):
            emitter.disconnect(callback)
    application = QApplication.instance()
    for action in application.findChildren(QMenuItemAction) if application else ():
        action.setParent(None)


@pytest.fixture(scope="session", autouse=True)
def own_preferences(tmp_path_factory):
    """Keep the plugin's preferences apart: napari saves each change at once where other processes read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari.settings._CFG_PATH", str(tmp_path_factory.mktemp("napari") / "settings.yaml"))
        yield


@pytest.fixture(autouse=True)
def own_models_folder(monkeypatch, tmp_path):
    """Keep the user's model library out of the tests, and put one small model into it."""
    monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path / "models"))
    # What a test before was offered, and did not take, stays with this process.
    monkeypatch.setattr("napari_wbcseg.plugin.shared.unsaved_copies._left", [])
    yield tmp_path / "models"
    # What a window that closes has written then would be offered to the test after it.
    end = time.monotonic() + 10
    while Job._running and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.001)


@pytest.fixture
def small_model(own_models_folder):
    """Write a model file with a tiny random network."""
    from napari_wbcseg.network.architecture import Output, UNetArchitecture
    from napari_wbcseg.network.model_file import ModelFile, ModelHeader

    def make(name="my-stain", recipe="robust"):
        architecture = UNetArchitecture(
            input_channels=3 if recipe == "robust" else 1,
            widths=(2, 4),
            outputs=(Output(name="cell", channels=1, activation="sigmoid"),),
        )
        generator = np.random.default_rng(0)
        weights = {
            tensor: generator.normal(size=shape).astype(np.float32)
            for tensor, shape in architecture.tensor_shapes().items()
        }
        header = ModelHeader(name=name, recipe=recipe, architecture=architecture, notes="Of a test.")
        return ModelFile.write(own_models_folder / f"{name}.safetensors", header, weights)

    return make


@pytest.fixture
def viewer(make_napari_viewer, qtbot):
    """Make a viewer; it is closed once the workers' last signals are delivered."""
    yield make_napari_viewer()
    qtbot.wait(50)
