"""`wbcseg segment` of what is too large to be read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from napari_wbcseg.cli import app

from ..segmentation.drawings import disc_labels, picture, write_dark_robust_model

OPTIONS = ["--cell-diameter", "20", "--no-split-touching"]


@pytest.fixture
def slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    monkeypatch.setattr("napari_wbcseg.data.large_images.LARGE_PIXELS", 20_000)
    truth = disc_labels((200, 260), [(50, 60, 20), (140, 199, 21)])
    tifffile.imwrite(tmp_path / "big.tif", picture(truth), tile=(64, 64), photometric="rgb")
    return tmp_path / "big.tif", truth


def test_a_large_tiff_is_segmented_in_blocks(slide: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    import zarr

    path, truth = slide
    write_dark_robust_model(tmp_path / "dark.safetensors")
    small = tmp_path / "small.png"
    from PIL import Image

    Image.fromarray(picture(truth)[:100, :120]).save(small)
    command = ["segment", str(path), str(small), "-o", str(tmp_path / "out"), *OPTIONS]
    command += ["-m", str(tmp_path / "dark.safetensors")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "big-cells"
    assert len(pd.read_csv(folder / "cells.csv")) == 2
    assert np.array_equal(np.asarray(zarr.open(str(folder / "labels.zarr"), mode="r")["0"]), truth)
    assert (tmp_path / "out" / "small-labels.tif").exists(), "other images go the usual way"


def test_a_large_file_that_cannot_be_read_is_a_sentence(
    slide: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    whole, _ = slide
    broken = tmp_path / "broken.svs"
    broken.write_bytes(whole.read_bytes()[:200])
    result = CliRunner().invoke(app, ["segment", str(broken), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "broken.svs" in result.output
    assert "Traceback" not in result.output
