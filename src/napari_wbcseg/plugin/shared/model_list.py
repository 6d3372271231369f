"""The models to choose from, and word that a new one is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox, QWidget

from .events import events
from .jobs import Job

if TYPE_CHECKING:
    from ...network.library import ModelInfo
    from ...settings import Recipe


class ModelPicker(QComboBox):
    """Chooses a model by its name; a model whose file is spoilt is shown but cannot be chosen.

    The library is read in a thread, headers only. Who asks for the choice before that is
    done waits the few milliseconds that it takes.

    Parameters
    ----------
    chosen : str
        Name of the model chosen at first.
    """

    #: What is offered besides the models: data, words and tip.
    _others: tuple[tuple[str, str, str], ...] = ()

    #: Emitted when another model is chosen, and when the library was read for the first time.
    model_changed = Signal()

    def __init__(self, chosen: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        #: What the library holds, by name.
        self.infos: dict[str, ModelInfo] = {}
        self._chosen_first = chosen
        self._read = False
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.addItem("looking for models …", "")
        self.currentIndexChanged.connect(lambda: self.model_changed.emit())
        events.models_changed.connect(self._on_models)  # bound: Qt lets go of it when this goes away
        job = Job(lambda progress: _library())
        job.succeeded.connect(self._on_read)
        job.start()

    @property
    def ready(self) -> bool:
        """Whether the library has been read."""
        return self._read

    @property
    def name(self) -> str:
        """Name of the chosen model; empty while there is none."""
        self._wait()
        return str(self.currentData() or "")

    @name.setter
    def name(self, name: str) -> None:
        self._wait()
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
        """Choose the first model of a recipe, unless the one chosen is."""
        if self.recipe == recipe:
            return
        for name in self.infos:
            if self.recipe_of(name) == recipe:
                self.name = name
                return

    def refresh(self, chosen: str = "") -> None:
        """Read the library again, keeping the choice, or choosing ``chosen`` if it is there."""
        self._show(_library(), chosen)

    def showPopup(self) -> None:
        """Open the list, with what was trained elsewhere (the shell) in the meantime."""
        self.refresh()
        super().showPopup()

    def _on_models(self, name: str) -> None:
        """Offer a new model; what is chosen stays."""
        if isalive(self):
            self.refresh()

    def _wait(self) -> None:
        if not self._read:
            self.refresh()

    def _on_read(self, infos: dict[str, ModelInfo]) -> None:
        if isalive(self) and not self._read:
            self._show(infos)

    def _show(self, infos: dict[str, ModelInfo], chosen: str = "") -> None:
        first, self._read = not self._read, True
        current = str(self.currentData() or "") or self._chosen_first
        wanted = chosen if chosen in infos else current
        if not first and list(infos) == list(self.infos) and wanted == current:
            self.infos = infos
            return
        self.infos = infos
        self.blockSignals(True)
        self.clear()
        for number, info in enumerate(infos.values()):
            self.addItem(info.name + (" (built in)" if info.built_in else ""), info.name)
            tip = info.problem or (info.header.notes or info.header.training_data if info.header else "")
            self.setItemData(number, tip, Qt.ItemDataRole.ToolTipRole)
            items = self.model()
            item = items.item(number) if isinstance(items, QStandardItemModel) else None
            if info.problem and item is not None:
                item.setEnabled(False)
        if self._others and infos:
            self.insertSeparator(self.count())
        for name, words, tip in self._others:
            self.addItem(words, name)
            self.setItemData(self.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        if not self.count():
            self.addItem("no model found", "")
        self.setCurrentIndex(max(self.findData(wanted), 0))
        self.setEnabled(bool(infos or self._others))
        self.blockSignals(False)
        if first or str(self.currentData() or "") != current:
            self.model_changed.emit()


def _library() -> dict[str, ModelInfo]:
    from ...network.library import list_models

    return {info.name: info for info in list_models(weights=False)}
