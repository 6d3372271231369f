"""Offers to go on with a training that was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from ...words import counted, moment
from .offer import Offer

if TYPE_CHECKING:
    from ...training.folder import Unfinished


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
        from ...training.folder import unfinished_trainings

        found = (one for one in unfinished_trainings() if one.fine_tuning == self._fine_tuning)
        self.training = next(found, None)
        self.say("" if self.training is None else _words(self.training))

    def accept(self) -> None:
        self.hide()
        if self.training is not None:
            self.resumed.emit(self.training)

    def discard(self) -> None:
        from ...training.folder import discard_training

        if self.training is not None:
            discard_training(self.training.folder)
        self.refresh()


def _words(training: Unfinished) -> str:
    done = (
        f"kept are {training.epochs_done} of {counted(training.epochs, 'epoch')}"
        if training.epochs_done
        else "no epoch had been completed"
    )
    what = "fine-tuning that makes" if training.fine_tuning else "training of"
    return f"The {what} {training.name} was interrupted {moment(training.changed)}: {done}."
