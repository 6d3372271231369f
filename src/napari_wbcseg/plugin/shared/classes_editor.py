"""The choice of what tells the classes of the cells: built in, taught by the user, or a classifier's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtWidgets import QFileDialog

from ...datasets.corrections import learnt_file
from ...network.classifier import BUILT_IN_CLASSIFIER
from ...settings import Setting
from .events import events
from .layer_picker import offer
from .panel import button, there
from .settings_form import FieldEditor


class ClassesEditor(FieldEditor):
    """Shows the setting ``classes``."""

    def __init__(self, setting: Setting) -> None:
        self._files: list[str] = []
        super().__init__(setting)
        there(self.layout()).addWidget(button("a file …", self._ask, "A classifier that somebody saved."))
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
        found = [(BUILT_IN_CLASSIFIER, BUILT_IN_CLASSIFIER)]
        if Path(learnt).is_file() or learnt in self._files:
            found.append(("as you taught", learnt))
        found += [(Path(file).name, file) for file in self._files if file != learnt]
        return found

    def _offer_again(self) -> None:
        offered = self._value
        assert isinstance(offered, ComboBox)
        offer(offered, self._offered())

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a classifier", "", "Classifiers (*.safetensors)")
        if name:
            self.set(name)
