"""One door to the image in a file, whatever its format."""

from __future__ import annotations

from pathlib import Path

from .limits import check_is_file
from .opened import OpenedImage, image_head
from .pictures import open_picture
from .slides import open_slide
from .tiff import MAGIC, open_tiff
from .zarr_files import open_zarr_image


def open_image(source: Path | bytes, name: str) -> OpenedImage:
    """Open an image without reading its pixels; the content decides the format.

    Parameters
    ----------
    source : Path or bytes
    name : str
        What messages call it.

    Raises
    ------
    ImageError
        If there is no such file, or its image is none in grey or RGB.
    Exception
        Of nearly any type, where the file is damaged.
    """
    if isinstance(source, Path):
        if source.is_dir():
            return open_zarr_image(source)
        check_is_file(source)
        if (slide := open_slide(source)) is not None:
            return slide
    return open_tiff(source, name) if image_head(source)[:4] in MAGIC else open_picture(source, name)
