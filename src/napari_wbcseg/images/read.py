"""Read image files as they are stored: JPEG, PNG, BMP, TIFF, the slides of scanners, and zarr."""

from __future__ import annotations

import threading
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from .choose import focus_note
from .limits import check_expansion, check_is_file, check_memory
from .opened import image_head, open_pixels
from .pixel_size import size_in
from .prepare import as_rgb8, is_one_field
from .tiff import MAGIC, ORIENTATION, open_file
from .zarr_files import is_zarr

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_PILLOW_FORMATS = ("JPEG", "PNG", "BMP")
_MAX_PIXELS = 2**29  # Pillow refuses twice as many
_PILLOW_LOCK = threading.Lock()
_AS_STORED = (None, 1)  # of the orientation tag of EXIF and TIFF


class ImageWarning(UserWarning):
    """What one should know of how an image was read."""


class AlphaDroppedWarning(ImageWarning):
    """An image had an alpha (transparency) channel, which was ignored."""


def read_image(path: str | Path) -> NDArray[Any]:
    """Read an image file: JPEG, PNG, BMP, TIFF, or a zarr folder.

    The content decides the format, not the suffix. Rows and columns are those of the file, as
    napari, ImageJ and QuPath show them: an orientation that a camera noted is told, not applied.
    Colours are brought to RGB, 16-bit and float values are kept, and an alpha channel is dropped.
    Of a file of several images the largest is read, with all that are like it. What one should
    know of that is said by an `ImageWarning`.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    ndarray of the file's dtype (uint8, uint16, float, ...)
        Grey (H, W) or RGB (H, W, 3); a file of several pages or fields gives a stack
        (N, H, W) or (N, H, W, 3).

    Raises
    ------
    ImageError
        If the file is missing, truncated, empty, not an image, has colours that are not known,
        or does not fit into memory.
    """
    return _warning_of(*read_image_and_notes(path))


