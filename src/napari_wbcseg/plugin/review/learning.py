"""The cells that a person named teach the classifier of a review what the classes look like on this slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from ...classification.classes import CLASS, CLASS_BY, PERSON, UNSURE, ClassList
from ...classification.classify import class_list, predict_labels
from ...classification.learn import forget, probabilities_of, renamed, teach
from ...datasets.corrections import learnt_file
from ...errors import EditError, ModelError
from ...network.classifier import BUILT_IN_CLASSIFIER, ClassifierFile, read_classifier
from ...progress import Progress
from ...words import counted
from ..shared.events import events
from ..shared.features import known_cells
from ..shared.jobs import Job, busy, in_background, timer
from ..shared.metadata import note
from ..shared.viewer import image_data
from .decisions import Cell, Suggestions, keys_of
from .layer_review import LayerReview

_PAUSE = 700  # ms after a name in which no other comes
_OF_A_CLASS, _CLASSES = 3, 2  # cells named of so many classes, from which on classes are suggested
_UNSEEN = 50  # cells to be looked at, which takes long enough to be shown
#: Given a row a cell, returns their embedding, shape (n, channels); for a worker thread.
_Embed = Callable[[pd.DataFrame, ClassifierFile, Progress], np.ndarray]
#: Of the cells that were looked at: where and how large each was, and its embedding.
Seen = dict[Cell, tuple[tuple[float, ...], np.ndarray]]


class Learning(QObject):
    """Suggests classes as one names cells: what was named teaches what a model says of the others.

    It begins by itself once a few cells of two classes are named, or a cell where other pictures taught
    something before. What was learnt is kept for the next picture; names that are taken back are forgotten.

    Parameters
    ----------
    review : LayerReview

    Attributes
    ----------
    wanted : bool or None
        Whether classes are suggested; None for as soon as enough is named.
    """

    #: Emitted with what changed, in a sentence; empty where nothing did.
    learnt = Signal(str)
    #: Emitted with the sentence that says why nothing could be learnt.
    failed = Signal(str)

    def __init__(self, review: LayerReview) -> None:
        super().__init__()
        self._review = review
        self.wanted: bool | None = None
        self._seen: Seen = {}
        self._image: Image | None = None  # that the cells were named in
        self._pixels: Any = None  # that they were seen in
        self._first: ClassifierFile | None = None
        known = known_cells(review.labels)
        self._names = _named(known) if CLASS_BY in known else {}  # learnt from, or found at first
        self._asked = ""  # the classifier that the layer named before
        self._job: Job | None = None
        self._soon = timer(_PAUSE, self._follow_names, self)
        review.cleanup.add(self._soon.stop)
        review.changed.connect(self._on_changed)

    def learn(self) -> None:
        """Suggest classes from now on, by the cells named so far; returns at once.

        Raises
        ------
        EditError
            If there is no image or no cell.
        """
        review = self._review
        review.update_now()
        self._require_image()
        if not review.count and not review.measuring:
            raise EditError("There is no cell to learn from.")
        self.wanted = True
        self._follow_names()

    def forget(self) -> None:
        """Suggest nothing more in this picture: the classes are again as they were found.

        Raises
        ------
        EditError
            If there is no image.
        """
        self._require_image()
        self.wanted = False
        self._follow_names()

    def leave(self) -> None:
        """Learn what was named last though the review goes; these cells alone are looked at."""
        if self._image is not None and (self._soon.isActive() or busy(self._job)):
            self._start(self._image, leaving=True)

    def _require_image(self) -> None:
        if self._review.image is None:
            raise EditError("The classes are told by the image: choose one of the shape of the cells.")

    @property
    def suggests(self) -> bool:
        """Whether classes are suggested, or about to be."""
        return bool(self._review.suggestions or self.wanted)

    def _on_changed(self) -> None:
        review, suggestions = self._review, self._review.suggestions
        new = suggestions is not None and not set(review.keys()) <= set(suggestions.probabilities.index)
        if self.wanted is not False and (new or _named(review.cells) != self._names):
            self._image = review.image or self._image  # which may go before the cells do
            self._soon.start()

    def _follow_names(self) -> None:
        review = self._review
        if review.measuring or busy(self._job):
            self._soon.start()
        elif review.image is not None and review.count:
            self._start(review.image)

    def _start(self, image: Image, leaving: bool = False) -> None:
        self._soon.stop()
        self._image = image
        if image.data is not self._pixels:
            self._pixels, self._seen = image.data, {}
        review, seen, wanted = self._review, self._seen, self.wanted
        cells, classes, first, before = review.cells, review.classes, self._first, review.suggestions
        names, asked = _named(cells), (review.info.settings or {}).get("classes")
        taken_back, renamings = review.taken_back, list(review.renamed)
        if leaving:
            cells = cells[[cell in names or cell in taken_back for cell in keys_of(cells)]]
            wanted = wanted and len(cells) > 0
        embed, file = _embedding(review, image), learnt_file()

        def work(progress: Progress) -> tuple[ClassifierFile, Seen, Suggestions | None]:
            start = first or _first_classifier(file, asked)
            for names_of in renamings:
                start = renamed(start, names_of)
            found, suggestions = seen, None
            if taken_back and start.header.taught:
                found = _look(cells, embed, start, found, progress)
                gone = [found[cell][1] for cell in keys_of(cells) if cell in taken_back]
                start = _forgotten(file, start, gone)
            if wanted or (wanted is None and _enough(names, start)):
                found = _look(cells, embed, start, found, progress)
                suggestions = _suggestions(cells, found, classes, start)
            if suggestions is not before:
                _keep(file, start if suggestions is None else suggestions.classifier)
            return start, found, suggestions

        self._names = names
        learns = wanted or (first is not None and _enough(names, first))
        long = learns and sum(cell not in seen for cell in keys_of(cells)) > _UNSEEN
        if leaving:
            in_background(
                work, instead_of=self._job, lasting=True, done=lambda _: events.classes_learnt.emit()
            )
            return
        self._job = in_background(
            work,
            "Learning the classes" if long else "",
            done=partial(self._on_learnt, len(renamings)),
            failed=self._on_failed,
            cancelled=self._on_cancelled,
            cleanup=self._review.cleanup,
        )

    def _on_learnt(self, renamings: int, outcome: tuple[ClassifierFile, Seen, Suggestions | None]) -> None:
        self._first, self._seen, suggestions = outcome
        review = self._review
        del review.renamed[:renamings]
        review.update_now()
        if review.renamed or review.measuring:  # meanwhile: these are the old names, or the old cells
            self._soon.start()
            return
        if suggestions is None and review.suggestions is None:
            return
        if suggestions is not None:  # cells that changed meanwhile are looked at anew
            now = _places(review.cells)
            probabilities = suggestions.probabilities
            as_seen = [now.get(cell) == self._seen[cell][0] for cell in probabilities.index]
            suggestions = replace(suggestions, probabilities=probabilities[as_seen])
        self._name_in_layer(suggestions)
        before = review.cells[CLASS]
        review.suggest(suggestions)
        changed = int((before != review.cells[CLASS]).sum())
        words = f"the class of {counted(changed, 'cell')} changed." if changed else "no other class changed."
        if suggestions is None:
            self.learnt.emit(f"Nothing is suggested: {words}")
        else:
            taught = counted(suggestions.classifier.header.taught, "named cell")
            self.learnt.emit(f"Learnt from {taught}: {words}")
        events.classes_learnt.emit()

    def _on_failed(self, words: str) -> None:
        self.wanted = None
        self.failed.emit(words)

    def _on_cancelled(self) -> None:
        self.wanted = False
        self.learnt.emit("")

    def _name_in_layer(self, suggestions: Suggestions | None) -> None:
        """Say with the layer what tells its classes now."""
        labels, before = self._review.labels, self._review.suggestions
        info = self._review.info
        if before is None:
            self._asked = info.classifier
        if suggestions is not None:
            note(labels, classifier=suggestions.classifier.id)
        elif before is not None and info.classifier == before.classifier.id:  # no other run into it since
            note(labels, classifier=self._asked)


def _named(cells: pd.DataFrame) -> dict[Cell, str]:
    """Return the classes that a person said, by cell."""
    said = cells[cells[CLASS_BY].eq(PERSON) & ~cells[CLASS].isin(["", UNSURE])]
    return dict(zip(keys_of(said), said[CLASS].tolist(), strict=True))


def _enough(names: Mapping[Cell, str], first: ClassifierFile) -> bool:
    """Say whether classes are suggested by themselves."""
    often = [name for name, count in Counter(names.values()).items() if count >= _OF_A_CLASS]
    return len(often) >= _CLASSES or bool(names and first.header.taught)


def _first_classifier(file: Path, asked: str | None) -> ClassifierFile:
    """Return what a review begins with: what other pictures taught, or the classifier of the layer."""
    try:
        return read_classifier(file if file.is_file() else asked or BUILT_IN_CLASSIFIER)
    except ModelError:  # of a file that is gone, or was made with a later version
        return read_classifier()


def _keep(file: Path, classifier: ClassifierFile) -> None:
    """Keep what was learnt for the next picture; of what nobody taught there is no file."""
    if classifier.header.taught:
        ClassifierFile.write(file, classifier.header, classifier.weights)
    else:
        file.unlink(missing_ok=True)


def _embedding(review: LayerReview, image: Image) -> _Embed:
    """Return what looks at cells of a review, as its layers are now."""
    labels, pixels, diameter = image_data(review.labels), image_data(image), review.info.class_diameter
    if not review.on_disk:  # labels in memory may be edited meanwhile
        labels = np.array(labels)
    return lambda cells, *how: predict_labels(labels, cells, pixels, diameter, *how)[1]


def _places(cells: pd.DataFrame) -> dict[Cell, tuple[float, ...]]:
    """Return row, column and area of each cell, which tell whether it is the one that was looked at."""
    where = cells[["row", "col", "area"]].to_numpy(float).tolist()
    return dict(zip(keys_of(cells), map(tuple, where), strict=True))


def _look(
    cells: pd.DataFrame, embed: _Embed, classifier: ClassifierFile, seen: Seen, progress: Progress
) -> Seen:
    """Return the embedding of each cell; only those are looked at that were not, as they are now."""
    places = _places(cells)
    new = cells.loc[[cell not in seen or seen[cell][0] != place for cell, place in places.items()]]
    looked = zip(keys_of(new), embed(new, classifier, progress), strict=True)
    return {**seen, **{cell: (places[cell], embedding) for cell, embedding in looked}}


def _forgotten(file: Path, classifier: ClassifierFile, gone: list[np.ndarray]) -> ClassifierFile:
    """Let a classifier forget cells whose names were taken back, given by their embedding."""
    without = forget(classifier, np.stack(gone)) if gone else classifier
    if without is not classifier:
        _keep(file, without)
    return without


def _suggestions(cells: pd.DataFrame, seen: Seen, classes: ClassList, first: ClassifierFile) -> Suggestions:
    """Teach a classifier by the cells that a person named, and let it look at all of them."""
    keys, names = keys_of(cells), _named(cells)
    embedding = np.stack([seen[cell][1] for cell in keys])
    named = pd.Series([names.get(cell) for cell in keys], dtype=object)
    lesson = named.notna().to_numpy() & np.isfinite(embedding).all(axis=1)
    taught = first
    if lesson.any() or not first.header.taught:
        taught = teach(first, embedding[lesson], named[lesson].tolist(), classes)
    found = probabilities_of(taught, embedding).set_axis(pd.Index(keys))
    return Suggestions(taught, class_list(taught).added(*classes), found)
