"""Corrections that are not saved yet are kept on disk as one goes.

The files that cells were read from are left alone until the user saves.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QCoreApplication, QObject, QThreadPool

from ...classification.classes import CLASS, CLASS_BY, PERSON
from ...errors import WBCSegError
from ...results.formats.registry import format_of
from ...results.layer import of_layer
from ...results.names import RESULT_SUFFIX
from ...segmentation.result import Segmentation
from .counts import counts_of
from .jobs import Job, busy, in_background, timer
from .layers import fingerprint
from .metadata import LayerInfo, is_cells, is_on_disk, note
from .saving import LayerSnapshot
from .unsaved_copies import UnsavedCopy, leave
from .viewer import own_viewer

_DELAY = 500  # ms after a correction
_PATIENCE = 5000  # ms, for what is being written when napari is closed
_TABLE_LOST = (
    "has no table any more, as napari converts a layer without it: classes and decisions of its cells are "
    "gone. Open what was saved of them, or segment the picture again."
)

_kept: weakref.WeakKeyDictionary[Any, Unsaved] = weakref.WeakKeyDictionary()


def keep_unsaved(viewer: ViewerModel) -> Unsaved:
    """Return what keeps the corrections of a viewer; from the first call on it follows the viewer."""
    viewer = own_viewer(viewer)
    if viewer.layers not in _kept:
        _kept[viewer.layers] = Unsaved(viewer)
    return _kept[viewer.layers]


@dataclass
class _Followed:
    """What is known of a layer: the state that is saved, and the copy that it has while it differs."""

    saved: Any
    copy: UnsavedCopy | None = None

    def keep(self, snapshot: LayerSnapshot) -> None:
        """Write a copy of cells that are corrected and not saved; where they are not, there is none."""
        found, info = snapshot.found, snapshot.info
        state, corrected = state_of(found), found.edited or info.fingerprint is None
        if state == self.saved or not corrected:
            self.discard()
            return
        if self.copy is None:
            path = found.image_path
            name = info.source or (path.stem if path else found.name)
            about = {"name": name, "path": str(path) if path else None, "record": info.record}
            self.copy = UnsavedCopy.begin(about)
        self.copy.write(snapshot, state[0])

    def discard(self) -> None:
        """Remove the copy, if there is one."""
        copy, self.copy = self.copy, None
        if copy is not None:
            copy.discard()


class Unsaved(QObject):
    """Keeps copies of the cells in a viewer that were corrected and not saved; see `keep_unsaved`."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)  # a closed viewer is not kept alive
        self._followed: weakref.WeakKeyDictionary[Labels, _Followed] = weakref.WeakKeyDictionary()
        self._changed: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._job: Job | None = None
        self._soon = timer(_DELAY, self._write, self)
        viewer.layers.events.inserted.connect(lambda event: self._follow(event.value))
        viewer.layers.events.removed.connect(lambda event: self._on_removed(event.value))
        for layer in viewer.layers:
            self._follow(layer)
        counts_of(viewer).changed.connect(self._on_changed)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.flush)
        end = weakref.WeakMethod(self.flush)
        atexit.register(lambda: (flush := end()) and flush())  # of a script, whose application never quits

    def saved(self, layer: Labels, snapshot: LayerSnapshot | None = None) -> None:
        """Take the cells of a layer, as a snapshot has them or as they are now, for saved or not wanted."""
        followed = self._followed.setdefault(layer, _Followed(None))
        if is_on_disk(layer):  # too many to be read here
            return
        followed.saved = state_of(layer if snapshot is None else snapshot.found)
        if not busy(self._job):
            followed.discard()
        self._on_changed(layer)

    def saved_in(self, layer: Labels, snapshot: LayerSnapshot, files: Sequence[Path]) -> None:
        """Take cells for saved if one of the files written can be opened again, and note the record."""
        if any(file.is_dir() or format_of(file) == "tiff" for file in files):
            record = next((str(file) for file in files if file.name.endswith(RESULT_SUFFIX)), None)
            note(layer, record=record or LayerInfo.of(layer).record, edited=snapshot.found.edited)
            layer.events.metadata()
            self.saved(layer, snapshot)

    def was_saved(self, layer: Labels) -> bool:
        """Whether cells that are on disk were saved elsewhere."""
        return layer in self._followed

    def restored(self, layer: Labels, copy: UnsavedCopy) -> None:
        """Go on with a copy whose cells are in a layer now; they are not saved."""
        self._followed[layer] = _Followed(None, copy)

    def flush(self) -> None:
        """Write now what would be written soon, and wait for what is being written."""
        pool = QThreadPool.globalInstance()
        if busy(self._job) and pool is not None:
            pool.waitForDone(_PATIENCE)
        self._soon.stop()
        while self._changed:
            layer = self._changed.pop()
            try:
                self._followed[layer].keep(LayerSnapshot.of_layer(layer, self._viewer()))
            except WBCSegError as error:  # the others are kept
                show_error(f"The corrections of {layer.name} are not kept. {error}")

    def _follow(self, layer: Layer) -> None:
        if is_cells(layer) and not is_on_disk(layer):
            self._followed.setdefault(layer, _Followed(state_of(layer)))
            if layer.features.empty:
                show_info(f"{layer.name} {_TABLE_LOST}")

    def _on_removed(self, layer: Layer) -> None:
        """Offer what was not saved of cells that were taken away, by a slip perhaps, once it is written."""
        followed = self._followed.get(layer) if isinstance(layer, Labels) else None
        if followed is None:
            return
        self._write()
        if busy(self._job):
            self._job.ended.connect(lambda: self._on_removed(layer))
        elif followed.copy is not None:
            copy, followed.copy = followed.copy, None
            leave(copy)

    def _on_changed(self, layer: Labels) -> None:
        viewer = self._viewer()
        if is_on_disk(layer) or (viewer is not None and layer not in viewer.layers):
            return  # one that was taken away is counted still, and its copy is left already
        if layer not in self._followed:  # as it was opened or found; by hand, as it came into the review
            self._followed[layer] = _Followed(state_of(layer))
            return
        self._changed.add(layer)
        if not self._soon.isActive():
            self._soon.start()

    def _write(self) -> None:
        """Write the layers that changed, one after the other."""
        if busy(self._job) or not self._changed:
            return
        layer = self._changed.pop()
        snapshot, followed = LayerSnapshot.of_layer(layer, self._viewer()), self._followed[layer]
        self._job = in_background(
            lambda progress: followed.keep(snapshot),
            failed=lambda words: show_error(f"The corrections are not kept, so save them. {words}"),
            ended=self._write,
        )


def state_of(cells: Labels | Segmentation) -> Any:
    """Return what of some cells is worth saving, to be compared.

    Labels, decisions, names, pixel size, classes, and by what these are told.
    """
    found = cells if isinstance(cells, Segmentation) else of_layer(cells)
    place, said = found.placement, said_of(found.cells)
    return fingerprint(found.labels), said, place.scale, place.units, found.classes, found.classifier


def said_of(cells: pd.DataFrame) -> str:
    """Return what of a table of cells a person said, to be compared."""
    table = cells.reindex(columns=["label", "decision", CLASS_BY, CLASS])
    return table[table["decision"].eq("accepted") | table[CLASS_BY].eq(PERSON)].to_csv(index=False)
