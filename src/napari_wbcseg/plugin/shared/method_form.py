"""The choice of how cells are found: a model, and the settings that go with it."""

from __future__ import annotations

from collections.abc import Iterable

from ...settings import SegmentationSettings
from .classes_editor import ClassesEditor
from .model_list import ModelPicker
from .preferences import preference, preferred_settings
from .settings_form import SettingsForm

_USUAL_DIAMETER = 63  # pixels; a start for who sets it by hand


class MethodForm(SettingsForm[SegmentationSettings]):
    """A list of models above a form of settings; the recipe is always that of the model.

    Parameters
    ----------
    top : iterable of str, optional
        See `SettingsForm`.
    """

    def __init__(self, top: Iterable[str] | None = None) -> None:
        self.models = ModelPicker(preference("model"))
        model = ("Model", self.models, "Built-in models and those you trained.")
        editors = {"classes": ClassesEditor}
        super().__init__(preferred_settings(), top, editors=editors, above=[model])
        self.diameter = self.editors["cell_diameter"]
        self.diameter.suggest(_USUAL_DIAMETER)
        self.models.currentIndexChanged.connect(self._on_model)
        self.editors["recipe"].changed.connect(self._on_recipe)
        self._on_model()

    @property
    def settings(self) -> SegmentationSettings:
        """The settings shown."""
        return SegmentationSettings(**self.values())

    def _on_model(self) -> None:
        """Take the recipe of the chosen model."""
        if self.models.recipe is not None:
            self.editors["recipe"].set(self.models.recipe)
        self._on_recipe()

    def _on_recipe(self) -> None:
        """Take a model of the chosen recipe."""
        recipe = self.editors["recipe"].value
        self.models.choose_recipe(recipe)
        self.show_recipe(recipe)
