"""What is estimated once for a whole image: its light, the field of view, the sizes of its cells.

A small image is its own sample; of a larger one fields spread evenly over it are, always the same
ones, so that nothing depends on tiles or on their order.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import isqrt
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel

from ..box import Box
from ..images.field_of_view import field_of_view
from ..images.focus import OUT_OF_FOCUS, edge_spread
from ..images.focus import PARAMETERS as FOCUS
from ..images.illumination import background_colour, transmittance
from ..images.paper import is_picture, paper_colours
from ..images.pixel_source import PixelSource
from ..images.pixels import brightness
from ..images.prepare import DARK_BACKGROUND, has_dark_background
from ..network.model_file import ModelFile
from ..network.robust import network_input
from ..progress import Progress
from ..settings import SegmentationSettings
from .choose_looks import choose_looks
from .detections import TileCells
from .looks import Look, looks_for, palest_nucleus
from .prediction import Predictor
from .scale import PARAMETERS as SCALE
from .scale import RedCells, ScaleEstimate
from .standard_stain import StandardStain, density_of
from .uncounted import notes_on_uncounted


@dataclass(frozen=True)
class SampleParameters:
    """What of an image is looked at for the estimates. Lengths and areas are in image pixels.

    Attributes
    ----------
    whole : int
        Image up to which it is all looked at.
    halved, least_halved : int, float
        A camera's photograph of up to so many pixels is all looked at in half the resolution, where samples
        do not tell the size surely and its cells are so wide there. The network surely sees cells of 25.
    most_in_field : float
        Of the side of a field: wider cells are cut by its border too often.
    field : int
        Side of a field of a larger image: some ten cells at most magnifications.
    fields_a_side : int
        Fields along a side of it.
    most_stained : int
        So many of these, those with the most stain, tell the size of the cells; the next, if these show none.
    thinned : int
        Of all these each so many-th pixel tells the light, and which have the most stain.
    gap : int
        Empty slide between them when they are laid side by side.
    thumbnail : int
        Least side of the copy that shows the field of view, where the image is so large.
    edge : int
        Pixels of that copy along its sides that are looked at first.
    lit : float
        Brightness, 0 to 255, that no surround has: a little more than its share of the brightest slide.
    digest, digests_a_side : int
        Side of the squares by which a larger image is known again, and how many lie along a side of it.
    """

    whole: int = 12_000_000
    halved: int = 48_000_000
    least_halved: float = 30.0
    most_in_field: float = 0.125
    field: int = 640
    fields_a_side: int = 6
    most_stained: int = 6
    thinned: int = 4
    gap: int = 16
    thumbnail: int = 384
    edge: int = 8
    lit: float = 70.0
    digest: int = 64
    digests_a_side: int = 16


PARAMETERS = SampleParameters()


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


class GlobalEstimates(BaseModel, frozen=True, extra="forbid"):
    """What was estimated.

    Attributes
    ----------
    value_range : float
        Value of the image that stands for full brightness.
    background : tuple of float
        Colour of the empty slide, RGB, 0 to 255.
    field_of_view : FieldOfView or None
        None where the whole image shows the slide.
    cell_diameter : float or None
        Pixels; None where no white cell was seen, and for the classic recipe.
    other_diameters : tuple of float
        Of cells of quite other sizes among them, pixels.
    red_cell : float or None
        Reference size: diameter of the red cells, pixels; None where they could not be measured.
    many_red_cells : bool
        Whether that was measured on so many that it is sure.
    red_cell_stain : tuple of float or None
        What the darker half of them absorbs, RGB, as the network takes it: 0 on the empty slide.
    standard_stain : StandardStain or None
        To which they are brought to be looked at again.
    nuclei_alone : bool
        Whether the network is shown only what is as dark as nuclei: of an image of which it saw samples.
    notes : tuple of str
        For the user.
    """

    value_range: float
    background: tuple[float, float, float]
    field_of_view: FieldOfView | None = None
    cell_diameter: float | None = None
    other_diameters: tuple[float, ...] = ()
    red_cell: float | None = None
    many_red_cells: bool = False
    red_cell_stain: tuple[float, float, float] | None = None
    standard_stain: StandardStain | None = None
    nuclei_alone: bool = False
    notes: tuple[str, ...] = ()

    @property
    def class_diameter(self) -> float | None:
        """Diameter of a typical white cell, pixels, at which classes are told.

        By the red cells where they are measured: a picture may show nothing but a small erythroblast.
        """
        if self.cell_diameter is None or self.red_cell is None:
            return self.cell_diameter
        by_red_cells = SCALE.white_over_red * self.red_cell
        believed = abs(np.log2(by_red_cells / self.cell_diameter)) <= SCALE.believed_octaves
        return by_red_cells if believed else self.cell_diameter

    @property
    def red_cells(self) -> RedCells:
        """What is known of the red cells."""
        return RedCells(self.red_cell, self.red_cell_stain, self.many_red_cells)

    @property
    def field_share(self) -> float:
        """Share of the image that shows the slide."""
        return self.field_of_view.share if self.field_of_view else 1.0

    def fields(self, shape: tuple[int, int]) -> list[Box]:
        """Return the rectangles of an image of a shape of which each is segmented as an image of its own."""
        return _fields(self.field_of_view, shape)

    @property
    def looks(self) -> tuple[Look, ...]:
        """How it is looked at: for cells of each size, that of most first, and all in the standard stain."""
        if self.cell_diameter is None:
            return ()
        diameters = (self.cell_diameter, *self.other_diameters)
        least_stain = None
        if self.nuclei_alone and self.standard_stain is not None:
            red = None if self.red_cell_stain is None else tuple(density_of(np.array(self.red_cell_stain)))
            least_stain = palest_nucleus(self.standard_stain.white, red)
        return looks_for(diameters, self.standard_stain, least_stain)

    def transmittance(self, pixels: np.ndarray, box: Box, step: int = 1) -> np.ndarray:
        """Return a part of the image with its light divided out, float32, 1 on the empty slide.

        Parameters
        ----------
        pixels : ndarray of float32, shape (h, w, 3)
            RGB, 0 to 255.
        box : Box
            Where in the image they lie. Outside the field of view there is empty slide.
        step : int
            Each so many-th pixel of that is given.
        """
        image = transmittance(pixels, np.asarray(self.background, np.float32))
        if self.field_of_view is not None:
            image[~self.field_of_view.inside(box)[::step, ::step]] = 1.0
        return image


def estimate(
    source: PixelSource, model: ModelFile, settings: SegmentationSettings, progress: Progress
) -> tuple[GlobalEstimates, list[TileCells] | None]:
    """Estimate what all parts of an image share.

    Returns
    -------
    GlobalEstimates
    list of TileCells, or None
        The cells of all tiles, where the image is its own sample and its cells were found when
        their size was looked for.
    """
    progress(0, 0, "Measuring the background")
    field = None if settings.recipe == "classic" else _field_of_view(source, progress)
    fields = _fields(field, source.shape)
    whole = Box.around(fields)
    boxes = [whole]
    if whole.area > PARAMETERS.whole:
        boxes = [box.shifted(*whole[:2]) for box in _spread(whole.shape)]
    is_whole = boxes[0] == whole
    step = 1 if is_whole else PARAMETERS.thinned
    samples = []
    for number, box in enumerate(boxes):
        if not is_whole:
            progress(number, len(boxes), "Taking samples of the image")
        samples.append(source.read(*box, step))
    inside = [None if field is None else field.inside(box)[::step, ::step] for box in boxes]
    shown = [
        pixels for pixels, part in zip(samples, inside, strict=True) if part is None or part.mean() > 0.5
    ]
    dark = bool(shown) and has_dark_background(np.concatenate(shown))
    light = GlobalEstimates(
        value_range=source.value_range,
        background=tuple(_background(samples, inside).tolist()),
        field_of_view=field,
        notes=source.notes + dark * (DARK_BACKGROUND,),
    )
    if settings.recipe == "classic":
        return light.model_copy(update={"cell_diameter": settings.cell_diameter}), None
    predictor = Predictor(model, settings, progress)
    if is_whole:
        image = network_input(light.transmittance(samples.pop(), whole))
        seen = _see_all(image, 1, predictor, fields, field)
    else:
        seen = _see_large(source, light, fields, _most_stained_first(light, boxes, samples), predictor)
    diameters = tuple(look.diameter * seen.step for look in seen.looks if not look.all_in_standard)
    red = seen.scale.red
    red_cell = None if red.diameter is None else red.diameter * seen.step
    notes = light.notes
    if not diameters and red_cell is not None and not is_whole:
        diameters = (SCALE.white_over_red * red_cell,)
        notes += ("No white cell was in the samples, so their size was taken from the red cells.",)
    found = {
        "cell_diameter": diameters[0] if diameters else None,
        "other_diameters": diameters[1:],
        "red_cell": red_cell,
        "many_red_cells": red.many,
        "red_cell_stain": red.stain,
        "standard_stain": seen.looks[-1].standard if seen.looks else None,
        "nuclei_alone": not is_whole,
        "notes": notes + _notes_on_cells(seen, diameters, light.background),
    }
    known = [one.shifted(*whole[:2]) for one in seen.tiles] if is_whole else None
    return light.model_copy(update=found), known


class _Seen(NamedTuple):
    """What was seen of an image, or of samples of it.

    Attributes
    ----------
    image : ndarray of float32, shape (h, w, 3)
        What the network took.
    step : int
        Pixels of the image along a side of one of that.
    looks : tuple of Look
    scale : ScaleEstimate
    tiles : list of TileCells
        As `choose_looks` returns them.
    """

    image: np.ndarray
    step: int
    looks: tuple[Look, ...]
    scale: ScaleEstimate
    tiles: list[TileCells]

    @property
    def found(self) -> bool:
        """Whether there are cells."""
        return any(map(len, self.tiles))


def _notes_on_cells(
    seen: _Seen, diameters: tuple[float, ...], background: tuple[float, float, float]
) -> tuple[str, ...]:
    """Tell where cells may have been missed; see `notes_on_uncounted` for the parameters."""
    if not diameters:
        return ("No white cell was seen at any size.",)
    diameter = diameters[0] / seen.step
    blurred = edge_spread(seen.image, diameter) > FOCUS.most
    return blurred * (OUT_OF_FOCUS,) + notes_on_uncounted(
        seen.image, diameter, seen.tiles, seen.scale, background
    )


def image_digest(source: PixelSource) -> str:
    """Return a hash by which a run knows its image again: of all pixels, or of many squares of a large one.

    Its first half is of the few that earlier versions knew an image by.
    """
    side = PARAMETERS.digest
    corners = [
        Box(box.top, box.left, box.top + side, box.left + side).common(box) for box in _spread(source.shape)
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
        return [
            Box(top, 0, min(top + PARAMETERS.field, height), width)
            for top in range(0, height, PARAMETERS.field)
        ]
    side, count = PARAMETERS.digest, PARAMETERS.digests_a_side
    rows, cols = (np.linspace(0, max(length - side, 0), count).astype(int).tolist() for length in shape)
    return [Box(top, left, top + side, left + side).within(shape) for top, left in product(rows, cols)]


def _spread(shape: tuple[int, int]) -> list[Box]:
    """Return fields that lie evenly in an image and do not overlap."""
    side, along = PARAMETERS.field, []
    for length in shape:
        count = max(1, min(PARAMETERS.fields_a_side, length // side))
        along.append([max(0, round((i + 0.5) * length / count - side / 2)) for i in range(count)])
    return [Box(top, left, top + side, left + side).within(shape) for top, left in product(*along)]


def _fields(field: FieldOfView | None, shape: tuple[int, int]) -> list[Box]:
    return [Box(0, 0, *shape)] if field is None else field.boxes(shape)


def _field_of_view(source: PixelSource, progress: Progress) -> FieldOfView | None:
    """Find the field of view in a small copy of the image.

    Its edge is looked at first: what does not reach it is no surround, and no paper.
    """
    height, width = source.shape
    step = max(1, max(height, width) // PARAMETERS.thumbnail)

    def reduced(box: Box) -> np.ndarray:
        return source.reduced(box, step, progress, "Looking for the field of view")

    lines = [Box(0, 0, 1, width), Box(height - 1, 0, height, width)]
    lines += [Box(0, 0, height, 1), Box(0, width - 1, height, width)]
    paper = paper_colours(source.read(*line).reshape(-1, 3) for line in lines)
    edge = PARAMETERS.edge * step
    if min(height, width) > 2 * edge:
        bottom, right = ((length - edge) // step * step for length in source.shape)
        edges = [Box(0, 0, edge, width), Box(bottom, 0, height, width)]
        edges += [Box(0, 0, height, edge), Box(0, right, height, width)]
        if not paper and all(reduced(box).max(axis=-1).min() > PARAMETERS.lit for box in edges):
            return None
    mask = field_of_view(reduced(Box(0, 0, height, width)), paper)
    return None if mask is None else FieldOfView.of(mask, step)


def _background(samples: list[np.ndarray], inside: list[np.ndarray | None]) -> np.ndarray:
    """Estimate the colour of the empty slide inside the field of view."""
    if len(samples) == 1 and (inside[0] is None or inside[0].all()):
        return background_colour(samples[0])
    step = 1 if len(samples) > 1 else max(1, isqrt(samples[0].size) // 1024)
    colours = []
    for pixels, within in zip(samples, inside, strict=True):
        part = pixels[::step, ::step].reshape(-1, 3)
        colours.append(part if within is None else part[within[::step, ::step].ravel()])
    joined = np.concatenate(colours)
    side = max(1, isqrt(len(joined)))
    # `background_colour` samples rows and columns alike.
    return background_colour(joined[: side * side].reshape(-1, side, 3))


def _see(
    image: np.ndarray,
    step: int,
    predictor: Predictor,
    fields: list[Box] | None = None,
    round_field: float | None = None,
) -> _Seen:
    """See the cells in what the network takes of an image, reduced by a step."""
    diameter = predictor.settings.cell_diameter
    diameter, round_field = diameter and diameter / step, round_field and round_field / step
    return _Seen(image, step, *choose_looks(image, predictor, diameter, fields, round_field))


def _see_all(
    image: np.ndarray, step: int, predictor: Predictor, fields: list[Box], field: FieldOfView | None
) -> _Seen:
    """See the cells in what the network takes of all fields of an image, reduced by a step."""
    whole = Box.around(fields)
    within = [box.shifted(-whole.top, -whole.left) for box in fields]
    reduced = [Box(*(end // step for end in box)) for box in within]
    return _see(image, step, predictor, reduced, None if field is None else field.round_width)


def _see_large(
    source: PixelSource, light: GlobalEstimates, fields: list[Box], boxes: list[Box], predictor: Predictor
) -> _Seen:
    """See the cells of a large image in fields of it, the first ones first, or in all of it, reduced."""
    whole, tried = Box.around(fields), list[_Seen]()
    for first in range(0, len(boxes), PARAMETERS.most_stained):
        chosen = sorted(boxes[first : first + PARAMETERS.most_stained])
        seen = _see(_side_by_side(source, light, chosen), 1, predictor)
        if not tried and whole.area <= PARAMETERS.halved and not _is_usual(seen):
            half = network_input(light.transmittance(source.reduced(whole, 2), whole, 2))
            reduced = _see_all(half, 2, predictor, fields, light.field_of_view)
            if reduced.found and reduced.looks[0].diameter >= PARAMETERS.least_halved:
                return reduced
        if seen.found:
            return seen
        tried.append(seen)
    # What was seen from afar tells the size too, and red cells do.
    return max(tried, key=lambda seen: (bool(seen.looks), seen.scale.red.diameter is not None))


def _is_usual(seen: _Seen) -> bool:
    """Say whether the cells of some fields are of a size that these show well, and as white cells are."""
    if not seen.found or seen.scale.red.diameter is None:
        return False
    diameter = seen.looks[0].diameter
    fits = diameter <= PARAMETERS.most_in_field * PARAMETERS.field
    return fits and seen.scale.likelihood(diameter) >= SCALE.usual


def _most_stained_first(light: GlobalEstimates, boxes: list[Box], samples: list[np.ndarray]) -> list[Box]:
    """Return fields in order of their stain, given thinned pixels of all."""
    stain = []
    for box, pixels in zip(boxes, samples, strict=True):
        seen = network_input(light.transmittance(pixels, box, PARAMETERS.thinned))
        stain.append(float(np.percentile(brightness(seen), 99)))
    return [boxes[index] for index in np.argsort(stain, kind="stable")[::-1]]


def _side_by_side(source: PixelSource, light: GlobalEstimates, boxes: list[Box]) -> np.ndarray:
    """Lay fields side by side as the network takes them, with a strip of empty slide, 0, between them."""
    columns = int(np.ceil(np.sqrt(len(boxes))))
    pitch = PARAMETERS.field + PARAMETERS.gap
    joined = np.zeros((-(-len(boxes) // columns) * pitch, min(columns, len(boxes)) * pitch, 3), np.float32)
    for number, box in enumerate(boxes):
        top, left = number // columns * pitch, number % columns * pitch
        place = np.s_[top : top + box.shape[0], left : left + box.shape[1]]
        joined[place] = network_input(light.transmittance(source.read(*box), box))
    return joined
