"""What there is to train on: layers with the cells drawn, and the user's own training set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from ...classification.classes import CLASS, PLATELET
from ...datasets.corrections import corrections_folder, read_record
from ...datasets.pair import TrainingPair
from ...errors import DatasetError, WBCSegError
from ...images.prepare import as_rgb8, bit_range
from ...progress import Progress
from ...words import counted
from .features import known_values
from .layer_check import check_layer
from .metadata import LayerInfo
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


def planes_of(image: Image, labels: Labels) -> Callable[[], Iterator[tuple[int, Any, np.ndarray]]]:
    """Return what yields number, pixels and cells of each plane of two layers, as they are now; in a thread.

    What is called a platelet is left out: a network that is trained on the field is to outline it no more.
    """
    pixels, drawn = image_data(image), image_data(labels)
    if isinstance(drawn, np.ndarray):  # painted in place; what is on disk is read by the worker
        drawn = drawn.copy()
    classes, stack = known_values(labels, CLASS), drawn.ndim == 3
    kind = LayerInfo.of(labels).class_list.kind

    def planes() -> Iterator[tuple[int, Any, np.ndarray]]:
        for plane, cells in enumerate(drawn if stack else [drawn]):
            cells, picture = np.asarray(cells), pixels[plane] if stack else pixels
            called = {cell[1]: kind(name) for cell, name in classes.items() if cell[0] == plane}
            platelets = [label for label, name in called.items() if name == PLATELET]
            yield plane, picture, np.where(np.isin(cells, platelets), 0, cells) if platelets else cells

    return planes


def reader_of_layers(image: Image, labels: Labels) -> Callable[[Progress], list[TrainingPair]]:
    """Return what makes a pair of each plane that has a cell drawn in it, as the two layers are now.

    What is returned is for a worker thread. It raises `DatasetError` if no cell is drawn, or a number is too
    large, and `ImageError` if the image cannot be used.
    """
    pixels, planes, shape = image_data(image), planes_of(image, labels), plane_shape(labels)
    name, of_cells, count = image.name, labels.name, shape[0] if len(shape) == 3 else 1
    tiles, groups = (list(image.metadata.get(what, [])) for what in ("tiles", "groups"))

    def read(progress: Progress) -> list[TrainingPair]:
        value_range = bit_range(pixels)
        pairs = []
        for plane, picture, cells in planes():
            progress(plane, count, "Preparing the training images")
            if not cells.any():
                continue
            if cells.max() > np.iinfo(np.int32).max:
                raise DatasetError(f"{of_cells} has numbers beyond 31 bits: number its cells anew.")
            called = tiles[plane] if tiles else f"{name}-{plane}" if len(shape) == 3 else name
            group = groups[plane] if groups else called
            pairs.append(TrainingPair(called, as_rgb8(picture, value_range), cells.astype(np.int32), group))
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
    cells = counted(sum(field.cells for field in fields), "cell")
    words = f"{cells} in {counted(len(fields), 'field')}, kept in {corrections_folder()}."
    return bool(fields), words if fields else ""
