"""What is known of all results in a folder: read off the window's thread, and again as its files change.

Drives of a network do not tell of changes, so the folder is looked at from time to time; of files that
are as they were, no more than that is found out.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from ...errors import WBCSegError
from ...progress import Progress
from ...results.differential import ResultClasses, classes_in, not_in_tables
from ...results.names import LARGE_SUFFIX, RESULT_SUFFIX
from ...segmentation.large.files import RESULT_FILE
from ..shared.jobs import Job, busy, in_background, timer

_PAUSE = 1500  # ms between two looks at the folder

#: When the files of a result were changed, and what it tells; None where it is damaged.
_Known = tuple[list[int], ResultClasses | None]


@dataclass(frozen=True)
class Read:
    """What was found in a folder.

    Attributes
    ----------
    known : dict of Path to tuple
        What each result tells, by its record, and when its files were changed.
    outdated : frozenset of Path
        The records that the tables do not tell of.
    """

    known: dict[Path, _Known] = field(default_factory=dict)
    outdated: frozenset[Path] = frozenset()


class FolderResults(QObject):
    """Keeps what is known of the results in a folder, while the panel that shows them is seen.

    Attributes
    ----------
    folder : Path or None
        The one that is followed.
    read : Read or None
        None until it was read.
    """

    #: Emitted when something else was read than before.
    changed = Signal()

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        self._panel = panel
        self.folder: Path | None = None
        self.read: Read | None = None
        self._job: Job | None = None
        self._again = timer(_PAUSE, self.look, self)

    def follow(self, folder: Path) -> None:
        """Read a folder, and again as its files change; does nothing where it is followed already."""
        if folder != self.folder:
            if self._job is not None:
                self._job.abandon()
            self.folder, self.read, self._job = folder, None, None
            self.look()

    def look(self) -> None:
        """Read what changed in the folder, if one is followed."""
        folder, before = self.folder, self.read
        if folder is not None and not busy(self._job) and self._panel.isVisible():
            self._job = in_background(
                lambda progress: read_folder(folder, before or Read(), progress),
                "" if before else "Reading the results",
                done=self._on_read,
                ended=self._again.start,
            )

    def _on_read(self, found: Read) -> None:
        if found != self.read:
            self.read = found
            self.changed.emit()


def read_folder(folder: Path, before: Read, progress: Progress) -> Read:
    """Read those results of a folder whose files changed; for a worker thread."""
    outdated = frozenset(not_in_tables(folder))
    files = [file for file in folder.glob(f"*{RESULT_SUFFIX}") if file not in outdated]
    known: dict[Path, _Known] = {}
    for number, file in enumerate(files):
        progress(number, len(files), "Reading the results")
        large = file.with_name(file.name.removesuffix(RESULT_SUFFIX) + LARGE_SUFFIX)
        inside = [large / RESULT_FILE] if large.is_dir() else []  # written with each correction
        try:
            times = [path.stat().st_mtime_ns for path in (file, *inside)]
        except FileNotFoundError:  # a run is about to write it again
            known[file] = [], None
            continue
        if file in before.known and before.known[file][0] == times:
            known[file] = before.known[file]
            continue
        known[file] = times, None
        with suppress(WBCSegError):
            known[file] = times, classes_in(file)
    return Read(known, outdated)
