"""One segmentation of an image layer: the work in a thread, then its layers.

Those of an ordinary image are added step by step at the end; one of a large image fills tile by tile.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ...progress import Progress
from ...segmentation.result import Segmentation
from ...settings import SegmentationSettings
from ...words import counted
from ..shared.counts import counted_name, counts_of, layer_name
from ..shared.features import features_table
from ..shared.jobs import Cleanup, Job
from ..shared.layers import ResultLayers, keep_apart, landing, layer_arrays, result_layers
from ..shared.metadata import LayerInfo
from ..shared.viewer import image_data, own_viewer, placement
from .parts import Part

if TYPE_CHECKING:
    from ...segmentation.large.run import LargeRun, TileDone

_PATIENCE = 0.4  # seconds after Cancel in which the work may stop by itself

# Pixels up to which the result becomes ordinary layers in memory, which can be corrected by hand.
_IN_MEMORY = 64_000_000

# Where unfinished work is, by what it is of: pressing Segment again after Cancel goes on with it.
_folders: dict[tuple[str, str, str], TemporaryDirectory[str]] = {}


class LargeJob(Job):
    """Segments a large image layer; like any `Job`, with a layer that fills while it runs.

    `succeeded` is emitted with the `Segmentation`, and the arrays for its layers (`layer_arrays`),
    to be added by `add_segmentation`; or with None for them, where the result is too large for
    memory and the layer that filled stays, as a pyramid on disk.

    Parameters
    ----------
    viewer : napari.Viewer
    source : Image
        An image layer of one plane, a pyramid or not; it is read lazily.
    model : str
    settings : SegmentationSettings
    keep_earlier : bool
        Whether the cells of an earlier run stay, as a layer of their own.
    """

    _begun = Signal(object)
    _grew = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        source: Layer,
        model: str,
        settings: SegmentationSettings,
        keep_earlier: bool = False,
    ) -> None:
        super().__init__(self._segment, "Segmenting white cells")
        self._viewer, self._source = own_viewer(viewer), source
        self._image, self._model, self._settings = image_data(source), model, settings
        self._key = (str(source.unique_id), model, settings.to_json())
        self._keep_earlier = keep_earlier
        #: The layer that fills while the work goes on.
        self.layer: Labels | None = None
        self._camera = self._viewer.scene.camera
        self._on_view: tuple[float, float] | None = None
        self._watch()
        self._following = Cleanup()
        self._following.connect(self._camera.events.center, self._watch)
        self._begun.connect(self._show)
        self._grew.connect(self._refresh)
        self.succeeded.connect(self._settle)
        self.failed.connect(self._take_away)
        self.cancelled.connect(self._take_away)

    def abandon(self) -> None:
        """Cancel, take the layer away, and emit nothing from now on."""
        super().abandon()
        self._take_away()

    # worker thread -------------------------------------------------------------------------------------

    def _segment(self, progress: Progress) -> tuple[Segmentation, Any]:
        from ...segmentation.large.run import LargeRun

        folder = _folders.setdefault(self._key, TemporaryDirectory(prefix="wbcseg-"))
        run = LargeRun(self._image, folder.name, self._model, self._settings, preview=True, progress=progress)
        self._begun.emit(run)
        for done in run.tiles(lambda: self._on_view):
            self._grew.emit(done)
        result = run.finish()
        result = replace(result, extra={"folder": _folders.pop(self._key, folder)})
        if np.prod(result.labels.shape) > _IN_MEMORY:
            return result, None
        labels, probability = np.asarray(result.labels), np.asarray(result.probability)
        result = replace(result, labels=labels, probability=probability, extra={})
        return result, layer_arrays(result)

    # GUI thread ----------------------------------------------------------------------------------------

    def _watch(self, event: Any = None) -> None:
        """Remember the middle of what is on view, in pixels of the image."""
        centre = np.asarray(self._camera.center, float)[-2:]
        shown = np.array(self._viewer.dims.point, float)
        shown[list(self._viewer.dims.displayed)[-2:]] = centre
        row, col = self._source.world_to_data(shown)[-2:]
        self._on_view = float(row), float(col)

    def _show(self, run: LargeRun) -> None:
        if self._source not in self._viewer.layers or self._stop.is_set():
            return
        levels = run.labels.arrays
        self.layer = Labels(
            levels if len(levels) > 1 else levels[0],
            multiscale=len(levels) > 1,
            name=layer_name("white cells (…)", self._source.name),
            opacity=0.45,
            **placement(self._source, 2),
        )
        index = self._viewer.layers.index(self._source)
        self._viewer.layers.insert(index + 1, self.layer)
        counts_of(self._viewer).say(self.layer, "Looking for white cells …")

    def _refresh(self, done: TileDone) -> None:
        if self.layer is not None and self.layer in self._viewer.layers:
            self.layer.refresh()
            far = f"{done.done} of {counted(done.total, 'tile')}"
            words = f"{counted(done.cells, 'white cell')} so far, {far}"
            counts_of(self._viewer).say(self.layer, words)
            self.layer.name = layer_name(f"white cells ({done.cells} so far)", self._source.name)

    def _settle(self, outcome: tuple[Segmentation, Any]) -> None:
        """Make the layer that filled the result, or take it away for those that come."""
        segmentation, arrays = outcome
        if arrays is not None or self.layer is None or self._source not in self._viewer.layers:
            self._take_away()
            return
        self._following.run()
        for role, layer in result_layers(self._viewer, self._source).items():
            if role == "cells" and self._keep_earlier:
                keep_apart(layer)  # type: ignore[arg-type]
            else:
                self._viewer.layers.remove(layer)
        info = LayerInfo.of_result(
            "cells",
            segmentation,
            source=self._source.name,
            source_id=str(self._source.unique_id),
            summary=segmentation.summary,
            folder=segmentation.extra["folder"].name,
            result=segmentation,  # and with it the passing folder that holds the labels
        )
        info.keep_in(self.layer)
        self.layer.features = features_table(segmentation.cells)
        self.layer.name = counted_name(info, segmentation.cells, self._source.name)
        self.layer.refresh()
        self._viewer.layers.selection.active = self.layer
        counts_of(self._viewer).renew(self.layer, segmentation.cells)

    def _take_away(self, *_: Any) -> None:
        self._following.run()
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


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
        job.cancelled.connect(lambda: self._end(self.cancelled))
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
            self._end(self.segmented, segmentation, ResultLayers(None, None, self._job.layer))  # type: ignore[arg-type]
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
            self._end(self.segmented, segmentation, end.value)
        except Exception as error:
            self._fail(f"The layers could not be added: {type(error).__name__}: {error}")
        else:
            QTimer.singleShot(0, lambda: self._land(segmentation))

    def _fail(self, sentence: str) -> None:
        self._end(self.failed, sentence)

    def _end(self, signal: Any, *told: object) -> None:
        steps, self._landing = self._landing, None
        if steps is not None:
            self._cleanup.remove(steps.close)
            steps.close()
        self._job = None
        signal.emit(*told)
