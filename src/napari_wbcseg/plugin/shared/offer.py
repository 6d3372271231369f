"""What was left behind is offered: a sentence, a button to go on with it, and one to discard it."""

from __future__ import annotations

from abc import abstractmethod

from qtpy.QtWidgets import QFrame, QPushButton, QVBoxLayout

from .panel import beside, sentence, with_tip


class Offer(QFrame):
    """Shows what can be gone on with; hidden while there is nothing.

    Parameters
    ----------
    accept : str
        Words of the button.
    tip, discard_tip : str
        What the buttons do.
    """

    def __init__(self, accept: str, tip: str, discard_tip: str) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = sentence()
        self.accept_button = with_tip(QPushButton(accept), tip)
        self.discard_button = with_tip(QPushButton("Discard"), discard_tip)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addLayout(beside(self.accept_button, self.discard_button, wide=self.accept_button))
        self.accept_button.clicked.connect(lambda: self.accept())
        self.discard_button.clicked.connect(lambda: self.discard())

    @abstractmethod
    def accept(self) -> None:
        """Go on with what is shown."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what is shown."""

    def say(self, words: str) -> None:
        """Show a sentence with the buttons; without one there is nothing to offer."""
        self.text.setText(words)
        self.setVisible(bool(words))
