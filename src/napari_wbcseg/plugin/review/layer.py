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
from qtpy.QtCore import QObject, Signal

from ...box import Box
from ...classification.classes import CLASS, CLASS_BY, MODEL, UNSURE, ClassList
from ...classification.naming import said_by_model
from ...errors import EditError
from ...segmentation.edit import unused_labels
from ...segmentation.tracking import Change, TrackedCells
from ..shared.counts import counts_of
from ..shared.metadata import LayerInfo, class_list, note
from ..shared.viewer import image_data
from .decisions import Accepted, Cell, Decisions, Told
from .edits import apply_edits, cutting, drawing, merging, removing, shown_planes
from .kept_features import DiskCopy, KeptFeatures
from .measured_cells import MeasuredCells, StoredCells

_MOST_STEPS = 100  # as many as napari keeps


class LayerReview(QObject):
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
    on_disk : bool
        Whether the cells are those of a large result, whose outlines are corrected part by part.
    told : Told or None
        What a classifier says that learned from this review; see `Learning`.
    """

    #: Emitted when the table, the count or a decision changed.
    changed = Signal()
    #: Emitted when every cell is measured, after the start and after all labels were replaced.
    measured = Signal()
    #: Emitted with a sentence that the user should read.
    noted = Signal(str)

    def __init__(self, viewer: ViewerModel, labels: Labels, image: Image | None = None) -> None:
        super().__init__()
        folder = LayerInfo.of(labels).folder
        self.viewer, self.labels, self.on_disk = viewer, labels, folder is not None
        kind = StoredCells if self.on_disk else MeasuredCells
        self._measured = measured = kind(viewer, labels, image)
        self._table: pd.DataFrame | None = None
        self._found: pd.DataFrame | None = None  # without what was decided
        self.told: Told | None = None
        self._features = KeptFeatures(labels, lambda: None if self.measuring else self.cells)
        self._take_over()
        self._features.replaced.connect(self._on_replaced)
        labels.events.metadata.connect(self._on_saved)
        if folder is not None:
            copy = DiskCopy(Path(folder))
            self._features.written.connect(lambda: copy.write(self.cells, self.classes))
        measured.begun.connect(lambda: self._history.begin(edited=True))
        measured.history_lost.connect(lambda: self._history.clear())
        measured.changed.connect(self._on_changed)
        measured.finished.connect(self.measured)
        measured.failed.connect(self.noted)
        measured.measure()

    def close(self) -> None:
        """Stop following the layer."""
        self.labels.events.metadata.disconnect(self._on_saved)
        self._features.close()
        self._measured.close()
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
        planes = self._measured.planes or [TrackedCells(np.zeros((0, 0), np.int32))]
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
        return sum(len(plane.table) for plane in self._measured.planes)

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
        return self._measured.planes[cell[0]].box_of(cell[1])

    @property
    def stacked(self) -> bool:
        """Whether the layer has planes."""
        return bool(self.labels.ndim == 3)

    @property
    def plane(self) -> int | None:
        """The plane on the canvas; None where the view is not of one."""
        planes = shown_planes(self.labels, self.viewer.dims)
        return planes[0] if planes else None

    # Measuring --------------------------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The image that the stain is measured on; None for none."""
        return self._measured.image

    @property
    def image_problem(self) -> str:
        """Why the stain is not measured; empty where it is."""
        return self._measured.image_problem

    @property
    def measuring(self) -> bool:
        """Whether cells are still being measured in the background."""
        return self._measured.measuring

    def set_image(self, image: Image | None) -> None:
        """Measure the stain on another image; None for on none."""
        self._measured.set_image(image)

    def measure(self) -> None:
        """Measure all cells anew."""
        self._measured.measure()

    def update_now(self) -> None:
        """Measure what was edited since; happens by itself some milliseconds after an edit."""
        self._measured.update_now()

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
        apply_edits(self.labels, removing(self.labels, self._boxes(self._chosen(cells))))
        self._measured.own_edit()

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
        edit = cutting(self.labels, cell, self.box_of(cell), stroke, self._unused_label())
        apply_edits(self.labels, [edit])
        self._measured.own_edit()
        return [(cell[0], number) for number in edit.labels]

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
        edit = drawing(self.labels, plane, box, mask, self._unused_label())
        apply_edits(self.labels, [edit])
        self._measured.own_edit()
        cell = (plane, edit.labels[0])
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
        edit = merging(self.labels, self._boxes(chosen))
        apply_edits(self.labels, [edit])
        self._measured.own_edit()
        return chosen[0][0], edit.labels[0]

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
        if renamed:
            self.write_features()
        else:
            self._history.begin(edited=False)
        note(self.labels, classes=classes.to_list())
        if renamed:
            self._features.rename_classes(renamed)
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
        largest = max((int(p.table.index.max()) for p in self._measured.planes if len(p.table)), default=0)
        return unused_labels(image_data(self.labels), 1, largest + 1)[0]

    def _boxes(self, cells: list[Cell]) -> dict[Cell, Box]:
        return {cell: self.box_of(cell) for cell in cells}

    # Following -------------------------------------------------------------------------------------------

    def _on_changed(self, changes: list[tuple[int, Change]], by_brush: bool) -> None:
        """Draw what follows from cells that were measured."""
        self._table = self._found = None
        for plane, change in changes:
            for label, taker in self._decisions.follow(plane, change, by_brush).items():
                self.noted.emit(f"Cell {label} was swallowed by cell {taker}. Ctrl-Z takes it back.")
        self._announce()

    def _on_replaced(self) -> None:
        """Take over what others wrote into the layer's features."""
        self._take_over()
        self._measured.measure()

    def _on_saved(self, event: Any) -> None:
        self.changed.emit()  # a count in doubt is none any more

    def _take_over(self) -> None:
        """Begin with what the layer's features tell."""
        self._decisions, self._measured.known = self._features.read()
        self._history = History(self._measured, self._decisions)
        self._table = self._found = self.told = None

    def _announce(self) -> None:
        self._table = None
        counts_of(self.viewer).review(self.labels, self.cells)
        self._features.write_soon()
        self.changed.emit()

    def write_features(self) -> None:
        """Keep the table in the layer's features; happens by itself a moment after a change."""
        self._features.write()


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
