"""Corrections of a result that is on disk: a part of it becomes layers in memory, and goes back.

napari paints neither in layers of several resolutions nor in what is read lazily.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtWidgets import QWidget

from ...box import Box
from ...errors import EditError
from ...segmentation.large.result import LargeResult, with_said
from ..controls.basic_widgets import button, fill
from ..controls.panel import Panel
from ..shared.counts import counts_of
from ..shared.features import features_table, known_cells
from ..shared.jobs import Job, busy
from ..shared.metadata import LayerInfo, is_cells
from ..shared.pictures import id_of, part_of, source_image
from ..shared.unsaved import keep_unsaved, state_of
from ..shared.viewer import image_data, placement_of_part, remove_layers
from .disk_copy import changed
from .layer_review import LayerReview

#: Pixels of a part that is corrected at once.
MOST_PIXELS = 2**24


def window_on_view(layer: Labels) -> Box:
    """Return the part of a layer that is on the canvas, in pixels of its full resolution."""
    corners = np.array(layer.corner_pixels, float)[:, -2:]
    if layer.multiscale:
        corners *= np.asarray(layer.downsample_factors)[layer.data_level][-2:]
    height, width = image_data(layer).shape[-2:]
    low, high = np.floor(corners[0]).astype(int).tolist(), np.ceil(corners[1]).astype(int).tolist()
    return Box(low[0], low[1], high[0] + 1, high[1] + 1).within((height, width))


@dataclass
class _Part:
    """A part that is being corrected."""

    window: Box
    cells: Labels  # on disk
    labels: Labels  # in memory
    image: Image | None
    pixels: Any  # of the whole image, whose layer may be taken away meanwhile; None without one
    known: pd.DataFrame  # of all cells, when it was taken

    def said_since(self, cells: Labels) -> pd.DataFrame:
        """Return the cells on disk, in a layer, of which something was said since it was taken."""
        return changed(known_cells(cells), self.known)


class LargeEditor(QWidget):
    """Two buttons of the review: take a part of a large result into memory, and put it back.

    Parameters
    ----------
    viewer : napari.Viewer
    review : callable
        Gives the review, or None.
    panel : Panel
        Says what cannot be done.

    Attributes
    ----------
    part : Labels or None
        The layer in memory that is being corrected.
    """

    def __init__(self, viewer: ViewerModel, review: Callable[[], LayerReview | None], panel: Panel) -> None:
        super().__init__()
        self._viewer, self._review, self._panel = viewer, review, panel
        self._open: _Part | None = None
        self._job: Job | None = None
        self.take = button(
            "Correct the part on view",
            lambda: panel.by_hand(self.correct_part),
            "Makes ordinary layers of what is on the canvas, to paint in and to review.",
        )
        self.put_back = button(
            "Put the corrections back",
            lambda: panel.by_hand(self.finish),
            "Writes the corrected part into the result on disk, measures what changed, and counts again.",
        )
        fill(self, self.take, self.put_back)

    @property
    def part(self) -> Labels | None:
        """The layer in memory, while one is corrected."""
        if self._open is not None and self._open.labels not in self._viewer.layers:
            self._open = None  # the user removed it
        return None if self._open is None else self._open.labels

    def refresh(self) -> None:
        """Offer what fits the layer that is reviewed now."""
        review = self._review()
        on_disk = review is not None and review.on_disk
        correcting = review is not None and review.labels is self.part
        self.take.setVisible(on_disk)
        self.put_back.setVisible(correcting)
        self.setVisible(on_disk or correcting)

    def correct_part(self, window: Box | None = None) -> Labels:
        """Add a part of the cells, and of the image under them, as layers in memory.

        Parameters
        ----------
        window : Box, optional
            By default what is on view.

        Raises
        ------
        EditError
            If no cells on disk are chosen, or the part is too large.
        """
        review = self._review()
        if review is None or not review.on_disk:
            raise EditError("Choose a layer whose cells are on disk.")
        cells = review.labels
        if self.part is not None:
            raise EditError("A part is being corrected already: put it back first, or remove its layer.")
        if busy(self._job):
            raise EditError("A part is being put back: wait until that is done, then take another.")
        window = window_on_view(cells) if window is None else window
        height, width = window.shape
        if not 0 < window.area <= MOST_PIXELS:
            raise EditError(
                f"The part on view is {width} × {height} pixels; zoom in until it is at most "
                f"{MOST_PIXELS // 10**6} million pixels."
            )
        labels = np.asarray(image_data(cells)[window.slices])
        source, image, pixels = source_image(self._viewer, cells), None, None
        if source is not None:
            pixels = image_data(source)
            image = part_of(source, np.asarray(pixels[window.slices]), window[:2], "part of the image")
            self._viewer.add_layer(image)
        of_whole: dict[str, Any] = {"folder": None, "record": None, "field_share": None}
        about = replace(review.info, role=None, source_id=id_of(image), corner=window[:2], **of_whole)
        part = Labels(
            labels,
            name="part of the cells",
            features=features_table(_cells_in(cells, window, labels)),
            opacity=cells.opacity,
            metadata=about.metadata,
            **placement_of_part(cells, window[:2]),
        )
        self._open = _Part(window, cells, part, image, pixels, known_cells(cells))
        self._viewer.add_layer(part)  # becomes the active one, which is reviewed
        cells.visible = False
        return part

    def finish(self) -> Job:
        """Put the part back into the result on disk, in a thread, and take its layers away.

        What is corrected meanwhile is put back after it.

        Raises
        ------
        EditError
            If no part is being corrected.
        """
        if self.part is None or self._open is None:
            raise EditError("No part of a large result is being corrected.")
        part, folder = self._open, str(LayerInfo.of(self._open.cells).folder)
        source = source_image(self._viewer, part.cells)
        image = part.pixels if source is None else image_data(source)
        labels, state = np.array(part.labels.data), state_of(part.labels)
        said = known_cells(part.labels)
        said = said[np.isin(said["label"], labels) & (said["label"] > 0)]
        said = said[~said["label"].isin(part.said_since(part.cells)["label"])]  # these are written anyhow
        put_back = labels, image, said, part.known
        self.put_back.setEnabled(False)
        self._job = self._panel.in_background(
            lambda progress: LargeResult.open(folder).replace_region(part.window, *put_back),
            "Putting the corrections back",
            done=lambda table: self._on_put_back(part, (state, folder), table),
            ended=lambda: self.put_back.setEnabled(not busy(self._job)),
        )
        return self._job

    def _on_put_back(self, part: _Part, done: tuple[object, str], table: pd.DataFrame) -> None:
        cells, folder = part.cells, LayerInfo.of(part.cells).folder
        if self.part is part.labels and (state_of(part.labels), folder) != done:
            self.finish()  # it was corrected meanwhile, or a session saved the cells elsewhere
            return
        there = (one for one in self._viewer.layers if is_cells(one) and LayerInfo.of(one).folder == folder)
        cells = next(there, cells)  # opened anew meanwhile, perhaps
        self._open = None
        keep_unsaved(self._viewer).saved(part.labels)
        table = with_said(table, part.said_since(cells))
        cells.features = features_table(table)
        cells.visible = True
        cells.refresh()
        counts_of(self._viewer).tell(cells, table)
        remove_layers(self._viewer, part.labels, part.image)
        if cells in self._viewer.layers:
            self._viewer.layers.selection.active = cells


def _cells_in(cells: Labels, window: Box, labels: np.ndarray) -> pd.DataFrame:
    """Return what the review knows of the cells in a part, which it does sooner than it is on disk."""
    known = known_cells(cells).join(cells.features.filter(["decision", "flag"]))
    rows = known[np.isin(known["label"], np.unique(labels))]
    return rows.assign(row=rows["row"] - window.top, col=rows["col"] - window.left)
