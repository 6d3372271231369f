"""Layers ▸ Segment, and the command palette: open a panel, or bring the one that is open to the front."""

from __future__ import annotations

from functools import partial


def _open(title: str) -> None:
    from napari import current_viewer

    from .controls.panel import open_panel

    if (viewer := current_viewer()) is not None:
        open_panel(viewer, title)


open_segment = partial(_open, "Segment white blood cells")
open_review = partial(_open, "Review white blood cells")
open_session = partial(_open, "White blood cell session")
open_train = partial(_open, "Train WBC model")
open_models = partial(_open, "White blood cell models")
