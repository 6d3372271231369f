"""`save`: a result, or a labels layer as it is now, into files of any of the formats.

Widget, napari's Save and the shell call it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from os.path import exists, getsize, isdir, isfile, realpath, samefile  # a `Path` raises at too long a name
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import BusyError, ImageError, OutputError
from ..files import locked, user_path
from ..images.pixel_size import PixelSize
from ..images.read import channels_of, read_file
from ..progress import Progress, silent
from ..segmentation.measure import current_cells, known_rows
from ..segmentation.result import Placement, Segmentation, passing_folder, with_unique_labels
from .formats.registry import (
    FORMATS,
    base_of,
    files_of,
    followers,
    format_names,
    format_of,
    labels_beside,
    labels_of,
    write_anew,
)
from .formats.tables import table_to_columns
from .layer import LabelsLayer, of_layer
from .load import in_shape
from .names import no_text
from .records import problem_of

_MAX_PIXELS = 2**31
_PATIENCE = 60.0  # seconds in which others have written the files of a picture
_DARKEST, _BRIGHTEST = 32, 223  # of the shades of a picture; what a JPEG makes of a mask lies beyond
_SHADES, _DIFFERING = 0.05, 0.2  # shares of pixels that masks and labels do not come near


def save(
    result: Segmentation | LabelsLayer,
    path: str | Path,
    formats: str | Iterable[str] | None = None,
    *,
    image: Any = None,
    image_path: str | Path | None = None,
    pixel_size: PixelSize | None = None,
    name: str | None = None,
    model_source: str = "",
    progress: Progress = silent,
) -> list[Path]:
    """Save a result, or a labels layer of napari, in one format or several.

    Its cells are those of the labels: one that the table has no row of is measured, and a warning tells
    of it, and a row without a cell is left out.

    Parameters
    ----------
    result : Segmentation or napari labels layer
        Of a layer, the cells are taken as they are now: what was painted since its table
        was made is measured again.
    path : str or Path
        With one format by its ending, such as ``smear.geojson``, the file. With
        ``formats``, the folder and the name that the files begin with: ``out/smear`` gives
        ``out/smear-labels.tif``, ``out/smear.geojson`` and so on.
    formats : str or iterable of str, optional
        Some of `FORMATS`, or their names in one string, separated by commas; by default
        what the path's ending says.
    image : array, optional
        The image, (H, W), (H, W, 3) or a stack of such. The overlay needs it; new cells are
        measured on it, and OME-Zarr holds it too.
    image_path : str or Path, optional
        Its file, so that the result can be had again from the settings JSON.
    pixel_size : PixelSize, optional
        Of a `Segmentation` that does not know it; a layer's scale and units say it.
    name : str, optional
        What the image is called in the files; by default as the layer or its file, else as the files.
    model_source : str
        The name or path that the model was asked for by, where it is not its name.
    progress : Progress
        Called often; raise `Cancelled` in it to stop. Files that are done stay.

    Returns
    -------
    list of Path
        The files and folders written, each whole. A label TIFF comes with its
        ``NAME-result.json``, with which it opens again in napari, table and all. Where such a pair is
        written anew, other files of that name follow, or are removed where they need the image.

    Raises
    ------
    OutputError
        If a format cannot hold the result, its table is not one of its cells, or a file cannot be written.
    ImageError
        If the image is none.
    SettingsError
        If there is no such format.
    BusyError
        If another program is writing these very files.
    """
    folder_alone = str(path).endswith(("/", os.sep))
    path = user_path(path)
    if folder_alone or not path.name:
        raise OutputError("A result needs a name: give a folder and the name that its files begin with.")
    chosen = format_names(formats) if formats is not None else (format_of(path),)
    given = result if isinstance(result, Segmentation) else of_layer(result)
    _require_array("The labels are", given.labels, "labels")
    _check_table(given)
    found = _with_pixel_size(given, pixel_size)
    _check_image(image, tuple(found.labels.shape), chosen)
    file = found.image_path if image_path is None else user_path(image_path)
    for one in (path, file or path):
        if problem := no_text(one.absolute()):
            raise OutputError(problem)
    base = base_of(path) if formats is None else path
    found = replace(
        with_current_cells(found, image),
        name=name or found.name or (base.name if file is None else file.stem),
        image_path=file,
        image_state=found.image_state if image_path is None else None,
        model_source=model_source or found.model_source,
    )
    _check_cells(found.cells, given)
    written: list[Path] = []
    targets = {name: path if formats is None else files_of(base, name)[0] for name in chosen}
    _require_free(targets, base, found, image)
    # Before the first is written: files of one name are of the same cells.
    follow = {name: files_of(base, name)[0] for name in followers(base) if "tiff" in targets}
    for wanted, target in (follow | targets).items():
        FORMATS[wanted].check(target, found)
    with alone_with(base):
        for wanted, target in (targets | follow).items():
            progress(0, 0, f"Saving {target.name}")
            if wanted in follow and target not in written:
                written += write_anew(wanted, base, found, image, progress)
            elif wanted in targets:
                written += FORMATS[wanted].write(target, found, image, progress)
    return list(dict.fromkeys(written))


def alone_with(base: Path) -> AbstractContextManager[None]:
    """Keep others from writing the files of a path without ending while the context lasts.

    Raises
    ------
    BusyError
        If another process does, and does not come to an end.
    """
    busy = BusyError(f"The files of {base} are being written by another program: save again when it is done.")
    return locked(base.with_name(f".{base.name}.lock"), busy, _PATIENCE)


def _require_free(targets: Mapping[str, Path], base: Path, found: Segmentation, image: Any) -> None:
    """Refuse to write over a picture, or over what is known of other cells; see `save`."""
    for wanted, target in targets.items():
        if wanted == "ome-zarr":
            continue  # its writer replaces none but its own
        if isdir(target):
            raise OutputError(f"{target} is a folder; give the name of a file.")
        if _is_the_picture(target, found.image_path, image):
            raise OutputError(f"{target} is the picture that the cells were found in: choose another name.")
        if _is_a_picture(wanted, target):
            raise OutputError(f"{target} is a picture, and no label image: choose another name.")
        if wanted == "tiff" and (other := labels_of(base)) not in (None, target):
            raise OutputError(f"The record of {target} would be that of {other}: choose another name.")
        if wanted == "json" and "tiff" not in targets and not _has_labels(labels_beside(base), found):
            raise OutputError(
                f"{target} tells of the cells in {labels_beside(base)}, which are others: save the labels "
                'too (formats="tiff"), or choose another name.'
            )


def _is_the_picture(target: Path, file: Path | None, image: Any) -> bool:
    """Whether a file to be written is that of the image, by its name or, where none is known, its pixels."""
    if file is not None:  # on a Mac its name may be spelt otherwise
        both = exists(target) and exists(file)
        return samefile(target, file) if both else realpath(target) == realpath(file)
    try:
        return image is not None and np.array_equal(read_file(target).pixels, np.asarray(image))
    except ImageError:  # there is none, or it is no picture
        return False


def _is_a_picture(wanted: str, target: Path) -> bool:
    """Whether labels or a mask would take the place of a picture, perhaps its only copy."""
    if wanted not in ("tiff", "mask") or not isfile(target) or labels_of(base_of(target)) == target:
        return False
    try:
        return (channels_of(target) or 1) >= 3 or _has_shades(read_file(target).pixels, wanted)
    except ImageError:  # damaged, or too large
        return getsize(target) > 0


def _has_shades(pixels: np.ndarray, wanted: str) -> bool:
    """Whether values of one channel are those of a grey picture: neither of numbered cells nor of a mask.

    In a mask all are near black or white, and in labels neighbours are alike but where cells touch; in
    pictures of smears at least a sixth lie between, and a third of the neighbours differ.
    """
    if wanted == "mask":
        return bool(np.mean((pixels > _DARKEST) & (pixels < _BRIGHTEST)) > _SHADES)
    left, right = pixels[..., :-1], pixels[..., 1:]
    within = (left != 0) & (right != 0)
    differing = np.count_nonzero(within & (left != right))
    return bool(differing > _DIFFERING * np.count_nonzero(within))


def _has_labels(file: Path | None, found: Segmentation) -> bool:
    """Whether there are no labels of another result in a file."""
    if file is None or not isfile(file):
        return file is None
    try:
        there = in_shape(read_file(file, numbers=True).pixels, found.labels.shape)
        return np.array_equal(there, found.labels)
    except ImageError:  # damaged
        return False


def _require_array(what: str, given: Any, name: str) -> None:
    if not hasattr(given, "shape"):
        raise OutputError(f"{what} a {type(given).__name__}: give an array, such as np.asarray({name}).")


def _check_table(found: Segmentation) -> None:
    """Refuse a table of which no row could be told to be of its cell."""
    if not found.model or found.cells is None:  # of cells that were drawn anything may be known
        return
    if not isinstance(found.cells, pd.DataFrame):
        kind = type(found.cells).__name__
        raise OutputError(f"The cells are a {kind}: give a DataFrame, as result.cells is.")
    if found.cells.empty:
        return
    names = [*found.cells.columns, found.cells.index.name]
    twice = [name for name in names if names.count(name) > 1]
    lacking = [name for name in ("label", "row", "col", "area") if name not in names]
    if twice or lacking:
        what = f"has two columns {twice[0]!r}" if twice else f"lacks the column {lacking[0]!r}"
        raise OutputError(f"The table of the cells {what}: give result.cells, with columns added or changed.")


def _check_cells(cells: pd.DataFrame, given: Segmentation) -> None:
    """Refuse cells that could not be read again, and warn of those that the table of a result did not have.

    Whoever takes rows out may mean their cells. Of corrected labels, cells may have been painted.
    """
    if problem := problem_of(table_to_columns(cells.select_dtypes(exclude="number"))):
        raise OutputError(f"The table of the cells cannot be saved: {problem}.")
    if not given.model or given.cells is None or given.edited:
        return
    known = known_rows(given.cells)["label"]
    new = int((~cells["label"].isin(known)).sum())
    if new and known.is_unique:  # else those of later planes got other numbers
        has = "cell of the labels has" if new == 1 else "cells of the labels have"
        warnings.warn(
            f"{new} {has} no row in the table, and no class in what is saved. To leave cells out, set their "
            "labels to 0.",
            stacklevel=3,
        )


def _check_image(image: Any, sides: tuple[int, ...], formats: Iterable[str]) -> None:
    """Check that an image is there where a format needs it, and of the size of its labels."""
    for wanted in map(FORMATS.__getitem__, formats):
        if wanted.needs_image and image is None:
            raise OutputError(f"The {wanted.title} needs the image: open it, or give it with image=...")
    if image is None:
        return
    _require_array("The image is", image, "image")
    if image.shape[: len(sides)] != sides or len(image.shape) > len(sides) + 1:
        raise OutputError(
            f"The image is {image.shape} and its labels are {sides}: give the image that the labels lie on."
        )


def _with_pixel_size(found: Segmentation, size: PixelSize | None) -> Segmentation:
    """Return a result with pixels of this size, unless it says itself where they lie."""
    if size is None or found.placement != Placement.of_pixels(found.labels.ndim):
        return found
    if not isinstance(size, PixelSize) or not 0 < min(size[:2]) <= max(size[:2]) < np.inf:
        raise OutputError(
            f"A pixel of {size} cannot be: give PixelSize(row, column, unit) with lengths above 0."
        )
    return replace(found, place=Placement.of_pixels(found.labels.ndim, size))


def with_current_cells(found: Segmentation, image: Any = None, measure: bool = True) -> Segmentation:
    """Return a result with the cells that are in its labels now: ``replace(result, labels=corrected)``.

    Parameters
    ----------
    found : Segmentation
        Its labels may be of any integers or booleans, lazy, and those of a stack the same on several planes.
    image : array, optional
        What new cells are measured on.
    measure : bool
        Whether cells that were drawn or changed are measured now; whoever loads the result does it too.

    Raises
    ------
    OutputError
        If it is no label image of two or three dimensions.
    """
    labels, table = _label_array(found.labels), found.cells
    cells, edited = known_rows(table), False
    if measure:
        cells, edited = current_cells(labels, table, image, found.backgrounds)
    labels, cells = with_unique_labels(labels, cells)
    return replace(found, labels=labels, cells=cells, edited=found.edited or edited)


def _label_array(data: Any) -> np.ndarray:
    store = getattr(data, "store", None)  # of a zarr, which is empty where its folder is gone
    if (root := getattr(store, "root", None)) is not None and not isdir(root):
        raise OutputError(f"The labels were in {root}, which is gone: put it back, or segment again.")
    if np.prod(data.shape, dtype=float) > _MAX_PIXELS:
        where = ""
        if root is not None:
            goes = ", which goes with their layer: copy it" if passing_folder(data) else ""
            where = f" All of them are, with their table, in {Path(root).parent}{goes}."
        raise OutputError(
            f"Labels of shape {tuple(data.shape)} are too large to be saved at once: save a part.{where}"
        )
    if np.ma.is_masked(data):
        raise OutputError("The labels have masked pixels: fill them, for instance with labels.filled(0).")
    array = np.asarray(data)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] > 1)
    if array.dtype.kind not in "iu" or not is_image or 0 in array.shape:
        raise OutputError(
            f"Labels must be whole numbers of shape (H, W) or (N, H, W), not {array.dtype} {array.shape}."
        )
    if array.dtype.kind == "i" and int(array.min()) < 0:
        raise OutputError("Labels below 0 cannot be saved: number the cells from 1.")
    return array
