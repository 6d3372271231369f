"""Where a picture shows the slide at all: the round field of an eyepiece, a dark corner, panels on paper."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from ..box import Box
from .paper import is_picture, paper_colours, pictures_on_paper
from .pixels import border, percentiles, resample, sides


@dataclass(frozen=True)
class FieldOfViewParameters:
    """What a surround is known by.

    Attributes
    ----------
    side : int
        Pixels of the longer side that the picture is looked at with.
    dark : float
        Brightness of a surround, of that of the lit slide (90th percentile of the brightest colour). The
        darkest nuclei of the validation sets keep 0.30 in blue; phone surrounds have 0.02 to 0.15.
    penumbra : float
        Brightness at which the penumbra ends, of the same.
    reach : float
        Width of a penumbra at most, of the longer side.
    least_area, least_side : float
        Share of the picture, and of one of its sides, that a surround takes: no cell cut by the border does.
    least_field : float
        Share of the picture that a field has in one piece, also one that the surround encloses; a smaller
        spot is glare.
    edge : int
        Pixels along the sides of that picture that are looked at first.
    lit : float
        Brightness, 0 to 255, from which on these are no surround: a little more than `dark` of the brightest.
    """

    side: int = 384
    dark: float = 0.22
    penumbra: float = 0.55
    reach: float = 0.02
    least_area: float = 0.004
    least_side: float = 0.12
    least_field: float = 0.15
    edge: int = 8
    lit: float = 70.0


PARAMETERS = FieldOfViewParameters()


class FieldOfView(BaseModel, frozen=True, extra="forbid"):
    """Where an image shows the slide.

    Attributes
    ----------
    step : int
        Pixels of the image along a side of one of the mask.
    shape : tuple of int
        Of the mask.
    packed : str
        The mask, a bit each, packed by zlib, in base 64.
    """

    step: int
    shape: tuple[int, int]
    packed: str

    @classmethod
    def of(cls, mask: np.ndarray, step: int) -> FieldOfView:
        """Pack a mask."""
        packed = base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()
        return cls(step=step, shape=(mask.shape[0], mask.shape[1]), packed=packed)

    def inside(self, box: Box) -> np.ndarray:
        """Say which pixels of a part of the image show the slide."""
        mask = self._mask
        rows, cols = np.arange(box.top, box.bottom), np.arange(box.left, box.right)
        return mask[np.ix_(rows // self.step, cols // self.step)]

    @property
    def share(self) -> float:
        """Share of the image that shows the slide."""
        return float(self._mask.mean())

    def boxes(self, shape: tuple[int, int]) -> list[Box]:
        """Return the rectangles of an image of a shape that show the slide, or one around all that does."""
        from scipy import ndimage

        parts, _ = ndimage.label(self._mask)
        places = ndimage.find_objects(parts)
        if not all(is_picture(parts[place] == n, self.shape) for n, place in enumerate(places, 1)):
            places = ndimage.find_objects((parts > 0).astype(np.uint8))
        return [Box(*(self.step * end for end in Box.of(place))).common((0, 0, *shape)) for place in places]

    @property
    def round_width(self) -> float | None:
        """Width of the round field of an eyepiece, image pixels; None where the field has a corner."""
        from scipy import ndimage

        mask = self._mask
        places = ndimage.find_objects(mask.astype(np.uint8))
        if not places:
            return None
        part = mask[places[0]]
        corners = part[[0, 0, -1, -1], [0, -1, 0, -1]]
        return None if corners.any() else float(self.step * max(part.shape))

    @property
    def _mask(self) -> np.ndarray:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(self.packed)), np.uint8)
        return np.unpackbits(bits, count=self.shape[0] * self.shape[1]).reshape(self.shape) > 0


def fields_of(field: FieldOfView | None, shape: tuple[int, int]) -> list[Box]:
    """Return the rectangles of an image of a shape of which each is segmented as an image of its own."""
    return [Box(0, 0, *shape)] if field is None else field.boxes(shape)


def field_of_view(pixels: np.ndarray, paper: Sequence[np.ndarray] | None = None) -> np.ndarray | None:
    """Find the part of a picture that shows the slide.

    Dark regions that run along the border, over a corner or a good part of a side, are the
    eyepiece's surround, a diaphragm or padding, with the penumbra around them. What is of one colour around
    rectangles is the paper, or the window of a program, that pictures were put on.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3)
        RGB, 0 to 255.
    paper : sequence of ndarray, each of shape (3,), optional
        Colours that paper may have, where the pixels are averages of more; see `paper_colours`.

    Returns
    -------
    ndarray of bool, shape (H, W), or None
        True on the slide; None where the whole picture shows it.
    """
    import cv2
    from scipy import ndimage

    height, width = pixels.shape[:2]
    factor = min(1.0, PARAMETERS.side / max(height, width))
    small = resample(np.asarray(pixels, np.float32), factor)
    pictures = pictures_on_paper(small, paper_colours(sides(pixels)) if paper is None else paper)
    if pictures is None:
        field = _lit(small, np.zeros(small.shape[:2], bool))
    else:
        # At its edge a small pixel is an average with the paper, and that one with its neighbour.
        field = cv2.erode(pictures.astype(np.uint8), np.ones((5, 5)), borderValue=1) > 0
        parts, _ = ndimage.label(field)
        for number, place in enumerate(ndimage.find_objects(parts), 1):
            beside = parts[place] != number
            lit = _lit(small[place], beside)
            field[place] &= True if lit is None else lit | beside
    if field is None or not field.any():  # of a picture of a few pixels its edge is all
        return None
    return cv2.resize(field.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _lit(image: np.ndarray, beside: np.ndarray) -> np.ndarray | None:
    """Return the part of a small picture that no dark surround takes, or None where there is none.

    A picture that is tilted has something beside it, (h, w), where its surround may end too.
    """
    import cv2
    from scipy import ndimage

    # Split first: NumPy's maximum over so short an axis takes most of the time.
    brightness = cv2.GaussianBlur(np.maximum.reduce(cv2.split(image)), (0, 0), 1.0)
    (lit,) = percentiles(brightness[~beside], 90)
    dark = (brightness < PARAMETERS.dark * lit) | beside
    if not border(dark).any():
        return None
    regions, count = ndimage.label(dark)
    outside = np.zeros(dark.shape, bool)
    for index in range(1, count + 1):
        region = regions == index
        if (region & ~beside).sum() >= PARAMETERS.least_area * region.size and _runs_along(region):
            outside |= region
    if not outside.any():
        return None
    # The penumbra: what is dim and joined to the surround.
    reach = max(1, round(PARAMETERS.reach * max(dark.shape)))
    near = cv2.dilate(outside.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    outside |= near & (brightness < PARAMETERS.penumbra * lit)
    outside = cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    holes: np.ndarray = np.asarray(ndimage.label(~outside)[0])
    spots: np.ndarray = np.bincount(holes.ravel()) < PARAMETERS.least_field * holes.size
    enclosed: np.ndarray = np.asarray(ndimage.binary_fill_holes(outside)) & spots[holes]
    field: np.ndarray = ~(outside | enclosed)
    # Nothing but spots are cells that were cut out and laid on black.
    return None if spots[1:].all() else field


def _runs_along(region: np.ndarray) -> bool:
    corner = any(region[row, col] for row in (0, -1) for col in (0, -1))
    return max(side.mean() for side in sides(region)) >= PARAMETERS.least_side * (0.5 if corner else 2.0)
