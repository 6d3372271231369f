"""What works on the cells of one review besides the table: the canvas, learning, outlining missed cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..shared.jobs import Cleanup
from .layer import LayerReview
from .learning import Learning
from .missed_cell import MissedCell
from .on_canvas import OnCanvas

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class ReviewTools:
    """The tools of a review; they come and go with it.

    Parameters
    ----------
    viewer : napari.Viewer
    review : LayerReview
    images : sequence of Layer
        Pictures under its cells.
    """

    def __init__(self, viewer: ViewerModel, review: LayerReview, images: Sequence[Layer]) -> None:
        self._cleanup = Cleanup()
        self.canvas = OnCanvas(viewer, review, images)
        self.learning = Learning(review, self._cleanup)
        self.missed = MissedCell(review, self._cleanup)

    def close(self, later: bool) -> None:
        """End what is under way, and leave the canvas as it was found; see `OnCanvas.close`."""
        self._cleanup.run()
        self.canvas.close(later)
