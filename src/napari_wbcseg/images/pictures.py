"""Pictures as cameras, phones and the web have them, which are decoded all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .limits import check_expansion, image_head
from .opened import OpenedImage
from .pixel_size import of_dots
from .tiff import ORIENTATION

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "JPEG2000", "AVIF")
#: What the brands begin with that pillow-heif knows; those of videos are others.
_HEIF = (b"hei", b"hev", b"mif", b"msf")
_MAX_PIXELS = 2**30  # more need a format that is read in parts
_LOCK = threading.Lock()


def open_picture(path: Path) -> OpenedImage:
    """Open a picture, whose pixels are not read yet.

    Raises
    ------
    ImageError
        If it declares more than its bytes can hold, or is HEIC and pillow-heif is not installed.
    Exception
        Pillow's, where it is none of these, damaged or too large.
    """
    from PIL import Image

    head = image_head(path)
    formats = _heif(path) if _is_heif(head) else _FORMATS
    with _LOCK:
        # Pillow takes pictures of more than 89 megapixels for an attack; smears are often larger.
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            opened = Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if opened.width * opened.height > _MAX_PIXELS:
        opened.close()
        raise Image.DecompressionBombError
    pixels = PicturePixels(opened, path)
    # As they are compressed: of a grey picture one colour, of a mask perhaps one bit a pixel.
    depth = head[24] if opened.format == "PNG" else 8
    declared = opened.height * opened.width * len(opened.getbands()) * depth // 8
    try:
        check_expansion(declared, path.stat().st_size, str(path))
    except BaseException:
        opened.close()
        raise
    frames = getattr(opened, "n_frames", 1)  # of an animation, or of a camera's JPEG
    left_out = (
        f"Of the {frames} pictures in {path} the first was taken. "
        "Save what is to be counted too as a file of its own."
    )
    return OpenedImage(
        (pixels,),
        (left_out,) if frames > 1 else (),
        in_parts=False,
        alpha=True,
        read_numbers=pixels.numbers,
        read_stated=lambda: of_dots(*reversed(opened.info.get("dpi", (0, 0)))),
        read_orientation=lambda: opened.getexif().get(ORIENTATION),
        close=opened.close,
    )


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:11] in _HEIF


def _heif(path: Path) -> tuple[str]:
    """Let Pillow open HEIC, and return what it calls that."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise ImageError(
            f"{path} is HEIC, as phones save pictures, for which pillow-heif is needed: "
            "pip install pillow-heif, or save the picture as JPEG."
        ) from None
    register_heif_opener()
    return ("HEIF",)


class PicturePixels:
    """The pixels of a picture (1, H, W, C), decoded when they are asked for.

    Attributes
    ----------
    shape : tuple of int
    nbytes : int
        Bytes of all pixels, about.
    """

    def __init__(self, opened: Image.Image, path: Path) -> None:
        self._opened, self._path = opened, path
        self.shape = (1, opened.height, opened.width, len(opened.getbands()))
        self.nbytes = opened.height * opened.width * max(3, self.shape[3])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        self._opened.load()
        decode = _decoder_of_deep_colours(self._opened, image_head(self._path))
        image = array_of(self._opened) if decode is None else decode(self._path.read_bytes())
        return image.reshape(1, *image.shape[:2], -1)[key]

    def numbers(self) -> NDArray[Any] | None:
        """Return the places of the pixels (1, H, W, 1) in their palette; None where there is none."""
        return np.asarray(self._opened)[None, ..., None] if self._opened.mode == "P" else None


def _decoder_of_deep_colours(opened: Image.Image, head: bytes) -> Callable[[bytes], NDArray[Any]] | None:
    """Return what decodes colours of more than 8 bits, which Pillow cuts down; None where there are none.

    In JPEG 2000 it rounds them besides, so that what is nearly white would become black, and makes 16 bits of
    fewer bits of grey.
    """
    import imagecodecs

    if opened.format == "PNG" and head[24] == 16 and head[25] != 0:
        return imagecodecs.png_decode
    if opened.format == "JPEG2000":
        box = head.find(b"ihdr")  # else it is a bare codestream
        if head[42 if box < 0 else box + 14] & 0x7F > 7:  # one less than the bits
            return imagecodecs.jpeg2k_decode
    return None


def array_of(image: Image.Image) -> NDArray[Any]:
    """Return grey, RGB, or either with alpha last."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # which Pillow cuts off at 255
        array = np.asarray(image)
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("LA", "La") or (image.mode == "L" and "transparency" in image.info):
        return np.asarray(image.convert("LA"))
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    if image.mode == "P":
        image = image.convert(image.palette.mode if image.palette else "RGB")
    return np.asarray(image if image.mode == "L" else image.convert("RGB"))
