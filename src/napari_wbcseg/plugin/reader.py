"""The reader: of what napari does not read by itself, or not as what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .shared.metadata import LayerDataTuple

    Paths = str | PathLike[str] | Sequence[str | PathLike[str]]
    Reader = Callable[[Paths], list[LayerDataTuple]]


def get_reader(path: Paths = "") -> Reader | None:
    """Return what reads a path, or None at once where it is none of ours.

    Ours are the SigTuple set (a folder or ``.tar``); a saved result (``NAME-result.json``, a label TIFF with
    that beside it, an OME-Zarr of this plugin, the folder of a large image); a whole slide or a zarr; a
    phone's HEIC; and any other folder, whose pictures become a session: of napari's own reader, which takes
    it for one stack, the user has the choice.

    Parameters
    ----------
    path : path, or list of paths
        What napari was asked to open. A list means one stack of several files, which is never ours. Without
        one, as from the command palette, it is said how files are opened.

    Returns
    -------
    callable or None
        A function from the path to layer data tuples.
    """
    from napari import current_viewer

    from ..datasets.sigtuple import is_sigtuple
    from ..images.find import PHONE_SUFFIXES, SLIDE_SUFFIXES
    from ..images.zarr_files import is_zarr

    if path == "":
        from napari.utils.notifications import show_error

        show_error("Files are opened with File ▸ Open File(s), folders with File ▸ Open Folder.")
        return None
    if not isinstance(path, str | PathLike):
        return None
    file = Path(path)
    if is_sigtuple(file):
        return _read_sigtuple
    if _is_result(file):
        return _read_result
    # Ordinary .tif files are left to napari; File ▸ IO Utilities has a command for large ones.
    if file.suffix.lower() in SLIDE_SUFFIXES or is_zarr(file):
        return _read_large
    if file.suffix.lower() in PHONE_SUFFIXES:
        return _read_picture
    return _open_session if file.is_dir() and hasattr(current_viewer(), "window") else None


def _read_sigtuple(path: Any) -> list[LayerDataTuple]:
    """Read the training pairs as tiles with labels."""
    from ..datasets.sigtuple import read_sigtuple
    from .samples import tile_layers

    return tile_layers(read_sigtuple(Path(path)))


def _is_result(file: Path) -> bool:
    from ..results.names import is_our_zarr, record_beside
    from ..segmentation.large.folder import is_large_result

    if file.is_dir():
        return is_large_result(file) or is_our_zarr(file)
    # A slide may have a record of its name beside it, and is opened as itself.
    labels = file.suffix.lower() in (".tif", ".tiff") and record_beside(file) is not None
    return labels or file.name.endswith("-result.json")


def _read_result(path: Any) -> list[LayerDataTuple]:
    """Read a result, and let its count stand on the canvas, though no panel of ours is open."""
    from napari import current_viewer

    from ..segmentation.large.folder import is_large_result
    from .shared.file_layers import large_result_layers, read_result_layers
    from .shared.unsaved import keep_unsaved

    if (viewer := current_viewer()) is not None:
        keep_unsaved(viewer)
    return large_result_layers(path) if is_large_result(Path(path)) else read_result_layers(path)


def _read_large(path: Any) -> list[LayerDataTuple]:
    from .shared.file_layers import large_image_layer

    return [large_image_layer(path)]


def _read_picture(path: Any) -> list[LayerDataTuple]:
    from .shared.file_layers import image_layer

    return [image_layer(Path(path), Path(path).stem)]


def _open_session(path: Any) -> list[Any]:
    from napari import current_viewer

    from .controls.basic_widgets import there
    from .controls.panel import open_panel

    session: Any = open_panel(there(current_viewer()), "White blood cell session")
    session.open_pictures([path])
    return [(None,)]  # no layers yet


def open_large_image() -> None:
    """File ▸ IO Utilities: ask for a large image and add it to the viewer, which lives meanwhile."""
    from napari import current_viewer
    from napari.layers import Layer
    from napari.utils.notifications import show_error
    from qtpy.QtWidgets import QFileDialog

    from ..images.find import OPENSLIDE_ONLY, TIFF_SUFFIXES
    from .shared.file_layers import large_image_layer
    from .shared.jobs import in_background

    viewer = current_viewer()
    patterns = " ".join(f"*{suffix}" for suffix in (*TIFF_SUFFIXES, *OPENSLIDE_ONLY))
    files = f"Tiled TIFF and whole slides ({patterns});;All files (*)"
    title = "Open a large image, read where it is looked at"
    name, _ = QFileDialog.getOpenFileName(None, title, "", files)
    if viewer is None or not name:
        return
    in_background(
        lambda progress: large_image_layer(name),
        f"Opening {Path(name).name}",
        done=lambda layer: viewer.add_layer(Layer.create(*layer)),
        failed=show_error,
    )
