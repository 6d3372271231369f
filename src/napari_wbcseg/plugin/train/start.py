"""What a training starts from: a model, or a new network of one of the recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox

from ...settings import Recipe, TrainingSettings
from ..shared.model_list import model_events

if TYPE_CHECKING:
    from ...network.model_file import ModelHeader

_DEFAULT = "wbc"
_NEW: tuple[tuple[Recipe, str, str], ...] = (
    (
        "robust",
        "a new network (robust)",
        "Begins from random weights. Needs hundreds of cells, and hours without a GPU.",
    ),
    (
        "classic",
        "a new network (classic, exactly as published)",
        "The published network, data and settings: grey tiles of 128 pixels, 50 epochs, batches of 3.",
    ),
)
#: Share of the images that is kept aside unless the user says otherwise.
VALIDATION_SHARE = 0.2


class StartPicker(QComboBox):
    """Chooses the model to go on from, the built-in one at first, or a new network."""

    #: Emitted when something else is chosen.
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._headers: dict[str, ModelHeader] = {}
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.refresh()
        # Bound methods: Qt lets go of them when this goes away.
        model_events.changed.connect(self._on_models)
        self.currentIndexChanged.connect(self._on_index)

    @property
    def chosen(self) -> str:
        """Name of the model; empty for a new network."""
        return str((self.currentData() or ("", ""))[0])

    @chosen.setter
    def chosen(self, name: str) -> None:
        if name not in self._headers:
            raise ValueError(f"There is no model named {name!r}.")
        self._choose(name, self._headers[name].recipe)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the model or of the new network."""
        recipe: Recipe = (self.currentData() or ("", "robust"))[1]
        return recipe

    def begin_anew(self, recipe: Recipe) -> None:
        """Choose a new network."""
        self._choose("", recipe)

    def defaults(self) -> TrainingSettings:
        """Return the settings that suit the choice.

        Going on from a model takes small steps, and keeps some images aside. A new classic
        network keeps none, as published.
        """
        from ...network.model_file import ModelFile
        from ...training.replay import fine_tuning_settings

        if self.chosen:
            start = ModelFile(self._headers[self.chosen], {}, "")
            return fine_tuning_settings(start, validation_fraction=VALIDATION_SHARE)
        if self.recipe == "robust":
            return TrainingSettings.for_recipe("robust", validation_fraction=VALIDATION_SHARE)
        return TrainingSettings.for_recipe("classic")

    def refresh(self) -> None:
        """Read the library again, keeping the choice."""
        from ...network.library import list_models

        before = self.currentData() or (_DEFAULT, "robust")
        models = [info for info in list_models(weights=False) if info.header is not None]
        self._headers = {info.name: info.header for info in models if info.header is not None}
        self.blockSignals(True)
        self.clear()
        built_in = {info.name for info in models if info.built_in}
        for name, header in self._headers.items():
            words = f"{name} (built-in model)" if name in built_in else f"{name} (your model)"
            self.addItem(words, (name, header.recipe))
            self.setItemData(self.count() - 1, header.notes or header.training_data, _TIP_ROLE)
        if self.count():
            self.insertSeparator(self.count())
        for recipe, words, tip in _NEW:
            self.addItem(words, ("", recipe))
            self.setItemData(self.count() - 1, tip, _TIP_ROLE)
        self.setCurrentIndex(max(self._place(*before), 0))
        self.blockSignals(False)

    def showPopup(self) -> None:
        """Open the list, with what was trained elsewhere in the meantime."""
        self.refresh()
        super().showPopup()

    def _on_models(self, name: str) -> None:
        if isalive(self):
            self.refresh()

    def _on_index(self, index: int) -> None:
        self.changed.emit()

    def _choose(self, name: str, recipe: Recipe) -> None:
        self.setCurrentIndex(self._place(name, recipe))

    def _place(self, name: str, recipe: str) -> int:
        # findData compares tuples by identity in some bindings.
        places = (i for i in range(self.count()) if self.itemData(i) == (name, recipe))
        return next(places, -1)


_TIP_ROLE = Qt.ItemDataRole.ToolTipRole
