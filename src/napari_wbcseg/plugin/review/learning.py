"""The cells that a person named teach the classifier of a review what the classes look like on this slide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QPushButton

from ...box import Box
from ...classification.classes import CLASS, CLASS_BY, PERSON, UNSURE, ClassList
from ...errors import EditError, WBCSegError
from ...network.model_file import SUFFIX
from ...progress import Progress
from ...words import counted
from ..shared.events import events
from ..shared.jobs import Cleanup, Job
from ..shared.metadata import LayerInfo
from ..shared.panel import with_tip
from ..shared.viewer import image_data
from .decisions import Cell, Told

if TYPE_CHECKING:
    import pandas as pd

    from ...network.classifier import ClassifierFile
    from .layer import LayerReview

_PART, _MARGIN = 2048, 64  # pixels of a large image that are looked at together, and around its cells
_FILES = f"Classifiers (*{SUFFIX})"
#: Of the cells that were looked at: where and how large each was, and its embedding.
Seen = dict[Cell, tuple[tuple[float, ...], np.ndarray]]


class Learning(QObject):
    """Teaches the classes of one review; what was learnt is kept for the next picture.

    Parameters
    ----------
    review : LayerReview
    cleanup : Cleanup
        Ends what is under way when it runs.
    """

    #: Emitted with what changed, in a sentence.
    learnt = Signal(str)
    #: Emitted with the sentence that says why nothing could be learnt.
    failed = Signal(str)

    def __init__(self, review: LayerReview, cleanup: Cleanup) -> None:
        super().__init__()
        self._review, self._cleanup = review, cleanup
        self._seen: Seen = {}
        self._first: ClassifierFile | None = None
        self._stored: Told | None = None
        self._asked = ""  # the classifier that the layer named before
        self._job: Job | None = None
        review.changed.connect(self._store)

    def learn(self) -> None:
        """Learn from the cells named so far; returns at once. The classes of the others follow.

        Raises
        ------
        EditError
            If there is no image or no cell, or cells are being measured or learned from.
        """
        review = self._review
        review.update_now()
        if review.image is None:
            raise EditError("The classes are told by the image: choose one of the shape of the cells.")
        if review.measuring or (self._job is not None and self._job.running):
            raise EditError("Wait until the cells are measured, then learn from them.")
        if not review.count:
            raise EditError("There is no cell to learn from.")
        view, classes = _View.of(review), review.classes
        seen, first = self._seen, self._classifier()

        def work(progress: Progress) -> tuple[Seen, Told]:
            found = _look(view, first, seen, progress)
            return found, _told(view, found, classes, first)

        self._job = job = Job(work, "Learning the classes")
        job.succeeded.connect(self._on_learnt)
        job.failed.connect(self.failed)
        job.start(self._cleanup)

    def _classifier(self) -> ClassifierFile:
        """Return what the review began with: what other pictures taught, or the layer's classifier."""
        from ...datasets.corrections import learnt_file
        from ...errors import ModelError
        from ...network.classifier import BUILT_IN, read_classifier

        if self._first is None:
            asked = (LayerInfo.of(self._review.labels).settings or {}).get("classes")
            file = learnt_file()
            try:
                self._first = read_classifier(file if file.is_file() else asked or BUILT_IN)
            except ModelError:  # of a file that is gone, or was made with a later version
                self._first = read_classifier()
        return self._first

    def _on_learnt(self, outcome: tuple[Seen, Told]) -> None:
        self._seen, told = outcome
        review = self._review
        before = review.cells.set_index("label")[CLASS]
        review.tell(told)
        after = review.cells.set_index("label")[CLASS]
        changed = int((before.reindex(after.index) != after).sum())
        self.learnt.emit(
            f"Learnt from {counted(told.classifier.header.taught, 'named cell')}: the class of "
            f"{counted(changed, 'cell')} changed. Ctrl-Z takes it back."
        )

    def _store(self) -> None:
        """Keep in the file what was learnt, also after Undo."""
        from ...datasets.corrections import learnt_file
        from ...network.classifier import write_classifier

        told = self._review.told
        if told is self._stored or self._first is None:
            return
        self._name_in_layer(told)
        self._stored, file = told, learnt_file()
        keep = self._first if told is None else told.classifier
        try:
            if keep.header.taught:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_classifier(file, keep.header, keep.weights)
            else:
                file.unlink(missing_ok=True)
        except (OSError, WBCSegError) as error:
            self.failed.emit(f"What was learnt is not kept for the next picture: {error}")
        events.classes_learnt.emit()

    def _name_in_layer(self, told: Told | None) -> None:
        """Say with the layer what tells its classes now."""
        labels, before = self._review.labels, self._stored
        info = LayerInfo.of(labels)
        if before is None:
            self._asked = info.classifier
        if told is not None:
            replace(info, classifier=told.classifier.id).keep_in(labels)
        elif before is not None and info.classifier == before.classifier.id:  # no other run into it since
            replace(info, classifier=self._asked).keep_in(labels)


