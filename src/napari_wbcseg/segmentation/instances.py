"""From the network's maps to one label a cell: touching cells told apart.

Each pixel of a cell points to the centre of its cell. Centres are the peaks of the
centre map; a pixel belongs to the centre nearest to where it points (the idea of
Panoptic-DeepLab, Cheng et al., CVPR 2020). The lobes of one nucleus all point to the
same centre, so they stay together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ..box import Box
from ..images.pixels import sides
from ..sizes import equivalent_diameter
from .prediction import Maps, find_peaks


@dataclass(frozen=True)
class InstanceParameters:
    """By what maps become cells: choices of this package, checked on its validation sets together.

    Attributes
    ----------
    blur : float
        Standard deviation of the Gaussian that the centre map is smoothed with, pixels of the map.
    least_centre : float
        Probability from which on a peak of the centre map is a centre (0.1 in Panoptic-DeepLab).
    peaks_apart : int
        Pixels of the map between two peaks.
    centres_apart : float
        Diameters of the smaller cell between two centres; lobes of one nucleus are nearer.
    smallest, smallest_at_border : float
        Least diameter of a cell over the canonical one.
    few : int
        Of so many centres in a region every pixel is compared with all,
    nearest : int
        of more with so many that are nearest in pixels.
    outline : float
        Logits by which the probability at the outline lies above the threshold of cells. With 0 outlines
        are 1.0 % wider than the boxes of TXL-PBC's training fields (`benchmarks/calibrate_outlines.py`).
    around : int
        Width of the ring around a cell in which its outline might lie as well, pixels of the map.
    least_certainty : float
        In [0, 1]; what is less sure is left out, platelets and red cells among it.
    """

    blur: float = 1.0
    least_centre: float = 0.25
    peaks_apart: int = 2
    centres_apart: float = 0.35
    smallest: float = 0.45
    smallest_at_border: float = 0.4
    few: int = 16
    nearest: int = 4
    outline: float = 0.62
    around: int = 4
    least_certainty: float = 0.45


PARAMETERS = InstanceParameters()
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Instances:
    """Cells at the scale of the maps.

    Attributes
    ----------
    labels : ndarray of int32, shape (h, w)
    certainty : dict of int to float
    """

    labels: np.ndarray
    certainty: dict[int, float]

    def mean_of(self, part: np.ndarray) -> np.ndarray:
        """Return the mean of a map, (h, w), over each instance, by its number; that of 0 is 0."""
        at, numbers, areas = self._pixels
        return np.asarray(np.bincount(numbers, part.take(at)) / areas)

    @cached_property
    def _pixels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where in the flat image cells are, of which instance each pixel is, and the pixels of each or 1."""
        at = np.flatnonzero(self.labels)
        numbers = self.labels.take(at)
        return at, numbers, np.maximum(np.bincount(numbers), 1)

    def within(self, mask: np.ndarray) -> Instances:
        """Return those that have a pixel in a mask, bool, (h, w)."""
        at, numbers, _ = self._pixels
        return self.without(self.certainty.keys() - set(np.unique(numbers[mask.take(at)]).tolist()))

    def sure(self) -> Instances:
        """Return those that are sure enough."""
        unsure = {index for index, sure in self.certainty.items() if sure < PARAMETERS.least_certainty}
        return self.without(unsure)

    def without(self, out: Collection[int]) -> Instances:
        """Return the others; these keep their numbers."""
        if not out:
            return self
        labels = np.where(np.isin(self.labels, list(out)), 0, self.labels).astype(np.int32)
        return Instances(labels, {index: sure for index, sure in self.certainty.items() if index not in out})


