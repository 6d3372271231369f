"""The outline of one cell that a segmentation missed, where a person says that one is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..box import Box
from ..errors import EditError
from ..images.illumination import normalised
from ..images.pixel_source import PixelSource
from ..images.pixels import resample
from ..network.classic import TILE, classic_grey
from ..network.robust import network_input
from ..sizes import equivalent_diameter
from .classic import probability_in
from .global_estimates import estimate
from .instances import Enlargement, draw_at, split_cells
from .prediction import Predictor, centred_window, placed
from .regions import predict_regions


@dataclass(frozen=True)
class MissedParameters:
    """Where and how a missed cell is looked for: choices of this package.

    Attributes
    ----------
    around : float
        Diameters of a cell on each side of the point that are looked at, for the light of the slide.
    closely : float
        Diameters on each side that the network sees.
    thresholds : tuple of float
        Of the probability, over that of the settings, one after the other until there is a cell.
    sizes : tuple of float
        Diameter of what is outlined over that of a cell: less is a fragment, more has run out of the cell.
    overlap : float
        Share of the outline that may belong to cells outlined before; they keep it.
    """

    around: float = 4.0
    closely: float = 1.5
    thresholds: tuple[float, ...] = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.08)
    sizes: tuple[float, float] = (0.3, 2.0)
    overlap: float = 0.5


PARAMETERS = MissedParameters()


def outline_at(
    image: PixelSource,
    labels: Any,
    point: tuple[float, float],
    diameter: float | None,
    predictor: Predictor,
    guess: float | None = None,
) -> tuple[Box, np.ndarray]:
    """Outline the cell at a point, as the network's own maps have it, however unsure it is.

    Parameters
    ----------
    image : PixelSource
        Only what lies around the point is read, and parts of it where no diameter is known.
    labels : array of int, shape (H, W)
        Cells outlined before, which keep their pixels.
    point : tuple of float
        Row and column.
    diameter : float or None
        Of a typical cell, pixels; what the image tells where it is not known.
    predictor : Predictor
    guess : float, optional
        Of cells that were drawn by hand, dabs perhaps: tried before the image is asked.

    Returns
    -------
    box : Box
    mask : ndarray of bool
        The cell within its box.

    Raises
    ------
    EditError
        If the point is not in the image, a cell is there already, or the network sees none.
    ImageError
        If the image cannot be used.
    """
    row, col = (round(value) for value in point)
    height, width = labels.shape
    if not (0 <= row < height and 0 <= col < width):
        raise EditError("Click on the image, where a cell was missed.")
    if labels[row, col] != 0:
        raise EditError("A cell is outlined there already: select it to change it.")
    for size in [diameter] if diameter else _diameters(image, guess, predictor):
        found = _outlined(image, labels, (row, col), size, predictor)
        if found is not None:
            return found
    raise EditError(
        "The network sees no cell there, however low its threshold is set: draw it with the layer's brush."
    )


def _diameters(image: PixelSource, guess: float | None, predictor: Predictor) -> Iterator[float]:
    if guess:
        yield guess
    found, _ = estimate(image, predictor.model, predictor.settings, predictor.progress)
    yield found.cell_diameter or predictor.canonical_diameter


def _outlined(
    image: PixelSource, labels: Any, point: tuple[int, int], diameter: float, predictor: Predictor
) -> tuple[Box, np.ndarray] | None:
    """Return the cell of about a diameter at a point, or None; see `outline_at`."""
    reach = max(int(PARAMETERS.around * diameter), 64)
    window = Box.square(*point, reach).within(labels.shape)
    taken = np.asarray(labels[window.slices]) != 0
    spot = (point[0] - window.top, point[1] - window.left)
    pixels = image.read(*window)
    classic = predictor.settings.recipe == "classic"
    masks = _classic(pixels, spot, predictor) if classic else _robust(pixels, spot, diameter, predictor)
    low, high = (size * diameter for size in PARAMETERS.sizes)
    for mask in masks:
        free = mask & ~taken
        if not free[spot]:
            continue
        pieces, _ = ndimage.label(free)
        mine = pieces == pieces[spot]
        across = equivalent_diameter(mask.sum())
        if low <= across <= high and mine.sum() >= (1 - PARAMETERS.overlap) * mask.sum():
            (place,) = ndimage.find_objects(mine.astype(np.uint8))
            return Box.of(place).shifted(*window[:2]), mine[place]
    return None


def _robust(
    pixels: np.ndarray, spot: tuple[int, int], diameter: float, predictor: Predictor
) -> Iterator[np.ndarray]:
    """Yield the instance at a point, ndarray of bool, at one threshold after the other."""
    settings = predictor.settings
    canonical, shape = predictor.canonical_diameter, (pixels.shape[0], pixels.shape[1])
    scaled = resample(network_input(normalised(pixels)), canonical / diameter)
    closely = int(np.ceil(PARAMETERS.closely * diameter))
    seen = Box.square(*spot, closely).within(shape)
    maps, area = predict_regions(scaled, shape, np.array([seen]), predictor)
    enlarged = Enlargement(area, (scaled.shape[0], scaled.shape[1]), shape)
    at = tuple(int(spot[axis] * scaled.shape[axis] / shape[axis]) - area[axis] for axis in (0, 1))
    for share in PARAMETERS.thresholds:
        threshold = share * settings.probability_threshold
        instances = split_cells(maps, canonical, threshold, settings.split_touching)
        number = int(instances.labels[at])
        if number:
            alone = (instances.labels == number).astype(np.int32)
            yield placed(draw_at(alone, maps.cell, enlarged, threshold) == 1, enlarged.box, shape)


def _classic(pixels: np.ndarray, spot: tuple[int, int], predictor: Predictor) -> Iterator[np.ndarray]:
    """Yield the same by the published method, which takes the window around the point."""
    settings = predictor.settings
    grey = classic_grey(np.rint(pixels).astype(np.uint8), settings.dark_cutoff)
    probability = probability_in(grey, [centred_window(*spot, grey.shape, TILE)], predictor)
    for share in PARAMETERS.thresholds:
        regions, _ = ndimage.label(probability > share * settings.probability_threshold, np.ones((3, 3)))
        if regions[spot]:
            yield regions == regions[spot]
