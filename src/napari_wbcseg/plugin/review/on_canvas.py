"""The selection of a review on the canvas: cells are clicked there, framed, and looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from ..shared.class_colours import colour_cells
from ..shared.jobs import timer
from ..shared.metadata import role_of
from .canvas import ClickPicker, Frames, look_at
from .decisions import Cell
from .edits import shown_planes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from .layer import LayerReview

_FRAME_DELAY = 30  # ms; whoever names cells quickly is not held up by the canvas


class OnCanvas(QObject):
    """Follows clicks on the cells of a review, and shows those that are selected.

    Parameters
    ----------
    viewer : napari.Viewer
    review : LayerReview
    images : sequence of Layer
        Pictures under the cells: a click counts when one of them is active, too.
    """

    #: Emitted with the cells that are selected now, after a click or by the layer's own picker.
    chosen = Signal(list)
    #: Emitted with the plane and the place, row and column in pixels, of a click while a cell is missed.
    missed = Signal(int, object)

    def __init__(self, viewer: ViewerModel, review: LayerReview, images: Sequence[Layer]) -> None:
        super().__init__()
        self._viewer, self._review = viewer, review
        self._cells: list[Cell] = []
        self._centre = False
        self._quiet = False
        #: Whether a click asks for the outline of a cell that was missed.
        self.outlining = False
        self._clicks = ClickPicker(viewer, review.labels, images, self._on_click)
        self._frames = Frames(viewer, review.labels)
        self._later = timer(_FRAME_DELAY, self._look, self)
        review.labels.events.selected_label.connect(self._on_label)

    def close(self, later: bool) -> None:
        """Leave the canvas as it was found; where napari is removing layers, ours go a little later."""
        self._later.stop()
        self._clicks.close()
        self._review.labels.events.selected_label.disconnect(self._on_label)
        frames = self._frames
        if later:
            QTimer.singleShot(0, lambda: frames.close())
        else:
            frames.close()

    @property
    def plane(self) -> int | None:
        """The plane shown; None where the view is not of one."""
        planes = shown_planes(self._review.labels, self._viewer.dims)
        return planes[0] if planes else None

    def show(self, cells: list[Cell], centre: bool = False, soon: bool = False) -> None:
        """Show which cells are selected: the layer's label, frames, and the camera where it is to go there.

        Parameters
        ----------
        cells : list of tuple of int
        centre : bool
            Move the camera to the last of them.
        soon : bool
            A moment later, once for all calls until then.
        """
        self._cells, self._centre = cells, centre and bool(cells)
        if soon:
            self._later.start()
        else:
            self._look()

    def colour(self) -> None:
        """Outline the cells in the colours of their classes, as they are now."""
        review = self._review
        if review.count:
            with self._quietly():
                colour_cells(review.labels, review.cells, review.classes)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Let nobody follow what tells that a label was chosen, though none was; a new colormap does, too."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _look(self) -> None:
        self._later.stop()
        review, there = self._review, set(self._review.keys())
        cells = [cell for cell in self._cells if cell in there]
        if cells:
            with self._quietly():
                review.labels.selected_label = cells[-1][1]
            layers = self._viewer.layers
            drawing = layers.selection.active is not None and role_of(layers.selection.active) == "helper"
            if review.labels in layers and not drawing:
                layers.selection.active = review.labels
            if self._centre:
                look_at(self._viewer, review.labels, cells[-1][0], review.box_of(cells[-1]))
        self._centre = False
        self._frames.show([(cell[0], review.box_of(cell)) for cell in cells])

    def _on_label(self, event: Any = None) -> None:
        """Follow the layer, whose picker or list chose a label."""
        if not self._quiet:
            cell = (self.plane or 0, int(self._review.labels.selected_label))
            self.chosen.emit([cell] if cell in set(self._review.keys()) else [])

    def _on_click(self, label: int, add: bool, place: np.ndarray) -> None:
        """Follow a click on the image; Shift adds a cell, or takes it out."""
        plane, before = self.plane, self._cells if add else []
        cell = (plane or 0, label)
        if self.outlining and label == 0 and plane is not None:
            self.missed.emit(plane, place)
            return
        if label == 0 or plane is None:
            chosen = before
        elif cell in before:
            chosen = [each for each in before if each != cell]
        else:
            chosen = [*before, cell]
        self.chosen.emit(chosen)
