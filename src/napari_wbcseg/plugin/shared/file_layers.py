"""Large images, and saved results with their picture, as layers; what is large is read where one looks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WBCSegError
from ...files import FileState
from ...images.pixel_size import PixelSize
from ...images.read import ImageWarning, open_large, read_file
from ...images.zarr_files import open_zarr_image
from ...results.load import load_result
from ...results.names import record_beside, stem_of
from ...results.records import ResultRecord
from ...segmentation.large.result import LargeResult
from ...segmentation.result import Placement
from .counts import counted_name
from .features import features_table
from .layers import CELLS_OPACITY, fingerprint
from .metadata import LayerDataTuple, LayerInfo

_OVERVIEW = 4096  # pixels along the longer side, held in memory where a file has no such level


def large_image_layer(path: str | Path, *, fields: bool = True) -> LayerDataTuple:
    """Return a large image, or several of one size as a stack, as a lazy layer of several resolutions.

    Where the file has no coarse level, one is made by reading the image once, in parts, and kept in
    memory; those between, and all of a stack, are taken from full resolution where they are looked at.

    Parameters
    ----------
    path : str or Path
        What `napari_wbcseg.images.read.open_large` opens.
    fields : bool
        Whether all images of one size in it are opened, or the first.

    Raises
    ------
    ImageError
        If it cannot be opened.
    """
    path = Path(path)
    image = open_large(path, fields=fields)
    levels = list(image.levels)
    rgb = image.full.shape[-1] == 3
    rows = image.full.ndim - rgb - 2  # where they are among the axes: behind the planes of a stack
    while max(levels[-1].shape[rows : rows + 2]) > _OVERVIEW:
        coarser = levels[-1][(slice(None),) * rows + (slice(None, None, 2),) * 2]
        kept = not rows and max(coarser.shape[:2]) <= _OVERVIEW
        levels.append(np.asarray(coarser) if kept else coarser)
    info = LayerInfo(path=str(path), state=FileState.of(path), notes=image.notes)
    return _image(levels, stem_of(path), info, image.pixel_size)


def image_layer(path: Path, name: str) -> LayerDataTuple:
    """Return an image that is read whole as a layer.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    state = FileState.of(path)  # before it is read
    pixels, notes, pixel_size = read_file(path)
    return _image([pixels], name, LayerInfo(path=str(path), state=state, notes=notes), pixel_size)


def _image(levels: Sequence[Any], name: str, info: LayerInfo, size: PixelSize | None) -> LayerDataTuple:
    """Return the levels of an image in grey or RGB as a layer."""
    rgb = levels[0].shape[-1] == 3
    place = _placed(Placement.of_pixels(levels[0].ndim - rgb, size))
    return *resolutions(levels, {"name": name, "rgb": rgb, "metadata": info.metadata, **place}), "image"


def large_result_layers(folder: str | Path, image: Path | None = None) -> list[LayerDataTuple]:
    """Return a result on disk: its cells, and the image where that is still in its place, or in another.

    Raises
    ------
    ImageError
        If the folder holds no finished result.
    """
    result = LargeResult.open(folder)
    file = image if image is not None and image.exists() else result.image_file
    about = LayerInfo.of_result(
        "cells", result, source=file and stem_of(file), path=file and str(file), folder=str(result.folder)
    )
    place = _placed(Placement.of_pixels(2, result.pixel_size))
    cells = {**_cells(result, about), **place}
    layers: list[LayerDataTuple] = [(*resolutions(result.labels.arrays, cells), "labels")]
    if file is not None:
        with suppress(WBCSegError):  # damaged, or another by now
            data, options, kind = large_image_layer(file, fields=False)
            full = data[0] if options["multiscale"] else data
            if full.shape[:2] == result.labels.arrays[0].shape:
                layers.insert(0, (data, {**options, **place}, kind))
    return layers


def _cells(result: Any, about: LayerInfo) -> dict[str, Any]:
    """Return name, table and looks of a layer of cells."""
    return {
        "name": counted_name(about, result.cells, about.source),
        "features": features_table(result.cells),
        "opacity": CELLS_OPACITY,
        "metadata": about.metadata,
    }


def resolutions(levels: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the data of a layer of one level or several, and its options with that."""
    several = len(levels) > 1
    return (levels if several else levels[0]), {**options, "multiscale": several}


def _placed(place: Placement) -> dict[str, Any]:
    """Return the options that put a layer there."""
    options: dict[str, Any] = {"scale": place.scale, "translate": place.translate, "units": place.units}
    if place.affine:
        options["affine"] = np.array(place.affine)
    if any(place.axis_labels):
        options["axis_labels"] = place.axis_labels
    return options


def read_result_layers(path: str | Path) -> list[LayerDataTuple]:
    """Read a saved result: its cells with table, scale and units; of an OME-Zarr the image too.

    Raises
    ------
    SettingsError
        If the JSON is no record of a result.
    ImageError
        If the labels cannot be read, or are others than those of the record.
    """
    file = Path(path)
    result = load_result(file)
    picture, state = result.image_path, result.image_state
    record = None if file.is_dir() else file if file.suffix == ".json" else record_beside(file)
    if picture is not None:  # it was touched or copied, perhaps
        state = FileState.of(picture)._replace(sha256=state and state.sha256)
    elif record is not None:
        image = ResultRecord.read(record).image
        picture, state = image.file(record.parent), image.state
        if picture is not None:
            words = f"{picture} became another picture since these cells were saved: they stand alone."
            warnings.warn(words, ImageWarning, stacklevel=2)
    place, ndim = _placed(result.placement), result.labels.ndim
    of_image: dict[str, Any] = {"path": picture and str(picture), "state": state}
    about = LayerInfo.of_result(
        "cells",
        result,
        source=result.name,
        fingerprint=fingerprint(result.labels),
        corner=result.corner,
        record=record and str(record),
        **of_image,
    )
    cells = (result.labels, {**_cells(result, about), **place}, "labels")
    options = {"name": result.name, **place}
    if file.is_dir():
        levels = _zarr_image(file, ndim)
    else:
        levels, notes = _picture(result.image_path, result.labels.shape)
        options["metadata"] = LayerInfo(**of_image, notes=notes).metadata
    if not levels:
        return [cells]
    options["rgb"] = levels[0].ndim == ndim + 1
    return [(*resolutions(levels, options), "image"), cells]


def _picture(path: Path | None, shape: tuple[int, ...]) -> tuple[list[Any], tuple[str, ...]]:
    """Return pixels and notes of the image that a result is of; none where it cannot be had as it was."""
    with suppress(WBCSegError):
        if path is not None:
            pixels, notes, _ = read_file(path)
            if pixels.shape in (shape, (*shape, pixels.shape[-1])):
                return [pixels], notes
    return [], ()


def _zarr_image(folder: Path, ndim: int) -> list[Any]:
    """Return the levels of the image in an OME-Zarr, lazily, colours last; nothing where there is none."""
    image = open_zarr_image(folder)
    if image.labels:
        return []
    levels = [level if ndim == 3 else level[0] for level in image.levels]
    return [level[..., 0] if level.shape[-1] == 1 else level for level in levels]
