"""Outlines for training pictures whose cells are only boxed, or only named: a model proposes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..datasets.pair import Outliner
from ..errors import ModelError
from ..images.illumination import normalised
from ..network.library import load_model
from ..network.model_file import ModelFile
from ..network.robust import network_input
from ..progress import silent
from ..settings import SegmentationSettings
from .looks import Look
from .prediction import Predictor, placed
from .robust import find_cells


def outliner(model: str | Path | ModelFile, flips: bool = True) -> Outliner:
    """Return a function that labels the cells of an image, given the diameter of a white cell.

    Parameters
    ----------
    model : str, Path or ModelFile
        Of the robust recipe.
    flips : bool
        Average over mirrored copies, which takes three times as long.

    Raises
    ------
    ModelError
        If the model does not exist, its file is broken, or it is of another recipe.
    """
    file = load_model(model).first  # cells are known to be there: nothing is to be doubted
    if file.header.recipe != "robust":
        raise ModelError(
            f"The model {file.name} cannot draw outlines to train on, as it is of the recipe "
            f"{file.header.recipe}: name one of the recipe robust, such as wbc."
        )
    settings = SegmentationSettings(flips=flips)
    predictor = Predictor(file, settings, silent)

    def outline(image: np.ndarray, diameter: float) -> np.ndarray:
        found = find_cells(network_input(normalised(image)), Look(diameter), predictor)
        return placed(found.labels, found.area, image.shape[:2])

    return outline