def find_centres(maps: Maps, cells: np.ndarray) -> np.ndarray:
    """Find the centres of cells.

    Parameters
    ----------
    maps : Maps
    cells : ndarray of bool, shape (h, w)
        Pixels of cells.

    Returns
    -------
    ndarray of float, shape (n, 4)
        Row, column, diameter of the cell and height of the peak; the higher first.
    """
    smooth = ndimage.gaussian_filter(maps.centre, PARAMETERS.blur)
    peaks = find_peaks(smooth, PARAMETERS.peaks_apart, PARAMETERS.least_centre)
    peaks = peaks[cells[tuple(peaks.T)]]
    at = tuple(peaks.T)
    diameters = maps.diameter[at].astype(float)
    tree = cKDTree(peaks)
    kept = np.ones(len(peaks), bool)
    for number in range(len(peaks)):
        if not kept[number]:
            continue
        reach = PARAMETERS.centres_apart * diameters[number]
        near = np.array(tree.query_ball_point(peaks[number], reach))
        near = near[near > number]
        distance = np.linalg.norm(peaks[near] - peaks[number], axis=1)
        kept[near[distance <= np.minimum(PARAMETERS.centres_apart * diameters[near], reach)]] = False
    return np.column_stack([peaks, diameters, smooth[at]])[kept]


def split_cells(maps: Maps, diameter: float, threshold: float, split: bool = True) -> Instances:
    """Turn maps into instances.

    Parameters
    ----------
    maps : Maps
    diameter : float
        Typical diameter of a cell in the maps, pixels.
    threshold : float
        Of the probability.
    split : bool
        Tell touching cells apart; otherwise each connected region is one cell.

    Returns
    -------
    Instances
        Regions much smaller than a cell are left out, unless the image border cuts them.
    """
    cells = maps.cell > threshold
    regions, _ = ndimage.label(cells)
    centres = find_centres(maps, cells) if split else np.zeros((0, 4))
    home = regions[centres[:, 0].astype(int), centres[:, 1].astype(int)]
    labels = np.zeros(cells.shape, np.int32)
    next_label = 1
    members = _grouped(centres, home, regions.max(initial=0))
    for index, window in enumerate(ndimage.find_objects(regions), 1):
        for part, spot in _parts(regions[window] == index, window, maps, members[index]):
            target = labels[spot]
            part = _tidy(part) & (target == 0)
            if _large_enough(part, spot, cells.shape, diameter):
                target[part] = next_label
                next_label += 1
    places = enumerate(ndimage.find_objects(labels), 1)
    return Instances(labels, {i: _certainty(labels, i, place, maps, threshold) for i, place in places})


def _grouped(centres: np.ndarray, home: np.ndarray, count: int) -> list[np.ndarray]:
    """List the centres of each region, 0 to ``count``."""
    order = np.argsort(home, kind="stable")
    return np.split(centres[order], np.searchsorted(home[order], np.arange(1, count + 1)))


