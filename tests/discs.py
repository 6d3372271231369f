"""Pictures of violet discs, dark in the middle, and pink ones, pale there; a classifier that tells them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, CellClass
from napari_wbcseg.classification.classify import predict_labels
from napari_wbcseg.classification.learn import teach
from napari_wbcseg.network.classifier import ClassifierFile, read_classifier

VIOLET, PINK = (90, 40, 130), (200, 70, 90)
#: The classes of the classifier, in colours that no built-in class has; the pink ones are no white cells.
CLASSES = BUILT_IN_CLASSES.added(
    CellClass("violet", "#112233"), CellClass("pink", "#445566", white_cell=False)
)


def discs(colours: tuple[tuple[int, int, int], ...]) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return a picture of discs 50 pixels across in a row, their labels, and a table of these."""
    rows, cols = np.mgrid[:100, : 100 * len(colours)]
    squared = (rows - 50) ** 2 + (cols % 100 - 50) ** 2
    labels = np.where(squared <= 625, cols // 100 + 1, 0).astype(np.int32)
    image = np.array([(225, 225, 225), *colours], np.uint8)[labels]
    # The classifier sees each cell in one stain, so colour alone does not tell them.
    violet = np.isin(labels, [number for number, colour in enumerate(colours, 1) if colour == VIOLET])
    core = squared <= 150
    image[core & violet] //= 2
    image[core & ~violet & (labels > 0)] = (235, 200, 205)
    return image, labels, pd.DataFrame({"label": range(1, len(colours) + 1)})


def write_taught(path: Path, swapped: bool = False) -> ClassifierFile:
    """Write the built-in classifier, taught by three discs of each colour, or by the wrong names for them."""
    image, labels, cells = discs((VIOLET, PINK) * 3)
    _, embedding = predict_labels(labels, cells, image, 50.0)
    names = ["pink", "violet"] * 3 if swapped else ["violet", "pink"] * 3
    taught = teach(read_classifier(), embedding, names, CLASSES)
    return ClassifierFile.write(path, taught.header, taught.weights)
