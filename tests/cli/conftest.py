"""A folder, a library of models and a few files of each test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ..dark_model import spots, write_dark_model


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder, and with a library of models, of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path / "library"))
    monkeypatch.setenv("COLUMNS", "200")


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
