"""Readers: the SigTuple set, results saved with their table, and images too large to be read whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
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
        one, as from the command palette, it is asked for and opened.

    Returns
    -------
    callable or None
        A function from the path to layer data tuples.
    """
    if path == "":
        _ask_and_open("Open the SigTuple folder")
        return None
    if not isinstance(path, str | PathLike):
        return None
    from pathlib import Path

    from ..datasets.sigtuple import is_sigtuple

    return read_sigtuple_layers if is_sigtuple(Path(path)) else None


def read_sigtuple_layers(path: Paths) -> list[LayerDataTuple]:
    """Read the training pairs as tiles with labels, or the fields where there are no pairs.

    Raises
    ------
    DatasetError
        If the folder or archive is damaged.
    """
    from pathlib import Path

    from ..datasets.sigtuple import read_sigtuple, test_fields
    from ..errors import DatasetError
    from ..images.read import read_image
    from .samples import tile_layers

    if not isinstance(path, str | PathLike):
        raise DatasetError("Open one SigTuple folder or archive at a time.")
    folder = Path(path)
    try:
        return tile_layers(read_sigtuple(folder))
    except DatasetError:
        if not folder.is_dir():
            raise
        fields = test_fields(folder)
    # Sixty images of different sizes: all in the list, the first one shown.
    return [
        (read_image(field), {"name": field.stem, "rgb": True, "visible": number == 0}, "image")
        for number, field in enumerate(fields)
    ]


def get_result_reader(path: Paths = "") -> Reader | None:
    """Return a reader for a saved result, or None at once for anything else.

    Parameters
    ----------
    path : path, or list of paths
        A label TIFF with its ``NAME-result.json`` beside it, that JSON, or an OME-Zarr that was
        saved by this plugin, or the folder with the result of a large image. Without one it is asked for.
    """
    if path == "":
        _ask_and_open("Open a saved result", "Results (*-result.json *-labels.tif *-labels.tiff)")
        return None
    if not isinstance(path, str | PathLike):
        return None
    from pathlib import Path

    # Without the output package: this is asked for every folder that is opened.
    file = Path(path)
    if file.is_dir():
        ours = b'"napari_wbcseg"'
        if (file / "plan.json").is_file() and (file / "labels.zarr").is_dir():
            return _read_large_result
        cells = file / "labels" / "cells" / ".zattrs"
        return _read_result if cells.is_file() and ours in cells.read_bytes() else None
    if file.name.endswith("-result.json"):
        return _read_result
    from ..results.load import record_beside

    return _read_result if record_beside(file) is not None else None


def _read_result(path: Any) -> list[LayerDataTuple]:
    from .shared.saved_layers import read_result_layers

    _tell_counts()
    return read_result_layers(path)


def _read_large_result(path: Any) -> list[LayerDataTuple]:
    from .shared.large_layers import result_layers

    _tell_counts()
    return result_layers(path)


def get_large_reader(path: Paths = "") -> Reader | None:
    """Return a reader for a whole slide or a zarr, or None at once for anything else.

    Parameters
    ----------
    path : path, or list of paths
        Ordinary .tif files are left to napari, which would ask at each of them who shall read it;
        File ▸ IO Utilities has a command for large ones. Without a path that command is run.
    """
    if path == "":
        open_large_image()
        return None
    if not isinstance(path, str | PathLike):
        return None
    from pathlib import Path

    from ..images.find import SLIDE_SUFFIXES
    from ..images.zarr_files import is_zarr

    file = Path(path)
    if file.suffix.lower() not in SLIDE_SUFFIXES and not is_zarr(file):
        return None
    return _read_large_image


def _read_large_image(path: Any) -> list[LayerDataTuple]:
    from .shared.large_layers import image_layer

    return [image_layer(path)]


def _tell_counts() -> None:
    """Let the count of what is opened stand on the canvas, though no panel of ours is open."""
    import napari

    from .shared.unsaved import keep_unsaved

    viewer = napari.current_viewer()
    if viewer is not None:
        keep_unsaved(viewer)


def _ask_and_open(title: str, files: str = "") -> None:
    """Ask for a file, or where no kind of files is given for a folder, and open it."""
    import napari
    from napari.utils.notifications import show_error
    from qtpy.QtWidgets import QFileDialog

    from ..errors import WBCSegError
    from .shared.viewer import own_viewer

    viewer = napari.current_viewer()
    if viewer is None:
        return
    name = (
        QFileDialog.getOpenFileName(None, title, "", files)[0]
        if files
        else QFileDialog.getExistingDirectory(None, title)
    )
    try:
        if name:
            own_viewer(viewer).open(name, plugin="napari-wbcseg")
    except (WBCSegError, ValueError) as error:  # the latter is napari's, where the file is none of ours
        show_error(str(error))


def open_large_image() -> None:
    """File ▸ IO Utilities: ask for a large image and add it to the viewer, without reading it whole."""
    import napari
    from napari.layers import Layer
    from napari.utils.notifications import show_error
    from qtpy.QtWidgets import QFileDialog

    from ..errors import WBCSegError
    from ..images.find import OPENSLIDE_ONLY, TIFF_SUFFIXES
    from .shared.large_layers import image_layer
    from .shared.viewer import own_viewer

    patterns = " ".join(f"*{suffix}" for suffix in (*TIFF_SUFFIXES, *OPENSLIDE_ONLY))
    current = napari.current_viewer()
    if current is None:
        return
    viewer = own_viewer(current)
    name, _ = QFileDialog.getOpenFileName(
        None,
        "Open a large image, read where it is looked at",
        "",
        f"Tiled TIFF and whole slides ({patterns});;All files (*)",
    )
    if not name:
        return
    try:
        viewer.add_layer(Layer.create(*image_layer(name)))
    except WBCSegError as error:
        show_error(str(error))
