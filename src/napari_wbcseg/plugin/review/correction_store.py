"""From layers to the training set: what the button *Add to my training set* does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from ...box import label_boxes
from ...datasets.corrections import CellDecision, Correction, add_correction
from ...errors import DatasetError
from ...images.field_of_view import border
from ...images.prepare import as_rgb8, bit_range
from ...progress import Progress
from ...words import counted
from ..shared.events import events
from ..shared.features import known_values
from ..shared.jobs import Job, in_background
from ..shared.metadata import LayerInfo
from ..shared.reunite import path_of
from ..shared.training_data import check_pair
from ..shared.viewer import image_data, pixel_size

#: Sides of images up to which the whole field is stored, and of the windows stored of larger ones.
_WHOLE, _WINDOW = 2048, 512


@dataclass(frozen=True)
class FieldSource:
    """What is stored of two layers, taken on the window's thread so that they may be edited on.

    Attributes
    ----------
    image, labels : array
        (H, W[, 3]) with (H, W), or stacks of them.
    decisions : dict of int to str
        What was decided about each label, where it was.
    name : str
    about : dict
        What a `Correction` tells of it besides: file, model, and size of a pixel where that is known.
    """

    image: Any
    labels: np.ndarray
    decisions: dict[int, str]
    name: str
    about: dict[str, Any]


def field_source(image: Image, labels: Labels) -> FieldSource:
    """Take what is stored from an image and the corrected labels on it."""
    height, width, unit = pixel_size(image)
    path = path_of(image)
    about: dict[str, Any] = {"source": str(path) if path else image.name, "model": LayerInfo.of(labels).model}
    if unit != "px":
        about |= {"scale": (height, width), "unit": unit}
    return FieldSource(
        image_data(image),
        np.array(image_data(labels)),
        {label: said for label, said in known_values(labels, "decision").items() if label and said},
        path.stem if path else image.name,
        about,
    )


def store_field(source: FieldSource, progress: Progress, folder: Path | None = None) -> list[Correction]:
    """Add the fields of two layers to the training set.

    Of a stack, the planes with a cell are added. Of an image above 2048 pixels, windows of 512
    around the cells that were decided on, or around all cells where none was.

    Raises
    ------
    DatasetError
        If no cell is drawn, or the training set cannot be written.
    ImageError
        If the image cannot be used.
    """
    stack = source.labels.ndim == 3
    value_range = bit_range(source.image)
    added: list[Correction] = []
    for plane in range(len(source.labels) if stack else 1):
        labels = source.labels[plane] if stack else source.labels
        image = source.image[plane] if stack else source.image
        for window, suffix in _windows(labels, set(source.decisions)):
            progress(len(added), 0, "Adding to the training set")
            part = labels[window]
            present = {int(number) for number in np.unique(part) if number}
            added.append(
                add_correction(
                    as_rgb8(image[window], value_range),
                    part,
                    folder=folder,
                    name=source.name + (f"-{plane}" if stack else "") + suffix,
                    plane=plane if stack else None,
                    **source.about,
                    decisions=tuple(
                        CellDecision(label=label, decision=decision)
                        for label, decision in source.decisions.items()
                        if label in present
                    ),
                )
            )
    if not added:
        raise DatasetError("No cell is drawn in the labels layer: outline at least one, then add the field.")
    return added


def add_to_training_set(image: Image | None, labels: Labels | None, failed: Callable[[str], None]) -> Job:
    """Store the field of two layers in the background, and tell of it.

    Parameters
    ----------
    image, labels : Layer or None
    failed : callable
        Called with the sentence that says what went wrong.

    Raises
    ------
    DatasetError
        If they cannot be trained on.
    """
    if problem := check_pair(image, labels):
        raise DatasetError(problem)
    source = field_source(image, labels)  # type: ignore[arg-type]  # both are there
    return in_background(
        lambda progress: store_field(source, progress),
        "Adding to the training set",
        done=_tell,
        failed=failed,
    )


def _tell(added: list[Correction]) -> None:
    from napari.utils.notifications import show_info

    cells = sum(field.cells for field in added)
    fields = "the field" if len(added) == 1 else counted(len(added), "field")
    show_info(f"{counted(cells, 'white cell')} in {fields} {added[0].name} added to your training set.")
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
