"""The user's training set: corrected fields, as a plain folder of TIFF pairs.

The folder holds ``images/NAME.tif`` (8-bit RGB), ``labels/NAME.tif`` (0 is background,
every cell a number) and ``corrections.json``, which says of each field where it came
from and who decided. Any program that reads TIFF can use the pairs.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat

from ..errors import DatasetError, WBCSegError, reading
from ..files import (
    ABANDONED,
    locked,
    numbered,
    remove_leftovers,
    safe_name,
    user_folder,
    user_path,
    write_atomically,
)
from ..images.pixel_size import PixelSize, unit_symbol
from ..images.prepare import as_rgb8
from ..images.read import read_image, read_rgb8
from ..images.tiff_writer import write_tiff
from ..version import __version__
from .pair import TrainingPair

FOLDER_VARIABLE = "WBCSEG_CORRECTIONS"
RECORD = "corrections.json"
IMAGES, LABELS = "images", "labels"
FORMAT_VERSION = 1
_PATIENCE = 10.0  # seconds that another program may write


class CellDecision(BaseModel, frozen=True, extra="ignore"):
    """What was decided about one cell of a field.

    Attributes
    ----------
    label : int
        Its number in the label image.
    decision : str
        Such as ``accepted``, ``corrected`` or ``drawn``.
    by, at : str
        Who decided, and when (ISO 8601, UTC).
    """

    label: Annotated[int, Field(ge=1)]
    decision: str
    by: str = ""
    at: str = ""


class Correction(BaseModel, frozen=True, extra="ignore"):
    """What is known of one field of the training set.

    Attributes
    ----------
    name : str
        Name of its files, without folder and suffix.
    cells : int
        Cells outlined in it; 0 for a field that is known to have none.
    scale : tuple of float, or None
        Size of a pixel, down and to the right, in ``unit``; None where nobody said.
    unit : str
        Such as ``µm``.
    source : str
        Where it came from: a file, or the name of a layer.
    plane : int or None
        Which plane of the source, from 0.
    group : str
        Fields of one group show the same slide, and stay together when some are kept aside.
    model : str
        The model that proposed the outlines, ``name@hash``; empty when all are drawn by hand.
    decided_by, decided_at : str
        Who added it, and when (ISO 8601, UTC).
    decisions : tuple of CellDecision
        What was decided cell by cell, where that is known.
    sha256 : str
        Of the pixels: the same field added again replaces this one.
    notes : str
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")]
    cells: Annotated[int, Field(ge=0)]
    scale: tuple[FiniteFloat, FiniteFloat] | None = None
    unit: str = "pixel"
    source: str = ""
    plane: int | None = None
    group: str = ""
    model: str = ""
    decided_by: str = ""
    decided_at: str = ""
    decisions: tuple[CellDecision, ...] = ()
    sha256: str = ""
    notes: str = ""


class _Record(BaseModel):
    """The content of ``corrections.json``."""

    format_version: Annotated[int, Field(le=FORMAT_VERSION)] = FORMAT_VERSION
    written_by: str = f"napari-wbcseg {__version__}"
    fields: tuple[Correction, ...]


def corrections_folder(folder: str | Path | None = None) -> Path:
    """Return a training set, by default the user's, which the variable ``WBCSEG_CORRECTIONS`` moves."""
    return user_path(folder) if folder else user_folder("training-set", FOLDER_VARIABLE)


def learnt_file() -> Path:
    """Return the file of the classifier that a person taught, beside their corrections."""
    return corrections_folder() / "classes.safetensors"


def is_corrections(path: Path) -> bool:
    """Whether a folder is a training set of this kind."""
    return (Path(path) / RECORD).is_file()


def add_correction(
    image: Any, labels: Any, name: str, folder: str | Path | None = None, **about: Any
) -> Correction:
    """Add a corrected field to the training set; the same field again replaces what was there.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, 3) or (H, W, 4)
        Stored as 8-bit RGB, as training reads it.
    labels : array of int, shape (H, W)
        0 is background; numbers are kept. All 0 says that the field has no white cell.
    name : str
        What to call it. Another field of this name is left alone: this one gets a number.
    folder : str or Path, optional
        By default `corrections_folder`. It is made.
    **about
        Other fields of `Correction`. ``group`` is by default the source, ``decided_by`` the
        user's login name.

    Returns
    -------
    Correction
        As recorded.

    Raises
    ------
    DatasetError
        If labels and image differ in size, labels are no whole numbers, the folder's record
        is damaged, there are images without one, or nothing can be written there.
    ImageError
        If the image is none.
    """
    place = corrections_folder(folder)
    if any((place / IMAGES).glob("[!.]*")) and not is_corrections(place):
        raise DatasetError(
            f"{place} has {IMAGES} but no {RECORD}, so it is no training set of corrections: choose another "
            "folder, or move this one elsewhere; it is still a data set to train on."
        )
    for part in (place, place / IMAGES, place / LABELS):
        remove_leftovers(part, age=ABANDONED)
    pixels = as_rgb8(image)
    numbers = _checked_labels(labels, pixels.shape[:2], name)
    digest = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    with _alone_in(place):
        fields = read_record(place)
        known = {field.sha256: field.name for field in fields}
        final = known.get(digest) or _free_name(name, {field.name.casefold() for field in fields})
        record = Correction(
            **{
                "decided_by": _user(),
                "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "group": about.get("source") or final,
                **about,
                "name": final,
                "cells": len(np.unique(numbers[numbers > 0])),
                "sha256": digest,
            }
        )
        if not fields:
            _write_record(place, ())  # the folder is ours, also where the disk is full before the end
        # The record last: what it names is there.
        _write_tiff(place / IMAGES / f"{final}.tif", pixels, record)
        _write_tiff(place / LABELS / f"{final}.tif", numbers, record)
        _write_record(place, {**{field.name: field for field in fields}, final: record}.values())
        return record


