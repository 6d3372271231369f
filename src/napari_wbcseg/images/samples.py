"""Parts of a large image that stand for all of it, always the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..box import Box
from .pixel_source import PixelSource


@dataclass(frozen=True)
class SampleParameters:
    """What of an image is looked at. Lengths and areas are in image pixels.

    Attributes
    ----------
    whole : int
        Image up to which it is all looked at.
    field : int
        Side of a field of a larger image: some ten cells at most magnifications.
    fields_a_side : int
        Fields along a side of it.
    digest, digests_a_side : int
        Side of the squares by which a larger image is known again, and how many lie along a side of it.
    """

    whole: int = 12_000_000
    field: int = 640
    fields_a_side: int = 6
    digest: int = 64
    digests_a_side: int = 16


PARAMETERS = SampleParameters()


def image_digest(source: PixelSource) -> str:
    """Return a hash by which a run knows its image again: of all pixels, or of many squares of a large one.

    Its first half is of the few that earlier versions knew an image by.
    """
    side = PARAMETERS.digest
    corners = [
        Box(box.top, box.left, box.top + side, box.left + side).common(box) for box in spread(source.shape)
    ]
    return _hash_of(source, corners) + _hash_of(source, _grid(source.shape))


def _hash_of(source: PixelSource, parts: Iterable[Box]) -> str:
    digest = hashlib.sha256(f"{source.shape} {source.dtype}".encode())
    for part in parts:
        digest.update(np.ascontiguousarray(source.raw(*part)).tobytes())
    return digest.hexdigest()[:16]


def _grid(shape: tuple[int, int]) -> list[Box]:
    """Return squares that lie evenly in an image, from corner to corner; all of a small one, in bands."""
    height, width = shape
    if height * width <= PARAMETERS.whole:
        tops = range(0, height, PARAMETERS.field)
        return [Box(top, 0, top + PARAMETERS.field, width).within(shape) for top in tops]
    side, count = PARAMETERS.digest, PARAMETERS.digests_a_side
    rows, cols = (np.linspace(0, max(length - side, 0), count).astype(int).tolist() for length in shape)
    return [Box(top, left, top + side, left + side).within(shape) for top, left in product(rows, cols)]


def spread(shape: tuple[int, int]) -> list[Box]:
    """Return fields that lie evenly in an image and do not overlap."""
    side, along = PARAMETERS.field, []
    for length in shape:
        count = max(1, min(PARAMETERS.fields_a_side, length // side))
        along.append([max(0, round((i + 0.5) * length / count - side / 2)) for i in range(count)])
    return [Box(top, left, top + side, left + side).within(shape) for top, left in product(*along)]
