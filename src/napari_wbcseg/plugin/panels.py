"""Layers ▸ Segment, and the command palette: open a panel, or bring the one that is open to the front."""

from __future__ import annotations


def open_segment() -> None:
    """Open *Segment white blood cells*."""
    _open("Segment white blood cells")


def open_review() -> None:
    """Open *Review white blood cells*."""
    _open("Review white blood cells")


def open_session() -> None:
    """Open *White blood cell session*."""
    _open("White blood cell session")


def open_train() -> None:
    """Open *Train WBC model*."""
    _open("Train WBC model")


def open_models() -> None:
    """Open *White blood cell models*."""
    _open("White blood cell models")


def _open(title: str) -> None:
    import napari

    from .shared.panel import open_panel
    from .shared.viewer import own_viewer

    viewer = napari.current_viewer()
    if viewer is not None:
        open_panel(own_viewer(viewer), title)
