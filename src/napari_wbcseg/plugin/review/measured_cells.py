"""The cells of a Labels layer, measured plane by plane, in step with every edit of the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from napari.components import Dims, ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal

from ...box import Box
from ...errors import ImageError
from ...images.pixel_source import PixelSource, plane_sources
from ...progress import Progress, silent
from ...segmentation.tracking import Change, TrackedCells
from ..shared.jobs import Cleanup, Job, busy, in_background, timer
from ..shared.metadata import LayerInfo
from ..shared.pictures import source_image
from ..shared.viewer import image_data, plane_of, plane_shape, plane_shown

_EDIT_DELAY = 20  # ms; gathers what one mouse move emits
_MEASURED_AT_ONCE = 2**18  # pixels of the whole layer; more is measured in a thread
_EDITED_AT_ONCE = 2**20  # pixels that an edit concerns; more would take over 100 ms
_COMPARED_AT_ONCE = 2**25
_SHOWS_PROGRESS = 2**26
_UNDO_PLANES = 8  # of a stack, the latest edited, that are compared after an undo
_AROUND = 0.75  # diameters from the centre of a cell on disk to the sides of its box; most lie inside


#: Where something changed: planes and a box in them; None stands for all of it.
Place = tuple[range | None, Box | None]


class MeasuredCells(QObject):
    """Measures the cells of a layer, and again those that an edit of the layer concerns.

    Parameters
    ----------
    viewer : napari.Viewer
    labels : Labels
        Of one plane or a stack of planes.
    image : Image or None
        The stained image, of the same shape; without one the stain is not measured.

    Attributes
    ----------
    on_disk : bool
        Whether the cells are those of a large result: their table is read, and nothing measured anew.
    planes : list of TrackedCells or StoredPlane
        Each with its ``table``, a row a label, and ``box_of`` a label. Empty until the first measurement.
    image : Image or None
        The image that the stain is measured on.
    image_problem : str
        Why the stain is not measured; empty where it is.
    value_range : float or None
        What is full brightness in that image, see `bit_range`; None where that is not known yet.
    cleanup : Cleanup
        Ends what is under way when the layer is followed no more.
    """

    #: Emitted when every cell is measured, after the start and after all labels were replaced.
    measured = Signal()
    #: Emitted with a sentence that the user should read.
    noted = Signal(str)

    def __init__(self, viewer: ViewerModel, labels: Labels, image: Image | None) -> None:
        super().__init__()
        self.viewer, self.labels = viewer, labels
        self.on_disk, self.cleanup = self.info.folder is not None, Cleanup()
        self.image: Image | None = None
        self.planes: list[Any] = []
        self.image_problem = ""
        self.value_range: float | None = None
        self.known = pd.DataFrame()  # of the cells, besides their measurements
        self._form: tuple[Any, Any] = (), None
        self._dirty: dict[int, Box | None] = {}
        self._edited_planes: dict[int, None] = {}  # the latest last
        self._by_brush = self._layer_changed = False
        self._job: Job | None = None
        self._again = False
        self._soon = timer(_EDIT_DELAY, self.update_now, self)
        self.cleanup.connect(labels.events.paint, self._on_paint)
        self.cleanup.connect(labels.events.labels_update, self._on_redrawn)
        self.cleanup.connect(labels.events.set_data, self._on_set_data)
        self.cleanup.connect(labels.events.data, self._on_data)
        self.cleanup.add(self._stop)
        self._take_image(image)

    def _stop(self) -> None:
        self._take_image(None)
        self._soon.stop()
        if self._job is not None:
            self._job.abandon()
            self._job = None

    @property
    def stacked(self) -> bool:
        """Whether the layer has planes."""
        return bool(self.labels.ndim == 3)

    @property
    def info(self) -> LayerInfo:
        """What is known of the layer."""
        return LayerInfo.of(self.labels)

    @property
    def plane(self) -> int | None:
        """The plane on the canvas; None where the view is not of one."""
        planes = shown_planes(self.labels, self.viewer.dims)
        return planes[0] if planes else None

    def set_image(self, image: Image | None) -> None:
        """Measure the stain on another image; None for on none."""
        if image is not self.image:
            self._take_image(image)
            self.measure()

    def _take_image(self, image: Image | None) -> None:
        if self.image is not None:
            self.image.events.data.disconnect(self.measure)
        self.image = image
        if image is not None:
            image.events.data.connect(self.measure)

    def changed_by(self, load: Callable[[], None], places: Sequence[Place]) -> bool:
        """Call the layer's Undo or Redo, and say whether it had anything to do, at these places if known.

        A layer that is hidden, or drawn asynchronously, does not tell of it.
        """
        self._layer_changed = False
        load()
        for place in places:
            self._mark(*place)
        self.update_now()
        return self._layer_changed

    def _follow(self, changes: list[tuple[int, Change]], by_brush: bool) -> None:
        """Draw what follows from cells that were measured.

        Parameters
        ----------
        changes : list of tuple
            Planes, each a number and what became of its cells.
        by_brush : bool
            Whether the user drew.
        """
        raise NotImplementedError

    # Following -------------------------------------------------------------------------------------------

    def _on_paint(self, event: Any) -> None:
        self._by_brush = True
        for place in places_painted(event.value):
            self._mark(*place, edited=True)

    def _on_redrawn(self, event: Any) -> None:
        self._by_brush = True
        self._mark(*place_redrawn(event, self.labels, self.viewer.dims), edited=True)

    def _on_set_data(self, event: Any = None) -> None:
        # Undo and redo tell no more than this; it comes for many other reasons too.
        self._layer_changed = True
        self._mark(shown_planes(self.labels, self.viewer.dims))
        self._mark(list(self._edited_planes)[-_UNDO_PLANES:])

    def _on_data(self, event: Any) -> None:
        self._by_brush = False
        self._edited_planes = {}  # they may be gone, and napari's history is
        self._mark(None)

    def _mark(self, planes: Iterable[int] | None, box: Box | None = None, edited: bool = False) -> None:
        """Remember where something may have changed, None for all of it, and look at it soon."""
        if planes is None:
            planes = range(image_data(self.labels).shape[0] if self.stacked else 1)
        for plane in planes:
            before = self._dirty.get(plane, box)
            self._dirty[plane] = None if before is None or box is None else Box.around((before, box))
            if edited:
                self._edited_planes.pop(plane, None)
                self._edited_planes[plane] = None
        if self._dirty and not self._soon.isActive():
            self._soon.start()

    def update_now(self) -> None:
        """Measure what was edited since; called by itself some milliseconds after an edit."""
        self._soon.stop()
        if self.on_disk or not self.planes:
            return
        if _form_of(self.labels) != self._form or self._takes_long_to_compare():
            self._dirty = {}
            self.measure()
            return
        if (len(self.planes), *self.planes[0].shape)[-self.labels.ndim :] != self._form[0]:
            if not self.measuring:  # that was cancelled
                self.measure()
            return  # labels of another shape are looked at once they are measured
        dirty, self._dirty = self._dirty, {}
        by_brush, self._by_brush = self._by_brush, False
        found = {}
        for plane, within in dirty.items():
            boxes = self.planes[plane].differences(plane_of(self.labels, plane), within)
            if boxes:
                found[plane] = boxes
        if not found:
            return
        self._layer_changed = True
        if sum(self.planes[plane].work(boxes) for plane, boxes in found.items()) > _EDITED_AT_ONCE:
            self._by_brush = by_brush
            self.measure()
            return
        changes = [
            (plane, self.planes[plane].update(plane_of(self.labels, plane), boxes))
            for plane, boxes in found.items()
        ]
        self._follow(changes, by_brush)

    def _takes_long_to_compare(self) -> bool:
        whole = sum(within is None for within in self._dirty.values())
        return whole > 1 and whole * int(np.prod(self.planes[0].shape)) > _COMPARED_AT_ONCE

    # Measuring everything --------------------------------------------------------------------------------

    @property
    def measuring(self) -> bool:
        """Whether cells are still being measured in the background."""
        return busy(self._job)

    def measure(self) -> None:
        """Measure all cells; those of a large layer in the background."""
        self.value_range = None
        if self.on_disk:
            there = self.known[(self.known["label"] > 0) & self.known["row"].notna()]
            height, width = image_data(self.labels).shape
            self.planes = [StoredPlane(there, (height, width))]
            self._follow([], False)
            self.measured.emit()
            return
        if self.measuring:
            self._again = True
            return
        labels = image_data(self.labels)
        # Another image has another light.
        found_in = source_image(self.viewer, self.labels)
        backgrounds = self.info.backgrounds if found_in is self.image else ()
        measure = partial(measure_planes, labels, self._stained(), self.known, backgrounds)
        self._form = _form_of(self.labels)
        pixels = int(np.prod(labels.shape))
        if pixels <= _MEASURED_AT_ONCE:
            self._on_measured(measure(silent))
            return
        title = "Measuring cells" if pixels > _SHOWS_PROGRESS else ""
        self._job = in_background(measure, title, done=self._on_measured, failed=self.noted.emit)

    def _stained(self) -> Any:
        """Return the array that the stain is measured on; None where no image has the shape of the cells."""
        if self.image is None or plane_shape(self.image) != image_data(self.labels).shape:
            return None
        return image_data(self.image)

    def _on_measured(self, measured: tuple[list[TrackedCells], float | None, str]) -> None:
        if self._again or _form_of(self.labels) != self._form:
            self._again = False
            self.measure()
            return
        before, (self.planes, self.value_range, self.image_problem) = self.planes, measured
        changes: list[tuple[int, Change]] = []
        if [plane.shape for plane in before] == [plane.shape for plane in self.planes]:
            pairs = zip(before, self.planes, strict=True)
            changes = [(index, now.changes_since(then)) for index, (then, now) in enumerate(pairs)]
        by_brush, self._by_brush = self._by_brush, False
        self._on_set_data()  # what was edited while this was measured
        self._follow(changes, by_brush)
        self.measured.emit()


def _form_of(labels: Labels) -> tuple[Any, Any]:
    """Return shape and type of labels: in a wider type there may be larger ones than were measured."""
    data = image_data(labels)
    return tuple(data.shape), data.dtype


def measure_planes(
    labels: Any,
    image: Any,
    known: pd.DataFrame,
    backgrounds: Sequence[Sequence[float] | None],
    progress: Progress,
) -> tuple[list[TrackedCells], float | None, str]:
    """Measure every plane; safe in a worker thread, for it works on copies.

    Parameters
    ----------
    labels : array of int, shape (H, W) or (N, H, W)
    image : array, shape of ``labels``, perhaps with colours behind; or None
        Without one only shapes are measured.
    known : DataFrame
        What is known of labels already, see `TrackedCells`; of a stack, those of other programs are on
        several planes.
    backgrounds : sequence
        The colour of the empty slide, a plane each, see `plane_sources`.
    progress : Progress

    Returns
    -------
    list of TrackedCells
        One a plane.
    float or None
        What is full brightness in the image; None without one.
    str
        Why the stain was not measured; empty where it was.
    """
    problem, stacked = "", len(labels.shape) == 3
    sources: list[PixelSource | None] = [None] * (labels.shape[0] if stacked else 1)
    if image is None:
        problem = "There is no image of the same shape as the cells, so the stain is not measured."
    else:
        try:
            sources = list(plane_sources(image, stacked, backgrounds))
        except ImageError as error:
            problem = f"The stain is not measured: {error}"
    planes = []
    for index, source in enumerate(sources):
        progress(index, len(sources), "Measuring cells")
        here = np.asarray(labels[index if stacked else ...])
        of_plane = known[known["plane"] == index].drop(columns="plane") if "plane" in known else known
        planes.append(TrackedCells(here, source, of_plane))
    return planes, next((one.value_range for one in sources if one), None), problem


class StoredPlane:
    """The table of a large result, a row a label, and about where each cell lies."""

    def __init__(self, table: pd.DataFrame, shape: tuple[int, int]) -> None:
        # Features hold no whole numbers, and in the table of another program there may be none.
        pieces = table.get("pieces", pd.Series(1.0, table.index)).fillna(1).astype(np.int64)
        table = table.assign(pieces=pieces)
        self.table, self.shape = table.set_index("label", drop=False).rename_axis(None), shape

    def box_of(self, label: int) -> Box:
        """Return a box about a cell, from its centre and size."""
        row, col, diameter = (float(self.table.at[label, name]) for name in ("row", "col", "diameter"))  # type: ignore[arg-type]
        return Box.square(row, col, int(np.ceil(_AROUND * diameter))).within(self.shape)


def places_painted(value: Any) -> Iterator[Place]:
    """Say what a ``paint`` event changed.

    Parameters
    ----------
    value : list
        The event's value, one item a brush mark, fill or polygon: an object with ``slice_key``, or, of
        `Labels.data_setitem`, a tuple whose first item is an index of the pixels.
    """
    for atom in value:
        slices: Any = getattr(atom, "slice_key", None)
        if slices is None:
            slices = tuple(slice(int(np.min(axis)), int(np.max(axis)) + 1) for axis in atom[0])
        before, (rows, cols) = slices[:-2], slices[-2:]
        planes = range(before[0].start, before[0].stop) if before else None
        yield planes, Box.of((rows, cols))


def place_redrawn(event: Any, layer: Labels, dims: Dims) -> Place:
    """Say what a ``labels_update`` event, which comes while the mouse is still down, changed."""
    if tuple(dims.displayed) != tuple(range(dims.ndim))[-2:]:
        return None, None
    (top, left), (height, width) = map(int, event.offset), event.data.shape
    return shown_planes(layer, dims), Box(top, left, top + height, left + width)


def shown_planes(layer: Labels, dims: Dims) -> range | None:
    """Return the plane on the canvas; None for all of them, where the view is not of one."""
    if layer.ndim == 2:
        return range(1)
    if dims.ndisplay != 2 or sorted(dims.displayed) != list(range(dims.ndim))[-2:]:
        return None
    plane = plane_shown(layer, dims.point) or 0
    return range(plane, plane + 1) if 0 <= plane < image_data(layer).shape[0] else range(0)
