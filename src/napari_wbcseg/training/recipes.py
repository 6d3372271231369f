"""The recipes, by name: each a way to prepare data and to train a network on it.

Each has the ``architecture`` that it trains from scratch, the ``canonical_diameter`` of a cell in its batches
(None where images are taken as they come), and what the ``input`` of the network is, in words, for the model
file. It says which pairs are of no use (``left_out``), how many ``tiles`` an epoch has, makes the ``batches``
and the tiles of a ``preview``, and knows the ``loss`` and the ``dice`` that users are shown.
"""

from __future__ import annotations

from ..errors import TrainingError
from ..network.model_file import ModelFile
from ..settings import Recipe, TrainingSettings
from .classic import ClassicRecipe
from .robust import RobustRecipe

RECIPES: dict[Recipe, ClassicRecipe | RobustRecipe] = {"classic": ClassicRecipe(), "robust": RobustRecipe()}


def require_recipe(model: ModelFile, settings: TrainingSettings) -> None:
    """Raise `TrainingError` if a model is of another recipe than the settings."""
    recipe = model.header.recipe
    if recipe != settings.recipe:
        raise TrainingError(
            f"The model {model.name} is of the recipe {recipe}, and the settings say {settings.recipe}: "
            f"choose a model of that recipe, or train with {recipe}."
        )
