"""One segmentation of an image layer: the work in a thread, then its layers, step by step."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from ..shared.jobs import Cleanup, Job
from ..shared.layers import ResultLayers, keep_apart, landing, layer_arrays, result_layers
from .large_job import LargeJob
from .parts import Part

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from ...progress import Progress
    from ...segmentation.result import Segmentation
    from ...settings import SegmentationSettings

_PATIENCE = 0.4  # seconds after Cancel in which the work may stop by itself


class SegmentRun(QObject):
    """Segments one layer at a time, and puts what was found into the viewer.

    Exactly one of ``segmented``, ``failed`` and ``cancelled`` is emitted for each `start`.

    Parameters
    ----------
    viewer : napari.Viewer
    cleanup : Cleanup
        Of the widget it is part of: it ends the run when that goes away.
    """

    #: Emitted with what is done, of how much, and the stage; not after Cancel.
    progressed = Signal(int, int, str)
    #: Emitted with the `Segmentation` and its `ResultLayers`; of a result too large for memory only the
    #: cells are one.
    segmented = Signal(object, object)
    #: Emitted with the sentence that says what went wrong.
    failed = Signal(str)
    cancelled = Signal()

    def __init__(self, viewer: ViewerModel, cleanup: Cleanup) -> None:
        super().__init__()
        self._viewer, self._cleanup = viewer, cleanup
        self._job: Job | None = None
        self._landing: Generator[None, None, ResultLayers] | None = None
        self._keep_earlier = False

    @property
    def running(self) -> bool:
        """Whether a segmentation is under way."""
        return self._job is not None

    @property
    def can_be_cancelled(self) -> bool:
        """Whether the work is under way and nobody has cancelled it."""
        return self._job is not None and self._landing is None and not self._job.cancelling

    def start(
        self, layer: Layer, part: Part | None, model: str, settings: SegmentationSettings, keep_earlier: bool
    ) -> None:
        """Segment a part of a layer; none for all of a large one, which fills tile by tile.

        Parameters
        ----------
        layer : Image
        part : Part or None
        model : str
        settings : SegmentationSettings
        keep_earlier : bool
            Whether the cells of the run before stay as a layer of their own.
        """
        self._source, self._keep_earlier = layer, keep_earlier
        if part is None:
            job: Job = LargeJob(self._viewer, layer, model, settings, keep_earlier)
        else:

            def work(progress: Progress) -> tuple[Segmentation, Any]:
                from ...segmentation.pipeline import segment

                found = part.place(segment(part.read(progress), model, settings, progress))
                return found, layer_arrays(found)

            job = Job(work, "Segmenting white cells", patience=_PATIENCE)
        self._job = job
        job.progressed.connect(self._on_progress)
        job.succeeded.connect(self._on_succeeded)
        job.failed.connect(self._fail)
        job.cancelled.connect(self._on_cancelled)
        job.start(self._cleanup)

    def cancel(self) -> None:
        """Stop; the layers stay as they are."""
        if self._job is not None and self.can_be_cancelled:
            self._job.cancel()

    def _on_progress(self, done: int, total: int, stage: str) -> None:
        if self.can_be_cancelled:
            self.progressed.emit(done, total, stage)

    def _on_succeeded(self, outcome: tuple[Segmentation, Any]) -> None:
        segmentation, arrays = outcome
        if not self._source_is_there():
            return
        if arrays is None and isinstance(self._job, LargeJob):  # its layer is in the viewer already
            layers = ResultLayers(None, None, self._job.layer)  # type: ignore[arg-type]
            self._end()
            self.segmented.emit(segmentation, layers)
            return
        earlier = result_layers(self._viewer, self._source).get("cells")
        if self._keep_earlier and earlier is not None:
            keep_apart(earlier)  # type: ignore[arg-type]
        self._landing = steps = landing(self._viewer, segmentation, self._source, arrays=arrays)
        self._cleanup.add(steps.close)
        self.progressed.emit(1, 1, "Adding the layers")
        self._land(segmentation)

    def _source_is_there(self) -> bool:
        if self._source in self._viewer.layers:
            return True
        self._fail("The image was removed while it was being segmented, so nothing was added.")
        return False

    def _land(self, segmentation: Segmentation) -> None:
        """Add one layer, or a few rectangles, and let the window live before the next."""
        steps = self._landing
        if steps is None or self._cleanup.done or not self._source_is_there():
            return
        try:
            next(steps)
        except StopIteration as end:
            self._end()
            self.segmented.emit(segmentation, end.value)
        except Exception as error:
            self._fail(f"The layers could not be added: {type(error).__name__}: {error}")
        else:
            QTimer.singleShot(0, lambda: self._land(segmentation))

    def _fail(self, sentence: str) -> None:
        self._end()
        self.failed.emit(sentence)

    def _on_cancelled(self) -> None:
        self._end()
        self.cancelled.emit()

    def _end(self) -> None:
        steps, self._landing = self._landing, None
        if steps is not None:
            self._cleanup.remove(steps.close)
            steps.close()
        self._job = None
