"""Images too large for memory: opened lazily, with their pyramid where they have one.

TIFF of any layout (also BigTIFF and OME-TIFF), the slides of scanners, plain zarr arrays and OME-Zarr
(0.4 and 0.5) all become arrays of rows and columns, whose pixels are read when a part of them is
asked for, by what reads small images too.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from .find import SLIDE_SUFFIXES
from .opened import LazyPixels
from .pixel_size import PixelSize
from .read import as_image, open_image
from .zarr_files import is_zarr

#: Files of more pixels than this get a folder for their results, and are read in parts.
LARGE_PIXELS = 12_000_000


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


def is_large(array: Any) -> bool:
    """Say whether an array is one image whose result is better kept on disk while it grows."""
    shape = tuple(int(side) for side in getattr(array, "shape", ()))
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        return False
    return shape[0] * shape[1] > LARGE_PIXELS


def is_large_file(path: str | Path) -> bool:
    """Say whether a file is one that `open_large` opens and that is better not read as a whole.

    Only the head of the file is read. A broken file is none: whoever reads it says what is wrong.
    """
    path = Path(path)
    with contextlib.suppress(Exception), open_image(path, str(path)) as image:
        count, height, width, _ = image.levels[0].shape
        kept_in_parts = is_zarr(path) or path.suffix.lower() in SLIDE_SUFFIXES
        worth = kept_in_parts or height * width > LARGE_PIXELS
        return image.in_parts and count == 1 and worth
    return False


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

    path = Path(path)
    try:
        image = open_image(path, str(path))  # kept open by the arrays that read from it
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
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # readers raise nearly any type on broken files
        raise ImageError(f"{path} cannot be opened: {str(error).strip() or type(error).__name__}.") from error
    arrays, alpha_notes = tuple(one for one, _ in images), images[0][1]
    return LargeImage(arrays, str(path), (*notes, *alpha_notes), image.pixel_size[0])


def _level(path: Path, number: int) -> LazyPixels:
    """Open one level of a file that `open_large` opened in another process."""
    level = open_image(path, str(path)).levels[number]
    level.again = partial(_level, path, number)
    return level
