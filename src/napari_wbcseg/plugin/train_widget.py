"""The widget *Train WBC model*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ..settings import TrainingSettings
from .activity import ActivityBar
from .device_query import Device, query_device
from .jobs import Job, clean_up_with, say_error
from .layer_picker import LayerPicker
from .layers import own_viewer, role_of
from .model_list import model_events
from .panel import folded, scrolled_column, sentence, stretched, with_tip
from .settings_form import SettingsForm
from .training_data import check_pair, make_pairs, pair_source

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

    from ..network.model_file import ModelFile
    from ..network.worker import TrainingProcess
    from ..progress import Progress
    from .loss_curve import LossCurve

_TOP = ("recipe", "epochs", "batch_size", "learning_rate")
_POLL = 100  # milliseconds
_GRACE = 0.8  # seconds that a cancelled process has before it is killed


class TrainWidget(QWidget):
    """Trains a network on layers or a folder, in a process of its own.

    The same from a script: set ``image`` and ``labels`` or ``folder``, ``name`` and
    ``settings``, call `train`, and connect to ``trained``.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.
    """

    #: Emitted with the saved model (`napari_wbcseg.network.model_file.ModelFile`).
    trained = Signal(object)
    #: Emitted with the sentence that says what went wrong.
    failed = Signal(str)
    #: Emitted when a training was cancelled.
    cancelled = Signal()

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = own_viewer(napari_viewer)
        self._process: TrainingProcess | None = None
        self._job: Job | None = None
        self._bar_in_dock: ActivityBar | None = None
        self._history: list[dict[str, Any]] = []
        self._curve: LossCurve | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL)
        self._timer.timeout.connect(self._poll)
        self._build()
        self._cleanup = clean_up_with(self)
        self._on_recipe()
        self._ask_device()

    # For scripts -----------------------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The image layer to train on."""
        return self._image.layer

    @image.setter
    def image(self, layer: Image) -> None:
        self._source.setCurrentIndex(0)
        self._image.layer = layer

    @property
    def labels(self) -> Labels | None:
        """The labels layer with the cells."""
        return self._labels.layer

    @labels.setter
    def labels(self, layer: Labels) -> None:
        self._source.setCurrentIndex(0)
        self._labels.layer = layer

    @property
    def folder(self) -> str:
        """The folder or archive to train on; empty when it is layers."""
        return self._folder.text().strip() if self._source.currentIndex() == 1 else ""

    @folder.setter
    def folder(self, path: str | Path) -> None:
        self._source.setCurrentIndex(1)
        self._folder.setText(str(path))

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
        return str(self._init.currentData() or "")

    @start_from.setter
    def start_from(self, name: str) -> None:
        index = self._init.findData(name)
        if index < 0:
            raise ValueError(f"There is no model named {name!r} of this recipe.")
        self._init.setCurrentIndex(index)

    @property
    def settings(self) -> TrainingSettings:
        """The settings shown."""
        return TrainingSettings(**{**self._options.values(), **self._top.values()})

    @settings.setter
    def settings(self, settings: TrainingSettings) -> None:
        # The recipe first: choosing it brings its defaults.
        self._top.editors["recipe"].set(settings.recipe)
        self._top.set_values(settings)
        self._options.set_values(settings)

    @property
    def running(self) -> bool:
        """Whether a training is under way."""
        return self._job is not None or self._process is not None

    def train(self) -> None:
        """Start training; returns at once. If the data cannot be used, `failed` is emitted."""
        if self.running:
            return
        problem = self._check()
        if problem:
            self._fail(problem)
            return
        folder, settings, name, start_from = self.folder, self.settings, self.name, self.start_from
        image, labels = self._image.layer, self._labels.layer
        source = None if folder or image is None or labels is None else pair_source(image, labels)

        def start(progress: Progress) -> TrainingProcess:
            from ..network.models import load_model
            from ..network.worker import TrainingProcess

            data = make_pairs(source, progress) if source is not None else folder
            init = load_model(start_from) if start_from else None
            progress(0, 0, "Starting the training process")
            words = f"layers of napari ({source.name})" if source is not None else None
            return TrainingProcess(data, settings, name=name, init=init, training_data=words)

        self._history = []
        self._note.clear()
        self._show_numbers("")
        self._show(0, 0, "Preparing the training images")
        self._job = Job(start, "Preparing the training", discard=lambda process: process.close())
        self._job.succeeded.connect(self._on_started)
        self._start_job(self._job)

    def stop(self) -> None:
        """End the training early and keep the best weights so far."""
        if self._process is not None:
            self._process.stop()
            self._stop_button.setEnabled(False)
            self._status.setText("Stopping; the best weights are kept …")

    def cancel(self) -> None:
        """End the training and leave nothing."""
        if not self.running:
            return
        if self._job is not None:
            self._job.cancel()
        if self._process is not None:
            self._process.cancel(_GRACE)
        self._cancel_button.setEnabled(False)
        self._stop_button.setEnabled(False)
        self._status.setText("Cancelling …")

    # Parts -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._source = QComboBox()
        self._source.addItems(["Layers in this viewer", "Folder or .tar archive"])
        self._image = LayerPicker(self._viewer, _is_image, "no image open")
        self._labels = LayerPicker(self._viewer, _is_labels, "no labels layer")
        layers = QWidget()
        rows = QFormLayout(layers)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Image", with_tip(stretched(self._image), "The stained smear, or a stack of them."))
        rows.addRow(
            "Cells", with_tip(stretched(self._labels), "The labels layer with every white cell drawn in it.")
        )
        self._folder = QLineEdit()
        self._folder.setPlaceholderText("folder of images and masks")
        with_tip(
            self._folder,
            "A SigTuple folder or .tar; NAME.jpg with NAME-mask.jpg; or of folders images and labels.",
        )
        choose_folder, choose_file = QPushButton("Folder …"), QPushButton("Archive …")
        choose_folder.clicked.connect(self._choose_folder)
        choose_file.clicked.connect(self._choose_file)
        folder = QWidget()
        grid = QVBoxLayout(folder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self._folder)
        pair = QHBoxLayout()
        pair.addWidget(choose_folder)
        pair.addWidget(choose_file)
        grid.addLayout(pair)
        self._pages = QStackedWidget()
        self._pages.addWidget(layers)
        self._pages.addWidget(folder)

        defaults = TrainingSettings.for_recipe("robust")
        self._top = SettingsForm(defaults, _TOP)
        self._init = QComboBox()
        self._init.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._name = QLineEdit()
        self._name.setPlaceholderText("my-stain")
        self._top.insert_row(
            0, "Model name", self._name, "What the new model is called in the list of models."
        )
        self._top.insert_row(
            2,
            "Start from",
            stretched(self._init),
            "Going on from a model needs far fewer images than a new network.",
        )
        self._options = SettingsForm(defaults, leave_out=_TOP, none_texts={"steps_per_epoch": "all images"})
        self._device = sentence("Device: looking …")
        self._status = sentence()
        self._train_button = QPushButton("Train")
        self._stop_button = QPushButton("Stop, keep best")
        self._cancel_button = QPushButton("Cancel")
        with_tip(self._train_button, "Train in a process of its own; napari stays usable.")
        with_tip(self._stop_button, "End now and keep the weights of the best epoch.")
        with_tip(self._cancel_button, "End now and keep nothing.")
        self._bar = QProgressBar()
        self._numbers = sentence()
        self._note = sentence()
        self._curve_place = QVBoxLayout()

        buttons = QHBoxLayout()
        buttons.addWidget(self._train_button, 1)
        buttons.addWidget(self._stop_button)
        buttons.addWidget(self._cancel_button)
        layout = scrolled_column(self)
        layout.addWidget(with_tip(self._source, "Where the training images come from."))
        layout.addWidget(self._pages)
        layout.addWidget(self._top)
        layout.addWidget(folded("More options", self._options))
        layout.addWidget(self._device)
        layout.addLayout(buttons)
        for part in (self._status, self._bar, self._numbers):
            layout.addWidget(part)
        layout.addLayout(self._curve_place)
        layout.addWidget(self._note)
        layout.addStretch(1)

        self._source.currentIndexChanged.connect(self._on_source)
        self._image.layer_changed.connect(self._refresh)
        self._labels.layer_changed.connect(self._refresh)
        self._folder.textChanged.connect(self._refresh)
        self._train_button.clicked.connect(self.train)
        self._stop_button.clicked.connect(self.stop)
        self._cancel_button.clicked.connect(self.cancel)
        self._top.editors["recipe"].changed.connect(self._on_recipe)
        model_events.changed.connect(self._fill_init)

    def _on_source(self, index: int) -> None:
        self._pages.setCurrentIndex(index)
        self._refresh()

    def _on_recipe(self) -> None:
        """Show the defaults of the recipe, and the models of it."""
        recipe = self._top.editors["recipe"].value
        defaults = TrainingSettings.for_recipe(recipe)
        self._top.set_values(defaults)
        self._options.set_values(defaults)
        self._top.show_recipe(recipe)
        self._options.show_recipe(recipe)
        self._fill_init()
        self._refresh()

    def _fill_init(self) -> None:
        from ..network.models import list_models

        recipe, chosen = self._top.editors["recipe"].value, self.start_from
        self._init.clear()
        self._init.addItem("a new network", "")
        for info in list_models():
            if info.model is not None and info.model.header.recipe == recipe:
                self._init.addItem(info.name, info.name)
        self._init.setCurrentIndex(max(self._init.findData(chosen), 0))

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Training images", self._folder.text())
        if chosen:
            self._folder.setText(chosen)

    def _choose_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Training archive", self._folder.text(), "Archives (*.tar *.tar.gz *.tgz)"
        )
        if chosen:
            self._folder.setText(chosen)

    def _check(self) -> str:
        if self._source.currentIndex() == 0:
            return check_pair(self._image.layer, self._labels.layer)
        if not self.folder:
            return "Choose the folder or archive with the training images."
        if not Path(self.folder).exists():
            return f"There is nothing at {self.folder}. Choose a folder or archive."
        return ""

    def _refresh(self) -> None:
        running = self.running
        if not running:
            problem = self._check()
            self._status.setText(problem)
            self._train_button.setEnabled(not problem)
        else:
            self._train_button.setEnabled(False)
        self._stop_button.setVisible(running)
        self._cancel_button.setVisible(running)
        self._stop_button.setEnabled(self._process is not None)
        self._cancel_button.setEnabled(running)
        self._bar.setVisible(running)
        for label in (self._status, self._numbers, self._note):
            label.setVisible(bool(label.text()))

    # The device ------------------------------------------------------------------------------------------

    def _ask_device(self) -> None:
        job = Job(query_device)
        job.succeeded.connect(self._on_device)
        job.failed.connect(self._device.setText)
        self._cleanup.add(job.abandon)
        job.start()

    def _on_device(self, device: Device) -> None:
        self._show_device(f"{device.name}: {device.why}")

    def _show_device(self, words: str) -> None:
        self._device.setText(f"Device: {words}")

    # The training ----------------------------------------------------------------------------------------

    def _start_job(self, job: Job) -> None:
        job.failed.connect(self._fail)
        job.cancelled.connect(self._on_cancelled)
        self._cleanup.add(job.abandon)
        self._refresh()
        job.start()

    def _end_job(self) -> None:
        if self._job is not None:
            self._cleanup.remove(self._job.abandon)
        self._job = None

    def _on_started(self, process: TrainingProcess) -> None:
        self._end_job()
        self._process = process
        self._bar_in_dock = ActivityBar("Training")
        self._cleanup.add(process.close)
        self._cleanup.add(self._bar_in_dock.close)
        self._refresh()
        self._timer.start()

    def _poll(self) -> None:
        process = self._process
        if process is None or self._cleanup.done:
            self._timer.stop()
            return
        if self._bar_in_dock is not None and self._bar_in_dock.cancelled:
            self.cancel()
        for event in process.poll():
            handler = getattr(self, f"_event_{event['event']}", None)
            if handler is not None:
                handler(event)

    def _event_start(self, event: dict[str, Any]) -> None:
        self._show_device(event["device"])
        kept = event.get("validation_images")
        self._show_numbers(
            f"{event['images']} images to train on" + (f", {kept} kept aside to validate." if kept else ".")
        )

    def _event_note(self, event: dict[str, Any]) -> None:
        self._note.setText(event["text"])
        self._note.setVisible(True)

    def _event_progress(self, event: dict[str, Any]) -> None:
        if self._cancel_button.isEnabled() and self._stop_button.isEnabled():
            self._show(event["done"], event["total"], event["stage"])
        if self._bar_in_dock is not None:
            self._bar_in_dock.show(event["done"], event["total"], event["stage"])

    def _event_step(self, event: dict[str, Any]) -> None:
        self._show_numbers(_numbers(event))

    def _event_epoch(self, event: dict[str, Any]) -> None:
        self._history.append(event)
        self._show_numbers(_numbers(event))
        self._show_curve()

    def _event_result(self, event: dict[str, Any]) -> None:
        process, name = self._process, self.name
        assert process is not None
        self._timer.stop()
        self._close_dock_bar()

        def save(progress: Progress) -> tuple[ModelFile, str]:
            from ..network.models import save_to_library

            try:
                return save_to_library(process.model, name), event["ended"]
            finally:
                process.close()

        self._process = None
        self._cleanup.remove(process.close)
        self._job = Job(save)
        self._job.succeeded.connect(self._on_saved)
        self._show(0, 0, "Saving the model")
        self._start_job(self._job)
        self._cancel_button.setEnabled(False)

    def _event_error(self, event: dict[str, Any]) -> None:
        self._end_process()
        self._fail(event["text"])

    def _event_cancelled(self, event: dict[str, Any]) -> None:
        self._end_process()
        self._on_cancelled()

    def _on_saved(self, outcome: tuple[ModelFile, str]) -> None:
        model, ended = outcome
        self._end_job()
        best = max(self._history, key=lambda row: row["epoch"] if row.get("best") else 0, default={})
        dice = best.get("val_dice", best.get("dice"))
        where = "validation Dice" if "val_dice" in best else "Dice"
        reached = f" {where} {dice:.3f} in epoch {best['epoch']};" if dice is not None else ""
        self._note.setText(
            f"{model.name} is ready:{reached} {ended}. It is chosen in Segment white blood cells."
        )
        self._refresh()
        model_events.changed.emit(model.name)
        self.trained.emit(model)

    def _on_cancelled(self) -> None:
        self._end_job()
        self._note.setText("Cancelled; no model was kept.")
        self._refresh()
        self.cancelled.emit()

    def _fail(self, sentence: str) -> None:
        self._end_job()
        self._note.setText(sentence)
        self._refresh()
        say_error(sentence)
        self.failed.emit(sentence)

    def _end_process(self) -> None:
        self._timer.stop()
        self._close_dock_bar()
        process, self._process = self._process, None
        if process is not None:
            self._cleanup.remove(process.close)
            process.close()

    def _close_dock_bar(self) -> None:
        bar, self._bar_in_dock = self._bar_in_dock, None
        if bar is not None:
            self._cleanup.remove(bar.close)
            bar.close()

    def _show(self, done: int, total: int, stage: str) -> None:
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        self._status.setText(stage)
        self._status.setVisible(True)

    def _show_numbers(self, text: str) -> None:
        self._numbers.setText(text)
        self._numbers.setVisible(bool(text))

    def _show_curve(self) -> None:
        if self._curve is None:
            # matplotlib takes a moment to import and is not needed before.
            from .loss_curve import LossCurve

            self._curve = LossCurve()
            self._curve_place.addWidget(self._curve)
        self._curve.show_history(self._history)


def _is_image(layer: Layer) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image) and role_of(layer) is None


def _is_labels(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels)


def _numbers(event: dict[str, Any]) -> str:
    """Return where a training stands, in words."""
    parts = [f"Epoch {event['epoch']} of {event['epochs']}"]
    for key, words in (("loss", "loss"), ("dice", "Dice"), ("val_dice", "validation Dice")):
        if event.get(key) is not None:
            parts.append(f"{words} {event[key]:.3f}")
    parts.append(f"{event['images_per_second']:.1f} images/s")
    parts.append(f"{_duration(event['seconds_left'])} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
