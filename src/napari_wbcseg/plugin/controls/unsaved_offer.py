"""The offer to go on with corrections that were not saved."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import show_error

from ..shared.events import events
from ..shared.jobs import in_background
from ..shared.metadata import is_picture
from ..shared.pictures import path_of
from ..shared.unsaved import keep_unsaved
from ..shared.unsaved_copies import UnsavedCopy, copies_left, leave, take, words_of
from ..shared.viewer import plane_shape
from .basic_widgets import Offer, confirmed


class UnsavedOffer(Offer):
    """Shows the latest copy of unsaved corrections, while there is one.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are opened.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(
            "Open",
            "Open them with their picture; they stay unsaved until you save them.",
            "Remove these corrections; what was saved before stays.",
        )
        self._viewer = viewer
        self._copy: UnsavedCopy | None = None
        keep_unsaved(viewer)
        events.copies_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Look for copies again."""
        copies = copies_left()
        self._copy = next(iter(copies), None)
        others = len(copies) - 1
        more = f" {others} more {'is' if others == 1 else 'are'} kept." if others else ""
        self.say("" if self._copy is None else f"{words_of(self._copy)}{more}")

    def accept(self) -> None:
        copy = self._copy
        if copy is not None and take(copy):

            def failed(words: str) -> None:
                leave(copy)
                show_error(words)

            in_background(
                lambda progress: copy.layers(),
                "Opening corrections",
                done=lambda layers: self._show(copy, layers),
                failed=failed,
                cancelled=lambda: leave(copy),
            )

    def discard(self) -> None:
        copy = self._copy
        if copy is None:
            return
        question = f"{words_of(copy)} Remove them?"
        if confirmed(self, "Discard the corrections?", question) and take(copy):  # not opened meanwhile
            copy.discard()

    def _show(self, copy: UnsavedCopy, layers: Any) -> None:
        pictures = [(path_of(one), plane_shape(one)) for one in self._viewer.layers if is_picture(one)]
        *picture, cells = (Layer.create(*one) for one in layers)
        missing = [one for one in picture if (path_of(one), plane_shape(one)) not in pictures]
        for layer in (*missing, cells):
            self._viewer.add_layer(layer)
        keep_unsaved(self._viewer).restored(cells, copy)  # type: ignore[arg-type]
        self._viewer.layers.selection.active = cells
