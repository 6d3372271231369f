"""How large a white cell is in an image nobody has said anything about.

The network tells the size of each cell it sees, as long as that is within a factor of
about two of the size it knows best. So it is shown the image at several scales, and
the sizes that what it sees there gathers at are worth a closer look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .maps import Maps, Predictor, covering_windows
from .red_cells import TYPICAL_WHITE_CELL, size_likelihood
from .resample import resample
from .windows import Window

#: Cell diameters, in image pixels, that the image is looked at for. Neighbours overlap.
LEVELS = (500.0, 200.0, 80.0, 32.0)
_OCTAVES_SEEN = 1.25
# Of the size that is likeliest beside the red cells; what lies between two levels is seen at both.
_OCTAVES_WORTH_A_LOOK = 0.75
_LEAST_CENTRE = 0.3
_BANDWIDTH = 0.2
_APART = 0.5
_MOST_MODES = 4
_WORTH_TRYING = 0.1
# Of a larger image only the windows with the most stain are looked at.
_PIXELS_A_LEVEL = 2_600_000
_WINDOW = 256


class Size(NamedTuple):
    """A size that cells may have: ``diameter`` in image pixels, ``weight`` the area seen of it, in pixels."""

    diameter: float
    weight: float


@dataclass(frozen=True)
class Sighting:
    """A cell seen at one scale: where, how large (image pixels), and how surely."""

    row: float
    col: float
    diameter: float
    score: float


def estimate_diameters(image: np.ndarray, predictor: Predictor, red_cell: float | None = None) -> list[Size]:
    """Estimate the typical diameter of the white cells of an image.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    predictor : Predictor
    red_cell : float, optional
        Diameter of the red cells, image pixels: sizes unlikely beside it count less, and the
        image is not enlarged to look for them.

    Returns
    -------
    list of Size
        From `sizes_to_try`; none if no cell is seen at any scale.
    """
    sightings: list[Sighting] = []
    for level in levels_to_look_at(red_cell, predictor.canonical_diameter):
        factor = predictor.canonical_diameter / level
        if max(image.shape[:2]) * factor < 12:
            continue
        small = resample(image, factor)
        windows = _windows_of_a_level(small, predictor.model.architecture.multiple)
        maps = predictor.predict(small, windows, "Estimating the cell size")
        sightings += sight(maps, factor, predictor.canonical_diameter)
    return sizes_to_try(sightings, red_cell)


def levels_to_look_at(red_cell: float | None, canonical: float) -> list[float]:
    """Return the `LEVELS` worth a look: all, but beside red cells of a diameter no needless enlargement.

    To look at an image enlarged costs more than all else; reduced, it costs next to nothing.
    """
    if red_cell is None:
        return list(LEVELS)
    octaves = np.abs(np.log2(np.array(LEVELS) / (TYPICAL_WHITE_CELL * red_cell)))
    likely = octaves <= max(_OCTAVES_WORTH_A_LOOK, float(octaves.min()))
    return [level for level, worth in zip(LEVELS, likely, strict=True) if worth or level >= canonical]


def _windows_of_a_level(image: np.ndarray, multiple: int) -> list[Window]:
    """Return windows over an image, of a large one those with the most stain: where cells may be."""
    shape = (image.shape[0], image.shape[1])
    if shape[0] * shape[1] <= _PIXELS_A_LEVEL:
        return covering_windows(shape, multiple)
    density = image.mean(axis=-1)

    def stain(window: Window) -> float:
        rows = slice(window.row, window.row + window.height, 4)
        cols = slice(window.col, window.col + window.width, 4)
        return float(np.percentile(density[rows, cols], 98))

    windows = sorted(covering_windows(shape, multiple, _WINDOW), key=stain, reverse=True)
    return windows[: _PIXELS_A_LEVEL // _WINDOW**2]


def sight(maps: Maps, factor: float, canonical: float) -> list[Sighting]:
    """List the cells seen in the maps of one scale, those of unfit size left out.

    Parameters
    ----------
    maps : Maps
    factor : float
        Scale of the maps over that of the image.
    canonical : float
        Canonical diameter, pixels.
    """
    from skimage.feature import peak_local_max

    peaks = peak_local_max(maps.centre, min_distance=4, threshold_abs=_LEAST_CENTRE, exclude_border=False)
    found = []
    for row, col in peaks:
        area = (slice(max(row - 1, 0), row + 2), slice(max(col - 1, 0), col + 2))
        diameter = float(np.median(maps.diameter[area]))
        octaves = np.log2(diameter / canonical)
        if abs(octaves) > _OCTAVES_SEEN:
            continue
        score = float(maps.centre[row, col] * maps.cell[area].mean()) * float(np.exp(-0.5 * octaves**2))
        if score > 0.15:
            found.append(Sighting((row + 0.5) / factor, (col + 0.5) / factor, diameter / factor, score))
    return found


def sizes_to_try(sightings: list[Sighting], red_cell: float | None = None) -> list[Size]:
    """Return the sizes that sightings gather at, those with the most behind them first.

    At a scale too fine the network takes a nucleus for a cell, at one too coarse a group
    for one, so that a place may be seen at several sizes. Which is right shows once the
    cells are outlined at each; here none is given up that has a tenth of the best's weight.

    Parameters
    ----------
    sightings : list of Sighting
        Of all scales.
    red_cell : float, optional
        Diameter of the red cells, image pixels.

    Returns
    -------
    list of Size
        At most four.
    """
    if not sightings:
        return []
    octaves = np.log2([s.diameter for s in sightings])
    # By area: platelets and lobes may outnumber the cells, but cover less.
    weights = np.array([s.score * s.diameter**2 * size_likelihood(s.diameter, red_cell) for s in sightings])
    found: list[Size] = []
    left = weights.copy()
    while left.max() > 0 and len(found) < _MOST_MODES:
        spread = np.exp(-0.5 * ((octaves[:, None] - octaves[None, :]) / _BANDWIDTH) ** 2) @ left
        near = (np.abs(octaves - octaves[np.argmax(np.where(left > 0, spread, -1))]) < _APART) & (left > 0)
        order = np.argsort(octaves[near])
        cumulated = np.cumsum(weights[near][order])
        middle = np.searchsorted(cumulated, cumulated[-1] / 2)
        found.append(Size(float(2.0 ** octaves[near][order][middle]), float(cumulated[-1])))
        left[near] = 0
    found.sort(key=lambda size: -size.weight)
    return [size for size in found if size.weight >= _WORTH_TRYING * found[0].weight]
