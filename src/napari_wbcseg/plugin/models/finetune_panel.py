"""The part of the Models widget that fine-tunes a model on the training set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QLabel, QLineEdit, QProgressBar, QPushButton, QWidget

from ...datasets.corrections import corrections_folder, read_corrections
from ...errors import WBCSegError
from ...network.library import load_model, models_folder, require_writable, save_to_library
from ...network.model_file import ModelFile
from ...progress import Progress
from ...settings import TrainingSettings
from ...training.fine_tune import FineTuningPlan, plan_fine_tuning, plan_of
from ...training.folder import Unfinished, new_training_folder, read_job
from ...training.worker import TrainingProcess
from ..shared.events import events
from ..shared.jobs import Cleanup, say_error
from ..shared.model_list import ModelPicker
from ..shared.panel import Sentence, beside, button, fill, stretched, with_tip
from ..shared.training_data import training_set_in_words
from ..shared.training_run import ResumePanel, TrainingRun

if TYPE_CHECKING:
    from ...evaluation.compare import Comparison

_EMPTY = (
    "Your training set is empty. Correct some cells, then press Add to my training set in Review white "
    "blood cells."
)
Outcome = tuple[ModelFile, "Comparison"]
Begin = Callable[[Progress], tuple[FineTuningPlan, TrainingProcess]]


class FineTunePanel(QWidget):
    """Shows the training set, fine-tunes on it, and asks whether the new model is to be kept.

    Until that is answered, a fine-tuning that was interrupted can be gone on with, also after napari
    or the computer went down.

    The same from a script: set ``start_from``, call `fine_tune`, connect to ``compared``, then
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
    #: Emitted with the sentence that says what went wrong.
    failed = Signal(str)
    #: Emitted when a fine-tuning was cancelled.
    cancelled = Signal()

    def __init__(self, cleanup: Cleanup) -> None:
        super().__init__()
        #: Settings of the training; None takes those of a fine-tuning.
        self.settings: TrainingSettings | None = None
        #: What is replayed; None takes the SigTuple set where it is, and synthetic smears.
        self.original: Any = None
        self.run = TrainingRun(cleanup)
        # The plan and the process under way, or whose model the user has still to decide on.
        self._begun: list[tuple[FineTuningPlan, TrainingProcess]] = []
        self._found: tuple[ModelFile, Comparison] | None = None
        self._build()
        self.run.happened.connect(self._on_event)
        self.run.finished.connect(self._on_compared)
        self.run.failed.connect(self._fail)
        self.run.cancelled.connect(self._on_cancelled)
        self.run.changed.connect(self._update)
        events.training_set_changed.connect(self.refresh)
        self.refresh()

    # For scripts -----------------------------------------------------------------------------------------

    @property
    def start_from(self) -> str:
        """Name of the model to go on from."""
        return self._start.name

    @start_from.setter
    def start_from(self, name: str) -> None:
        self._start.name = name

    @property
    def running(self) -> bool:
        """Whether something is under way."""
        return self.run.running

    def refresh(self) -> None:
        """Read the training set again."""
        try:
            known = training_set_in_words()
            said = f"{known}, in {corrections_folder()}." if known else _EMPTY
        except WBCSegError as error:
            known, said = "", str(error)
        self._set.setText(said)
        self._any = bool(known)
        self._folder.setEnabled(self._any)
        self._update()

    def fine_tune(self) -> None:
        """Start; returns at once."""
        if self.running:
            return
        self.discard()
        name, settings, original = self._start.name, self.settings, self.original

        def prepare(progress: Progress) -> tuple[FineTuningPlan, TrainingProcess]:
            # Before the work, not after it.
            require_writable(models_folder())
            plan = plan_fine_tuning(read_corrections(), load_model(name), original, settings, progress)
            progress(0, 0, "Starting the training process")
            job = plan.job
            return plan, TrainingProcess(new_training_folder(str(job.name)), job)

        self._start_run(prepare, "Preparing the fine-tuning")

    def go_on(self, training: Unfinished) -> None:
        """Go on with a fine-tuning that was interrupted; returns at once."""
        if self.running:
            return
        self.discard()

        def prepare(progress: Progress) -> tuple[FineTuningPlan, TrainingProcess]:
            plan = plan_of(read_job(training.folder))
            return plan, TrainingProcess(training.folder)

        self._start_run(prepare, f"Going on with {training.name}")

    def stop(self) -> None:
        """End the training early and keep the best weights so far, to be compared."""
        if self.run.training:
            self._say("Stopping; the best weights are kept …")
            self.run.stop()

    def cancel(self) -> None:
        """End and leave nothing."""
        self.run.cancel()

    def keep(self) -> None:
        """Put the new model into the library."""
        from napari.utils.notifications import show_info

        if self._found is None:
            return
        try:
            saved = save_to_library(self._found[0], self._name.text().strip() or self._found[0].name)
        except WBCSegError as error:
            self._fail(str(error))
            return
        self._forget()
        self._clear_result()
        words = f"{saved.name} is kept, and in the list of models."
        self._say(words)
        show_info(words)  # the sentence may be below what is in view
        self.kept.emit(saved)
        events.models_changed.emit(saved.name)

    def discard(self) -> None:
        """Let the new model go."""
        if self._found is not None:
            self._forget()
            self._clear_result()
            self._say("The new model was not kept.")

    # Parts -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._any = False
        self.resume = ResumePanel(fine_tuning=True)
        self.resume.resumed.connect(self.go_on)
        self._set: Sentence = Sentence()
        self._folder: QPushButton = button("Folder", _show_folder, "Opens the folder of TIFF pairs.")
        self._start = ModelPicker("wbc")
        self._start.currentIndexChanged.connect(self._update)
        tip = "Goes on from the chosen model with your training set and a sample of the original data."
        self._button = button("Fine-tune", self.fine_tune, tip)
        self._stop = button("Stop, keep best", self.stop, "Ends the training early and compares.")
        self._cancel = button("Cancel", self.cancel, "Ends it and leaves nothing.")
        self._keep = button("Keep the new model", self.keep, "Adds it to your models.")
        self._discard = button("Discard it", self.discard)
        self._name = with_tip(QLineEdit(), "What the new model is called in the list of models.")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._status = Sentence()
        self._table = Sentence()
        fill(
            self,
            self.resume,
            self._set,
            beside(QLabel("Start from"), stretched(self._start), self._folder, wide=self._start),
            beside(self._button, self._stop, self._cancel),
            self._bar,
            self._status,
            self._table,
            beside(self._name, self._keep, self._discard),
        )

    def _update(self) -> None:
        ready = self._found is not None
        if self.run.training:
            plan = self._begun[0][0]
            self._set.setText("\n".join([plan.summary, *plan.notes]))
        if self.running or ready:
            self.resume.hide()
        else:
            self.resume.refresh()
        self._button.setEnabled(self._any and bool(self._start.name) and not self.running)
        self._start.setEnabled(not self.running)
        for part in (self._stop, self._cancel, self._bar):
            part.setVisible(self.running)
        self._stop.setEnabled(self.run.training and not self.run.ending)
        self._cancel.setEnabled(self.running and not self.run.ending)
        for found in (self._table, self._name, self._keep, self._discard):
            found.setVisible(ready)

    def _say(self, text: str) -> None:
        self._status.setText(text)

    # Running ---------------------------------------------------------------------------------------------

    def _start_run(self, begin: Begin, title: str) -> None:
        begun = self._begun = []

        def make_process(progress: Progress) -> TrainingProcess:
            begun.append(begin(progress))
            return begun[0][1]

        def compare(process: TrainingProcess, ended: str, progress: Progress) -> Outcome:
            plan, tuned = begun[0][0], process.model
            process.close(keep_job=True)  # until the user has decided it can be gone on with
            return plan.finish(tuned, progress)

        self._show(0, 0, title)
        self.run.start(make_process, compare, title, "Scoring both models")

    def _show(self, done: int, total: int, stage: str) -> None:
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        self._say(stage)

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            self._show(event["done"], event["total"], event["stage"])
        elif kind == "epoch":
            self._say(
                f"Epoch {event['epoch']} of {event['epochs']}: Dice {event['dice']:.3f} on what it is "
                "trained on."
            )

    def _on_compared(self, found: tuple[ModelFile, Comparison]) -> None:
        self._found = found
        model, comparison = found
        self._name.setText(model.name)
        self._table.setText(_score_table(comparison.table()))
        self._table.setToolTip(f"before: {self._begun[0][0].start.name}\nnow: {model.name}")
        self._say(comparison.verdict)
        self._update()
        self.compared.emit(comparison)

    def _clear_result(self) -> None:
        self._found = None
        self._update()

    def _on_cancelled(self) -> None:
        self._forget()
        self._say("Cancelled; no model was kept.")
        self._update()
        self.cancelled.emit()

    def _fail(self, text: str) -> None:
        self._say(text)
        self._update()
        say_error(text)
        self.failed.emit(text)

    def _forget(self) -> None:
        """Remove what is kept of a training that ended."""
        for _, process in self._begun:
            shutil.rmtree(process.folder, ignore_errors=True)
        self._begun = []


def _show_folder() -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(corrections_folder())))


def _score_table(rows: Iterable[Sequence[str]]) -> str:
    """Return as HTML what two models were scored on, the measure, and the score before and now."""
    lines, before = [], ""
    for what, *rest in [("", "", "before", "now"), *rows]:
        cells = "".join(f"<td>{escape(text)}</td>" for text in ("" if what == before else what, *rest))
        lines.append(f"<tr>{cells}</tr>")
        before = what
    return f"<table cellspacing='6'>{''.join(lines)}</table>"
