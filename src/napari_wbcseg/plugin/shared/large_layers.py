"""Large images, and their results on disk, as layers that are read where they are looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...segmentation.result import summary_of
from .counts import counted_name
from .features import features_table
from .metadata import LayerInfo

if TYPE_CHECKING:
    from ...images.pixel_size import PixelSize
    from .metadata import LayerDataTuple

_OVERVIEW = 4096  # pixels along the longer side, held in memory where a file has no such level


def image_layer(path: str | Path) -> LayerDataTuple:
    """Return a large image as a lazy layer of several resolutions.

    Where the file has no coarse level, one is made by reading the image once, in parts, and kept in
    memory; those between are taken from full resolution where they are looked at.

    Parameters
    ----------
    path : str or Path
        What `napari_wbcseg.images.lazy.open_large` opens.

    Raises
    ------
    ImageError
        If it cannot be opened.
    """
    from ...images.lazy import open_large

    path = Path(path)
    image = open_large(path)
    levels = resolutions(image.levels)
    about = {
        "name": _name(path.name),
        "rgb": levels[0].ndim == 3,
        "multiscale": len(levels) > 1,
        "metadata": LayerInfo(notes=image.notes).metadata,
        **_place(image.pixel_size),
    }
    return (levels if len(levels) > 1 else levels[0]), about, "image"


def resolutions(levels: tuple[Any, ...]) -> list[Any]:
    """Return the levels of an image, with coarser ones down to a size that is drawn at once."""
    found = list(levels)
    while max(found[-1].shape[:2]) > _OVERVIEW:
        coarser = found[-1][::2, ::2]
        found.append(np.asarray(coarser) if max(coarser.shape[:2]) <= _OVERVIEW else coarser)
    return found


def result_layers(folder: str | Path) -> list[LayerDataTuple]:
    """Return a result on disk: its cells, and the image where that is still in its place.

    Raises
    ------
    ImageError
        If the folder holds no finished result.
    """
    from ...segmentation.large.result import LargeResult

    result = LargeResult.open(folder)
    levels = result.labels.arrays
    about = LayerInfo.of_result(
        "cells",
        result,
        source=None if result.image_file is None else result.image_file.name,
        summary=summary_of(result.cells, result.classes),
        folder=str(result.folder),
    )
    cells = {
        "name": counted_name(result.cells, result.classes, about.source and _name(about.source)),
        "features": features_table(result.cells),
        "opacity": 0.45,
        "metadata": about.metadata,
        "multiscale": len(levels) > 1,
        **_place(result.pixel_size),
    }
    layers: list[LayerDataTuple] = [(levels if len(levels) > 1 else levels[0], cells, "labels")]
    if result.image_file is not None:
        data, options, kind = image_layer(result.image_file)
        layers.insert(0, (data, {**options, **_place(result.pixel_size)}, kind))
    return layers


def _name(file: str) -> str:
    """Return what a layer of a file is called."""
    return file.split(".")[0]


def _place(size: PixelSize | None) -> dict[str, Any]:
    if size is None:
        return {}
    return {"scale": (size.row, size.column), "units": (size.unit, size.unit)}
