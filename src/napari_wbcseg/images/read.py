"""Read image files, and bring any image array to one scale."""

from __future__ import annotations

import glob
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from .lazy import SLIDE_SUFFIXES, is_zarr

if TYPE_CHECKING:
    import tifffile
    from numpy.typing import NDArray
    from PIL import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""Endings of the image files that `read_image` reads, in lower case."""

MASK_ENDINGS = ("-mask", "_mask", "_labels")
"""What follows an image's name in the name of its mask, before the suffix."""

_BITS = (8, 10, 12, 14, 16)
_PILLOW_FORMATS = ("JPEG", "PNG", "BMP")
_MAX_PIXELS = 2**29  # Pillow refuses twice as many
_PILLOW_LOCK = threading.Lock()
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_collected: ContextVar[list[str] | None] = ContextVar("notes of the image being read", default=None)
_OVERSHOOT = 1.001  # resampling leaves values a little above the nominal maximum


class AlphaDroppedWarning(UserWarning):
    """An image had an alpha (transparency) channel, which was ignored."""


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image on the scale that segmentation works on.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W, 3)
        Red, green and blue in 0..255.
    notes : tuple of str
        What was done to the image, in sentences for the user.
    value_range : float
        The original value that became 255.
    """

    pixels: NDArray[np.float32]
    notes: tuple[str, ...]
    value_range: float


# Reading -------------------------------------------------------------------------------------------


def read_image(path: str | Path) -> NDArray[Any]:
    """Read a JPEG, PNG, BMP or TIFF file as a viewer would show it.

    The content decides the format, not the suffix. The EXIF orientation is applied,
    palettes are expanded, 16-bit and float values are kept, and an alpha channel is
    dropped with an `AlphaDroppedWarning`.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    ndarray of the file's dtype (uint8, uint16, float, ...)
        Grey (H, W) or RGB (H, W, 3); a TIFF of several pages gives a stack
        (N, H, W) or (N, H, W, 3).

    Raises
    ------
    ImageError
        If the file is missing, truncated, empty, not an image, or has a number of
        channels that is neither grey nor RGB.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder, not an image; give the name of an image file.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise ImageError(f"There is no file {path}; check the name.") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {error.strerror or error}.") from None
    if empty:
        raise ImageError(f"{path} is empty (0 bytes); copy or save the image again.")
    return decode_image(path, str(path))


