"""A mask file as the cells in it: black and white, or numbered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..images.limits import check_is_file, image_head
from ..images.pixels import sides
from ..images.read import read_image
from ..words import counted

#: How masks of several values are read; see `read_pairs`.
MaskReading = Literal["auto", "foreground", "numbers"]

_HOW = (
    "Say how to read it: --masks foreground takes all but 0 as cell, --masks numbers takes each value as one "
    "cell (Masks in the panel Train WBC model, read_pairs(..., masks=...) in Python)."
)


@dataclass(frozen=True)
class MaskParameters:
    """What a mask is taken for, by its values.

    Attributes
    ----------
    threshold : int
        A pixel of a black-and-white mask is a cell above this value.
    jpeg_noise : int
        Grey levels that compression leaves beside what is white.
    lost_pixels, lost_share : float
        The threshold may drop edges and specks, but no region of so many pixels and this much of a
        usual cell.
    most_parts, part_share : float
        Values that tell parts of cells are so few at most, and a grey one takes this share of all.
    enclosed : float
        Share of a part's rim that another part takes.
    """

    threshold: int = 127
    jpeg_noise: int = 32
    lost_pixels: int = 16
    lost_share: float = 0.05
    most_parts: int = 4
    part_share: float = 0.2
    enclosed: float = 0.9


PARAMETERS = MaskParameters()


def read_labels(
    path: Path, reading: MaskReading = "auto"
) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None]:
    """Read a mask file as a label image; `read_pairs` states the rule.

    Parameters
    ----------
    path : Path
    reading : {"auto", "foreground", "numbers"}
        How a mask of several values is read; see `read_pairs`.

    Returns
    -------
    labels : ndarray of int32, shape (H, W)
        0 is background, cells are 1, 2, ...
    mask : ndarray of uint8, shape (H, W), or None
        The black-and-white mask, of a JPEG before the threshold; none where cells were numbered.

    Raises
    ------
    DatasetError
        If the mask is coloured, a stack, has values that number nothing or stand for parts of
        cells, or is inverted.
    ImageError
        If the file cannot be read.
    """
    check_is_file(path)
    shown, lossy = str(path), image_head(path)[:2] == b"\xff\xd8"
    values = _read_values(path, lossy)
    if values.ndim != 2:
        raise DatasetError(f"{shown} has shape {values.shape}; a mask is one grey image.")
    if not lossy and reading == "auto":
        _refuse_parts(values, shown)
    mask = _black_and_white(values, lossy) if lossy or reading == "auto" else None
    if mask is not None:
        if values.dtype.kind != "f":  # a probability below one half is no cell
            _refuse_lost(mask, lossy, shown)
        if not lossy:  # a body in light grey is a cell, not half of one
            mask = np.where(mask > PARAMETERS.threshold, np.uint8(255), np.uint8(0))
        return _instances(mask, shown), mask
    if reading == "foreground":
        mask = np.where(values != 0, np.uint8(255), np.uint8(0))
        return _instances(mask, shown), mask
    numbers = np.rint(values) if values.dtype.kind == "f" else values
    if numbers.min() < 0 or numbers.max() > np.iinfo(np.int32).max or not np.array_equal(values, numbers):
        raise DatasetError(f"{shown} has values that are neither black and white nor cell numbers 1, 2, ...")
    return values.astype(np.int32), None


def _read_values(path: Path, lossy: bool) -> NDArray[Any]:
    values = read_image(path, numbers=True)
    if values.ndim < 3 or values.shape[2] != 3:
        return values
    if lossy:
        return np.rint(values.mean(axis=2)).astype(np.uint8)
    if (values == values[..., :1]).all():
        return values[..., 0]
    raise DatasetError(f"{path} is coloured; save the mask in black and white, or as cell numbers.")


def _levels(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the values of a mask apart from 0, and how often each is."""
    levels, counts = np.unique(values, return_counts=True)
    return levels[levels != 0], counts[levels != 0]


