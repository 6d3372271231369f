"""One training in a process of its own, followed from the window, and one that was interrupted, offered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from ...progress import Progress
from ...training.folder import Unfinished, discard_training, unfinished_trainings
from ...training.worker import TrainingProcess
from ...words import counted, moment
from .activity import ActivityBar
from .jobs import Cleanup, Job
from .panel import Offer

_POLL = 100  # milliseconds
_STATES = ("progress", "step")
_STATES_EVERY = 1.0  # seconds
_GRACE = 0.8  # seconds that a cancelled process has before it is killed

#: What is made of a process that has come to its end, given why it did; called in a worker thread.
Finish = Callable[[TrainingProcess, str, Progress], Any]


class TrainingRun(QObject):
    """Prepares, follows and ends a training process, and makes something of its model.

    Exactly one of ``finished``, ``failed`` and ``cancelled`` is emitted for each `start`.

    Parameters
    ----------
    cleanup : Cleanup
        Of the widget it is part of: it ends the process when that goes away.
    """

    #: Emitted with each event of `napari_wbcseg.training.worker.TrainingProcess`, and the progress of
    #: what comes before and after it.
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
        self._finish: Finish | None = None
        self._after = ""
        self._cleanup = cleanup
        self._bar: ActivityBar | None = None
        self._states: dict[str, dict[str, Any]] = {}
        self._states_shown = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL)
        self._timer.timeout.connect(self._poll)

    @property
    def running(self) -> bool:
        """Whether a training is prepared, under way, or something is made of its model."""
        return self._job is not None or self.process is not None

    @property
    def training(self) -> bool:
        """Whether there is a process that can be paused and stopped."""
        return self.process is not None

    def start(
        self,
        make_process: Callable[[Progress], TrainingProcess],
        finish: Finish,
        before: str = "Preparing the training",
        after: str = "",
    ) -> None:
        """Start; ``make_process`` and ``finish`` are called in a worker thread, under these titles."""
        self._finish, self._after = finish, after
        self.ending = self.paused = False
        job = Job(make_process, before, discard=lambda process: process.discard())
        job.succeeded.connect(self._on_process)
        self._start_job(job)

    def pause(self) -> None:
        """Hold after the present step."""
        if self.process is not None and not self.ending:
            self.process.pause()
            self.paused = True
            self.changed.emit()

    def unpause(self) -> None:
        """Go on after a pause."""
        if self.process is not None:
            self.process.unpause()
            self.paused = False
            self.changed.emit()

    def stop(self) -> None:
        """End early and keep the best weights."""
        if self.process is not None and not self.ending:
            self.process.stop()
            self.ending, self.paused = True, False
            self.changed.emit()

    def cancel(self) -> None:
        """End and keep nothing."""
        if self._job is not None:
            self._job.cancel()
        if self.process is not None:
            self.process.cancel(_GRACE)
        self.ending, self.paused = True, False
        self.changed.emit()

    # Steps -------------------------------------------------------------------------------------------

    def _start_job(self, job: Job) -> None:
        self._job = job
        job.progressed.connect(self._on_progress)
        job.failed.connect(lambda sentence: self._end(self.failed, sentence))
        job.cancelled.connect(lambda: self._end(self.cancelled))
        self.changed.emit()
        job.start(self._cleanup)

    def _on_progress(self, done: int, total: int, stage: str) -> None:
        self.happened.emit({"event": "progress", "done": done, "total": total, "stage": stage})

    def _on_process(self, process: TrainingProcess) -> None:
        self._job = None
        self.process = process
        self._states = {}
        self._bar = ActivityBar("Training")
        self._cleanup.add(process.close)
        self._cleanup.add(self._bar.close)
        self.changed.emit()
        self._timer.start()

    def _poll(self) -> None:
        process = self.process
        if process is None or self._cleanup.done:
            self._timer.stop()
            return
        if self._bar is not None and self._bar.cancelled and not self.ending:
            self.cancel()
        events = process.poll()
        # Of what only the last state counts, older ones are not shown.
        last = {event["event"]: event for event in events}
        for event in events:
            kind = event["event"]
            if kind in _STATES:
                self._states[kind] = event
                continue
            if kind in ("epoch", "paused"):  # what was before them is past
                self._states = {}
            if kind == "preview" and event is not last[kind]:
                continue
            if kind == "result":
                self._make(process, event["ended"])
            elif kind in ("error", "cancelled"):
                self._let_go(process)
                process.close()
                if kind == "error":
                    self._end(self.failed, event["text"])
                else:
                    self._end(self.cancelled)
            else:
                self.happened.emit(event)
        self._show_states()

    def _show_states(self) -> None:
        """Tell where the training stands, all at once and not often: napari repaints its window each time."""
        if self.process is None or time.monotonic() - self._states_shown < _STATES_EVERY:
            return
        self._states_shown = time.monotonic()
        states, self._states = self._states, {}
        for kind, event in states.items():
            if kind == "progress" and self._bar is not None:
                self._bar.show(event["done"], event["total"], event["stage"])
            self.happened.emit(event)

    def _make(self, process: TrainingProcess, ended: str) -> None:
        finish = self._finish
        assert finish is not None
        self._let_go(process)
        job = Job(lambda progress: finish(process, ended, progress), self._after)
        job.succeeded.connect(lambda outcome: self._end(self.finished, outcome))
        self._start_job(job)

    def _end(self, signal: Any, *told: object) -> None:
        self._job = None
        self.changed.emit()
        signal.emit(*told)

    def _let_go(self, process: TrainingProcess) -> None:
        self._timer.stop()
        self.process = None
        self._cleanup.remove(process.close)
        bar, self._bar = self._bar, None
        if bar is not None:
            self._cleanup.remove(bar.close)
            bar.close()


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
