"""A review of the cells of a Labels layer: what a person corrects, and takes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ...box import Box
from ...classification.classes import CLASS_BY, PERSON
from ...errors import EditError, WBCSegError
from ...images.pixel_source import PixelSource
from ...network.library import load_model
from ...network.model_file import ModelFile
from ...progress import Progress
from ...segmentation.edit import (
    Edit,
    merge_cells,
    remove_cells,
    separate_pieces,
    split_by_stroke,
    unused_labels,
)
from ...segmentation.missed import outline_at
from ...segmentation.prediction import Predictor
from ...settings import SegmentationSettings
from ..shared.jobs import Job, in_background
from ..shared.metadata import LayerInfo
from ..shared.viewer import image_data, plane_of
from .decisions import Cell
from .reviewed_cells import ReviewedCells

_MODEL = "wbc"
ON_DISK = (
    "These cells are on disk, for the image is large: look at them and name them here. To correct outlines, "
    "zoom to where they are wrong, and press the button below."
)


class LayerReview(ReviewedCells):
    """Corrects the cells of one Labels layer, follows what else is drawn in it, and keeps what is said."""

    def require_editable(self) -> None:
        """Raise `EditError` if no outline can be changed: cells are on disk, or the layer is locked."""
        layer = self.labels
        if self.on_disk:
            raise EditError(ON_DISK)
        if layer.multiscale or not layer.editable:
            why = "it has several resolutions" if layer.multiscale else "its editing is switched off"
            raise EditError(f"The layer {layer.name} cannot be edited: {why}.")

    def reject(self, cells: Iterable[Cell]) -> None:
        """Take cells that are none out of the labels; the layer's Undo brings them back.

        Raises
        ------
        EditError
            If no cell is given, one is not there, or the layer cannot be edited.
        """
        self._edit(self.checked(cells, 1), remove_cells)

    def split(self, cell: Cell, stroke: np.ndarray | None = None) -> list[Cell]:
        """Cut a cell along a line, or, without one, give each of its pieces a number of its own.

        Parameters
        ----------
        cell : tuple of int
            Plane and label.
        stroke : ndarray of float, shape (n, 2), optional
            Row and column of the points of the line, in pixels of the layer.

        Returns
        -------
        list of tuple of int
            The cells that there are now.

        Raises
        ------
        EditError
            If the line does not part the cell, the cell has one piece, or the layer cannot be edited.
        """
        ((plane, label),) = self.checked([cell])
        box, numbers = self.box_of(cell), self._unused_labels()

        def cut(labels: np.ndarray, _: list[int]) -> Edit:
            if stroke is None:
                return separate_pieces(labels, label, numbers)
            return split_by_stroke(labels, label, np.asarray(stroke, float) - box[:2], numbers)

        return [(plane, number) for number in self._edit([(plane, label)], cut)]

    def outline_at(self, plane: int, point: tuple[float, float], found: Callable[[Cell], object]) -> Job:
        """Outline a cell that was missed, by the model that found the others, and add it; in the background.

        It is accepted, for a person says that it is one.

        Parameters
        ----------
        plane : int
        point : tuple of float
            Row and column, pixels.
        found : callable
            Called with the cell that was added. The job tells why none was, or `noted` why it is not drawn.

        Raises
        ------
        EditError
            If there is no image, or the layer cannot be edited.
        """
        self.require_editable()
        self.update_now()
        if self.image is None:
            raise EditError("Choose the image of the cells first: the outline is found in it.")
        labels, image = plane_of(self.labels, plane), image_data(self.image)
        image = image[plane] if self.stacked else image
        info, cells, value_range = self.info, self.cells, self.value_range
        diameter, drawn = info.cell_diameter, float(cells["diameter"].median()) if len(cells) else None

        def work(progress: Progress) -> tuple[Box, np.ndarray]:
            source, predictor = PixelSource(image, value_range), Predictor(*_method(info), progress)
            return outline_at(source, labels, point, diameter, predictor, drawn)

        def add(outline: tuple[Box, np.ndarray]) -> None:
            try:
                found(self._add(plane, *outline))
            except EditError as error:  # the type of the labels has no number left, say
                self.noted.emit(str(error))

        return in_background(work, "Outlining the cell", done=add, cleanup=self.cleanup)

    def _add(self, plane: int, box: Box, mask: np.ndarray) -> Cell:
        """Draw a cell, given by its pixels in a box, and accept it."""
        cell = plane, next(self._unused_labels())

        def draw(labels: np.ndarray, new: list[int]) -> Edit:
            pixels = np.nonzero(mask & (labels == 0))  # others were drawn meanwhile, perhaps
            if not len(pixels[0]):
                raise EditError("A cell is outlined there already: select it to change it.")
            return Edit(pixels, np.full(len(pixels[0]), new[0], np.int64), tuple(new))

        self._edit([cell], draw, box)
        self._decisions.accept({cell: ("", "")})
        self._announce()
        return cell

    def merge(self, cells: Iterable[Cell]) -> Cell:
        """Make one cell of several of a plane, and return it: it is what the largest of them was.

        One that a person named goes before larger ones.

        Raises
        ------
        EditError
            If fewer than two are given, they lie on different planes, or the layer cannot be edited.
        """
        chosen = self.checked(cells, 1)
        if len({plane for plane, _ in chosen}) > 1:
            raise EditError("Cells of different planes cannot be merged.")
        table = self.cells
        ranks = zip(table[CLASS_BY].eq(PERSON), table["area"], strict=True)
        chosen.sort(key=dict(zip(self.keys(), ranks, strict=True)).__getitem__, reverse=True)
        (label,) = self._edit(chosen, merge_cells)
        return chosen[0][0], label

    def _unused_labels(self) -> Iterator[int]:
        # Not of a cell that was rejected: what was said of that would be said of the new one.
        known = {*self.known["label"], *(label for _, label in (*self.keys(), *self._decisions.cells))}
        return unused_labels(image_data(self.labels), int(max(known, default=0)) + 1)

    def _edit(
        self, cells: list[Cell], make: Callable[[np.ndarray, list[int]], Edit], box: Box | None = None
    ) -> list[int]:
        """Edit cells, as one step that the layer's Undo takes back, and return the labels they have then.

        Parameters
        ----------
        cells : list of tuple of int
        make : callable
            Given the part of a plane that holds the cells, as a whole one takes long, and their labels.
        box : Box, optional
            Where they lie; by default their own boxes.

        Raises
        ------
        EditError
            If the layer cannot be edited.
        """
        self.require_editable()
        layer = self.labels
        planes: dict[int, list[int]] = {}
        for plane, label in cells:
            planes.setdefault(plane, []).append(label)
        edits = []
        for plane, labels in planes.items():
            here = box or Box.around(self.box_of((plane, label)) for label in labels)
            edit = make(plane_of(layer, plane)[here.slices], labels).moved(here.top, here.left)
            edits.append(edit.on_plane(plane) if self.stacked else edit)
        if not layer.visible:  # napari writes into what it shows too, and has nothing of a hidden plane
            layer.set_view_slice()
        try:
            with layer.block_history():
                for edit in edits:
                    layer.data_setitem(edit.indices, edit.values)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise EditError(
                f"The layer {layer.name} cannot be edited ({error}). Add a copy that can: "
                "viewer.add_labels(numpy.array(layer.data))."
            ) from None
        self._by_brush = False  # a cell that goes by our own hand was not swallowed
        self.update_now()
        return [label for edit in edits for label in edit.labels]


def _method(info: LayerInfo) -> tuple[ModelFile, SegmentationSettings]:
    """Return by what the cells of a layer were found; the built-in model where that is not at hand."""
    try:
        model = load_model(info.model.partition("@")[0] or _MODEL)
        settings = SegmentationSettings(**(info.settings or {"recipe": model.header.recipe}))
    except WBCSegError:  # drawn by hand, or by a model that is gone
        model, settings = load_model(_MODEL), SegmentationSettings()
    return model, settings
