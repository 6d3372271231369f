"""What there is to train on: layers with the cells drawn, and the user's own training set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from ...datasets.corrections import read_record
from ...datasets.pair import TrainingPair
from ...errors import DatasetError
from ...images.prepare import as_rgb8, bit_range
from ...progress import Progress
from ...words import counted
from .layer_check import check_layer
from .viewer import image_data, plane_shape


@dataclass(frozen=True)
class PairSource:
    """The arrays of an image layer and a labels layer, and how to tell the planes apart.

    Attributes
    ----------
    image, labels : array
        As in the layers; (H, W[, 3]) with (H, W), or (N, H, W[, 3]) with (N, H, W).
    name : str
        Name of the image layer.
    planes, groups : list of str
        Name and group of each plane, where the layer's metadata tell them.
    """

    image: Any
    labels: Any
    name: str
    planes: list[str]
    groups: list[str]


def pair_source(image: Image, labels: Labels) -> PairSource:
    """Take from two layers what training needs, so that they may be changed meanwhile."""
    metadata = image.metadata
    return PairSource(
        image_data(image),
        # Labels are painted in place: a copy is what was there when training began.
        np.array(image_data(labels)),
        image.name,
        list(metadata.get("tiles", [])),
        list(metadata.get("groups", [])),
    )


def check_pair(image: Image | None, labels: Labels | None) -> str:
    """Return why the two layers cannot be trained on, or nothing."""
    check = check_layer(image)
    if image is None or not check.usable:
        return check.words
    if labels is None:
        return "Add a labels layer with the cells drawn in it: segment the image and correct the result."
    planes, drawn = plane_shape(image), plane_shape(labels)
    if planes != drawn:
        return (
            f"{labels.name} has shape {drawn} and {image.name} {planes}. "
            "Choose the labels that belong to this image."
        )
    return ""


def make_pairs(source: PairSource, progress: Progress) -> list[TrainingPair]:
    """Return a pair for each plane that has a cell drawn in it.

    Raises
    ------
    DatasetError
        If no cell is drawn.
    ImageError
        If the image cannot be used.
    """
    stack = source.labels.ndim == 3
    images = source.image if stack else [source.image]
    labels = source.labels if stack else [source.labels]
    value_range = bit_range(source.image)
    pairs = []
    for number in range(len(labels)):
        progress(number, len(labels), "Preparing the training images")
        drawn = np.asarray(labels[number])
        if not drawn.any():
            continue
        pixels = as_rgb8(images[number], value_range)
        name = source.planes[number] if source.planes else source.name + (f"-{number}" if stack else "")
        group = source.groups[number] if source.groups else name
        pairs.append(TrainingPair(name, pixels, drawn.astype(np.int32), group))
    if not pairs:
        raise DatasetError("No cell is drawn in the labels layer: paint at least one, then train.")
    return pairs


def training_set_in_words() -> str:
    """Return how much is in the user's training set; empty where nothing is.

    Raises
    ------
    DatasetError
        If it cannot be read.
    """
    fields = read_record()
    cells = counted(sum(field.cells for field in fields), "white cell")
    return f"{cells} in {counted(len(fields), 'field')}" if fields else ""
