"""What the first bytes of an image file say, without reading its pixels."""

from __future__ import annotations

from math import prod
from pathlib import Path


def image_pixels(path: str | Path) -> int | None:
    """Return how many pixels an image file holds, over all planes of a stack.

    Parameters
    ----------
    path : str or Path
        A file that `read_image` may or may not be able to read.

    Returns
    -------
    int or None
        None where the header cannot be understood.
    """
    import tifffile

    from .read import _TIFF_MAGIC, _open_with_pillow, image_head

    path = Path(path)
    try:
        if image_head(path)[:4] in _TIFF_MAGIC:
            with tifffile.TiffFile(path) as tiff:
                series = tiff.series[0]
                colours = [n for n, axis in zip(series.shape, series.axes, strict=False) if axis in "SC"]
                return prod(series.shape) // max(1, prod(colours))
        with _open_with_pillow(path) as image:
            return image.width * image.height
    except Exception:  # whoever reads the pixels says what is wrong with the file
        return None
