"""The count of a cells layer, kept in step with edits by brush, bucket, eraser and Undo.

Counting is all that is done here: measuring and deciding is for the Review widget, which
tells the count itself while it follows a layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from ...progress import Progress
from ...segmentation.result import count_in_words
from ..shared.followed import is_followed
from ..shared.jobs import Job
from ..shared.layers import COUNTED_NAME, counted_name
from ..shared.metadata import METADATA_KEY
from ..shared.preferences import preference

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

_DELAY = 30  # ms; gathers what one mouse move emits
_AT_ONCE = 2**20  # pixels counted without letting others run


class LiveCount(QObject):
    """Follows one layer of cells and tells how many there are.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    #: Emitted when the count was told anew.
    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._cells: Labels | None = None
        self._job: Job | None = None
        self._again = False
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_DELAY)
        self._soon.timeout.connect(self._count)

    def follow(self, cells: Labels | None) -> None:
        """Follow this layer from now on, or none."""
        if cells is self._cells:
            return
        for layer, connect in ((self._cells, False), (cells, True)):
            if layer is None:
                continue
            for name in ("paint", "labels_update", "set_data", "data", "features"):
                emitter = getattr(layer.events, name, None)
                if emitter is not None:
                    (emitter.connect if connect else emitter.disconnect)(self._on_edit)
        self._cells = cells
        if self._job is not None:
            self._job.abandon()
            self._job = None

    def close(self) -> None:
        """Stop following."""
        self._soon.stop()
        self.follow(None)

    def _on_edit(self, event: Any = None) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _count(self) -> None:
        cells = self._cells
        if cells is None or cells not in self._viewer.layers:
            return
        if self._job is not None:
            self._again = True
            return
        if is_followed(cells):
            self.changed.emit()
            return
        data = cells.data
        self._again = False
        self._job = job = Job(lambda progress: labels_present(data, progress))
        job.succeeded.connect(self._tell)
        job.ended.connect(self._on_ended)
        job.start()

    def _on_ended(self) -> None:
        self._job = None
        if self._again:
            self._soon.start()

    def _tell(self, present: np.ndarray) -> None:
        cells = self._cells
        if cells is None or cells not in self._viewer.layers or is_followed(cells):
            return
        features = cells.features
        to_check = 0
        if "check" in features and "index" not in features:
            known = present[present < len(features)]
            to_check = int(features["check"].to_numpy(bool)[known].sum())
        summary = count_in_words(len(present), to_check)
        about = cells.metadata[METADATA_KEY]
        about["present"] = present
        if about["summary"] != summary:
            about["summary"] = summary
            if COUNTED_NAME.fullmatch(cells.name):
                cells.name = counted_name(len(present))
            if preference("count_on_canvas"):
                from ..shared.count_overlay import show_count

                show_count(self._viewer, cells)
        self.changed.emit()


def labels_present(data: Any, progress: Progress) -> np.ndarray:
    """Return the labels that a label image has, without background, ascending; for a worker thread.

    Parameters
    ----------
    data : array of int, shape (H, W) or (N, H, W)
    progress : Progress

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    rows = np.asarray(data).reshape(-1, data.shape[-1])
    step = max(1, _AT_ONCE // max(rows.shape[1], 1))
    found = np.zeros(0, np.int64)
    for start in range(0, len(rows), step):
        progress(start, len(rows), "Counting")
        part = rows[start : start + step].ravel()
        part = part[part != 0]
        if not part.size:
            continue
        if part.min() > 0 and part.max() < _AT_ONCE:
            numbers = np.flatnonzero(np.bincount(part))
        else:
            numbers = np.unique(part)
        found = np.union1d(found, numbers.astype(np.int64))
    return found
