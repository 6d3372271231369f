"""One training in a process of its own, followed from the window, and one that was interrupted, offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QVBoxLayout, QWidget

from ...errors import Cancelled, TrainingError
from ...progress import Progress
from ...training.folder import Unfinished, discard_training, unfinished_trainings
from ...training.worker import TrainingProcess
from ...words import counted, duration, moment
from ..shared.jobs import Job, busy
from .basic_widgets import NOTICE_LOOK, Offer, Sentence, beside, button, confirmed, fill, together, with_tip
from .panel import Panel

if TYPE_CHECKING:
    from .plots import LossCurve

_EVERY = 1.0  # seconds between two looks at a process: napari repaints its window after each
#: Events of which only the last counts.
_STATES = ("progress", "step", "preview")

_WAITING_WORTH_TELLING = 0.05  # share of the time
_NUMBERS = (
    ("epoch", "Epoch", "Passes over the training data: the one under way, of those planned."),
    ("left", "Time left", "At the present speed."),
    ("loss", "Loss", "What the training makes small."),
    ("speed", "Speed", "Tiles trained on in a second; waits: the share of time without a batch ready."),
    ("dice", "Dice", "Overlap of prediction and truth on the training tiles: 1 is perfect, 0 is none."),
    ("val_dice", "Validation Dice", "The same on tiles that were kept aside: what to expect of new images."),
)

#: What is made of a process that has come to its end; called in a worker thread.
Finish = Callable[[TrainingProcess, Progress], Any]


class TrainMonitor(QWidget):
    """Device, stage, bar, numbers and curves of a training."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[dict[str, Any]] = []
        self.device, self.stage = Sentence(), Sentence()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.plan = Sentence()
        self.notes = Sentence(look=NOTICE_LOOK)
        self.numbers: dict[str, QLabel] = {}
        grid = QGridLayout()
        grid.setVerticalSpacing(2)
        for number, (key, title, tip) in enumerate(_NUMBERS):
            label = self.numbers[key] = QLabel("–")
            label.setStyleSheet("font-weight: bold;")
            grid.addWidget(with_tip(QLabel(title), tip), number // 2, 2 * (number % 2))
            grid.addWidget(with_tip(label, tip), number // 2, 2 * (number % 2) + 1)
        self.curve: LossCurve | None = None
        self._curve_place = QVBoxLayout()
        fill(self, self.device, self.stage, self.bar, grid, self._curve_place, self.plan, self.notes)

    def begin(self, stage: str) -> None:
        """Forget the last training: another begins."""
        self.history = []
        for label in self.numbers.values():
            label.setText("–")
        self.device.setText("")
        if self.curve is not None:
            self.curve.show_history([])
        self.show_stage(0, 0, stage)
        self.bar.show()
        self.show()

    def show_stage(self, done: int, total: int, stage: str) -> None:
        """Show what is being done, and how far it is; a total of 0 is unknown."""
        self.stage.setText(stage)
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def show_event(self, event: dict[str, Any]) -> None:
        """Show one event of the training."""
        kind = event["event"]
        if kind == "start":
            self.device.setText(f"Device: {event['device']}. Arithmetic: {event['precision']}.")
            self.plan.setText(event["plan"])
            self.history = event["history"]
        elif kind == "note":
            self.notes.setText(f"{self.notes.text()}\n{event['text']}".strip())
        elif kind == "paused":
            self.stage.setText("Paused; the computer is free for something else.")
        elif kind in ("step", "epoch"):
            if kind == "epoch":
                self.history.append(event)
            self._show_numbers(event)
            self._draw(event if kind == "step" else None)

    def end(self) -> None:
        """Leave what was reached; what was to be expected is told anew before the next training."""
        for told in (self.stage, self.plan, self.notes):
            told.setText("")
        self.numbers["left"].setText("–")
        self.bar.hide()

    def _draw(self, step: dict[str, Any] | None) -> None:
        if self.curve is None:
            # matplotlib takes a moment to import and is not needed before.
            from .plots import LossCurve

            self.curve = LossCurve()
            self._curve_place.addWidget(self.curve)
        self.curve.show_history(self.history, step)

    def _show_numbers(self, event: dict[str, Any]) -> None:
        texts = {"epoch": f"{event['epoch']} of {event['epochs']}"}
        for key in ("loss", "dice", "val_dice"):
            if event.get(key) is not None:
                texts[key] = f"{event[key]:.3f}"
        texts["speed"] = f"{event['images_per_second']:.1f} images/s"
        if event.get("waiting", 0) > _WAITING_WORTH_TELLING:
            texts["speed"] += f", waits {event['waiting']:.0%}"
        texts["left"] = duration(event["seconds_left"])
        for key, text in texts.items():
            self.numbers[key].setText(text)


class TrainingRun(QWidget):
    """Prepares and follows a training process, makes something of its model, and has buttons to end it.

    For each `start` either ``finished`` or ``cancelled`` is emitted, or ``failed`` of the panel.

    Parameters
    ----------
    panel : Panel
        That it is part of: says what came of it, and ends the process when it goes away.
    fine_tuning : bool
        Which interrupted trainings are offered to be gone on with; see `ResumePanel`.

    Attributes
    ----------
    resume : ResumePanel
        Laid out by the panel.
    """

    #: Emitted with each event of `napari_wbcseg.training.worker.TrainingProcess`, after it was shown.
    happened = Signal(dict)
    #: Emitted with what was made of the model.
    finished = Signal(object)
    cancelled = Signal()
    #: Emitted when `running`, `training` or `paused` changed.
    changed = Signal()

    def __init__(self, panel: Panel, fine_tuning: bool = False) -> None:
        super().__init__()
        self.resume = ResumePanel(fine_tuning)
        self.process: TrainingProcess | None = None
        self.paused = False
        #: Whether it was asked to end.
        self.ending = False
        self._job: Job | None = None
        self._panel = panel
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
        return busy(self._job)

    @property
    def training(self) -> bool:
        """Whether there is a process that can be paused and stopped."""
        return self.process is not None

    def start(self, begin: Callable[[Progress], TrainingProcess], finish: Finish, title: str) -> None:
        """Start; ``begin`` and ``finish`` are called in a worker thread, the first under this title."""
        self.ending = self.paused = False
        job = self._job = Job(lambda progress: self._train(job, begin, finish, progress), title)
        job.progressed.connect(self.monitor.show_stage)
        job.yielded.connect(self._on_told)
        job.done.connect(lambda made: self._end("", self.finished.emit, made))
        job.failed.connect(lambda sentence: self._end("", self._panel.fail, sentence))
        job.cancelled.connect(lambda: self._end("Cancelled; no model was kept.", self.cancelled.emit))
        job.start(self._panel.cleanup)
        self.resume.hide()
        self._panel.say("")
        self.monitor.begin(title)
        self._refresh()

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
        if busy(self._job):
            self._job.cancel()
            self.ending, self.paused = True, False
            self._refresh()

    # worker thread -----------------------------------------------------------------------------------

    def _train(
        self, job: Job, begin: Callable[[Progress], TrainingProcess], finish: Finish, progress: Progress
    ) -> Any:
        from . import plots  # noqa: F401  # matplotlib takes a while to import

        process = begin(progress)
        try:
            self._follow(job, process, progress)
            return finish(process, progress)
        except Cancelled:
            if job.cancelling and not self._panel.cleanup.done:  # what was closed can be gone on with
                process.discard()
            raise
        finally:
            process.close()

    def _follow(self, job: Job, process: TrainingProcess, progress: Progress) -> None:
        """Tell what happens in a process until it has made a model."""
        self.process = process
        job.yielded.emit({"event": "process"})
        try:
            for event in _events(job, process):
                if event["event"] == "result":
                    return
                if event["event"] == "error":
                    raise TrainingError(event["text"])
                if event["event"] == "progress":
                    progress(event["done"], event["total"], event["stage"])
                else:
                    job.yielded.emit(event)
        finally:
            self.process = None
            job.yielded.emit({"event": "process"})

    # GUI thread --------------------------------------------------------------------------------------

    def _on_told(self, event: dict[str, Any]) -> None:
        if event["event"] == "process":
            self._refresh()
        else:
            self.monitor.show_event(event)
            self.happened.emit(event)

    def _end(self, words: str, tell: Callable[..., object], *what: object) -> None:
        self._panel.say(words)
        self.monitor.end()
        self.resume.refresh()
        self._refresh()
        tell(*what)

    def _refresh(self) -> None:
        self._buttons.setVisible(self.running)
        for part in (self.pause_button, self.stop_button):
            part.setEnabled(self.training and not self.ending)
        self.cancel_button.setEnabled(self.running and not self.ending)
        self.pause_button.setText("Go on" if self.paused else "Pause")
        if self.running and self.ending:
            self.monitor.stage.setText("Ending …")
        self.changed.emit()


def _events(job: Job, process: TrainingProcess) -> Iterator[dict[str, Any]]:
    """Yield what happens in a process; of states that followed each other since it was asked, the last."""
    while True:
        job.rest(_EVERY)
        events = process.poll()
        last = {event["event"]: event for event in events}
        for event in events:
            if event["event"] not in _STATES or event is last[event["event"]]:
                yield event


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
        training = self.training
        question = f"{self.text.text()} Remove what is kept of it?"
        if training is not None and confirmed(self, "Discard the training?", question):
            discard_training(training.folder)
            self.refresh()


def _interrupted(training: Unfinished) -> str:
    done = (
        f"kept are {training.epochs_done} of {counted(training.epochs, 'epoch')}"
        if training.epochs_done
        else "no epoch had been completed"
    )
    what = "fine-tuning that makes" if training.fine_tuning else "training of"
    return f"The {what} {training.name} was interrupted {moment(training.changed)}: {done}."
