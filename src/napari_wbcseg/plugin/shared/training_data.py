"""What there is to train on: layers with the cells drawn, and the user's own training set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.layers import Image, Labels

from ...datasets.corrections import corrections_folder, read_record
from ...datasets.pair import TrainingPair
from ...errors import DatasetError, WBCSegError
from ...images.prepare import as_rgb8, bit_range
from ...progress import Progress
from ...words import counted
from .layer_check import check_layer
from .viewer import image_data, plane_shape


def checked_pair(image: Image | None, labels: Labels | None) -> tuple[Image, Labels]:
    """Return two layers that can be trained on.

    Raises
    ------
    ImageError, DatasetError
        If they cannot.
    """
    check_layer(image)
    assert image is not None
    if labels is None:
        raise DatasetError(
            "Add a labels layer with the cells drawn in it: segment the image and correct the result."
        )
    planes, drawn = plane_shape(image), plane_shape(labels)
    if planes != drawn:
        raise DatasetError(
            f"{labels.name} has shape {drawn} and {image.name} {planes}. "
            "Choose the labels that belong to this image."
        )
    return image, labels


def reader_of_layers(image: Image, labels: Labels) -> Callable[[Progress], list[TrainingPair]]:
    """Return what makes a pair of each plane that has a cell drawn in it, as the two layers are now.

    What is returned is for a worker thread. It raises `DatasetError` if no cell is drawn, and `ImageError`
    if the image cannot be used.

    Raises
    ------
    DatasetError
        If a number is too large.
    """
    pixels, stack = image_data(image), image_data(labels).ndim == 3
    # Labels are painted in place: a copy is what was there when training began.
    drawn = np.array(image_data(labels))
    if drawn.size and drawn.max() > np.iinfo(np.int32).max:
        raise DatasetError(f"{labels.name} has numbers beyond 31 bits: number its cells anew.")
    name, planes = image.name, list(image.metadata.get("tiles", []))
    groups = list(image.metadata.get("groups", []))

    def read(progress: Progress) -> list[TrainingPair]:
        value_range = bit_range(pixels)
        pairs = []
        for number, cells in enumerate(drawn if stack else [drawn]):
            progress(number, len(drawn) if stack else 1, "Preparing the training images")
            if not cells.any():
                continue
            plane = as_rgb8(pixels[number] if stack else pixels, value_range)
            called = planes[number] if planes else f"{name}-{number}" if stack else name
            group = groups[number] if groups else called
            pairs.append(TrainingPair(called, plane, cells.astype(np.int32), group))
        if not pairs:
            raise DatasetError("No cell is drawn in the labels layer: paint at least one, then train.")
        return pairs

    return read


def training_set_in_words() -> tuple[bool, str]:
    """Return whether something is in the user's training set, and how much, or why it cannot be read."""
    try:
        fields = read_record()
    except WBCSegError as error:
        return False, str(error)
    cells = counted(sum(field.cells for field in fields), "white cell")
    words = f"{cells} in {counted(len(fields), 'field')}, kept in {corrections_folder()}."
    return bool(fields), words if fields else ""