def read_image_and_notes(path: str | Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read an image as `read_image` does, with its warnings as sentences."""
    return _decode(Path(path), str(path))


def decode_image(source: Path | bytes, name: str) -> NDArray[Any]:
    """Read an image from a file or from bytes already in memory.

    Parameters
    ----------
    source : Path or bytes
        Where the encoded image is.
    name : str
        What messages call it.

    Returns
    -------
    ndarray
        As `read_image`.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    return _warning_of(*_decode(source, name))


def read_rgb8(source: Path | bytes, name: str | None = None) -> NDArray[np.uint8]:
    """Read an image as a network is taught it: 8-bit RGB, (H, W, 3).

    Raises
    ------
    ImageError
        As `read_image`, or if it is a stack.
    """
    name = str(source) if name is None else name
    array = decode_image(source, name)
    try:
        return as_rgb8(array)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def _warning_of(image: NDArray[Any], notes: tuple[str, ...]) -> NDArray[Any]:
    for note in notes:
        warnings.warn(note, AlphaDroppedWarning if "alpha" in note else ImageWarning, stacklevel=3)
    return image


def _decode(source: Path | bytes, name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    if isinstance(source, Path) and not is_zarr(source):
        check_is_file(source)
    try:
        opened = open_pixels(source, name)
        if opened is None:
            pixels, notes, alpha = _decode_with_pillow(source, name)
        else:
            pixels, notes, alpha = _decode_opened(opened, name)
        image, more = as_image(pixels, name, alpha)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name} does not fit into memory; cut it into smaller images.") from None
    except Exception as error:  # decoders raise nearly any type on broken files
        raise ImageError(_cannot_read(source, name, error)) from error
    return image, (*notes, *more)


def as_image(planes: Any, name: str, alpha: bool = False) -> tuple[Any, tuple[str, ...]]:
    """Bring planes (N, H, W, C) to what users work with, in memory or lazily.

    Parameters
    ----------
    planes : array, shape (N, H, W, C)
        NumPy or dask.
    name : str
        What messages call it.
    alpha : bool
        Whether the second of two channels is transparency.

    Returns
    -------
    image : array, shape (H, W), (H, W, 3), (N, H, W) or (N, H, W, 3)
    notes : tuple of str

    Raises
    ------
    ImageError
        If it has no pixels, or channels that are neither grey nor RGB.
    """
    if 0 in planes.shape:
        raise ImageError(f"{name} has no pixels (shape {planes.shape}); save the image again.")
    count, height, width, channels = planes.shape
    if channels == 1 and width in (3, 4) and count > 1:
        # Written without saying that it is colour; no image is 3 pixels wide.
        planes, channels = planes.reshape(1, count, height, width), width
    notes: tuple[str, ...] = ()
    if channels == 4 or (channels == 2 and alpha):
        notes = (f"The alpha channel of {name} was dropped.",)
        planes, channels = planes[..., : channels - 1], channels - 1
    if channels not in (1, 3):
        raise ImageError(f"{name} has {channels} channels; save it as grey or as RGB.")
    if channels == 1:
        planes = planes[..., 0]
    return (planes[0] if planes.shape[0] == 1 else planes), notes


def _cannot_read(source: Path | bytes, name: str, error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        head = image_head(source)
        looks = "a text file" if head.isascii() and head[:1].isalnum() else "something else or damaged"
        return (
            f"{name} is not a JPEG, PNG, BMP or TIFF image (it looks like {looks}); "
            "save the picture again in one of these formats."
        )
    if isinstance(error, Image.DecompressionBombError):
        return f"{name} is too large to be read at once as JPEG, PNG or BMP; save it as TIFF or OME-Zarr."
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return (
        f"{name} cannot be read, it seems truncated or damaged ({reason.rstrip('.')}); "
        "copy or save the file again."
    )


def _turned(orientation: Any) -> tuple[str, ...]:
    if orientation in _AS_STORED or not isinstance(orientation, int) or not 1 < orientation <= 8:
        return ()
    return (
        f"The camera noted that the picture was turned or mirrored (orientation {orientation}); it was taken "
        "as it is stored, which is what napari shows, so that outlines lie on it.",
    )


def orientation_of(source: Path | bytes) -> int:
    """Return the orientation that a camera noted (1 to 8, of EXIF and TIFF); 1 where it noted none."""
    try:
        if image_head(source)[:4] in MAGIC:
            with open_file(source) as file:
                tag = file.pages.first.tags.get(ORIENTATION)
                found = 1 if tag is None else tag.value
        else:
            with open_with_pillow(source) as opened:
                found = opened.getexif().get(ORIENTATION, 1)
    except Exception:  # whoever reads the pixels says what is wrong with the file
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def turned(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an image (H, W) or (H, W, C) as it looks when turned as a camera noted."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    # After the swap the tag says on which side the first row and the first column lie.
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    return image[::rows, :: -1 if orientation in (2, 3, 6, 7) else 1]


# Formats -------------------------------------------------------------------------------------------


def _decode_opened(image: Any, name: str) -> tuple[NDArray[Any], tuple[str, ...], bool]:
    try:
        full = image.levels[0]
        check_memory(full.nbytes, name)
        pixels, notes = np.asarray(full[:]), (*image.notes, *header_notes(image))
        if not {*"ZT"} & {*image.axes} and image.fields == 1 and is_one_field(pixels):
            notes += (focus_note(len(pixels)),)
        return pixels, notes, image.alpha
    finally:
        image.close()


def header_notes(image: Any) -> tuple[str, ...]:
    """Return what is said of the orientation and the pixel size of what `open_pixels` opened."""
    return (*_turned(image.orientation), *size_in(image)[1])


def open_with_pillow(source: Path | bytes) -> Image.Image:
    """Open a JPEG, PNG or BMP, whose pixels are not read yet."""
    from PIL import Image

    with _PILLOW_LOCK:
        # Pillow takes pictures of more than 89 megapixels for an attack; smears are often larger.
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = _MAX_PIXELS
        try:
            file = BytesIO(source) if isinstance(source, bytes) else source
            return Image.open(file, formats=_PILLOW_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode_with_pillow(source: Path | bytes, name: str) -> tuple[NDArray[Any], tuple[str, ...], bool]:
    import imagecodecs

    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    with open_with_pillow(source) as opened:
        needed = opened.width * opened.height * max(3, len(opened.getbands()))
        check_expansion(needed, size, name)
        check_memory(needed, name)
        opened.load()
        notes = _turned(opened.getexif().get(ORIENTATION))
        head = image_head(source)
        if opened.format == "PNG" and head[24] == 16 and head[25] != 0:
            # Pillow would cut colour PNG files of 16 bits down to 8.
            image = imagecodecs.png_decode(source if isinstance(source, bytes) else source.read_bytes())
        else:
            image = _pillow_array(opened)
    image = image.reshape(1, *image.shape[:2], -1)
    return image, notes, True


def _pillow_array(image: Image.Image) -> NDArray[Any]:
    """Return grey, RGB, or either with alpha last."""
    if image.mode in ("LA", "La") or (image.mode == "L" and "transparency" in image.info):
        return np.asarray(image.convert("LA"))
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    if image.mode == "P":
        image = image.convert(image.palette.mode if image.palette else "RGB")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        array = np.asarray(image)
        if image.mode == "I" and image.format == "PNG":  # as Pillow before 11 opens 16 bits
            array = array.astype(np.uint16)
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.asarray(image.convert("RGB"))
