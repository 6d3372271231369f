"""The picture that a session shows: its layers, and whether its cells are as they are in the files."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Labels, Layer

from ...batch.folder import BatchItem
from ...errors import WBCSegError
from ...results.layer import of_layer
from ...segmentation.result import Segmentation, passing_folder
from ..shared.metadata import LayerDataTuple, LayerInfo, is_cells, is_on_disk, note
from ..shared.pictures import all_of, id_of
from ..shared.saving import LayerSnapshot
from ..shared.unsaved import keep_unsaved, said_of, state_of
from ..shared.unsaved_copies import UnsavedCopy, copies_left, take, words_of
from ..shared.viewer import image_data, remove_layers
from .files import Session, layers_of, replaced
from .panel import Entry


@dataclass(frozen=True)
class Contents:
    """What is to be shown of a picture.

    Attributes
    ----------
    layers : list of tuple
        The picture and its cells, as far as they are known.
    words : str
        What the user should know of them.
    written : object
        The record of its cells, and when it was written.
    left : UnsavedCopy or None
        What the cells come from, if not from the files: then they are not saved.
    """

    layers: list[LayerDataTuple]
    words: str
    written: object
    left: UnsavedCopy | None


def copy_left(item: BatchItem, session: Session) -> UnsavedCopy | None:
    """Return the corrections of a picture that were left behind unsaved; for the window's thread."""
    record = session.outputs.record_file(item.name)
    return next((copy for copy in copies_left() if copy.is_of(record, item.path)), None)


def read_picture(item: BatchItem, session: Session, left: UnsavedCopy | None) -> Contents:
    """Read a picture and its cells, those that were left behind if they can be read; for a worker thread.

    Raises
    ------
    WBCSegError
        If the picture or its result cannot be read.
    """
    other = replaced(item, session.outputs)
    written = None if other else session.written(item)  # what is written later is read again
    layers, words = None, ""
    if left is not None:
        with suppress(WBCSegError):  # damaged
            layers, words = left.layers(), f"{words_of(left)} Here they are: Save keeps them."
    if layers is None:
        layers, left = layers_of(item, session.outputs), None
    if not any(kind == "image" for *_, kind in layers):
        words += f" {item.path} is not there any more, or cannot be read: its cells stand alone."
    return Contents(layers, words.strip(), written, left)


class ShownPicture:
    """Puts the layers of one picture into a viewer, those of the one before away, and watches its cells.

    Parameters
    ----------
    viewer : ViewerModel

    Attributes
    ----------
    entry : Entry or None
        Whose picture it is; None while none is shown.
    written : object
        Which file its cells were read from or saved in, and when that was written.
    discarded : bool
        Whether corrections that are shown still were let go of.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer, self._kept = viewer, keep_unsaved(viewer)
        self.entry: Entry | None = None
        self.written: object = None
        self._layers: list[Layer] = []
        self.discarded = False
        # The states in its own files: saved elsewhere is not saved here.
        self._saved: weakref.WeakKeyDictionary[Labels, Any] = weakref.WeakKeyDictionary()

    @property
    def layers(self) -> list[Layer]:
        """Its layers, those of what was found in it since with them."""
        of_it = all_of(self._viewer, *self._layers)
        return [layer for layer in of_it if not LayerInfo.of(layer).kept]

    @property
    def cells(self) -> Labels | None:
        """The layer with its cells, read from its files or found since; no region's."""
        return next((one for one in self.layers if is_cells(one) and self._is_own(one)), None)

    def _is_own(self, cells: Labels) -> bool:
        """Whether cells are of all of it, and not of a region."""
        return bool({id_of(cells), LayerInfo.of(cells).source_id}.intersection(map(id_of, self._layers)))

    @property
    def to_save(self) -> list[Labels]:
        """Its cells, and those of its regions.

        Not those of a large result: their corrections go to disk part by part, but not another size of pixel.
        And where they were found here, their folder goes with the layer.
        """
        regions = [one for one in self.layers if is_cells(one) and not self._is_own(one)]
        cells = (one for one in (self.cells, *regions) if one is not None)
        return [one for one in cells if not is_on_disk(one) or _is_passing(one) or self._changed(one)]

    @property
    def unsaved(self) -> bool:
        """Whether its cells, or those of its regions, differ from those in the files."""
        return any(not self.was_saved(one) or self._changed(one) for one in self.to_save)

    def _changed(self, cells: Labels) -> bool:
        return self.was_saved(cells) and _state(cells) != self._saved[cells]

    def was_saved(self, cells: Labels) -> bool:
        """Whether its files are known to tell of these cells, as they are or were."""
        return cells in self._saved

    def show(self, entry: Entry, contents: Contents) -> None:
        """Show a picture in place of the one before."""
        self.take_away()
        self.entry, self.written = entry, contents.written
        self._layers = [self._viewer.add_layer(Layer.create(*one)) for one in contents.layers]
        cells = self.cells
        if cells is not None:
            self._viewer.layers.selection.active = cells
            if contents.left is None:
                self._saved.update({one: _state(one) for one in {cells, *self.to_save}})
            elif take(contents.left):  # else they were opened besides meanwhile
                self._kept.restored(cells, contents.left)
        self._viewer.reset_view()

    def take_away(self) -> None:
        """Show none."""
        remove_layers(self._viewer, *self.layers)
        self._layers, self.entry, self.discarded = [], None, False

    def on_saved(
        self, cells: Labels, snapshot: LayerSnapshot, files: Sequence[Path], written: object
    ) -> None:
        """Take note that cells, shown still or not, were saved as a snapshot has them, and when."""
        self._saved[cells] = _state(cells, snapshot.found)
        if not is_on_disk(cells):
            self._kept.saved_in(cells, snapshot, files)
        else:
            note(cells, folder=str(files[-1]))  # where a part that is being corrected belongs now
            if not self._changed(cells):
                return  # they are shown from there next
        if cells is self.cells:
            self.written = written

    def discard(self) -> None:
        """Let go of what is not saved."""
        self.discarded = True
        for cells in self.to_save:
            self._saved[cells] = _state(cells)
            if not is_on_disk(cells):
                self._kept.saved(cells)


def _is_passing(cells: Labels) -> bool:
    return passing_folder(image_data(cells)) is not None


def _state(cells: Labels, found: Segmentation | None = None) -> Any:
    """Return what of cells is worth saving, as they are now or were found.

    Of those on disk, too many to be read here, the size of a pixel, and what was said where that is not kept.
    """
    found = found or of_layer(cells)
    if not is_on_disk(cells):
        return state_of(found)
    return found.placement.pixel_size, said_of(found.cells) if _is_passing(cells) else ""
