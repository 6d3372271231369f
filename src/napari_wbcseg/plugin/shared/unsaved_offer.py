"""Offers corrections that were never saved, because napari or the computer went down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...words import moment
from .events import events
from .jobs import Job, say_error
from .offer import Offer
from .panel import confirmed
from .unsaved import UnsavedCopy, copies_left, keep_unsaved, take

if TYPE_CHECKING:
    from napari.components import ViewerModel


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
        more = f" {len(copies) - 1} more are kept." if len(copies) > 1 else ""
        self.say("" if self._copy is None else f"{words_of(self._copy)}{more}")

    def accept(self) -> None:
        if self._copy is not None:
            copy = take(self._copy)
            job = Job(lambda progress: copy.layers(), "Opening corrections")
            job.succeeded.connect(lambda layers: self._show(copy, layers))
            job.failed.connect(say_error)
            job.start()

    def discard(self) -> None:
        if self._copy is None:
            return
        if confirmed(self, "Discard the corrections?", f"{words_of(self._copy)} Remove them?"):
            take(self._copy).discard()

    def _show(self, copy: UnsavedCopy, layers: Any) -> None:
        from napari.layers import Layer

        *_, cells = (self._viewer.add_layer(Layer.create(*one)) for one in layers)
        keep_unsaved(self._viewer).restored(cells, copy)  # type: ignore[arg-type]
        self._viewer.layers.selection.active = cells


def words_of(copy: UnsavedCopy) -> str:
    """Say in a sentence of what and from when unsaved corrections are."""
    words = f"Corrections of {copy.about['name']}, made {moment(copy.when)}, were not saved."
    there = copy.about["path"] is not None and Path(copy.about["path"]).exists()
    return words if there else f"{words} Open that picture too."
