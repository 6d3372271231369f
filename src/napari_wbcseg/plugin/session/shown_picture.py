"""The picture that a session shows: its layers, and whether its cells are as they are in the files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Labels, Layer

from ...batch.folder import BatchItem
from ...errors import WBCSegError
from ..shared.metadata import LayerDataTuple, LayerInfo, is_cells
from ..shared.pictures import id_of
from ..shared.saving import LayerSnapshot
from ..shared.unsaved import keep_unsaved, state_of
from ..shared.unsaved_copies import UnsavedCopy, copies_left, take, words_of
from ..shared.viewer import remove_layers
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
        self._saved: Any = None  # the state in its own files: saved elsewhere is not saved here

    @property
    def layers(self) -> list[Layer]:
        """Its layers, those of what was found in it since with them."""
        ids = set(map(id_of, self._layers))
        of_it = [
            layer
            for layer in self._viewer.layers
            if layer in self._layers or LayerInfo.of(layer).source_id in ids
        ]
        return [layer for layer in of_it if not LayerInfo.of(layer).kept]

    @property
    def cells(self) -> Labels | None:
        """The layer with its cells, read from its files or found since."""
        return next((one for one in self.layers if is_cells(one)), None)

    @property
    def to_save(self) -> Labels | None:
        """Its cells; none of a large picture, whose corrections go to disk part by part."""
        cells = self.cells
        return cells if cells is not None and LayerInfo.of(cells).folder is None else None

    @property
    def unsaved(self) -> bool:
        """Whether its cells differ from those in the files."""
        return self.to_save is not None and self._state() != self._saved

    def _state(self) -> Any:
        cells = self.to_save
        return None if cells is None else state_of(cells)

    def show(self, entry: Entry, contents: Contents) -> None:
        """Show a picture in place of the one before."""
        self.take_away()
        self.entry, self.written = entry, contents.written
        self._layers = [self._viewer.add_layer(Layer.create(*one)) for one in contents.layers]
        cells, self._saved = self.cells, self._state()
        if cells is not None:
            self._viewer.layers.selection.active = cells
            if contents.left is not None:
                self._saved = None
                if take(contents.left):  # else they were opened besides meanwhile
                    self._kept.restored(cells, contents.left)
        self._viewer.reset_view()

    def take_away(self) -> None:
        """Show none."""
        remove_layers(self._viewer, *self.layers)
        self._layers, self.entry, self._saved, self.discarded = [], None, None, False

    def on_saved(
        self, cells: Labels, snapshot: LayerSnapshot, files: Sequence[Path], written: object
    ) -> None:
        """Take note that cells, shown still or not, were saved as a snapshot has them, and when."""
        self._kept.saved_in(cells, snapshot, files)
        if cells is self.cells:
            self._saved, self.written = state_of(snapshot.found), written

    def discard(self) -> None:
        """Let go of what is not saved."""
        cells, self._saved, self.discarded = self.to_save, self._state(), True
        if cells is not None:
            self._kept.saved(cells)
