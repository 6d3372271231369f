"""The maps of the network of some regions of an image, and on from there where a cell is cut off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..box import Box, label_boxes
from .prediction import Maps, Predictor, box_windows, placed


@dataclass(frozen=True)
class RegionParameters:
    """How much around a region is predicted, in pixels at the network's canonical scale.

    Attributes
    ----------
    context : int
        Around a region, predicted with it.
    rim : int
        From the edge of a window, within which a cell may go on beyond it.
    around : int
        Around all that is predicted, so that what smooths the maps sees that there is no more.
    """

    context: int = 16
    rim: int = 8
    around: int = 8


PARAMETERS = RegionParameters()
_ALL_SIDES = np.ones((3, 3))  # pixels that meet at a corner are connected


def predict_regions(
    image: np.ndarray, shape: tuple[int, int], boxes: np.ndarray, predictor: Predictor
) -> tuple[Maps, Box]:
    """Predict regions of an image.

    Parameters
    ----------
    image : ndarray of float32, shape (h, w, 3)
        What the network takes, at its canonical scale.
    shape : tuple of int
        Of the image in whose pixels the regions are given.
    boxes : ndarray, shape (n, 4)
        The regions, ``row0, col0, row1, col1``, ends exclusive.
    predictor : Predictor

    Returns
    -------
    maps : Maps
        Of the part of the image that holds all regions.
    area : Box
        Where in the image that part lies.
    """
    return _predict(image, _windows_around(boxes, image, shape, predictor), predictor)


def predict_whole_cells(
    image: np.ndarray, shape: tuple[int, int], boxes: np.ndarray, predictor: Predictor
) -> tuple[Maps, Box, np.ndarray]:
    """Predict regions of an image, and what lies beyond where a cell is cut off.

    In a crowd a cell that was not proposed may lie half in a window that is there for another one. What
    was seen with all of its context stays as it is. See `predict_regions` for the parameters.

    Returns
    -------
    maps : Maps
    area : Box
    asked : ndarray of bool, shape of ``area``
        What was seen at first: nobody asked for a cell that has no pixel there.
    """
    windows = _windows_around(boxes, image, shape, predictor)
    maps, area = _predict(image, windows, predictor)
    size, rim, context = (image.shape[0], image.shape[1]), PARAMETERS.rim, PARAMETERS.context
    depth = window_depth(windows, area, size)
    cut_off = (maps.cell > predictor.settings.probability_threshold) & (depth <= rim)
    if not cut_off.any():
        return maps, area, depth > 0
    pieces, reach = ndimage.label(cut_off, _ALL_SIDES)[0], round(predictor.canonical_diameter)
    wider = (box.shifted(*area[:2]).grown(reach, size) for _, box in label_boxes(pieces))
    windows = _windows_over(wider, size, predictor)
    beyond, there = _predict(image, windows, predictor)
    whole = Box.around([area, there])
    first, then = (part.relative_to(whole) for part in (area, there))
    depth, deeper = placed(depth, first, whole.shape), window_depth(windows, whole, size)
    share = np.where(deeper > depth, np.clip((context - depth) / (context - rim), 0, 1), 0)
    maps = maps.placed(first, whole.shape)
    maps.mix_in(beyond, then, share[then.slices].astype(np.float32))
    return maps, whole, depth > 0


def _windows_around(
    boxes: np.ndarray, image: np.ndarray, shape: tuple[int, int], predictor: Predictor
) -> list[Box]:
    height, width = image.shape[:2]
    exact = boxes * ([height / shape[0], width / shape[1]] * 2)
    corners = np.hstack([np.floor(exact[:, :2]), np.ceil(exact[:, 2:])]).astype(int).tolist()
    grown = (Box(*box).grown(PARAMETERS.context, (height, width)) for box in corners)
    return _windows_over(grown, (height, width), predictor)


def _windows_over(boxes: Iterable[Box], size: tuple[int, int], predictor: Predictor) -> list[Box]:
    """Return the windows that cover some boxes of an image of a size, each once."""
    windows = (window for box in boxes for window in box_windows(box, size, predictor.multiple))
    return list(dict.fromkeys(windows))


def _predict(image: np.ndarray, windows: list[Box], predictor: Predictor) -> tuple[Maps, Box]:
    area = Box.around(windows).grown(PARAMETERS.around, image.shape[:2])
    within = [window.relative_to(area) for window in windows]
    flips = predictor.settings.flips
    return predictor.predict(image[area.slices], within, "Outlining cells", flips=flips), area


def window_depth(windows: Sequence[Box], area: Box, size: tuple[int, int]) -> np.ndarray:
    """Return how deep in one of some windows each pixel of an area lies, float32, in an image of a size.

    In pixels from the edge of the window, where that is not the image's own; `context` at most.
    """
    depth, most = np.zeros(area.shape, np.float32), PARAMETERS.context
    for window in windows:
        inside = window.common(area)
        along = []
        for axis in (0, 1):
            start = window[axis] if window[axis] > 0 else -most
            stop = window[axis + 2] if window[axis + 2] < size[axis] else size[axis] + most
            place = np.arange(inside[axis], inside[axis + 2])
            along.append(np.minimum(np.minimum(place - start + 1, stop - place), most))
        part = depth[inside.relative_to(area).slices]
        np.maximum(part, np.minimum.outer(*along), out=part)
    return depth
