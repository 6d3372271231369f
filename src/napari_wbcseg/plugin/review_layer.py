"""The cells of a Labels layer, measured, counted and decided on, in step with every edit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from ..errors import EditError, ImageError
from ..progress import Progress, silent
from ..segmentation.edit import merge_cells, remove_cells, separate_pieces, split_by_stroke, unused_labels
from ..segmentation.stain_source import StainSource
from ..segmentation.tracking import Box, Change, TrackedCells
from .jobs import Job
from .review_edits import (
    Place,
    apply_edits,
    level0,
    place_redrawn,
    places_painted,
    plane_count,
    plane_of,
    shown_planes,
)
from .review_features import known_values, write_features, write_summary

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from ..segmentation.edit import Edit

#: Plane (0 for a single image) and label of a cell.
Cell = tuple[int, int]

_EDIT_DELAY = 20  # ms; gathers what one mouse move emits
_FEATURES_DELAY = 300  # ms after the last change
_AT_ONCE = 2**18  # pixels measured without a thread
_EDIT_AT_ONCE = 2**20  # of an edit; more takes over 100 ms
_COMPARED_AT_ONCE = 2**25
_UNDO_PLANES = 8  # of a stack, the latest edited, that are compared after an undo


class LayerReview(QObject):
    """Follows one Labels layer: a table of its cells, the count, and what the user decided.

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
        self,
        viewer: ViewerModel,
        labels: Labels,
        image: Image | None = None,
        *,
        in_background: bool = True,
    ) -> None:
        super().__init__()
        self.viewer, self.labels, self.image = viewer, labels, image
        self.image_problem = ""
        self._in_background = in_background
        self._planes: list[TrackedCells] = []
        self._shape: tuple[int, ...] = ()
        self._decisions: dict[Cell, str] = {}
        self._rejected: dict[Cell, dict[str, Any]] = {}
        self._swallowed: dict[Cell, list[int]] = {}
        self._seen_flags: dict[Cell, str] = {}
        self._certainty = known_values(labels, "certainty")
        flagged = {label for label, words in known_values(labels, "flag").items() if words}
        checks = known_values(labels, "check")
        self._unsure = {label for label, value in checks.items() if value is True} - flagged
        self._earlier = known_values(labels, "decision")
        self._dirty: dict[int, Box | None] = {}
        self._edited_planes: dict[int, None] = {}  # the latest last
        self._by_brush = False
        self._job: Job | None = None
        self._again = False
        self._table: pd.DataFrame | None = None
        self._soon = _timer(_EDIT_DELAY, self.update_now)
        self._later = _timer(_FEATURES_DELAY, self.write_features)
        self._connections = [
            (labels.events.paint, self._on_paint),
            (labels.events.labels_update, self._on_redrawn),
            (labels.events.set_data, self._on_set_data),
            (labels.events.data, self._on_data),
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
        if self.image is not None:
            self.image.events.data.disconnect(self._on_image)
        self.image = image
        if image is not None:
            image.events.data.connect(self._on_image)
        self.measure()

    # The table -------------------------------------------------------------------------------------------

    @property
    def stacked(self) -> bool:
        """Whether the layer has planes."""
        return bool(self.labels.ndim == 3)

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
        """The cells that were rejected, as they were measured before; with a ``decision`` each."""
        import pandas as pd

        return pd.DataFrame(list(self._rejected.values()), columns=self.cells.columns)

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
        """Return the count in words, such as ``23 cells, 2 to check``; of one plane where given."""
        cells = self.cells
        if plane is not None and self.stacked:
            cells = cells[cells["plane"] == plane]
        return in_words(len(cells), int(cells["check"].sum()))

    def box_of(self, cell: Cell) -> Box:
        """Return the bounding box of a cell."""
        return self._planes[cell[0]].box_of(cell[1])

    def keys(self) -> list[Cell]:
        """Return plane and label of each row of `cells`."""
        cells = self.cells
        planes = cells["plane"].tolist() if self.stacked else [0] * len(cells)
        return list(zip(planes, cells["label"].tolist(), strict=True))

    def _make_table(self) -> pd.DataFrame:
        import pandas as pd

        planes = self._planes or [TrackedCells(np.zeros((0, 0), np.int32))]
        tables = [
            plane.table.assign(plane=index) if self.stacked else plane.table
            for index, plane in enumerate(planes)
        ]
        table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0].reset_index(drop=True)
        if self.stacked:
            table.insert(0, "plane", table.pop("plane"))
        numbers = table["label"].tolist()
        keys = list(zip(table["plane"].tolist() if self.stacked else [0] * len(table), numbers, strict=True))
        pieces = table["pieces"].tolist()
        flags = [self._flag(key, count) for key, count in zip(keys, pieces, strict=True)]
        decisions = [self._decisions.get(key, "") for key in keys]
        table["certainty"] = np.array([self._certainty.get(number, np.nan) for number in numbers], float)
        table["check"] = np.array(
            [
                (flag != self._seen_flags.get(key, "")) if flag or decision else number in self._unsure
                for key, number, flag, decision in zip(keys, numbers, flags, decisions, strict=True)
            ],
            bool,
        )
        return table.assign(flag=pd.Series(flags, dtype=object), decision=pd.Series(decisions, dtype=object))

    def _flag(self, key: Cell, pieces: int) -> str:
        words = [f"{pieces} pieces"] if pieces > 1 else []
        if key in self._swallowed:
            words.append("swallowed " + ", ".join(map(str, self._swallowed[key])))
        return "; ".join(words)

    # Corrections -----------------------------------------------------------------------------------------

    def accept(self, cells: Iterable[Cell]) -> None:
        """Mark cells as looked at and right; marking all of them again takes it back."""
        chosen = list(cells)
        if all(self._decisions.get(cell) == "accepted" for cell in chosen):
            for cell in chosen:
                self._decisions.pop(cell, None)
                self._seen_flags.pop(cell, None)
        else:
            flags = dict(zip(self.keys(), self.cells["flag"], strict=True))
            for cell in chosen:
                self._decisions[cell] = "accepted"
                self._seen_flags[cell] = flags.get(cell, "")
        self._announce()

    def reject(self, cells: Iterable[Cell]) -> None:
        """Take cells that are none out of the labels; the layer's Undo brings them back.

        Raises
        ------
        EditError
            If no cell is given, or the layer cannot be edited.
        """
        chosen = list(cells)
        if not chosen:
            raise EditError("Select the cells to reject first.")
        rows = dict(zip(self.keys(), self.cells.to_dict("records"), strict=True))
        edits = [
            remove_cells(plane_of(self.labels, plane), labels).on_plane(plane)
            if self.stacked
            else remove_cells(plane_of(self.labels, plane), labels)
            for plane, labels in _by_plane(chosen).items()
        ]
        self._edit(edits)
        for cell in chosen:
            self._decisions[cell] = "rejected"
            self._rejected[cell] = {**rows[cell], "decision": "rejected", "check": False}
        self._announce()

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
        plane, label = cell
        labels = plane_of(self.labels, plane)
        fresh = unused_labels(level0(self.labels), 1, self._largest() + 1)[0]
        if stroke is None:
            edit = separate_pieces(labels, label, fresh)
        else:
            edit = split_by_stroke(labels, label, stroke, fresh)
        self._edit([edit.on_plane(plane) if self.stacked else edit])
        return [(plane, number) for number in edit.labels]

    def merge(self, cells: Iterable[Cell]) -> Cell:
        """Make one cell of several of a plane, and return it.

        Raises
        ------
        EditError
            If fewer than two are given, they lie on different planes, or the layer cannot be edited.
        """
        chosen = _by_plane(cells)
        if len(chosen) > 1:
            raise EditError("Cells of different planes cannot be merged.")
        plane, numbers = next(iter(chosen.items()), (0, []))
        edit = merge_cells(plane_of(self.labels, plane), numbers)
        self._edit([edit.on_plane(plane) if self.stacked else edit])
        return plane, edit.labels[0]

    def _edit(self, edits: list[Edit]) -> None:
        self.update_now()
        apply_edits(self.labels, edits)
        self._by_brush = False  # a cell that goes by our own hand was not swallowed
        self.update_now()

    def _largest(self) -> int:
        return max((int(plane.table.index.max()) for plane in self._planes if len(plane.table)), default=0)

    # Following -------------------------------------------------------------------------------------------

    def _on_paint(self, event: Any) -> None:
        self._by_brush = True
        for place in places_painted(event.value, self.labels.ndim):
            self._mark(place)

    def _on_redrawn(self, event: Any) -> None:
        self._by_brush = True
        self._mark(place_redrawn(event, self.labels, self.viewer.dims))

    def _on_set_data(self, event: Any) -> None:
        # Undo and redo tell no more than this; it comes for many other reasons too.
        self._mark((shown_planes(self.labels, self.viewer.dims), None), undo=True)
        for plane in list(self._edited_planes)[-_UNDO_PLANES:]:
            self._mark((range(plane, plane + 1), None), undo=True)

    def _on_data(self, event: Any) -> None:
        self._by_brush = False
        self._mark((None, None), undo=True)

    def _on_image(self, event: Any) -> None:
        self.measure()

    def _mark(self, place: Place, undo: bool = False) -> None:
        planes, box = place
        for plane in range(plane_count(self.labels)) if planes is None else planes:
            if plane in self._dirty:
                before = self._dirty[plane]
                self._dirty[plane] = None if before is None or box is None else _around(before, box)
            else:
                self._dirty[plane] = box
            if not undo:
                self._edited_planes.pop(plane, None)
                self._edited_planes[plane] = None
        if self._dirty and not self._soon.isActive():
            self._soon.start()

    def update_now(self) -> None:
        """Measure what was edited since; called by itself some milliseconds after an edit."""
        self._soon.stop()
        if not self._planes:
            return
        if tuple(level0(self.labels).shape) != self._shape:
            self.measure()
            return
        whole = sum(within is None for within in self._dirty.values())
        if whole > 1 and whole * int(np.prod(self._planes[0].shape)) > _COMPARED_AT_ONCE:
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
        if sum(self._planes[plane].work(boxes) for plane, boxes in found.items()) > _EDIT_AT_ONCE:
            self._by_brush = by_brush
            self.measure()
            return
        for plane, boxes in found.items():
            change = self._planes[plane].update(plane_of(self.labels, plane), boxes)
            self._take(plane, change, by_brush)
        self._announce()

    def _take(self, plane: int, change: Change, by_brush: bool) -> None:
        """Draw what follows from cells that came and went."""
        for label in change.added:
            cell = (plane, label)
            for memory in (self._decisions, self._rejected, self._seen_flags):
                memory.pop(cell, None)
            for taken in self._swallowed.values():
                if label in taken:
                    taken.remove(label)
        for label in change.removed:
            self._swallowed.pop((plane, label), None)
        if by_brush:
            for label, taker in change.swallowed.items():
                self._swallowed.setdefault((plane, taker), []).append(label)
                self.noted.emit(f"Cell {label} was swallowed by cell {taker}. Ctrl-Z takes it back.")
        self._swallowed = {cell: taken for cell, taken in self._swallowed.items() if taken}

    def _announce(self) -> None:
        self._table = None
        write_summary(self.viewer, self.labels, _as_segmented(self.count, self.to_check), self.count)
        self._later.start()
        self.changed.emit()

    def write_features(self) -> None:
        """Keep the table in the layer's features; called by itself a moment after a change."""
        self._later.stop()
        if self._planes:
            write_features(self.labels, self.cells)

    # Measuring everything --------------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure all cells: shapes first, which is quick, then the stain."""
        if self._job is not None:
            self._again = True
            return
        data = level0(self.labels)
        self._shape = tuple(data.shape)
        small = int(np.prod(self._shape)) <= _AT_ONCE
        if not self._in_background or small:
            self._replace(_measure(data, *self._stained(), silent), final=True)
            return
        self._start(data, None, final=False)

    @property
    def measuring(self) -> bool:
        """Whether cells are still being measured in the background."""
        return self._job is not None

    def _start(self, data: Any, image: Any, final: bool) -> None:
        def work(progress: Progress) -> tuple[list[TrackedCells], str]:
            return _measure(data, image, "", progress)

        self._job = job = Job(work, "Measuring cells" if int(np.prod(self._shape)) > 2**26 else "")
        job.succeeded.connect(lambda outcome: self._on_measured(outcome, final))
        job.failed.connect(self._on_failed)
        job.start()

    def _on_measured(self, outcome: tuple[list[TrackedCells], str], final: bool) -> None:
        self._job = None
        if self._again or tuple(level0(self.labels).shape) != self._shape:
            self._again = False
            self.measure()
            return
        image, problem = self._stained()
        final = final or image is None
        self._replace((outcome[0], outcome[1] or problem), final)
        if not final:
            self._start(level0(self.labels), image, final=True)

    def _on_failed(self, sentence: str) -> None:
        self._job = None
        self.noted.emit(sentence)

    def _replace(self, outcome: tuple[list[TrackedCells], str], final: bool) -> None:
        before, (self._planes, self.image_problem) = self._planes, outcome
        for plane, cells in enumerate(self._planes):
            if len(before) == len(self._planes) and before[plane].shape == cells.shape:
                self._take(plane, cells.changes_since(before[plane]), self._by_brush)
        if not before:
            self._table = None
            accepted = {label for label, decision in self._earlier.items() if decision == "accepted"}
            for cell, flag in zip(self.keys(), self.cells["flag"], strict=True):
                if cell[1] in accepted:
                    self._decisions[cell], self._seen_flags[cell] = "accepted", flag
        self._by_brush = False
        if self._in_background:
            # What was edited meanwhile is found by comparing the plane shown once more.
            self._on_set_data(None)
        self._announce()
        if final:
            self.measured.emit()

    def _stained(self) -> tuple[Any, str]:
        """Return the array of the image, or None and why the stain cannot be measured."""
        if self.image is None:
            return None, "No image is chosen, so the stain is not measured."
        data = level0(self.image)
        shape = tuple(data.shape[:-1] if self.image.rgb else data.shape)
        if shape != self._shape:
            return None, (
                f"The image {self.image.name} has another shape ({_times(shape)}) than the cells "
                f"({_times(self._shape)}), so the stain is not measured."
            )
        return data, ""

    def close(self) -> None:
        """Stop following the layer."""
        for emitter, callback in self._connections:
            emitter.disconnect(callback)
        self._connections = []
        if self.image is not None:
            self.image.events.data.disconnect(self._on_image)
            self.image = None
        self._soon.stop()
        if self._later.isActive():
            self.write_features()
        if self._job is not None:
            self._job.abandon()
            self._job = None


