"""The widget *Train WBC model*."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QCheckBox, QLineEdit
from superqt.utils import signals_blocked

from ...errors import WBCSegError
from ...network.library import load_model, save_to_library
from ...network.model_file import ModelFile
from ...progress import Progress
from ...settings import TrainingSettings
from ...training.folder import TrainingJob, Unfinished, discard_training, new_training_folder
from ...training.worker import TrainingProcess
from ..controls.basic_widgets import Sentence, button, form, together
from ..controls.panel import Panel, held_by_part, scrolled_column
from ..controls.settings_form import SettingsForm
from ..controls.training_run import TrainingRun
from ..shared.events import events
from ..shared.viewer import own_viewer
from .plan import PlanPanel
from .preview import PreviewLayers
from .source import FOLDER, LAYERS, SourcePanel
from .start_picker import StartPicker

_TOP = ("epochs", "validation_fraction")


class TrainWidget(Panel):
    """Trains a network on layers, a folder, the SigTuple tiles or corrections, in a process of its own.

    The same from a script: set ``image`` and ``labels`` or ``folder``, ``start_from``,
    ``name`` and ``settings``, call `train`, and connect to ``trained``.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.
    """

    #: Emitted with the saved model (`napari_wbcseg.network.model_file.ModelFile`).
    trained = Signal(object)
    #: Emitted when a training was cancelled.
    cancelled = Signal()

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        viewer = own_viewer(napari_viewer)
        self.run = TrainingRun(self)
        self.source = SourcePanel(viewer)
        self.start = StartPicker()
        self.plan = PlanPanel(self.cleanup)
        self.resume = self.run.resume
        self.preview = PreviewLayers(viewer)
        self._build()
        self._connect()
        self._show_defaults()

    # For scripts -----------------------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The image layer to train on."""
        return self.source.image.value

    @image.setter
    def image(self, layer: Image) -> None:
        self.source.choose(LAYERS)
        self.source.image.value = layer

    @property
    def labels(self) -> Labels | None:
        """The labels layer with the cells."""
        return self.source.labels.value

    @labels.setter
    def labels(self, layer: Labels) -> None:
        self.source.choose(LAYERS)
        self.source.labels.value = layer

    @property
    def folder(self) -> str:
        """The folder or archive to train on; empty when it is something else."""
        return self.source.folder

    @folder.setter
    def folder(self, path: str | Path) -> None:
        self.source.choose(FOLDER)
        self.source.path.setText(str(path))

    @property
    def name(self) -> str:
        """Name that the model gets."""
        return self._name.text().strip() or self._name.placeholderText()

    @name.setter
    def name(self, name: str) -> None:
        self._name.setText(name)

    @property
    def start_from(self) -> str:
        """Name of the model to go on from; empty for a new network."""
        return self.start.chosen

    @start_from.setter
    def start_from(self, name: str) -> None:
        if name:
            self.start.name = name
        else:
            self.start.begin_anew(self.start.recipe)

    @property
    def settings(self) -> TrainingSettings:
        """The settings shown, of the recipe of what it starts from."""
        return TrainingSettings(**self._form.values(), recipe=self.start.recipe)

    @settings.setter
    def settings(self, settings: TrainingSettings) -> None:
        if settings.recipe != self.start.recipe:
            self.start.begin_anew(settings.recipe)
        self._show_settings(settings)

    running: bool = held_by_part("run.running", "Whether a training is under way.")

    def train(self) -> None:
        """Start training; returns at once. If the data cannot be used, `failed` is emitted."""
        if not self.running:
            self.by_hand(self._train)

    def _train(self) -> None:
        source, settings, name, start = self.source.source(), self.settings, self.name, self.start_from

        def begin(progress: Progress) -> TrainingProcess:
            data = source.path if source.path is not None else source.read(progress)
            init = load_model(start) if start else None
            progress(0, 0, "Starting the training process")
            job = TrainingJob(data, settings, name, init, source.words)
            return TrainingProcess(new_training_folder(name), job, preview=True)

        self._begin(begin, "Preparing the training images")

    def go_on(self, training: Unfinished) -> None:
        """Go on with an interrupted training; returns at once."""
        title = f"Going on with {training.name}"
        self._begin(lambda progress: TrainingProcess(training.folder, preview=True), title)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look again at what may have been painted or corrected while another tab was in front."""
        super().showEvent(event)
        if not self.folder:
            self.source.refresh()

    # Parts -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._name = QLineEdit()
        self._name.setPlaceholderText("my-stain")
        defaults = TrainingSettings.for_recipe("robust")
        self._form = SettingsForm(defaults, _TOP)
        self._show_preview = QCheckBox("Show the prediction on validation tiles as layers")
        self._show_preview.setChecked(True)
        self._problem = Sentence()
        tip = "Train in a process of its own; napari stays usable."
        self._train_button = button("Train", self.train, tip)
        # What is chosen makes way for what is going on.
        start = form(
            ("Start from", self.start, "Going on from a model needs far fewer images than a new network."),
            ("Model name", self._name, "What the new model is called in the list of models."),
        )
        settings = (self._form, self._form.more)
        self._setup = together(self.source, self.plan, start, *settings, self._show_preview)
        layout = scrolled_column(self, "Train")
        parts = (self.resume, self._setup, self._problem, self._train_button, self.message, self.run)
        for part in parts:
            layout.addWidget(part)
        layout.addStretch(1)

    def _connect(self) -> None:
        self.source.changed.connect(self._look)
        events.training_set_changed.connect(self.source.refresh)
        self.start.currentIndexChanged.connect(self._show_defaults)
        self._form.changed.connect(self._look)
        self.plan.changed.connect(self._refresh)
        self.resume.resumed.connect(self.go_on)
        self.run.changed.connect(self._refresh)
        self.run.happened.connect(self._on_event)
        self.run.finished.connect(self._on_finished)
        self.failed.connect(self._look)
        self.run.cancelled.connect(self._on_cancelled)

    def _show_defaults(self) -> None:
        """Show the settings that suit what it starts from."""
        self._show_settings(self.start.defaults())

    def _show_settings(self, settings: TrainingSettings) -> None:
        with signals_blocked(self._form):
            self._form.set_values(settings)
            self._form.show_recipe(settings.recipe)
        self._look()

    def _look(self) -> None:
        """Say what a training would learn from."""
        if self.running:
            return
        try:
            self.plan.look(self.source.source(), self.settings, bool(self.start_from))
        except WBCSegError as error:
            self.plan.clear(str(error))

    def _refresh(self) -> None:
        running = self.running
        self._problem.setText(self.plan.problem)
        self._train_button.setEnabled(not self.plan.problem)
        self._setup.setVisible(not running)
        self._train_button.setVisible(not running)

    # The training ----------------------------------------------------------------------------------------

    def _begin(self, begin: Callable[[Progress], TrainingProcess], title: str) -> None:
        if not self.running:
            self.plan.clear()
            self.preview.remove()
            self.run.start(begin, _save, title)

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "preview_tiles" and self._show_preview.isChecked():
            self.preview.show_tiles(event)
        elif kind == "preview":
            self.preview.show_prediction(event)

    def _on_finished(self, model: ModelFile) -> None:
        scores, told = model.header.scores, model.header.training
        where, key = "validation Dice", "val_dice"
        if key not in scores:
            where, key = "Dice on the training images", "training_dice"
        reached = f" {where} {scores[key]:.3f} in epoch {told['best_epoch']};" if key in scores else ""
        words = (
            f"{model.name} is ready:{reached} {told['ended']}. Segment white blood cells has it in its list."
        )
        self.say(words)
        self._look()
        events.models_changed.emit(model.name)
        self.trained.emit(model)

    def _on_cancelled(self) -> None:
        self.preview.remove()
        self.run.monitor.hide()
        self._look()
        self.cancelled.emit()


def _save(process: TrainingProcess, progress: Progress) -> ModelFile:
    """Save the model of a training under its name; in a worker thread."""
    model = save_to_library(process.model)
    # Only now: until here it could be resumed, or its model be found.
    discard_training(process.folder)
    return model
