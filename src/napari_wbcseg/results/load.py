"""A saved result read back, and done again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from os.path import exists, isdir, isfile  # those of `Path` raise where a folder may not be entered
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..classification.classes import BUILT_IN_CLASSES
from ..errors import ImageError, SettingsError
from ..files import read_text, user_path
from ..images.limits import check_memory
from ..images.read import LargeImage, open_large, read_file
from ..images.zarr_files import open_zarr, weigh
from ..progress import Progress, silent
from ..segmentation.large.folder import is_large_result
from ..segmentation.large.result import LargeResult, note_of_gone
from ..segmentation.measure import current_cells, known_rows
from ..segmentation.pipeline import segment
from ..segmentation.result import Segmentation, with_unique_labels
from ..settings import SegmentationSettings
from .formats.tables import columns_to_table
from .names import LABELS_NAME, RECORD_KEY, RESULT_SUFFIX, record_beside
from .origins import ModelRecord, file_sha256
from .records import RESULT_FORMAT, RUN_FORMAT, ResultRecord, RunRecord


def load_result(path: str | Path) -> Segmentation:
    """Read a result that `save` wrote.

    Parameters
    ----------
    path : str or Path
        What was given to `save`, a label TIFF with its ``NAME-result.json`` beside it, that JSON itself, or
        an OME-Zarr.

    Returns
    -------
    Segmentation
        Without probability and proposals; ``image_path`` says where the image is, if it is still there.

    Raises
    ------
    SettingsError
        If there is no record, or it is none.
    ImageError
        If the labels cannot be read or are others than those of the record, a folder is no such OME-Zarr, or
        the result is that of a large image, which `LargeResult.open` reads.
    """
    path = user_path(path)
    if not exists(path) and isfile(saved := f"{path}{RESULT_SUFFIX}"):
        path = Path(saved)
    if isdir(path):
        if is_large_result(path):
            raise _of_large(path, "it")
        return _of_zarr(path)
    beside = path if path.suffix.lower() == ".json" else record_beside(path)
    if beside is None:
        what = f"Nothing is known of cells in {path}" if exists(path) else f"There is no file {path}"
        raise SettingsError(
            f"{what}: give a label image that has its NAME{RESULT_SUFFIX} beside it. napari opens any other "
            "as a plain image."
        )
    record = ResultRecord.read(beside)
    if path == beside:
        if not record.labels:
            raise SettingsError(f"{path} holds settings and a table, but was saved without labels to open.")
        path = beside.with_name(record.labels)
    if record.large:
        raise _of_large(beside, f"the folder {beside.with_name(record.labels)}")
    labels = _read_labels(path)
    return _labelled(record, labels, columns_to_table(record.cells), beside)


def _of_large(path: Path, folder: str) -> ImageError:
    return ImageError(
        f"{path} is of a large image: open {folder} in napari, or with LargeResult.open of "
        "napari_wbcseg.segmentation.large.result."
    )


def _read_labels(path: Path) -> np.ndarray:
    try:
        labels = read_file(path, numbers=True).pixels
    except ImageError as error:
        raise ImageError(f"{error} It belongs beside its record.") from None
    if labels.dtype.kind not in "iu":
        raise ImageError(
            f"{path} is no label image: its values are {labels.dtype}, not whole numbers. Save it in 16 bits."
        )
    return labels


def _of_zarr(path: Path) -> Segmentation:
    try:
        group = open_zarr(path)
        cells = group[f"labels/{LABELS_NAME}"]
        attributes: dict[str, Any] = dict(cells.attrs)
        about = attributes[RECORD_KEY]
        columns = _columns_of_properties(attributes["image-label"], about.get("cells", {}))
        record = ResultRecord.model_validate({**about, "cells": columns})
        array = cells[attributes["multiscales"][0]["datasets"][0]["path"]]
        weigh(array, path)
        check_memory(array.nbytes, str(path))
        labels = np.asarray(array[...])
    except Exception as error:  # a damaged chunk raises nearly anything
        raise ImageError(
            f"{path} is no OME-Zarr that napari-wbcseg saved ({error}): of other results give the "
            f"NAME{RESULT_SUFFIX}."
        ) from None
    table = columns_to_table(columns)
    found, known = _labelled(record, labels, table, path), known_rows(table)
    if gone := _gone(array, known, found.cells, path):
        note = note_of_gone(gone, path, len(known), found.count)
        found = replace(found, notes=(*found.notes, note))
    return found


def _gone(array: Any, before: pd.DataFrame, now: pd.DataFrame, path: Path) -> list[str]:
    """Return the files that are not there of chunks in which cells lay that changed or went."""
    # Of a chunk without cells there never was a file.
    lost = before.merge(now[["label", "area"]], how="left", indicator="kept")
    axes = ["plane", "row", "col"][-array.ndim :]
    places = lost[lost["kept"] == "left_only"].reindex(columns=axes).dropna().to_numpy()
    chunks = (places // array.chunks).astype(int).tolist()
    names = {f"{array.path}/{array.metadata.encode_chunk_key(tuple(chunk))}" for chunk in chunks}
    return sorted(name for name in names if not (path / name).exists())


def _columns_of_properties(image_label: dict[str, Any], known: Iterable[str]) -> dict[str, list[Any]]:
    rows = [
        {"label" if name == "label-value" else name: value for name, value in row.items()}
        for row in image_label.get("properties", [])
    ]
    names = dict.fromkeys([*known, *(name for row in rows for name in row)])
    return {name: [row.get(name) for row in rows] for name in names}


def in_shape(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return labels as read from a TIFF in the shape, (H, W) or (N, H, W), that they were saved in."""
    if len(shape) == 3 and labels.shape == (*shape[1:], shape[0]):
        return np.moveaxis(labels, -1, 0)  # tifffile writes three planes as the colours of one
    return labels[None] if shape == (1, *labels.shape) else labels  # one page says not that it is a stack


