"""The robust method: any stain, any magnification, touching cells told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .found import Found
from .instances import draw_at, split_cells
from .maps import Maps, Predictor, box_windows
from .propose import propose
from .red_cells import SMALLEST_WHITE_CELL, red_cell_diameter
from .resample import enlarge, resample
from .scale import estimate_diameters

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from ..progress import Progress
    from ..settings import SegmentationSettings

_CONTEXT = 16
_DOUBT = 0.85
# In red cell diameters; white cells were 1.7 and 1.85 of them in two laboratories.
_USUAL_WHITE_CELL = 1.75
_LARGEST_WHITE_CELL = 5.0
_SAME_SIZE = (0.75, 1.35)


def find_cells(
    pixels: np.ndarray, model: ModelFile, settings: SegmentationSettings, progress: Progress
) -> Found:
    """Find the white cells of one image, without a parameter set by hand.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, 3)
        RGB, 0 to 255.
    model : ModelFile
    settings : SegmentationSettings
    progress : Progress

    Returns
    -------
    Found
    """
    from ..data.illumination import background_colour, transmittance
    from ..network.engine import create_engine
    from ..network.robust import network_input

    progress(0, 0, "Measuring the background")
    image = network_input(transmittance(pixels, background_colour(pixels)))
    predictor = Predictor(model, create_engine(model, settings.engine), settings, progress)
    shape = image.shape[:2]
    if settings.cell_diameter is not None:
        return _find_at(image, settings.cell_diameter, predictor)[0]
    candidates = estimate_diameters(image, predictor)
    if not candidates:
        return _nothing(shape, None, "No white cell was seen at any size.")
    progress(0, 0, "Measuring the red cells")
    ruler = red_cell_diameter(image)
    if ruler is not None:
        possible = [d for d in candidates if SMALLEST_WHITE_CELL < d / ruler < _LARGEST_WHITE_CELL]
        candidates = possible or [_USUAL_WHITE_CELL * ruler]
    tries = [_find_at(image, diameter, predictor) for diameter in candidates]
    # The likeliest size, unless another explains clearly more.
    found, measured = max(tries, key=lambda one: _explained(one[0]) * (1 if one is tries[0] else _DOUBT))
    low, high = _SAME_SIZE
    if measured is not None and found.cell_diameter and not low < measured / found.cell_diameter < high:
        # The estimate was off: what was found says better how large cells are.
        again, _ = _find_at(image, measured, predictor)
        if _explained(again) > _DOUBT * _explained(found):
            found = again
    return found if ruler is None else _without_small(found, SMALLEST_WHITE_CELL * ruler)


def _without_small(found: Found, diameter: float) -> Found:
    """Leave out what is smaller than a disc of a diameter, unless the image border cuts it."""
    labels = found.labels
    areas = np.bincount(labels.ravel())
    small = areas < np.pi / 4 * diameter**2
    small[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = False
    small[0] = False
    if not small.any():
        return found
    kept = np.where(small[labels], 0, labels).astype(np.int32)
    return replace(found, labels=kept)


def _explained(found: Found) -> float:
    """How much of the image is said to be cells, and how surely."""
    areas = np.bincount(found.labels.ravel())
    return float(sum(found.certainty.get(i, 0.0) ** 2 * area for i, area in enumerate(areas) if i))


def _find_at(image: np.ndarray, diameter: float, predictor: Predictor) -> tuple[Found, float | None]:
    """Find cells of about one diameter, and return also the median diameter of those found."""
    shape = image.shape[:2]
    boxes = propose(image, diameter, predictor)
    if not len(boxes):
        return _nothing(shape, diameter, ""), None
    factor = predictor.canonical_diameter / diameter
    maps = _look_closely(image, boxes, factor, predictor)
    threshold = predictor.settings.probability_threshold
    instances = split_cells(maps, predictor.canonical_diameter, threshold, predictor.settings.split_touching)
    areas = np.bincount(instances.labels.ravel())[1:]
    areas = areas[areas > 0]
    measured = float(np.median(2 * np.sqrt(areas / np.pi)) / factor) if len(areas) else None
    labels = draw_at(instances, maps, shape, threshold)
    probability = enlarge(maps.cell, shape)
    return Found(labels, probability, boxes, diameter, instances.certainty), measured


def _look_closely(image: np.ndarray, boxes: np.ndarray, factor: float, predictor: Predictor) -> Maps:
    scaled = resample(image, factor)
    height, width = scaled.shape[:2]
    exact = np.array([height / image.shape[0], width / image.shape[1]] * 2)
    windows = []
    for box in boxes * exact:
        r0, c0, r1, c1 = (
            max(int(box[0]) - _CONTEXT, 0),
            max(int(box[1]) - _CONTEXT, 0),
            min(int(np.ceil(box[2])) + _CONTEXT, height),
            min(int(np.ceil(box[3])) + _CONTEXT, width),
        )
        windows += box_windows((r0, c0, r1, c1), (height, width), predictor.model.architecture.multiple)
    windows = list(dict.fromkeys(windows))
    return predictor.predict(scaled, windows, "Outlining cells", flips=predictor.settings.flips)


def _nothing(shape: tuple[int, ...], diameter: float | None, note: str) -> Found:
    return Found(
        np.zeros(shape, np.int32),
        np.zeros(shape, np.float32),
        np.zeros((0, 4), np.int64),
        diameter,
        notes=(note,) if note else (),
    )
