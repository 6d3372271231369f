"""Corrections that are not saved yet are kept on disk as one goes, and offered again: nothing is lost.

A copy is a folder beside the library of models: a result as `napari_wbcseg.save` writes it, and which
files it was read from. These are left alone until the user saves. A lock tells a copy that someone works on
from one that was left behind; the system takes the lock away however the process ends.
"""

from __future__ import annotations

import atexit
import json
import secrets
import shutil
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import QCoreApplication, QObject, QThreadPool

from ...classification.classes import CLASS, CLASS_BY, PERSON
from ...files import write_atomically
from ...images.tiff_writer import write_tiff
from ...network.library import models_folder
from ...results.layer import of_layer
from ...results.names import LABELS_SUFFIX, RESULT_SUFFIX
from ...results.records import ImageRecord, ResultRecord
from ...results.save import with_current_cells
from ...segmentation.result import Segmentation
from ...words import moment
from .counts import counts_of
from .events import events
from .file_layers import read_result_layers
from .jobs import Job, busy, in_background, timer
from .layers import fingerprint
from .metadata import METADATA_KEY, LayerDataTuple, LayerInfo, is_cells, is_on_disk, note
from .panel import Offer, confirmed
from .saving import LayerSnapshot
from .viewer import own_viewer

_DELAY = 500  # ms after a correction
_PATIENCE = 5000  # ms, for what is being written when napari is closed
_RECORD, _ABOUT, _LOCK = f"cells{RESULT_SUFFIX}", "about.json", ".lock"

_left: list[UnsavedCopy] = []
_kept: weakref.WeakKeyDictionary[Any, Unsaved] = weakref.WeakKeyDictionary()


def unsaved_folder() -> Path:
    """Return the folder with the copies, beside the user's models."""
    return models_folder().parent / "unsaved"


def keep_unsaved(viewer: ViewerModel) -> Unsaved:
    """Return what keeps the corrections of a viewer; from the first call on it follows the viewer."""
    viewer = own_viewer(viewer)
    if viewer.layers not in _kept:
        _kept[viewer.layers] = Unsaved(viewer)
    return _kept[viewer.layers]


