"""The shell does what its help says, in sentences, and its exit status can be relied on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner, Result

from napari_wbcseg import SegmentationSettings, TrainingSettings, __version__
from napari_wbcseg.cli import app
from napari_wbcseg.cli_options import option_name
from napari_wbcseg.segmentation.output import RunRecord

from .dark_model import spots, write_dark_model

DATA = os.environ.get("WBCSEG_DATA")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder, and with a library of models, of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path / "library"))
    monkeypatch.setenv("COLUMNS", "200")


def wbcseg(*arguments: object, status: int = 0) -> Result:
    """Run a command in this process and check its exit status."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
    return result


def environment(**values: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **values}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = write_dark_model(tmp_path / "dark.safetensors").path
    assert path is not None
    return path


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Make a folder of three images, two of one name, and one text file that calls itself an image."""
    folder = tmp_path / "slides"
    for name, centres in {
        "one/a.png": ((80, 90),),
        "two/a.png": ((80, 90), (200, 300)),
        "none.png": (),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(spots(centres=centres)[0]).save(folder / name)
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Make a folder of images with numbered cells."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number, centres in enumerate([((64, 64),), ((40, 40), (90, 90)), ((64, 64), (30, 98))]):
        image, labels = spots((128, 128), centres)
        Image.fromarray(image).save(folder / f"{number}.png")
        tifffile.imwrite(folder / f"{number}_labels.tif", labels.astype(np.uint16) * 3)
    return folder


class TestHelp:
    def test_the_version_is_told(self) -> None:
        assert wbcseg("--version").stdout == f"wbcseg {__version__}\n"

    def test_help_is_quick_because_nothing_heavy_is_imported(self) -> None:
        program = (
            "import sys, time\n"
            "from napari_wbcseg.cli import app\n"
            "try: app(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = 'numpy pandas keras tensorflow onnxruntime skimage cv2 scipy napari qtpy'.split()\n"
            "print([name for name in heavy if name in sys.modules], time.process_time(), file=sys.stderr)"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert "segment" in result.stdout
        loaded, seconds = result.stderr.strip().rsplit(" ", 1)
        assert loaded == "[]"
        assert float(seconds) < 1  # about 0.4 s of processor time, Python's own start included

    @pytest.mark.parametrize("command", ["demo", "segment", "train", "evaluate", "models", "download"])
    def test_every_command_explains_itself(self, command: str) -> None:
        assert "Options" in wbcseg(command, "--help").stdout

    @pytest.mark.parametrize(
        ("command", "settings"),
        [("segment", SegmentationSettings), ("evaluate", SegmentationSettings), ("train", TrainingSettings)],
    )
    def test_every_setting_is_an_option_with_its_own_words(
        self, command: str, settings: type[SegmentationSettings | TrainingSettings]
    ) -> None:
        text = " ".join(wbcseg(command, "--help").stdout.split())
        for name, field in settings.model_fields.items():
            assert option_name(name) in text
            assert field.description is not None
            assert field.description in text

    def test_defaults_of_both_recipes_are_told(self) -> None:
        text = " ".join(wbcseg("train", "--help").stdout.split())
        assert "Passes over the training data. (default: 50; robust: 60)" in text

    @pytest.mark.parametrize(
        "arguments",
        [
            ["sgment"],
            ["segment", "a.png"],
            ["segment", "--out", "x"],
            ["segment", "a.png", "--out", "x", "--cell-diameter", "2"],
            ["segment", "a.png", "--out", "x", "--probability-threshold", "1"],
            ["segment", "a.png", "--out", "x", "--recipe", "modern"],
            ["segment", "a.png", "--out", "x", "--repeat", "run.json"],
            ["train", "folder"],
            ["evaluate", "wbc"],
        ],
    )
    def test_a_command_that_cannot_be_understood_ends_with_status_2(self, arguments: list[str]) -> None:
        assert "Traceback" not in wbcseg(*arguments, status=2).output


class TestSegment:
    def test_a_folder_gives_labels_overlays_tables_and_a_record(
        self, slides: Path, model: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        result = wbcseg("segment", slides, "-r", "--model", model, "--out", out, "--mask")
        assert sorted(path.name for path in out.iterdir()) == sorted(
            ["cells.csv", "counts.csv", "run.json"]
            + [
                f"{n}{s}"
                for n in ("none", "one__a", "two__a")
                for s in ("-labels.tif", "-mask.jpg", "-overlay.png")
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

    def test_overlays_can_be_left_out(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides / "none.png", "-m", model, "-o", "out", "--no-overlay")
        assert sorted(os.listdir("out")) == ["cells.csv", "counts.csv", "none-labels.tif", "run.json"]

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

    def test_patterns_are_expanded_by_us_where_the_shell_does_not(self, slides: Path, model: Path) -> None:
        wbcseg("segment", f"{slides}/*/a.p*g", "-m", model, "-o", "out")
        assert list(pd.read_csv("out/counts.csv")["count"]) == [1, 2]

    def test_results_in_the_folder_of_the_images_are_not_taken_for_images(
        self, slides: Path, model: Path
    ) -> None:
        for _ in range(2):
            wbcseg("segment", slides / "two", "-m", model, "-o", slides / "two", "--mask")
            assert list(pd.read_csv(slides / "two" / "counts.csv")["image"]) == ["a.png"]

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

    def test_settings_come_from_a_file_and_options_go_before_it(self, slides: Path, model: Path) -> None:
        Path("settings.json").write_text(
            SegmentationSettings(recipe="classic", min_area=2000, batch_size=3).to_json()
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
        wbcseg("segment", "--repeat", "a/run.json", "-o", "b")
        assert sorted(os.listdir("a")) == sorted(os.listdir("b"))
        for name in sorted(os.listdir("a")):
            first, second = Path("a", name), Path("b", name)
            if name.endswith((".tif", ".jpg")) or name == "cells.csv":
                assert first.read_bytes() == second.read_bytes(), name
        a, b = RunRecord.read("a/run.json"), RunRecord.read("b/run.json")
        assert (a.settings, a.model, a.mask, a.overlay) == (b.settings, b.model, b.mask, b.overlay)
        assert [entry.sha256 for entry in a.inputs] == [entry.sha256 for entry in b.inputs]

    def test_images_that_moved_with_their_results_are_found(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides / "two", "-m", model, "-o", slides / "out")
        moved = shutil.move(slides, "elsewhere")
        wbcseg("segment", "--repeat", Path(moved) / "out" / "run.json", "-o", "b")
        assert list(pd.read_csv("b/counts.csv")["count"]) == [2]

    def test_a_changed_image_is_refused(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides, "-r", "-m", model, "-o", "a")
        Image.fromarray(spots(centres=())[0]).save(slides / "two" / "a.png")
        result = wbcseg("segment", "--repeat", "a/run.json", "-o", "b", status=1)
        assert "SHA-256 differs" in result.stderr
        assert "1 of 3 inputs failed" in result.stderr

    def test_a_changed_model_is_refused_and_a_moved_one_found(self, slides: Path, model: Path) -> None:
        wbcseg("segment", slides, "-r", "-m", model, "-o", "a")
        library = Path("library")
        library.mkdir()
        shutil.move(model, library / "moved.safetensors")
        wbcseg("segment", "--repeat", "a/run.json", "-o", "b")
        (library / "moved.safetensors").unlink()
        write_dark_model(model, "another")
        result = wbcseg("segment", "--repeat", "a/run.json", "-o", "c", status=1)
        assert "cannot be repeated: its model dark@" in result.stderr


class TestEvaluate:
    def test_scores_are_printed_and_written(self, pairs: Path, model: Path) -> None:
        result = wbcseg("evaluate", model, pairs, "--csv", "scores.csv")
        text = " ".join(result.stdout.split())
        assert "images 3" in text
        assert "white cells: true, found 5, 5" in text
        for measure in ("Dice, mean of images", "soft Dice, all pixels", "IoU, mean of images"):
            assert re.search(rf"{measure} (0\.9\d{{3}}|1\.0000)", text), measure
        assert "average precision at IoU 0.5 1.0000" in text
        assert "count error, mean 0.000" in text
        rows = pd.read_csv("scores.csv")
        assert list(rows["image"].astype(str)) == ["0", "1", "2"]
        assert (rows["average_precision"] == 1).all()

    def test_a_fold_of_a_set_without_folds_is_refused(self, pairs: Path, model: Path) -> None:
        result = wbcseg("evaluate", model, pairs, "--fold", 2, status=1)
        assert "no fold" in result.stderr

    @pytest.mark.skipif(DATA is None, reason="needs the real images, in WBCSEG_DATA")
    def test_one_fold_of_sigtuple_is_taken_in_tiles(self, model: Path) -> None:
        assert DATA is not None
        result = wbcseg("evaluate", model, Path(DATA, "sigtuple"), "--fold", 4)
        assert re.search(r"images\s+3[0-9]\b", result.stdout)


class TestModels:
    def test_the_list_tells_name_recipe_and_origin(self, model: Path) -> None:
        imported = wbcseg("models", "import", model, "--name", "my dark")
        assert imported.stdout.startswith("Model my-dark: ")
        result = wbcseg("models")
        row = next(line for line in result.stdout.splitlines() if "my-dark" in line)
        assert "classic" in row
        assert "yours" in row
        assert "training dice 0.500" in row

    def test_a_spoilt_file_is_listed_with_its_problem(self) -> None:
        Path("library").mkdir()
        Path("library/bad.safetensors").write_bytes(b"nothing")
        assert "bad" in wbcseg("models").stdout

    def test_a_model_tells_about_itself(self, model: Path) -> None:
        text = " ".join(wbcseg("models", "show", model).stdout.split())
        assert "name dark" in text
        assert "trained on nothing" in text
        assert "U-Net 2-2" in text

    def test_what_is_no_model_is_not_imported(self) -> None:
        Path("bad.safetensors").write_bytes(b"nothing")
        result = wbcseg("models", "import", "bad.safetensors", status=1)
        assert "bad.safetensors" in result.stderr
        assert not os.path.exists("library/bad.safetensors")


class TestProcess:
    """The command as a user runs it: a process of its own."""

    def test_one_real_run(self, slides: Path, model: Path, tmp_path: Path) -> None:
        (slides / "text.png").write_text("This is no picture.")
        result = subprocess.run(
            [sys.executable, "-m", "napari_wbcseg.cli", "segment", slides, "-r", "-m", model, "-o", "out"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=120,
        )
        assert result.returncode == 1, result.stderr
        lines = result.stderr.splitlines()
        assert len(lines) == 2, "no bar where there is no terminal"
        assert "text.png" in lines[0]
        assert lines[1].startswith("1 of 4 inputs failed")
        assert "3 images" in result.stdout
        assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"] is True

    def test_ctrl_c_ends_the_run_and_keeps_what_is_done(self, model: Path, tmp_path: Path) -> None:
        many = tmp_path / "many"
        many.mkdir()
        for number in range(60):
            Image.fromarray(spots((700, 700))[0]).save(many / f"{number}.png")
        process = subprocess.Popen(
            [sys.executable, "-m", "napari_wbcseg.cli", "segment", many, "-m", model, "-o", "out"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(),
        )
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out/*-overlay.png")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "Stopped." in errors
        assert "Traceback" not in errors
        done = pd.read_csv(tmp_path / "out" / "counts.csv")
        assert 1 <= len(done) < 60
        assert RunRecord.read(tmp_path / "out" / "run.json").finished is False


class TestTrain:
    @pytest.fixture
    def tiny(self, model: Path) -> Path:
        """Return a small network to start from: the published one takes a minute an epoch."""
        return model

    @pytest.mark.slow
    def test_training_tells_the_device_follows_the_epochs_and_writes_the_model(
        self, pairs: Path, tiny: Path, tmp_path: Path
    ) -> None:
        result = wbcseg("train", pairs, "--start", tiny, "--epochs", 2, "--out", "new/mine.safetensors")
        assert re.search(r"Device: (CPU|GPU)", result.stderr)
        assert re.search(r"epoch\s+1 of 2\s+loss 0\.\d{4}\s+dice 0\.\d{4}", result.stderr)
        assert "Trained for 2 epochs" in result.stdout
        shown = " ".join(wbcseg("models", "show", "new/mine.safetensors").stdout.split())
        assert "name mine" in shown
        assert "3 images from pairs" in shown
        assert (tmp_path / "new" / "mine-training" / "history.csv").is_file()

    @pytest.mark.slow
    def test_a_name_puts_the_model_into_the_library(self, pairs: Path, tiny: Path) -> None:
        wbcseg("train", pairs, "--start", tiny, "--epochs", 1, "--name", "mine")
        assert "mine" in wbcseg("models").stdout
        wbcseg("segment", pairs / "0.png", "-m", "mine", "-o", "out")

    @pytest.mark.slow
    def test_ctrl_c_keeps_the_best_and_resume_goes_on(self, pairs: Path, tiny: Path, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "napari_wbcseg.cli", "train", str(pairs), "--start", str(tiny)]
        command += ["--out", "new/mine.safetensors", "--early-stop-patience", "100000", "--epochs"]
        process = subprocess.Popen(
            [*command, "10000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(),
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch   3"):
                break
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "stopped by the user" in output
        assert "--resume" in output
        assert (tmp_path / "new" / "mine.safetensors").is_file()
        done = len((tmp_path / "new" / "mine-training" / "history.csv").read_text().splitlines()) - 1
        result = wbcseg(*command[3:], done + 2, "--resume")
        assert f"resumed after epoch {done}" in result.stderr
        assert f"Trained for {done + 2} epochs" in result.stdout

    def test_data_that_cannot_be_used_is_a_sentence(self, tmp_path: Path) -> None:
        result = wbcseg("train", tmp_path / "nowhere", "--name", "mine", status=1)
        assert result.stderr.startswith("There is no folder or archive")
        assert result.stderr.count("\n") == 1


class TestDownload:
    def test_a_name_the_set_does_not_have_is_a_sentence(self, tmp_path: Path) -> None:
        result = wbcseg("download", "nonesuch", "--out", tmp_path / "set", status=1)
        assert result.stderr == "The SigTuple set has no file or image named 'nonesuch'.\n"

    @pytest.mark.skipif(DATA is None, reason="needs the real images, in WBCSEG_DATA")
    def test_files_that_are_there_are_checked_and_kept(self, tmp_path: Path) -> None:
        assert DATA is not None
        for name in ("train-0.jpg", "train-0-mask.jpg"):
            (tmp_path / "set" / "Train_Data").mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(DATA, "sigtuple", "Train_Data", name), tmp_path / "set" / "Train_Data")
        assert f"{tmp_path / 'set'}" in wbcseg("download", "train-0", "--out", tmp_path / "set").stdout


class TestDemo:
    def test_it_ends_with_a_table_a_count_and_a_picture(self, model: Path, tmp_path: Path) -> None:
        result = wbcseg("demo", "--model", model, "--out", "pictures", "--seed", 1)
        found = re.search(r"Found (\d+) white cells?", result.stdout)
        assert found is not None
        assert re.search(r"Truth: \d+\.", result.stdout)
        assert "diameter" in result.stdout
        picture = re.search(r"Picture: (.*)", result.stdout)
        assert picture is not None
        with Image.open(picture[1]) as overlay:
            assert overlay.size == (1024, 768)
        assert tifffile.imread(tmp_path / "pictures" / "smear-labels.tif").max() == int(found[1])
