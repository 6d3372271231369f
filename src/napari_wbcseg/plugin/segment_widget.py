"""The widget *Segment white blood cells*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from ..settings import SegmentationSettings
from .jobs import Job, clean_up_with, say_error
from .layer_check import LayerCheck, check_layer, image_data
from .layer_picker import LayerPicker
from .layers import ResultLayers, add_segmentation, layer_arrays, own_viewer, role_of
from .model_list import ModelPicker
from .panel import folded, scrolled_column, sentence, stretched
from .preferences import preference
from .settings_form import SettingsForm

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

    from ..progress import Progress
    from ..segmentation.result import Segmentation

_TOP = ("recipe", "cell_diameter")
_USUAL_DIAMETER = 63  # pixels; a start for who sets it by hand


class SegmentWidget(QWidget):
    """Finds the white cells of an image layer and adds them as layers.

    The same from a script: set ``image``, ``model`` and ``settings``, call `run`, and
    connect to ``segmented``.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.
    """

    #: Emitted with the `Segmentation` and its `ResultLayers` once they are in the viewer.
    segmented = Signal(object, object)
    #: Emitted with the sentence that says what went wrong.
    failed = Signal(str)
    #: Emitted when a run was cancelled.
    cancelled = Signal()

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = own_viewer(napari_viewer)
        self._job: Job | None = None
        self._source: Layer | None = None
        self.segmentation: Segmentation | None = None
        self._build()
        self._cleanup = clean_up_with(self)
        self._on_model()
        self._refresh()

    # For scripts -----------------------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The image layer to segment."""
        return self._picker.layer

    @image.setter
    def image(self, layer: Image) -> None:
        self._picker.layer = layer

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._models.name

    @model.setter
    def model(self, name: str) -> None:
        self._models.name = name

    @property
    def settings(self) -> SegmentationSettings:
        """The settings shown."""
        return SegmentationSettings(**{**self._options.values(), **self._top.values()})

    @settings.setter
    def settings(self, settings: SegmentationSettings) -> None:
        self._top.set_values(settings)
        self._options.set_values(settings)

    @property
    def running(self) -> bool:
        """Whether a segmentation is under way."""
        return self._job is not None

    def run(self) -> None:
        """Start segmenting the chosen layer; returns at once.

        Does nothing while a run is under way. If the layer cannot be segmented, `failed` is emitted.
        """
        if self._job is not None:
            return
        check, layer = self._check(), self._picker.layer
        if not check.usable or layer is None:
            self._on_failed(check.words)
            return
        # The work holds what it needs and not this widget, which may be closed before it ends.
        segment, data, model, settings = self._segment, image_data(layer), self.model, self.settings

        def work(progress: Progress) -> tuple[Segmentation, Any]:
            segmentation = segment(data, model, settings, progress)
            return segmentation, layer_arrays(segmentation)

        self._source = layer
        self._job = job = Job(work, "Segmenting white cells")
        job.progressed.connect(self._on_progress)
        job.succeeded.connect(self._on_succeeded)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(self._on_cancelled)
        job.ended.connect(self._on_ended)
        self._cleanup.add(job.abandon)
        self._result.clear()
        self._details.clear()
        self._show_progress(0, 0, "Starting")
        self._refresh()
        job.start()

    def cancel(self) -> None:
        """Stop the run; the layers stay as they are."""
        if self._job is not None:
            self._job.cancel()
            self._cancel_button.setEnabled(False)
            self._status.setText("Cancelling …")

    # Parts -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        defaults = SegmentationSettings()
        self._picker = LayerPicker(self._viewer, _is_source, "no image open")
        self._models = ModelPicker(preference("model"))
        self._top = SettingsForm(defaults, _TOP, units={"cell_diameter": "px"})
        self._top.editors["cell_diameter"].suggest(_USUAL_DIAMETER)
        self._top.insert_row(0, "Image", stretched(self._picker), "The layer with the stained smear.")
        self._top.insert_row(1, "Model", stretched(self._models), "Built-in models and those you trained.")
        self._options = SettingsForm(defaults, leave_out=_TOP)
        self._status = sentence()
        self._run_button = QPushButton("Segment")
        self._run_button.setToolTip("Find, outline and count the white cells of the chosen image.")
        self._cancel_button = QPushButton("Cancel")
        self._cancel_button.setToolTip("Stop; the layers stay as they are.")
        self._bar = QProgressBar()
        self._bar.setTextVisible(True)
        self._result = sentence()
        # napari's style sheet rules over a font.
        self._result.setStyleSheet("font-size: 16pt; font-weight: bold;")
        self._details = sentence()

        buttons = QHBoxLayout()
        buttons.addWidget(self._run_button, 1)
        buttons.addWidget(self._cancel_button)
        layout = scrolled_column(self)
        layout.addWidget(self._top)
        layout.addWidget(folded("More options", self._options))
        layout.addLayout(buttons)
        for part in (self._status, self._bar, self._result, self._details):
            layout.addWidget(part)
        layout.addStretch(1)

        self._run_button.clicked.connect(self.run)
        self._cancel_button.clicked.connect(self.cancel)
        self._picker.layer_changed.connect(self._refresh)
        self._models.model_changed.connect(self._on_model)
        self._top.editors["recipe"].changed.connect(self._on_recipe)

    def _check(self) -> LayerCheck:
        check = check_layer(self._picker.layer)
        if check.usable and not self.model:
            return LayerCheck(False, "No model is installed: train one with Plugins ▸ Train WBC model.")
        return check

    @staticmethod
    def _segment(data: Any, model: str, settings: SegmentationSettings, progress: Progress) -> Segmentation:
        from ..segmentation.pipeline import segment

        return segment(data, model=model, settings=settings, progress=progress)

    def _refresh(self) -> None:
        running = self._job is not None
        if not running:
            check = self._check()
            self._status.setText(check.words)
            self._run_button.setEnabled(check.usable)
        else:
            self._run_button.setEnabled(False)
        self._cancel_button.setEnabled(running)
        self._bar.setVisible(running)
        self._status.setVisible(bool(self._status.text()))
        self._result.setVisible(bool(self._result.text()))
        self._details.setVisible(bool(self._details.text()))

    def _on_model(self) -> None:
        """Take the recipe of the chosen model."""
        recipe = self._models.recipe
        if recipe is not None:
            self._top.editors["recipe"].set(recipe)
        self._show_recipe()
        self._refresh()

    def _on_recipe(self) -> None:
        """Take a model of the chosen recipe."""
        self._models.choose_recipe(self._top.editors["recipe"].value)
        self._show_recipe()

    def _show_recipe(self) -> None:
        recipe = self._top.editors["recipe"].value
        self._top.show_recipe(recipe)
        self._options.show_recipe(recipe)

    # The run ---------------------------------------------------------------------------------------------

    def _show_progress(self, done: int, total: int, stage: str) -> None:
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        self._status.setText(stage)

    def _on_progress(self, done: int, total: int, stage: str) -> None:
        if self._job is not None and self._cancel_button.isEnabled():
            self._show_progress(done, total, stage)

    def _on_succeeded(self, outcome: tuple[Segmentation, Any]) -> None:
        segmentation, arrays = outcome
        source = self._source
        if source is None or source not in self._viewer.layers:
            self._on_failed("The image was removed while it was being segmented, so nothing was added.")
            return
        layers = add_segmentation(
            self._viewer, segmentation, source, arrays=arrays, count_on_canvas=preference("count_on_canvas")
        )
        self.segmentation = segmentation
        if segmentation.cell_diameter is not None:
            self._top.editors["cell_diameter"].suggest(round(segmentation.cell_diameter, 1))
        self._result.setText(segmentation.summary)
        self._details.setText(_details(segmentation))
        self._finish()
        self.segmented.emit(segmentation, layers)

    def _on_failed(self, sentence: str) -> None:
        self._details.setText(sentence)
        self._finish()
        say_error(sentence)
        self.failed.emit(sentence)

    def _on_cancelled(self) -> None:
        self._details.setText("Cancelled; the layers are as they were.")
        self._finish()
        self.cancelled.emit()

    def _on_ended(self) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._job is not None:
            self._cleanup.remove(self._job.abandon)
        self._job = self._source = None
        self._refresh()


def _is_source(layer: Layer) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image) and role_of(layer) is None


def _details(segmentation: Segmentation) -> str:
    sentences = []
    if segmentation.cell_diameter is not None:
        origin = "estimated from the image" if segmentation.settings.cell_diameter is None else "as set"
        sentences.append(f"Cell diameter {segmentation.cell_diameter:.0f} px, {origin}.")
    sentences += segmentation.notes
    return "\n".join(sentences)


__all__ = ["ResultLayers", "SegmentWidget"]
