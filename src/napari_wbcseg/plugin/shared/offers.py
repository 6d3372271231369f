"""What was left behind is offered: a training that was interrupted, corrections that were never saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QVBoxLayout

from ...training.folder import Unfinished, discard_training, unfinished_trainings
from ...words import counted, moment
from .events import events
from .jobs import in_background, say_error
from .panel import Sentence, beside, button, confirmed
from .unsaved import UnsavedCopy, copies_left, keep_unsaved, take


class _Offer(QFrame):
    """A sentence, a button to go on with what it tells of, and one to discard it; hidden without any."""

    def __init__(self, accept: str, tip: str, discard_tip: str) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = Sentence()
        self.accept_button = button(accept, self.accept, tip)
        self.discard_button = button("Discard", self.discard, discard_tip)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addLayout(beside(self.accept_button, self.discard_button, wide=self.accept_button))

    def accept(self) -> None:
        """Go on with what is shown."""
        raise NotImplementedError

    def discard(self) -> None:
        """Remove what is shown."""
        raise NotImplementedError

    def say(self, words: str) -> None:
        """Show a sentence with the buttons; without one there is nothing to offer."""
        self.text.setText(words)
        if self.parentWidget() is not None or not words:  # alone it would be a window
            self.setVisible(bool(words))


class ResumePanel(_Offer):
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


class UnsavedOffer(_Offer):
    """Shows the latest copy of unsaved corrections, while there is one.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are opened.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(
            "Open",
            "Open them with their picture; they stay unsaved until you save them.",
            "Remove these corrections; what was saved before stays.",
        )
        self._viewer = viewer
        self._copy: UnsavedCopy | None = None
        keep_unsaved(viewer)
        events.copies_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Look for copies again."""
        copies = copies_left()
        self._copy = next(iter(copies), None)
        more = f" {len(copies) - 1} more are kept." if len(copies) > 1 else ""
        self.say("" if self._copy is None else f"{words_of(self._copy)}{more}")

    def accept(self) -> None:
        if self._copy is not None:
            copy = take(self._copy)
            in_background(
                lambda progress: copy.layers(),
                "Opening corrections",
                done=lambda layers: self._show(copy, layers),
                failed=say_error,
            )

    def discard(self) -> None:
        copy = self._copy
        if copy is not None and confirmed(self, "Discard the corrections?", f"{words_of(copy)} Remove them?"):
            take(copy).discard()

    def _show(self, copy: UnsavedCopy, layers: Any) -> None:
        *_, cells = (self._viewer.add_layer(Layer.create(*one)) for one in layers)
        keep_unsaved(self._viewer).restored(cells, copy)  # type: ignore[arg-type]
        self._viewer.layers.selection.active = cells


def words_of(copy: UnsavedCopy) -> str:
    """Say in a sentence of what and from when unsaved corrections are."""
    words = f"Corrections of {copy.about['name']}, made {moment(copy.when)}, were not saved."
    there = copy.about["path"] is not None and Path(copy.about["path"]).exists()
    return words if there else f"{words} Open that picture too."
