"""A run over a folder: bad images are sentences, and the next run does only what is missing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from napari_wbcseg import SegmentationSettings
from napari_wbcseg.batch import overlapped
from napari_wbcseg.batch.run import BatchItem, BatchResult, collect, segment_files
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.results.records import RunRecord

from ..dark_model import spots, write_dark_model
from .folders import assert_same_results, results, write_images

SETTINGS = SegmentationSettings(recipe="classic")


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    return write_dark_model(tmp_path / "dark.safetensors")


def run(items: list[BatchItem], out: Path, model: ModelFile, **options: Any) -> BatchResult:
    return segment_files(items, out, model, **{"settings": SETTINGS, "overlay": False, **options})


def redone(items: list[BatchItem], out: Path, model: ModelFile, **options: Any) -> list[str]:
    """Run again and return the names of the images whose results were written anew."""
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*-labels.tif")}
    run(items, out, model, **options)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*-labels.tif")}
    return [name.removesuffix("-labels.tif") for name in after if before.get(name) != after[name]]


class TestManyImages:
    def test_ten_bad_of_a_hundred_are_ten_sentences(self, tmp_path: Path, model: ModelFile) -> None:
        bad = list(range(5, 100, 10))
        items = write_images(tmp_path / "in", 100, bad)
        seen: list[dict[str, Any]] = []
        result = run(items, tmp_path / "out", model, report=seen.append)
        assert result.failed == 10
        assert len(seen) == len(result.rows) == 100
        counts, cells, labels = results(tmp_path / "out")
        assert list(counts["image"]) == [f"{i:04}.png" for i in range(100)], "in the order of the folder"
        assert len(labels) == 90
        failed = counts[counts["status"] == "failed"]
        assert [f"{i:04}.png" for i in bad] == list(failed["image"])
        for name, error in zip(failed["image"], failed["error"], strict=True):
            assert re.fullmatch(rf".*{name} cannot be read, .*\.", error)
        expected = {f"{i:04}.png": i % 4 for i in range(100) if i not in bad and i % 4}
        assert cells.groupby("image").size().to_dict() == expected

    def test_reading_runs_ahead_but_not_away(
        self, tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        items = write_images(tmp_path / "in", 30)
        read: list[str] = []
        real = overlapped.load

        def counted(item: BatchItem) -> Any:
            read.append(item.image)
            return real(item)

        monkeypatch.setattr(overlapped, "load", counted)
        ahead: list[int] = []

        def progress(done: int, total: int, stage: str) -> None:
            time.sleep(0.01)  # slow enough for the reader to read all, were it not held back
            ahead.append(len(read))

        run(items, tmp_path / "out", model, progress=progress)
        assert all(count <= number + 6 for number, count in enumerate(ahead))
        assert ahead[5] > 6, "some are read before their turn"

    def test_a_disk_that_fills_up_ends_the_run(
        self, tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from napari_wbcseg.batch import file
        from napari_wbcseg.errors import OutputError

        items = write_images(tmp_path / "in", 12)
        real = file.save

        def full(found: Any, base: Path, formats: Any) -> Any:
            if base.name.startswith("0003"):
                raise OutputError("The disk is full.")
            return real(found, base, formats)

        monkeypatch.setattr(file, "save", full)
        with pytest.raises(OutputError, match="The disk is full"):
            run(items, tmp_path / "out", model)
        assert RunRecord.read(tmp_path / "out" / "run.json").finished is False
        monkeypatch.undo()
        result = run(items, tmp_path / "out", model)
        assert result.kept >= 3
        assert result.failed == 0


class TestRunAgain:
    @pytest.fixture
    def items(self, tmp_path: Path) -> list[BatchItem]:
        return write_images(tmp_path / "in", 6, bad=[2])

    @pytest.fixture
    def out(self, tmp_path: Path, items: list[BatchItem], model: ModelFile) -> Path:
        run(items, tmp_path / "out", model)
        return tmp_path / "out"

    def test_what_is_done_is_kept_and_the_tables_are_whole(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        before = results(out)
        assert redone(items, out, model) == []
        after = results(out)
        for one, other in zip(before[:2], after[:2], strict=True):
            assert one.equals(other)
        assert (out / "report.html").read_text(encoding="utf-8").count("data:image/jpeg") >= 5

    def test_what_failed_is_tried_again(
        self, items: list[BatchItem], out: Path, model: ModelFile, tmp_path: Path
    ) -> None:
        write_images(tmp_path / "mended", 3)
        (tmp_path / "mended" / "0002.png").replace(tmp_path / "in" / "0002.png")
        assert redone(items, out, model) == ["0002"]

    def test_a_changed_image_is_done_again_and_a_touched_one_is_not(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        from PIL import Image

        Image.fromarray(spots((160, 160), ((80, 80),))[0]).save(items[3].path)
        os.utime(items[1].path, (1, 1))
        assert redone(items, out, model) == ["0003"]

    def test_a_missing_file_is_made_again(self, items: list[BatchItem], out: Path, model: ModelFile) -> None:
        (out / "0004-labels.tif").unlink()
        assert redone(items, out, model) == ["0004"]
        assert sorted(redone(items, out, model, mask=True)) == ["0000", "0001", "0003", "0004", "0005"]

    def test_other_settings_or_another_model_do_all_again(
        self, items: list[BatchItem], out: Path, model: ModelFile, tmp_path: Path
    ) -> None:
        assert len(redone(items, out, model, settings=SETTINGS.replace(min_area=600))) == 5
        other = write_dark_model(tmp_path / "other.safetensors", "other")
        result = run(items, out, other)
        assert (result.kept, result.outdated) == (0, 6)

    def test_again_does_all_again(self, items: list[BatchItem], out: Path, model: ModelFile) -> None:
        assert len(redone(items, out, model, again=True)) == 5

    def test_results_of_another_image_of_the_same_name_are_not_taken_for_its_own(
        self, out: Path, model: ModelFile, tmp_path: Path
    ) -> None:
        others = write_images(tmp_path / "elsewhere", 2)
        assert sorted(redone(others, out, model)) == ["0000", "0001"]
        assert sorted(redone(collect([tmp_path / "in"]), out, model)) == ["0000", "0001"]

    def test_a_journal_cut_short_loses_one_image(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        journal = out / "journal.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
        lost = json.loads(lines[-1])["name"]
        assert redone(items, out, model) == [lost]
        assert redone(items, out, model) == []


def test_after_kill_9_only_what_is_missing_is_done(tmp_path: Path, model: ModelFile) -> None:
    items = write_images(tmp_path / "in", 60)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "napari_wbcseg.cli", "segment", str(tmp_path / "in"), "-o", str(out)]
    process = subprocess.Popen([*command, "-m", str(model.path), "--no-overlay"])
    deadline = time.monotonic() + 120
    while len(list(out.glob("*-labels.tif"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    assert not (out / "counts.csv").exists()
    (out / ".0001-labels.tif.0123456789ab.part").write_text("of the process that died")
    again = redone(items, out, model)
    assert 0 < len(again) <= 58
    assert not list(out.glob(".*.part"))
    run(items, tmp_path / "other", model)
    assert_same_results(out, tmp_path / "other")
