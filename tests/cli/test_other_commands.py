"""`wbcseg evaluate`, `models`, `download` and `demo`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_wbcseg import load_result, save

from .shell import environment, wbcseg

DATA = os.environ.get("WBCSEG_DATA")


class TestEvaluate:
    def test_a_table_is_written_over_no_picture(self, model: Path, pairs: Path) -> None:
        before = (pairs / "0.png").read_bytes()
        for command in (("evaluate", model, pairs), ("differential", pairs)):
            assert "must end in .csv" in wbcseg(*command, "--csv", pairs / "0.png", status=2).stderr
        assert (pairs / "0.png").read_bytes() == before

    def test_scores_are_printed_and_written(self, pairs: Path, model: Path) -> None:
        result = wbcseg("evaluate", model, pairs, "--csv", "scores.csv")
        text = " ".join(result.stdout.split())
        assert "images 3" in text
        assert "cells: true, found 5, 5" in text
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
    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
    @pytest.mark.parametrize("asked", ["models", "--help", "--version"])
    def test_what_cannot_be_printed_is_a_sentence(self, asked: str) -> None:
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "napari_wbcseg", asked]
            result = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment()
            )
        assert result.returncode == 1
        assert "No space left on device" in result.stderr
        assert "Traceback" not in result.stderr

    def test_the_list_tells_name_origin_recipe_and_what_it_is_for(self, model: Path) -> None:
        imported = wbcseg("models", "import", model, "--name", "my dark")
        assert imported.stdout.startswith("Model my-dark: ")
        result = wbcseg("models")
        row = next(line for line in result.stdout.splitlines() if "my-dark" in line)
        assert "classic" in row
        assert "imported from dark.safetensors" in row
        assert "pictures like those of the SigTuple set" in row
        assert "0.500" not in row, "a Dice of the training does not tell which is better"

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
            assert overlay.width == 1024
            assert overlay.height > 768, "the legend of the classes stands below"
        assert tifffile.imread(tmp_path / "pictures" / "smear-labels.tif").max() == int(found[1])

    def test_what_else_was_saved_of_it_follows(self, model: Path, tmp_path: Path) -> None:
        pictures = tmp_path / "pictures"
        wbcseg("demo", "--model", model, "--out", pictures, "--seed", 1)
        save(load_result(pictures / "smear-result.json"), pictures / "smear", "csv")
        found = re.search(r"Found (\d+)", wbcseg("demo", "-m", model, "-o", pictures, "--seed", 2).stdout)
        assert found is not None
        assert len(pd.read_csv(pictures / "smear-cells.csv")) == int(found[1])

    def test_corrections_of_what_it_found_are_not_written_over(self, model: Path) -> None:
        for seed in (1, 2):  # what no one corrected is its own
            wbcseg("demo", "--model", model, "--out", "pictures", "--seed", seed)
        labels = Path("pictures/smear-labels.tif")
        tifffile.imwrite(labels, np.zeros_like(tifffile.imread(labels)))
        assert "was corrected by a person" in wbcseg("demo", "-m", model, "-o", "pictures", status=1).stderr
        assert not tifffile.imread(labels).any()


def test_a_demo_draws_over_no_picture_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "smear.png").write_bytes(b"mine")
    assert "no demo drew it" in wbcseg("demo", "-o", tmp_path, status=1).stderr
    assert (tmp_path / "smear.png").read_bytes() == b"mine"


def test_a_model_goes_out_comes_in_and_is_removed(model: Path, tmp_path: Path) -> None:
    wbcseg("models", "export", model, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size > 1000
    assert "must be one of" in wbcseg("models", "export", model, "out.pt", status=1).output
    wbcseg("models", "export", model, tmp_path / "out.safetensors")
    (tmp_path / "hours.safetensors").write_bytes(b"mine")
    assert "is there already" in wbcseg("models", "export", model, "hours.safetensors", status=1).stderr
    assert (tmp_path / "hours.safetensors").read_bytes() == b"mine"
    wbcseg("models", "import", tmp_path / "out.safetensors", "--name", "back")
    assert "imported from out.safetensors" in wbcseg("models").stdout
    wbcseg("models", "remove", "back", "--yes")
    assert "back" not in wbcseg("models").stdout
    assert "none of your own" in wbcseg("models", "remove", "wbc", "--yes", status=1).output


def test_what_the_system_refuses_is_a_sentence() -> None:
    name = "x" * 300
    said = wbcseg("models", "show", name, status=1)
    assert said.stderr == f"{name} cannot be used (File name too long). Check the name and who may use it.\n"
    assert isinstance(wbcseg("models", "show", name, "--debug", status=1).exception, OSError)
