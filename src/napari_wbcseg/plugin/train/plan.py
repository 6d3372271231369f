"""What a training will learn from, shown before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from ...box import label_boxes
from ...images.pixels import resample
from ...progress import Progress
from ...results.formats.pictures import draw_outlines, traced
from ...settings import TrainingSettings
from ...training.plan import TrainingPlan, make_plan
from ..controls.basic_widgets import NOTICE_LOOK, Sentence, beside, fill, pixmap
from ..shared.jobs import Cleanup, Job, busy, in_background, timer
from .source import TrainingSource

_DELAY = 300  # milliseconds between two keys pressed in the path
_THUMBNAILS = 5
_SIDE = 62  # pixels
#: Of some images a picture, uint8, (S, S, 3), with the cells outlined, and what it is.
Thumbnails = Sequence[tuple[np.ndarray, str]]
_OUTLINE, _VALIDATION = (255, 170, 0), (80, 200, 255)


class PlanPanel(QWidget):
    """Says what a training would learn from, and shows some of it.

    Parameters
    ----------
    cleanup : Cleanup
        Of the widget it is part of.
    """

    #: Emitted when what is shown has changed.
    changed = Signal()

    def __init__(self, cleanup: Cleanup) -> None:
        super().__init__()
        self.plan: TrainingPlan | None = None
        #: Why there is no plan; empty while there is one, or it is being made.
        self.problem = ""
        self._cleanup = cleanup
        self._job: Job | None = None
        self._wanted: tuple[TrainingSource, TrainingSettings, bool] | None = None
        self._text, self._hints = Sentence(), Sentence(look=NOTICE_LOOK)
        self._pictures = [QLabel() for _ in range(_THUMBNAILS)]
        row = beside(*self._pictures)
        row.setSpacing(3)
        row.addStretch(1)
        fill(self, row, self._text, self._hints).setSpacing(4)
        self._timer = timer(_DELAY, self._make, self)
        self._show(None)

    @property
    def busy(self) -> bool:
        """Whether a plan is being made."""
        return busy(self._job) or self._timer.isActive()

    def look(self, source: TrainingSource, settings: TrainingSettings, fine_tuning: bool) -> None:
        """Make a plan of this source soon."""
        self.clear()
        self._wanted = source, settings, fine_tuning
        self._text.setText("Looking at the training images …")
        self._timer.start()

    def clear(self, problem: str = "") -> None:
        """Show nothing, and why there is no plan, if one was wanted."""
        if self._job is not None:
            self._job.abandon()
        self._timer.stop()
        self._show(None)
        self.problem = problem
        self.changed.emit()

    def _make(self) -> None:
        if self._wanted is None or self._cleanup.done:
            return
        source, settings, fine_tuning = self._wanted

        def work(progress: Progress) -> tuple[TrainingPlan, Thumbnails]:
            plan = make_plan(source.read(progress), settings, fine_tuning)
            return plan, make_thumbnails(plan)

        self._job = in_background(
            work,
            done=lambda seen: self._show(*seen),
            failed=self._on_failed,
            ended=self.changed.emit,
            cleanup=self._cleanup,
        )

    def _on_failed(self, problem: str) -> None:
        self.problem = problem
        self._text.setText("")

    def _show(self, plan: TrainingPlan | None, thumbnails: Thumbnails = ()) -> None:
        self.plan = plan
        for label, thumbnail in zip_longest(self._pictures, thumbnails):
            label.setVisible(thumbnail is not None)
            if thumbnail is not None:
                label.setPixmap(pixmap(thumbnail[0], zoom=2))
                label.setToolTip(thumbnail[1])
        lines = [plan.summary, plan.left_out_summary] if plan is not None else []
        self._text.setText("\n".join(filter(None, lines)))
        self._hints.setText("\n".join(plan.notes) if plan is not None else "")


def make_thumbnails(plan: TrainingPlan) -> Thumbnails:
    """Return a few pictures of the plan with their cells outlined, those kept aside last and in blue."""
    kept = plan.validation[:1] if plan.validation != plan.training else []
    count = min(_THUMBNAILS - len(kept), len(plan.training))
    places = np.linspace(0, len(plan.training) - 1, count).round().astype(int).tolist()
    some = [(plan.training[place], _OUTLINE, "") for place in places]
    some += [(pair, _VALIDATION, ", kept aside to validate") for pair in kept]
    return [
        (_thumbnail(pair.image, pair.labels, colour), f"{pair.name}{what}") for pair, colour, what in some
    ]


def _thumbnail(image: np.ndarray, labels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the surroundings of the largest cell, three cells wide, with outlines."""
    cell = max((box for _, box in label_boxes(labels)), key=lambda box: box.area)
    window = cell.grown(max(cell.shape), labels.shape)
    zoom = 2 * _SIDE / max(window.shape)  # twice, for screens with many pixels
    picture = np.array(resample(image[window.slices], zoom))
    outlines = [(outline, colour) for _, _, outline in traced(labels[window.slices])]
    draw_outlines(picture, outlines, zoom, casing=1, line=2)
    return picture