@dataclass(frozen=True)
class _View:
    """What there is to be looked at, taken on the window's thread.

    Attributes
    ----------
    labels : array of int
    image : array
    cells : DataFrame
        A row a cell.
    keys : list of tuple of int
        Plane and label of each.
    boxes : list of Box or None
        Where each lies, for cells on disk: of a large image no more than is needed is read.
    diameter : float or None
        Of a typical cell, pixels.
    """

    labels: Any
    image: Any
    cells: pd.DataFrame
    keys: list[Cell]
    boxes: list[Box] | None
    diameter: float | None

    @classmethod
    def of(cls, review: LayerReview) -> _View:
        """Take the cells of a review, and the image that it has."""
        labels, keys = image_data(review.labels), review.keys()
        boxes = [review.box_of(cell) for cell in keys] if review.on_disk else None
        image = image_data(review.image)  # type: ignore[arg-type]
        diameter = LayerInfo.of(review.labels).cell_diameter
        # Labels in memory may be edited meanwhile.
        return cls(labels if boxes else np.array(labels), image, review.cells, keys, boxes, diameter)


def _look(view: _View, classifier: ClassifierFile, seen: Seen, progress: Progress) -> Seen:
    """Return the embedding of each cell; only those are looked at that were not, as they are now."""
    from ...classification.classify import look_at_labels

    places = list(map(tuple, view.cells[["row", "col", "area"]].to_numpy(float).tolist()))
    new = [row for row, cell in enumerate(view.keys) if cell not in seen or seen[cell][0] != places[row]]
    found = dict(seen)
    for rows in _parts(view.boxes, new):
        labels, image = view.labels, view.image
        if view.boxes is not None:
            window = Box.around(view.boxes[row] for row in rows).grown(_MARGIN, labels.shape)
            labels, image = np.asarray(labels[window.slices]), np.asarray(image[window.slices])
        cells = view.cells.iloc[rows]
        _, embedding = look_at_labels(labels, cells, image, view.diameter, classifier, progress)
        found |= {view.keys[row]: (places[row], one) for row, one in zip(rows, embedding, strict=True)}
    return found


def _parts(boxes: list[Box] | None, rows: list[int]) -> list[list[int]]:
    """Return rows of cells that are looked at together: those near each other, given boxes, or all."""
    parts: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        place = (0, 0) if boxes is None else (boxes[row].top // _PART, boxes[row].left // _PART)
        parts.setdefault(place, []).append(row)
    return list(parts.values())


def _told(view: _View, seen: Seen, classes: ClassList, first: ClassifierFile) -> Told:
    """Teach a classifier by the cells that a person named, and let it look at all of them."""
    from ...classification.classify import class_list
    from ...classification.learn import probabilities_of, teach

    cells, embedding = view.cells, np.stack([seen[cell][1] for cell in view.keys])
    said = cells[CLASS_BY].eq(PERSON) & ~cells[CLASS].isin(["", UNSURE])
    named = said.to_numpy() & np.isfinite(embedding).all(axis=1)
    taught = first
    if named.any() or not first.header.taught:
        taught = teach(first, embedding[named], cells[CLASS][named].tolist(), classes)
    told = probabilities_of(taught, embedding).set_axis(cells["label"].to_numpy())
    return Told(taught, class_list(taught).added(*classes), told[~told.index.duplicated()])


class SaveClassifier(QPushButton):
    """The button that exports what was learnt; it is there once something was.

    Parameters
    ----------
    failed : callable
        Called with the sentence that says why nothing was saved.
    """

    def __init__(self, failed: Callable[[str], None]) -> None:
        super().__init__("Save the classifier …")
        self._failed = failed
        self._review: LayerReview | None = None
        with_tip(self, "A file that wbcseg classify, and Classes in the Segment panel, take.")
        self.clicked.connect(self._ask)
        self.follow(None)

    def follow(self, review: LayerReview | None) -> None:
        """Offer what a review learns from now on."""
        self._review = review
        self.refresh()

    def refresh(self) -> None:
        """Show the button if something was learnt."""
        self.setVisible(self._review is not None and self._review.told is not None)

    def save(self, path: str | Path) -> None:
        """Write the classifier to a file.

        Raises
        ------
        ModelError
            If it cannot be written.
        """
        from ...network.classifier import write_classifier

        if self._review is not None and self._review.told is not None:
            learnt = self._review.told.classifier
            write_classifier(path, learnt.header, learnt.weights)

    def _ask(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the classifier", "classes.safetensors", _FILES)
        try:
            if name:
                self.save(name if name.endswith(SUFFIX) else name + SUFFIX)
        except WBCSegError as error:
            self._failed(str(error))
