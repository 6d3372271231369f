"""From an image to a `Segmentation`: the one way in for Python, shell and napari."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from ..progress import Progress, silent
from ..settings import SegmentationSettings
from .method import DEFAULT_MODEL, model_and_settings
from .result import Segmentation

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from .found import Found

# Pixels of the largest image whose result is kept in memory, at eight bytes a pixel.
_IN_MEMORY = 64_000_000


def segment(
    image: Any,
    model: str | Path | ModelFile = DEFAULT_MODEL,
    settings: SegmentationSettings | None = None,
    progress: Progress = silent,
) -> Segmentation:
    """Find, outline and measure the white blood cells of an image.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, 3), (N, H, W) or (N, H, W, 3)
        RGB or grey, unsigned integers or floats; NumPy, dask or zarr. An alpha channel is
        dropped. A stack is segmented plane by plane. An image of more than twelve million
        pixels is segmented in blocks, see `napari_wbcseg.segment_large`.
    model : str, Path or ModelFile
        Name or file of a model; ``wbc`` stands for the built-in model of the recipe.
    settings : SegmentationSettings, optional
        By default those of the model's recipe.
    progress : Progress
        Called often; raise `Cancelled` in it to stop.

    Returns
    -------
    Segmentation
        Of images above 64 million pixels ``labels`` and ``probability`` are zarr arrays in a
        temporary folder, which lasts as long as the result.

    Raises
    ------
    ImageError
        If the array is no image: another number of channels or dimensions, boolean, empty,
        or with values that are not numbers.
    ModelError
        If the model does not exist, its file is broken, or it is no network of its recipe.
    SettingsError
        If the settings ask for another recipe than that of the model.
    """
    from ..images.lazy import is_large
    from ..images.read import bit_range

    file, settings = model_and_settings(model, settings)
    if is_large(image):
        return _segment_in_blocks(image, file, settings, progress)
    array = _as_array(image)
    planes, stacked = _planes(array)
    value_range = bit_range(array)
    results = []
    for index, plane in enumerate(planes):

        def plane_progress(done: int, total: int, stage: str, index: int = index) -> None:
            where = f" (plane {index + 1} of {len(planes)})" if stacked else ""
            progress(done, total, stage + where)

        results.append(_segment_plane(plane, value_range, file, settings, plane_progress))
    return _stack(results) if stacked else results[0]


def _segment_in_blocks(
    array: Any, model: ModelFile, settings: SegmentationSettings, progress: Progress
) -> Segmentation:
    """Segment a large image, with the result in memory where it fits."""
    from tempfile import TemporaryDirectory

    from .large.run import segment_large

    folder = TemporaryDirectory(prefix="wbcseg-")
    result = segment_large(array, folder.name, model, settings, progress)
    if array.shape[0] * array.shape[1] > _IN_MEMORY:
        return replace(result, extra={"folder": folder})
    labels, probability = np.asarray(result.labels), np.asarray(result.probability)
    folder.cleanup()
    return replace(result, labels=labels, probability=probability, extra={})


def _as_array(image: Any) -> Any:
    if isinstance(image, str | Path):
        raise ImageError(
            f"{str(image)!r} is a file name, not an image: read the file first, "
            "for instance with napari_wbcseg.images.read.read_image."
        )
    if all(hasattr(image, name) for name in ("shape", "dtype", "min", "max")):
        return image
    try:
        return np.asarray(image)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"This is not an image array: {error}. Give an array, or read the file first."
        ) from None


def _planes(array: Any) -> tuple[list[Any], bool]:
    """Return the images of a stack, or the one image, and whether it is a stack."""
    shape = array.shape
    if len(shape) == 4:
        return [array[i] for i in range(shape[0])], True
    if len(shape) == 3 and shape[2] not in (1, 2, 3, 4, 5):
        return [array[i] for i in range(shape[0])], True
    return [array], False


def _segment_plane(
    plane: Any, value_range: float, model: ModelFile, settings: SegmentationSettings, progress: Progress
) -> Segmentation:
    from ..images.read import prepare_image
    from .measure import measure_cells, number_in_reading_order

    prepared = prepare_image(np.asarray(plane), value_range)
    found = _find(prepared.pixels, model, settings, progress)
    progress(0, 0, "Measuring")
    labels, originals = number_in_reading_order(found.labels)
    certainty = {
        new: found.certainty[int(old)] for new, old in enumerate(originals, 1) if int(old) in found.certainty
    }
    cells = measure_cells(labels, prepared.pixels, certainty, settings.check_below)
    return Segmentation(
        labels=labels,
        cells=cells,
        probability=found.probability,
        proposals=found.proposals,
        settings=settings,
        model=model.id,
        cell_diameter=found.cell_diameter,
        notes=(*prepared.notes, *found.notes),
    )


def _find(pixels: np.ndarray, model: ModelFile, settings: SegmentationSettings, progress: Progress) -> Found:
    if settings.recipe == "classic":
        from .classic import find_cells
    else:
        from .robust import find_cells
    return find_cells(pixels, model, settings, progress)


def _stack(results: list[Segmentation]) -> Segmentation:
    import pandas as pd

    # A label is a cell: numbers run on over the planes.
    before = np.cumsum([0, *(result.count for result in results)])
    tables = [
        result.cells.assign(label=result.cells["label"] + before[index], plane=index)
        for index, result in enumerate(results)
    ]
    labels = [
        np.where(result.labels > 0, result.labels + before[index], 0).astype(result.labels.dtype)
        for index, result in enumerate(results)
    ]
    proposals = [
        np.insert(result.proposals, 0, index, axis=1)
        for index, result in enumerate(results)
        if len(result.proposals)
    ]
    diameters = [r.cell_diameter for r in results if r.cell_diameter is not None]
    first = results[0]
    filled = [table for table in tables if len(table)]
    return Segmentation(
        labels=np.stack(labels),
        cells=pd.concat(filled or tables[:1], ignore_index=True),
        probability=np.stack([result.probability for result in results]),
        proposals=np.concatenate(proposals) if proposals else np.zeros((0, 5), np.int64),
        settings=first.settings,
        model=first.model,
        cell_diameter=float(np.median(diameters)) if diameters else None,
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
    )
