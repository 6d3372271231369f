"""Measure every plane of a Labels layer, away from the GUI thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import ImageError
from ...images.pixel_source import PixelSource
from ...progress import Progress
from ...segmentation.tracking import TrackedCells
from ..shared.viewer import image_data, plane_shape, times

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Image


class Measured(NamedTuple):
    """The cells of each plane, and why the stain was not measured; empty where it was."""

    planes: list[TrackedCells]
    problem: str


def measure_planes(
    labels: Any, image: Any, progress: Progress, known: pd.DataFrame | None = None
) -> Measured:
    """Measure every plane; safe in a worker thread, for it works on copies.

    Parameters
    ----------
    labels : array of int, shape (H, W) or (N, H, W)
    image : array, shape of ``labels``, perhaps with colours behind; or None
        Without one only shapes are measured.
    progress : Progress
    known : DataFrame, optional
        What is known of labels already, see `TrackedCells`.
    """
    from ...images.prepare import bit_range

    problem, value_range = "", None
    if image is not None:
        try:
            value_range = bit_range(image)
        except ImageError as error:
            image, problem = None, f"The stain is not measured: {error}"
    planes = []
    count = 1 if len(labels.shape) == 2 else labels.shape[0]
    for index in range(count):
        progress(index, count, "Measuring cells")
        here = ... if len(labels.shape) == 2 else index
        stain = None if image is None else PixelSource(image[here], value_range)
        planes.append(TrackedCells(np.asarray(labels[here]), stain, known))
    return Measured(planes, problem)


def stained_array(image: Image | None, shape: tuple[int, ...]) -> tuple[Any, str]:
    """Return the array that the stain of labels of this shape is measured on, or None and why not."""
    if image is None:
        return None, "There is no image of the same shape as the cells, so the stain is not measured."
    own = plane_shape(image)
    if own != shape:
        return None, (
            f"The image {image.name} has another shape ({times(own)}) than the cells ({times(shape)}), "
            "so the stain is not measured."
        )
    return image_data(image), ""
