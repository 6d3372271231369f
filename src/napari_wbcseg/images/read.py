"""Read image files as they are stored, whole or in parts: pictures, TIFF, slides of scanners, zarr.

What is too large for memory is opened lazily, with its pyramid where it has one: TIFF of any layout (also
BigTIFF and OME-TIFF), slides, plain zarr arrays and OME-Zarr (0.4 and 0.5) all become arrays of rows and
columns, whose pixels are read when a part of them is asked for, by what reads small images too.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, first_line
from ..files import user_path
from ..words import counted
from .find import SLIDE_SUFFIXES
from .limits import check_is_file, check_memory, image_head
from .opened import LazyPixels, OpenedImage
from .pictures import open_picture
from .pixel_size import PixelSize
from .prepare import as_rgb8
from .slides import open_slide
from .tiff import MAGIC, open_tiff
from .zarr_files import is_zarr, open_zarr_image

Told = TypeVar("Told")

#: Files of more pixels than this get a folder for their results, and are read in parts.
LARGE_PIXELS = 12_000_000


class ImageWarning(UserWarning):
    """What one should know of how an image was read."""


class ReadImage(NamedTuple):
    """An image as `read_image` gives it, its warnings as sentences, and the stated size of its pixels."""

    pixels: NDArray[Any]
    notes: tuple[str, ...]
    pixel_size: PixelSize | None


@dataclass(frozen=True, eq=False)
class LargeImage:
    """An image on disk, of which only parts are read.

    Attributes
    ----------
    levels : tuple of arrays, each (H, W) or (H, W, 3), of fields (N, H, W) or (N, H, W, 3)
        Full resolution first; each holds the whole image. Slicing one reads its pixels.
    name : str
        What messages call it.
    notes : tuple of str
        What was left out of the file, and what else one should know, in sentences.
    pixel_size : PixelSize or None
        What the file states of it.
    """

    levels: tuple[Any, ...]
    name: str
    notes: tuple[str, ...] = ()
    pixel_size: PixelSize | None = None

    @property
    def full(self) -> Any:
        """The image in full resolution."""
        return self.levels[0]


_FOURTH = (
    "The first three of the four channels of {name} were taken for red, green and blue, and the fourth, of "
    "which it does not say what it is, was left out."
)
#: What the first bytes of files that are often taken for images tell of them.
_LOOKS = {
    **{b"ftyp": "a video or a damaged HEIC", b"JXL ": "JPEG XL"},
    **{b"%PDF": "a PDF", b"DICM": "DICOM"},
}


def open_image(path: Path) -> OpenedImage:
    """Open an image without reading its pixels; the content decides the format.

    Raises
    ------
    ImageError
        If there is no such file, or its image is none in grey or RGB.
    Exception
        Of nearly any type, where the file is damaged.
    """
    if path.is_dir():
        return open_zarr_image(path)
    check_is_file(path)
    if (slide := open_slide(path)) is not None:
        return slide
    return open_tiff(path) if image_head(path)[:4] in MAGIC else open_picture(path)


def _open_pixels(path: Path) -> OpenedImage:
    """Open an image whose pixels are wanted, which labels have none of."""
    image = open_image(path)
    if image.labels:
        raise ImageError(f"{path} holds labels, the numbers of cells, and no image; give the image itself.")
    return image


def read_image(path: str | Path, *, numbers: bool = False) -> NDArray[Any]:
    """Read an image file: JPEG, PNG, HEIC and the like, TIFF, or a zarr folder.

    The content decides the format, not the suffix. Rows and columns are those of the file, as
    napari, ImageJ and QuPath show them: an orientation that a camera noted is told, not applied.
    Colours are brought to RGB, 16-bit and float values are kept, and an alpha channel is dropped.
    Of a file of several images the largest is read, with all that are like it. What one should
    know of that is said by an `ImageWarning`.

    Parameters
    ----------
    path : str or Path
    numbers : bool
        Whether its pixels are the numbers of cells, or a mask: these are read themselves, whatever colours
        ImageJ or another program shows them in. Where these are all grey they count, as in what a paint
        program saves in black and white.

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
    image = read_file(path, numbers=numbers)
    for note in image.notes:
        warnings.warn(note, ImageWarning, stacklevel=2)
    return image.pixels


