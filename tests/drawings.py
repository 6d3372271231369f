"""Images, and the maps a perfect network would make of them, drawn for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from napari_wbcseg.images.illumination import absorbed, background_colour
from napari_wbcseg.network.architecture import Output, UNetArchitecture
from napari_wbcseg.network.model_file import ModelFile, ModelHeader
from napari_wbcseg.segmentation.measure import measure_labels
from napari_wbcseg.segmentation.prediction import Maps

HEADS = (
    Output("cell", 1, "sigmoid"),
    Output("centre", 1, "sigmoid"),
    Output("offset", 2, "linear"),
    Output("size", 1, "linear"),
)


def write_dark_robust_model(path: Path, canonical_diameter: float = 48.0) -> ModelFile:
    """Write a robust network, weights set by hand, for which whatever absorbs light is a cell.

    It says 0.5 where half of the light passes. Darkness goes through the centre of each
    kernel and over the skip connection; every pixel takes itself for the centre of a cell
    of canonical size.
    """
    architecture = UNetArchitecture(input_channels=3, widths=(2, 2), dropout=0.0, outputs=HEADS)
    weights = {key: np.zeros(shape, np.float32) for key, shape in architecture.tensor_shapes().items()}
    weights["down0_conv0/kernel"][1, 1, :, 0] = 1 / 3
    weights["down0_conv1/kernel"][1, 1, 0, 0] = 1
    weights["up0_conv0/kernel"][1, 1, 2, 0] = 1  # behind the two features from below
    weights["up0_conv1/kernel"][1, 1, 0, 0] = 1
    for head in ("cell", "centre"):
        weights[f"head_{head}/kernel"][0, 0, 0, 0] = 8
        weights[f"head_{head}/bias"][0] = -8
    header = ModelHeader(
        name="dark-robust",
        recipe="robust",
        architecture=architecture,
        canonical_diameter=canonical_diameter,
        training_data="nothing",
    )
    return ModelFile.write(path, header, weights)


def disc_labels(shape: tuple[int, int], discs: list[tuple[float, float, float]]) -> np.ndarray:
    """Label discs ``(row, col, diameter)`` 1, 2, ...; where they overlap the first one stays."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number, (row, col, diameter) in enumerate(discs, 1):
        inside = (rows - row) ** 2 + (cols - col) ** 2 <= diameter**2 / 4
        labels[inside & (labels == 0)] = number
    return labels


def picture(labels: np.ndarray, dark: int = 60, bright: int = 230) -> np.ndarray:
    """Return an RGB image, uint8, with dark cells on a bright slide."""
    return np.where(labels[..., None] > 0, np.uint8(dark), np.uint8(bright)).repeat(3, axis=2)


def perfect_maps(
    labels: np.ndarray,
    canonical: float = 48.0,
    groups: dict[int, int] | None = None,
    red: np.ndarray | None = None,
) -> Maps:
    """Return what a perfect network says of a label image.

    Parameters
    ----------
    labels : ndarray of int, shape (h, w)
    canonical : float
        Diameter that background pixels tell.
    groups : dict, optional
        Labels that are parts of one cell (lobes), by the number of that cell.
    red : ndarray of int, shape (h, w), optional
        Labels of red cells.
    """
    whole = np.vectorize(lambda i: (groups or {}).get(i, i))(labels) if groups else labels
    rows, cols = np.mgrid[: labels.shape[0], : labels.shape[1]].astype(float)
    cell = np.where(labels > 0, 0.98, 0.01).astype(np.float32)
    centre = np.zeros(labels.shape, np.float32)
    offset = np.zeros((*labels.shape, 2), np.float32)
    diameter = np.full(labels.shape, canonical, np.float32)
    for index in np.unique(whole[whole > 0]):
        mask = whole == index
        row, col = rows[mask].mean(), cols[mask].mean()
        across = 2 * np.sqrt(mask.sum() / np.pi)
        squared = (rows - row) ** 2 + (cols - col) ** 2
        centre = np.maximum(centre, np.exp(-squared / (2 * (0.1 * across) ** 2))).astype(np.float32)
        offset[mask] = np.stack([row - rows[mask], col - cols[mask]], axis=1)
        diameter[mask] = across
    red = np.zeros(labels.shape, int) if red is None else red
    for index in np.unique(red[red > 0]):
        diameter[red == index] = 2 * np.sqrt((red == index).sum() / np.pi)
    return Maps(cell, centre, offset, diameter, (red > 0).astype(np.float32))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Dice coefficient of two masks."""
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def worst_dice(truth: np.ndarray, labels: np.ndarray) -> float:
    """Return the Dice of the worst cell, each against what lies most on it."""
    worst = 1.0
    for index in np.unique(truth[truth > 0]):
        mask = truth == index
        over = labels[mask & (labels > 0)]
        if not over.size:
            return 0.0
        worst = min(worst, dice(mask, labels == np.bincount(over).argmax()))
    return worst


def two_discs() -> np.ndarray:
    """Return labels of two discs 60 pixels across, the second at the corner."""
    rows, columns = np.mgrid[:200, :300]
    image = np.zeros((200, 300), dtype=np.int32)
    image[(rows - 100) ** 2 + (columns - 150) ** 2 < 900] = 1
    image[rows**2 + columns**2 < 900] = 2
    return image


def measure_cells(
    labels: np.ndarray,
    pixels: np.ndarray,
    certainty: dict[int, float] | None = None,
    check_below: float = 0.0,
) -> pd.DataFrame:
    """Measure each cell of a label image on the pixels of a picture, RGB from 0 to 255."""
    density = np.where(labels != 0, absorbed(pixels, background_colour(pixels)), np.float32(0))
    table, _ = measure_labels(labels, density)
    sure = [(certainty or {}).get(number, 1.0) for number in table["label"].tolist()]
    return table.assign(certainty=np.array(sure, float), check=np.array(sure, float) < check_below)
