"""What is shown of a training under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QVBoxLayout, QWidget

from ...words import duration
from .panel import NOTICE_LOOK, Sentence, fill, with_tip

if TYPE_CHECKING:
    from .loss_curve import LossCurve

_WAITING_WORTH_TELLING = 0.05


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
        elif kind == "note":
            self.notes.setText("\n".join(part for part in (self.notes.text(), event["text"]) if part))
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
        self.bar.hide()

    def _draw(self, step: dict[str, Any] | None) -> None:
        if self.curve is None:
            # matplotlib takes a moment to import and is not needed before.
            from .loss_curve import LossCurve

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


_NUMBERS = (
    ("epoch", "Epoch", "Passes over the training data: the one under way, of those planned."),
    ("left", "Time left", "At the present speed."),
    ("loss", "Loss", "What the training makes small."),
    ("speed", "Speed", "Tiles trained on in a second; waits: the share of time without a batch ready."),
    ("dice", "Dice", "Overlap of prediction and truth on the training tiles: 1 is perfect, 0 is none."),
    ("val_dice", "Validation Dice", "The same on tiles that were kept aside: what to expect of new images."),
)
