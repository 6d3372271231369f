"""An image in a file that was opened, whatever its format: which of those in it, and what is said of it."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..words import listed
from .focus import focus_note
from .pixel_size import PixelSize, Stated, in_micrometres

CHUNK = 512
"""Pixels that a chunk is long at least, in whole tiles or strips."""


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """What the readers of all formats return.

    Attributes
    ----------
    levels : tuple of arrays, each (N, H, W, C)
        Full resolution first; slicing one reads its pixels.
    notes : tuple of str
        What was left out, and what its planes are.
    in_parts : bool
        Whether a part can be read without the whole.
    fields : int
        How many images of the file were put together as planes.
    images : int
        How many the file holds, of any size; each may have several planes.
    depths : int
        How many planes, one behind the other, are one field at several depths of focus; 1 where none are.
    alpha : bool
        Whether the last of two or four channels is known to be transparency.
    labels : bool
        Whether its values are known to be numbers of cells, and no picture.
    read_numbers : callable
        Reads its pixels (N, H, W, C) as the numbers that they are shown by other colours or greys for, or as
        four planes that are shown as one; None where they are shown as what they are.
    read_stated : callable
        Reads what the file states of the size of its pixels.
    read_orientation : callable
        Reads how a camera noted that it was turned (EXIF and TIFF): 1 to 8.
    close : callable
        What is read after that fails.
    """

    levels: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    in_parts: bool = True
    fields: int = 1
    images: int = 1
    depths: int = 1
    alpha: bool = False
    labels: bool = False
    read_numbers: Callable[[], NDArray[Any] | None] = lambda: None
    read_stated: Callable[[], Stated | None] = lambda: None
    read_orientation: Callable[[], Any] = lambda: 1
    close: Callable[[], None] = lambda: None

    @cached_property
    def pixel_size(self) -> tuple[PixelSize | None, tuple[str, ...]]:
        """The size of a pixel, and why there is none where the file states one."""
        try:
            return in_micrometres(self.read_stated())
        except Exception:  # broken tags, of any kind: the pixels may be sound
            return None, ()

    @cached_property
    def orientation(self) -> int:
        """How a camera noted that it was turned, 1 to 8; 1 where it noted nothing."""
        try:
            found = self.read_orientation()
        except Exception:  # as above
            return 1
        return found if isinstance(found, int) and 1 <= found <= 8 else 1

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, with those on its depths, its orientation and its pixel size."""
        notes = [*self.notes]
        if self.depths > 1:
            notes.append(focus_note(self.levels[0].shape[0]))
        if self.orientation != 1:
            notes.append(
                f"The camera noted that the picture was turned or mirrored (orientation {self.orientation}); "
                "it was taken as it is stored, which is what napari shows, so that outlines lie on it."
            )
        return (*notes, *self.pixel_size[1])


