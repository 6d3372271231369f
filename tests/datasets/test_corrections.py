from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wbcseg.datasets.corrections import (
    CellDecision,
    add_correction,
    corrections_folder,
    read_corrections,
    read_record,
    remove_correction,
)
from napari_wbcseg.datasets.read import read_pairs
from napari_wbcseg.errors import DatasetError


def field(seed: int = 0, shape: tuple[int, int] = (40, 50)) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture, and two cells that touch, of which one is in two pieces."""
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    labels = np.zeros(shape, np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25], labels[20:22, 30:33] = 3, 7, 7
    return image, labels


def test_what_is_added_is_read_back_to_the_pixel(tmp_path: Path) -> None:
    image, labels = field()
    decisions = [CellDecision(label=3, decision="corrected", by="ann", at="2026-01-01T10:00:00+00:00")]
    added = add_correction(
        image,
        labels,
        name="Slide 4/A.tif",
        folder=tmp_path,
        scale=(0.25, 0.5),
        unit="µm",
        source="slides/A.tif",
        model="wbc@0123",
        decided_by="ann",
        decisions=decisions,
    )
    (pair,) = read_corrections(tmp_path)
    np.testing.assert_array_equal(pair.image, image)
    np.testing.assert_array_equal(pair.labels, labels)
    assert (pair.name, pair.group) == (added.name, "slides/A.tif")
    (known,) = read_record(tmp_path)
    assert known == added
    assert known.cells == 2
    assert (known.scale, known.unit, known.model) == ((0.25, 0.5), "µm", "wbc@0123")
    assert known.decisions == tuple(decisions)
    assert known.decided_at.endswith("+00:00")


def test_fields_that_are_added_at_once_are_all_kept(tmp_path: Path) -> None:
    # As by napari and the shell, or by a loop in the shell that does not wait.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: add_correction(*field(seed), name="a", folder=tmp_path / "set"), range(6)))
    assert len(read_corrections(tmp_path / "set")) == 6
    with ThreadPoolExecutor(5) as pool:
        list(
            pool.map(lambda name: remove_correction(name, tmp_path / "set"), [f"a-{i}" for i in range(2, 7)])
        )
    assert [field.name for field in read_record(tmp_path / "set")] == ["a"]


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    image, labels = field()
    name = add_correction(image, labels, name="a", folder=tmp_path, scale=(0.25, 0.5), unit="µm").name
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "images" / f"{name}.tif")), image)
    stored = tifffile.imread(tmp_path / "labels" / f"{name}.tif")
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, labels)
    with tifffile.TiffFile(tmp_path / "images" / f"{name}.tif") as file:
        assert file.pages[0].get_resolution("micrometer") == (pytest.approx(2), pytest.approx(4))
    assert json.loads((tmp_path / "corrections.json").read_text())["fields"][0]["name"] == name


def test_the_same_field_again_replaces_it_whatever_it_is_called(tmp_path: Path) -> None:
    image, labels = field()
    first = add_correction(image, labels, name="a", folder=tmp_path)
    add_correction(*field(1), name="b", folder=tmp_path)
    labels[labels == 7] = 0
    again = add_correction(image, labels, name="renamed", folder=tmp_path)
    assert again.name == first.name
    assert [(known.name, known.cells) for known in read_record(tmp_path)] == [("a", 1), ("b", 2)]
    np.testing.assert_array_equal(read_corrections(tmp_path)[0].labels, labels)
    assert len(list(tmp_path.rglob("*.tif"))) == 4


def test_another_field_of_one_name_gets_a_number(tmp_path: Path) -> None:
    names = [add_correction(*field(seed), name="a.png", folder=tmp_path).name for seed in range(3)]
    assert names == ["a", "a-2", "a-3"]


def test_a_field_can_be_taken_out(tmp_path: Path) -> None:
    for seed in range(2):
        add_correction(*field(seed), name="a", folder=tmp_path)
    remove_correction("a", tmp_path)
    assert [pair.name for pair in read_pairs(tmp_path)] == ["a-2"]
    assert not (tmp_path / "images" / "a.tif").exists()
    with pytest.raises(DatasetError, match="no field 'a'; it has: a-2"):
        remove_correction("a", tmp_path)


def test_crops_of_one_slide_stay_together_and_a_field_without_cells_counts(tmp_path: Path) -> None:
    for seed in range(2):
        add_correction(*field(seed), name="a", source="slide.svs", folder=tmp_path)
    image, labels = field(3)
    add_correction(image, np.zeros_like(labels), name="empty", folder=tmp_path)
    assert [pair.group for pair in read_pairs(tmp_path)] == ["slide.svs", "slide.svs", "empty"]
    assert read_record(tmp_path)[2].cells == 0


def test_what_a_killed_run_left_half_written_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    old, new = (tmp_path / "images" / f".a.tif.{digit * 12}.part" for digit in "01")
    old.parent.mkdir()
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    add_correction(*field(), name="a", folder=tmp_path)
    assert not old.exists()
    assert new.exists()


def test_the_environment_variable_moves_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "mine"))
    assert corrections_folder() == tmp_path / "mine"
    assert read_record() == ()
    with pytest.raises(DatasetError, match=r"mine is empty: correct some cells"):
        read_corrections()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((40, 60), np.int32), r"shape of its image, \(40, 50\), not int32 \(40, 60\)"),
        (np.zeros((40, 50)), "must be whole numbers"),
        (np.full((40, 50), -1), "below 0"),
    ],
)
def test_labels_that_do_not_fit_leave_nothing(tmp_path: Path, labels: np.ndarray, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        add_correction(field()[0], labels, name="a", folder=tmp_path)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full.*a.tif"), (errno.EROFS, "protected, or it is open")]
)
def test_a_full_or_protected_disk_gets_a_sentence_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    image, labels = field()
    add_correction(image, labels, name="a", folder=tmp_path)

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DatasetError, match=words):
        add_correction(image, labels * 2, name="a", folder=tmp_path)
    np.testing.assert_array_equal(read_corrections(tmp_path)[0].labels, labels)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged"),
        ('{"fields": [{"name": "../x"}]}', "damaged"),
        ('{"format_version": 9}', "update"),
        ('{"of": "another program"}', "damaged"),
    ],
)
def test_a_damaged_record_gets_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "corrections.json").write_text(content)
    with pytest.raises(DatasetError, match=words):
        read_pairs(tmp_path)


def test_a_file_that_was_deleted_is_named_with_what_to_do(tmp_path: Path) -> None:
    add_correction(*field(), name="a", folder=tmp_path)
    (tmp_path / "labels" / "a.tif").unlink()
    with pytest.raises(DatasetError, match=r"labels.a\.tif.*wbcseg corrections remove a"):
        read_pairs(tmp_path)


def test_a_data_set_that_is_no_training_set_is_left_alone(tmp_path: Path) -> None:
    add_correction(*field(), name="a", folder=tmp_path)
    (tmp_path / "corrections.json").unlink()
    with pytest.raises(DatasetError, match="choose another folder"):
        add_correction(*field(1), name="a", folder=tmp_path)
    np.testing.assert_array_equal(read_pairs(tmp_path)[0].image, field()[0])


def test_after_a_full_disk_it_can_be_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "napari_wbcseg.datasets.corrections.write_tiff", lambda *_, error, **__: _raise(error("full"))
        )
        with pytest.raises(DatasetError, match="full"):
            add_correction(*field(), name="a", folder=tmp_path)
    (tmp_path / "images").mkdir()
    assert add_correction(*field(), name="a", folder=tmp_path) in read_record(tmp_path)


def _raise(error: Exception) -> None:
    raise error