def _parts(
    mask: np.ndarray, window: tuple[slice, ...], maps: Maps, centres: np.ndarray
) -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
    """Yield the cells of one region, each with the part of the image it lies in."""
    if len(centres) < 2:
        yield mask, window
        return
    rows, cols = np.nonzero(mask)
    corner = Box.of(window)[:2]
    points_to = np.column_stack([rows, cols]) + corner + maps.offset[window][rows, cols]
    numbers = np.zeros(mask.shape, np.int32)
    numbers[rows, cols] = 1 + _nearest(points_to, centres)
    for number, found in enumerate(ndimage.find_objects(numbers), 1):
        if found is not None:
            yield numbers[found] == number, Box.of(found).shifted(*corner).slices


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return, for each point, which centre it is nearest to, in diameters of that centre's cell.

    In large groups only the few centres nearest in pixels are compared, so that they take
    no memory by the square.
    """
    from scipy.spatial.distance import cdist

    if len(centres) <= PARAMETERS.few:
        return np.argmin(cdist(points, centres[:, :2]) / centres[:, 2], axis=1)
    distance, number = cKDTree(centres[:, :2]).query(points, PARAMETERS.nearest)
    best = np.argmin(distance / centres[number, 2], axis=1)
    return np.take_along_axis(number, best[:, None], axis=1)[:, 0]


def _tidy(part: np.ndarray) -> np.ndarray:
    """Keep the largest piece, its holes filled."""
    pieces, count = ndimage.label(part)
    if count > 1:
        part = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    outline, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(part.shape, np.uint8), outline, -1, 1, cv2.FILLED) > 0


def _large_enough(
    part: np.ndarray, window: tuple[slice, ...], shape: tuple[int, int], diameter: float
) -> bool:
    across = equivalent_diameter(part.sum())
    box = Box.of(window)
    at_border = box.top == 0, box.bottom == shape[0], box.left == 0, box.right == shape[1]
    cut = any(there and side.any() for there, side in zip(at_border, sides(part), strict=True))
    least = PARAMETERS.smallest_at_border if cut else PARAMETERS.smallest
    return bool(across >= diameter * least)


def _certainty(
    labels: np.ndarray, index: int, window: tuple[slice, ...], maps: Maps, threshold: float
) -> float:
    """How little the outline depends on the threshold, times how sure its inside is.

    What belongs to its neighbours does not count: cells in a crowd are as sure as others.
    """
    reach = PARAMETERS.around
    wide = Box.of(window).grown(reach, labels.shape).slices
    mask = labels[wide] == index
    probability = maps.cell[wide]
    near = cv2.dilate(mask.astype(np.uint8), _CROSS, iterations=reach) > 0
    around = near & (mask | (labels[wide] == 0))
    low, high = 0.5 * threshold, 1 - 0.5 * (1 - threshold)
    stable = (mask & (probability > high)).sum() / max((around & (probability > low)).sum(), 1)
    return float(np.clip(stable, 0, 1) * probability[mask].mean())


class Enlargement:
    """How a part of the maps of an image lies in the image.

    Parameters
    ----------
    area : Box
        The part, in pixels of the maps.
    small, shape : tuple of int
        (h, w) of the maps of all of the image, and (H, W) of the image.

    Attributes
    ----------
    box : Box
        The pixels of the image that the part covers.
    """

    def __init__(self, area: Box, small: tuple[int, int], shape: tuple[int, int]) -> None:
        self._corner, self._shape = area[:2], shape
        self._scale = np.divide(shape, small)
        self.box = self.place(Box(0, 0, *area.shape))

    def place(self, near: Box) -> Box:
        """Return the pixels of the image that some of the part cover."""
        near = near.shifted(*self._corner)
        top, left = np.floor(near[:2] * self._scale).astype(int).tolist()
        bottom, right = np.minimum(np.ceil(near[2:] * self._scale).astype(int), self._shape).tolist()
        return Box(top, left, bottom, right)

    def of(self, values: np.ndarray, near: Box | None = None) -> np.ndarray:
        """Return values, float32, of the part or some of it at the pixels of the image that these cover."""
        near = near or Box(0, 0, *values.shape)
        place, (row, col) = self.place(near), near.shifted(*self._corner)[:2]
        # Pixel centres: image (x + .5) / scale - .5 in the maps, from the corner of these pixels.
        down = [0, 1 / self._scale[0], (place.top + 0.5) / self._scale[0] - 0.5 - row]
        across = [1 / self._scale[1], 0, (place.left + 0.5) / self._scale[1] - 0.5 - col]
        return cv2.warpAffine(
            values,
            np.array([across, down]),
            place.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def draw_at(small: np.ndarray, cell: np.ndarray, enlarged: Enlargement, threshold: float) -> np.ndarray:
    """Draw the instances at the resolution of the image, with smooth outlines.

    Parameters
    ----------
    small : ndarray of int32, shape (h, w)
        Labels at the scale of the maps.
    cell : ndarray of float32, shape (h, w)
        Probability.
    enlarged : Enlargement
    threshold : float
        Probability from which on pixels were taken for cells.

    Returns
    -------
    ndarray of int32, shape of ``enlarged.box``
    """
    from scipy.special import expit, logit

    threshold = float(expit(logit(threshold) + PARAMETERS.outline))
    drawn = np.zeros(enlarged.box.shape, np.int32)
    best = np.full(enlarged.box.shape, threshold, np.float32)
    for index, found in enumerate(ndimage.find_objects(small), 1):
        if found is None:
            continue
        near = Box.of(found).grown(2, small.shape)
        marks, level = small[near.slices], cell[near.slices]
        mine = marks == index
        # Its own pixels above the threshold, others below, those of its neighbours far below.
        level = np.where(mine, np.maximum(level, threshold + 0.01), np.minimum(level, threshold - 0.01))
        level[~mine & (marks > 0)] = 0.0
        level = enlarged.of(level.astype(np.float32), near)
        part = enlarged.place(near).relative_to(enlarged.box).slices
        wins = level > best[part]
        drawn[part][wins] = index
        best[part][wins] = level[wins]
    return drawn
