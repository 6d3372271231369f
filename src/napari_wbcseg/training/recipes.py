"""What a recipe tells the training loop: its network, its batches, its loss."""

from __future__ import annotations

from typing import Any, Protocol

from ..datasets.pair import Pairs, TrainingPair
from ..errors import TrainingError
from ..network.architecture import UNetArchitecture
from ..network.model_file import ModelFile
from ..progress import Progress, silent
from ..settings import Recipe as RecipeName
from ..settings import TrainingSettings
from . import classic, robust
from .batches import Batches
from .preview import PreviewTiles


class Recipe(Protocol):
    """One way to prepare data and to train a network on it.

    Attributes
    ----------
    architecture : UNetArchitecture
        The network it trains from scratch.
    canonical_diameter : float or None
        Pixels across a cell in its batches; None when images are taken as they come.
    input : str
        What the network's input is, in words, for the model file.
    """

    architecture: UNetArchitecture
    canonical_diameter: float | None
    input: str

    def left_out(self, pair: TrainingPair) -> str:
        """Return why a pair is of no use to this recipe, in words; nothing when it is."""

    def tiles(self, pairs: Pairs, settings: TrainingSettings) -> int:
        """Return how many tiles an epoch of training on these pairs has."""

    def batches(
        self, pairs: Pairs, settings: TrainingSettings, training: bool, progress: Progress = silent
    ) -> Batches:
        """Return the batches to train on, or to validate on; none of the pairs may be one to leave out."""

    def preview(self, pairs: Pairs, count: int) -> PreviewTiles:
        """Return up to ``count`` tiles of these pairs, with cells, to watch the network on."""

    def loss(self, y_true: Any, y_pred: Any) -> Any:
        """Return the scalar loss of a batch, with `keras.ops`."""

    def dice(self, y_true: Any, y_pred: Any) -> Any:
        """Return the Dice coefficient of a batch, which users are shown."""


def require_recipe(model: ModelFile, settings: TrainingSettings) -> None:
    """Raise `TrainingError` if a model is of another recipe than the settings."""
    recipe = model.header.recipe
    if recipe != settings.recipe:
        raise TrainingError(
            f"The model {model.name} is of the recipe {recipe}, and the settings say {settings.recipe}: "
            f"choose a model of that recipe, or train with {recipe}."
        )


def get_recipe(name: RecipeName) -> Recipe:
    """Return a recipe; its module is imported at the first call."""
    if name == "classic":
        return classic.RECIPE

    return robust.RECIPE
