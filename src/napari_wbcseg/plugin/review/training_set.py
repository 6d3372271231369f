"""From layers to the training set: what the button *Add to my training set* does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_info

from ...box import label_boxes
from ...datasets.corrections import CellDecision, Correction, add_correction
from ...errors import DatasetError
from ...images.pixels import border
from ...images.prepare import as_rgb8, bit_range
from ...progress import Progress
from ...words import counted
from ..shared.events import events
from ..shared.features import known_values
from ..shared.metadata import LayerInfo
from ..shared.pictures import origin_of, path_of
from ..shared.training_data import checked_pair, planes_of
from ..shared.viewer import image_data, pixel_size

#: Sides of images up to which the whole field is stored, and of the windows stored of larger ones.
_WHOLE, _WINDOW = 2048, 512


def field_writer(image: Image | None, labels: Labels | None) -> Callable[[Progress], list[Correction]]:
    """Return what adds the fields of two layers, as they are now, to the training set.

    Of a stack, the planes with a cell are added. Of an image above 2048 pixels, windows of 512
    around the cells that were decided on, or around all cells where none was.

    What is returned is for a worker thread. It raises `DatasetError` if no cell is drawn, or the training set
    cannot be written, and `ImageError` if the image cannot be used.

    Raises
    ------
    ImageError, DatasetError
        If the layers cannot be trained on.
    """
    image, labels = checked_pair(image, labels)
    pixels, planes, said = image_data(image), planes_of(image, labels), known_values(labels, "decision")
    height, width, unit = pixel_size(image)
    path, stack = path_of(image), image_data(labels).ndim == 3
    name = path.stem if path else image.name
    about: dict[str, Any] = {"source": origin_of(image), "model": LayerInfo.of(labels).model}
    if unit != "px":
        about |= {"scale": (height, width), "unit": unit}

    def write(progress: Progress) -> list[Correction]:
        value_range = bit_range(pixels)
        added: list[Correction] = []
        for plane, picture, cells in planes():
            here = {label: one for (there, label), one in said.items() if there == plane and label and one}
            decisions = [CellDecision(label=label, decision=one) for label, one in here.items()]
            for window, suffix in _windows(cells, set(here)):
                progress(len(added), 0, "Adding to the training set")
                part = cells[window]
                present = set(np.unique(part).tolist())
                field = add_correction(
                    as_rgb8(picture[window], value_range),
                    part,
                    name=name + (f"-{plane}" if stack else "") + suffix,
                    plane=plane if stack else None,
                    decisions=tuple(one for one in decisions if one.label in present),
                    **about,
                )
                added.append(field)
        if not added:
            raise DatasetError(
                "No cell is drawn in the labels layer: outline at least one, then add the field."
            )
        return added

    return write


def tell_of(added: list[Correction]) -> None:
    """Say what was added, and let those know who show the training set."""
    cells = sum(field.cells for field in added)
    fields = "the field" if len(added) == 1 else counted(len(added), "field")
    show_info(f"{counted(cells, 'cell')} in {fields} {added[0].name} added to your training set.")
    events.training_set_changed.emit()


def _windows(labels: np.ndarray, decided: set[int]) -> Iterator[tuple[tuple[slice, slice], str]]:
    """Yield the windows to store, and what tells their names apart."""
    if not labels.any():
        return
    if max(labels.shape) <= _WHOLE:
        yield (slice(None), slice(None)), ""
        return
    done = np.zeros(0, np.int64)
    for number, box in label_boxes(labels):
        if number in done or (decided and number not in decided):
            continue
        middle = (box.top + box.bottom) // 2, (box.left + box.right) // 2
        window = tuple(_span(at, side) for at, side in zip(middle, labels.shape, strict=True))
        # A cell that this window cuts gets one of its own.
        part = labels[window]
        done = np.union1d(done, np.setdiff1d(part, border(part)))
        yield (window[0], window[1]), f"-r{window[0].start}c{window[1].start}"


def _span(centre: int, side: int) -> slice:
    start = max(0, min(centre - _WINDOW // 2, side - _WINDOW))
    return slice(start, min(start + _WINDOW, side))
