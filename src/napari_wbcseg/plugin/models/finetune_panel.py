"""The part of the Models widget that fine-tunes a model on the training set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from napari.utils.notifications import show_info
from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QLabel, QLineEdit, QPushButton

from ...datasets.corrections import corrections_folder, read_corrections
from ...errors import WBCSegError
from ...evaluation.compare import Comparison
from ...network.library import load_model, models_folder, require_writable, save_to_library
from ...network.model_file import ModelFile
from ...progress import Progress
from ...settings import TrainingSettings
from ...training.fine_tune import FineTuningPlan, plan_fine_tuning, plan_of
from ...training.folder import Unfinished, discard_training, new_training_folder, read_job
from ...training.worker import TrainingProcess
from ..controls.basic_widgets import Sentence, beside, button, fill, stretched, with_tip
from ..controls.model_list import ModelPicker
from ..controls.panel import Panel
from ..controls.training_run import TrainingRun
from ..shared.events import events
from ..shared.jobs import Cleanup
from ..shared.training_data import training_set_in_words

_EMPTY = (
    "Your training set is empty. Correct some cells, then press Add to my training set in Review white "
    "blood cells."
)


class FineTunePanel(Panel):
    """Shows the training set, fine-tunes on it, and asks whether the new model is to be kept.

    Until that is answered, a fine-tuning that was interrupted can be gone on with, also after napari
    or the computer went down.

    The same from a script: set ``start.name``, call `fine_tune`, connect to ``compared``, then
    `keep` or `discard`.

    Parameters
    ----------
    cleanup : Cleanup
        Of the widget it is part of: ends the training when that goes away.
    """

    #: Emitted with the `Comparison` once the new model is scored beside the old.
    compared = Signal(object)
    #: Emitted with the saved model when the user keeps it.
    kept = Signal(object)
    #: Emitted when a fine-tuning was cancelled.
    cancelled = Signal()

    def __init__(self, cleanup: Cleanup) -> None:
        super().__init__(cleanup)
        #: Settings of the training; None takes those of a fine-tuning.
        self.settings: TrainingSettings | None = None
        #: What is replayed; None takes the SigTuple set where it is, and synthetic smears.
        self.original: Any = None
        self.run = TrainingRun(self, fine_tuning=True)
        self.resume = self.run.resume
        # Of what is under way, or whose model the user has still to decide on.
        self._plan: FineTuningPlan | None = None
        #: The new model, and where it can be gone on with until the user has decided.
        self._found: tuple[ModelFile, Path] | None = None
        self._build()
        self.run.finished.connect(self._on_compared)
        self.run.cancelled.connect(self.cancelled)
        self.run.changed.connect(self.refresh)
        events.training_set_changed.connect(self.refresh)
        self.refresh()

    # For scripts -----------------------------------------------------------------------------------------

    def refresh(self, *_: object) -> None:
        """Show how things stand, the training set read again."""
        ready = self._found is not None
        there_are_some, said = training_set_in_words()
        if self._plan is not None and (ready or self.run.training):
            said = "\n".join([self._plan.summary, *self._plan.notes])
        self._set.setText(said or _EMPTY)
        self._folder.setEnabled(there_are_some)
        if ready:  # until it is kept or not
            self.resume.hide()
        idle = not (self.run.running or ready)
        self._button.setEnabled(there_are_some and bool(self.start.name) and idle)
        self.start.setEnabled(not self.run.running)
        for found in (self._table, self._name, self._keep, self._discard):
            found.setVisible(ready)

    def fine_tune(self) -> None:
        """Start; returns at once."""
        name, settings, original = self.start.name, self.settings, self.original

        def begin(progress: Progress) -> TrainingProcess:
            # Before the work, not after it.
            require_writable(models_folder())
            plan = plan_fine_tuning(read_corrections(), load_model(name), original, settings, progress)
            progress(0, 0, "Starting the training process")
            job, self._plan = plan.job, plan
            return TrainingProcess(new_training_folder(str(job.name)), job)

        self._start(begin, "Preparing the fine-tuning")

    def go_on(self, training: Unfinished) -> None:
        """Go on with a fine-tuning that was interrupted; returns at once."""

        def begin(progress: Progress) -> TrainingProcess:
            self._plan = plan_of(read_job(training.folder))
            return TrainingProcess(training.folder)

        self._start(begin, f"Going on with {training.name}")

    def _start(self, begin: Callable[[Progress], TrainingProcess], title: str) -> None:
        if not self.run.running:
            self.discard()
            self.run.start(begin, self._compare, title)

    def keep(self) -> None:
        """Put the new model into the library."""
        if self._found is None:
            return
        model, folder = self._found
        try:
            saved = save_to_library(model, self._name.text().strip() or model.name)
        except WBCSegError as error:
            self.fail(str(error))
            return
        self._let_go(folder)
        words = f"{saved.name} is kept, and in the list of models."
        self.say(words)
        show_info(words)  # the sentence may be below what is in view
        self.kept.emit(saved)
        events.models_changed.emit(saved.name)

    def discard(self) -> None:
        """Let the new model go."""
        if self._found is not None:
            self._let_go(self._found[1])
            self.say("The new model was not kept.")

    # Parts -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.resume.resumed.connect(self.go_on)
        self._set: Sentence = Sentence()
        self._folder: QPushButton = button("Folder", _show_folder, "Opens the folder of TIFF pairs.")
        self.start = ModelPicker("wbc")
        self.start.currentIndexChanged.connect(self.refresh)
        tip = "Goes on from the chosen model with your training set and a sample of the original data."
        self._button = button("Fine-tune", self.fine_tune, tip)
        self._keep = button("Keep the new model", self.keep, "Adds it to your models.")
        self._discard = button("Discard it", self.discard)
        self._name = with_tip(QLineEdit(), "What the new model is called in the list of models.")
        self._table = Sentence()
        fill(
            self,
            self.resume,
            self._set,
            beside(QLabel("Start from"), stretched(self.start), self._folder, wide=self.start),
            self._button,
            self.run,
            self.message,
            self._table,
            beside(self._name, self._keep, self._discard),
        )

    # Running ---------------------------------------------------------------------------------------------

    def _compare(self, process: TrainingProcess, progress: Progress) -> tuple[Path, ModelFile, Comparison]:
        """Return the new model and how it compares with the one before; in a worker thread."""
        assert self._plan is not None
        return process.folder, *self._plan.finish(process.model, progress)

    def _on_compared(self, found: tuple[Path, ModelFile, Comparison]) -> None:
        folder, model, comparison = found
        assert self._plan is not None
        self._found = model, folder
        self._name.setText(model.name)
        self._table.setText(_score_table(comparison.table()))
        self._table.setToolTip(f"before: {self._plan.start.name}\nnow: {model.name}")
        self.say(comparison.verdict)
        self.refresh()
        self.compared.emit(comparison)

    def _let_go(self, folder: Path) -> None:
        """Remove what is kept of a training that ended: its model is decided on."""
        discard_training(folder)
        self._found = None
        self.resume.refresh()
        self.refresh()


def _show_folder() -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(corrections_folder())))


def _score_table(rows: Iterable[Sequence[str]]) -> str:
    """Return as HTML what two models were scored on, the measure, and the score before and now."""
    table = pd.DataFrame([("", "", "before", "now"), *rows])
    table[0] = table[0].where(table[0] != table[0].shift(), "")
    return table.to_html(header=False, index=False, border=0).replace("<table", "<table cellspacing='6'")