class UnsavedCopy:
    """A copy of corrected cells on disk; nobody else has it while it is held.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / _LOCK, thread_local=False)

    @classmethod
    def begin(cls, about: dict[str, str | None]) -> UnsavedCopy:
        """Make room for cells: the name and the file of their picture, and the record they were read from."""
        copy = cls(unsaved_folder() / secrets.token_hex(6))
        copy.folder.mkdir(parents=True)
        copy.hold()
        write_atomically(copy.folder / _ABOUT, json.dumps(about).encode())
        return copy

    def hold(self) -> bool:
        """Say whether it is ours now, and no other process or viewer works on it."""
        with suppress(Timeout):
            self._lock.acquire(timeout=0)
        return bool(self._lock.is_locked)

    def discard(self) -> None:
        """Remove it."""
        self._lock.release(force=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def complete(self) -> bool:
        """Whether cells are in it: it may have been left as it was begun."""
        return (self.folder / _RECORD).is_file()

    @property
    def when(self) -> datetime:
        """When the last correction was written."""
        return datetime.fromtimestamp((self.folder / _RECORD).stat().st_mtime)

    @cached_property
    def about(self) -> dict[str, str | None]:
        """What `begin` was told."""
        return dict(json.loads((self.folder / _ABOUT).read_text()))

    def is_of(self, record: Path, picture: Path) -> bool:
        """Whether its cells are of this picture, and were read from, or never saved in, this record."""
        path = self.about["path"]
        same = path is not None and Path(path).resolve() == picture.resolve()
        return same and self.about["record"] in (None, str(record))

    def write(self, snapshot: LayerSnapshot, labels: int) -> None:
        """Write cells in place of those before; whoever is killed meanwhile leaves the one or the other.

        Parameters
        ----------
        snapshot : LayerSnapshot
        labels : int
            Their `fingerprint`: labels that are there already are not written again.
        """
        found = with_current_cells(snapshot.found, measure=snapshot.found.stacked)
        file = self.folder / f"{labels:08x}{LABELS_SUFFIX}"
        if not file.exists():
            write_tiff(file, found.labels, found.placement.pixel_size)
        image = ImageRecord.of(found.image_path, found.name, self.folder, hashed=False)
        ResultRecord.of(found, self.folder, file.name, image=image).write(self.folder / _RECORD)
        for other in self.folder.glob(f"*{LABELS_SUFFIX}"):
            if other != file:
                other.unlink()

    def layers(self) -> list[LayerDataTuple]:
        """Read its cells, and their picture where that is in a file, as layers.

        Raises
        ------
        WBCSegError
            If it is damaged.
        """
        layers = read_result_layers(self.folder / _RECORD)
        options = layers[-1][1]
        info = LayerInfo(**options["metadata"][METADATA_KEY])
        options["metadata"] = replace(info, record=self.about["record"], edited=True).metadata
        return layers


def copies_left() -> list[UnsavedCopy]:
    """Return the copies that nobody works on, the latest first; this process holds them from now on."""
    _left[:] = [copy for copy in _left if copy.complete]  # a hand may have removed some
    held = {copy.folder for copy in _left}
    others = (path.parent for path in unsaved_folder().glob(f"*/{_ABOUT}") if path.parent not in held)
    for copy in map(UnsavedCopy, others):
        if copy.hold():
            if copy.complete:
                _left.append(copy)
            else:
                copy.discard()
    return sorted(_left, key=lambda copy: copy.when, reverse=True)


def take(copy: UnsavedCopy) -> UnsavedCopy:
    """Offer a copy no more: it is about to be gone on with, or discarded."""
    _left.remove(copy)
    events.copies_changed.emit()
    return copy


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
        followed.saved = state_of(layer if snapshot is None else snapshot.found)
        if not busy(self._job):
            followed.discard()
        self._on_changed(layer)

    def saved_in(self, layer: Labels, snapshot: LayerSnapshot, files: Sequence[Path]) -> None:
        """Take cells for saved if one of the files written can be opened again, and note the record."""
        if any(file.is_dir() or file.name.endswith(LABELS_SUFFIX) for file in files):
            record = next((str(file) for file in files if file.name.endswith(RESULT_SUFFIX)), None)
            note(layer, record=record or LayerInfo.of(layer).record, edited=snapshot.found.edited)
            layer.events.metadata()
            self.saved(layer, snapshot)

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
            self._followed[layer].keep(LayerSnapshot.of_layer(layer, self._viewer()))

    def _follow(self, layer: Layer) -> None:
        if is_cells(layer) and not is_on_disk(layer):
            self._followed.setdefault(layer, _Followed(state_of(layer)))

    def _on_changed(self, layer: Labels) -> None:
        if is_on_disk(layer):
            return
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
    """Return what of some cells is worth saving, to be compared: labels, decisions, names, pixel size."""
    found = cells if isinstance(cells, Segmentation) else of_layer(cells)
    table = found.cells.reindex(columns=["label", "decision", CLASS_BY, CLASS])
    said = table[table["decision"].eq("accepted") | table[CLASS_BY].eq(PERSON)].to_csv(index=False)
    place = found.placement
    return fingerprint(found.labels), said, place.scale, place.units, found.classes


class UnsavedOffer(Offer):
    """Shows the latest copy of unsaved corrections, while there is one.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are opened.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(
            "Open",
            "Open them with their picture; they stay unsaved until you save them.",
            "Remove these corrections; what was saved before stays.",
        )
        self._viewer = viewer
        self._copy: UnsavedCopy | None = None
        keep_unsaved(viewer)
        events.copies_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Look for copies again."""
        copies = copies_left()
        self._copy = next(iter(copies), None)
        more = f" {len(copies) - 1} more are kept." if len(copies) > 1 else ""
        self.say("" if self._copy is None else f"{words_of(self._copy)}{more}")

    def accept(self) -> None:
        if self._copy is not None:
            copy = take(self._copy)
            in_background(
                lambda progress: copy.layers(),
                "Opening corrections",
                done=lambda layers: self._show(copy, layers),
                failed=show_error,
            )

    def discard(self) -> None:
        copy = self._copy
        if copy is not None and confirmed(self, "Discard the corrections?", f"{words_of(copy)} Remove them?"):
            take(copy).discard()

    def _show(self, copy: UnsavedCopy, layers: Any) -> None:
        *_, cells = (self._viewer.add_layer(Layer.create(*one)) for one in layers)
        keep_unsaved(self._viewer).restored(cells, copy)  # type: ignore[arg-type]
        self._viewer.layers.selection.active = cells


def words_of(copy: UnsavedCopy) -> str:
    """Say in a sentence of what and from when unsaved corrections are."""
    words = f"Corrections of {copy.about['name']}, made {moment(copy.when)}, were not saved."
    there = copy.about["path"] is not None and Path(copy.about["path"]).exists()
    return words if there else f"{words} Open that picture too."