def _refuse_parts(values: NDArray[Any], shown: str) -> None:
    """Refuse a mask whose few values stand for parts of cells, such as nucleus and cell body.

    One value lies inside the other; or a level that the threshold would drop is as wide as a cell. And refuse
    one of 16 bits with grey between black and white, each of whose greys would be a cell.
    """
    levels, counts = _levels(values)
    if values.dtype == np.uint16 and len(levels) > 1 and levels[-1] == 65535:
        raise DatasetError(
            f"{shown} reaches 65535, as black and white of 16 bits does, but has other values too: save it "
            f"in 8 bits. {_HOW}"
        )
    if not 2 <= len(levels) <= PARAMETERS.most_parts or values.dtype.kind not in "iu" or levels[0] < 0:
        return
    if levels[-1] == 255 and values.dtype == np.uint8:
        wide = counts > PARAMETERS.part_share * counts.sum()
        parts = (wide & (levels <= PARAMETERS.threshold)).any()
    else:
        parts = any(_lies_within(values == level, values != 0) for level in levels)
    if parts:
        shown_levels = f"{', '.join(str(level) for level in levels[:-1])} and {levels[-1]}"
        raise DatasetError(
            f"{shown} has the values {shown_levels}, which seem to be parts of cells, such as nucleus and "
            f"cell body, and no cell numbers. {_HOW}"
        )


def _lies_within(area: NDArray[np.bool_], cells: NDArray[np.bool_]) -> bool:
    """Whether nearly all that surrounds an area is cell too."""
    from scipy import ndimage

    rim = ndimage.binary_dilation(area) & ~area
    return bool(rim.any() and cells[rim].mean() > PARAMETERS.enclosed)


def _refuse_lost(mask: NDArray[np.uint8], lossy: bool, shown: str) -> None:
    """Refuse a mask that is no black and white: the threshold would drop whole regions of it.

    Cell numbers that were stretched to 8 bits look so, or numbers of which one is 255.
    """
    from scipy import ndimage

    regions, count = ndimage.label(mask > (PARAMETERS.jpeg_noise if lossy else 0))
    if not count:
        return
    areas = np.bincount(regions.ravel())[1:]
    kept = ndimage.maximum(mask, regions, np.arange(1, count + 1)) > PARAMETERS.threshold
    usual = float(np.median(areas[kept])) if kept.any() else 0.0
    lost = int((~kept & (areas >= max(PARAMETERS.lost_pixels, PARAMETERS.lost_share * usual))).sum())
    if not lossy:
        # A cell that touches a brighter one is an even area; the grey edge of a drawing is not.
        dark = (mask > 0) & (mask <= PARAMETERS.threshold) & kept.take(regions - 1, mode="clip")
        even = dark & (ndimage.minimum_filter(mask, 3) == ndimage.maximum_filter(mask, 3))
        lost += ndimage.label(even)[1]
    if lost:
        raise DatasetError(
            f"{shown} reaches 255, as black and white does, but has {counted(lost, 'region')} darker than "
            f"{PARAMETERS.threshold + 1}, which would be lost. {_HOW} Save a JPEG as PNG first."
        )


def _black_and_white(values: NDArray[Any], lossy: bool) -> NDArray[np.uint8] | None:
    """Return a mask in black and white, where it is one."""
    levels, counts = _levels(values)
    if values.dtype.kind == "f" and values.max() <= 1 and (len(levels) < 2 or levels[0] > 0):
        return np.rint(values * 255).astype(np.uint8)
    if len(levels) < 2:
        return np.where(values != 0, 255, 0).astype(np.uint8)
    # 255 numbered cells, of which the last is as small as any, or grey edges between black and white?
    numbered = len(levels) >= 128 and counts[-1] < 0.1 * counts.sum()
    grey = values.dtype == np.uint8 and levels[-1] == 255 and not numbered
    return values if lossy or grey else None


def _instances(mask: NDArray[np.uint8], shown: str) -> NDArray[np.int32]:
    from skimage.measure import label

    cells = mask > PARAMETERS.threshold
    if cells.mean() > 0.5 and all(side.mean() > 0.5 for side in sides(cells)):
        raise DatasetError(
            f"{shown} seems inverted: {cells.mean():.0%} of it is white, along all its borders; "
            "cells must be white and the background black."
        )
    return np.asarray(label(cells), dtype=np.int32)
