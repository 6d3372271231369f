"""The counts of cells: kept in step with every edit, and told in the layer, its name and on the canvas.

Here cells are counted and nothing else. Whoever measures each edit, as a review does, tells its table,
which is counted in place of the labels.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ...classification.classes import CLASS
from ...classification.differential import differential
from ...progress import Progress
from ...segmentation.measure import known_rows
from ...segmentation.result import summary_of
from ...words import counted
from .canvas_guard import guard_canvas
from .class_colours import legend, show_classes
from .columns import tell_at_mouse
from .count_on_canvas import write_count
from .features import known_values
from .jobs import Job, busy, in_background, timer
from .metadata import LayerInfo, is_cells, is_on_disk, is_picture, note
from .pictures import check_slide, found_in, id_of, origin_of, reunite, watch_file
from .viewer import image_data, own_viewer, placement, plane_events, plane_shown

_DELAY = 30  # ms; gathers what one mouse move emits
_AT_ONCE = 2**20  # pixels counted without letting others run
_EDITS = ("paint", "labels_update", "set_data", "data", "features")

#: The note of cells whose picture got other pixels.
REPLACED = "Are these its cells? The picture was replaced after they were found: segment it again."

#: Names of cells layers that the user did not choose; the count in them is kept up to date.
_COUNTED_NAME = re.compile(r"(?:\d+|\?) white cells?(.*)")

_kept: weakref.WeakKeyDictionary[Any, Counts] = weakref.WeakKeyDictionary()


def counts_of(viewer: ViewerModel) -> Counts:
    """Return the one keeper of a viewer's counts; from the first call on it follows the viewer.

    Whoever adds and removes layers asks for it first: then that harms no canvas.
    """
    viewer = own_viewer(viewer)
    if viewer.layers not in _kept:
        guard_canvas(viewer)
        _kept[viewer.layers] = Counts(viewer)
    return _kept[viewer.layers]


def layer_name(what: str, picture: str | None) -> str:
    """Return the name of a layer that belongs to a picture: ``3 white cells of smear``."""
    return f"{what} of {picture}" if picture else what


def counted_name(info: LayerInfo, cells: pd.DataFrame, picture: str | None = "") -> str:
    """Return the name of a layer of cells: the number of white ones first, as napari's list cuts the middle.

    It is ``?`` where the count is in doubt.
    """
    number = differential(cells, info.class_list).white_cells
    return layer_name("? white cells" if info.in_doubt else counted(number, "white cell"), picture)


class Counts(QObject):
    """Follows every layer of cells in a viewer."""

    #: Emitted with the layer whose count was told anew.
    changed = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        # This must not keep a closed viewer alive.
        self._viewer = weakref.ref(viewer)
        # A row for each cell that there is, of layers that were told of or edited.
        self._tables: weakref.WeakKeyDictionary[Labels, pd.DataFrame] = weakref.WeakKeyDictionary()
        self._edited: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._pixels: weakref.WeakKeyDictionary[Layer, Any] = weakref.WeakKeyDictionary()  # of pictures
        self._job: Job | None = None
        self._soon = timer(_DELAY, self._count, self)
        self._written = ""  # on the canvas
        layers = viewer.layers
        layers.events.inserted.connect(self._on_inserted)
        layers.events.removing.connect(self._on_removing)
        for emitter in (
            layers.events.removed,
            layers.events.reordered,
            *plane_events(viewer.dims),
            viewer.canvas.events.size,
            viewer.canvas.grid.events.enabled,
        ):
            emitter.connect(self._show)
        layers.selection.events.active.connect(self._on_active)
        viewer.events.status.connect(self._on_status, position="last")
        for layer in layers:
            self._watch(layer)
        self._show()

    # Asked and told --------------------------------------------------------------------------------------

    def words(self, layer: Labels, plane: int | None = None) -> str:
        """Return the count of a layer in words, or of one plane of it; nothing where that is not known."""
        info = LayerInfo.of(layer)
        if info.in_doubt:
            return "count in doubt"
        table = self._tables.get(layer)
        if plane is None:
            return info.summary if table is None else summary_of(table, info.class_list)
        table = layer.features if table is None else table
        return summary_of(table[table["plane"] == plane], info.class_list) if "plane" in table else ""

    def plane_words(self, layer: Labels) -> str:
        """Return the count of the plane shown, with its number; nothing where none is, or in doubt."""
        viewer = self._viewer()
        if viewer is None or LayerInfo.of(layer).in_doubt or viewer.dims.ndim - 3 in viewer.dims.displayed:
            return ""
        plane = plane_shown(layer, viewer.dims.point)
        words = "" if plane is None else self.words(layer, plane)
        return f"plane {plane}: {words}" if words else ""

    def _show(self, event: Any = None) -> None:
        """Write the count of the cells that are seen on the canvas."""
        if (viewer := self._viewer()) is not None:
            self._written = write_count(viewer, self._lines, self._written)

    def _lines(self, layer: Labels) -> list[str]:
        """Return what stands on the canvas of the cells that are seen; nothing where no count is known."""
        viewer, info, words = self._viewer(), LayerInfo.of(layer), self.words(layer)
        if viewer is None or not words:
            return []
        here = self.plane_words(layer)
        lines = [here, f"stack: {words}"] if here else [words]
        if info.in_doubt:
            lines = [f"{words}, see its notes"]
        if info.source and sum(map(is_picture, viewer.layers)) > 1:
            lines.insert(0, info.source)
        return lines

    def classes(self, layer: Labels) -> tuple[str, str]:
        """Return the classes of a layer's cells with their colours, as rich text, and what is unusual."""
        table, info = self._tables.get(layer), LayerInfo.of(layer)
        if info.in_doubt:
            return "", ""
        if table is None:
            table = known_rows(layer.features)
        return legend(table, info.class_list), differential(table, info.class_list).unusual

    def tell(self, layer: Labels, cells: pd.DataFrame) -> None:
        """Count the cells of a table, which are those of a layer as it is now, and follow its edits."""
        self._edited.discard(layer)
        self._watch(layer)
        self._tell(layer, cells)

    def say(self, layer: Labels, words: str) -> None:
        """Tell of a layer that is filling how far it is; it is neither followed nor counted yet."""
        note(layer, role="cells", kept=True, summary=words)
        self._show()

    # Following -------------------------------------------------------------------------------------------

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        self._watch(layer)
        self._show()
        QTimer.singleShot(0, lambda: self._reunite(layer))  # napari is in the middle of the event

    def _reunite(self, layer: Layer) -> None:
        viewer = self._viewer()
        if viewer is None or layer not in viewer.layers:
            return
        if is_cells(layer):
            show_classes(layer)
        for cells, picture in reunite(viewer, layer):
            self._on_active()
            self.changed.emit(cells)
            check_slide(cells, picture)

    def _on_active(self, event: Any = None) -> None:
        """Let the cells that were chosen last be those of their picture, where a copy of them is there."""
        self._show()
        viewer = self._viewer()
        active = None if viewer is None else viewer.layers.selection.active
        source = None if active is None or not is_cells(active) else LayerInfo.of(active).source_id
        if viewer is None or source is None:
            return
        mine = _cells_of(viewer.layers, source)
        if any(LayerInfo.of(layer).kept == (layer is active) for layer in mine):
            for layer in mine:
                note(layer, kept=layer is not active)
            self.changed.emit(active)

    def _on_removing(self, event: Any) -> None:
        """Let a copy be the cells of its picture again, where those that were are taken away."""
        layers, removed = event.source, event.source[event.index]
        source = LayerInfo.of(removed).source_id if is_cells(removed) else None
        left = [one for one in _cells_of(layers, source) if one is not removed]
        there = source in map(id_of, layers)
        if there and left and all(LayerInfo.of(one).kept for one in left):
            note(left[-1], kept=False)

    def _on_status(self, event: Any) -> None:
        active = event.source.layers.selection.active
        if active is not None and is_cells(active):
            tell_at_mouse(event.source, active)

    def _watch(self, layer: Layer) -> None:
        for name in ("visible", "opacity", "blending", "translate", "scale", "affine"):
            getattr(layer.events, name).connect(self._show)
        layer.events.metadata.connect(self._on_saved)
        layer.events.name.connect(self._on_renamed)
        if is_picture(layer):
            watch_file(layer)
            self._pixels[layer] = layer.data
            layer.events.data.connect(self._on_picture)
            layer.events.affine.connect(self._on_moved)
        if is_cells(layer) and not is_on_disk(layer):
            for name in _EDITS:
                getattr(layer.events, name).connect(self._on_edit)

    def _on_picture(self, event: Any) -> None:
        """Put the count of cells in doubt whose picture got other pixels."""
        picture = event.source
        before, self._pixels[picture] = self._pixels.get(picture), picture.data
        for layer in self._found_in(picture) if before is not picture.data else ():
            if is_cells(layer):
                note(layer, notes=tuple(dict.fromkeys((*LayerInfo.of(layer).notes, REPLACED))))
                self._renew(layer)

    def _on_moved(self, event: Any) -> None:
        """Let what was found in a picture lie on it, where napari's transform tool moves that."""
        for layer in self._found_in(event.source):
            layer.affine = placement(event.source, layer.ndim)["affine"]

    def _on_renamed(self, event: Any) -> None:
        """Call what was found in a picture by the new name of that."""
        picture = event.source
        for layer in self._found_in(picture):
            ending = layer_name("", LayerInfo.of(layer).source)
            note(layer, source=origin_of(picture) if is_picture(layer) else picture.name)
            if ending and layer.name.endswith(ending):
                layer.name = layer_name(layer.name.removesuffix(ending), picture.name)
        self._show()

    def _found_in(self, picture: Layer) -> list[Layer]:
        viewer = self._viewer()
        return [] if viewer is None else [layer for layer in viewer.layers if found_in(layer, picture)]

    def _on_saved(self, event: Any) -> None:
        """Tell the count anew: of cells that were corrected and saved it is in doubt no more."""
        if is_cells(event.source):
            self._renew(event.source)

    def _on_edit(self, event: Any) -> None:
        self._edited.add(event.source)
        if not self._soon.isActive():
            self._soon.start()

    def _count(self) -> None:
        """Count the layers that were edited, one after the other."""
        viewer = self._viewer()
        if viewer is None or busy(self._job):
            return
        for layer in list(self._edited):
            self._edited.discard(layer)
            if layer in viewer.layers:
                self._job = in_background(
                    partial(labels_present, image_data(layer)),
                    done=partial(self._on_counted, layer, self._tables.get(layer)),
                    ended=self._count,
                )
                return

    def _on_counted(self, layer: Labels, before: pd.DataFrame | None, present: list[np.ndarray]) -> None:
        if self._tables.get(layer) is not before:
            return  # a table was told meanwhile
        labels = np.concatenate(present)
        table = pd.DataFrame({"plane": np.repeat(range(len(present)), [len(here) for here in present])})
        for column in ("check", CLASS):
            known = known_values(layer, column)
            told = [known.get(cell) for cell in zip(table["plane"], labels.tolist(), strict=True)]
            table[column] = pd.Series(told, dtype=object)
        self._tell(layer, table)

    # Telling ---------------------------------------------------------------------------------------------

    def _tell(self, layer: Labels, cells: pd.DataFrame) -> None:
        self._tables[layer] = cells
        self._renew(layer)

    def _renew(self, layer: Labels) -> None:
        cells = self._tables.get(layer)
        if is_cells(layer) and cells is not None:
            info = LayerInfo.of(layer)
            note(layer, summary=summary_of(cells, info.class_list))
            named, name = _COUNTED_NAME.fullmatch(layer.name), counted_name(info, cells)
            if named is not None and layer.name != name + named[1]:
                layer.name = name + named[1]
        self._show()
        self.changed.emit(layer)


def _cells_of(layers: Iterable[Layer], source: str | None) -> list[Labels]:
    """Return the cells of a picture, given by its id, with the kept ones among them."""
    return [one for one in layers if is_cells(one) and LayerInfo.of(one).source_id == source]


def labels_present(data: Any, progress: Progress) -> list[np.ndarray]:
    """Return the labels that each plane has, without background, ascending; for a worker thread.

    Parameters
    ----------
    data : array of int, shape (H, W) or (N, H, W)
    progress : Progress

    Returns
    -------
    list of ndarray of int64
        One a plane.
    """
    planes = data if data.ndim == 3 else data[None]
    step = max(1, _AT_ONCE // max(data.shape[-1], 1))
    found = []
    for number, plane in enumerate(planes):
        parts = [np.zeros(1, np.int64)]
        for start in range(0, len(plane), step):
            progress(number, len(planes), "Counting")
            parts.append(pd.unique(np.asarray(plane[start : start + step], np.int64).ravel()))
        found.append(np.unique(np.concatenate(parts)))
    return [labels[labels > 0] for labels in found]
