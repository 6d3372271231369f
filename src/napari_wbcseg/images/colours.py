"""The colours of TIFF pixels, as a viewer shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError

if TYPE_CHECKING:
    import tifffile
    from numpy.typing import NDArray

Conversion = Callable[["NDArray[Any]"], "NDArray[Any]"]

_JPEG = (6, 7, 34892, 33007)  # compressions of which the decoder gives RGB
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
    kinds = _kinds()
    compression = int(page.compression)
    samples = page.samplesperpixel
    photometric = int(page.photometric)
    whole = page.dtype is not None and page.dtype.kind == "u" and page.dtype.itemsize < 4
    if compression == _APERIO_YCBCR and samples == 3 and page.dtype == np.uint8:
        return _rgb_of_ycbcr
    if photometric == kinds.MINISBLACK:
        return _stretched(page)
    if photometric == kinds.RGB:
        return _stretched(page)
    if photometric == kinds.MINISWHITE and (whole or page.dtype == bool):
        stretched = _stretched(page)
        return lambda pixels: np.invert(stretched(pixels))
    if photometric == kinds.PALETTE and page.colormap is not None and page.colormap.ndim == 2:
        table = page.colormap.T
        # Some programs write the levels of 8 bits where TIFF wants 16.
        table = (table >> 8 if table.max(initial=0) > 255 else table).astype(np.uint8)
        return lambda pixels: table[pixels[..., 0].astype(np.intp)]
    if photometric == kinds.SEPARATED and samples in (4, 5) and whole:
        return _rgb_of_cmyk
    if photometric == kinds.YCBCR and samples == 3 and page.dtype == np.uint8:
        if compression in _JPEG:
            return _same
        if compression in (1, 5, 8, 32773, 32946, 34925, 50000, 34926):  # lossless, of any bytes
            return _rgb_of_ycbcr
    if photometric in (kinds.CIELAB, kinds.ICCLAB) and samples == 3 and whole and compression not in _JPEG:
        signed = photometric == kinds.CIELAB
        return lambda pixels: _rgb_of_lab(pixels, signed)
    raise ImageError(
        f"{name} stores its colours as {getattr(page.photometric, 'name', photometric)} "
        f"({samples} × {page.bitspersample} bits, compression "
        f"{getattr(page.compression, 'name', compression)}), which is not known here; save it as plain RGB."
    )


def _kinds() -> Any:
    import tifffile

    return tifffile.PHOTOMETRIC


def _same(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels


def _stretched(page: tifffile.TiffPage) -> Conversion:
    """Bring fewer than 8 bits to the whole range of 8."""
    if page.dtype == bool:
        return lambda pixels: pixels.astype(np.uint8) * np.uint8(255)
    bits = page.bitspersample
    if isinstance(bits, int) and bits < 8 and page.dtype is not None and page.dtype.kind == "u":
        levels = np.rint(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
        return lambda pixels: levels[pixels]
    return _same


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


def _rgb_of_lab(pixels: NDArray[Any], signed: bool) -> NDArray[np.uint8]:
    """CIE L*a*b* of 8 or 16 bits, with white at L* = 100."""
    from skimage.color import lab2rgb

    unit = 256 if pixels.dtype == np.uint16 else 1
    # ICCLab counts 16-bit lightness to 0xFF00, CIELab to 0xFFFF.
    top = 255 if unit == 1 else (65535 if signed else 65280)
    lightness = pixels[..., 0].astype(np.float32) * (100 / top)
    if signed:
        chroma = pixels[..., 1:].view(np.int16 if unit == 256 else np.int8).astype(np.float32) / unit
    else:
        chroma = pixels[..., 1:].astype(np.float32) / unit - 128
    rgb = lab2rgb(np.concatenate([lightness[..., None], chroma], axis=-1))
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
