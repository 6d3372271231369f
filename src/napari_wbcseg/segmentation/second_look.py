"""A second network looks again at what the first is unsure of: fewer false cells, and no sure cell less.

Training one network on what it took for white cells makes it lose pale and crowded ones (docs/model_card.md).
So that training made a network of its own, which says only which unsure cells stay: the false positive
reduction of computer-aided detection (Setio et al., *Medical Image Analysis* 42, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..box import label_boxes
from .instances import Instances
from .prediction import Predictor, box_windows


@dataclass(frozen=True)
class SecondLookParameters:
    """What is looked at again.

    Attributes
    ----------
    sure : float
        Certainty from which on a cell stays unasked: 99 % of those surer are right (docs/model_card.md).
    context : int
        Canonical pixels around a cell that are predicted with it, as at the first look.
    """

    sure: float = 0.9
    context: int = 16


PARAMETERS = SecondLookParameters()


def look_again(instances: Instances, image: np.ndarray, predictor: Predictor) -> Instances:
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
    shape = (image.shape[0], image.shape[1])
    windows = []
    for label, box in label_boxes(instances.labels):
        if label in unsure:
            windows += box_windows(box.grown(PARAMETERS.context, shape), shape, second.multiple)
    flips, threshold = second.settings.flips, second.settings.probability_threshold
    maps = second.predict(image, list(dict.fromkeys(windows)), "Looking again at what is unsure", flips=flips)
    agreed = instances.mean_of(maps.cell)
    return instances.without(
        [index for index in unsure if (instances.certainty[index] + agreed[index]) / 2 < threshold]
    )