def remove_correction(name: str, folder: str | Path | None = None) -> None:
    """Take a field out of the training set and delete its two files.

    Raises
    ------
    DatasetError
        If there is no field of this name.
    """
    place = corrections_folder(folder)
    with _alone_in(place) if place.is_dir() else contextlib.nullcontext():
        fields = read_record(place)
        if not any(field.name == name for field in fields):
            known = ", ".join(field.name for field in fields[:10]) or "none"
            raise DatasetError(f"The training set {place} has no field {name!r}; it has: {known}.")
        _write_record(place, [field for field in fields if field.name != name])
        for part in (IMAGES, LABELS):
            with contextlib.suppress(OSError):
                (place / part / f"{name}.tif").unlink()


def read_record(folder: str | Path | None = None) -> tuple[Correction, ...]:
    """Return what is known of each field; nothing where there is no training set yet.

    Raises
    ------
    DatasetError
        If ``corrections.json`` is damaged or of a newer format.
    """
    path = corrections_folder(folder) / RECORD
    advice = (
        "update napari-wbcseg if a newer version wrote it; else mend it, or move the folder elsewhere: its "
        "images and labels are still a data set to train on once this file is gone"
    )
    with reading(path, DatasetError, advice):
        return _Record.model_validate_json(path.read_bytes()).fields if path.exists() else ()


def read_corrections(folder: str | Path | None = None) -> list[TrainingPair]:
    """Read the training set, with the fields of one source in one group.

    Returns
    -------
    list of TrainingPair
        In the order in which the fields were first added.

    Raises
    ------
    DatasetError
        If there is no field, or a file is missing, no image, or does not fit its partner.
    """
    place = corrections_folder(folder)
    fields = read_record(place)
    if not fields:
        raise DatasetError(
            f"The training set {place} is empty: correct some cells and add them, in the Review widget "
            "or with `wbcseg corrections add`."
        )
    pairs = []
    for field in fields:
        path = place / LABELS / f"{field.name}.tif"
        try:
            image = read_rgb8(place / IMAGES / path.name)
            labels = _checked_labels(read_image(path, numbers=True), image.shape[:2], str(path))
        except WBCSegError as error:
            raise DatasetError(
                f"A field of your training set cannot be used. {error} Or take the field out by `wbcseg "
                f"corrections remove {field.name}`."
            ) from None
        pairs.append(TrainingPair(field.name, image, labels, field.group or field.name))
    return pairs


def _alone_in(place: Path) -> AbstractContextManager[None]:
    """Keep other programs from changing a training set meanwhile: each writes all of the record."""
    busy = DatasetError(f"Another program is changing the training set {place}: try again.")
    return locked(place / ".training-set.lock", busy, _PATIENCE, keep=True)


def _checked_labels(labels: Any, shape: tuple[int, ...], what: str) -> NDArray[np.int32]:
    array = np.asarray(labels)
    if array.dtype == bool:
        from skimage.measure import label

        array = np.asarray(label(array))
    if array.dtype.kind not in "iu" or array.shape != tuple(shape):
        raise DatasetError(
            f"The labels of {what} must be whole numbers of the shape of its image, {tuple(shape)}, not "
            f"{array.dtype} {array.shape}: choose the labels that belong to the image."
        )
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.int32).max):
        raise DatasetError(f"The labels of {what} have numbers below 0 or beyond 31 bits: number them anew.")
    return array.astype(np.int32)


def _free_name(wanted: str, taken: set[str]) -> str:
    stem = safe_name(PurePath(wanted).name, "field")
    stem = re.sub(r"\.(tiff?|png|jpe?g|bmp)$", "", stem, flags=re.IGNORECASE) or "field"
    return next(name for name in numbered(stem) if name.casefold() not in taken)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _write_tiff(path: Path, array: np.ndarray, field: Correction) -> None:
    scale: tuple[float, float] = field.scale or (0.0, 0.0)
    size = PixelSize(*scale, unit_symbol(field.unit)) if min(scale) > 0 else None
    write_tiff(path, array, size, plain=True, error=DatasetError)


def _write_record(place: Path, fields: Iterable[Correction]) -> None:
    content = _Record(fields=tuple(fields)).model_dump_json(indent=2)
    write_atomically(place / RECORD, content.encode(), DatasetError)
