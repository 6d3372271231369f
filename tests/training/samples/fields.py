"""Fields of discs, whose truth is exact."""

from __future__ import annotations

import numpy as np

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.training.samples.sources import Source, make_source


def discs(shape: tuple[int, int], *where: tuple[float, float, float]) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number, (row, col, diameter) in enumerate(where, 1):
        labels[(rows - row) ** 2 + (cols - col) ** 2 <= diameter**2 / 4] = number
    return labels


def pair(labels: np.ndarray, name: str = "field") -> TrainingPair:
    """Return a pair whose cells are dark and blue on a slide that is bright."""
    image = np.where(labels[..., None] > 0, (90, 60, 140), (240, 230, 235)).astype(np.uint8)
    return TrainingPair(name, image, labels, "mine")


def source(*where: tuple[float, float, float], family: str = "mine") -> Source:
    return make_source(pair(discs((200, 240), *where)), family, smooth=False)
