"""Bring any image array to one scale: RGB in 0 to 255."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..words import readable

GREY = "The image is grey, without colour to tell cells by."
_BITS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class PreparationParameters:
    """What values of an image are taken for, and what is read at once.

    Attributes
    ----------
    overshoot : float
        How much above a nominal maximum a float may lie, for resampling leaves such values.
    held : int
        Bytes up to which an image is read at once.
    """

    overshoot: float = 1.001
    held: int = 320_000_000


PARAMETERS = PreparationParameters()


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

    Examples
    --------
    >>> bit_range(np.array([[0, 1000]], np.uint16)), bit_range(np.array([[0.2, 1.0]]))
    (1023.0, 1.0)
    """
    check_values(array)
    dtype = np.dtype(array.dtype)
    if dtype == np.uint8:
        return 255.0
    array = lazy_array(array)
    if len(array.shape) > 2 and array.shape[-1] == 4:
        array = array[..., :3]
    ends = array.min(), array.max()
    if not isinstance(array, np.ndarray):
        import dask

        ends = dask.compute(*ends)  # what is lazy is read once for both
    low, high = (float(np.asarray(end)) for end in ends)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(
            "The image has NaN or infinite values; replace them, for instance by numpy.nan_to_num."
        )
    if low < 0:
        raise ImageError(
            f"The image has negative values (down to {readable(low)}); shift or clip them to 0 and above."
        )
    if dtype.kind == "f":
        if high <= PARAMETERS.overshoot:
            return 1.0
        high /= PARAMETERS.overshoot
    for bits in _BITS:
        if high <= 2**bits - 1:
            return float(2**bits - 1)
    raise ImageError(f"The image has values up to {readable(high)}; scale it to at most 65535 (16 bits).")


def check_values(array: Any) -> None:
    """Check that an array, lazy perhaps, has pixels, and of a type that an image may have.

    Raises
    ------
    ImageError
        If it has not.
    """
    dtype = np.dtype(array.dtype)
    if dtype.kind == "b":
        raise ImageError("The image is boolean, which looks like a mask; give the stained image itself.")
    if dtype.kind not in "uif":
        raise ImageError(f"The image has values of type {dtype}; give integers or floats.")
    if 0 in array.shape:
        raise ImageError(f"The image has no pixels (shape {tuple(array.shape)}).")


def lazy_array(array: Any) -> Any:
    """Return an array that knows its least and greatest value, which those of zarr do not."""
    if hasattr(array, "min") and hasattr(array, "max"):
        return array
    import dask.array as da

    return da.from_array(array, chunks=getattr(array, "chunks", None) or "auto", name=False)


def held(array: Any) -> Any:
    """Return an array in memory, where it fits well, or else as it is: parts of it are read many times."""
    size = int(np.prod(array.shape, dtype=np.int64)) * np.dtype(array.dtype).itemsize
    return np.asarray(array[...]) if size <= PARAMETERS.held else array


def prepare_image(array: Any, value_range: float | None = None) -> NDArray[np.float32]:
    """Check one image and bring it to RGB, (H, W, 3), in 0..255.

    Parameters
    ----------
    array : array, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        Grey, RGB, or RGB with alpha, which is dropped; any integer or float type.
        Grey is repeated to three channels.
    value_range : float, optional
        Value that becomes 255; by default `bit_range` of the array. Give the one of
        the whole image when preparing a block of it.

    Raises
    ------
    ImageError
        If the array is not one such image (see also `bit_range`).
    """
    array = np.asarray(array)
    check_shape(array.shape)
    return rgb_pixels(array, bit_range(array) if value_range is None else value_range)


def rgb_pixels(array: NDArray[Any], value_range: float) -> NDArray[np.float32]:
    """Return a part of an image that was checked as RGB in 0..255; see `prepare_image`."""
    pixels = array[..., :3].astype(np.float32) if array.ndim == 3 else array[..., None].astype(np.float32)
    if value_range != 255:
        pixels *= np.float32(255 / value_range)
    if array.dtype != np.uint8:
        np.clip(pixels, 0, 255, out=pixels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def preparation_notes(shape: tuple[int, ...], dtype: np.dtype[Any], value_range: float) -> tuple[str, ...]:
    """Say what `rgb_pixels` does to an image, in sentences for the user."""
    notes = []
    if shape[2:] == (4,):
        notes.append("The alpha channel was dropped.")
    if dtype.kind == "f" and value_range == 255:
        notes.append("Float values were taken as 0 to 255.")
    elif dtype.kind == "f" and value_range > 255:
        notes.append(f"Float values above 255 were scaled from 0..{readable(value_range)} to 8 bits.")
    elif value_range > 255:
        bits = int(value_range).bit_length()
        notes.append(f"Values of {bits} bits were scaled from 0..{readable(value_range)} to 8 bits.")
    elif dtype.kind in "ui" and dtype.itemsize > 1:
        notes.append(f"All values fit 8 bits, so the {dtype} image was taken as 0 to 255.")
    if shape[2:] in ((), (1,)):
        notes.append(GREY)
    return tuple(notes)


def as_rgb8(array: Any, value_range: float | None = None) -> NDArray[np.uint8]:
    """Return an image as 8-bit RGB, (H, W, 3), itself where it is that; see `prepare_image`.

    Raises
    ------
    ImageError
        If the array is not one image.
    """
    array = np.asarray(array)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
        return array
    return np.rint(prepare_image(array, value_range)).astype(np.uint8)


def check_shape(shape: tuple[int, ...]) -> None:
    """Check that a shape is that of one image, grey or RGB, perhaps with alpha.

    Raises
    ------
    ImageError
        If it is not.
    """
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
