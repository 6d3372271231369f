"""Outlines a cell that was missed, where the user clicks, by the model that found the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...box import Box
from ...errors import EditError, WBCSegError
from ...network.library import load_model
from ...network.model_file import ModelFile
from ...progress import Progress
from ...segmentation.missed import outline_at
from ...segmentation.prediction import Predictor
from ...settings import SegmentationSettings
from ..shared.jobs import Job, in_background
from ..shared.metadata import LayerInfo
from ..shared.viewer import image_data
from .decisions import Cell
from .edits import plane_of
from .layer import LayerReview

_MODEL = "wbc"


def outline_missed(
    review: LayerReview,
    plane: int,
    point: tuple[float, float],
    found: Callable[[Cell], object],
    failed: Callable[[str], object],
) -> Job:
    """Outline the cell at a point, in the background, and add it to those of a review.

    Parameters
    ----------
    review : LayerReview
    plane : int
    point : tuple of float
        Row and column, pixels.
    found, failed : callable
        Called with the cell that was added, or with the sentence that says why none was.

    Raises
    ------
    EditError
        If there is no image.
    """
    review.update_now()
    if review.image is None:
        raise EditError("Choose the image of the cells first: the outline is found in it.")
    labels, image = plane_of(review.labels, plane), image_data(review.image)
    image = image[plane] if review.stacked else image
    info, cells = LayerInfo.of(review.labels), review.cells
    diameter = info.cell_diameter or (float(cells["diameter"].median()) if len(cells) else None)

    def work(progress: Progress) -> tuple[Box, np.ndarray]:
        return outline_at(image, labels, point, diameter, Predictor(*_method(info), progress))

    return in_background(
        work,
        "Outlining the cell",
        done=lambda outline: found(review.add(plane, *outline)),
        failed=failed,
        cleanup=review.cleanup,
    )


def _method(info: LayerInfo) -> tuple[ModelFile, SegmentationSettings]:
    """Return by what the cells of a layer were found; the built-in model where that is not at hand."""
    try:
        model = load_model(info.model.partition("@")[0] or _MODEL)
        settings = SegmentationSettings(**(info.settings or {"recipe": model.header.recipe}))
    except WBCSegError:  # drawn by hand, or by a model that is gone
        model, settings = load_model(_MODEL), SegmentationSettings()
    return model, settings
