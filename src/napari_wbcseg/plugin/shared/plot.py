"""Drawings of matplotlib in a panel."""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtWidgets import QSizePolicy

BLUE, ORANGE = "#4f9dde", "#f2a541"


class Plot(FigureCanvasQTAgg):
    """A figure on the ground of the window, as wide as there is room.

    Parameters
    ----------
    height : int
        At least, pixels of the screen.
    **options
        Of the figure.
    """

    def __init__(self, height: int, **options: Any) -> None:
        super().__init__(Figure(**options))
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("background: transparent;")
        self.figure.patch.set_alpha(0)

    @property
    def ink(self) -> str:
        """The colour of the window's text."""
        return str(self.palette().windowText().color().name())

    def dress(self) -> None:
        """Give the axes and all that is written on them that colour."""
        for axes in self.figure.axes:
            axes.patch.set_alpha(0)
            for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
                text.set_color(self.ink)
            axes.tick_params(colors=self.ink, labelsize=7)
            for spine in axes.spines.values():
                spine.set_color(self.ink)
                spine.set_alpha(0.4)
