"""The models to choose from, kept in step with the library."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from ...network.library import ModelInfo, list_models
from ...settings import Recipe
from ..shared.events import events
from .basic_widgets import add_choices


class ModelPicker(QComboBox):
    """Chooses a model by its name; a model whose file is spoilt is shown but cannot be chosen.

    ``currentIndexChanged`` is emitted when another model is chosen.

    Parameters
    ----------
    chosen : str
        Name of the model chosen at first.
    """

    #: Emitted with a sentence when the model that was chosen is gone, and another one took its place.
    replaced = Signal(str)

    #: What is offered besides the models: data, words and tip.
    _others: tuple[tuple[str, str, str], ...] = ()

    def __init__(self, chosen: str = "") -> None:
        super().__init__()
        #: What the library holds, by name.
        self.infos: dict[str, ModelInfo] = {}
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        events.models_changed.connect(self._on_models)  # bound: Qt lets go of it when this goes away
        self.refresh(chosen)

    @property
    def name(self) -> str:
        """Name of the chosen model; empty while there is none."""
        return str(self.currentData() or "")

    @name.setter
    def name(self, name: str) -> None:
        index = self.findData(name)
        if index < 0:
            raise ValueError(f"There is no model named {name!r}.")
        self.setCurrentIndex(index)

    @property
    def recipe(self) -> Recipe | None:
        """Recipe that the chosen model belongs to."""
        return self.recipe_of(self.name)

    def recipe_of(self, name: str) -> Recipe | None:
        """Return the recipe of a model in the list."""
        info = self.infos.get(name)
        return None if info is None or info.header is None else info.header.recipe

    def choose_recipe(self, recipe: str) -> None:
        """Choose the first model of a recipe, unless the one chosen is, or there is none."""
        fitting = [name for name in self.infos if self.recipe_of(name) == recipe]
        if fitting and self.name not in fitting:
            self.name = fitting[0]

    def refresh(self, chosen: str = "") -> None:
        """Read the library again, keeping the choice, or choosing ``chosen`` if it is there."""
        before = self.name
        self.infos = {info.name: info for info in list_models()}
        with signals_blocked(self):
            self.clear()
            for info in self.infos.values():
                tip = info.problem or (info.header.notes or info.header.training_data if info.header else "")
                words = f"{info.name} (built in)" if info.built_in else info.name
                add_choices(self, [(info.name, words, tip)])
                self.model().item(self.count() - 1).setEnabled(not info.problem)  # type: ignore[union-attr]
            if self._others:
                self.insertSeparator(self.count())
            add_choices(self, self._others)
            self.setCurrentIndex(max(self.findData(chosen if chosen in self.infos else before), 0))
        if self.name != before:
            self.currentIndexChanged.emit(self.currentIndex())
            if before and self.findData(before) < 0:
                self.replaced.emit(f"The model {before} is there no more: {self.name} is chosen now.")

    def showPopup(self) -> None:
        """Open the list, with what was trained elsewhere (the shell) in the meantime."""
        self.refresh()
        super().showPopup()

    def _on_models(self, name: str) -> None:
        """Offer a new model; what is chosen stays."""
        if isalive(self):
            self.refresh()
