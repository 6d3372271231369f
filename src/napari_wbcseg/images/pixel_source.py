"""Parts of an image of any kind, as the rest of the package takes them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from ..box import Box
from ..progress import Progress, silent
from .field_of_view import PARAMETERS as FIELD
from .field_of_view import FieldOfView, field_of_view
from .illumination import absorbed, background_colour
from .paper import paper_colours
from .prepare import bit_range, check_shape, preparation_notes, rgb_pixels

_SAMPLED_SIDE = 512
_MOST_SKIPPED = 8  # pixels from one sample to the next, where all of an image is read for its samples
_WINDOWS = 8  # along each side of a larger image
_STRIP = 256  # rows whose colours are held at once
_READ_SIDE = 2048  # of the parts that are read at once for a small copy
# What a user gives as an array may read a file, and that from one thread at a time. NumPy's waits for no
# other one: it may be asked for in napari's window.
_ONE_READS = threading.Lock()


class PixelSource:
    """Reads rectangles of an image as RGB, 0 to 255.

    Parameters
    ----------
    array : array, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        NumPy, dask, zarr, or anything else that gives pixels when it is sliced.
    value_range : float, optional
        Value that becomes 255; found from the whole image when not given
        (see `napari_wbcseg.images.prepare.bit_range`).
    background : sequence of float, length 3, optional
        The colour of the empty slide, where it is known.

    Attributes
    ----------
    shape : tuple of int
        (H, W).
    notes : tuple of str
        What is done to the image, in sentences for the user.

    Raises
    ------
    ImageError
        If the array is no image.
    """

    def __init__(
        self, array: Any, value_range: float | None = None, background: Sequence[float] | None = None
    ) -> None:
        shape = tuple(int(side) for side in array.shape)
        check_shape(shape)
        self._array = array
        self.shape = (shape[0], shape[1])
        self.dtype = np.dtype(array.dtype)
        self.value_range = bit_range(array) if value_range is None else float(value_range)
        self.notes = preparation_notes(shape, self.dtype, self.value_range)
        if background is not None:
            self.background = np.array(background, np.float32)

    @cached_property
    def background(self) -> np.ndarray:
        """The colour of the empty slide, float32 of shape (3,); of a large image, from parts of it."""
        step, side = max(1, round(max(self.shape) / _SAMPLED_SIDE)), _SAMPLED_SIDE // _WINDOWS
        if step <= _MOST_SKIPPED:
            sample = np.asarray(self._array[::step, ::step])
        else:
            middles = (np.arange(_WINDOWS) + 0.5) / _WINDOWS
            tops, lefts = (np.unique((middles * max(whole - side, 0)).astype(int)) for whole in self.shape)
            corners = product(tops.tolist(), lefts.tolist())
            sample = np.concatenate([self.raw(row, col, row + side, col + side) for row, col in corners])
        return background_colour(rgb_pixels(sample, self.value_range))

    @cached_property
    def field_of_view(self) -> FieldOfView | None:
        """Where the image shows the slide, as `find_field_of_view` finds it."""
        return self.find_field_of_view()

    def find_field_of_view(self, progress: Progress = silent) -> FieldOfView | None:
        """Find where the image shows the slide, in a small copy of it; None where all of it does.

        Its edge is looked at first: what does not reach it is no surround, and no paper.
        """
        height, width = self.shape
        step = max(1, max(height, width) // FIELD.side)

        def reduced(box: Box) -> np.ndarray:
            return self.reduced(box, step, progress, "Looking for the field of view")

        def sides(across: int, bottom: int, right: int) -> list[Box]:
            ends = Box(0, 0, across, width), Box(bottom, 0, height, width)
            return [*ends, Box(0, 0, height, across), Box(0, right, height, width)]

        lines = sides(1, height - 1, width - 1)
        paper = paper_colours(self.read(*line).reshape(-1, 3) for line in lines)
        edge = FIELD.edge * step
        if min(height, width) > 2 * edge:
            edges = sides(edge, *((length - edge) // step * step for length in self.shape))
            if not paper and all(reduced(box).max(axis=-1).min() > FIELD.lit for box in edges):
                return None
        mask = field_of_view(reduced(Box(0, 0, height, width)), paper)
        return None if mask is None else FieldOfView.of(mask, step)

    def density(
        self, inside: np.ndarray, corner: tuple[int, int] = (0, 0), background: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the optical density of some pixels of a part of the image, and 0 elsewhere.

        Cells cover little of a smear: strips without any are not read.

        Parameters
        ----------
        inside : ndarray of bool, shape (h, w)
        corner : tuple of int
            Where the part's first row and column lie in the image.
        background : ndarray, shape (3,), optional
            Where that of the image is known.

        Returns
        -------
        ndarray of float32, shape (h, w)
            As `absorbed` gives it.
        """
        (row, col), density = corner, np.zeros(inside.shape, np.float32)
        background = self.background if background is None else background
        for top in range(0, len(inside), _STRIP):
            here = inside[top : top + _STRIP]
            if here.any():
                pixels = self.read(row + top, col, row + top + len(here), col + here.shape[1])
                density[top : top + _STRIP][here] = absorbed(pixels[here], background)
        return density

    def read(self, top: int, left: int, bottom: int, right: int, step: int = 1) -> np.ndarray:
        """Return the pixels of a rectangle inside the image, or each so many-th along rows and columns.

        Returns
        -------
        ndarray of float32, shape (ceil((bottom - top) / step), ceil((right - left) / step), 3)
            RGB, 0 to 255.
        """
        return rgb_pixels(self.raw(top, left, bottom, right)[::step, ::step], self.value_range)

    def read8(self, box: Box) -> np.ndarray:
        """Return the same of a box, rounded to uint8."""
        return np.rint(self.read(*box)).astype(np.uint8)

    def reduced(self, box: Box, step: int, progress: Progress = silent, stage: str = "") -> np.ndarray:
        """Return a small copy of a part, which is read in parts.

        Parameters
        ----------
        box : Box
        step : int
            Pixels along a side of what becomes one pixel, their average.
        progress : Progress
        stage : str
            What is told where there are several parts.

        Returns
        -------
        ndarray of float32, shape (ceil(h / step), ceil(w / step), 3)
            RGB, 0 to 255.
        """
        import cv2

        side = max(1, _READ_SIDE // step) * step
        corners = list(product(range(box.top, box.bottom, side), range(box.left, box.right, side)))
        small = np.empty((-(-box.shape[0] // step), -(-box.shape[1] // step), 3), np.float32)
        for number, (top, left) in enumerate(corners):
            if len(corners) > 1:
                progress(number, len(corners), stage)
            part = self.read(*Box(top, left, top + side, left + side).common(box))
            size = (-(-part.shape[1] // step), -(-part.shape[0] // step))
            row, col = (top - box.top) // step, (left - box.left) // step
            place = np.s_[row : row + size[1], col : col + size[0]]
            small[place] = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        return small

    def raw(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """Return the same as it is stored."""
        with nullcontext() if isinstance(self._array, np.ndarray) else _ONE_READS:
            return np.asarray(self._array[top:bottom, left:right])


def plane_sources(
    image: Any, stacked: bool, backgrounds: Sequence[Sequence[float] | None] = ()
) -> list[PixelSource]:
    """Return what reads an image, or each plane of a stack, which have one value for full brightness.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, C), or a stack of these
    stacked : bool
    backgrounds : sequence
        The colour of the empty slide of each plane; None, or lacking at the end, where it is not known.

    Raises
    ------
    ImageError
        If the array is no image.
    """
    value_range = bit_range(image)
    planes = [image[number] for number in range(image.shape[0])] if stacked else [image]
    known = [*backgrounds, *[None] * len(planes)]
    return [PixelSource(plane, value_range, colour) for plane, colour in zip(planes, known, strict=False)]
