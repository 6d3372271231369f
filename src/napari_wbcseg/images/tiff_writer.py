"""Label images and pictures as TIFF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError, WBCSegError
from ..files import write_atomically
from ..version import __version__
from .pixel_size import PixelSize


def write_tiff(
    path: str | Path,
    array: np.ndarray,
    pixel_size: PixelSize | None = None,
    *,
    plain: bool = False,
    error: type[WBCSegError] = OutputError,
) -> Path:
    """Write a label image, or a picture, as a compressed TIFF.

    Parameters
    ----------
    path : str or Path
    array : ndarray of int, shape (H, W) or (N, H, W)
        0 is background. Stored as uint16, which every program reads, where the labels fit, else as int32, or
        as int64.
    pixel_size : PixelSize, optional
        Kept in the file: as the TIFF resolution, and by name in its description.
    plain : bool
        Without a description; then the array may be a picture too, of uint8 and shape (H, W, 3).
    error : type of WBCSegError

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    error
        If the file cannot be written.
    """
    import tifffile

    coloured = plain and array.ndim == 3
    metadata: dict[str, Any] = {"axes": "YX" if array.ndim == 2 else "ZYX"}
    if not coloured:
        top = int(array.max(initial=0))
        array = array.astype(next(k for k in (np.uint16, np.int32, np.int64) if top <= np.iinfo(k).max))
    if pixel_size is not None:
        row, column, unit = pixel_size
        metadata |= {"PhysicalSizeX": column, "PhysicalSizeY": row, "PhysicalSizeUnit": unit}
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        photometric="rgb" if coloured else "minisblack",
        compression="zlib",
        metadata=None if plain else metadata,
        software=f"napari-wbcseg {__version__}",
        **({} if pixel_size is None else pixel_size.tiff_resolution),
    )
    return write_atomically(path, buffer.getvalue(), error)
