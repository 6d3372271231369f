"""Tiles so small that a small image has many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.tiles import TileParameters

from ..drawings import write_dark_robust_model


@pytest.fixture(scope="module")
def small_tiles() -> Iterator[TileParameters]:
    """Lay images out in tiles of 128 canonical pixels: of 64 of the image, where cells are 24 across."""
    parameters = TileParameters(core=128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_wbcseg.segmentation.tiles.PARAMETERS", parameters)
        yield parameters


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """Return a network that takes the dark for cells, disturbed so that it looks around as a trained one."""
    path = tmp_path_factory.mktemp("model") / "disturbed.safetensors"
    plain = write_dark_robust_model(path)
    rng = np.random.default_rng(0)
    return ModelFile.write(
        path,
        plain.header,
        {name: value + rng.normal(0, 0.02, value.shape) for name, value in plain.weights.items()},
    )
