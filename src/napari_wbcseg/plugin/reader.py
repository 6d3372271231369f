"""Reader of the SigTuple folder and archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .samples import LayerDataTuple

    Reader = Callable[[str | PathLike[str] | Sequence[str | PathLike[str]]], list[LayerDataTuple]]


def get_sigtuple_reader(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> Reader | None:
    """Return a reader for a SigTuple folder or ``.tar``, or None at once for anything else.

    Parameters
    ----------
    path : path, or list of paths
        What napari was asked to open. A list means one stack of several files, which is never ours.

    Returns
    -------
    callable or None
        A function from the path to layer data tuples.
    """
    if not isinstance(path, str | PathLike):
        return None
    from pathlib import Path

    from ..data.sigtuple import is_sigtuple

    return read_sigtuple_layers if is_sigtuple(Path(path)) else None


def read_sigtuple_layers(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[LayerDataTuple]:
    """Read the training pairs as tiles with labels, or the fields where there are no pairs.

    Raises
    ------
    DatasetError
        If the folder or archive is damaged.
    """
    from pathlib import Path

    from ..data.images import read_image
    from ..data.sigtuple import read_sigtuple, test_fields
    from ..errors import DatasetError
    from .samples import tile_layers

    if not isinstance(path, str | PathLike):
        raise DatasetError("Open one SigTuple folder or archive at a time.")
    folder = Path(path)
    try:
        return tile_layers(read_sigtuple(folder))
    except DatasetError:
        fields = test_fields(folder) if folder.is_dir() else []
        if not fields:
            raise
    # Sixty images of different sizes: all in the list, the first one shown.
    return [
        (read_image(field), {"name": field.stem, "rgb": True, "visible": number == 0}, "image")
        for number, field in enumerate(fields)
    ]
