"""`wbcseg segment` does what its help says, in sentences, and its exit status can be relied on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image
from typer.testing import CliRunner

from napari_wbcseg import SegmentationSettings
from napari_wbcseg.cli import app
from napari_wbcseg.results.records import RunRecord

from ..dark_model import spots, write_dark_model
from .shell import environment, heed_signals, started, wbcseg


class TestSegment:
    def test_a_folder_gives_labels_overlays_tables_and_a_record(
        self, slides: Path, model: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        # Discs, which are cells of no class.
        result = wbcseg("segment", slides, "-r", "-m", model, "-o", out, "--mask", "--classes", "none")
        assert sorted(path.name for path in out.iterdir()) == sorted(
            ["cells.csv", "counts.csv", "report.html", "run.json"]
            + [
                f"{n}{s}"
                for n in ("none", "one__a", "two__a")
                for s in ("-labels.tif", "-mask.jpg", "-overlay.png", "-result.json")
            ]
        )
        counts = pd.read_csv(out / "counts.csv").set_index("image")
        assert counts["count"].to_dict() == {"none.png": 0, "one/a.png": 1, "two/a.png": 2}
        assert set(counts["status"]) == {"ok"}
        cells = pd.read_csv(out / "cells.csv")
        assert list(cells["image"]) == ["one/a.png", "two/a.png", "two/a.png"]
        truth = spots()[1]
        labels = tifffile.imread(out / "two__a-labels.tif")
        assert (labels > 0).sum() == pytest.approx((truth > 0).sum(), rel=0.02)
        assert labels.max() == 2
        with Image.open(out / "two__a-mask.jpg") as mask:
            np.testing.assert_array_equal(np.asarray(mask) > 127, labels > 0)
        assert re.search(r"two/a\.png\s+2", result.stdout)
        assert re.search(r"3 images\s+3", result.stdout)
        assert result.stderr == ""

    def test_what_a_shell_makes_of_a_pattern_is_counted_once(self, slides: Path, model: Path) -> None:
        def counted() -> list[str]:
            wbcseg("segment", *sorted(slides.glob("*.png")), "-m", model, "-o", slides)
            return list(pd.read_csv(slides / "counts.csv")["image"])

        first = counted()
        assert (slides / "none-overlay.png").is_file()
        assert counted() == first
        said = wbcseg("segment", slides / "none-overlay.png", "-m", model, "-o", "out", status=1).stderr
        assert "none-overlay.png holds only what an earlier run wrote: give the images" in said

    def test_overlays_can_be_left_out(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides / "none.png", "-m", model, "-o", "out", "--no-overlay")
        assert sorted(os.listdir("out")) == [
            "cells.csv",
            "counts.csv",
            "none-labels.tif",
            "none-result.json",
            "report.html",
            "run.json",
        ]

    def test_a_bad_file_is_named_skipped_and_counted(self, slides: Path, model: Path) -> None:
        (slides / "text.png").write_text("This is no picture.")
        cut = (slides / "one" / "a.png").read_bytes()
        (slides / "cut.png").write_bytes(cut[: len(cut) // 2])
        missing, empty = slides / "missing.png", slides / "empty"
        empty.mkdir()
        result = wbcseg("segment", slides, missing, empty, "-m", model, "-o", "out", status=1)
        counts = pd.read_csv("out/counts.csv").set_index("image")
        assert counts.loc["none.png", "status"] == "ok"
        failed = counts[counts["status"] == "failed"]
        assert len(failed) == 4
        for name in ("text.png", "cut.png", "missing.png", "empty"):
            assert any(name in error for error in failed["error"]), name
            assert name in result.stderr
        assert "4 of 5 inputs failed" in result.stderr
        assert "Traceback" not in result.output
        assert os.path.exists("out/none-labels.tif")
        assert [entry.status for entry in RunRecord.read("out/run.json").inputs].count("failed") == 4

    def test_a_count_in_doubt_is_a_question_and_no_number(self, slides: Path, model: Path) -> None:
        image = spots()[0]
        tifffile.imwrite(slides / "focus.tif", np.stack([image, image]), photometric="rgb", metadata=None)
        Image.fromarray(255 - image).save(slides / "inverted.png")
        said = wbcseg("segment", slides, slides / "two", "-m", model, "-o", "out").stdout
        assert re.search(r"focus\.tif\s+\?", said)
        assert re.search(r"inverted\.png\s+\?", said)
        assert re.search(r"4 images, 2 in doubt\s+2\s", said), "only what is sure"
        assert "focus.tif: The 2 planes seem to be one field" in said
        assert "inverted.png: The background is darker than the cells" in said
        counts = pd.read_csv("out/counts.csv", index_col="image")["white_cells"]
        assert set(counts.index[counts.isna()]) == {"focus.tif", "inverted.png"}
        assert "in 2 images, 2 in doubt</h1>" in Path("out/report.html").read_text()

    def test_what_is_said_of_the_run_is_said_once(self, slides: Path, model: Path) -> None:
        shutil.copy(slides / "one" / "a.png", slides / "copy.png")
        said = wbcseg("segment", slides, "-r", "-m", model, "-o", "out").stdout
        assert len(re.findall("count twice", said)) == 1

    def test_what_is_noted_of_a_picture_is_told_once_for_all_that_are_alike(self, tmp_path: Path) -> None:
        pictures = [tmp_path / name for name in ("a.png", "b.png")]
        for shade, picture in enumerate(pictures):
            Image.new("RGB", (96, 96), (235, 235, 230 + shade)).save(picture)
        said = wbcseg("segment", *pictures, "-o", "out").stdout
        assert "a.png, b.png: No white cell was seen." in said

    def test_results_that_count_no_more_are_named(self, slides: Path, model: Path) -> None:
        command = ["segment", slides, "-r", "-m", model, "-o", "out"]
        assert "not counted" not in wbcseg(*command).stdout
        (slides / "two" / "a.png").unlink()
        assert "not counted, as their images are gone or changed" in (said := wbcseg(*command).stdout)
        assert "two__a." in said
        assert Path("out/two__a-result.json").is_file(), "they stay"

    def test_the_fields_of_an_ome_zarr_are_all_counted(self, slides: Path, model: Path) -> None:
        image, group = spots()[0], zarr.create_group(slides / "fields.zarr", zarr_format=2)
        scales = {"axes": [{"name": name} for name in "yxc"], "datasets": [{"path": "0"}]}
        for number, field in enumerate((image, image[::-1])):
            one = group.create_group(str(number), attributes={"multiscales": [scales]})
            one.create_array("0", data=np.ascontiguousarray(field))
        wbcseg("segment", slides / "fields.zarr", "-m", model, "-o", "out")
        assert pd.read_csv("out/counts.csv")["white_cells"].tolist() == [4]

    def test_patterns_are_expanded_by_us_where_the_shell_does_not(self, slides: Path, model: Path) -> None:
        wbcseg("segment", f"{slides}/*/a.p*g", "-m", model, "-o", "out")
        assert list(pd.read_csv("out/counts.csv")["count"]) == [1, 2]

    def test_results_in_the_folder_of_the_images_are_not_taken_for_images(
        self, slides: Path, model: Path
    ) -> None:
        for _ in range(2):
            wbcseg("segment", slides / "two", "-m", model, "-o", slides / "two", "--mask")
            assert list(pd.read_csv(slides / "two" / "counts.csv")["image"]) == ["a.png"]

    def test_a_picture_of_the_users_own_is_counted_whatever_its_name(self, slides: Path, model: Path) -> None:
        (slides / "none.png").rename(slides / "mine-overlay.png")
        wbcseg("segment", slides, "-m", model, "-o", "out")
        assert list(pd.read_csv("out/counts.csv")["image"]) == ["mine-overlay.png"]

    def test_an_image_given_twice_is_done_once(self, slides: Path, model: Path) -> None:
        wbcseg(
            "segment",
            slides / "none.png",
            slides,
            slides / "one" / ".." / "none.png",
            "-m",
            model,
            "-o",
            "out",
        )
        assert len(pd.read_csv("out/counts.csv")) == 1

    def test_options_reach_the_settings_and_the_record(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides / "two", "-m", model, "-o", "out", "--min-area", 2000, "--flips")
        assert list(pd.read_csv("out/counts.csv")["count"]) == [0]
        assert RunRecord.read("out/run.json").settings == SegmentationSettings(
            recipe="classic", min_area=2000, flips=True
        )
        assert re.match("CPU|GPU|NVIDIA|AMD|Apple", RunRecord.read("out/run.json").device)

    def test_other_programs_get_their_formats(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides / "two", "-m", model, "-o", "out", "-f", "geojson,roi,csv,ome-zarr")
        assert len(json.loads(Path("out/a.geojson").read_text(encoding="utf-8"))["features"]) == 2
        assert len(pd.read_csv("out/a-cells.csv")) == 2
        assert Path("out/a-rois.zip").stat().st_size > 200
        assert Path("out/a.ome.zarr/labels/cells").is_dir()
        again = wbcseg("segment", slides / "two", "-m", model, "-o", "out", "-f", "geojson,ome-zarr")
        assert "not again: 1 image" in again.stdout
        wrong = wbcseg("segment", slides, "-m", model, "-o", "b", "-f", "xls", status=1)
        assert "There is no format 'xls'" in wrong.stderr

    def test_the_settings_of_a_result_bring_image_and_model_along(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides / "two", "-m", model, "-o", "a", "--min-area", 300)
        wbcseg("segment", "--settings", "a/a-result.json", "-o", "b")
        first, second = (RunRecord.read(f"{out}/run.json") for out in "ab")
        assert (first.settings, first.model) == (second.settings, second.model)
        np.testing.assert_array_equal(tifffile.imread("a/a-labels.tif"), tifffile.imread("b/a-labels.tif"))
        wbcseg("segment", slides / "one", "--settings", "a/a-result.json", "-o", "c")
        assert RunRecord.read("c/run.json").model == first.model, "on other images as well"
        wbcseg("segment", "--settings", "a/run.json", "-o", "d")
        assert [entry.count for entry in RunRecord.read("d/run.json").inputs] == [2]
        shutil.rmtree(slides)
        gone = wbcseg("segment", "--settings", "a/a-result.json", "-o", "e", status=1)
        assert "is not there" in gone.stderr

    def test_settings_come_from_a_file_and_options_go_before_it(self, slides: Path, model: Path) -> None:
        Path("settings.json").write_text(
            SegmentationSettings(recipe="classic", min_area=2000, batch_size=3).to_json(),
            encoding="utf-8-sig",  # as Windows' editors do
        )
        wbcseg("segment", slides / "two", "-m", model, "-o", "a", "--settings", "settings.json")
        wbcseg(
            "segment", slides / "two", "-m", model, "-o", "b", "--settings", "a/run.json", "--min-area", 700
        )
        assert RunRecord.read("b/run.json").settings == SegmentationSettings(
            recipe="classic", min_area=700, batch_size=3
        )
        assert list(pd.read_csv("b/counts.csv")["count"]) == [2]

    def test_an_unknown_model_is_one_sentence(self, slides: Path) -> None:
        result = wbcseg("segment", slides, "-m", "nonesuch", "-o", "out", status=1)
        assert result.stderr.startswith("There is no model named 'nonesuch'.")
        assert result.stderr.count("\n") == 1
        assert not os.path.exists("out")

    def test_a_folder_that_cannot_be_written_is_told_before_any_work(self, slides: Path, model: Path) -> None:
        Path("file").write_text("in the way")
        result = wbcseg("segment", slides, "-m", model, "-o", "file/out", status=1)
        assert "file/out" in result.stderr.replace(os.sep, "/")
        assert "cannot be written" in result.stderr

    def test_debug_shows_where_an_error_arose(self) -> None:
        result = CliRunner().invoke(app, ["segment", "x.png", "-m", "nonesuch", "-o", "out", "--debug"])
        assert result.exit_code == 1
        assert type(result.exception).__name__ == "ModelError"

    def test_the_pixel_size_of_a_tiff_is_kept(self, model: Path) -> None:
        tifffile.imwrite(
            "a.tif", spots()[0], photometric="rgb", resolution=(40_000, 40_000), resolutionunit="CENTIMETER"
        )
        wbcseg("segment", "a.tif", "-m", model, "-o", "out")
        with tifffile.TiffFile("out/a-labels.tif") as tiff:
            assert tiff.shaped_metadata is not None
            assert tiff.shaped_metadata[0]["PhysicalSizeX"] == pytest.approx(0.25)


class TestRepeat:
    def test_a_run_is_repeated_from_its_record_alone(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides, "-r", "-m", model, "-o", "a", "--mask", "--no-overlay", "--min-area", 600)
        wbcseg("segment", "--settings", "a/run.json", "-o", "b")
        assert sorted(os.listdir("a")) == sorted(os.listdir("b"))
        for name in sorted(os.listdir("a")):
            first, second = Path("a", name), Path("b", name)
            if name.endswith((".tif", ".jpg")) or name == "cells.csv":
                assert first.read_bytes() == second.read_bytes(), name
        a, b = RunRecord.read("a/run.json"), RunRecord.read("b/run.json")
        assert (a.settings, a.model, a.formats) == (b.settings, b.model, b.formats)
        assert [entry.sha256 for entry in a.inputs] == [entry.sha256 for entry in b.inputs]

    @pytest.mark.parametrize(
        ("options", "formats"),
        [
            (["--mask"], "mask overlay csv"),
            (["--no-overlay"], "csv"),
            (["-f", "geojson"], "overlay geojson"),
            (["-f", "mask,overlay", "--no-overlay"], "mask"),
            (["-f", "mask", "-f", "overlay", "--no-overlay"], "mask"),
        ],
    )
    def test_other_files_may_be_wanted_of_it(
        self, slides: Path, model: Path, options: list[str], formats: str
    ) -> None:
        wbcseg("segment", slides / "none.png", "-m", model, "-o", "a", "-f", "csv")
        wbcseg("segment", "--settings", "a/run.json", "-o", "b", *options)
        assert RunRecord.read("b/run.json").formats == tuple(formats.split())

    def test_images_that_moved_with_their_results_are_found(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides / "two", "-m", model, "-o", slides / "out")
        moved = shutil.move(slides, "elsewhere")
        wbcseg("segment", "--settings", Path(moved) / "out" / "run.json", "-o", "b")
        assert list(pd.read_csv("b/counts.csv")["count"]) == [2]

    def test_a_changed_image_is_refused(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides, "-r", "-m", model, "-o", "a")
        Image.fromarray(spots(centres=())[0]).save(slides / "two" / "a.png")
        result = wbcseg("segment", "--settings", "a/run.json", "-o", "b", status=1)
        assert "SHA-256 differs" in result.stderr
        assert "1 of 3 inputs failed" in result.stderr

    def test_a_changed_model_is_refused_and_a_moved_one_found(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides, "-r", "-m", model, "-o", "a")
        library = Path("library")
        library.mkdir()
        shutil.move(model, library / "moved.safetensors")
        wbcseg("segment", "--settings", "a/run.json", "-o", "b")
        wbcseg("models", "export", library / "moved.safetensors", "colleagues.safetensors")
        (library / "moved.safetensors").unlink()
        wbcseg("models", "import", "colleagues.safetensors", "--name", "theirs")
        wbcseg("segment", "--settings", "a/run.json", "-o", "d")  # the same network under another name
        wbcseg("models", "remove", "theirs", "--yes")
        write_dark_model(model, "another")
        result = wbcseg("segment", "--settings", "a/run.json", "-o", "c", status=1)
        assert "cannot be repeated: its model dark@" in result.stderr


class TestProcess:
    """The command as a user runs it: a process of its own."""

    def test_one_real_run(self, slides: Path, model: Path, tmp_path: Path) -> None:
        (slides / "text.png").write_text("This is no picture.")
        result = subprocess.run(
            [sys.executable, "-m", "napari_wbcseg", "segment", slides, "-r", "-m", model, "-o", "out"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=120,
        )
        assert result.returncode == 1, result.stderr
        lines = [line for line in result.stderr.splitlines() if line]  # an older Rich leaves an empty one
        assert len(lines) == 2, "no bar where there is no terminal"
        assert "text.png" in lines[0]
        assert lines[1].startswith("1 of 4 inputs failed")
        assert "3 images" in result.stdout
        assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"] is True

    @pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_ctrl_c_and_the_end_of_a_job_or_terminal_keep_what_is_done(
        self, ending: str, model: Path, tmp_path: Path
    ) -> None:
        process = run_until_some_are_done(60, model, tmp_path, heed_signals)
        process.send_signal(getattr(signal, ending))
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "Stopped." in errors
        assert "Traceback" not in errors
        done = pd.read_csv(tmp_path / "out" / "counts.csv")
        assert 1 <= len(done) < 60
        assert RunRecord.read(tmp_path / "out" / "run.json").finished is False

    def test_ctrl_c_that_falls_into_a_finalizer_is_heard(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is raised there Python prints and drops."""

        class Interrupted:
            def __del__(self) -> None:
                raise KeyboardInterrupt

        def collect(*paths: Any, **options: Any) -> list[Any]:
            Interrupted()
            for _ in range(300):
                time.sleep(0.1)
            return []

        monkeypatch.setattr("napari_wbcseg.batch.run.collect", collect)
        result = wbcseg("segment", tmp_path, "-o", tmp_path / "out", status=130)
        assert result.stderr.split() == ["Stopped."]

    def test_with_nohup_it_goes_on_after_the_end_of_its_terminal(self, model: Path, tmp_path: Path) -> None:
        process = run_until_some_are_done(
            12, model, tmp_path, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
        )
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert len(pd.read_csv(tmp_path / "out" / "counts.csv")) == 12


def run_until_some_are_done(
    images: int, model: Path, folder: Path, in_child: Callable[[], Any]
) -> subprocess.Popen[str]:
    """Start the command on so many images, and return it once the first are done."""
    (folder / "many").mkdir()
    for number in range(images):
        Image.fromarray(spots((700, 700))[0]).save(folder / "many" / f"{number}.png")
    process = started("segment", "many", "-m", model, "-o", "out", in_child=in_child)
    deadline = time.monotonic() + 120
    while not list(folder.glob("out/*-overlay.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, "it is still at work"
    return process
