"""Whole slides as scanners write them, read by OpenSlide where that is installed.

OpenSlide knows what each vendor's file means: which of its images is the slide, how its parts
overlap, the size of a pixel and the objective. What it does not know is left to the other readers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import ImageError
from ..words import listed
from .find import OPENSLIDE_ONLY, TIFF_SUFFIXES
from .opened import CHUNK, LazyPixels, OpenedImage, chunk_of
from .pixel_size import Stated

if TYPE_CHECKING:
    import openslide


class SlidePixels(LazyPixels):
    """One resolution of a slide, (1, H, W, 3) uint8; what was not scanned has its background's colour."""

    dtype = np.dtype(np.uint8)

    def __init__(self, slide: openslide.OpenSlide, level: int) -> None:
        self._slide, self._level = slide, level
        known = slide.properties
        colour = known.get("openslide.background-color", "ffffff")
        self._background = np.array([int(colour[at : at + 2], 16) for at in (0, 2, 4)], np.uint8)
        self._step = slide.level_downsamples[level]
        # The part that was scanned, in pixels of the full resolution.
        bounds = [int(known.get(f"openslide.bounds-{name}", 0)) for name in ("x", "y", "width", "height")]
        self._origin = bounds[0], bounds[1]
        wide, high = (
            max(1, math.floor(min(whole - at / self._step, (side or math.inf) / self._step)))
            for whole, at, side in zip(slide.level_dimensions[level], self._origin, bounds[2:], strict=True)
        )
        self.shape = (1, high, wide, 3)
        tile = [int(known.get(f"openslide.level[{level}].tile-{side}", 256)) for side in ("height", "width")]
        rows, cols = (side if side < 4 * CHUNK else CHUNK for side in tile)
        self.chunks = (1, chunk_of(high, rows), chunk_of(wide, cols), 3)

    def read(self, image: int, box: Box) -> NDArray[Any]:
        """Return the pixels (rows, columns, 3) of a part."""
        x, y = self._origin
        corner = round(x + box.left * self._step), round(y + box.top * self._step)
        rgba = np.asarray(self._slide.read_region(corner, self._level, box.shape[::-1]))
        return np.where(rgba[..., 3:] == 0, self._background, rgba[..., :3])


def open_slide(path: Path) -> OpenedImage | None:
    """Open a slide without reading its pixels; None where it is none of OpenSlide's.

    Raises
    ------
    ImageError
        If only OpenSlide reads such files, and it is not installed or says why it cannot read this one.
    """
    suffix = path.suffix.lower()
    if suffix not in (*TIFF_SUFFIXES, *OPENSLIDE_ONLY):
        return None
    try:
        import openslide
    except ImportError:
        if suffix in OPENSLIDE_ONLY:
            raise ImageError(
                f"{path} is read by OpenSlide, which is not installed: pip install 'napari-wbcseg[slides]'."
            ) from None
        return None
    vendor = openslide.OpenSlide.detect_format(path)
    if vendor in (None, "generic-tiff") and suffix not in OPENSLIDE_ONLY:
        return None
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        if suffix in OPENSLIDE_ONLY:
            raise ImageError(
                f"{path} cannot be read by OpenSlide ({str(error).rstrip('.')}); export it from the "
                "scanner's program as OME-TIFF or OME-Zarr."
            ) from None
        return None  # its layout may still be plain TIFF
    known = slide.properties
    rows, columns = known.get("openslide.mpp-y"), known.get("openslide.mpp-x")
    levels = tuple(SlidePixels(slide, level) for level in range(slide.level_count))
    stated = Stated(rows, columns) if rows and columns else None
    return OpenedImage(levels, (_about(slide),), read_stated=lambda: stated, close=slide.close)


def _about(slide: openslide.OpenSlide) -> str:
    power = slide.properties.get("openslide.objective-power")
    objective = f", objective {float(power):g} ×" if power else ""
    vendor = slide.properties["openslide.vendor"].capitalize()
    names = sorted(slide.associated_images)
    left = f"; left out: {listed(names, 4)}" if names else ""
    return f"A slide in the format of {vendor}{objective}{left}."
