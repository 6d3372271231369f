"""A run over a folder: bad images are sentences, and the next run does only what is missing."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wbcseg import (
    Segmentation,
    SegmentationSettings,
    load_result,
    save,
    segment,
    segment_large,
)
from napari_wbcseg.batch import process as process_module
from napari_wbcseg.batch.folder import BatchItem, Run
from napari_wbcseg.batch.process import process
from napari_wbcseg.batch.report import report_pictures
from napari_wbcseg.batch.run import BatchResult, collect, renew_tables, segment_files
from napari_wbcseg.errors import BusyError, Cancelled, OutputError
from napari_wbcseg.images.tiff_writer import write_tiff
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.results.differential import differential_of
from napari_wbcseg.results.formats.tables import write_cells
from napari_wbcseg.results.origins import file_sha256
from napari_wbcseg.results.records import ResultRecord, RunRecord
from napari_wbcseg.segmentation.large.result import LargeResult
from napari_wbcseg.words import note_of_part

from ..dark_model import spots, write_dark_model
from ..discs import write_taught
from .folders import assert_same_results, results, write_images

SETTINGS = SegmentationSettings(recipe="classic")


def run(items: list[BatchItem], out: Path, model: ModelFile, **options: Any) -> BatchResult:
    return segment_files(items, out, model, **{"settings": SETTINGS, "formats": (), **options})


def redone(items: list[BatchItem], out: Path, model: ModelFile, **options: Any) -> list[str]:
    """Run again and return the names of the images whose results were written anew."""
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*-labels.tif")}
    run(items, out, model, **options)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*-labels.tif")}
    return [name.removesuffix("-labels.tif") for name in after if before.get(name) != after[name]]


def correct(out: Path, item: BatchItem, name: str = "0003", cells: Sequence[int] = (2,)) -> None:
    """Take cells out of the result of an image, and save that, as a person does."""
    found = load_result(out / f"{name}-result.json")
    left = np.where(np.isin(found.labels, cells), 0, found.labels)
    save(dataclasses.replace(found, labels=left), out / name, "tiff", image_path=item.path)


def two_large_images(folder: Path) -> list[BatchItem]:
    """Write a and b, kept in parts, with a cell each."""
    for name in ("a", "b"):
        zarr.save_array(str(folder / f"{name}.zarr"), spots((150, 150), ((40, 40),))[0])
    return collect([folder])


def stop_at_once(done: int, total: int, stage: str) -> None:
    """Stop a run, as Ctrl-C does."""
    raise Cancelled("Enough.")


class TestManyImages:
    def test_ten_bad_of_a_hundred_are_ten_sentences(self, tmp_path: Path, model: ModelFile) -> None:
        bad = list(range(5, 100, 10))
        items = write_images(tmp_path / "in", 100, bad)
        seen: list[tuple[BatchItem, dict[str, Any]]] = []
        result = run(items, tmp_path / "out", model, report=lambda *done: seen.append(done))
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

    def test_one_network_is_at_work_at_a_time(
        self, tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        items = write_images(tmp_path / "in", 12)
        at_work = threading.Lock()
        threads: set[int] = set()
        alone: list[bool] = []

        def watched(*arguments: Any) -> Segmentation:
            alone.append(at_work.acquire(blocking=False))
            threads.add(threading.get_ident())
            try:
                return segment(*arguments)
            finally:
                if alone[-1]:
                    at_work.release()

        monkeypatch.setattr("napari_wbcseg.batch.process.segment", watched)
        run(items, tmp_path / "out", model)
        assert all(alone)
        assert 1 < len(threads) <= 4, "while others are read and written"

    def test_cancel_keeps_what_is_done(self, tmp_path: Path, model: ModelFile) -> None:
        items = write_images(tmp_path / "in", 12)

        def stop(done: int, total: int, stage: str) -> None:
            if done >= 3:
                raise Cancelled("Enough.")

        with pytest.raises(Cancelled):
            run(items, tmp_path / "out", model, progress=stop)
        done = len(results(tmp_path / "out")[0])
        assert 3 <= done < 12
        assert run(items, tmp_path / "out", model).kept == done

    def test_again_keeps_the_results_of_large_images_that_it_did_not_come_to(
        self, tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        items = two_large_images(tmp_path / "in")
        run(items, tmp_path / "out", model)

        def endless(*arguments: Any, client: Any) -> None:
            while True:
                arguments[-1](0, 0, "At the first")
                time.sleep(0.01)

        def stop(done: int, total: int, stage: str) -> None:
            if stage == "At the first":
                raise Cancelled("Enough.")

        with monkeypatch.context() as patched:
            patched.setattr(process_module, "segment_large", endless)
            with pytest.raises(Cancelled):
                run(items, tmp_path / "out", model, again=True, image_progress=stop)
        assert differential_of(tmp_path / "out")[0].white_cells == 1
        assert run(items, tmp_path / "out", model).kept == 1

    def test_again_goes_on_with_a_large_image_at_which_it_was_stopped(
        self, tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        items = two_large_images(tmp_path / "in")[:1]
        run(items, tmp_path / "out", model)

        def found_and_stopped(*arguments: Any, **options: Any) -> None:
            segment_large(*arguments, **options)
            raise Cancelled("Enough.")

        with monkeypatch.context() as patched:
            patched.setattr(process_module, "segment_large", found_and_stopped)
            with pytest.raises(Cancelled):
                run(items, tmp_path / "out", model, again=True)
        large = LargeResult.open(tmp_path / "out" / "a-cells")
        large.keep_said(large.cells.assign(**{"class": "blast", "class_by": "person"}))
        run(items, tmp_path / "out", model, again=True)
        assert pd.read_csv(tmp_path / "out" / "counts.csv")["blast"].tolist() == [1]

    def test_a_large_image_that_became_another_does_not_count_where_a_run_was_stopped(
        self, tmp_path: Path, model: ModelFile
    ) -> None:
        items = two_large_images(tmp_path / "in")
        run(items, tmp_path / "out", model)
        zarr.open_array(str(tmp_path / "in" / "b.zarr"))[:] = spots((150, 150), ((90, 90),))[0]

        with pytest.raises(Cancelled):
            run(collect([tmp_path / "in"]), tmp_path / "out", model, progress=stop_at_once)
        assert list(pd.read_csv(tmp_path / "out" / "counts.csv")["image"]) == ["a.zarr"]
        assert differential_of(tmp_path / "out")[0].white_cells == 1

    def test_a_disk_that_fills_up_ends_the_run(
        self, tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        items = write_images(tmp_path / "in", 12)
        real = os.replace

        def full(here: Path, there: Path) -> None:
            if Path(there).name.startswith("0003"):
                raise OSError(errno.ENOSPC, "No space left on device")
            real(here, there)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match=r"No space left.*make room"):
            run(items, tmp_path / "out", model)
        assert RunRecord.read(tmp_path / "out" / "run.json").finished is False
        monkeypatch.undo()
        assert not list((tmp_path / "out").glob(".*.part"))
        # How many of those beside it were saved by then is the threads' matter; none is lost.
        whole = len(list((tmp_path / "out").glob("*-result.json")))
        result = run(items, tmp_path / "out", model)
        assert result.kept == whole < 12
        assert (len(result.rows), result.failed) == (12, 0)

    def test_a_file_in_place_of_the_folder_gets_a_sentence(self, tmp_path: Path, model: ModelFile) -> None:
        file = tmp_path / "out"
        file.write_text("mine")
        with pytest.raises(OutputError, match=r"File exists.*Choose another name or folder"):
            run(write_images(tmp_path / "in", 1), file, model)
        assert file.read_text() == "mine"


class TestClassifierThatGoes:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> SegmentationSettings:
        return SETTINGS.replace(classes=str(write_taught(tmp_path / "own.safetensors").path))

    def test_one_that_is_replaced_is_told_and_what_it_said_before_is_done_again(
        self,
        tmp_path: Path,
        model: ModelFile,
        settings: SegmentationSettings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        items, out, done = write_images(tmp_path / "in", 3), tmp_path / "out", list[Segmentation]()

        def replace_after_the_first(*arguments: Any) -> Segmentation:
            if len(done) == 1:
                write_taught(tmp_path / "own.safetensors", swapped=True)
            done.append(segment(*arguments))
            return done[-1]

        with monkeypatch.context() as patched:
            patched.setattr(process_module, "segment", replace_after_the_first)
            (said,) = run(items, out, model, settings=settings).notices
        assert said.startswith(f"{settings.classes} was replaced or taught anew while the run was at work")
        again = run(items, out, model, settings=settings)
        assert (again.kept, again.outdated, again.notices) == (2, 1, ())
        now = RunRecord.read(out / "run.json").classifier
        assert all(ResultRecord.read(file).classifier == now for file in out.glob("*-result.json"))

    def test_tables_are_written_where_a_run_is_stopped_after_it_is_gone(
        self, tmp_path: Path, model: ModelFile, settings: SegmentationSettings
    ) -> None:
        items, out = write_images(tmp_path / "in", 6), tmp_path / "out"
        run(items, out, model)

        def remove_and_stop(item: BatchItem, row: dict[str, Any]) -> None:
            Path(settings.classes or "").unlink()
            raise Cancelled("Enough.")

        with pytest.raises(Cancelled):
            run(items, out, model, settings=settings, report=remove_and_stop)
        assert 1 <= len(results(out)[0]) < 6
        assert not RunRecord.read(out / "run.json").finished


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

    def test_labels_that_another_program_changed_are_what_counts(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        formats = {"formats": ("geojson", "overlay")}
        run(items, out, model, **formats)
        overlay = (out / "0003-overlay.png").read_bytes()
        labels = tifffile.imread(out / "0003-labels.tif")
        tifffile.imwrite(out / "0003-labels.tif", np.where(labels == 2, 0, labels))
        found, _ = differential_of([out])
        assert found.white_cells == 1 + 2 + 1, "not 1 + 3 + 1"
        renew_tables(out)
        counts, cells, _ = results(out)
        assert counts.set_index("image")["count"]["0003.png"] == 2
        assert cells[cells["image"] == "0003.png"]["label"].tolist() == [1, 3]
        assert len(json.loads((out / "0003.geojson").read_text())["features"]) == 2
        assert (out / "0003-overlay.png").read_bytes() != overlay
        record = ResultRecord.read(out / "0003-result.json")
        assert (record.count, record.edited, len(record.pictures)) == (2, True, 1)
        others = redone(items, out, model, settings=SETTINGS.replace(check_below=0.9))
        assert "0003" not in others, "a person's work is not written over with other settings"

    def test_what_was_found_before_a_run_that_was_stopped_or_failed_does_not_count(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        def stop(done: int, total: int, stage: str) -> None:
            if done >= 2:
                raise Cancelled("Enough.")

        run(items, out, model)
        items[-1].path.write_text("no image any more")
        with pytest.raises(Cancelled):
            run(items, out, model, settings=SETTINGS.replace(min_area=501), progress=stop)
        for settings in (SETTINGS.replace(min_area=501), SETTINGS):
            told = results(out)[0].query("status == 'ok'")
            assert 0 < len(told) < len(items)
            renew_tables(out)
            assert results(out)[0].query("status == 'ok'")["image"].tolist() == told["image"].tolist()
            found, _ = differential_of([out])
            assert (found.white_cells, found.missing) == (told["count"].sum(), len(items) - len(told))
            run(items, out, model, settings=settings)

    def test_what_lacks_but_a_format_counts_though_a_run_was_stopped(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        with pytest.raises(Cancelled):
            run(items, out, model, formats=("geojson",), progress=stop_at_once)
        counts = results(out)[0]
        assert len(counts) == 5
        assert differential_of(out)[0].white_cells == counts["white_cells"].sum()

    def test_cells_of_a_part_count_nowhere_where_a_run_was_stopped(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        found = load_result(out / "0003-result.json")
        notes = (*found.notes, note_of_part("the region", several=False))
        save(dataclasses.replace(found, notes=notes), out / "0003", "tiff")
        with pytest.raises(Cancelled):
            run(items, out, model, progress=stop_at_once)
        assert len(results(out)[0]) == 4
        assert differential_of(out)[0].white_cells == results(out)[0]["count"].sum()

    def test_files_of_formats_not_asked_for_again_tell_of_the_same_cells(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        run(items, out, model, formats=("geojson", "roi", "csv", "ome-zarr", "mask"))
        run(items, out, model, settings=SETTINGS.replace(min_area=10**6))
        assert results(out)[0]["count"].sum() == 0
        for name in ("0001", "0003"):
            assert json.loads((out / f"{name}.geojson").read_text())["features"] == []
            assert not len(pd.read_csv(out / f"{name}-cells.csv"))
            assert load_result(out / f"{name}.ome.zarr").count == 0
            assert not np.asarray(Image.open(out / f"{name}-mask.jpg")).any()

    def test_files_beside_what_a_script_saved_tell_of_the_same_cells(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        run(items, out, model, formats=("csv", "geojson"))
        correct(out, items[3])
        run(items, out, model)
        assert len(pd.read_csv(out / "0003-cells.csv")) == 2
        assert len(json.loads((out / "0003.geojson").read_text("utf-8"))["features"]) == 2

    def test_a_copied_folder_tells_of_its_own_images(
        self, tmp_path: Path, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        copy = tmp_path.with_name(f"{tmp_path.name}-copy")
        shutil.copytree(tmp_path, copy)
        inside = out.relative_to(tmp_path)
        assert (
            redone(collect([copy / items[0].path.parent.relative_to(tmp_path)]), copy / inside, model) == []
        )
        assert len(results(copy / inside)[0]) == len(items)

    def test_images_whose_folder_was_renamed_keep_their_results(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        correct(out, items[3])
        moved = items[0].path.parent.rename(out.with_name("renamed"))
        assert redone(collect([moved]), out, model) == []
        assert results(out)[0].set_index("image").loc["0003.png", "count"] == 2
        assert load_result(out / "0003-result.json").image_path == moved / "0003.png"

    def test_so_do_slides_that_were_copied_and_have_another_date(
        self, tmp_path: Path, model: ModelFile
    ) -> None:
        out, moved = tmp_path / "out", tmp_path / "copied"
        run(two_large_images(tmp_path / "in"), out, model)
        large = LargeResult.open(out / "a-cells")
        large.keep_said(large.cells.assign(**{"class": "blast", "class_by": "person"}))
        (tmp_path / "in").rename(moved)
        for name in "ab":
            os.utime(moved / f"{name}.zarr" / "zarr.json", (0, 4e9))
        for _ in range(2):
            assert run(collect([moved]), out, model).kept == 2
            assert pd.read_csv(out / "counts.csv")["blast"][0] == 1
            image = ResultRecord.read(out / "a-result.json").image
            assert image.file(out) == moved / "a.zarr"

    def test_so_do_images_that_are_called_by_their_folders_and_what_other_settings_set_aside(
        self, tmp_path: Path, model: ModelFile
    ) -> None:
        folder, out = tmp_path / "in", tmp_path / "out"
        for day, places in {"monday": ((40, 40), (40, 110)), "tuesday": ((40, 40),)}.items():
            (folder / day).mkdir(parents=True)
            Image.fromarray(spots((150, 150), places)[0]).save(folder / day / "1.png")
        items = collect([folder], recursive=True)
        run(items, out, model)
        correct(out, items[0], "monday__1")

        (folder / "monday").rename(folder / "sunday")
        assert redone(collect([folder], recursive=True), out, model) == []
        assert results(out)[0].set_index("image")["count"].to_dict() == {
            "sunday/1.png": 1,
            "tuesday/1.png": 1,
        }

        run(collect([folder], recursive=True), out, model, settings=SETTINGS.replace(check_below=0.9))
        assert results(out)[0].set_index("image").loc["sunday/1.png", "count"] == 2
        (folder / "sunday").rename(folder / "saturday")
        run(collect([folder], recursive=True), out, model)
        assert results(out)[0].set_index("image").loc["saturday/1.png", "count"] == 1

    def test_what_another_program_wrote_under_a_name_is_not_taken_for_a_runs(
        self, items: list[BatchItem], tmp_path: Path, model: ModelFile
    ) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / "0001.geojson").write_text("drawn by hand")
        (out / "0003.ome.zarr").mkdir()
        run(items, out, model)
        run(items, out, model, settings=SETTINGS.replace(check_below=0.9))
        assert (out / "0001.geojson").read_text() == "drawn by hand"
        assert list((out / "0003.ome.zarr").iterdir()) == []

    def test_where_another_file_cannot_be_written_what_was_found_stays(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        (out / "0003.ome.zarr").mkdir()
        (out / "0003.ome.zarr" / "mine").touch()
        (row,) = run(items[3:4], out, model, formats=("ome-zarr",)).rows[-1:]
        assert "0003.ome.zarr" in row["error"]
        assert load_result(out / "0003-result.json").count == 3
        assert redone(items, out, model) == []

    def test_labels_that_are_none_any_more_are_said_and_left_alone(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        file = out / "0003-labels.tif"
        tifffile.imwrite(file, np.zeros((7, 7), np.uint16))
        edited = file.read_bytes()
        result = run(items, out, model)
        (row,) = (row for row in result.rows if row["image"] == "0003.png")
        assert "the two belong to different results" in row["error"]
        assert (result.kept, file.read_bytes()) == (4, edited)
        assert run(items, out, model, again=True).failed == 1

    def test_labels_that_may_not_be_read_cost_no_other_image(
        self, items: list[BatchItem], out: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path) -> str:
            if path.name == "0003-labels.tif":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return file_sha256(path)

        monkeypatch.setattr("napari_wbcseg.results.load.file_sha256", refuse)
        result = run(items, out, model)
        (row,) = (row for row in result.rows if row["image"] == "0003.png")
        assert "0003-labels.tif cannot be read (Permission denied)" in row["error"]
        assert result.kept == 4

    def test_what_nobody_expected_of_one_result_costs_no_other_image(
        self, items: list[BatchItem], out: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = process_module.record_now

        def broken(record: ResultRecord, folder: Path) -> Any:
            return 1 / 0 if record.image.name == "0003.png" else real(record, folder)

        monkeypatch.setattr(process_module, "record_now", broken)
        result = run(items, out, model)
        assert {row["image"]: row["error"] for row in result.rows if row["error"]}.keys() == {
            "0002.png",
            "0003.png",
        }
        renew_tables(out)
        assert set(results(out)[0]["status"]) == {"ok", "failed"}

    def test_a_record_that_may_not_be_read_is_not_written_over(
        self, items: list[BatchItem], out: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = out / "0003-result.json"
        record.write_text("corrections, perhaps")
        monkeypatch.setattr("napari_wbcseg.batch.earlier.access", lambda path, mode: path != record)
        run(items, out, model)
        assert record.read_text() == "corrections, perhaps"
        assert results(out)[0].set_index("image").loc["0003.png", "count"] == 3, "under another name"

    def test_what_failed_is_tried_again(
        self, items: list[BatchItem], out: Path, model: ModelFile, tmp_path: Path
    ) -> None:
        write_images(tmp_path / "mended", 3)
        (tmp_path / "mended" / "0002.png").replace(tmp_path / "in" / "0002.png")
        assert redone(items, out, model) == ["0002"]

    def test_a_changed_image_is_done_again_and_a_touched_one_is_not(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        Image.fromarray(spots((160, 160), ((80, 80),))[0]).save(items[3].path)
        os.utime(items[1].path, (1, 1))
        assert redone(items, out, model) == ["0003"]

    def test_a_missing_file_is_made_again(self, items: list[BatchItem], out: Path, model: ModelFile) -> None:
        (out / "0004-labels.tif").unlink()
        assert redone(items, out, model) == ["0004"]
        assert redone(items, out, model, formats=("mask",)) == [], "it is made of the labels"
        run(items, out.with_name("at-once"), model, formats=("mask",))
        for number in (0, 1, 3, 4, 5):
            mask = out / f"000{number}-mask.jpg"
            assert mask.read_bytes() == (out.with_name("at-once") / mask.name).read_bytes()

    def test_other_settings_or_another_model_do_all_again(
        self, items: list[BatchItem], out: Path, model: ModelFile, tmp_path: Path
    ) -> None:
        assert len(redone(items, out, model, settings=SETTINGS.replace(min_area=600))) == 5
        other = write_dark_model(tmp_path / "other.safetensors", "other")
        result = run(items, out, other)
        assert (result.kept, result.outdated) == (0, 5)

    def test_again_does_all_again(self, items: list[BatchItem], out: Path, model: ModelFile) -> None:
        assert len(redone(items, out, model, again=True)) == 5

    def test_again_does_not_write_over_what_a_person_corrected(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        correct(out, items[3])
        assert "in__0003" in redone(items, out, model, again=True)
        assert load_result(out / "0003-result.json").count == 2
        assert results(out)[0].set_index("image").loc["0003.png", "count"] == 3
        assert run(items, out, model).kept == 5
        assert results(out)[0].set_index("image").loc["0003.png", "count"] == 2, "it counts again"

    def test_a_damaged_record_is_an_image_done_again(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        for number, content in enumerate(("", "[1, 2]", '{"format": "napari-wbcseg result 9"}')):
            record = out / f"000{(0, 1, 3)[number]}-result.json"
            record.write_text(content or record.read_text()[:300])
        assert sorted(redone(items, out, model)) == ["0000", "0001", "0003"]
        assert redone(items, out, model) == []

    def test_what_an_earlier_version_left_is_taken_up(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        counts = results(out)[0]
        for record in out.glob("*-result.json"):
            content = json.loads(record.read_text())
            for name in ("seconds", "pictures"):
                del content[name]
            for name in ("size", "modified"):
                del content["image"][name]
            record.write_text(json.dumps(content))
        assert redone(items, out, model) == []
        assert results(out)[0].equals(counts)
        assert (out / "report.html").read_text(encoding="utf-8").count("data:image/jpeg") >= 5

    def test_corrections_are_kept_and_counted(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        correct(out, items[3])
        assert redone(items, out, model) == []
        counts, cells, _ = results(out)
        assert counts.set_index("image").loc["0003.png", "count"] == 2
        assert (cells["image"] == "0003.png").sum() == 2
        assert redone(items, out, model, formats=("mask", "csv")) == [], (
            "what is wanted besides is made of them"
        )
        assert len(pd.read_csv(out / "0003-cells.csv")) == load_result(out / "0003-result.json").count == 2

    def test_corrections_to_which_settings_do_not_belong_are_named_and_count_again_with_theirs(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        def count() -> int:
            return int(results(out)[0].set_index("image").loc["0003.png", "count"])

        correct(out, items[3])
        other = SETTINGS.replace(min_area=600)
        assert "in__0003" in redone(items, out, model, settings=other), "what is found goes elsewhere"
        said = run(items, out, model, settings=other).notices[0]
        assert "not counted: 0003. Where the image is gone" in said
        assert said.endswith(f"go back to the settings in {out / '0003-result.json'}.")
        assert (count(), load_result(out / "0003-result.json").count) == (3, 2)
        assert "0003" not in redone(items, out, model)
        (named,) = run(items, out, model).notices
        assert named.endswith("or were done in another way: in__0003.")
        assert count() == 2
        # Both may be corrected: each counts with its settings.
        run(items, out, model, settings=other)
        correct(out, items[3], "in__0003", cells=(1, 2))
        for settings, there in ((SETTINGS, 2), (other, 1), (SETTINGS, 2)):
            assert len(run(items, out, model, settings=settings).notices) == 1
            assert count() == there

    def test_corrections_of_an_image_that_became_another_are_named(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        correct(out, items[3])
        Image.fromarray(spots((160, 160), ((80, 80),))[0]).save(items[3].path)
        assert "not counted: 0003." in run(items, out, model).notices[0]
        assert [load_result(out / f"{name}-result.json").count for name in ("0003", "in__0003")] == [2, 1]

    def test_what_a_person_saved_while_a_run_was_under_way_is_kept(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        correct(out, items[3])
        others = Run(out, model=model, settings=SETTINGS.replace(min_area=600), classifier=None)
        row = process(dataclasses.replace(items[3], name="0003"), others)
        assert "0003.png was corrected while this run was under way" in row["error"]
        assert load_result(out / "0003-result.json").count == 2

    @pytest.mark.parametrize(
        "options", [{}, {"again": True}, {"settings": SETTINGS.replace(check_below=0.9)}]
    )
    def test_so_is_what_is_saved_while_its_image_is_segmented(
        self,
        items: list[BatchItem],
        out: Path,
        model: ModelFile,
        monkeypatch: pytest.MonkeyPatch,
        options: dict[str, Any],
    ) -> None:
        (out / "0003-result.json").unlink()

        def segment_and_correct(*arguments: Any) -> Segmentation:
            found = segment(arguments[0], model, SETTINGS)
            save(
                dataclasses.replace(found, labels=found.labels % 3),
                out / "0003",
                "tiff",
                image_path=items[3].path,
            )
            return found

        monkeypatch.setattr("napari_wbcseg.batch.process.segment", segment_and_correct)
        rows = {row["image"]: row for row in run(items[3:4], out, model, **options).rows}
        assert load_result(out / "0003-result.json").count == 2
        assert (
            rows["0003.png"].get("count") == 2 or "under way, and that is kept" in rows["0003.png"]["error"]
        )

    def test_so_is_what_is_saved_while_the_run_writes_it(
        self, items: list[BatchItem], out: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = load_result(out / "0003-result.json")
        corrected = dataclasses.replace(found, labels=found.labels % 3)
        person = threading.Thread(target=save, args=(corrected, out / "0003", "tiff"))

        def write_while_a_person_saves(*arguments: Any) -> None:
            person.start()
            person.join(1)
            write_tiff(*arguments)

        monkeypatch.setattr("napari_wbcseg.batch.process.write_tiff", write_while_a_person_saves)
        run(items[3:4], out, model, again=True)
        person.join()
        assert np.array_equal(load_result(out / "0003-result.json").labels, corrected.labels)

    def test_so_is_what_is_saved_while_the_run_writes_its_tables(
        self, items: list[BatchItem], out: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        busy: list[BusyError] = []

        def write_when_a_person_has_saved(*arguments: Any) -> Path:
            if not busy:
                correct(out, items[3])
                with pytest.raises(BusyError) as refused:
                    renew_tables(out)
                busy.append(refused.value)
            return write_cells(*arguments)

        monkeypatch.setattr("napari_wbcseg.batch.run.write_cells", write_when_a_person_has_saved)
        run(items, out, model)
        counts, cells, _ = results(out)
        assert counts.set_index("image").loc["0003.png", "count"] == 2
        assert (cells["image"] == "0003.png").sum() == 2

    def test_so_is_what_is_saved_within_a_second_of_what_is_drawn_for_the_tables(
        self, items: list[BatchItem], out: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the second at which they were made the two were one, and the first was written once more."""

        def draw_while_a_person_saves(*about: Any) -> dict[str, list[Any]]:
            correct(out, items[3], cells=(1, 2))
            return report_pictures(*about)

        with monkeypatch.context() as patched:
            patched.setattr("napari_wbcseg.batch.process.report_pictures", draw_while_a_person_saves)
            correct(out, items[3])
            renew_tables(out)
        assert ResultRecord.read(out / "0003-result.json").count == 1
        assert load_result(out / "0003-result.json").count == 1

    def test_corrections_without_their_labels_are_not_written_over(
        self, items: list[BatchItem], out: Path, model: ModelFile
    ) -> None:
        correct(out, items[3])
        (out / "0003-labels.tif").unlink()
        run(items, out, model)
        assert ResultRecord.read(out / "0003-result.json").edited

    def test_what_another_than_a_run_saved_is_drawn_once_for_the_report(
        self, items: list[BatchItem], out: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(load_result(out / "0003-result.json"), out / "0003", "tiff", image_path=items[3].path)
        drawn = []

        def draw(image: np.ndarray, *about: Any) -> dict[str, list[Any]]:
            drawn.append(image.shape)
            return report_pictures(image, *about)

        monkeypatch.setattr("napari_wbcseg.batch.process.report_pictures", draw)
        assert redone(items, out, model) == []
        assert len(drawn) == 1


def test_after_kill_9_only_what_is_missing_is_done(tmp_path: Path, model: ModelFile) -> None:
    items = write_images(tmp_path / "in", 60)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "napari_wbcseg", "segment", str(tmp_path / "in"), "-o", str(out)]
    process = subprocess.Popen([*command, "-m", str(model.path), "--no-overlay"])
    deadline = time.monotonic() + 120
    while len(list(out.glob("*-labels.tif"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    assert not (out / "counts.csv").exists()
    again = redone(items, out, model)
    assert 0 < len(again) < len(items)
    run(items, tmp_path / "other", model)
    assert_same_results(out, tmp_path / "other")
