"""One door to the pixels of a file, whole or in parts: a zarr, a slide or a TIFF."""

from __future__ import annotations

from pathlib import Path

from .limits import check_is_file
from .slides import SlideImage, open_slide
from .tiff import MAGIC, TiffImage, open_tiff
from .zarr_files import ZarrImage, open_image


def image_head(source: Path | bytes) -> bytes:
    """Return the first bytes of a file, which tell its format."""
    if isinstance(source, bytes):
        return source[:32]
    with source.open("rb") as file:
        return file.read(32)


def open_pixels(source: Path | bytes, name: str) -> ZarrImage | SlideImage | TiffImage | None:
    """Open an image without reading its pixels; None where it is none that can be read in parts.

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
            return open_image(source)
        check_is_file(source)
        if (slide := open_slide(source)) is not None:
            return slide
    return open_tiff(source, name) if image_head(source)[:4] in MAGIC else None
