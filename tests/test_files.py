"""What is said of files holds for every function that takes one."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg import (
    classify_results,
    differential_of,
    load_model,
    load_result,
    replay,
    save,
    segment,
    segment_large,
)
from napari_wbcseg.datasets.read import read_pairs
from napari_wbcseg.errors import ModelError, OutputError
from napari_wbcseg.evaluation.evaluate import evaluate
from napari_wbcseg.files import (
    PAUSES,
    remove_leftovers,
    safe_name,
    user_path,
    write_atomically,
    written_whole,
)
from napari_wbcseg.images.read import open_large, read_image, read_pixel_size
from napari_wbcseg.images.tiff_writer import write_tiff
from napari_wbcseg.segmentation.large.result import LargeResult
from napari_wbcseg.settings import SegmentationSettings, TrainingSettings

from .drawings import two_discs


class TestHomeFolder:
    """A path in quotes, or given to a function: no shell has put the home folder in place of its ~."""

    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("HOME", "USERPROFILE"):
            monkeypatch.setenv(name, str(tmp_path / "home"))
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        return tmp_path / "home"

    def test_is_known_to_every_function_that_takes_a_path(self, home: Path) -> None:
        image = np.where(two_discs() > 0, 90, 230).astype(np.uint8)
        write_tiff("~/images/a.tif", image)
        write_tiff("~/images/a_mask.tif", np.where(two_discs() > 0, 255, 0).astype(np.uint8))
        (home / "settings.json").write_text(SegmentationSettings().to_json())

        assert (read_image("~/images/a.tif") == image).all()
        assert read_pixel_size("~/images/a.tif") is None
        assert open_large("~/images/a.tif").full.shape == image.shape
        SegmentationSettings.from_json(Path("~/settings.json"))
        result = segment(image)
        save(result, "~/saved/a", "tiff,csv", image=image, image_path="~/images/a.tif")
        assert (load_result("~/saved/a-result.json").labels == result.labels).all()
        assert (replay("~/saved/a-result.json").labels == result.labels).all()
        assert classify_results("~/saved")[0] == [home / "saved" / "a-result.json"]
        assert differential_of(["~/saved"])[0].white_cells == result.count
        segment_large("~/images/a.tif", "~/saved/a-cells")
        assert LargeResult.open("~/saved/a-cells").labels.arrays[0].shape == image.shape[:2]
        assert len(read_pairs("~/images")) == 1
        assert len(evaluate("wbc", "~/images").rows) == 1
        assert not list(Path().iterdir())

    def test_of_a_training_is_written_to(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from napari_wbcseg.training.checkpoint import Checkpoint
        from napari_wbcseg.training.train import train

        class Asked(Exception):
            pass

        def remember(self: Checkpoint, folder: Path) -> None:
            assert folder == home / "training"
            raise Asked

        monkeypatch.setattr(Checkpoint, "__init__", remember)
        with pytest.raises(Asked):
            train([], TrainingSettings(), "~/training")

    def test_of_nobody_is_a_name_like_others(self, home: Path) -> None:
        assert user_path("~nobody-of-that-name") == Path("~nobody-of-that-name")
        with pytest.raises(ModelError, match="There is no"):
            load_model("~nobody-of-that-name")


def test_why_a_folder_was_not_copied_is_said(tmp_path: Path) -> None:
    """Where the disk was full, the cells of a slide "cannot be written (Error)"."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "chunk").write_bytes(b"cells")

    def full(source: str, place: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", place)

    with (
        pytest.raises(OutputError, match=r"slide-cells cannot be written \(.*No space left on device"),
        written_whole(tmp_path / "slide-cells") as copy,
    ):
        shutil.copytree(tmp_path / "from", copy, copy_function=full)
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


def test_a_folder_that_was_to_be_replaced_when_the_process_was_killed_is_put_back(tmp_path: Path) -> None:
    """It had been moved away for the new one, which was not in its place yet: both were removed."""
    names = "one.ome.zarr", f"{'two' * 20}.ome.zarr", "three.ome.zarr"
    for name in names:
        for kind in ("old", "part"):
            left = tmp_path / f".{name}.0123456789ab.{kind}"
            left.mkdir()
            (left / kind).write_bytes(b"cells")
    (tmp_path / names[2]).mkdir()  # the new one: the process was killed as it removed the other
    remove_leftovers(tmp_path)
    found = {path.name: [one.name for one in path.iterdir()] for path in tmp_path.iterdir()}
    assert found == {names[0]: ["old"], names[1]: ["old"], names[2]: []}


def test_a_file_whose_name_begins_so_does_not_stand_for_it(tmp_path: Path) -> None:
    """The only copy of a slide's cells was removed where a table of them lay beside."""
    (tmp_path / ".slide-cells.0123456789ab.old").mkdir()
    (tmp_path / "slide-cells.csv").touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slide-cells", "slide-cells.csv"]


def test_what_is_written_deep_in_a_folder_is_no_leftover(tmp_path: Path) -> None:
    """The cells of a slide that a person saved for minutes went where a run beside ended."""
    copy, left = tmp_path / ".slide-cells.0123456789ab.part", tmp_path / ".other-cells.0123456789ab.part"
    long_ago = time.time() - 600
    for folder in (copy, left):
        (folder / "labels.zarr" / "0").mkdir(parents=True)
        for one in (folder / "labels.zarr" / "0", folder / "labels.zarr", folder):
            os.utime(one, (long_ago, long_ago))
    (copy / "labels.zarr" / "0" / "1").write_bytes(b"a chunk")
    remove_leftovers(tmp_path, 60)
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


def test_what_another_program_has_open_for_a_moment_is_replaced_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses it meanwhile, and a virus scanner opens what is new."""
    replace, refused = os.replace, list[object]()

    def replace_later(*paths: Path) -> None:
        if len(refused) < len(PAUSES):
            refused.append(paths)
            raise PermissionError(errno.EACCES, "Access is denied")
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_later)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert write_atomically(tmp_path / "a", b"new").read_bytes() == b"new"
    assert len(refused) == len(PAUSES)


def test_a_name_keeps_its_accents_as_a_mac_codes_them() -> None:
    assert safe_name("Cafe\u0301", "model") == "Caf\u00e9"