def _labelled(record: ResultRecord, labels: np.ndarray, cells: Any, path: Path) -> Segmentation:
    labels = in_shape(labels, record.shape)
    if labels.shape != record.shape:
        raise ImageError(
            f"The labels are {labels.shape} and {path} tells of {record.shape}: the two belong to different "
            "results. Put the right files beside each other."
        )
    # Labels that another program edited since get measured; the others keep their rows.
    cells, changed = current_cells(labels, cells)
    labels, cells = with_unique_labels(labels, cells)
    found = record.segmentation(labels, cells, path.parent)
    return replace(found, edited=found.edited or changed)


def record_now(record: ResultRecord, folder: Path) -> tuple[ResultRecord, pd.DataFrame]:
    """Return a record, which lies in a folder, and its cells as their files say now.

    Labels may have been edited by another program since, and the cells of a large image corrected, named or
    classified.

    Raises
    ------
    ImageError
        If the labels are damaged, or the folder of a large image is damaged or gone.
    """
    file = folder / record.labels
    if record.large:
        large = LargeResult.open(file)
        classes, asked = record.class_list.added(*large.classes), large.settings.classes
        now = record.with_cells(
            large.cells,
            folder,
            settings=record.settings and record.settings.replace(classes=asked),
            classifier=ModelRecord.of(large.classifier, asked or ""),
            edited=large.edited,
            notes=tuple(dict.fromkeys((*record.notes, *large.notes))),
            classes=[] if classes == BUILT_IN_CLASSES else classes.to_list(),
            **({} if large.in_table else {"cells_sha256": ""}),
        )
        return now, large.cells
    cells = columns_to_table(record.cells)
    try:
        if not record.cells_sha256 or not file.is_file() or file_sha256(file) == record.cells_sha256:
            return record, cells
    except OSError as error:
        raise ImageError(f"{file} cannot be read ({error.strerror}); check who may use it.") from None
    found = _labelled(record, _read_labels(file), cells, file)
    return record.with_cells(found.cells, folder, edited=found.edited), found.cells


def replay(path: str | Path, image: Any = None, progress: Progress = silent) -> Segmentation:
    """Do a saved result again: the same image, model, classifier and settings.

    Parameters
    ----------
    path : str or Path
        A ``NAME-result.json``.
    image : array, optional
        In place of the recorded file: what `segment` takes. Of the recorded size, it lies where that lay.
    progress : Progress

    Returns
    -------
    Segmentation
        What the model finds in the whole image: corrections that were made by hand are not in
        it, nor is a region that the search was limited to, which the notes tell of.

    Raises
    ------
    SettingsError
        If the file is no such record, or the labels in it were drawn without a model.
    ImageError
        If the image is not there any more, is another one now, or not that which is read from its file.
    ModelError
        If the model or the classifier is not there any more.
    """
    path = user_path(path)
    record = ResultRecord.read(path)
    if record.settings is None or record.model is None:
        raise SettingsError(f"{path} tells of cells that no model found, so there is nothing to do again.")
    file, notes = None, tuple[str, ...]()
    if image is None:
        file, image, notes = _image_of(record, path)
    found = segment(image, record.model.load(), settings_again(record), progress)
    if found.labels.shape != record.shape:
        return found
    found = replace(found, place=record.placement, corner=record.corner)
    if file is None:
        return found
    notes = tuple(dict.fromkeys((*notes, *found.notes)))
    return replace(
        found, name=record.image.name, image_path=file, image_state=record.image.state, notes=notes
    )


def _image_of(record: ResultRecord, path: Path) -> tuple[Path, Any, tuple[str, ...]]:
    """Return the very image of a result, recorded in a path, its file in front and what is noted behind."""
    file, where = record.image.file(path.parent), record.image.path
    if file is None:
        gone = f"is not there any more ({where}); put it back, or" if where else "came from no file:"
        raise ImageError(f"The image of {path} {gone} give the image itself.")
    if record.image.sha256 is not None and file_sha256(file) != record.image.sha256:
        raise ImageError(f"{file} has changed since {path} was saved (its SHA-256 differs).")
    # Of several images in a large file the first was taken.
    opened = open_large(file) if record.large else read_file(file)
    image = opened.full if isinstance(opened, LargeImage) else opened.pixels
    if record.shape not in (image.shape, image.shape[:-1]):
        raise ImageError(
            f"The image in {file} is {image.shape} and the labels of {path} are {record.shape}: they are "
            "of another image in that file; give that itself."
        )
    return file, image, opened.notes


def settings_in(path: str | Path) -> tuple[SegmentationSettings, ResultRecord | RunRecord | None]:
    """Return the settings in a JSON file, and the record where it is one of a result or of a run.

    Raises
    ------
    SettingsError
        If the file holds no settings.
    """
    path = user_path(path)
    text = read_text(path)
    if RESULT_FORMAT in text[:200]:
        record = ResultRecord.read(path)
        if record.settings is None:
            raise SettingsError(f"{path} tells of cells that were drawn by hand, without settings.")
        return record.settings, record
    if RUN_FORMAT in text[:200]:
        run = RunRecord.read(path)
        return run.settings, run
    return SegmentationSettings.from_json(path), None


def settings_again(record: ResultRecord | RunRecord) -> SegmentationSettings:
    """Return the settings of a record that has some, with the very classifier that told its classes.

    Raises
    ------
    ModelError
        If that classifier is not there any more.
    """
    assert record.settings is not None
    if record.classifier is None:
        return record.settings
    return record.settings.replace(classes=record.classifier.find_classifier())
