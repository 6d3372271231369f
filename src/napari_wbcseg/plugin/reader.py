"""Readers: the SigTuple set, saved results, images too large to be read whole, and folders of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .shared.metadata import LayerDataTuple

    Paths = str | PathLike[str] | Sequence[str | PathLike[str]]
    Reader = Callable[[Paths], list[LayerDataTuple]]


def get_sigtuple_reader(path: Paths = "") -> Reader | None:
    """Return a reader for a SigTuple folder or ``.tar``, or None at once for anything else.

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
    file = _file(path)
    if file is None:
        return None
    from ..datasets.sigtuple import is_sigtuple

    return read_sigtuple_layers if is_sigtuple(file) else None


def read_sigtuple_layers(path: Any) -> list[LayerDataTuple]:
    """Read the training pairs as tiles with labels.

    Raises
    ------
    DatasetError
        If the folder or archive is damaged, or has none.
    """
    from ..datasets.sigtuple import read_sigtuple
    from .samples import tile_layers

    return tile_layers(read_sigtuple(Path(path)))


def get_result_reader(path: Paths = "") -> Reader | None:
    """Return a reader for a saved result, or None at once for anything else.

    Parameters
    ----------
    path : path, or list of paths
        A label TIFF with its ``NAME-result.json`` beside it, that JSON, or an OME-Zarr that was
        saved by this plugin, or the folder with the result of a large image.
    """
    file = _file(path)
    if file is None:
        return None
    if file.is_dir():  # without the output package: this is asked for every folder that is opened
        cells = file / "labels" / "cells" / ".zattrs"
        ours = _is_large(file) or (cells.is_file() and b'"napari_wbcseg"' in cells.read_bytes())
    elif file.name.endswith("-result.json"):
        ours = True
    else:
        from ..results.load import record_beside

        ours = record_beside(file) is not None
    return _read_result if ours else None


def _is_large(folder: Path) -> bool:
    return (folder / "plan.json").is_file() and (folder / "labels.zarr").is_dir()


def _read_result(path: Any) -> list[LayerDataTuple]:
    """Read a result, and let its count stand on the canvas, though no panel of ours is open."""
    from .shared.file_layers import large_result_layers, read_result_layers
    from .shared.unsaved import keep_unsaved
    from .shared.viewer import current_viewer

    if (viewer := current_viewer()) is not None:
        keep_unsaved(viewer)
    return large_result_layers(path) if _is_large(Path(path)) else read_result_layers(path)


def get_large_reader(path: Paths = "") -> Reader | None:
    """Return a reader for a whole slide or a zarr, or None at once for anything else.

    Parameters
    ----------
    path : path, or list of paths
        Ordinary .tif files are left to napari, which would ask at each of them who shall read it;
        File ▸ IO Utilities has a command for large ones.
    """
    file = _file(path)
    if file is None:
        return None
    from ..images.find import SLIDE_SUFFIXES
    from ..images.zarr_files import is_zarr

    if file.suffix.lower() not in SLIDE_SUFFIXES and not is_zarr(file):
        return None
    from .shared.file_layers import large_image_layer

    return lambda name: [large_image_layer(name)]  # type: ignore[arg-type]  # no list of names


def get_session_reader(path: Paths = "") -> Reader | None:
    """Return what opens a folder of pictures, dropped on the window perhaps, as a session.

    Parameters
    ----------
    path : path, or list of paths
        Of napari's own reader, which takes a folder for one stack, the user has the choice.
    """
    from .shared.viewer import current_viewer

    file, viewer = _file(path), current_viewer()
    return _open_session if file is not None and file.is_dir() and hasattr(viewer, "window") else None


def _open_session(path: Any) -> list[Any]:
    from .shared.panel import open_panel, there
    from .shared.viewer import current_viewer

    session: Any = open_panel(there(current_viewer()), "White blood cell session")
    session.open_pictures([path])
    return [(None,)]  # no layers yet


def _file(path: Paths) -> Path | None:
    """Return the file or folder to be opened; None for a list of files, and without a path."""
    if path == "":
        from napari.utils.notifications import show_error

        show_error("Files are opened with File ▸ Open, folders with File ▸ Open Folder.")
        return None
    return Path(path) if isinstance(path, str | PathLike) else None


def open_large_image() -> None:
    """File ▸ IO Utilities: ask for a large image and add it to the viewer, without reading it whole."""
    from napari.layers import Layer
    from napari.utils.notifications import show_error
    from qtpy.QtWidgets import QFileDialog

    from ..errors import WBCSegError
    from ..images.find import OPENSLIDE_ONLY, TIFF_SUFFIXES
    from .shared.file_layers import large_image_layer
    from .shared.viewer import current_viewer

    viewer = current_viewer()
    patterns = " ".join(f"*{suffix}" for suffix in (*TIFF_SUFFIXES, *OPENSLIDE_ONLY))
    files = f"Tiled TIFF and whole slides ({patterns});;All files (*)"
    title = "Open a large image, read where it is looked at"
    name, _ = QFileDialog.getOpenFileName(None, title, "", files)
    if viewer is None or not name:
        return
    try:
        viewer.add_layer(Layer.create(*large_image_layer(name)))
    except WBCSegError as error:
        show_error(str(error))
