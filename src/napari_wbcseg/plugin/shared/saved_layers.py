"""Saved results, with their picture, as layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WBCSegError
from .counts import counted_name
from .features import features_table
from .layers import fingerprint
from .metadata import LayerInfo

if TYPE_CHECKING:
    from .metadata import LayerDataTuple


def read_result_layers(path: str | Path) -> list[LayerDataTuple]:
    """Read a saved result: its cells with table, scale and units; of an OME-Zarr the image too.

    Raises
    ------
    SettingsError
        If the JSON is no record of a result.
    ImageError
        If the labels cannot be read, or are others than those of the record.
    """
    from ...results.load import load_result, record_beside

    file = Path(path)
    result = load_result(file)
    place = result.placement
    attributes: dict[str, Any] = {"scale": place.scale, "translate": place.translate, "units": place.units}
    if place.affine:
        attributes["affine"] = np.array(place.affine)
    if any(place.axis_labels):
        attributes["axis_labels"] = place.axis_labels
    file_of_image = None if result.image_path is None else str(result.image_path)
    record = None if file.is_dir() else file if file.suffix == ".json" else record_beside(file)
    about = LayerInfo.of_result(
        "cells",
        result,
        source=result.name,
        summary=result.summary,
        fingerprint=fingerprint(result.labels),
        path=file_of_image,
        record=None if record is None else str(record),
    )
    cells = {
        "name": counted_name(result.cells, result.classes, result.name),
        "features": features_table(result.cells),
        "opacity": 0.5,
        "metadata": about.metadata,
        **attributes,
    }
    layers: list[LayerDataTuple] = [(result.labels, cells, "labels")]
    if file.is_dir():
        image = _zarr_image(file, result.labels.ndim)
        if image is not None:
            levels, rgb = image
            layers.insert(0, (levels, {"name": result.name, "rgb": rgb, **attributes}, "image"))
    elif result.image_path is not None:
        pixels = _picture(result.image_path, result.labels.shape)
        if pixels is not None:
            options = {
                "name": result.name,
                "rgb": pixels.ndim == result.labels.ndim + 1,
                "metadata": LayerInfo(path=file_of_image).metadata,
                **attributes,
            }
            layers.insert(0, (pixels, options, "image"))
    return layers


def _picture(path: Path, shape: tuple[int, ...]) -> Any:
    """Return the pixels of the image that a result is of; None where it cannot be had as it was."""
    from ...images.read import read_image

    try:
        pixels = read_image(path)
    except WBCSegError:
        return None
    return pixels if pixels.shape in (shape, (*shape, pixels.shape[-1])) else None


def _zarr_image(folder: Path, ndim: int) -> tuple[list[Any], bool] | None:
    """Return the levels of the image in an OME-Zarr, lazily, and whether it is RGB."""
    import dask.array as da

    from ...images.zarr_files import open_zarr

    group = open_zarr(folder)
    if "multiscales" not in group.attrs:
        return None
    paths = [dataset["path"] for dataset in group.attrs["multiscales"][0]["datasets"]]
    levels = [da.from_zarr(group[path]) for path in paths]
    rgb = levels[0].ndim == ndim + 1
    return ([da.moveaxis(level, 0, -1) for level in levels] if rgb else levels), rgb