def read_rgb8(path: Path) -> NDArray[np.uint8]:
    """Read an image as a network is taught it: 8-bit RGB, (H, W, 3).

    Raises
    ------
    ImageError
        As `read_image`, or if it is a stack.
    """
    array = read_image(path)
    try:
        return as_rgb8(array)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def read_file(path: str | Path, *, numbers: bool = False) -> ReadImage:
    """Read an image and what its file tells of it; see `read_image`."""
    path = user_path(path)
    with _in_sentences(path), contextlib.closing(_open_pixels(path)) as opened:
        full = opened.levels[0]
        check_memory(full.nbytes, str(path))
        planes = np.asarray(full[:])
        if numbers and (stored := opened.read_numbers()) is not None:
            planes = planes[..., :1] if len(stored) == len(planes) and _in_greys(planes) else stored
        image, notes = as_image(planes, str(path), opened.alpha)
        return ReadImage(image, (*opened.all_notes, *notes), opened.pixel_size[0])


def _in_greys(planes: NDArray[Any]) -> bool:
    """Whether pixels (N, H, W, C) have colours, and all of these are grey."""
    return planes.shape[-1] > 1 and bool((planes[..., 1:3] == planes[..., :1]).all())


@contextlib.contextmanager
def _in_sentences(path: Path) -> Iterator[None]:
    """Say in a sentence why a file cannot be read."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{path} does not fit into memory; cut it into smaller images.") from None
    except Exception as error:  # decoders raise nearly any type on broken files
        raise ImageError(_cannot_read(path, error)) from error


def as_image(planes: Any, name: str, alpha: bool = False) -> tuple[Any, tuple[str, ...]]:
    """Bring planes (N, H, W, C) to what users work with, in memory or lazily.

    Parameters
    ----------
    planes : array, shape (N, H, W, C)
        NumPy or dask.
    name : str
        What messages call it.
    alpha : bool
        Whether the last of two or four channels is known to be transparency.

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
        notes = (f"The alpha channel of {name} was dropped." if alpha else _FOURTH.format(name=name),)
        planes, channels = planes[..., : channels - 1], channels - 1
    if channels not in (1, 3):
        raise ImageError(f"{name} has {channels} channels; save it as grey or as RGB.")
    if channels == 1:
        planes = planes[..., 0]
    return (planes[0] if planes.shape[0] == 1 else planes), notes


