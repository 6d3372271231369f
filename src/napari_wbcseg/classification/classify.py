"""The classes of cells that are outlined already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..box import Box, label_boxes
from ..errors import ImageError
from ..images.illumination import normalised
from ..images.prepare import prepare_image
from ..network.classifier import BUILT_IN_CLASSIFIER, ClassifierFile, read_classifier
from ..progress import Progress, silent
from ..settings import SegmentationSettings
from ..sizes import equivalent_diameter
from .classes import BUILT_IN_CLASSES, ClassList
from .crops import PARAMETERS, alone, cut_out
from .naming import said_by_model

_OFTEN = 64  # cells that are looked at between two reports of progress
_PART = 2048  # pixels of labels on disk that are looked at together, along a side
# Diameters and pixels from the centre of a cell within which all of it lies, however long it is.
_REACH, _MARGIN = 1.0, 64

#: Gives the transmittance of a part of an image, of its pixels and its box.
Light = Callable[[np.ndarray, Box], np.ndarray]


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


def predict_cells(
    image: np.ndarray,
    corners: np.ndarray,
    masks: Sequence[np.ndarray],
    diameter: float | None,
    classifier: ClassifierFile,
    progress: Progress = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict the classes of cells of an image, and their embedding.

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
        diameter = float(np.median([equivalent_diameter(mask.sum()) for mask in masks]))
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


def predict_labels(
    labels: Any,
    cells: pd.DataFrame,
    image: Any,
    diameter: float | Sequence[float] | None = None,
    classifier: str | Path | ClassifierFile = BUILT_IN_CLASSIFIER,
    progress: Progress = silent,
    light: Light | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict the same of the cells of a label image, in the order of its table.

    Parameters
    ----------
    labels : array of int, shape (H, W) or (N, H, W)
        Where it is no NumPy array but on disk, no more is read of it and the image than the cells need.
    cells : DataFrame
        With a ``label``; for a stack also ``plane``; for labels on disk ``row``, ``col`` and ``diameter``.
    image : array, shape (H, W), (H, W, 3), or a stack of these
    diameter : float or sequence of float, optional
        Of a typical white cell, pixels, of each plane perhaps; where not known, that of the cells there.
    classifier : str, Path or ClassifierFile
    progress : Progress
    light : callable, optional
        Given the pixels of a part as they are stored, and its box, returns its transmittance, float32,
        (h, w, 3); by default the light is estimated of the part itself.

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
        If the image cannot, or is of another size.
    """
    if tuple(image.shape[: labels.ndim]) != tuple(labels.shape):
        raise ImageError(
            f"The image is {tuple(image.shape)} and its labels are {tuple(labels.shape)}: give the image "
            "that the labels lie on."
        )
    file = read_classifier(classifier)
    architecture = file.header.architecture
    probabilities = np.full((len(cells), len(architecture.classes)), np.nan, np.float32)
    embedding = np.full((len(cells), architecture.embedding), np.nan, np.float32)
    stacked, numbers, seen = labels.ndim == 3, cells["label"].astype(np.int64).tolist(), 0
    count = len(labels) if stacked else 1
    of_each = [*diameter, *[None] * count] if isinstance(diameter, Sequence) else [diameter] * count

    def within(done: int, total: int, stage: str) -> None:
        progress(seen + done, len(cells), stage)

    for number in range(count):
        plane, picture = (labels[number], image[number]) if stacked else (labels, image)
        here = cells["plane"].eq(number).to_numpy() if stacked else np.full(len(cells), True)
        for window, rows in parts_of(plane, cells, np.flatnonzero(here)):
            part = np.asarray(plane[window.slices])
            places = dict(label_boxes(part))
            rows = [row for row in rows if numbers[row] in places]
            if not rows:
                continue
            boxes = [places[numbers[row]] for row in rows]
            masks = [part[box.slices] == numbers[row] for row, box in zip(rows, boxes, strict=True)]
            corners = np.array(boxes)[:, :2]
            stored = np.asarray(picture[window.slices])
            pixels = light(stored, window) if light else normalised(prepare_image(stored))
            told = predict_cells(pixels, corners, masks, of_each[number], file, within)
            probabilities[rows], embedding[rows] = told
            seen += len(rows)
    return probabilities, embedding


def parts_of(plane: Any, cells: pd.DataFrame, rows: np.ndarray) -> Iterator[tuple[Box, list[int]]]:
    """Yield boxes of a plane with the rows of the cells in each; on disk, of those near each other."""
    if not len(rows):
        return
    if isinstance(plane, np.ndarray):
        yield Box(0, 0, *plane.shape), rows.tolist()
        return
    row, col, diameter = (cells[name].to_numpy(float)[rows] for name in ("row", "col", "diameter"))
    near = np.floor_divide([row, col], _PART).astype(int)
    for place in np.unique(near, axis=1).T:
        here = (near == place[:, None]).all(axis=0)
        reach = _REACH * diameter[here].max() + _MARGIN
        low, high = (function([row[here], col[here]], axis=1) for function in (np.min, np.max))
        corners = [*np.floor(low - reach), *np.ceil(high + reach)]
        yield Box(*map(int, corners)).within(plane.shape), rows[here].tolist()


def classify_cells(
    labels: Any,
    cells: pd.DataFrame,
    image: Any,
    diameter: float | Sequence[float] | None = None,
    classifier: str | Path | ClassifierFile = BUILT_IN_CLASSIFIER,
    progress: Progress = silent,
    light: Light | None = None,
) -> pd.DataFrame:
    """Return the table with the class of each cell; see `predict_labels` for the parameters.

    Those that a person named keep their class.
    """
    file = read_classifier(classifier)
    probabilities, _ = predict_labels(labels, cells, image, diameter, file, progress, light)
    names = list(file.header.architecture.classes)
    return said_by_model(cells, pd.DataFrame(probabilities, columns=names), class_list(file))
