"""What a count may lack, or have too many of: a person is told, so that no count is wrong in silence.

Nothing is counted here. Bad pictures (out of focus, overexposed, compressed) make the network unsure of cells
that anybody sees; how many, their stain tells, or what was seen of them from afar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from scipy import ndimage

from ..box import Box
from ..images.pixels import resample
from ..network.robust import network_input
from ..words import counted
from .detections import TileCells, draw
from .filters import PARAMETERS as FILTERS
from .filters import cut_by_border, too_small, without_red_cells
from .scale import SMALLEST, ScaleEstimate
from .standard_stain import PARAMETERS as STAIN
from .standard_stain import plainly_like_white_cells, white_density


@dataclass(frozen=True)
class UncountedParameters:
    """What is told. Set on the validation sets as they are and made worse (`benchmarks/bad_pictures.py`).

    Attributes
    ----------
    cell : float
        Pixels across that a cell is reduced to; a smaller one is looked at as it is.
    strip : int
        Rows that are looked at together.
    nucleus : float
        Area of a place stained like white cells over that of their nuclei, from which on it may be one.
    radius : float
        Cell diameters of the largest disc in it: seams between cells are narrower.
    edge : float
        Cell diameters from the edge of a sample within which what is there is cut off by it.
    candidate : float
        Score of what was seen from afar, where no cell is sure.
    brightest : float
        Value, 0 to 255, from which on a camera or a JPEG shows no more light.
    burnt_out : float
        Share of so bright pixels in the sure cells, the median of these, from which on an image is
        overexposed: 0.00 in pictures of all validation sets as they are, 0.03 and more in those of
        leukaemia where 1.45 or 1.6 times the light loses cells.
    """

    cell: float = 24.0
    strip: int = 512
    nucleus: float = 0.6
    radius: float = 0.2
    edge: float = 0.1
    candidate: float = 0.6
    brightest: float = 254.0
    burnt_out: float = 0.03


PARAMETERS = UncountedParameters()
_SMALL = f"less than {ceil(SMALLEST)} pixels across"
_ENLARGE = "enlarge the picture four times and count again."
NONE_SEEN = f"No white cell was seen. Where cells are {_SMALL}, {_ENLARGE}"
TOO_SMALL = f"White cells of {_SMALL} are too small to be counted surely: {_ENLARGE}"
FROM_AFAR = (
    "What looked like a white cell from afar was not sure close to, and not counted. Look at the picture."
)
#: Told of 14 of 2,002 good and bad pictures (`benchmarks/bad_pictures.py`), of which none is counted rightly.
RED_OR_WHITE = (
    "Beside the cells that were counted even more places are stained like them: are these its cells? Red "
    "cells may have been taken for white ones, or white ones missed. Look at the picture."
)
OVEREXPOSED = (
    "The picture is overexposed: parts of its cells are as bright as the empty slide, and pale cells may "
    "have been missed. Take it with less light."
)


def notes_on_uncounted(
    image: np.ndarray,
    fields: Sequence[Box],
    diameter: float,
    tiles: list[TileCells],
    estimate: ScaleEstimate,
    background: tuple[float, float, float],
    samples: Sequence[Box] = (),
) -> tuple[str, ...]:
    """Tell what of an image may be a white cell and was not counted, or a red one and was.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    fields : sequence of Box
        Its parts that show the slide.
    diameter : float
        Of a cell, pixels.
    tiles : list of TileCells
        What was found.
    estimate : ScaleEstimate
        What was seen from afar.
    background : tuple of float
        Colour of the empty slide, 0 to 255.
    samples : sequence of Box, optional
        Of which the image is put together: what their edges cut off is not told.

    Returns
    -------
    tuple of str
        Sentences, or none.
    """
    found = without_red_cells(tiles, estimate.red)
    labels = draw(found.rows["box"], found.masks(tiles), found.rows["label"], Box(0, 0, *image.shape[:2]))
    sure = found.rows["label"][found.rows["certainty"] >= STAIN.sure]
    cut = cut_by_border(found.rows["box"], fields)
    cut |= np.isin(found.rows["label"], labels[_at_edges(samples, labels.shape, diameter, diameter)])
    small = too_small(found.rows, cut, estimate.red)
    notes = _small_ones(found.rows, small)
    if diameter < SMALLEST and not small.all():
        notes = (TOO_SMALL, *notes)
    if _overexposed(image, labels, sure, background):
        notes = (OVEREXPOSED, *notes)
    white = white_density(found.rows, estimate.red.stain)
    if white is None:
        seen = [one for one in estimate.candidates if one.score >= PARAMETERS.candidate]
        places = np.array([(one.row, one.col) for one in seen]).reshape(-1, 2).astype(int)
        counted_there = labels[tuple(np.minimum(places, np.subtract(labels.shape, 1)).T)] > 0
        return notes if counted_there.all() else (*notes, FROM_AFAR)
    number = _stained_alike(image, labels, sure, white, diameter, samples)
    if not number:
        return notes
    if number > len(found.rows):  # then its stain tells the one from the other no more
        return (*notes, RED_OR_WHITE)
    where = f"at least {counted(number, 'place')} {'is' if number == 1 else 'are'} stained like one"
    return (*notes, f"White cells may have been missed: {where}. Look at the picture.")


def _small_ones(rows: np.ndarray, small: np.ndarray) -> tuple[str, ...]:
    """Tell what the network is sure of and is left out, as it is smaller than red cells."""
    number = int((small & (rows["certainty"] >= FILTERS.judged)).sum())
    if not number:
        return ()
    where = counted(number, "place")
    return (
        f"What looks like a white cell in {where} is smaller than a red cell: only erythroblasts are counted "
        "then. Look at the picture.",
    )


def _overexposed(
    image: np.ndarray, labels: np.ndarray, sure: np.ndarray, background: tuple[float, float, float]
) -> bool:
    """Say whether the sure cells of a label image, (H, W), are burnt out in part, as the empty slide is."""
    if not len(sure) or min(background) < PARAMETERS.brightest:
        return False
    brightest = network_input(np.full(1, PARAMETERS.brightest / 255, np.float32))
    burnt_out = (image <= brightest).all(axis=-1)
    return bool(np.median(ndimage.mean(burnt_out, labels, sure)) >= PARAMETERS.burnt_out)


def _stained_alike(
    image: np.ndarray,
    labels: np.ndarray,
    sure: np.ndarray,
    white: np.ndarray,
    diameter: float,
    samples: Sequence[Box],
) -> int:
    """Count the places beside the cells of a label image, (H, W), that are stained like its sure ones."""
    across = min(PARAMETERS.cell, diameter)
    small = resample(image, across / diameter)
    labels = labels[np.ix_(*(np.arange(n) * m // n for n, m in zip(small.shape, labels.shape, strict=False)))]
    tops, width = range(0, labels.shape[0], PARAMETERS.strip), labels.shape[1]
    strips = (Box(top, 0, top + PARAMETERS.strip, width).within(labels.shape) for top in tops)
    stained = np.concatenate([plainly_like_white_cells(small, across, strip, white) for strip in strips])
    nucleus = np.median(np.bincount(labels[stained], minlength=sure.max() + 1)[sure])
    elsewhere = stained & (cv2.dilate((labels > 0).astype(np.uint8), np.ones((3, 3))) == 0)
    places, number = ndimage.label(elsewhere)
    area = np.bincount(places.ravel())[1:]
    depth = cv2.distanceTransform(elsewhere.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    radius = np.zeros(number + 1, np.float32)
    np.maximum.at(radius, places[elsewhere], depth[elsewhere])
    missed = (area >= PARAMETERS.nucleus * nucleus) & (radius[1:] >= PARAMETERS.radius * across)
    missed &= ~np.isin(np.arange(1, number + 1), places[_at_edges(samples, labels.shape, diameter, across)])
    return int(missed.sum())


def _at_edges(samples: Sequence[Box], shape: tuple[int, ...], diameter: float, across: float) -> np.ndarray:
    """Say which pixels of an image, so many across a cell, lie at the edge of a sample, or between these."""
    at_edges = np.full(shape, bool(samples))
    edge = round(PARAMETERS.edge * across)
    for box in samples:
        top, left, bottom, right = (round(end * across / diameter) for end in box)
        at_edges[top + edge : bottom - edge, left + edge : right - edge] = False
    return at_edges
