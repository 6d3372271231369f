"""The cells of a Labels layer with what is said of them, which the layer keeps in its features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication

from ...box import Box
from ...classification.classes import (
    CLASS,
    CLASS_BY,
    MODEL,
    PROBABILITY,
    UNSURE,
    ClassList,
    class_of,
    probability_columns,
)
from ...classification.naming import said_by_model
from ...errors import EditError, SettingsError
from ...segmentation.measure import COLUMNS
from ...segmentation.tracking import Change, TrackedCells
from ..shared.counts import counts_of
from ..shared.features import cells_of, known_cells, known_values, write_features
from ..shared.metadata import note
from ..shared.viewer import PLACED
from .decisions import ACCEPTED, Cell, Decisions, Suggestions, keys_of
from .disk_copy import DiskCopy
from .measured_cells import MeasuredCells, Place, places_painted

_MOST_STEPS = 100  # of Undo, as many as napari keeps
#: `Decisions.step` on the other side of it, the classes there were, and where it edited the layer, or None.
_Step = tuple[Any, Any, Sequence[Place] | None]


class ReviewedCells(MeasuredCells):
    """Keeps what a person, and a classifier that learned, say of the cells of a layer, and counts them.

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
    suggestions : Suggestions or None
        What a classifier says that learned from this review; see `Learning`.
    """

    #: Emitted when the table, the count or a decision changed.
    changed = Signal()

    def __init__(self, viewer: ViewerModel, labels: Labels, image: Image | None = None) -> None:
        super().__init__(viewer, labels, image)
        self._table: pd.DataFrame | None = None
        self._said: pd.Series | None = None  # of the classes, in the layer's features
        self._found: pd.DataFrame | None = None  # without what was decided, as that changes more often
        self.suggestions: Suggestions | None = None
        #: Old and new names of classes that no classifier has taken over yet, in their order.
        self.renamed: list[Mapping[str, str]] = []
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._drawn_before = True  # perhaps, in these very labels
        folder = self.info.folder
        self._copy = None if folder is None else DiskCopy(folder)
        self._take_over()
        self.cleanup.connect(labels.events.features, self._on_features)
        # When it is saved, a count in doubt is none any more; sizes are in µm once that of a pixel is known.
        for told in ("metadata", *PLACED):
            self.cleanup.connect(getattr(labels.events, told), lambda _: self.changed.emit())
        self.cleanup.connect(
            labels.events.paint, lambda event: self._begin(list(places_painted(event.value)))
        )
        for lost in (labels.events.data, labels.events.editable):
            self.cleanup.connect(lost, self._on_history_lost)
        # Whoever has typed into napari's own table leaves the field where that was done.
        self.cleanup.connect(QApplication.instance().focusChanged, self._look_for_typed)  # type: ignore[union-attr]
        self.measure()

    def close(self) -> None:
        """Stop following the layer."""
        self.cleanup.run()

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
            classes = self.suggestions.classes if self.suggestions else self.info.class_list
            self._table = self._decisions.add_columns(self._found, classes)
        return self._table

    def _find_cells(self) -> pd.DataFrame:
        """Return the cells as they are measured, with what a classifier says that learned here."""
        tables = [plane.table for plane in self.planes or [TrackedCells(np.zeros((0, 0), np.int32))]]
        table = pd.concat(tables, ignore_index=True)
        if self.stacked:
            table.insert(0, "plane", np.repeat(range(len(tables)), list(map(len, tables))))
        found = self.suggestions
        if found is None:
            return table
        return said_by_model(table, found.probabilities.reindex(keys_of(table)), found.classes)

    @property
    def classes(self) -> ClassList:
        """The classes that cells are sorted into: the list of the result, and what is found beside."""
        return self.info.class_list.covering(sorted(set(self.cells[CLASS])))

    @property
    def taken_back(self) -> set[Cell]:
        """The cells whose class a person took back, or called unsure, since the layer got its cells."""
        return {cell for cell, one in self._decisions.state.items() if one.name in ("", UNSURE)}

    @property
    def count(self) -> int:
        """Number of cells, over all planes."""
        return len(self.cells)

    def summary(self, plane: int | None = None) -> str:
        """Return the count in words, such as ``23 white cells, 2 to check``; of one plane where given."""
        return counts_of(self.viewer).words(self.labels, plane)

    def keys(self) -> list[Cell]:
        """Return plane and label of each row of `cells`."""
        return keys_of(self.cells)

    def box_of(self, cell: Cell) -> Box:
        """Return the bounding box of a cell, in pixels of its plane.

        Raises
        ------
        KeyError
            If it is not there.
        """
        return self.planes[cell[0]].box_of(cell[1])

    def checked(self, cells: Iterable[Cell], least: int = 0) -> list[Cell]:
        """Return cells as a list.

        Raises
        ------
        EditError
            If one of them is not there, or there are fewer than these.
        """
        self.update_now()
        self._look_for_typed()
        chosen = [(int(plane), int(label)) for plane, label in cells]
        known = set(self.keys())
        for cell in chosen:
            if cell not in known:
                where = f" on plane {cell[0]}" if self.stacked else ""
                raise EditError(f"There is no cell {cell[1]}{where}.")
        if len(chosen) < least:
            raise EditError("Choose a cell first.")
        return chosen

    # What is said of them --------------------------------------------------------------------------------

    def accept(self, cells: Iterable[Cell]) -> None:
        """Mark cells as looked at and right, outline and class; marking all of them again takes it back.

        No model changes their classes then, as if a person had named them. Cells called unsure stay that.

        Raises
        ------
        EditError
            If none is given, or one of them is not there.
        """
        chosen, table = self.checked(cells, 1), self.cells
        sure = table[CLASS_BY].eq(MODEL) & table[CLASS].ne(UNSURE)
        flags_and_names = zip(table["flag"], table[CLASS].where(sure, ""), strict=True)
        as_it_is = dict(zip(self.keys(), flags_and_names, strict=True))
        self._begin()
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
            If none is given, or one of them is not there.
        SettingsError
            If no class can be called so.
        """
        chosen = self.checked(cells, 1)
        self.classes.covering([name])
        self._begin()
        self._decisions.name(chosen, name)
        self._announce()

    def suggest(self, suggestions: Suggestions | None) -> None:
        """Take what a classifier says of the cells, or nothing; what a person named keeps its class."""
        self.suggestions, self._found = suggestions, None
        self._announce()

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
            If cells are still being measured: their classes may be about to change.
        """
        if self.measuring or not self.planes:
            raise EditError("Wait until the cells are measured, then change the classes.")
        if not renamed:
            self._begin()
            note(self.labels, classes=classes.to_list())
            self._announce()
            return
        note(self.labels, classes=classes.to_list())
        self.renamed.append(renamed)
        columns = {f"{PROBABILITY}{old}": f"{PROBABILITY}{new}" for old, new in renamed.items()}
        features = self.labels.features.rename(columns=columns)
        self.labels.features = features.assign(**{CLASS: features[CLASS].replace(dict(renamed))})

    # Undo: edits of the layer, decisions and classes together, in the order they were made ----------------

    def undo(self) -> None:
        """Take back the last edit of the layer, decision or change of classes, whichever was later."""
        if self._drawn_before and not self._done:  # before the layer was reviewed
            self._done = [self._step([(None, None)])]
        self._go(self._done, self._undone, self.labels.undo)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._go(self._undone, self._done, self.labels.redo)

    def _go(self, steps: list[_Step], others: list[_Step], load: Callable[[], None]) -> None:
        self.update_now()
        while steps:
            said, classes, edited = steps.pop()
            there = self._step(edited)
            if edited is not None and not self.changed_by(load, edited):
                continue  # the layer's own Undo took it back already
            self._decisions.step = said
            note(self.labels, classes=classes)
            others.append(there)
            self._announce()
            return

    def _begin(self, edited: Sequence[Place] | None = None) -> None:
        """Remember what there is before a step: an edit of the layer, or what a person says."""
        if not self.planes:
            return  # what was decided earlier is not known yet, and would be taken back with the step
        self._done = [*self._done, self._step(edited)][-_MOST_STEPS:]
        self._undone = []
        self.noted.emit("")  # what Ctrl-Z takes back is another step now

    def _step(self, edited: Sequence[Place] | None) -> _Step:
        return self._decisions.step, self.info.classes, edited

    def _forget_steps(self) -> None:
        self._done, self._undone = [], []

    def _on_history_lost(self, event: Any = None) -> None:
        """Take nothing back that was done before: napari (0.9) would draw it into other labels."""
        self._drawn_before = False
        self._forget_steps()

    # Following -------------------------------------------------------------------------------------------

    def _follow(self, changes: list[tuple[int, Change]], by_brush: bool) -> None:
        """Draw what follows from cells that were measured."""
        self._table = self._found = None
        added = [(plane, label) for plane, change in changes for label in change.added]
        if self.suggestions is not None and added:  # they are looked at anew
            known = self.suggestions.probabilities
            self.suggestions = replace(self.suggestions, probabilities=known.drop(added, errors="ignore"))
        for plane, change in changes:
            for label, taker in self._decisions.follow(plane, change, by_brush).items():
                self.noted.emit(f"Cell {label} was swallowed by cell {taker}. Undo takes it back.")
        self._announce()

    def _on_features(self, event: Any) -> None:
        """Take over what others wrote, such as a segmentation that ran again into the same layer."""
        if self.labels.features is not self._features:
            self._take_over()
            self.measure()

    def _look_for_typed(self, *_: object) -> None:
        if self._take_typed():
            self._announce()

    def _take_typed(self) -> bool:
        """Take for a person's word what was typed into napari's own table of features, which tells nobody.

        It writes into the table that is there, which is compared with what it was. Say whether it differs.
        """
        features = self.labels.features
        if not self.planes or features is not self._features or CLASS not in features:
            return False
        now = features[CLASS]
        typed = (now.notna() & now.ne(self._said)).to_numpy()
        if not typed.any():
            return False
        there, classes = set(self.keys()), self.classes
        names, refused = dict[Cell, str](), ""
        for cell, name, new in zip(cells_of(features), now, typed, strict=True):
            if not (new and cell in there):
                continue
            name = str(name).strip()
            try:
                classes.covering([name])
                names[cell] = name
            except SettingsError as error:  # no class can be called so
                refused = str(error)
        if names:
            self._begin()
        for cell, name in names.items():
            self._decisions.name([cell], name)
        if refused:
            self.noted.emit(refused)
        self._said = now.copy()
        return True

    def _keep_features(self) -> None:
        """Remember the layer's features, and what they say of the classes."""
        self._features = self.labels.features
        self._said = self._features[CLASS].copy() if CLASS in self._features else None

    def _take_over(self) -> None:
        """Begin with what the layer's features tell: what a model, or an earlier review, said."""
        self._keep_features()
        features = self._features
        self.known = known_cells(self.labels)
        if CLASS in self.known:
            self.known[CLASS] = class_of(self.known)
        if {"check", "flag"} <= set(features):  # what was flagged is flagged anew
            self.known["check"] = features["check"].eq(True) & features["flag"].isna()
        decisions, check = known_values(self.labels, "decision"), known_values(self.labels, "check")
        accepted = {cell: bool(check.get(cell)) for cell, said in decisions.items() if said == ACCEPTED}
        self._decisions = Decisions(accepted, known_values(self.labels, "flag"))
        self._forget_steps()
        self._table = self._found = self.suggestions = None

    def _announce(self) -> None:
        self._take_typed()
        self._table = None
        if not self.planes:  # measuring was cancelled: the features are of cells that the table lacks
            self.changed.emit()
            return
        if not self.measuring:  # others may have written what is being measured
            ours = ["plane", *COLUMNS, *probability_columns(self.cells)]
            others = known_cells(self.labels).columns.difference(ours)
            with self.labels.events.features.blocker(self._on_features):
                write_features(self.labels, self.cells.drop(columns=others, errors="ignore"))
            self._keep_features()
            if self._copy is not None:
                self._copy.write(self.cells, self.classes)
        counts_of(self.viewer).tell(self.labels, self.cells)
        self.changed.emit()
