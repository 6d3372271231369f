"""Outlines a cell that was missed, where the user clicks, by the model that found the others."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QObject, Signal

from ...box import Box
from ...errors import EditError, WBCSegError
from ...network.library import load_model
from ...network.model_file import ModelFile
from ...progress import Progress
from ...segmentation.missed import outline_at
from ...settings import SegmentationSettings
from ..shared.jobs import Cleanup, Job, in_background
from ..shared.metadata import LayerInfo
from ..shared.viewer import image_data
from .edits import plane_of
from .layer import LayerReview

_MODEL = "wbc"


class MissedCell(QObject):
    """Looks for missed cells of one review, one at a time.

    Parameters
    ----------
    review : LayerReview
    cleanup : Cleanup
        Ends what is under way when it runs.
    """

    #: Emitted with the cell that was added.
    found = Signal(object)
    #: Emitted with the sentence that says why none was.
    failed = Signal(str)

    def __init__(self, review: LayerReview, cleanup: Cleanup) -> None:
        super().__init__()
        self._review, self._cleanup = review, cleanup
        self._job: Job | None = None

    def find(self, plane: int, point: tuple[float, float]) -> None:
        """Outline the cell at a point, row and column in pixels; returns at once.

        Raises
        ------
        EditError
            If there is no image, or another cell is being looked for.
        """
        review = self._review
        review.update_now()
        if review.image is None:
            raise EditError("Choose the image of the cells first: the outline is found in it.")
        if self._job is not None and self._job.running:
            raise EditError("A cell is being outlined: click again when it is there.")
        labels, image = plane_of(review.labels, plane), image_data(review.image)
        image = image[plane] if review.stacked else image
        info, cells = LayerInfo.of(review.labels), review.cells
        diameter = info.cell_diameter or (float(cells["diameter"].median()) if len(cells) else None)

        def work(progress: Progress) -> tuple[Box, np.ndarray]:
            return outline_at(image, labels, point, diameter, *_method(info), progress)

        self._job = in_background(
            work,
            "Outlining the cell",
            done=lambda outline: self.found.emit(review.add(plane, *outline)),
            failed=self.failed.emit,
            cleanup=self._cleanup,
        )


def _method(info: LayerInfo) -> tuple[ModelFile, SegmentationSettings]:
    """Return by what the cells of a layer were found; the built-in model where that is not at hand."""
    try:
        model = load_model(info.model.partition("@")[0] or _MODEL)
        settings = SegmentationSettings(**(info.settings or {"recipe": model.header.recipe}))
    except WBCSegError:  # drawn by hand, or by a model that is gone
        model, settings = load_model(_MODEL), SegmentationSettings()
    return model, settings
