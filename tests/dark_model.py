"""A real model file whose weights are set by hand: what is darker than mid-grey is a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_wbcseg.network.architecture import Output, UNetArchitecture
from napari_wbcseg.network.model_file import ModelFile, ModelHeader


def write_dark_model(path: Path, name: str = "dark") -> ModelFile:
    """Write a small classic network that gives 0.5 at grey 128 and about 1 on black.

    Darkness passes through the centre of each kernel and over the skip connection; the
    lower level has weights of zero.
    """
    architecture = UNetArchitecture(
        input_channels=1, widths=(2, 2), dropout=0.0, outputs=(Output("cell", 1, "sigmoid"),)
    )
    weights = {key: np.zeros(shape, np.float32) for key, shape in architecture.tensor_shapes().items()}
    weights["down0_conv0/kernel"][1, 1, 0, 0] = -1
    weights["down0_conv0/bias"][0] = 1
    weights["down0_conv1/kernel"][1, 1, 0, 0] = 1
    weights["up0_conv0/kernel"][1, 1, 2, 0] = 1  # behind the two features from below
    weights["up0_conv1/kernel"][1, 1, 0, 0] = 1
    weights["head_cell/kernel"][0, 0, 0, 0] = 40
    weights["head_cell/bias"][0] = -20
    header = ModelHeader(
        name=name,
        recipe="classic",
        architecture=architecture,
        training_data="nothing",
        scores={"training_dice": 0.5},
    )
    return ModelFile.write(path, header, weights)


def spots(
    shape: tuple[int, int] = (300, 400), centres: tuple[tuple[int, int], ...] = ((80, 90), (200, 300))
) -> tuple[np.ndarray, np.ndarray]:
    """Return a bright RGB image with a dark disc of radius 20 at each centre, and its labels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number, (row, column) in enumerate(centres, start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= 400] = number
    image = np.where(labels[..., None] > 0, np.uint8(70), np.uint8(225)).repeat(3, axis=2)
    return image, labels
