"""The models to choose from, and word that a new one is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox, QWidget

if TYPE_CHECKING:
    from ..network.models import ModelInfo


class _ModelEvents(QObject):
    changed = Signal(str)


#: Emits ``changed(name)`` when a model was added to the library; every open widget listens.
model_events = _ModelEvents()


class ModelPicker(QComboBox):
    """Chooses a model by its name; a model whose file is spoilt is shown but cannot be chosen."""

    model_changed = Signal()

    def __init__(self, chosen: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._infos: dict[str, ModelInfo] = {}
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.refresh(chosen)
        self.currentIndexChanged.connect(lambda: self.model_changed.emit())
        model_events.changed.connect(self.refresh)

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
    def recipe(self) -> str | None:
        """Recipe that the chosen model belongs to."""
        return self.recipe_of(self.name)

    def recipe_of(self, name: str) -> str | None:
        """Return the recipe of a model in the list."""
        info = self._infos.get(name)
        return None if info is None or info.model is None else info.model.header.recipe

    def choose_recipe(self, recipe: str) -> None:
        """Choose the first model of a recipe, unless the one chosen is."""
        if self.recipe == recipe:
            return
        for name in self._infos:
            if self.recipe_of(name) == recipe:
                self.name = name
                return

    def refresh(self, chosen: str = "") -> None:
        """Read the library again, keeping the choice, or choosing ``chosen`` if it is there."""
        from ..network.models import list_models

        infos = {info.name: info for info in list_models()}
        wanted = chosen if chosen in infos else self.name
        if list(infos) == list(self._infos) and wanted == self.name:
            self._infos = infos
            return
        self._infos = infos
        before = self.name
        self.blockSignals(True)
        self.clear()
        for number, info in enumerate(infos.values()):
            self.addItem(info.name + (" (built in)" if info.built_in else ""), info.name)
            tip = info.problem or (
                info.model.header.notes or info.model.header.training_data if info.model else ""
            )
            self.setItemData(number, tip, Qt.ItemDataRole.ToolTipRole)
            items = self.model()
            item = items.item(number) if isinstance(items, QStandardItemModel) else None
            if info.problem and item is not None:
                item.setEnabled(False)
        if not infos:
            self.addItem("no model found", "")
        index = self.findData(wanted)
        self.setCurrentIndex(max(index, 0))
        self.setEnabled(bool(infos))
        self.blockSignals(False)
        if self.name != before:
            self.model_changed.emit()

    def showPopup(self) -> None:
        """Open the list, with what was trained elsewhere (the shell) in the meantime."""
        self.refresh()
        super().showPopup()
