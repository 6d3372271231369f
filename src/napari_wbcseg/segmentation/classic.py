"""The published method: threshold, regions, one window a region, predict, connected components.

Two defects of the published code are mended: where windows overlap their predictions
are blended (there the last one overwrote the others), and images smaller than a
window are padded (there they were skipped).
"""

from __future__ import annotations

import cv2
import numpy as np

from ..box import Box, label_boxes
from ..network.classic import TILE, classic_grey
from ..settings import SegmentationSettings
from .detections import Detections
from .prediction import Predictor, centred_window


def propose(grey: np.ndarray, settings: SegmentationSettings) -> np.ndarray:
    """Find dark regions.

    Parameters
    ----------
    grey : ndarray of uint8, shape (H, W)
        Levels up to ``settings.dark_cutoff`` already set to 255.
    settings : SegmentationSettings

    Returns
    -------
    ndarray of int64, shape (n, 4)
        Boxes ``row0, col0, row1, col1``, ends exclusive, of the connected regions below
        ``grey_threshold`` with at least ``min_area`` pixels.
    """
    dark = np.asarray(grey < settings.grey_threshold, np.uint8)
    _, regions = cv2.connectedComponents(dark, connectivity=8)  # five times as fast as with statistics
    large = np.bincount(regions.ravel())[1:] >= settings.min_area
    boxes = [box for (_, box), there in zip(label_boxes(regions), large, strict=True) if there]
    return np.array(boxes, np.int64).reshape(-1, 4)


def find_cells(pixels: np.ndarray, predictor: Predictor) -> Detections:
    """Find the white cells of one image with the published method.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, 3)
        RGB, 0 to 255.
    predictor : Predictor
    """
    settings = predictor.settings
    predictor.progress(0, 0, "Looking for dark regions")
    grey = classic_grey(np.rint(pixels).astype(np.uint8), settings.dark_cutoff)
    proposals = propose(grey, settings)
    windows = [centred_window((r0 + r1) / 2, (c0 + c1) / 2, grey.shape, TILE) for r0, c0, r1, c1 in proposals]
    probability = np.zeros(grey.shape, np.float32)
    if windows:
        probability = probability_in(grey, list(dict.fromkeys(windows)), predictor)
    cells = np.asarray(probability > settings.probability_threshold, np.uint8)
    count, labels = cv2.connectedComponents(cells, connectivity=8)
    small = np.flatnonzero(np.bincount(labels.ravel(), minlength=count) < settings.min_area)
    labels[np.isin(labels, small)] = 0
    return Detections(labels, probability, proposals)


def probability_in(grey: np.ndarray, windows: list[Box], predictor: Predictor) -> np.ndarray:
    """Return the probability, float32 of shape (H, W), of each pixel of some windows; 0 outside them."""
    image, flips = grey[..., None].astype(np.float32) / 255, predictor.settings.flips
    return predictor.blended(image, windows, "Predicting", fill=1.0, flips=flips)[0]
