"""The cells of a Labels layer, measured, counted and decided on, in step with every edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from qtpy.QtCore import QObject, Signal

from ...box import Box
from ...classification.classes import CLASS, PROBABILITY, ClassList
from ...errors import EditError
from ...progress import Progress, silent
from ...segmentation.edit import unused_labels
from ...segmentation.measure import COLUMNS
from ...segmentation.result import count_in_words
from ...segmentation.tracking import TrackedCells
from ..shared.counts import counts_of
from ..shared.features import known_cells, known_values, write_features
from ..shared.jobs import Job, timer
from ..shared.metadata import LayerInfo, class_list
from ..shared.viewer import image_data
from .decisions import ACCEPTED, Cell, Decisions
from .edits import (
    Place,
    apply_edits,
    cutting,
    merging,
    place_redrawn,
    places_painted,
    plane_count,
    plane_of,
    removing,
    shown_planes,
)
from .measure import Measured, measure_planes, stained_array

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

_EDIT_DELAY = 20  # ms; gathers what one mouse move emits
_FEATURES_DELAY = 300  # ms after the last change
_MEASURED_AT_ONCE = 2**18  # pixels of the whole layer; more is measured in a thread
_EDITED_AT_ONCE = 2**20  # pixels that an edit concerns; more would take over 100 ms
_COMPARED_AT_ONCE = 2**25
_SHOWS_PROGRESS = 2**26
_MOST_STEPS = 100  # of Undo, as many as napari keeps
_UNDO_PLANES = 8  # of a stack, the latest edited, that are compared after an undo


class Step(NamedTuple):
    """What Undo takes back, or Redo does again: what was decided on the other side, and an edit or none."""

    state: Any
    edited: bool


class LayerReview(QObject):
    """Follows one Labels layer: a table of its cells, the count, and what the user decided.

    A cell is named by its plane, 0 for a single image, and its label.

    Parameters
    ----------
    viewer : napari.Viewer
    labels : Labels
        Of one plane or a stack of planes; made by this plugin or not.
    image : Image, optional
        The stained image, of the same shape; without one the stain is not measured.
    in_background : bool
        Whether large images are measured in a thread; `measured` is emitted afterwards.
    """

    #: Emitted when the table, the count or a decision changed.
    changed = Signal()
    #: Emitted when every cell is measured, after the start and after all labels were replaced.
    measured = Signal()
    #: Emitted with a sentence that the user should read.
    noted = Signal(str)

    def __init__(
        self, viewer: ViewerModel, labels: Labels, image: Image | None = None, *, in_background: bool = True
    ) -> None:
        super().__init__()
        self.viewer, self.labels, self.image = viewer, labels, image
        #: Why the stain is not measured; empty where it is.
        self.image_problem = ""
        self._in_background = in_background
        self._planes: list[TrackedCells] = []
        self._shape: tuple[int, ...] = ()
        self._decisions, self._known = _known_decisions(labels), known_cells(labels)
        self._features: Any = labels.features  # that were read or written here
        self._table: pd.DataFrame | None = None
        self._dirty: dict[int, Box | None] = {}
        self._edited_planes: dict[int, None] = {}  # the latest last
        self._by_brush = self._heard = False
        self._restored = self._writing = False
        self._done: list[Step] = []
        self._undone: list[Step] = []
        self._job: Job | None = None
        self._again = False
        self._soon = timer(_EDIT_DELAY, self.update_now)
        self._later = timer(_FEATURES_DELAY, self.write_features)
        self._connections = [
            (labels.events.paint, self._on_paint),
            (labels.events.labels_update, self._on_redrawn),
            (labels.events.set_data, self._on_set_data),
            (labels.events.data, self._on_data),
            (labels.events.editable, self._history_lost),
            (labels.events.features, self._on_features),
        ]
        for emitter, callback in self._connections:
            emitter.connect(callback)
        if image is not None:
            image.events.data.connect(self._on_image)
        self.measure()

    def set_image(self, image: Image | None) -> None:
        """Measure the stain on another image; None for on none."""
        if image is self.image:
            return
        self._leave_image()
        self.image = image
        if image is not None:
            image.events.data.connect(self._on_image)
        self.measure()

    def close(self) -> None:
        """Stop following the layer."""
        for emitter, callback in self._connections:
            emitter.disconnect(callback)
        self._connections = []
        self._leave_image()
        self._soon.stop()
        if self._later.isActive() and not self.measuring:
            self.write_features()
        self._later.stop()
        if self._job is not None:
            self._job.abandon()
            self._job = None
        counts_of(self.viewer).end_review(self.labels)

    # The table -------------------------------------------------------------------------------------------

    @property
    def stacked(self) -> bool:
        """Whether the layer has planes."""
        return bool(self.labels.ndim == 3)

    @property
    def classes(self) -> ClassList:
        """The classes that cells are sorted into: the list of the result, and what is found beside."""
        return class_list(self.labels).covering(sorted(set(self.cells[CLASS])))

    @property
    def cells(self) -> pd.DataFrame:
        """A row a cell, in pixels: the columns of `measure_cells`, and what was decided.

        ``plane`` (for a stack) comes first; ``certainty`` is NaN for cells drawn by hand; ``flag`` says
        what an edit did, such as ``2 pieces``; ``decision`` is ``accepted`` or empty; ``check`` is set
        for cells that are unsure or flagged, until they are accepted.
        """
        if self._table is None:
            self._table = self._make_table()
        return self._table

    @property
    def rejected(self) -> pd.DataFrame:
        """The cells that were rejected, as they were measured before."""
        import pandas as pd

        return pd.DataFrame(list(self._decisions.rejected.values()), columns=self.cells.columns)

    @property
    def decided(self) -> pd.DataFrame:
        """All cells with their ``decision``: accepted, rejected (no longer in the labels) or empty."""
        import pandas as pd

        rejected = self.rejected
        return pd.concat([self.cells, rejected], ignore_index=True) if len(rejected) else self.cells

    @property
    def count(self) -> int:
        """Number of cells, over all planes."""
        return sum(len(plane.table) for plane in self._planes)

    @property
    def to_check(self) -> int:
        """Number of cells worth a second look."""
        return int(self.cells["check"].sum())

    def summary(self, plane: int | None = None) -> str:
        """Return the count in words, such as ``23 white cells, 2 to check``; of one plane where given."""
        cells = self.cells
        if plane is not None and self.stacked:
            cells = cells[cells["plane"] == plane]
        return count_in_words(cells, classes=self.classes)

    def keys(self) -> list[Cell]:
        """Return plane and label of each row of `cells`."""
        cells = self.cells
        return _keys(cells)

    def box_of(self, cell: Cell) -> Box:
        """Return the bounding box of a cell, in pixels of its plane.

        Raises
        ------
        KeyError
            If it is not there.
        """
        return self._planes[cell[0]].box_of(cell[1])

    def _make_table(self) -> pd.DataFrame:
        import pandas as pd

        planes = self._planes or [TrackedCells(np.zeros((0, 0), np.int32))]
        tables = [plane.table for plane in planes]
        if self.stacked:
            tables = [table.assign(plane=index) for index, table in enumerate(tables)]
        table = pd.concat(tables, ignore_index=True)
        if self.stacked:
            table.insert(0, "plane", table.pop("plane"))
        return self._decisions.add_columns(table, _keys(table))

    # Corrections -----------------------------------------------------------------------------------------

    def accept(self, cells: Iterable[Cell]) -> None:
        """Mark cells as looked at and right; marking all of them again takes it back.

        Raises
        ------
        EditError
            If one of them is not there.
        """
        flags = dict(zip(self.keys(), self.cells["flag"], strict=True))
        chosen = self._there(cells)
        self._begin(edited=False)
        self._decisions.accept({cell: flags[cell] for cell in chosen})
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
        chosen = self._there(cells)
        self._begin(edited=False)
        self._decisions.name({label for _, label in chosen}, name)
        self._announce()

    def reject(self, cells: Iterable[Cell]) -> None:
        """Take cells that are none out of the labels; the layer's Undo brings them back.

        Raises
        ------
        EditError
            If no cell is given, one is not there, or the layer cannot be edited.
        """
        chosen = self._there(cells)
        records = cast("list[dict[str, Any]]", self.cells.to_dict("records"))
        rows = dict(zip(self.keys(), records, strict=True))
        apply_edits(self.labels, removing(self.labels, self._boxes(chosen)))
        self._decisions.reject({cell: rows[cell] for cell in chosen})
        self._edited()

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
        self._there([cell])
        largest = max((int(p.table.index.max()) for p in self._planes if len(p.table)), default=0)
        fresh = unused_labels(image_data(self.labels), 1, largest + 1)[0]
        edit = cutting(self.labels, cell, self.box_of(cell), stroke, fresh)
        apply_edits(self.labels, [edit])
        self._edited()
        return [(cell[0], number) for number in edit.labels]

    def merge(self, cells: Iterable[Cell]) -> Cell:
        """Make one cell of several of a plane, and return it.

        Raises
        ------
        EditError
            If fewer than two are given, they lie on different planes, or the layer cannot be edited.
        """
        chosen = self._there(cells)
        edit = merging(self.labels, self._boxes(chosen))
        apply_edits(self.labels, [edit])
        self._edited()
        return chosen[0][0], edit.labels[0]

    def set_classes(self, classes: ClassList, renamed: Mapping[str, str] | None = None) -> None:
        """Sort cells into other classes from now on; the list is kept with the layer and its files.

        Parameters
        ----------
        classes : ClassList
        renamed : mapping of str to str, optional
            Old and new names, which the cells take over; with one Undo begins anew.

        Raises
        ------
        EditError
            If cells are still being measured, and a class was renamed.
        """
        if renamed and self.measuring:
            raise EditError("Wait until the cells are measured, then rename the class.")
        if renamed:
            self.write_features()
        replace(LayerInfo.of(self.labels), classes=classes.to_list()).keep_in(self.labels)
        if renamed:
            columns = {f"{PROBABILITY}{old}": f"{PROBABILITY}{new}" for old, new in renamed.items()}
            features = self.labels.features.rename(columns=columns)
            self.labels.features = features.assign(**{CLASS: features[CLASS].replace(dict(renamed))})
        else:
            self._announce()

    def undo(self) -> None:
        """Take back the last edit of the layer, or the last decision, whichever was later."""
        self._go(self._done, self._undone, self.labels.undo)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._go(self._undone, self._done, self.labels.redo)

    def _go(self, steps: list[Step], others: list[Step], load: Callable[[], None]) -> None:
        self.update_now()
        while steps:
            step = steps.pop()
            there = Step(self._decisions.state, step.edited)
            if step.edited:
                self._heard = False
                load()
                if not self._heard:  # the layer's own Undo took it back already
                    continue
                self.update_now()
            self._decisions.state = step.state
            others.append(there)
            self._announce()
            return

    def _begin(self, edited: bool) -> None:
        """Remember what there was before a step."""
        self._done = [*self._done[-_MOST_STEPS:], Step(self._decisions.state, edited)]
        self._undone = []

    def _history_lost(self, event: Any = None) -> None:
        self._done, self._undone = [], []

    def _there(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return cells as a list; they must be there."""
        self.update_now()
        chosen = [(int(plane), int(label)) for plane, label in cells]
        known = set(self.keys())
        for cell in chosen:
            if cell not in known:
                where = f" on plane {cell[0]}" if self.stacked else ""
                raise EditError(f"There is no cell {cell[1]}{where}.")
        if not chosen:
            raise EditError("Choose a cell first.")
        return chosen

    def _boxes(self, cells: list[Cell]) -> dict[Cell, Box]:
        return {cell: self.box_of(cell) for cell in cells}

    def _edited(self) -> None:
        """Follow an edit that was made here."""
        self._by_brush = False  # a cell that goes by our own hand was not swallowed
        self.update_now()

    # Following -------------------------------------------------------------------------------------------

    def _on_paint(self, event: Any) -> None:
        self._begin(edited=True)
        self._by_brush = True
        for place in places_painted(event.value, self.labels.ndim):
            self._mark(place, edited=True)

    def _on_redrawn(self, event: Any) -> None:
        self._by_brush = True
        self._mark(place_redrawn(event, self.labels, self.viewer.dims), edited=True)

    def _on_set_data(self, event: Any = None) -> None:
        # Undo and redo tell no more than this; it comes for many other reasons too.
        self._heard = True
        self._mark((shown_planes(self.labels, self.viewer.dims), None))
        for plane in list(self._edited_planes)[-_UNDO_PLANES:]:
            self._mark((range(plane, plane + 1), None))

    def _on_data(self, event: Any) -> None:
        self._history_lost()
        self._by_brush = False
        self._mark((None, None))

    def _on_features(self, event: Any) -> None:
        """Take over what others wrote, such as a segmentation that ran again into the same layer."""
        if self._writing or self.labels.features is self._features:
            return
        self._features = self.labels.features
        self._history_lost()
        self._later.stop()
        self._decisions, self._known = _known_decisions(self.labels), known_cells(self.labels)
        self._restored = False
        self.measure()

    def _on_image(self, event: Any) -> None:
        self.measure()

    def _leave_image(self) -> None:
        if self.image is not None:
            self.image.events.data.disconnect(self._on_image)
            self.image = None

    def _mark(self, place: Place, edited: bool = False) -> None:
        """Remember where something may have changed, and look at it soon."""
        planes, box = place
        for plane in range(plane_count(self.labels)) if planes is None else planes:
            before = self._dirty.get(plane, box)
            self._dirty[plane] = None if before is None or box is None else Box.around((before, box))
            if edited:
                self._edited_planes.pop(plane, None)
                self._edited_planes[plane] = None
        if self._dirty and not self._soon.isActive():
            self._soon.start()

    def update_now(self) -> None:
        """Measure what was edited since; called by itself some milliseconds after an edit."""
        self._soon.stop()
        if not self._planes:
            return
        if tuple(image_data(self.labels).shape) != self._shape or self._takes_long_to_compare():
            self._dirty = {}
            self.measure()
            return
        dirty, self._dirty = self._dirty, {}
        by_brush, self._by_brush = self._by_brush, False
        found = {}
        for plane, within in dirty.items():
            boxes = self._planes[plane].differences(plane_of(self.labels, plane), within)
            if boxes:
                found[plane] = boxes
        if not found:
            return
        if sum(self._planes[plane].work(boxes) for plane, boxes in found.items()) > _EDITED_AT_ONCE:
            self._by_brush = by_brush
            self.measure()
            return
        for plane, boxes in found.items():
            change = self._planes[plane].update(plane_of(self.labels, plane), boxes)
            self._note(self._decisions.follow(plane, change, by_brush))
        self._announce()

    def _takes_long_to_compare(self) -> bool:
        whole = sum(within is None for within in self._dirty.values())
        return whole > 1 and whole * int(np.prod(self._planes[0].shape)) > _COMPARED_AT_ONCE

    def _note(self, swallowed: dict[int, int]) -> None:
        for label, taker in swallowed.items():
            self.noted.emit(f"Cell {label} was swallowed by cell {taker}. Ctrl-Z takes it back.")

    def _announce(self) -> None:
        self._table = None
        counts_of(self.viewer).review(self.labels, self.cells)
        self._later.start()
        self.changed.emit()

    def write_features(self) -> None:
        """Keep the table in the layer's features; called by itself a moment after a change."""
        self._later.stop()
        if not self._planes:
            return
        if self.measuring:  # not without the stain
            self._later.start()
            return
        self._writing = True
        try:
            write_features(
                self.labels, self.cells.drop(columns=self._known.columns.difference(list(COLUMNS)))
            )
        finally:
            self._writing = False
            self._features = self.labels.features

    # Measuring everything --------------------------------------------------------------------------------

    @property
    def measuring(self) -> bool:
        """Whether cells are still being measured in the background."""
        return self._job is not None

    def measure(self) -> None:
        """Measure all cells: in the background shapes first, which is quick, then the stain."""
        if self._job is not None:
            self._again = True
            return
        data = image_data(self.labels)
        self._shape = tuple(data.shape)
        if self._in_background and int(np.prod(self._shape)) > _MEASURED_AT_ONCE:
            self._start(None, final=False)
            return
        image, problem = stained_array(self.image, self._shape)
        measured = measure_planes(data, image, silent, self._known)
        self._replace(measured, measured.problem or problem, final=True)

    def _start(self, image: Any, final: bool) -> None:
        data, known = image_data(self.labels), self._known

        def work(progress: Progress) -> Measured:
            return measure_planes(data, image, progress, known)

        long = int(np.prod(self._shape)) > _SHOWS_PROGRESS
        self._job = job = Job(work, "Measuring cells" if long else "")
        job.succeeded.connect(lambda measured: self._on_measured(measured, final))
        job.failed.connect(self._on_failed)
        job.start()

    def _on_measured(self, measured: Measured, final: bool) -> None:
        self._job = None
        if self._again or tuple(image_data(self.labels).shape) != self._shape:
            self._again = False
            self.measure()
            return
        image, problem = stained_array(self.image, self._shape)
        final = final or image is None
        self._replace(measured, measured.problem or problem, final)
        if not final and self._job is None:
            self._start(image, final=True)

    def _on_failed(self, words: str) -> None:
        self._job = None
        self.noted.emit(words)

    def _replace(self, measured: Measured, problem: str, final: bool) -> None:
        before, self._planes, self.image_problem = self._planes, measured.planes, problem
        self._table = None
        if not self._restored:
            self._restored = True
            self._decisions.restore(dict(zip(self.keys(), self.cells["flag"], strict=True)))
            self._table = None
        elif [plane.shape for plane in before] == [plane.shape for plane in self._planes]:
            for index, (then, now) in enumerate(zip(before, self._planes, strict=True)):
                self._note(self._decisions.follow(index, now.changes_since(then), self._by_brush))
        self._by_brush = False
        self._on_set_data()  # what was edited while this was measured
        self._announce()
        if final:
            self.measured.emit()


def _known_decisions(labels: Labels) -> Decisions:
    """Read what the model, or an earlier review, left in the layer's features."""
    check, flagged = known_values(labels, "check"), known_values(labels, "flag")
    accepted = known_values(labels, "decision")
    return Decisions(
        known_values(labels, "certainty"),
        {label for label, value in check.items() if value is True and label not in flagged},
        {label for label, decision in accepted.items() if decision == ACCEPTED},
    )


def _keys(table: pd.DataFrame) -> list[Cell]:
    planes = table["plane"].tolist() if "plane" in table else [0] * len(table)
    return list(zip(planes, table["label"].tolist(), strict=True))
