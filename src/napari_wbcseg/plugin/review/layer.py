"""A review of the cells of a Labels layer: what a person corrects and decides, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import Signal

from ...box import Box
from ...classification.classes import CLASS, CLASS_BY, MODEL, UNSURE, ClassList
from ...classification.naming import said_by_model
from ...errors import EditError
from ...segmentation.edit import (
    Edit,
    merge_cells,
    remove_cells,
    separate_pieces,
    split_by_stroke,
    unused_labels,
)
from ...segmentation.tracking import Change, TrackedCells
from ..shared.counts import counts_of
from ..shared.features import known_cells
from ..shared.metadata import LayerInfo, class_list, note
from ..shared.viewer import image_data
from .decisions import Accepted, Cell, Decisions, Told
from .edits import edit_cells, shown_planes
from .kept_features import DiskCopy, decisions_in, keep, rename_classes
from .measured_cells import MeasuredCells

_MOST_STEPS = 100  # as many as napari keeps


class LayerReview(MeasuredCells):
    """Follows one Labels layer: corrects its cells, counts them, and keeps what a person decided with it.

    A cell is named by its plane, 0 for a single image, and its label.

    Parameters
    ----------
    viewer : napari.Viewer
    labels : Labels
        Of one plane or a stack of planes; made by this plugin or not.
    image : Image, optional
        The stained image, of the same shape; without one the stain is not measured.

    Attributes
    ----------
    told : Told or None
        What a classifier says that learned from this review; see `Learning`.
    """

    #: Emitted when the table, the count or a decision changed.
    changed = Signal()

    def __init__(self, viewer: ViewerModel, labels: Labels, image: Image | None = None) -> None:
        super().__init__(viewer, labels, image)
        self._table: pd.DataFrame | None = None
        self._found: pd.DataFrame | None = None  # without what was decided
        self.told: Told | None = None
        folder = LayerInfo.of(labels).folder
        self._copy = None if folder is None else DiskCopy(Path(folder))
        self._take_over()
        self.cleanup.connect(labels.events.features, self._on_features)
        self.cleanup.connect(labels.events.metadata, self._on_saved)
        self.cleanup.connect(labels.events.paint, lambda _: self._history.begin(edited=True))
        for lost in (labels.events.data, labels.events.editable):  # napari's own history goes then
            self.cleanup.connect(lost, lambda _: self._history.clear())
        self.measure()

    def close(self) -> None:
        """Stop following the layer."""
        self.cleanup.run()
        counts_of(self.viewer).end_review(self.labels)

    def summary(self, plane: int | None = None) -> str:
        """Return the count in words, such as ``23 white cells, 2 to check``; of one plane where given."""
        return counts_of(self.viewer).words(self.labels, plane)

    # The cells -------------------------------------------------------------------------------------------

    @property
    def cells(self) -> pd.DataFrame:
        """A row a cell, in pixels: the columns of `measure_labels`, and what was decided.

        ``plane`` (for a stack) comes first; ``certainty`` is NaN for cells drawn by hand; ``flag`` says
        what an edit did, such as ``2 pieces``; ``decision`` is ``accepted`` or empty; ``check`` is set
        for cells that are unsure or flagged, until they are accepted.
        """
        if self._table is None:
            if self._found is None:
                self._found = self._find_cells()
            self._table = self._decisions.add_columns(self._found, _keys(self._found))
        return self._table

    def _find_cells(self) -> pd.DataFrame:
        """Return the cells as they are measured, with what a classifier says that learned here."""
        planes = self.planes or [TrackedCells(np.zeros((0, 0), np.int32))]
        tables = [plane.table for plane in planes]
        if self.stacked:
            tables = [table.assign(plane=index) for index, table in enumerate(tables)]
        table = pd.concat(tables, ignore_index=True)
        if self.stacked:
            table.insert(0, "plane", table.pop("plane"))
        if self.told is None:
            return table
        return said_by_model(table, self.told.probabilities.reindex(table["label"]), self.told.classes)

    @property
    def classes(self) -> ClassList:
        """The classes that cells are sorted into: the list of the result, and what is found beside."""
        return class_list(self.labels).covering(sorted(set(self.cells[CLASS])))

    @property
    def count(self) -> int:
        """Number of cells, over all planes."""
        return sum(len(plane.table) for plane in self.planes)

    @property
    def to_check(self) -> int:
        """Number of cells worth a second look."""
        return int(self.cells["check"].sum())

    def keys(self) -> list[Cell]:
        """Return plane and label of each row of `cells`."""
        return _keys(self.cells)

    def box_of(self, cell: Cell) -> Box:
        """Return the bounding box of a cell, in pixels of its plane.

        Raises
        ------
        KeyError
            If it is not there.
        """
        return self.planes[cell[0]].box_of(cell[1])

    @property
    def stacked(self) -> bool:
        """Whether the layer has planes."""
        return bool(self.labels.ndim == 3)

    @property
    def plane(self) -> int | None:
        """The plane on the canvas; None where the view is not of one."""
        planes = shown_planes(self.labels, self.viewer.dims)
        return planes[0] if planes else None

    # Corrections -----------------------------------------------------------------------------------------

    def accept(self, cells: Iterable[Cell]) -> None:
        """Mark cells as looked at and right, outline and class; marking all of them again takes it back.

        No model changes their classes then, as if a person had named them. Cells called unsure stay that.

        Raises
        ------
        EditError
            If one of them is not there.
        """
        table, chosen = self.cells, self._chosen(cells)
        sure = table[CLASS_BY].eq(MODEL) & table[CLASS].ne(UNSURE)
        flags = zip(table["flag"], table[CLASS].where(sure, ""), strict=True)
        as_it_is = dict(zip(self.keys(), starmap(Accepted, flags), strict=True))
        self._history.begin(edited=False)
        self._decisions.accept({cell: as_it_is[cell] for cell in chosen})
        self._announce()

    def name(self, cells: Iterable[Cell], name: str) -> None:
        """Say what cells are, as a person does; no model overwrites it.

        Parameters
        ----------
        cells : iterable of tuple of int
        name : str
            Of a class; an empty one takes back what a person said.

        Raises
        ------
        EditError
            If one of them is not there.
        """
        chosen = self._chosen(cells)
        self._history.begin(edited=False)
        self._decisions.name({label for _, label in chosen}, name)
        self._announce()

    def tell(self, told: Told | None) -> None:
        """Take what a classifier says of the cells, or nothing; what a person named keeps its class."""
        self.told, self._found = told, None
        self._announce()

    def reject(self, cells: Iterable[Cell]) -> None:
        """Take cells that are none out of the labels; the layer's Undo brings them back.

        Raises
        ------
        EditError
            If no cell is given, one is not there, or the layer cannot be edited.
        """
        self._edit(self._boxes(self._chosen(cells)), remove_cells)

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
        self.there([cell])
        plane, label = cell
        box, new_label = self.box_of(cell), self._unused_label()

        def cut(labels: np.ndarray, _: list[int]) -> Edit:
            if stroke is None:
                return separate_pieces(labels, label, new_label)
            return split_by_stroke(labels, label, np.asarray(stroke, float) - box[:2], new_label)

        return [(plane, number) for number in self._edit({cell: box}, cut)]

    def add(self, plane: int, box: Box, mask: np.ndarray) -> Cell:
        """Draw a cell that was missed; it is accepted, for a person says that it is one.

        Parameters
        ----------
        plane : int
        box : Box
        mask : ndarray of bool
            Its pixels in the box.

        Raises
        ------
        EditError
            If the layer cannot be edited.
        """
        cell = plane, self._unused_label()

        def draw(labels: np.ndarray, new: list[int]) -> Edit:
            pixels = np.nonzero(mask)
            return Edit(pixels, np.full(len(pixels[0]), new[0], np.int64), tuple(new))

        self._edit({cell: box}, draw)
        self._decisions.accept({cell: Accepted("")})
        self._announce()
        return cell

    def merge(self, cells: Iterable[Cell]) -> Cell:
        """Make one cell of several of a plane, and return it.

        Raises
        ------
        EditError
            If fewer than two are given, they lie on different planes, or the layer cannot be edited.
        """
        chosen = self._chosen(cells)
        (plane, _), *others = chosen
        if any(other[0] != plane for other in others):
            raise EditError("Cells of different planes cannot be merged.")
        (label,) = self._edit(self._boxes(chosen), merge_cells)
        return plane, label

    def set_classes(self, classes: ClassList, renamed: Mapping[str, str] | None = None) -> None:
        """Sort cells into other classes from now on; the list is kept with the layer and its files.

        Parameters
        ----------
        classes : ClassList
        renamed : mapping of str to str, optional
            Old and new names, which the cells take over; with one Undo begins anew, else it takes this back.

        Raises
        ------
        EditError
            If cells are still being measured, and a class was renamed.
        """
        if renamed and self.measuring:
            raise EditError("Wait until the cells are measured, then rename the class.")
        if not renamed:
            self._history.begin(edited=False)
        note(self.labels, classes=classes.to_list())
        if renamed:
            rename_classes(self.labels, renamed)
        else:
            self._announce()

    def undo(self) -> None:
        """Take back the last edit of the layer, decision or change of classes, whichever was later."""
        if self._history.undo():
            self._announce()

    def redo(self) -> None:
        """Do again what was taken back last."""
        if self._history.redo():
            self._announce()

    def there(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return cells as a list.

        Raises
        ------
        EditError
            If one of them is not there.
        """
        self.update_now()
        chosen = [(int(plane), int(label)) for plane, label in cells]
        known = set(self.keys())
        for cell in chosen:
            if cell not in known:
                where = f" on plane {cell[0]}" if self.stacked else ""
                raise EditError(f"There is no cell {cell[1]}{where}.")
        return chosen

    def _chosen(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return at least one cell."""
        if chosen := self.there(cells):
            return chosen
        raise EditError("Choose a cell first.")

    def _unused_label(self) -> int:
        largest = max((int(p.table.index.max()) for p in self.planes if len(p.table)), default=0)
        return unused_labels(image_data(self.labels), 1, largest + 1)[0]

    def _boxes(self, cells: list[Cell]) -> dict[Cell, Box]:
        return {cell: self.box_of(cell) for cell in cells}

    def _edit(self, cells: dict[Cell, Box], make: Callable[[np.ndarray, list[int]], Edit]) -> list[int]:
        """Edit cells and follow that; see `edit_cells`."""
        labels = edit_cells(self.labels, cells, make)
        self._by_brush = False  # a cell that goes by our own hand was not swallowed
        self.update_now()
        return labels

    # Following -------------------------------------------------------------------------------------------

    def _follow(self, changes: list[tuple[int, Change]], by_brush: bool) -> None:
        """Draw what follows from cells that were measured."""
        self._table = self._found = None
        for plane, change in changes:
            for label, taker in self._decisions.follow(plane, change, by_brush).items():
                self.noted.emit(f"Cell {label} was swallowed by cell {taker}. Ctrl-Z takes it back.")
        self._announce()

    def _on_features(self, event: Any) -> None:
        """Take over what others wrote, such as a segmentation that ran again into the same layer."""
        if self.labels.features is not self._features:
            self._take_over()
            self.measure()

    def _on_saved(self, event: Any) -> None:
        self.changed.emit()  # a count in doubt is none any more

    def _take_over(self) -> None:
        """Begin with what the layer's features tell."""
        self._features = self.labels.features
        self._decisions, self.known = decisions_in(self.labels), known_cells(self.labels)
        self._history = History(self, self._decisions)
        self._table = self._found = self.told = None

    def _announce(self) -> None:
        self._table = None
        if not self.measuring:  # others may have written what is being measured
            with self.labels.events.features.blocker(self._on_features):
                keep(self.labels, self.cells)
            self._features = self.labels.features
            if self._copy is not None:
                self._copy.write(self.cells, self.classes)
        counts_of(self.viewer).review(self.labels, self.cells)
        self.changed.emit()


class History:
    """Undo and redo over edits of the layer, decisions and classes together, in the order they were made.

    A step is what was decided on the other side of it, with the classes there were, and whether it is an
    edit of the layer.

    Parameters
    ----------
    cells : MeasuredCells
        Whose layer takes its edits back itself.
    decisions : Decisions
    """

    def __init__(self, cells: MeasuredCells, decisions: Decisions) -> None:
        self._cells, self._decisions = cells, decisions
        self._done: list[tuple[Any, Any, bool]] = []
        self._undone: list[tuple[Any, Any, bool]] = []

    def begin(self, edited: bool) -> None:
        """Remember what there is before a step: an edit of the layer, or what a person says."""
        self._done = [*self._done[-_MOST_STEPS:], (*self._said, edited)]
        self._undone = []

    def clear(self) -> None:
        """Forget all steps."""
        self._done, self._undone = [], []

    def undo(self) -> bool:
        """Take the last step back, and say whether there was one."""
        return self._go(self._done, self._undone, self._cells.labels.undo)

    def redo(self) -> bool:
        """Do again what was taken back last, and say whether there was something."""
        return self._go(self._undone, self._done, self._cells.labels.redo)

    @property
    def _said(self) -> tuple[Any, Any]:
        return self._decisions.state, LayerInfo.of(self._cells.labels).classes

    def _go(self, steps: list[Any], others: list[Any], load: Callable[[], None]) -> bool:
        self._cells.update_now()
        while steps:
            state, classes, edited = steps.pop()
            there = *self._said, edited
            if edited and not self._cells.took_back(load):
                continue  # the layer's own Undo took it back already
            self._decisions.state = state
            note(self._cells.labels, classes=classes)
            others.append(there)
            return True
        return False


def _keys(table: pd.DataFrame) -> list[Cell]:
    planes = table["plane"].tolist() if "plane" in table else [0] * len(table)
    return list(zip(planes, table["label"].tolist(), strict=True))
