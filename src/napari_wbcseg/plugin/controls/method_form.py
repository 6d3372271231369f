"""The choice of how cells are found: a model, the settings that go with it, and what tells their classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog

from ...datasets.corrections import learnt_file
from ...network.classifier import BUILT_IN_CLASSIFIER
from ...settings import Recipe, SegmentationSettings, Setting
from ..shared.events import events
from ..shared.preferences import preference
from .basic_widgets import button, there
from .layer_picker import offer
from .model_list import ModelPicker
from .settings_form import FieldEditor, SettingsForm

_USUAL_DIAMETER = 63  # pixels; a start for who sets it by hand


class MethodForm(SettingsForm[SegmentationSettings]):
    """A list of models above a form of settings; the recipe is that of the model.

    Parameters
    ----------
    top : iterable of str, optional
        See `SettingsForm`.
    """

    def __init__(self, top: Iterable[str] | None = None) -> None:
        wanted = preference("model")
        self.models = ModelPicker(wanted)
        if wanted not in ("", self.models.name):
            show_info(
                f"The preferences name the model {wanted}, which is not there: {self.models.name} is chosen."
            )
        model = ("Model", self.models, "Built-in models and those you trained.")
        editors = {"classes": ClassesEditor}
        settings = SegmentationSettings(device=preference("device"), recipe=self._recipe)
        super().__init__(settings, top, editors, above=[model])
        self.diameter = self.editors["cell_diameter"]
        self.diameter.suggest(_USUAL_DIAMETER)
        self.models.currentIndexChanged.connect(self._on_model)
        self._on_model()

    @property
    def settings(self) -> SegmentationSettings:
        """The settings shown."""
        return SegmentationSettings(**self.values(), recipe=self._recipe)

    @property
    def _recipe(self) -> Recipe:
        return self.models.recipe or "robust"

    def set_values(self, settings: SegmentationSettings) -> None:
        """Show the values of these settings, and a model of their recipe."""
        super().set_values(settings)
        self.models.choose_recipe(settings.recipe)

    def _on_model(self) -> None:
        self.show_recipe(self._recipe)


class ClassesEditor(FieldEditor):
    """Shows the setting ``classes``: built in, taught by the user, or a classifier's file."""

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