def read_image_and_notes(path: str | Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read an image as `read_image` does, with its warnings as sentences.

    Warnings belong to a process; the sentences belong to this image, whatever other
    threads read meanwhile.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    image : ndarray
    notes : tuple of str

    Raises
    ------
    ImageError
        As `read_image`.
    """
    notes: list[str] = []
    token = _collected.set(notes)
    try:
        return read_image(path), tuple(notes)
    finally:
        _collected.reset(token)


def _tell_alpha_dropped(name: str) -> None:
    text = f"The alpha channel of {name} was dropped."
    notes = _collected.get()
    if notes is None:
        warnings.warn(text, AlphaDroppedWarning, stacklevel=3)
    else:
        notes.append(text)


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
    try:
        if image_head(source)[:4] in _TIFF_MAGIC:
            image = _decode_tiff(source, name)
        else:
            image = _decode_with_pillow(source, name)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name} does not fit into memory; cut it into smaller images.") from None
    except Exception as error:  # decoders raise nearly any type on broken files
        raise ImageError(_cannot_read(source, name, error)) from error
    if image.size == 0:
        raise ImageError(f"{name} has no pixels (shape {image.shape}); save the image again.")
    return image


def image_head(source: Path | bytes) -> bytes:
    """Return the first bytes of a file, which tell its format."""
    if isinstance(source, bytes):
        return source[:32]
    with source.open("rb") as file:
        return file.read(32)


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
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{name} cannot be read, it seems truncated or damaged ({reason.rstrip('.')}); "
        "copy or save the file again."
    )


def _open_with_pillow(source: Path | bytes) -> Image.Image:
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


def _decode_with_pillow(source: Path | bytes, name: str) -> NDArray[Any]:
    from PIL import ImageOps

    with _open_with_pillow(source) as opened:
        opened.load()
        head = image_head(source)
        if opened.format == "PNG" and head[24] == 16 and head[25] != 0:
            # Pillow would cut colour PNG files of 16 bits down to 8.
            image = _decode_with_opencv(source)[0]
        else:
            image = _pillow_array(ImageOps.exif_transpose(opened))
    return _drop_alpha(image, name)


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
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.asarray(image.convert("RGB"))


def _decode_with_opencv(source: Path | bytes) -> list[NDArray[Any]]:
    import cv2

    data = source if isinstance(source, bytes) else source.read_bytes()
    good, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if not good or not pages:
        raise ValueError("no decoder understands it")
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return [page if page.ndim == 2 else cv2.cvtColor(page, order[page.shape[2]]) for page in pages]


def _drop_alpha(image: NDArray[Any], name: str) -> NDArray[Any]:
    """Turn (..., 2 or 4) into grey or RGB, aloud."""
    channels = image.shape[2] if image.ndim == 3 else 3
    if channels not in (2, 4):
        return image
    _tell_alpha_dropped(name)
    return image[..., 0] if channels == 2 else image[..., :3]


# TIFF ----------------------------------------------------------------------------------------------


def _decode_tiff(source: Path | bytes, name: str) -> NDArray[Any]:
    import tifffile

    with tifffile.TiffFile(BytesIO(source) if isinstance(source, bytes) else source) as tiff:
        if not tiff.series or tiff.series[0].size == 0:
            raise ImageError(f"{name} has no pixels; save the image again.")
        series = tiff.series[0]
        page = series.keyframe
        if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
            return _decode_cmyk_tiff(source)
        try:
            image, axes = series.asarray(), series.axes
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            # tifffile leaves most compressions to an optional package; OpenCV has libtiff inside.
            image, axes = _join_pages(_decode_with_opencv(source), series)
        else:
            if image.shape != series.shape:
                raise ValueError(f"{image.shape} pixels where {series.shape} were promised")
            image = _photometric(image, page)
            if image.ndim == len(axes) + 1:
                axes += "S"
        image = _order_axes(image, axes, bool(page.extrasamples), name)
        orientation = page.tags.get(274)
        return _orient(image, int(orientation.value) if orientation else 1)


def _join_pages(pages: list[NDArray[Any]], series: tifffile.TiffPageSeries) -> tuple[NDArray[Any], str]:
    """Stack the pages of one size, in the axes that the file's description gives them."""
    first = pages[0].shape
    image = np.stack([page for page in pages if page.shape == first])
    shape = tuple(series.shape)
    if shape[-len(first) :] == first and image.size == np.prod(shape):
        return image.reshape(shape), series.axes
    return image, "I" + "YXS"[: len(first)]


def _decode_cmyk_tiff(source: Path | bytes) -> NDArray[Any]:
    from PIL import Image

    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
        return np.asarray(image.convert("RGB"))


def _photometric(image: NDArray[Any], page: tifffile.TiffPage) -> NDArray[Any]:
    """Turn bilevel, inverted and palette pixels into what they look like."""
    import tifffile

    if image.dtype == bool:
        image = image.astype(np.uint8) * np.uint8(255)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and image.dtype.kind == "u":
        image = np.iinfo(image.dtype).max - image
    elif page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        image = (page.colormap.T >> 8).astype(np.uint8)[image]
    return image


def _order_axes(image: NDArray[Any], axes: str, extra: bool, name: str) -> NDArray[Any]:
    """Bring TIFF axes to (H, W), (H, W, 3), (N, H, W) or (N, H, W, 3)."""
    if image.ndim == 3 and not set("SC") & set(axes) and image.shape[-1] in (3, 4):
        axes = "YXS"  # written without saying that it is colour; no image is 3 pixels wide
    elif "Y" not in axes or "X" not in axes:
        raise ImageError(f"{name} is not a TIFF image of rows and columns (its axes are {axes}).")
    keep = [i for i, axis in enumerate(axes) if image.shape[i] > 1 or axis in "YX"]
    image = image.reshape([image.shape[i] for i in keep])
    axes = "".join(axes[i] for i in keep)
    colour = "S" if "S" in axes else "C" if "C" in axes else ""
    if "S" in axes and "C" in axes:
        raise ImageError(f"{name} has several colour channels ({axes}, {image.shape}); save it as plain RGB.")
    stack = [axis for axis in axes if axis not in ("Y", "X", colour)]
    image = image.transpose([axes.index(axis) for axis in [*stack, "Y", "X", *colour]])
    if colour:
        channels = image.shape[-1]
        if channels == 4 or (channels == 2 and extra):
            _tell_alpha_dropped(name)
            image = image[..., 0] if channels == 2 else image[..., :3]
        elif channels != 3:
            raise ImageError(f"{name} has {channels} channels; save it as grey or as RGB.")
    if len(stack) > 1:
        plane = image.shape[len(stack) :]
        image = image.reshape(-1, *plane)
    return image


def _orient(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply a TIFF orientation tag (1 to 8) to the rows and columns."""
    if orientation not in range(2, 9):
        return image
    rgb = image.ndim > 2 and image.shape[-1] == 3
    row, col = (-3, -2) if rgb else (-2, -1)
    if orientation >= 5:
        image = np.swapaxes(image, row, col)
    # After the swap the tag says on which side the first row and the first column lie.
    if orientation in (3, 4, 7, 8):
        image = np.flip(image, row)
    if orientation in (2, 3, 6, 7):
        image = np.flip(image, col)
    return image


# Preparing -----------------------------------------------------------------------------------------


def bit_range(array: Any) -> float:
    """Return the value that stands for full brightness in an image.

    The rule looks at the type and the maximum only, so that the blocks of a large
    image share it when it is asked once for the whole:

    - uint8 and int8: 255.
    - Other integers: ``2**bits - 1`` with ``bits`` the smallest of 8, 10, 12, 14 and
      16 that holds the maximum.
    - Floats: 1 when the maximum is at most 1, else as for integers; up to 0.1 %
      above a limit still counts as that limit.

    Parameters
    ----------
    array : array, shape (H, W), (H, W, C) or a stack of these
        NumPy, or anything with ``dtype``, ``min`` and ``max`` such as dask. The
        fourth of four channels is alpha and does not count.

    Returns
    -------
    float
        1, 255, 1023, 4095, 16383 or 65535.

    Raises
    ------
    ImageError
        If the array is boolean or not numeric, has no pixels, has NaN, infinite or
        negative values, or values above 65535.
    """
    dtype = np.dtype(array.dtype)
    if dtype.kind == "b":
        raise ImageError("The image is boolean, which looks like a mask; give the stained image itself.")
    if dtype.kind not in "uif":
        raise ImageError(f"The image has values of type {dtype}; give integers or floats.")
    if 0 in array.shape:
        raise ImageError(f"The image has no pixels (shape {tuple(array.shape)}).")
    if len(array.shape) > 2 and array.shape[-1] == 4:
        array = array[..., :3]
    if dtype == np.uint8:
        return 255.0
    low, high = float(np.asarray(array.min())), float(np.asarray(array.max()))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(
            "The image has NaN or infinite values; replace them, for instance by numpy.nan_to_num."
        )
    if low < 0:
        raise ImageError(
            f"The image has negative values (down to {low:g}); shift or clip them to 0 and above."
        )
    if dtype.kind == "f":
        if high <= _OVERSHOOT:
            return 1.0
        high /= _OVERSHOOT
    for bits in _BITS:
        if high <= 2**bits - 1:
            return float(2**bits - 1)
    raise ImageError(f"The image has values up to {high:g}; scale it to at most 65535 (16 bits).")


def prepare_image(array: Any, value_range: float | None = None) -> PreparedImage:
    """Check one image and bring it to RGB in 0..255.

    Parameters
    ----------
    array : array, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        Grey, RGB, or RGB with alpha, which is dropped; any integer or float type.
        Grey is repeated to three channels.
    value_range : float, optional
        Value that becomes 255; by default `bit_range` of the array. Give the one of
        the whole image when preparing a block of it.

    Returns
    -------
    PreparedImage
        The pixels, (H, W, 3) float32 in 0..255, and notes on what was done.

    Raises
    ------
    ImageError
        If the array is not one such image (see also `bit_range`).
    """
    array = np.asarray(array)
    check_shape(array.shape)
    notes = []
    if array.ndim == 3 and array.shape[2] == 4:
        array = array[..., :3]
        notes.append("The alpha channel was dropped.")
    found = bit_range(array)
    full = found if value_range is None else float(value_range)
    if array.dtype.kind == "f" and full == 255:
        notes.append("Float values were taken as 0 to 255.")
    elif array.dtype.kind == "f" and full > 255:
        notes.append(f"Float values above 255 were scaled from 0..{full:g} to 8 bits.")
    elif full > 255:
        notes.append(f"Values of {int(full).bit_length()} bits were scaled from 0..{full:g} to 8 bits.")
    elif array.dtype.itemsize > 1 and array.dtype.kind in "ui":
        notes.append(f"All values fit 8 bits, so the {array.dtype} image was taken as 0 to 255.")
    pixels = array.astype(np.float32)
    if full != 255:
        pixels *= np.float32(255 / full)
    if array.dtype != np.uint8:
        np.clip(pixels, 0, 255, out=pixels)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
        notes.append("The image is grey, without colour to tell cells by.")
    return PreparedImage(pixels, tuple(notes), full)


def check_shape(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise ImageError(f"The image has no pixels (shape {shape}).")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)):
        return
    wanted = "give grey (rows, columns) or RGB (rows, columns, 3)"
    if len(shape) == 3 and shape[0] in (3, 4):
        raise ImageError(
            f"The image has shape {shape}, with the colours in front; {wanted}, "
            "as numpy.moveaxis(image, 0, -1)."
        )
    if len(shape) == 3 and shape[2] < 16:
        raise ImageError(f"The image has {shape[2]} channels (shape {shape}); {wanted}.")
    if len(shape) in (3, 4):
        raise ImageError(f"An array of shape {shape} is a stack of images, not one; {wanted}.")
    raise ImageError(f"An array of shape {shape} is not an image; {wanted}.")


# Finding -------------------------------------------------------------------------------------------


def natural_key(text: str | Path) -> list[tuple[int, int, str]]:
    """Return a sort key by which ``train-2`` comes before ``train-10``."""
    parts = re.split(r"(\d+)", str(text).casefold())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def is_mask_name(path: str | Path) -> bool:
    """Say whether a file name is that of a mask, such as ``NAME-mask.jpg``."""
    return Path(path).stem.casefold().endswith(MASK_ENDINGS[0])


def find_images(
    paths: str | Path | Iterable[str | Path], *, recursive: bool = False, large: bool = False
) -> list[Path]:
    """List the image files that files, folders and glob patterns stand for.

    Parameters
    ----------
    paths : str, Path or iterable of them
        Files are taken as given, even when missing, so that each can be reported
        on its own; folders stand for the images in them; patterns such as
        ``slides/*.tif`` (``**`` for any depth) for the images that match.
    recursive : bool
        Look into the folders of a folder too.
    large : bool
        Whole slides and zarr folders are images too, see `napari_wbcseg.images.lazy`.

    Returns
    -------
    list of Path
        Without repetition, in natural order. ``NAME-mask.*`` and hidden files are left out.

    Raises
    ------
    ImageError
        If a folder holds no image, or a pattern matches none.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise ImageError("No image was given; name image files, folders or patterns.")
    found: dict[Path, Path] = {}
    for item in given:
        for path in _expand(Path(item).expanduser(), recursive, large):
            found.setdefault(path.resolve(), path)
    if not found:
        names = ", ".join(str(item) for item in given[:3])
        raise ImageError(f"{names}: only masks were given; name the images themselves.")
    return sorted(found.values(), key=natural_key)


def _expand(path: Path, recursive: bool, large: bool) -> list[Path]:
    if large and is_zarr(path):
        return [path]
    if path.is_dir():
        images = [file for file in _inside(path, recursive, large) if _is_image_file(file, large)]
        if not images:
            hint = "" if recursive else " (its subfolders were not searched)"
            raise ImageError(f"The folder {path} holds no image{hint}; images end in {_suffixes()}.")
        return images
    if glob.has_magic(str(path)) and not path.exists():
        images = [
            file
            for match in glob.glob(str(path), recursive=True)
            if _is_image_file(file := Path(match), large)
        ]
        if not images:
            raise ImageError(f"No image matches {path}; images end in {_suffixes()}.")
        return images
    return [] if is_mask_name(path) else [path]


def _inside(folder: Path, recursive: bool, large: bool) -> Iterator[Path]:
    """Yield what a folder holds; the thousands of files that make up a zarr are not looked at."""
    for path in folder.iterdir():
        yield path
        if recursive and path.is_dir() and not path.is_symlink() and not (large and is_zarr(path)):
            yield from _inside(path, recursive, large)


def _is_image_file(path: Path, large: bool) -> bool:
    if path.name.startswith(".") or is_mask_name(path):
        return False
    if large and is_zarr(path):
        return True
    suffixes = (*IMAGE_SUFFIXES, *SLIDE_SUFFIXES) if large else IMAGE_SUFFIXES
    return path.suffix.lower() in suffixes and path.is_file()


def _suffixes() -> str:
    return ", ".join(IMAGE_SUFFIXES[:-1]) + " or " + IMAGE_SUFFIXES[-1]
