"""What is estimated once for a whole image: its light, the field of view, the sizes of its cells.

A small image is its own sample; of a larger one fields spread evenly over it are, always the same
ones, so that nothing depends on tiles or on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel

from ..box import Box
from ..images.field_of_view import FieldOfView, fields_of
from ..images.focus import OUT_OF_FOCUS, edge_spread
from ..images.focus import PARAMETERS as FOCUS
from ..images.illumination import (
    CUT_OUT,
    DARK_BACKGROUND,
    background_colour,
    background_of,
    has_dark_background,
    is_grey,
    slide_of_cut_outs,
    transmittance,
    without_black,
)
from ..images.pixel_source import PixelSource
from ..images.pixels import brightness
from ..images.prepare import GREY
from ..images.samples import PARAMETERS as SAMPLES
from ..images.samples import spread
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
from .standard_stain import SWAPPED, StandardStain, density_of
from .uncounted import NONE_SEEN, notes_on_uncounted


@dataclass(frozen=True)
class EstimateParameters:
    """How the estimates of a large image are made of samples. Lengths and areas are in image pixels.

    Attributes
    ----------
    halved, least_halved : int, float
        A camera's photograph of up to so many pixels is all looked at in half the resolution, where samples
        do not tell the size surely and its cells are so wide there. The network surely sees cells of 25.
    most_in_field : float
        Of the side of a field: wider cells are cut by its border too often.
    most_stained : int
        So many of the fields of a larger image, those with the most stain, tell the size of the cells; the
        next, if these show none.
    thinned : int
        Of all these each so many-th pixel tells the light, and which have the most stain.
    gap : int
        Empty slide between them when they are laid side by side.
    """

    halved: int = 48_000_000
    least_halved: float = 30.0
    most_in_field: float = 0.125
    most_stained: int = 6
    thinned: int = 4
    gap: int = 16


PARAMETERS = EstimateParameters()


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
    cut_out : bool
        Whether cells were cut out and laid on black, which is taken for empty slide.
    cell_diameter : float or None
        Pixels; None where no white cell was seen, and by the classic recipe.
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
    cut_out: bool = False
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
        return fields_of(self.field_of_view, shape)

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
        return without_black(image, pixels) if self.cut_out else image


def estimate(
    source: PixelSource, model: ModelFile, settings: SegmentationSettings, progress: Progress
) -> tuple[GlobalEstimates, list[TileCells]]:
    """Estimate what all parts of an image share.

    Returns
    -------
    GlobalEstimates
    list of TileCells
        The cells of all tiles, where the image is its own sample and its cells were found when
        their size was looked for; else empty.
    """
    progress(0, 0, "Measuring the background")
    field = None if settings.recipe == "classic" else source.find_field_of_view(progress)
    fields = fields_of(field, source.shape)
    samples = _take_samples(source, field, Box.around(fields), progress)
    light = _light(source, field, samples)
    if settings.recipe == "classic":
        return light, []
    predictor = Predictor(model, settings, progress)
    if len(samples) > 1:
        seen = _see_large(source, light, fields, _most_stained_first(light, samples), predictor)
        return _with_cells(light, seen, sampled=True), []
    (whole, pixels, _) = samples.pop()
    image = network_input(light.transmittance(pixels, whole))
    del pixels  # of which there is no need while the cells are found
    seen = _see(image, predictor, 1, fields, field)
    return _with_cells(light, seen, sampled=False), [one.shifted(*whole[:2]) for one in seen.tiles]


class _Sample(NamedTuple):
    """A part of an image that its light is measured in.

    Attributes
    ----------
    box : Box
    pixels : ndarray of float32, shape (h, w, 3)
        All of it, or each so many-th, where it is one of several.
    inside : ndarray of bool, shape (h, w), or None
        Which of these show the slide; None where all do.
    """

    box: Box
    pixels: np.ndarray
    inside: np.ndarray | None


def _take_samples(
    source: PixelSource, field: FieldOfView | None, whole: Box, progress: Progress
) -> list[_Sample]:
    """Read what stands for the part of an image that shows the slide: all of it, if that is small."""
    boxes, step = [whole], 1
    if whole.area > SAMPLES.whole:
        boxes, step = [box.shifted(*whole[:2]) for box in spread(whole.shape)], PARAMETERS.thinned
    samples = []
    for number, box in enumerate(boxes):
        if step > 1:
            progress(number, len(boxes), "Taking samples of the image")
        inside = None if field is None else field.inside(box)[::step, ::step]
        samples.append(_Sample(box, source.read(*box, step), inside))
    return samples


def _light(source: PixelSource, field: FieldOfView | None, samples: list[_Sample]) -> GlobalEstimates:
    """Estimate the light of an image."""
    shown = [one.pixels for one in samples if one.inside is None or one.inside.mean() > 0.5]
    notes, cut_out = source.notes, None
    if shown:
        pixels = shown[0] if len(shown) == 1 else np.concatenate(shown)
        if has_dark_background(pixels):
            cut_out = slide_of_cut_outs(pixels)
            notes += (DARK_BACKGROUND if cut_out is None else CUT_OUT,)
        if GREY not in notes and is_grey(pixels):
            notes += (GREY,)
    return GlobalEstimates(
        value_range=source.value_range,
        background=tuple((_background(samples) if cut_out is None else cut_out).tolist()),
        field_of_view=field,
        cut_out=cut_out is not None,
        notes=notes,
    )


def _with_cells(light: GlobalEstimates, seen: _Seen, sampled: bool) -> GlobalEstimates:
    """Return the estimates with what was seen of the cells, in samples of the image or in all of it."""
    diameters = tuple(look.diameter * seen.step for look in seen.looks if not look.all_in_standard)
    red, notes = seen.scale.red, light.notes
    red_cell = None if red.diameter is None else red.diameter * seen.step
    if not diameters and red_cell is not None and sampled:
        diameters = (SCALE.white_over_red * red_cell,)
        notes += ("No white cell was in the samples, so their size was taken from the red cells.",)
    standard = seen.looks[-1].standard if seen.looks else None
    if standard is not None and standard.swapped:
        notes += (SWAPPED,)
    found = {
        "cell_diameter": diameters[0] if diameters else None,
        "other_diameters": diameters[1:],
        "red_cell": red_cell,
        "many_red_cells": red.many,
        "red_cell_stain": red.stain,
        "standard_stain": standard,
        "nuclei_alone": sampled,
        "notes": notes + _notes_on_cells(seen, diameters, light.background, sampled),
    }
    return light.model_copy(update=found)


class _Seen(NamedTuple):
    """What was seen of an image, or of samples of it.

    Attributes
    ----------
    image : ndarray of float32, shape (h, w, 3)
        What the network took.
    step : int
        Pixels of the image along a side of one of that.
    fields : list of Box
        Its parts that show the slide.
    looks : tuple of Look
    scale : ScaleEstimate
    tiles : list of TileCells
        As `choose_looks` returns them.
    samples : list of Box
        Where in that the samples lie, if it is put together of such.
    """

    image: np.ndarray
    step: int
    fields: list[Box]
    looks: tuple[Look, ...]
    scale: ScaleEstimate
    tiles: list[TileCells]
    samples: Sequence[Box] = ()

    @property
    def found(self) -> bool:
        """Whether there are cells."""
        return any(map(len, self.tiles))


def _notes_on_cells(
    seen: _Seen, diameters: tuple[float, ...], background: tuple[float, float, float], sampled: bool
) -> tuple[str, ...]:
    """Tell where cells may have been missed; see `notes_on_uncounted` for the parameters."""
    if not diameters:
        return (NONE_SEEN,)
    diameter = diameters[0] / seen.step
    notes: tuple[str, ...] = (OUT_OF_FOCUS,) if edge_spread(seen.image, diameter) > FOCUS.most else ()
    notes += notes_on_uncounted(
        seen.image, seen.fields, diameter, seen.tiles, seen.scale, background, seen.samples
    )
    return notes if notes or seen.found or sampled else (NONE_SEEN,)


def _background(samples: list[_Sample]) -> np.ndarray:
    """Estimate the colour of the empty slide inside the field of view."""
    _, pixels, inside = samples[0]
    if len(samples) == 1 and (inside is None or inside.all()):
        return background_colour(pixels)
    step = 1 if len(samples) > 1 else max(1, isqrt(pixels.size) // 1024)
    colours = []
    for _, pixels, inside in samples:
        part = pixels[::step, ::step].reshape(-1, 3)
        colours.append(part if inside is None else part[inside[::step, ::step].ravel()])
    return background_of(np.concatenate(colours))


def _see(
    image: np.ndarray,
    predictor: Predictor,
    step: int = 1,
    fields: Sequence[Box] = (),
    field: FieldOfView | None = None,
) -> _Seen:
    """See the cells in what the network takes of an image, perhaps of its fields alone, reduced by a step."""
    sizes = predictor.settings.cell_diameter, field.round_width if field else None
    diameter, round_width = (size and size / step for size in sizes)
    within = [box.relative_to(Box.around(fields)) for box in fields]
    reduced = [Box(*(end // step for end in box)) for box in within] or [Box(0, 0, *image.shape[:2])]
    return _Seen(image, step, reduced, *choose_looks(image, predictor, reduced, diameter, round_width))


def _see_large(
    source: PixelSource, light: GlobalEstimates, fields: list[Box], boxes: list[Box], predictor: Predictor
) -> _Seen:
    """See the cells of a large image in fields of it, the first ones first, or in all of it, reduced."""
    whole, tried = Box.around(fields), list[_Seen]()
    for first in range(0, len(boxes), PARAMETERS.most_stained):
        chosen = sorted(boxes[first : first + PARAMETERS.most_stained])
        image, places = _side_by_side(source, light, chosen)
        seen = _see(image, predictor)._replace(samples=places)
        if not tried and whole.area <= PARAMETERS.halved and not _is_usual(seen):
            half = network_input(light.transmittance(source.reduced(whole, 2), whole, 2))
            reduced = _see(half, predictor, 2, fields, light.field_of_view)
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
    fits = diameter <= PARAMETERS.most_in_field * SAMPLES.field
    return fits and seen.scale.likelihood(diameter) >= SCALE.usual


def _most_stained_first(light: GlobalEstimates, samples: list[_Sample]) -> list[Box]:
    """Return fields in order of their stain, given thinned pixels of all."""
    stain = []
    for box, pixels, _ in samples:
        seen = network_input(light.transmittance(pixels, box, PARAMETERS.thinned))
        stain.append(float(np.percentile(brightness(seen), 99)))
    return [samples[index].box for index in np.argsort(stain, kind="stable")[::-1]]


def _side_by_side(
    source: PixelSource, light: GlobalEstimates, boxes: list[Box]
) -> tuple[np.ndarray, list[Box]]:
    """Lay fields side by side as the network takes them, with a strip of empty slide, 0, between them.

    Returns the image, and where in it they lie.
    """
    columns = int(np.ceil(np.sqrt(len(boxes))))
    pitch = SAMPLES.field + PARAMETERS.gap
    joined = np.zeros((-(-len(boxes) // columns) * pitch, min(columns, len(boxes)) * pitch, 3), np.float32)
    places = []
    for number, box in enumerate(boxes):
        top, left = number // columns * pitch, number % columns * pitch
        places.append(Box(top, left, top + box.shape[0], left + box.shape[1]))
        joined[places[-1].slices] = network_input(light.transmittance(source.read(*box), box))
    return joined, places
