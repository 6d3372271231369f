"""The classes of cells that are outlined already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..box import label_boxes
from ..network.classifier import BUILT_IN, ClassifierFile, read_classifier
from ..progress import Progress, silent
from .classes import BUILT_IN as BUILT_IN_CLASSES
from .classes import ClassList
from .crops import PARAMETERS, alone, cut_out
from .naming import said_by_model

if TYPE_CHECKING:
    import pandas as pd

    from ..settings import SegmentationSettings

_OFTEN = 64  # cells that are looked at between two reports of progress


def classifier_of(settings: SegmentationSettings) -> ClassifierFile | None:
    """Return what settings ask to tell the classes; None where they ask for none.

    Raises
    ------
    ModelError
        If it cannot be used.
    """
    return None if settings.classes is None else read_classifier(settings.classes)


def class_list(classifier: ClassifierFile | None) -> ClassList:
    """Return names and colours of the classes that a classifier tells; the built-in ones without one."""
    if classifier is None:
        return BUILT_IN_CLASSES
    header = classifier.header
    known = ClassList.from_list(header.class_list) if header.class_list else BUILT_IN_CLASSES
    return known.covering(header.architecture.classes)


def look_at(
    image: np.ndarray,
    corners: np.ndarray,
    masks: Sequence[np.ndarray],
    diameter: float | None,
    classifier: ClassifierFile,
    progress: Progress = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """Look at cells of an image.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        Transmittance.
    corners : ndarray of int, shape (n, 2)
        Row and column of each cell's box.
    masks : sequence of ndarray of bool
        Each cell within its box.
    diameter : float or None
        Of a typical white cell, pixels; by default the median of these cells, by area.
    classifier : ClassifierFile
    progress : Progress

    Returns
    -------
    probabilities : ndarray of float32, shape (n, classes)
    embedding : ndarray of float32, shape (n, embedding)
    """
    if diameter is None and len(masks):
        diameter = float(np.median([2 * np.sqrt(mask.sum() / np.pi) for mask in masks]))
    side = classifier.header.architecture.side
    # Its own canonical diameter, where that is not the package's.
    wanted = (diameter or 1.0) * PARAMETERS.diameter / classifier.header.diameter
    found = [classifier.predict(np.zeros((0, side, side, 3), np.float32))]
    for start in range(0, len(masks), _OFTEN):
        progress(start, len(masks), "Looking at cells")
        cells = zip(corners[start : start + _OFTEN].tolist(), masks[start : start + _OFTEN], strict=True)
        views = [alone(*cut_out(image, mask, corner, wanted, side)) for corner, mask in cells]
        found.append(classifier.predict(np.stack(views)))
    probabilities, embedding = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return probabilities, embedding


def look_at_labels(
    labels: np.ndarray,
    cells: pd.DataFrame,
    image: Any,
    diameter: float | None = None,
    classifier: str | Path | ClassifierFile = BUILT_IN,
    progress: Progress = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """Look at the cells of a label image, in the order of its table.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W) or (N, H, W)
    cells : DataFrame
        With a ``label``; for a stack also ``plane``.
    image : array, shape (H, W), (H, W, 3), or a stack of these
    diameter : float, optional
        Of a typical white cell, pixels.
    classifier : str, Path or ClassifierFile
    progress : Progress

    Returns
    -------
    probabilities : ndarray of float32, shape (n, classes)
        NaN where a label has no pixel.
    embedding : ndarray of float32, shape (n, embedding)

    Raises
    ------
    ModelError
        If the classifier cannot be used.
    ImageError
        If the image cannot.
    """
    from ..images.illumination import normalised
    from ..images.prepare import prepare_image

    file = read_classifier(classifier)
    architecture = file.header.architecture
    probabilities = np.full((len(cells), len(architecture.classes)), np.nan, np.float32)
    embedding = np.full((len(cells), architecture.embedding), np.nan, np.float32)
    stacked = labels.ndim == 3
    for number, plane in enumerate(labels if stacked else labels[None]):
        plane = np.asarray(plane)
        wanted = cells["label"].to_numpy(np.int64)
        here = np.flatnonzero(cells["plane"].to_numpy() == number if stacked else np.full(len(cells), True))
        places = dict(label_boxes(plane))
        rows = [row for row in here.tolist() if int(wanted[row]) in places]
        if not rows:
            continue
        boxes = [places[int(wanted[row])] for row in rows]
        masks = [plane[box.slices] == wanted[row] for row, box in zip(rows, boxes, strict=True)]
        corners = np.array([[box.top, box.left] for box in boxes])
        picture = normalised(prepare_image(np.asarray(image[number] if stacked else image)).pixels)
        probabilities[rows], embedding[rows] = look_at(picture, corners, masks, diameter, file, progress)
    return probabilities, embedding


def classify_cells(
    labels: np.ndarray,
    cells: pd.DataFrame,
    image: Any,
    diameter: float | None = None,
    classifier: str | Path | ClassifierFile = BUILT_IN,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return the table with the class of each cell; see `look_at_labels` for the parameters.

    Those that a person named keep their class.
    """
    import pandas as pd

    file = read_classifier(classifier)
    probabilities, _ = look_at_labels(labels, cells, image, diameter, file, progress)
    names = list(file.header.architecture.classes)
    return said_by_model(cells, pd.DataFrame(probabilities, columns=names), class_list(file))
