"""The model of all tests of runs: what is dark is a cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_wbcseg.network.model_file import ModelFile

from ..dark_model import write_dark_model


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    return write_dark_model(tmp_path / "dark.safetensors")