class LazyPixels(ABC):
    """Planes of rows and columns that are sliced like a NumPy array, also by dask.

    Attributes
    ----------
    shape : tuple of int
        Images, rows, columns, colours (1 or 3, and perhaps alpha behind).
    dtype : dtype
    chunks : tuple of int
        What is read at once with least effort.
    again : callable
        Opens the same in another process, which cannot get the open file sent.
    """

    ndim = 4
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int, int, int]
    again: Callable[[], LazyPixels]

    def __reduce__(self) -> tuple[Callable[[], LazyPixels], tuple[()]]:
        return self.again, ()

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @abstractmethod
    def read(self, image: int, box: Box) -> NDArray[Any]:
        """Return the pixels (rows, columns, colours) of a part of one plane."""

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return pixels (images, rows, columns, colours); indices drop their axis, as in NumPy."""
        key = key if isinstance(key, tuple) else (key,)
        key = (*key, *[slice(None)] * (4 - len(key)))
        images, rows, cols, _ = (range(side)[one] for one, side in zip(key, self.shape, strict=True))
        (top, bottom), (left, right) = _span(rows), _span(cols)
        box = Box(top, left, bottom, right)
        wanted = [images] if isinstance(images, int) else images
        out = np.empty((len(wanted), *box.shape, self.shape[3]), self.dtype)
        if out.size:
            for number, image in enumerate(wanted):
                out[number] = self.read(image, box)
        steps = [0 if isinstance(one, int) else slice(None, None, one.step) for one in (rows, cols)]
        return out[(0 if isinstance(images, int) else slice(None), *steps, key[3])]


def _span(wanted: range | int) -> tuple[int, int]:
    """Return the first index of a range and the one after its last, upwards."""
    if isinstance(wanted, int):
        return wanted, wanted + 1
    return (min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]) + 1) if wanted else (0, 0)


def chunk_of(side: int, step: int) -> int:
    """Return how long a chunk is along a side that is stored in tiles or strips of so many pixels."""
    return min(side, step * math.ceil(CHUNK / step))


#: What the channels of red, green and blue are called, and the colour that they are shown in.
_COLOURS = (("red", "r", "ff0000"), ("green", "g", "00ff00"), ("blue", "b", "0000ff"))


def colour_order(channels: Sequence[tuple[str, str]], count: int) -> list[int]:
    """Return where among so many channels those of red, green and blue lie; nothing where that is not said.

    Parameters
    ----------
    channels : sequence of (str, str)
        The name of each, which is believed first, and its colour, RRGGBB.
    count : int
        How many there are: what is said of another number is not believed.

    Examples
    --------
    >>> colour_order([("DAPI", ""), ("Blue", ""), ("Green", ""), ("Red", "")], 4)
    [3, 2, 1]
    >>> colour_order([("Blue", ""), ("Green", ""), ("Red", "")], 1)
    []
    """
    for said in zip(*channels, strict=True) if len(channels) == count else ():
        words = [one.strip().lower() for one in said]
        places = [next((i for i, one in enumerate(words) if one in of), -1) for of in _COLOURS]
        if -1 not in places:
            return places
    return []


def left_out(channels: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return a note on the channels beside those of red, green and blue, where it is said which these are.

    Examples
    --------
    >>> left_out([("DAPI", ""), ("Blue", ""), ("Green", ""), ("Red", "")])
    ('Of the channels in the file those of red, green and blue were taken; left out: DAPI.',)
    """
    order = colour_order(channels, len(channels))
    others = [name or f"channel {i + 1}" for i, (name, _) in enumerate(channels) if order and i not in order]
    taken = "Of the channels in the file those of red, green and blue were taken; left out:"
    return (f"{taken} {listed(others, 4)}.",) if others else ()


# Which of the images in one file is the image ---------------------------------------------------

_ASIDE = re.compile(r"\b(macro|label|thumbnail|overview|map|barcode|probability)\b", re.IGNORECASE)


class Candidate(NamedTuple):
    """An image in a file of several.

    Attributes
    ----------
    height, width : int
        Pixels.
    form : hashable
        What fields must have in common to be a stack: size, colours, type.
    name : str
        What the file calls it.
    reduced : bool
        Whether the file says that it is a smaller copy of another.
    """

    height: int
    width: int
    form: Hashable = None
    name: str = ""
    reduced: bool = False


def main_images(found: Sequence[Candidate]) -> tuple[list[int], tuple[str, ...]]:
    """Choose the largest real image, with all that are of its form: the fields of a file of fields.

    Labels, thumbnails and overviews of a slide, and reduced copies, are chosen only where there is
    nothing else.

    Parameters
    ----------
    found : sequence of Candidate
        At least one.

    Returns
    -------
    chosen : list of int
        Which they are, in the order of the file.
    notes : tuple of str
        What was left out, in a sentence.
    """
    everything = range(len(found))
    real = [i for i in everything if not found[i].reduced and not _ASIDE.search(found[i].name)] or everything
    largest = max(real, key=lambda i: found[i].height * found[i].width)
    chosen = [i for i in real if found[i].form == found[largest].form]
    left = [found[i] for i in everything if i not in chosen]
    if not left:
        return chosen, ()
    sizes = [f"{image.width} × {image.height}" for image in left]
    names = [image.name.strip()[:40] for image in left]
    shown = [f"{name} ({size})" if name else size for name, size in zip(names, sizes, strict=True)]
    main = f"{found[largest].width} × {found[largest].height}"
    return chosen, (
        f"Of the images in the file the largest ({main} pixels) was taken; left out: {listed(shown, 4)}. "
        "Save what is to be counted too as a file of its own.",
    )