def _cannot_read(path: Path, error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        head = image_head(path)
        plain = "a text file" if head[:32].isascii() and head[:1].isalnum() else "something else or damaged"
        looks = next((what for mark, what in _LOOKS.items() if mark in head[:16] + head[128:]), plain)
        return (
            f"{path} is not a JPEG, PNG, TIFF or other image that can be read (it looks like {looks}); "
            "save the picture again as one of these three."
        )
    if isinstance(error, Image.DecompressionBombError):
        return f"{path} is too large to be read at once; save it as TIFF or OME-Zarr."
    return (
        f"{path} cannot be read, it seems truncated or damaged ({first_line(error)[:200].rstrip('.')}); "
        "copy or save the file again."
    )


def open_large(path: str | Path, *, fields: bool = False) -> LargeImage:
    """Open an image without reading its pixels.

    Parameters
    ----------
    path : str or Path
        A TIFF file, a slide, a zarr array or an OME-Zarr group.
    fields : bool
        Whether several images of one size in it are opened as a stack. By default the first is opened, and
        a note says so.

    Raises
    ------
    ImageError
        If there is no such file, it is not an image of rows and columns in grey or RGB, it
        declares what it cannot hold, or asks for a codec or colours that are not known.
    """
    import dask.array as da

    path = user_path(path)
    with _in_sentences(path), contextlib.ExitStack() as opened:
        image = _open_pixels(path)
        opened.callback(image.close)
        if not image.in_parts:
            raise ImageError(f"{path} cannot be read in parts; save it as a tiled TIFF or OME-Zarr.")
        notes = image.all_notes
        levels = list(image.levels)
        for number, level in enumerate(levels):
            if isinstance(level, LazyPixels):
                level.again = partial(_level, path.absolute(), number)
                levels[number] = da.from_array(level, chunks=level.chunks, name=False)
        several = image.levels[0].shape[0] == image.fields > 1
        if several and not fields:
            notes += (f"Of the {image.fields} images of one size in the file only the first was taken.",)
            levels = [level[:1] for level in levels]
        images = [as_image(level, str(path), image.alpha) for level in levels]
        if levels[0].shape[0] > 1 and not several:
            raise ImageError(f"{path} is a stack of shape {levels[0].shape}; give one image, grey or RGB.")
        np.asarray(image.levels[-1][:1, :1, :1])  # what cannot be decoded shows before hours of work
        opened.pop_all()  # the arrays that read from it keep it open
    arrays, alpha_notes = tuple(one for one, _ in images), images[0][1]
    return LargeImage(arrays, str(path), (*notes, *alpha_notes), image.pixel_size[0])


def _level(path: Path, number: int) -> LazyPixels:
    """Open one level of a file that `open_large` opened in another process."""
    level = open_image(path).levels[number]
    level.again = partial(_level, path, number)
    return level


def is_large(array: Any) -> bool:
    """Say whether an array is one image whose result is better kept on disk while it grows."""
    shape = tuple(int(side) for side in getattr(array, "shape", ()))
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        return False
    return shape[0] * shape[1] > LARGE_PIXELS


def size_of_file(path: str | Path) -> tuple[int, bool]:
    """Return how many pixels an image file holds, over all planes, and whether it is better read in parts.

    Only the head of the file is read. Of a broken file it is 0 and no: whoever reads it says what is wrong.
    """
    path = user_path(path)

    def size(image: OpenedImage) -> tuple[int, bool]:
        count, height, width, _ = image.levels[0].shape
        kept_in_parts = is_zarr(path) or path.suffix.lower() in SLIDE_SUFFIXES
        large = image.in_parts and count == 1 and (kept_in_parts or height * width > LARGE_PIXELS)
        return count * height * width, large

    return _told(path, size) or (0, False)


def read_pixel_size(path: str | Path) -> PixelSize | None:
    """Return the pixel size that an image file states, in µm; None where it states none.

    Files of this package, OME-TIFF, ImageJ's and plain TIFF resolutions, the slides of scanners,
    OME-Zarr, and the resolutions of PNG, JPEG and BMP are understood. Sizes that no microscope has,
    such as the dots per inch of prints, are left alone. It never fails: whoever reads the pixels says
    what is wrong with a file.
    """
    return _told(user_path(path), lambda image: image.pixel_size[0])


def depths_of(path: Path) -> int | None:
    """Return how many planes of a file, one behind the other, are one field at several depths of focus.

    1 where they are times, fields or pages; None where the file cannot be understood.
    """
    return _told(path, lambda image: image.depths)


def behind_the_first(path: Path) -> tuple[str, ...]:
    """Return a note where a file holds images behind its first, which is all that napari reads of it."""
    count = _told(path, lambda image: image.images) or 1
    if count == 1:
        return ()
    return (
        f"{path} holds {counted(count, 'image')}, of which napari opened the first alone: save each that is "
        "to be counted as a file of its own.",
    )


def channels_of(path: str | Path) -> int | None:
    """Return how many channels the pixels of a file have; None where it cannot be understood."""
    return _told(user_path(path), lambda image: image.levels[0].shape[-1])


def orientation_of(path: Path) -> int:
    """Return the orientation that a camera noted (1 to 8, of EXIF and TIFF); 1 where it noted none."""
    return _told(path, lambda image: image.orientation) or 1


def _told(path: Path, tell: Callable[[OpenedImage], Told]) -> Told | None:
    """Return what is told of a file; None of one that cannot be opened: whoever reads it says why."""
    with contextlib.suppress(Exception), contextlib.closing(open_image(path)) as image:
        return tell(image)
    return None


def turned(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an image (H, W) or (H, W, C) as it looks when turned as a camera noted."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    # After the swap the tag says on which side the first row and the first column lie.
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    return image[::rows, :: -1 if orientation in (2, 3, 6, 7) else 1]
