"""One segmentation of an image layer: the work in a thread, then its layers.

Those of an ordinary image are added step by step at the end; one of a large image fills tile by tile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ...box import Box
from ...errors import BusyError
from ...files import locked
from ...progress import Progress
from ...segmentation.result import Segmentation, passing_folder
from ...settings import SegmentationSettings
from ...words import counted
from ..controls.panel import Panel
from ..shared.counts import counted_name, counts_of, layer_name
from ..shared.features import features_table
from ..shared.file_layers import resolutions
from ..shared.jobs import Job
from ..shared.layers import (
    CELLS_OPACITY,
    LayerArrays,
    ResultLayers,
    info_of,
    insert_layer,
    is_corrected,
    layer_arrays,
    layers_in_steps,
    result_layers,
)
from ..shared.metadata import LayerInfo, is_picture, note
from ..shared.pictures import found_in, id_of, part_of, path_of
from ..shared.viewer import image_data, middle_of_view, placement, plane_shape, remove_layers
from .layer_part import IN_MEMORY, Part

if TYPE_CHECKING:
    from ...segmentation.large.run import TileDone

    Tell = Callable[[TileDone], object]

#: What was found, and its arrays for layers, None of what does not fit into memory; of regions of a slide the
#: picture of these, and where it lies.
Outcome = tuple[Segmentation, LayerArrays | None, tuple[np.ndarray, Box] | None]

# Where unfinished work is, by what it is of: pressing Segment again after Cancel goes on with it, also where
# the file of the image was opened anew meanwhile.
_folders: dict[tuple[str, str, str], TemporaryDirectory[str]] = {}


class SegmentRun(QObject):
    """Segments one layer at a time, and puts what was found into the viewer.

    For each `start` either ``segmented`` or ``cancelled`` is emitted, or ``failed`` of the panel.

    Parameters
    ----------
    viewer : napari.Viewer
    panel : Panel
        That it is part of: says what went wrong, and ends the run when it goes away.
    chosen : callable
        Gives the image that is chosen in the panel; cells of another one do not become the active layer.
    """

    #: Emitted with what is done, of how much, and the stage; not after Cancel.
    progressed = Signal(int, int, str)
    #: Emitted with the `Segmentation` and its `ResultLayers`; of a result too large for memory only the
    #: cells are one.
    segmented = Signal(object, object)
    cancelled = Signal()

    def __init__(self, viewer: ViewerModel, panel: Panel, chosen: Callable[[], Layer | None]) -> None:
        super().__init__()
        self._viewer, self._panel, self._chosen = viewer, panel, chosen
        self._job: Job | None = None
        self._steps: Generator[ResultLayers | None] | None = None
        self._keep_earlier: bool | None = None
        self._on_view: tuple[float, float] | None = None
        self._fills = False
        self._levels: list[Any] = []  # of the labels on disk, whose folder lasts as long as these
        #: The layer that fills while a large image is segmented.
        self.filling: Labels | None = None
        #: The picture that the last run made of regions of a slide, if that is still the chosen image.
        self.region: Image | None = None
        panel.cleanup.add(self._clear)

    @property
    def running(self) -> bool:
        """Whether a segmentation is under way."""
        return self._job is not None

    @property
    def under_way(self) -> str:
        """The name of the image that is being segmented; empty where none is."""
        return self._source.name if self.can_be_cancelled else ""

    @property
    def can_be_cancelled(self) -> bool:
        """Whether the work is under way and nobody has cancelled it."""
        return self._job is not None and self._steps is None and not self._job.cancelling

    @property
    def _is_chosen(self) -> bool:
        """Whether the user is still at the image, and has not gone on to another one."""
        return self._chosen() is self._source

    def start(
        self,
        layer: Layer,
        part: Part | None,
        model: str,
        settings: SegmentationSettings,
        keep_earlier: bool | None = None,
    ) -> None:
        """Segment a part of a layer; none for all of a large one, which fills tile by tile.

        Parameters
        ----------
        layer : Image
        part : Part or None
        model : str
        settings : SegmentationSettings
        keep_earlier : bool, optional
            Whether the cells of the run before stay as a layer of their own; by default they do where they
            are corrected by the end of this one.
        """
        self._source, self._keep_earlier, self._fills = layer, keep_earlier, part is None
        self._pixels = layer.data
        one_plane = part is not None and part.plane is not None  # as a note on depths of focus asks for
        self._notes = () if one_plane else LayerInfo.of(layer).notes
        self._key = (str(path_of(layer) or id_of(layer)), model, settings.to_json())
        self._on_view = middle_of_view(self._viewer, layer)
        find = partial(self._fill if part is None else partial(_segment, part), model, settings)
        file = path_of(layer) if layer.source.reader_plugin == "napari" else None
        self._job = self._panel.in_background(
            find if file is None else partial(_told_of_others, file, find),
            "Segmenting white cells",
            progressed=self._on_progress,
            yielded=self._on_tile,
            done=self._on_succeeded,
            failed=self._fail,
            cancelled=self._on_cancelled,
        )

    def cancel(self) -> None:
        """Stop; the layers stay as they are."""
        if self._job is None or not self.can_be_cancelled:
            return
        if self._fills:  # who goes on with it needs what is being written
            self._job.cancel()
        else:
            self._job.abandon()
            self._end(self.cancelled.emit)

    # A large image ---------------------------------------------------------------------------------------

    def _fill(self, model: str, settings: SegmentationSettings, progress: Progress, tell: Tell) -> Outcome:
        """Find the cells of a large image tile by tile; in a worker thread."""
        from ...segmentation.large.run import LargeRun

        if self._key not in _folders:
            _folders[self._key] = TemporaryDirectory(prefix="wbcseg-")
        folder = _folders[self._key]
        image = image_data(self._source)
        busy = BusyError(
            f"{self._source.name} is still being segmented, in another window perhaps: wait for its end."
        )
        with locked(Path(f"{folder.name}.lock"), busy):
            run = LargeRun(image, folder.name, model, settings, preview=True, progress=progress)
            self._levels = run.labels.arrays
            for done in run.tiles(lambda: self._on_view):
                tell(done)
            result = run.finish()
        arrays: list[Any] = [result.labels, result.probability]
        for array in arrays:
            array.store.temporary = folder
        if np.prod(result.labels.shape) > IN_MEMORY:
            return result, None, None
        labels, probability = np.asarray(result.labels), np.asarray(result.probability)
        result = replace(result, labels=labels, probability=probability)
        return result, layer_arrays(result), None

    def _on_tile(self, done: TileDone) -> None:
        """Show the cells of one tile more, in a layer that comes with the first."""
        if self._source not in self._viewer.layers:
            self.cancel()  # nobody would see the rest
        if not self.can_be_cancelled:
            return
        layer = self._show_filling()
        so_far = f"{counted(done.cells, 'cell')} so far"  # erythroblasts among them
        counts_of(self._viewer).say(layer, f"{so_far}, {done.done} of {counted(done.total, 'tile')}")
        layer.name = layer_name(so_far, self._source.name)

    def _show_filling(self) -> Labels:
        """Return the layer that fills, as it is now; above its image where it was not there."""
        layer = self.filling
        if layer is None:
            data, options = resolutions(self._levels, placement(self._source, 2))
            self.filling = layer = Labels(data, opacity=CELLS_OPACITY, **options)
        if layer not in self._viewer.layers:
            place = self._viewer.layers.index(self._source) + 1
            insert_layer(self._viewer, place, layer, activate=self._is_chosen)
        layer.refresh()
        return layer

    def _keep_filled(self, segmentation: Segmentation) -> None:
        """Make the layer that filled the result: its labels stay on disk."""
        remove_layers(self._viewer, *result_layers(self._viewer, self._source).values())
        cells = self._show_filling()
        self.filling = None
        folder = passing_folder(segmentation.labels).name
        info = info_of("cells", segmentation, self._source, folder=folder)
        info.keep_in(cells)
        cells.features = features_table(segmentation.cells)
        cells.name = counted_name(info, segmentation.cells, self._source.name)
        if self._is_chosen:
            self._viewer.layers.selection.active = cells
        counts_of(self._viewer).tell(cells, segmentation.cells)
        self._end(self.segmented.emit, segmentation, ResultLayers(cells))

    # The end ---------------------------------------------------------------------------------------------

    def _on_progress(self, done: int, total: int, stage: str) -> None:
        if self.can_be_cancelled:
            self._on_view = middle_of_view(self._viewer, self._source)
            self.progressed.emit(done, total, stage)

    def _on_succeeded(self, outcome: Outcome) -> None:
        segmentation, arrays, region = outcome
        if not self._source_is_there():
            return
        if self._fills:
            _folders.pop(self._key, None)
        activate, self.region = self._is_chosen, None
        if region is not None:
            picture = self._add_region(*region)
            self.region = picture if activate else None
        corner, notes = LayerInfo.of(self._source).corner, (*self._notes, *segmentation.notes)
        segmentation = replace(segmentation, corner=corner, notes=tuple(dict.fromkeys(notes)))
        earlier = result_layers(self._viewer, self._source).get("cells")
        keep = self._keep_earlier
        if earlier is not None and (is_corrected(earlier) if keep is None else keep):
            note(earlier, kept=True)  # the next run leaves it alone
            earlier.name, earlier.visible = f"{earlier.name}, kept", False
        if arrays is None:
            self._keep_filled(segmentation)
            return
        self._clear()
        self._steps = layers_in_steps(self._viewer, segmentation, self._source, arrays, activate=activate)
        self.progressed.emit(1, 1, "Adding the layers")
        self._land(segmentation)

    def _on_cancelled(self) -> None:
        if self._source_is_there():
            self._end(self.cancelled.emit)

    def _add_region(self, pixels: np.ndarray, window: Box) -> Image:
        """Show regions of a slide as a picture of their own, once, which is the source of its cells."""
        slide, corner = self._source, window[:2]
        picture = next((one for one in self._viewer.layers if _is_region(one, slide, corner, pixels)), None)
        if picture is None:
            picture = part_of(slide, pixels, corner, f"region of {slide.name}")
            note(picture, source_id=id_of(slide))  # goes where that goes
            insert_layer(self._viewer, self._viewer.layers.index(slide) + 1, picture, activate=False)
        self._source, self._pixels = picture, picture.data
        return picture

    def _source_is_there(self) -> bool:
        there = self._source in self._viewer.layers
        if there and self._source.data is self._pixels:
            return True
        what = "replaced" if there else "removed"
        words = f"The image was {what} while it was being segmented, so nothing was added."
        if self._fills and not there and path_of(self._source):
            words += " Open it again, and Segment goes on where it was."
        self._fail(words)
        return False

    def _land(self, segmentation: Segmentation) -> None:
        """Add one layer, or a few rectangles, and let the window live before the next."""
        steps = self._steps
        if steps is None or not self._source_is_there():
            return
        try:
            layers = next(steps)
        except Exception as error:
            self._fail(f"The layers could not be added: {type(error).__name__}: {error}")
            return
        if layers is not None:
            self._end(self.segmented.emit, segmentation, layers)
        else:
            QTimer.singleShot(0, lambda: self._land(segmentation))

    def _fail(self, sentence: str) -> None:
        self._end(self._panel.fail, sentence)

    def _end(self, tell: Callable[..., object], *what: object) -> None:
        self._clear()
        self._job = None
        tell(*what)

    def _clear(self) -> None:
        """Take away layers that are not whole."""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()
        layer, self.filling = self.filling, None
        remove_layers(self._viewer, layer)
        self._levels = []


def _is_region(layer: Layer, slide: Layer, corner: tuple[int, int], pixels: np.ndarray) -> TypeGuard[Image]:
    """Say whether a layer is the picture of this part of a slide."""
    there = is_picture(layer) and found_in(layer, slide) and LayerInfo.of(layer).corner == corner
    return there and plane_shape(layer) == pixels.shape[:2] and np.array_equal(layer.data, pixels)


def _told_of_others(
    file: Path, find: Callable[[Progress, Tell], Outcome], progress: Progress, tell: Tell
) -> Outcome:
    """Find cells in an image that napari read, and say that its file holds others; in a worker thread."""
    from ...images.read import behind_the_first

    found, arrays, region = find(progress, tell)
    return replace(found, notes=(*found.notes, *behind_the_first(file))), arrays, region


def _segment(part: Part, model: str, settings: SegmentationSettings, progress: Progress, _: Tell) -> Outcome:
    """Find the cells of a part of a layer; in a worker thread."""
    from ...segmentation.pipeline import segment

    region = None
    if part.of_slide:
        part, window = part.cut_out(progress)
        region = part.data, window
    found = part.find(lambda pixels: segment(pixels, model, settings, progress), progress)
    return found, layer_arrays(found), region
