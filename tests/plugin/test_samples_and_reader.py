"""Sample data and the SigTuple reader."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_wbcseg.errors import DatasetError
from napari_wbcseg.plugin.controls.panel import open_panel
from napari_wbcseg.plugin.reader import get_reader


@pytest.fixture
def sigtuple(tmp_path):
    """Write a SigTuple folder with three tiles and two test fields."""
    root = tmp_path / "SigTuple_data"
    (root / "Train_Data").mkdir(parents=True)
    (root / "Test_Data").mkdir()
    generator = np.random.default_rng(0)
    for number in range(3):
        mask = np.zeros((128, 128), np.uint8)
        mask[40:80, 30:90] = 255
        tile = generator.integers(0, 255, (128, 128, 3), np.uint8)
        Image.fromarray(tile).save(root / "Train_Data" / f"train-{number}.jpg")
        Image.fromarray(mask).save(root / "Train_Data" / f"train-{number}-mask.jpg", quality=100)
    for name, shape in (("A1", (50, 60, 3)), ("B2", (70, 40, 3))):
        Image.fromarray(generator.integers(0, 255, shape, np.uint8)).save(root / "Test_Data" / f"{name}.jpg")
    return root


def test_the_synthetic_smear_opens_with_its_hidden_truth(viewer):
    image, truth = viewer.open_sample("napari-wbcseg", "synthetic_smear", shape=(128, 160), seed=1)
    assert image.rgb
    assert image.data.shape == (128, 160, 3)
    assert truth.data.shape == (128, 160)
    assert not truth.visible


def test_a_sigtuple_field_opens(viewer, sigtuple, monkeypatch):
    monkeypatch.setenv("WBCSEG_DATA", str(sigtuple.parent))
    sigtuple.rename(sigtuple.parent / "sigtuple")
    (layer,) = viewer.open_sample("napari-wbcseg", "sigtuple_field", name="A1")
    assert layer.rgb
    assert layer.data.shape == (50, 60, 3)


def test_the_sigtuple_tiles_open_as_a_stack_with_labels(viewer, sigtuple, monkeypatch):
    monkeypatch.setenv("WBCSEG_DATA", str(sigtuple.parent))
    sigtuple.rename(sigtuple.parent / "sigtuple")
    image, labels = viewer.open_sample("napari-wbcseg", "sigtuple_tiles")
    assert image.data.shape == (3, 128, 128, 3)
    assert labels.data.shape == (3, 128, 128)
    assert labels.data.any(axis=(1, 2)).all()


@pytest.mark.skipif("WBCSEG_DATA" not in os.environ, reason="WBCSEG_DATA is not set")
def test_the_real_tiles_are_182(viewer):
    image, labels = viewer.open_sample("napari-wbcseg", "sigtuple_tiles")
    assert image.data.shape == (182, 128, 128, 3)
    assert labels.data.shape == (182, 128, 128)
    assert len(image.metadata["groups"]) == 182


@pytest.mark.parametrize("form", ["folder", "train", "tar"])
def test_the_folder_and_the_archive_open_as_tiles(viewer, sigtuple, form):
    path = sigtuple
    if form == "train":
        path = sigtuple / "Train_Data"
    elif form == "tar":
        path = sigtuple.parent / "set.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(sigtuple, "SigTuple_data")
    image, labels = viewer.open(path, plugin="napari-wbcseg")
    assert image.data.shape == (3, 128, 128, 3)
    assert labels.data.max() == 1


def test_a_folder_without_training_pairs_is_refused(viewer, sigtuple):
    with pytest.raises(DatasetError, match="no training images"):
        viewer.open(sigtuple / "Test_Data", plugin="napari-wbcseg")


def test_other_paths_are_left_to_other_readers(tmp_path):
    (tmp_path / "photos").mkdir()
    foreign = tmp_path / "other.tar"
    with tarfile.open(foreign, "w") as tar:
        tar.add(tmp_path / "photos", "photos")
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no archive")
    for path in (tmp_path / "photos", foreign, broken, tmp_path / "missing", [str(foreign)]):
        assert get_reader(path if isinstance(path, list) else str(path)) is None


def test_a_phones_picture_opens(viewer, tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.new("RGB", (50, 40), (200, 100, 150)).save(tmp_path / "eyepiece.HEIC")
    (layer,) = viewer.open(tmp_path / "eyepiece.HEIC", plugin=None)  # as one dropped on the window
    assert layer.name == "eyepiece"
    assert layer.rgb
    assert layer.data.shape == (40, 50, 3)


def test_napari_still_opens_a_foreign_folder_by_itself(viewer, tmp_path):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    assert len(viewer.open(tmp_path)) == 1


def test_a_folder_of_pictures_opens_as_a_session(viewer, tmp_path, qtbot):
    """One that was dropped on the window was only said to be refused."""
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((9, 9, 3), 200, np.uint8)).save(tmp_path / name)
    assert viewer.open(tmp_path, plugin="napari-wbcseg") == []
    session = open_panel(viewer, "White blood cell session")
    qtbot.waitUntil(lambda: session.shown is not None, timeout=30_000)
    assert [entry.item.image for entry in session.entries] == ["a.png", "b.png"]
    assert get_reader(tmp_path / "a.png") is None


def test_the_folders_of_the_checkout_are_not_ours():
    assert get_reader(Path(__file__).parent) is None
