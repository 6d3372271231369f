"""The colours of TIFF pixels, as a viewer shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError

if TYPE_CHECKING:
    import tifffile

Conversion = Callable[["NDArray[Any]"], "NDArray[Any]"]

JPEG = (6, 7, 34892, 33007)  # compressions of which the decoder gives RGB
_LOSSLESS = (1, 5, 8, 32773, 32946, 34925, 50000, 34926)  # compressions of any bytes
_APERIO_YCBCR = 33003  # JPEG 2000 of YCbCr, whatever the photometric tag says


def conversion(page: tifffile.TiffPage, name: str) -> Conversion:
    """Return what brings the decoded pixels of a page to grey or RGB.

    Parameters
    ----------
    page : TiffPage
    name : str
        What messages call the file.

    Returns
    -------
    callable
        From an array (..., samples) to one (..., 1 or 3), perhaps with alpha behind.

    Raises
    ------
    ImageError
        If the colours are stored in a way that is not known: they are not guessed.
    """
    from tifffile import PHOTOMETRIC

    compression, samples = int(page.compression), page.samplesperpixel
    photometric, dtype = int(page.photometric), np.dtype(page.dtype)
    whole = dtype.kind == "u" and dtype.itemsize < 4
    bytes_of_three = samples == 3 and dtype == np.uint8
    if compression == _APERIO_YCBCR and bytes_of_three:
        return _rgb_of_ycbcr
    if photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        return _stretched(page)
    if photometric == PHOTOMETRIC.MINISWHITE and (whole or dtype.kind == "b"):
        stretched = _stretched(page)
        black = 2**page.bitspersample - 1 if page.bitspersample > 8 else 255
        return lambda pixels: black - stretched(pixels)
    if photometric == PHOTOMETRIC.PALETTE and page.colormap is not None and page.colormap.ndim == 2:
        table = page.colormap.T
        # Some programs write the levels of 8 bits where TIFF wants 16.
        table = (table >> 8 if table.max(initial=0) > 255 else table).astype(np.uint8)
        return lambda pixels: table[pixels[..., 0].astype(np.intp)]
    if photometric == PHOTOMETRIC.SEPARATED and samples in (4, 5) and whole:
        return _rgb_of_cmyk
    if photometric == PHOTOMETRIC.YCBCR and bytes_of_three:
        if compression in JPEG:
            return lambda pixels: pixels
        if compression in _LOSSLESS:
            return _rgb_of_ycbcr
    raise ImageError(
        f"{name} stores its colours as {getattr(page.photometric, 'name', photometric)} "
        f"({samples} × {page.bitspersample} bits, compression "
        f"{getattr(page.compression, 'name', compression)}), which is not known here; save it as plain RGB."
    )


def _stretched(page: tifffile.TiffPage) -> Conversion:
    """Bring fewer than 8 bits to the whole range of 8."""
    bits, dtype = page.bitspersample, np.dtype(page.dtype)
    if dtype.kind == "b":
        return lambda pixels: pixels.astype(np.uint8) * np.uint8(255)
    if isinstance(bits, int) and bits < 8 and dtype.kind == "u":
        levels = np.rint(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
        return lambda pixels: levels[pixels]
    return lambda pixels: pixels


def _rgb_of_ycbcr(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Full-range YCbCr, as in JPEG (ITU-R BT.601)."""
    y, cb, cr = np.moveaxis(pixels.astype(np.float32), -1, 0)
    cb, cr = cb - 128, cr - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _rgb_of_cmyk(pixels: NDArray[Any]) -> NDArray[Any]:
    top = np.iinfo(pixels.dtype).max
    light = (top - pixels[..., :4]).astype(np.float32)
    return np.rint(light[..., :3] * light[..., 3:] / top).astype(pixels.dtype)
