"""Copies of corrected cells on disk, of which each is worked on by one process or left behind.

A copy is a folder beside the library of models: a result as `napari_wbcseg.save` writes it, and which
files it was read from. A lock tells a copy that someone works on from one that was left behind; the system
takes the lock away however the process ends.
"""

from __future__ import annotations

import json
import secrets
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from ...errors import OutputError, SettingsError
from ...files import written_whole
from ...images.tiff_writer import write_tiff
from ...network.library import models_folder
from ...results.names import LABELS_SUFFIX, RESULT_SUFFIX
from ...results.records import ImageRecord, ResultRecord
from ...results.save import with_current_cells
from ...words import moment
from .events import events
from .file_layers import read_result_layers
from .metadata import METADATA_KEY, LayerDataTuple, LayerInfo
from .saving import LayerSnapshot

_RECORD, _ABOUT, _LOCK = f"cells{RESULT_SUFFIX}", "about.json", ".lock"

_left: list[UnsavedCopy] = []


def unsaved_folder() -> Path:
    """Return the folder with the copies, beside the user's models."""
    return models_folder().parent / "unsaved"


class UnsavedCopy:
    """A copy of corrected cells on disk; nobody else has it while it is held.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        self._image: ImageRecord | None = None

    @classmethod
    def begin(cls, about: dict[str, str | None]) -> UnsavedCopy:
        """Make room for cells: the name and the file of their picture, and the record they were read from."""
        copy = cls(unsaved_folder() / secrets.token_hex(6))
        try:
            with written_whole(copy.folder / _ABOUT) as part:  # which makes the folder
                copy.hold()
                part.write_text(json.dumps(about))
        except OutputError:  # on a full disk each correction would leave a folder
            copy.discard()
            raise
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
        if path is None or Path(path).resolve() != picture.resolve():
            return False
        with suppress(SettingsError):  # damaged
            image = ResultRecord.read(self.folder / _RECORD).image
            if image.sha256 is not None and picture.exists() and not image.is_of(picture):
                return False  # another has taken its place
        return self.about["record"] in (None, str(record))

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
        if self._image is None or not self._image.path:  # read once
            path, state = found.image_path, found.image_state
            self._image = ImageRecord.of(path, found.name, self.folder, state=state)
        ResultRecord.of(found, self.folder, file.name, image=self._image).write(self.folder / _RECORD)
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


def leave(copy: UnsavedCopy) -> None:
    """Offer a copy whose cells are gone from the viewer."""
    _left.append(copy)
    events.copies_changed.emit()


def take(copy: UnsavedCopy) -> bool:
    """Offer a copy no more, to go on with it or discard it; say whether it was offered still."""
    offered = copy in _left
    if offered:
        _left.remove(copy)
        events.copies_changed.emit()
    return offered


def words_of(copy: UnsavedCopy) -> str:
    """Say in a sentence of what and from when unsaved corrections are."""
    words = f"Corrections of {copy.about['name']}, made {moment(copy.when)}, were not saved."
    there = copy.about["path"] is not None and Path(copy.about["path"]).exists()
    return words if there else f"{words} Open that picture too."
