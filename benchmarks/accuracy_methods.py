"""The methods that `accuracy.py` compares: each turns an image into labels."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from napari_wbcseg.network.library import load_model
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.settings import SegmentationSettings

HELD_OUT, TRAINED, NEVER = "held out", "train", "never"


class Method:
    """What is compared."""

    name: str
    #: What the method was trained on, in words.
    training_data = ""
    #: The table of the cells of the last image, where the method makes one.
    cells: pd.DataFrame | None = None

    def choose(self, fold: int | None) -> None:
        """Take the model that did not train on a fold, where there are several."""

    def seen(self, fold: int) -> str:
        """Say whether the model in use was trained on a SigTuple fold."""
        return seen_in(self.training_data, fold)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return labels int32 (H, W) of an image uint8 (H, W, 3)."""
        raise NotImplementedError


def seen_in(training_data: str, fold: int) -> str:
    """Say whether a description of training data includes a SigTuple fold.

    Everything that names SigTuple counts as trained on it, unless it says ``without fold N``
    or ``without folds N, M``.
    """
    text = training_data.lower()
    if "sigtuple" not in text:
        return NEVER
    match = re.search(r"without folds? ((?:\d|, | and )+)", text)
    left_out = {int(digit) for digit in re.findall(r"\d", match[1])} if match else set()
    return HELD_OUT if fold in left_out else TRAINED


class ModelMethod(Method):
    """A model of this package, or several that each left out another fold."""

    def __init__(self, name: str, models: list[str]) -> None:
        self.name = name
        self.models: list[ModelFile] = [load_model(model) for model in models]
        self.choose(None)

    def choose(self, fold: int | None) -> None:
        """Take the first model that left the fold out, else the first."""
        fits = [
            model
            for model in self.models
            if fold is not None and seen_in(model.header.training_data, fold) != TRAINED
        ]
        self.model = (fits or self.models)[0]
        self.training_data = self.model.header.training_data

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Segment an image with the settings of the recipe as they come."""
        settings = SegmentationSettings(recipe=self.model.header.recipe)
        result = segment(image, self.model, settings)
        self.cells = result.cells
        return result.labels


class Baseline(Method):
    """The stain threshold with a watershed; see `baseline`."""

    name = "threshold + watershed"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Segment an image."""
        from baseline import segment_classically

        return segment_classically(image)
