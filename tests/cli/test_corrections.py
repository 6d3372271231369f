from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wbcseg import Segmentation, save
from napari_wbcseg.datasets.corrections import read_record

from .shell import wbcseg


@pytest.fixture(autouse=True)
def own_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "set"))
    return tmp_path / "set"


def test_a_field_is_added_listed_and_taken_out(tmp_path: Path, own_set: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:20, 10:20] = mask[40:50, 50:60] = 255
    Image.fromarray(np.full((60, 80, 3), 200, np.uint8)).save(tmp_path / "smear.png")
    Image.fromarray(mask).save(tmp_path / "cells.png")
    files = tmp_path / "smear.png", tmp_path / "cells.png"
    said = wbcseg("corrections", "add", *files, "--by", "ann", "--pixel-size", 0.1).stdout
    assert said == "Field smear: 2 cells.\n"
    said = wbcseg("corrections").stdout
    assert "ann" in said
    assert f"2 cells in 1 field: {own_set}" in said.replace("\n", "")
    said = wbcseg("corrections", "add", *files, "--pixel-size", "inf", status=2).stderr
    assert "--pixel-size" in said
    assert "2 cells in 1 field" in wbcseg("corrections").stdout, "the training set can be read"
    wbcseg("corrections", "remove", "smear")
    assert "0 cells in 0 fields" in wbcseg("corrections").stdout


def test_the_scale_is_that_of_the_picture_or_what_is_given(own_set: Path) -> None:
    tifffile.imwrite(
        "smear.tif",
        np.full((60, 80, 3), 200, np.uint8),
        resolution=(40_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    Image.fromarray(np.eye(60, 80, dtype=np.uint8) * 255).save("cells.png")
    for given, scale in {(): (0.5, 0.25), ("--pixel-size", 0.1): (0.1, 0.1)}.items():
        wbcseg("corrections", "add", "smear.tif", "cells.png", *given)
        assert read_record()[0].scale == pytest.approx(scale)
        assert read_record()[0].unit == "µm"


def test_what_cannot_be_done_is_a_sentence(own_set: Path) -> None:
    assert "no field 'nothing'" in wbcseg("corrections", "remove", "nothing", status=1).stderr
    Image.fromarray(np.full((60, 80, 3), 200, np.uint8)).save("smear.png")
    assert "no file gone.tif" in wbcseg("corrections", "add", "smear.png", "gone.tif", status=1).stderr
    own_set.mkdir()
    (own_set / "corrections.json").write_text("{")
    for command in (["corrections"], ["finetune", "--discard"]):
        assert "damaged" in wbcseg(*command, status=1).stderr


def test_notes_of_an_image_name_no_line_of_code(own_set: Path) -> None:
    mask = np.zeros((60, 80, 4), np.uint8)
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(mask[..., :3]).save("smear.png")
    said = wbcseg("corrections", "add", "smear.png", "mask.png")
    assert said.stderr == "The alpha channel of mask.png was dropped.\n"


def test_labels_of_a_result_are_numbers_and_say_their_model_and_their_picture(own_set: Path) -> None:
    labels = np.zeros((60, 80), np.uint16)
    labels[10:20, 10:20] = labels[40:50, 50:60] = 1  # one cell, in pieces
    for name, grey in {"smear": 200, "other": 199}.items():
        Image.fromarray(np.full((60, 80, 3), grey, np.uint8)).save(f"{name}.png")
    save(Segmentation(labels, None, model="wbc@1234"), "smear", "tiff", image_path="smear.png")
    said = wbcseg("corrections", "add", "smear.png", "smear-labels.tif").stdout
    assert said == "Field smear: 1 cell.\n"
    assert read_record()[0].model == "wbc@1234"
    said = wbcseg("corrections", "add", "other.png", "smear-labels.tif").stdout
    assert "made for smear, of which other.png is no copy" in said


def test_a_folder_named_before_the_command_is_that_of_the_command(tmp_path: Path, own_set: Path) -> None:
    Image.fromarray(np.full((60, 80, 3), 200, np.uint8)).save(tmp_path / "smear.png")
    Image.fromarray(np.eye(60, 80, dtype=np.uint8) * 255).save(tmp_path / "cells.png")
    other = "--folder", tmp_path / "other"
    wbcseg("corrections", *other, "add", tmp_path / "smear.png", tmp_path / "cells.png")
    assert not own_set.exists()
    assert "in 1 field" in wbcseg("corrections", *other).stdout
    wbcseg("corrections", *other, "remove", "smear")
    assert "in 0 fields" in wbcseg("corrections", *other).stdout
