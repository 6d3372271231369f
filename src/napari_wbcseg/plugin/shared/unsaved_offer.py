"""Corrections that were left behind unsaved are offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from ...words import moment
from .events import events
from .jobs import in_background, say_error
from .panel import Offer, confirmed
from .unsaved import UnsavedCopy, copies_left, keep_unsaved, take


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
            in_background(
                lambda progress: copy.layers(),
                "Opening corrections",
                done=lambda layers: self._show(copy, layers),
                failed=say_error,
            )

    def discard(self) -> None:
        copy = self._copy
        if copy is not None and confirmed(self, "Discard the corrections?", f"{words_of(copy)} Remove them?"):
            take(copy).discard()

    def _show(self, copy: UnsavedCopy, layers: Any) -> None:
        *_, cells = (self._viewer.add_layer(Layer.create(*one)) for one in layers)
        keep_unsaved(self._viewer).restored(cells, copy)  # type: ignore[arg-type]
        self._viewer.layers.selection.active = cells


def words_of(copy: UnsavedCopy) -> str:
    """Say in a sentence of what and from when unsaved corrections are."""
    words = f"Corrections of {copy.about['name']}, made {moment(copy.when)}, were not saved."
    there = copy.about["path"] is not None and Path(copy.about["path"]).exists()
    return words if there else f"{words} Open that picture too."
