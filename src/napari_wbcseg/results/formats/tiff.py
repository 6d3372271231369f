"""A label image as TIFF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OutputError
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
        If the labels are no label image, or the file cannot be written.
    """
    import tifffile

    array = np.asarray(labels)
    if array.dtype.kind not in "biu" or array.ndim not in (2, 3):
        raise OutputError(
            f"Labels must be whole numbers of shape (H, W) or (N, H, W), not {array.dtype} {array.shape}."
        )
    top = int(array.max()) if array.size else 0
    kinds = (np.uint16, np.int32, np.int64)
    stored = array.astype(next(kind for kind in kinds if top <= np.iinfo(kind).max))
    metadata: dict[str, Any] = {"axes": "YX" if array.ndim == 2 else "ZYX"}
    options: dict[str, Any] = {}
    if pixel_size is not None:
        metadata.update(
            PhysicalSizeX=pixel_size.column, PhysicalSizeY=pixel_size.row, PhysicalSizeUnit=pixel_size.unit
        )
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
