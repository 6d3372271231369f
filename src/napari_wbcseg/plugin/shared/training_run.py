"""One training in a process of its own, followed from the window, and one that was interrupted, offered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ...errors import Cancelled, TrainingError
from ...progress import Progress
from ...training.folder import Unfinished, discard_training, unfinished_trainings
from ...training.worker import TrainingProcess
from ...words import counted, moment
from .jobs import Cleanup, Job
from .panel import Offer, beside, button, fill, together
from .training_monitor import TrainMonitor

_EVERY = 1.0  # seconds between two looks at a process: napari repaints its window after each
#: Events of which only the last counts.
_STATES = ("progress", "step", "preview")

#: What is made of a process that has come to its end, given why it did; called in a worker thread.
Finish = Callable[[TrainingProcess, str, Progress], Any]


class TrainingRun(QWidget):
    """Prepares and follows a training process, makes something of its model, and has buttons to end it.

    Exactly one of ``finished``, ``failed`` and ``cancelled`` is emitted for each `start`.

    Parameters
    ----------
    cleanup : Cleanup
        Of the widget it is part of: it ends the process when that goes away.
    """

    #: Emitted with each event of `napari_wbcseg.training.worker.TrainingProcess`, after it was shown.
    happened = Signal(dict)
    #: Emitted with what was made of the model.
    finished = Signal(object)
    #: Emitted with the sentence that says what went wrong.
    failed = Signal(str)
    cancelled = Signal()
    #: Emitted when `running`, `training` or `paused` changed.
    changed = Signal()

    def __init__(self, cleanup: Cleanup) -> None:
        super().__init__()
        self.process: TrainingProcess | None = None
        self.paused = False
        #: Whether it was asked to end.
        self.ending = False
        self._job: Job | None = None
        self._cleanup = cleanup
        tip = "Hold the training, to have the computer for something else."
        self.pause_button = button("Pause", self.pause_or_go_on, tip)
        tip = "End now and keep the weights of the best epoch."
        self.stop_button = button("Stop, keep best", self.stop, tip)
        self.cancel_button = button("Cancel", self.cancel, "End now and keep nothing.")
        self._buttons = together(beside(self.pause_button, self.stop_button, self.cancel_button))
        self.monitor = TrainMonitor()
        for part in (self._buttons, self.monitor):
            part.hide()
        fill(self, self._buttons, self.monitor)

    @property
    def running(self) -> bool:
        """Whether a training is prepared, under way, or something is made of its model."""
        return self._job is not None

    @property
    def training(self) -> bool:
        """Whether there is a process that can be paused and stopped."""
        return self.process is not None

    def start(self, begin: Callable[[Progress], TrainingProcess], finish: Finish, title: str) -> None:
        """Start; ``begin`` and ``finish`` are called in a worker thread, the first under this title."""
        self.ending = self.paused = False
        job = self._job = Job(lambda progress: self._train(job, begin, finish, progress), title)
        job.progressed.connect(self.monitor.show_stage)
        job.told.connect(self._on_told)
        job.succeeded.connect(lambda outcome: self._end(self.finished, outcome))
        job.failed.connect(lambda sentence: self._end(self.failed, sentence))
        job.cancelled.connect(lambda: self._end(self.cancelled))
        self.monitor.begin(title)
        self._refresh()
        job.start(self._cleanup)

    def pause_or_go_on(self) -> None:
        """Hold after the present step, or go on after a pause."""
        if self.process is not None and not self.ending:
            self.paused = not self.paused
            self.process.send("pause" if self.paused else "continue")
            self._refresh()

    def stop(self) -> None:
        """End early and keep the best weights."""
        if self.process is not None and not self.ending:
            self.process.send("stop")
            self.ending, self.paused = True, False
            self._refresh()

    def cancel(self) -> None:
        """End and keep nothing."""
        if self._job is not None:
            self._job.cancel()
            self.ending, self.paused = True, False
            self._refresh()

    # worker thread -----------------------------------------------------------------------------------

    def _train(
        self, job: Job, begin: Callable[[Progress], TrainingProcess], finish: Finish, progress: Progress
    ) -> Any:
        from . import loss_curve  # noqa: F401  # matplotlib takes a while to import

        process = begin(progress)
        try:
            ended = self._follow(job, process, progress)
            return finish(process, ended, progress)
        except Cancelled:
            if job.cancelling and not self._cleanup.done:  # what was closed can be gone on with
                process.discard()
            raise
        finally:
            process.close()

    def _follow(self, job: Job, process: TrainingProcess, progress: Progress) -> str:
        """Tell what happens in a process until it has made a model, and return why it ended."""
        self.process = process
        job.told.emit({"event": "process"})
        try:
            while True:
                job.rest(_EVERY)
                events = process.poll()
                last = {event["event"]: event for event in events}
                for event in events:
                    kind = event["event"]
                    if kind == "result":
                        return str(event["ended"])
                    if kind == "error":
                        raise TrainingError(event["text"])
                    if kind in _STATES and event is not last[kind]:
                        continue
                    if kind == "progress":
                        progress(event["done"], event["total"], event["stage"])
                    else:
                        job.told.emit(event)
        finally:
            self.process = None
            job.told.emit({"event": "process"})

    # GUI thread --------------------------------------------------------------------------------------

    def _on_told(self, event: dict[str, Any]) -> None:
        if event["event"] == "process":
            self._refresh()
        else:
            self.monitor.show_event(event)
            self.happened.emit(event)

    def _end(self, signal: Any, *told: object) -> None:
        self._job = None
        self.monitor.end()
        self._refresh()
        signal.emit(*told)

    def _refresh(self) -> None:
        self._buttons.setVisible(self.running)
        for part in (self.pause_button, self.stop_button):
            part.setEnabled(self.training and not self.ending)
        self.cancel_button.setEnabled(self.running and not self.ending)
        self.pause_button.setText("Go on" if self.paused else "Pause")
        if self.running and self.ending:
            self.monitor.stage.setText("Ending …")
        self.changed.emit()


class ResumePanel(Offer):
    """Shows the latest interrupted training, while there is one.

    Parameters
    ----------
    fine_tuning : bool
        Whether it shows those whose model is to be compared with the one before, or the others.
    """

    #: Emitted with the `Unfinished` training to go on with.
    resumed = Signal(object)

    def __init__(self, fine_tuning: bool = False) -> None:
        super().__init__(
            "Resume",
            "Go on from the last whole epoch; the result is as if it had never stopped.",
            "Remove what is kept of it.",
        )
        self._fine_tuning = fine_tuning
        self.training: Unfinished | None = None
        self.refresh()

    def refresh(self) -> None:
        """Look for interrupted trainings again."""
        found = (one for one in unfinished_trainings() if one.fine_tuning == self._fine_tuning)
        self.training = next(found, None)
        self.say("" if self.training is None else _interrupted(self.training))

    def accept(self) -> None:
        self.hide()
        self.resumed.emit(self.training)

    def discard(self) -> None:
        if self.training is not None:
            discard_training(self.training.folder)
        self.refresh()


def _interrupted(training: Unfinished) -> str:
    done = (
        f"kept are {training.epochs_done} of {counted(training.epochs, 'epoch')}"
        if training.epochs_done
        else "no epoch had been completed"
    )
    what = "fine-tuning that makes" if training.fine_tuning else "training of"
    return f"The {what} {training.name} was interrupted {moment(training.changed)}: {done}."
