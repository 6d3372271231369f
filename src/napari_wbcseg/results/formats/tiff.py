"""A label image as TIFF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_atomically
from ...images.pixel_size import PixelSize
from ...version import __version__


def write_labels(path: str | Path, labels: np.ndarray, pixel_size: PixelSize | None = None) -> Path:
    """Write a label image as a compressed TIFF.

    Parameters
    ----------
    path : str or Path
    labels : ndarray of int, shape (H, W) or (N, H, W)
        0 is background. Stored as uint16 where the labels fit, else as int32, or as int64.
    pixel_size : PixelSize, optional
        Kept in the file: as the TIFF resolution, and by name in its description.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import tifffile

    array = np.asarray(labels)
    top = int(array.max(initial=0))
    stored = array.astype(next(k for k in (np.uint16, np.int32, np.int64) if top <= np.iinfo(k).max))
    metadata: dict[str, Any] = {"axes": "YX" if array.ndim == 2 else "ZYX"}
    options: dict[str, Any] = {}
    if pixel_size is not None:
        row, column, unit = pixel_size
        metadata |= {"PhysicalSizeX": column, "PhysicalSizeY": row, "PhysicalSizeUnit": unit}
        options = pixel_size.tiff_resolution
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        stored,
        photometric="minisblack",
        compression="zlib",
        metadata=metadata,
        software=f"napari-wbcseg {__version__}",
        **options,
    )
    return write_atomically(path, buffer.getvalue())