def _measure(data: Any, image: Any, problem: str, progress: Progress) -> tuple[list[TrackedCells], str]:
    """Measure every plane; safe in a worker thread, for it works on copies."""
    from ..data.images import bit_range

    planes = [data] if len(data.shape) == 2 else [data[index] for index in range(data.shape[0])]
    images = [None] * len(planes)
    value_range = None
    if image is not None:
        images = [image] if len(data.shape) == 2 else [image[index] for index in range(data.shape[0])]
        try:
            value_range = bit_range(image)
        except ImageError as error:
            images, problem = [None] * len(planes), f"The stain is not measured: {error}"
    measured = []
    for index, (labels, plane) in enumerate(zip(planes, images, strict=True)):
        progress(index, len(planes), "Measuring cells")
        stain = None if plane is None else StainSource(plane, value_range)
        measured.append(TrackedCells(np.asarray(labels), stain))
    return measured, problem


def in_words(count: int, to_check: int) -> str:
    """Return ``23 cells, 2 to check``."""
    words = f"{count} cell" + ("" if count == 1 else "s")
    return f"{words}, {to_check} to check" if to_check else words


def _as_segmented(count: int, to_check: int) -> str:
    return in_words(count, to_check).replace(" cell", " white cell", 1)


def _by_plane(cells: Iterable[Cell]) -> dict[int, list[int]]:
    planes: dict[int, list[int]] = {}
    for plane, label in cells:
        planes.setdefault(plane, []).append(label)
    return planes


def _around(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _timer(delay: int, call: Any) -> QTimer:
    timer = QTimer()
    timer.setSingleShot(True)
    timer.setInterval(delay)
    timer.timeout.connect(call)
    return timer
