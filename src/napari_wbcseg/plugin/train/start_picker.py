"""What a training starts from: a model, or a new network of one of the recipes."""

from __future__ import annotations

from ...settings import Recipe, TrainingSettings
from ..controls.model_list import ModelPicker

_NEW = "\n"  # begins what stands in place of a model's name, which has no such sign


class StartPicker(ModelPicker):
    """Chooses the model to go on from, the built-in one at first, or a new network."""

    _others = (
        (
            f"{_NEW}robust",
            "a new network (robust)",
            "Begins from random weights. Needs hundreds of cells, and hours without a GPU.",
        ),
        (
            f"{_NEW}classic",
            "a new network (classic, exactly as published)",
            "The published network, data and settings: grey tiles of 128 pixels, 50 epochs, batches of 3.",
        ),
    )

    def __init__(self) -> None:
        super().__init__("wbc")

    @property
    def chosen(self) -> str:
        """Name of the model; empty for a new network."""
        return "" if self.name.startswith(_NEW) else self.name

    @property
    def recipe(self) -> Recipe:
        """The recipe of the model or of the new network."""
        if not self.chosen:
            return "classic" if self.name == f"{_NEW}classic" else "robust"
        return self.recipe_of(self.chosen) or "robust"

    def begin_anew(self, recipe: Recipe) -> None:
        """Choose a new network."""
        self.name = f"{_NEW}{recipe}"

    def defaults(self) -> TrainingSettings:
        """Return the settings that suit the choice.

        Going on from a model takes small steps, and keeps some images aside. A new classic
        network keeps none, as published.
        """
        return TrainingSettings.for_recipe(self.recipe, fine_tuning=bool(self.chosen))
