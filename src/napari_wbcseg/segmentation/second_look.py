"""What is unsure is looked at again, by a second network and in the standard stain: fewer false cells.

And no sure cell less. Training one network on what it took for white cells makes it lose pale and crowded
ones (benchmarks/models.md). So that training made a network of its own, which says only which unsure cells
stay: the false positive reduction of computer-aided detection (Setio et al., *Medical Image Analysis* 42,
2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..box import Box, label_boxes
from ..images.pixels import resample
from .detections import TileCells
from .instances import Instances
from .looks import Look
from .prediction import Predictor, placed
from .regions import predict_regions


@dataclass(frozen=True)
class SecondLookParameters:
    """What is looked at again.

    Attributes
    ----------
    sure : float
        Certainty from which on a cell stays unasked: 99 % of those surer are right (docs/model_card.md).
    """

    sure: float = 0.9


PARAMETERS = SecondLookParameters()


def ask_second_network(instances: Instances, image: np.ndarray, predictor: Predictor) -> Instances:
    """Leave out the unsure cells that both networks together rather take for something else.

    A cell stays where the mean of its certainty and of the probability that the second network gives its
    pixels reaches the threshold of probability.

    Parameters
    ----------
    instances : Instances
        What the first network found.
    image : ndarray of float32, shape (h, w, 3)
        What the network takes, at its canonical scale.
    predictor : Predictor
        Of the first network; where its model has no second, nothing is left out.
    """
    unsure = {index for index, sure in instances.certainty.items() if sure < PARAMETERS.sure}
    second = predictor.second if unsure else None
    if second is None:
        return instances
    boxes = [box for label, box in label_boxes(instances.labels) if label in unsure]
    agreed = instances.mean_of(_cell_around(boxes, image, second))
    threshold = second.settings.probability_threshold
    return instances.without(
        [index for index in unsure if (instances.certainty[index] + agreed[index]) / 2 < threshold]
    )


def check_in_standard_stain(
    cells: TileCells, look: Look, image: np.ndarray, window: Box, predictor: Predictor
) -> TileCells:
    """Leave out the unsure cells of a tile that look like something else in the standard stain.

    By the same rule as `ask_second_network`: dense red cells of compressed pictures are none there.

    Parameters
    ----------
    cells : TileCells
    look : Look
        That found them; without a standard stain all stay.
    image : ndarray of float32, shape (H, W, 3)
        The window of the tile, what the network takes.
    window : Box
        Where that lies.
    predictor : Predictor
    """
    unsure = np.flatnonzero(cells.rows["certainty"] < PARAMETERS.sure)
    if look.standard is None or not len(unsure):
        return cells
    scaled = resample(image, predictor.canonical_diameter / look.diameter)
    boxes = [Box(*box).relative_to(window) for box in cells.rows["box"][unsure].tolist()]
    exact = np.tile(np.divide(scaled.shape[:2], image.shape[:2]), 2)
    near = [Box(*np.rint(box * exact).astype(int).tolist()) for box in boxes]
    cell = _cell_around(near, scaled, predictor.in_stain(look.standard))
    cell = cv2.resize(cell, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    threshold = predictor.settings.probability_threshold
    keep = np.ones(len(cells), bool)
    for row, box in zip(unsure, boxes, strict=True):
        agreed = cell[box.slices][cells.masks[row]].mean()
        keep[row] = (cells.rows["certainty"][row] + agreed) / 2 >= threshold
    return cells.only(keep)


def _cell_around(boxes: list[Box], image: np.ndarray, predictor: Predictor) -> np.ndarray:
    """Predict a cell's probability in and around boxes of an image at the canonical scale, 0 elsewhere."""
    shape = (image.shape[0], image.shape[1])
    maps, area = predict_regions(image, shape, np.array(boxes), predictor)
    return placed(maps.cell, area, shape)
