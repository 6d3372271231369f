"""Stain and nucleus of every cell at once: the darkest part of each, by Otsu's threshold inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .runs import Runs, pieces_of, runs_of_pixels

_BINS = 256
_FEWEST_PIXELS = 16
_LEAST_SPREAD = 1e-3  # of density; a cell of one tone has no nucleus
_LEAST_LOBE = 0.04  # of the cell's area
_GROUP = 8192  # cells whose histograms are held at once


@dataclass(frozen=True)
class Stains:
    """Stain of each label of a `Runs`, arrays of shape (n,).

    ``mean`` is the mean optical density, ``nucleus`` the nucleus' area in square pixels,
    ``lobes`` its number of parts.
    """

    mean: np.ndarray
    nucleus: np.ndarray
    lobes: np.ndarray


def pixels_of(runs: Runs, pitch: int) -> np.ndarray:
    """Return the flat index of every pixel of the runs, ascending, in an image ``pitch`` wide."""
    length = runs.length
    before = np.cumsum(length) - length
    return np.repeat(runs.row * pitch + runs.start - before, length) + np.arange(int(length.sum()))


def measure_stains(runs: Runs, density: np.ndarray) -> Stains:
    """Measure the stain inside each label.

    The nucleus is what is denser than Otsu's threshold (Otsu, 1979) of the cell's own densities,
    256 levels; its lobes are the parts that remain after a morphological opening and hold at least
    4 % of the cell.

    Parameters
    ----------
    runs : Runs
    density : ndarray of float32, shape (p,)
        Optical density of the pixels of the runs, in reading order.
    """
    count = len(runs.numbers)
    length = runs.length
    if not length.size:
        none = np.zeros(count)
        return Stains(none, none.copy(), np.zeros(count, np.int64))
    area = np.maximum(runs.total(length), 1)
    first = np.cumsum(length) - length
    mean = runs.total(np.add.reduceat(density, first, dtype=np.float64)) / area
    low, high = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
    np.minimum.at(low, runs.which, np.minimum.reduceat(density, first))
    np.maximum.at(high, runs.which, np.maximum.reduceat(density, first))

    which = np.repeat(runs.which, length)
    threshold = _otsu(density, which, low, high)
    threshold[(area < _FEWEST_PIXELS) | (high - low < _LEAST_SPREAD)] = np.inf
    dark = density > threshold[which]
    nucleus = np.bincount(which[dark], minlength=count).astype(np.float64)
    return Stains(mean, nucleus, _lobes(runs, dark, which, area))


def _otsu(values: np.ndarray, which: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return Otsu's threshold of each group of values, float32, as the middle of one of 256 bins."""
    count = len(low)
    step = np.maximum((high - low) / np.float32(_BINS), np.float32(1e-12))
    level = np.minimum((values - low[which]) / step[which], _BINS - 1).astype(np.int64)
    best = np.zeros(count, np.int64)
    for start in range(0, count, _GROUP):
        size = min(_GROUP, count - start)
        if count <= _GROUP:
            cell = which * _BINS + level
        else:
            here = (which >= start) & (which < start + size)
            cell = (which[here] - start) * _BINS + level[here]
        histogram = np.bincount(cell, minlength=size * _BINS).reshape(size, _BINS).astype(np.float64)
        best[start : start + size] = _best_split(histogram)
    return (low + (best + np.float32(0.5)) * step).astype(np.float32)


def _best_split(histogram: np.ndarray) -> np.ndarray:
    """Return for each row the bin after which the variance between both sides is largest."""
    below = np.cumsum(histogram, axis=1)[:, :-1]
    weighted = histogram * np.arange(_BINS)
    sum_below = np.cumsum(weighted, axis=1)[:, :-1]
    above = histogram.sum(axis=1, keepdims=True) - below
    sum_above = weighted.sum(axis=1, keepdims=True) - sum_below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sum_below / below - sum_above / above) ** 2
    best: np.ndarray = np.nan_to_num(between).argmax(axis=1)
    return best


def _lobes(runs: Runs, dark: np.ndarray, which: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Count the parts of each nucleus, after an opening by a cross of three pixels."""
    count = len(runs.numbers)
    top, height = int(runs.row.min()), int(runs.row.max() - runs.row.min()) + 1
    left, width = int(runs.start.min()), int(runs.stop.max() - runs.start.min())
    pitch = width + 2  # an empty pixel on every side
    moved = Runs(runs.numbers, runs.which, runs.row - top + 1, runs.start - left + 1, runs.stop - left + 1)
    at, own = pixels_of(moved, pitch)[dark], which[dark] + 1
    steps = (-pitch, -1, 1, pitch)
    canvas = np.zeros((height + 2) * pitch, np.int32)
    canvas[at] = own
    kept = np.ones(at.size, bool)
    for step in steps:
        kept &= canvas[at + step] == own
    canvas[at[~kept]] = 0
    for step in steps:
        # A nucleus pixel comes back when a neighbour of its cell was kept.
        kept |= canvas[at + step] == own
    parts = runs_of_pixels(at[kept], own[kept] - 1, pitch, runs.numbers)
    piece, cell = pieces_of(parts, corners=False)
    size = np.bincount(piece, parts.length, minlength=len(cell))
    large = size >= _LEAST_LOBE * area[cell]
    return np.bincount(cell[large], minlength=count).astype(np.int64)
