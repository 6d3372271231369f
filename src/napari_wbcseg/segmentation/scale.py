"""How large a white cell is in an image nobody has said anything about.

The network tells the size of each white and red cell it sees, as long as that is within a
factor of about two of the size it knows best. So it is shown the image at several scales; the
sizes that white cells gather at are worth a closer look, and red cells say which of them are likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..box import Box
from ..images.pixels import brightness, resample
from ..sizes import WHITE_OVER_RED, equivalent_diameter, weighted_median
from .detections import Stain, darker_half
from .prediction import Maps, Predictor, box_windows, find_peaks

#: Cell diameters, in image pixels, that the image is looked at for. Neighbours overlap.
LEVELS = (500.0, 200.0, 80.0, 32.0)


@dataclass(frozen=True)
class ScaleParameters:
    """What the estimate of the cell size goes by; octaves are doublings of a diameter.

    Attributes
    ----------
    octaves_seen : float
        So far from the canonical size the network tells sizes.
    least_centre, least_score : float
        Least centre probability and least score of a candidate.
    peaks_apart : int
        Pixels of a map between two candidates.
    sure_candidate, usual : float
        Score of a candidate, and likelihood of its size beside red cells, that settle the scale.
    bandwidth, apart : float
        Octaves: width of the kernel that sizes are gathered with, and how far apart two sizes are.
    most_sizes : int
    worth_trying : float
        Least weight of a size over that of the best.
    white_over_red : float
        A typical white cell over a red cell, see `WHITE_OVER_RED`.
    white_octaves, white_freedom : float
        Scale around that, and degrees of freedom, of a Student's t distribution: a lymphocyte is as
        large as a red cell, a blast twice as large, and red cells may be mistaken.
    many_red_cells, exact_octaves : float
        Of so many red cells size and stain are sure, and what is as small as they are is hardly white. In
        fields of leukaemia, where pale blasts pass for red cells, up to 115 are seen.
    least_red_cells : float
        So many red cells make a reference size.
    red_octaves, red_agreeing : float
        Their sizes lie within so many octaves, for at least that share of them.
    red_exact : float
        Octaves from the canonical size within which the size of a red cell is told well.
    believed_octaves : float
        From the size of the white cells, within which that of the red cells is believed: late erythroblasts
        are a third as wide as a typical white cell, smudges taken for red cells several times wider.
    most_of_image : float
        Largest diameter of a cell over the shorter side of the image.
    most_of_field, unfit : float
        Of the width of an eyepiece's field: what is wider is hardly one cell, but a group of them, or the
        field. Under oil that field is 0.18 mm wide (field number 18), and a blast 0.02; so likely is it all
        the same, for a lone cell may be shown in a circle.
    """

    octaves_seen: float = 1.25
    least_centre: float = 0.3
    least_score: float = 0.15
    peaks_apart: int = 4
    sure_candidate: float = 0.5
    usual: float = 0.5
    bandwidth: float = 0.2
    apart: float = 0.5
    most_sizes: int = 4
    worth_trying: float = 0.1
    white_over_red: float = WHITE_OVER_RED
    white_octaves: float = 0.45
    many_red_cells: float = 200.0
    exact_octaves: float = 0.22
    white_freedom: float = 3.0
    least_red_cells: float = 4.0
    red_octaves: float = 0.35
    red_agreeing: float = 0.5
    red_exact: float = 0.3
    believed_octaves: float = 1.8
    most_of_image: float = 0.95
    most_of_field: float = 0.25
    unfit: float = 0.02


PARAMETERS = ScaleParameters()
#: Diameter of the smallest white cells that the network tells the size of, image pixels; of smaller ones of
#: real fields it sees every other one.
SMALLEST = LEVELS[-1] / 2**PARAMETERS.octaves_seen
# Of a larger image only the windows with the most stain are looked at.
_PIXELS_A_LEVEL = 2_600_000
_WINDOW = 256
# Pixels of red cells read at one level: more do not tell more.
_MOST_READ = 100_000


@dataclass(frozen=True)
class Candidate:
    """A white cell seen at one scale: where, how large (image pixels), and how surely."""

    row: float
    col: float
    diameter: float
    score: float


class RedCells(NamedTuple):
    """The red cells of an image, beside which white ones are judged.

    Attributes
    ----------
    diameter : float or None
        Reference size, image pixels; None where few are seen, or none of one size.
    stain : tuple of float or None
        Of their darker half; None without a size.
    many : bool
        Whether so many are seen that both are sure.
    """

    diameter: float | None = None
    stain: Stain | None = None
    many: bool = False


@dataclass(frozen=True)
class ScaleEstimate:
    """What the levels showed.

    Attributes
    ----------
    red : RedCells
    candidates : list of Candidate
        All white cells seen.
    round_field : float or None
        As of `Levels`.
    finer_left : bool
        Whether finer levels were left out, as a cell was surely seen.
    """

    red: RedCells
    candidates: list[Candidate]
    round_field: float | None = None
    finer_left: bool = False

    def sizes(self, candidates: list[Candidate]) -> list[float]:
        """Return the diameters that some of the candidates gather at, those with the most behind them first.

        At a scale too fine the network takes a nucleus for a cell, at one too coarse a group
        for one, so that a place may be seen at several sizes. Which is right shows once the
        cells are outlined at each; here none is given up that has a tenth of the best's weight.

        Returns
        -------
        list of float
            Image pixels; at most four.
        """
        octaves = np.log2([c.diameter for c in candidates])
        # By area: platelets and lobes may outnumber the cells, but cover less.
        red_cell, field = self.red.diameter, self.round_field
        likely = [size_likelihood(c.diameter, red_cell, round_field=field) for c in candidates]
        weights = np.array([c.score * c.diameter**2 for c in candidates]) * likely
        found: list[tuple[float, float]] = []
        left = weights.copy()
        kernel = np.exp(-0.5 * ((octaves[:, None] - octaves[None, :]) / PARAMETERS.bandwidth) ** 2)
        while left.max() > 0 and len(found) < PARAMETERS.most_sizes:
            spread = kernel @ left
            best = octaves[np.argmax(np.where(left > 0, spread, -1))]
            near = (np.abs(octaves - best) < PARAMETERS.apart) & (left > 0)
            middle = weighted_median(octaves[near], weights[near])
            found.append((float(weights[near].sum()), float(2.0**middle)))
            left[near] = 0
        least = PARAMETERS.worth_trying * max(found)[0]
        return [size for weight, size in sorted(found, key=lambda one: -one[0]) if weight >= least]

    def likelihood(self, diameter: float) -> float:
        """Return how likely it is that white cells are so large; see `size_likelihood`."""
        return size_likelihood(diameter, self.red.diameter, self.red.many, self.round_field)


class Levels:
    """An image as the network sees it at each level, which is predicted once.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    predictor : Predictor
    fields : sequence of Box, optional
        Its parts that show the slide; by default all of it.
    round_field : float, optional
        How wide it is where it shows the round field of an eyepiece.
    """

    def __init__(
        self,
        image: np.ndarray,
        predictor: Predictor,
        fields: Sequence[Box] | None = None,
        round_field: float | None = None,
    ) -> None:
        self.image, self.predictor, self.round_field = image, predictor, round_field
        self.fields = fields or [Box(0, 0, *image.shape[:2])]
        self._maps: dict[float, Maps] = {}

    def __getitem__(self, level: float) -> Maps:
        if level in self._maps:
            return self._maps[level]
        small = resample(self.image, self.predictor.canonical_diameter / level)
        windows = _windows_of_a_level(small, self.predictor.multiple)
        maps = self.predictor.predict(small, windows, "Estimating the cell size")
        if maps.cell.size <= _PIXELS_A_LEVEL:  # which is all of it
            self._maps[level] = maps
        return maps

    def showing(self, diameter: float, least: float) -> Maps | None:
        """Return the coarsest level at which cells of a diameter, in image pixels, have at least so many.

        None where that would enlarge the image, or shows but a part of it.
        """
        canonical = self.predictor.canonical_diameter
        wide = [level for level in LEVELS if level >= canonical and diameter / level * canonical >= least]
        maps = self[max(wide)] if wide else None
        return maps if maps is not None and maps.cell.size <= _PIXELS_A_LEVEL else None


def estimate_scale(levels: Levels, known: bool = False, finest: bool = False) -> ScaleEstimate:
    """Estimate the typical diameter of the white cells of an image, if not known, and of its red cells.

    Parameters
    ----------
    levels : Levels
    known : bool
    finest : bool
        Look at the finest level too, whatever was seen.
    """
    image, finer_left = levels.image, False
    candidates: list[Candidate] = []
    red = np.zeros((6, 0), np.float32)
    red_cell: float | None = None
    canonical = levels.predictor.canonical_diameter
    for level in LEVELS:
        factor = canonical / level
        if max(image.shape[:2]) * factor < 12:
            continue
        if level < canonical and (known or (not finest and _told(candidates, red_cell))):
            # To enlarge the image costs more than all else, and what it would show is known.
            finer_left = True
            break
        maps = levels[level]
        candidates += [] if known else find_candidates(maps, factor, canonical)
        red = np.concatenate([red, find_red_cells(maps, factor, canonical, image)], axis=1)
        red_cell = reference_size(red[:3])
    many = bool(red[2].sum() >= PARAMETERS.many_red_cells)
    # What is wider than the image is no cell, but part of a round field.
    candidates = [c for c in candidates if c.diameter < PARAMETERS.most_of_image * min(image.shape[:2])]
    stain = None
    if red_cell is not None:
        near = np.abs(red[0] - np.log2(red_cell)) < PARAMETERS.red_octaves
        stain = tuple(darker_half(np.compress(near, red[3:], axis=1).T).tolist())
    return ScaleEstimate(RedCells(red_cell, stain, many), candidates, levels.round_field, finer_left)


def _told(candidates: list[Candidate], red_cell: float | None) -> bool:
    """Say whether a white cell was surely seen that is as large as it should be beside the red cells."""
    return red_cell is not None and any(
        candidate.score >= PARAMETERS.sure_candidate
        and size_likelihood(candidate.diameter, red_cell) >= PARAMETERS.usual
        for candidate in candidates
    )


def _windows_of_a_level(image: np.ndarray, multiple: int) -> list[Box]:
    """Return windows over an image, of a large one those with the most stain: where cells may be."""
    shape = (image.shape[0], image.shape[1])
    if shape[0] * shape[1] <= _PIXELS_A_LEVEL:
        return box_windows((0, 0, *shape), shape, multiple)
    density = brightness(image)

    def stain(window: Box) -> float:
        return float(np.percentile(density[window.slices][::4, ::4], 98))

    windows = sorted(box_windows((0, 0, *shape), shape, multiple, _WINDOW), key=stain, reverse=True)
    return windows[: _PIXELS_A_LEVEL // _WINDOW**2]


def find_red_cells(maps: Maps, factor: float, canonical: float, image: np.ndarray) -> np.ndarray:
    """Return the sizes that red cells are seen with in the maps of one scale; see `find_candidates`.

    Returns
    -------
    ndarray of float32, shape (6, n)
        For each pixel read, the octave of the diameter in image pixels, its weight, the share of
        a cell that it is, and its colour in the image.
    """
    at = np.flatnonzero(maps.red_cell > 0.5)
    step = max(1, at.size // _MOST_READ)
    at = at[::step]
    diameter, probability = maps.diameter.ravel()[at], maps.red_cell.ravel()[at]
    place = [((one + 0.5) / factor).astype(int) for one in np.divmod(at, maps.cell.shape[1])]
    colours = image.reshape(-1, 3).take(np.ravel_multi_index(place, image.shape[:2], mode="clip"), axis=0)
    off = np.log2(diameter * PARAMETERS.white_over_red / canonical)
    # Sizes far from the canonical one are told less exactly, towards it.
    likely = np.exp(-0.5 * (off / PARAMETERS.red_exact) ** 2)
    cells = step * probability / (np.pi / 4 * diameter**2)
    seen = np.stack([np.log2(diameter / factor), cells * likely, cells, *colours.T])
    return np.compress(np.abs(off) <= PARAMETERS.octaves_seen, seen, axis=1)


def reference_size(red: np.ndarray) -> float | None:
    """Return the size that red cells of all levels gather at, in image pixels; None where few agree."""
    octaves, weights, cells = red
    agreeing = PARAMETERS.red_agreeing * weights.sum()
    while cells.sum() >= PARAMETERS.least_red_cells:
        # A histogram by area, so that what little things are taken for red cells does not count for much.
        first, step = float(octaves.min()) - 0.5, 0.05
        heights = np.bincount(((octaves - first) / step).astype(int), weights * np.exp2(2 * octaves))
        kernel = np.exp(-0.5 * (np.arange(-10, 11) * step / PARAMETERS.bandwidth) ** 2)
        middle = first + (int(np.argmax(np.convolve(np.pad(heights, (0, 10)), kernel, "same"))) + 0.5) * step
        near = np.abs(octaves - middle) < PARAMETERS.red_octaves
        if cells[near].sum() >= PARAMETERS.least_red_cells:
            enough = weights[near].sum() >= agreeing
            return float(2.0 ** weighted_median(octaves[near], weights[near])) if enough else None
        # A part of one large thing, say, which hides nothing.
        octaves, weights, cells = octaves[~near], weights[~near], cells[~near]
    return None


def find_candidates(maps: Maps, factor: float, canonical: float) -> list[Candidate]:
    """List the white cells seen in the maps of one scale, those of unfit size left out.

    Parameters
    ----------
    maps : Maps
    factor : float
        Scale of the maps over that of the image.
    canonical : float
        Canonical diameter, pixels.
    """
    found = []
    for row, col in find_peaks(maps.centre, PARAMETERS.peaks_apart, PARAMETERS.least_centre):
        area = (slice(max(row - 1, 0), row + 2), slice(max(col - 1, 0), col + 2))
        diameter = float(np.median(maps.diameter[area]))
        octaves = np.log2(diameter / canonical)
        if abs(octaves) > PARAMETERS.octaves_seen:
            continue
        score = float(maps.centre[row, col] * maps.cell[area].mean()) * float(np.exp(-0.5 * octaves**2))
        if score > PARAMETERS.least_score:
            found.append(Candidate((row + 0.5) / factor, (col + 0.5) / factor, diameter / factor, score))
    return found


def size_likelihood(
    diameter: float, red_cell: float | None, many: bool = False, round_field: float | None = None
) -> float:
    """Return how likely it is that white cells are so large; 1 at best, or where nothing is known.

    Parameters
    ----------
    diameter : float
        Of white cells, pixels.
    red_cell : float or None
        Diameter of the red cells, pixels.
    many : bool
        Whether that was measured on `ScaleParameters.many_red_cells`.
    round_field : float or None
        Width of the round field of an eyepiece, pixels.
    """
    fits = 1.0
    if round_field is not None and diameter > PARAMETERS.most_of_field * round_field:
        fits = PARAMETERS.unfit
    if red_cell is None:
        return fits
    octaves = np.log2(diameter / (PARAMETERS.white_over_red * red_cell))
    octaves /= PARAMETERS.exact_octaves if many and octaves < 0 else PARAMETERS.white_octaves
    # Student's t, its tails heavy: what is surely seen counts, also where the reference is wrong.
    return fits * float((1 + octaves**2 / PARAMETERS.white_freedom) ** (-(PARAMETERS.white_freedom + 1) / 2))


def typical_diameter(areas: np.ndarray) -> float:
    """Return the median diameter, by area: platelets, though many, do not count for much.

    Parameters
    ----------
    areas : ndarray, shape (n,)
        Of the cells, square pixels; 0 counts for nothing.

    Returns
    -------
    float
        Pixels; 0 without a cell.
    """
    return equivalent_diameter(weighted_median(areas, areas)) if areas.any() else 0.0
