"""What is known of all results in a folder: read off the window's thread, and again as its files change."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtCore import QFileSystemWatcher, QObject, Signal

from ...errors import WBCSegError
from ...progress import Progress
from ...results.load import ClassesTold, classes_in, not_in_tables
from ...results.names import LARGE_SUFFIX, RESULT_SUFFIX
from ...segmentation.large.files import RESULT_FILE
from ..shared.jobs import Job, in_background, timer

_DELAY = 500  # ms; gathers what a run writes

#: When the files of a result were changed, and what it tells; None where it is damaged.
_Known = tuple[list[int], ClassesTold | None]


@dataclass(frozen=True)
class Read:
    """What was found in a folder.

    Attributes
    ----------
    known : dict of Path to tuple
        What each result tells, by its record, and when its files were changed.
    outdated : frozenset of Path
        The records that the tables do not tell of.
    watched : list of str
        The folders whose change may change this.
    """

    known: dict[Path, _Known] = field(default_factory=dict)
    outdated: frozenset[Path] = frozenset()
    watched: list[str] = field(default_factory=list)


class FolderResults(QObject):
    """Keeps what is known of the results in a folder.

    Attributes
    ----------
    folder : Path or None
        The one that is followed.
    read : Read or None
        None until it was read.
    """

    #: Emitted when it was read.
    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.read: Read | None = None
        self._job: Job | None = None
        self._watcher = QFileSystemWatcher(self)
        self._soon = timer(_DELAY, self.look, self)
        self._watcher.directoryChanged.connect(self._on_files)

    def follow(self, folder: Path) -> None:
        """Read a folder, and again whenever its files change; does nothing where it is followed already."""
        if folder != self.folder:
            self.folder, self.read = folder, None
            if self._job is not None:
                self._job.abandon()
                self._job = None
            self.look()

    def look(self) -> None:
        """Read what changed in the folder, if one is followed."""
        folder, before = self.folder, self.read or Read()
        if folder is None:
            return
        if self._job is not None:
            self._on_files()
            return
        self._job = in_background(
            lambda progress: read_folder(folder, before, progress),
            "Reading the results",
            done=self._on_read,
            ended=self._on_ended,
        )

    def _on_files(self, *_: object) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _on_read(self, found: Read) -> None:
        self.read = found
        watched = self._watcher.directories()
        if gone := [path for path in watched if path not in found.watched]:
            self._watcher.removePaths(gone)
        if new := [path for path in found.watched if path not in watched]:
            self._watcher.addPaths(new)
        self.changed.emit()

    def _on_ended(self) -> None:
        self._job = None


def read_folder(folder: Path, before: Read, progress: Progress) -> Read:
    """Read those results of a folder whose files changed; for a worker thread."""
    outdated = frozenset(not_in_tables(folder))
    files = [file for file in folder.glob(f"*{RESULT_SUFFIX}") if file not in outdated]
    known: dict[Path, _Known] = {}
    watched = [str(folder)]
    for number, file in enumerate(files):
        progress(number, len(files), "Reading the results")
        large = file.with_name(file.name.removesuffix(RESULT_SUFFIX) + LARGE_SUFFIX)
        inside = [large / RESULT_FILE] if large.is_dir() else []  # written with each correction
        try:
            times = [path.stat().st_mtime_ns for path in (file, *inside)]
        except FileNotFoundError:  # a run is about to write it again
            known[file] = [], None
            continue
        watched += [str(path.parent) for path in inside]
        if file in before.known and before.known[file][0] == times:
            known[file] = before.known[file]
            continue
        known[file] = times, None
        with suppress(WBCSegError):
            known[file] = times, classes_in(file)
    return Read(known, outdated, watched)
