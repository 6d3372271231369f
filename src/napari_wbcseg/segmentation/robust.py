"""The robust method: any stain, any magnification, touching cells told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .filters import leave_out_small, leave_out_unlikely
from .found import Found
from .instances import draw_at, split_cells
from .maps import Maps, Predictor, box_windows
from .proposals import propose
from .resample import enlarge, resample
from .scale import PARAMETERS as SCALE
from .scale import Size, estimate_scale, size_likelihood

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from ..progress import Progress
    from ..settings import SegmentationSettings

_CONTEXT = 16
_OCTAVES_OFF = 0.6
_UNLIKELY = 0.5
# The cells found cover at most this many times the area that was seen of their size.
_MOST_FOUND = 4.0
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
    from ..images.illumination import normalised
    from ..network.engines.create import create_engine
    from ..network.robust import network_input

    progress(0, 0, "Measuring the background")
    image = network_input(normalised(pixels))
    predictor = Predictor(model, create_engine(model, settings.engine, settings.device), settings, progress)
    shape = image.shape[:2]
    if settings.cell_diameter is not None:
        return leave_out_small(find_at(image, settings.cell_diameter, predictor)[0], None)
    sizes, red_cell = (estimate := estimate_scale(image, predictor)).sizes, estimate.red_cell
    if not sizes:
        nothing = _nothing(shape, None, "No white cell was seen at any size.")
        return replace(nothing, red_cell=red_cell)
    if red_cell is not None and max(size_likelihood(size.diameter, red_cell) for size in sizes) < _UNLIKELY:
        sizes.append(Size(SCALE.white_over_red * red_cell, np.inf))

    def fitness(attempt: tuple[Found, float | None]) -> float:
        return _fitness(attempt) * size_likelihood(attempt[1] or 1.0, red_cell)

    found, measured = find_at(image, sizes[0].diameter, predictor)
    best = fitness((found, measured))
    for size in sizes[1:]:
        # What is seen so little of cannot come out fitter.
        if _MOST_FOUND * size.weight > best:
            attempt = find_at(image, size.diameter, predictor)
            score = fitness(attempt)
            if score > best:
                best, (found, measured) = score, attempt
    low, high = _SAME_SIZE
    if measured is not None and found.cell_diameter and not low < measured / found.cell_diameter < high:
        # The estimate was off: what was found says better how large cells are.
        again = find_at(image, measured, predictor)
        found, _ = max((found, measured), again, key=fitness)
    return replace(leave_out_small(found, red_cell), red_cell=red_cell)


def _fitness(attempt: tuple[Found, float | None]) -> float:
    """How much is said to be cells, how surely, and how near to the size they were looked for at."""
    found, measured = attempt
    if measured is None or not found.cell_diameter:
        return 0.0
    areas = np.bincount(found.labels.ravel())
    explained = sum(found.certainty.get(i, 0.0) ** 2 * float(area) for i, area in enumerate(areas) if i)
    octaves = np.log2(measured / found.cell_diameter) / _OCTAVES_OFF
    return explained * float(np.exp(-0.5 * octaves**2))


def find_at(image: np.ndarray, diameter: float, predictor: Predictor) -> tuple[Found, float | None]:
    """Find cells of about one diameter, and return also the median diameter of those found.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        What the network takes, at the resolution of the image.
    diameter : float
        Pixels.
    predictor : Predictor
    """
    shape = image.shape[:2]
    boxes = propose(image, diameter, predictor)
    if not len(boxes):
        return _nothing(shape, diameter, ""), None
    factor = predictor.canonical_diameter / diameter
    scaled = resample(image, factor)
    maps = _look_closely(scaled, image.shape[:2], boxes, predictor)
    threshold = predictor.settings.probability_threshold
    instances = split_cells(maps, predictor.canonical_diameter, threshold, predictor.settings.split_touching)
    instances = leave_out_unlikely(instances, maps)
    areas = np.bincount(instances.labels.ravel())[1:]
    areas = areas[areas > 0]
    measured = float(np.median(2 * np.sqrt(areas / np.pi)) / factor) if len(areas) else None
    labels = draw_at(instances, maps, shape, threshold)
    probability = enlarge(maps.cell, shape)
    return Found(labels, probability, boxes, diameter, instances.certainty, instances.erythroblast), measured


def _look_closely(
    scaled: np.ndarray, shape: tuple[int, int], boxes: np.ndarray, predictor: Predictor
) -> Maps:
    """Predict around boxes, given in the pixels of an image of one shape, in that image scaled."""
    height, width = scaled.shape[:2]
    exact = np.array([height / shape[0], width / shape[1]] * 2)
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
