"""The choice of what tells the classes of the cells: built in, taught by the user, or a classifier's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from ...datasets.corrections import learnt_file
from ...network.classifier import BUILT_IN
from ...settings import Setting
from ..shared.events import events
from ..shared.settings_form import FieldEditor

_ASK = "ask"


class ClassesEditor(FieldEditor):
    """Shows the setting ``classes``."""

    def __init__(self, setting: Setting) -> None:
        self._files: list[str] = []
        super().__init__(setting)
        self._last = self._value.value
        self._value.changed.connect(self._on_chosen)
        events.classes_learnt.connect(self._offer_again)

    def make_widget(self, setting: Setting) -> ComboBox:
        """Return a list of classifiers."""
        return ComboBox(choices=self._offered())

    def set(self, value: Any) -> None:
        """Show a value; the file of a classifier is offered from now on."""
        if value is not None and value not in [offered for _, offered in self._offered()]:
            self._files.append(str(value))
            self._offer_again()
        super().set(value)

    def _offered(self) -> list[tuple[str, str]]:
        learnt = str(learnt_file())
        found = [(BUILT_IN, BUILT_IN)]
        if Path(learnt).is_file() or learnt in self._files:
            found.append(("as you taught", learnt))
        found += [(Path(file).name, file) for file in self._files if file != learnt]
        return [*found, ("a file …", _ASK)]

    def _offer_again(self) -> None:
        offered = self._value
        assert isinstance(offered, ComboBox)
        chosen = offered.value
        with offered.changed.blocked():
            offered.choices = ()  # magicgui leaves what was there before in its old order
            offered.choices = self._offered()
            if chosen in offered.choices:
                offered.value = chosen
        if offered.value != chosen:  # what was taught is forgotten
            offered.changed.emit(offered.value)

    def _on_chosen(self, value: Any) -> None:
        if value == _ASK:
            QTimer.singleShot(0, self._ask)  # the list is still open
        else:
            self._last = value

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a classifier", "", "Classifiers (*.safetensors)")
        self.set(name or self._last)
