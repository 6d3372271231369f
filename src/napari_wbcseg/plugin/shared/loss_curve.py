"""The curves of a training, drawn by matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from qtpy.QtWidgets import QSizePolicy

from .jobs import timer

BLUE, ORANGE = "#4f9dde", "#f2a541"

_REDRAW_EVERY = 3000  # milliseconds: the training needs the processor
_TITLES = {"loss": "Loss", "dice": "Dice (1 is perfect)"}


class LossCurve(FigureCanvasQTAgg):
    """Loss and Dice against the epoch, in the colours of the window, the epoch under way included."""

    def __init__(self) -> None:
        super().__init__(Figure(figsize=(3.4, 2.1)))
        self.setMinimumHeight(180)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("background: transparent;")
        self.figure.patch.set_alpha(0)
        # Fixed margins: finding out the best ones takes longer than drawing.
        self._axes = self.figure.subplots(1, 2, gridspec_kw={"wspace": 0.35})
        self.figure.subplots_adjust(left=0.11, right=0.98, top=0.86, bottom=0.2)
        self._rows: list[dict[str, Any]] = []
        self._timer = timer(_REDRAW_EVERY, self._redraw, self)

    def show_history(self, history: list[dict[str, Any]], step: dict[str, Any] | None = None) -> None:
        """Draw the epochs so far, and where the present one stands, soon.

        Parameters
        ----------
        history : list of dict
            Rows with ``epoch``, ``loss``, ``dice``, the same with ``val_`` in front, and
            ``best``.
        step : dict, optional
            The last ``step`` event, of an epoch that is under way.
        """
        self._rows = [*history]
        if step is not None:
            self._rows.append({**step, "epoch": step["epoch"] - 1 + step["step"] / step["steps"]})
        if not self._timer.isActive():
            self._timer.start()

    def _redraw(self) -> None:
        ink = str(self.palette().windowText().color().name())
        last = max((row["epoch"] for row in self._rows), default=0)
        for axes, (quantity, title) in zip(self._axes, _TITLES.items(), strict=True):
            axes.clear()
            for part, key, colour in (
                ("training", quantity, BLUE),
                ("validation", f"val_{quantity}", ORANGE),
            ):
                points = [(row["epoch"], row[key]) for row in self._rows if row.get(key) is not None]
                marker = "." if len(points) < 20 else ""
                axes.plot(*np.reshape(points, (-1, 2)).T, color=colour, marker=marker, label=part)
            axes.set_title(title, fontsize=9, color=ink)
            axes.set_xlabel("epoch", fontsize=8, color=ink)
            axes.set_xlim(0, 1.04 * max(last, 2))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            axes.grid(alpha=0.15)
            axes.patch.set_alpha(0)
            axes.tick_params(colors=ink, labelsize=7)
            for spine in axes.spines.values():
                spine.set_color(ink)
                spine.set_alpha(0.4)
        if best := max((row["epoch"] for row in self._rows if row.get("best")), default=0):
            self._axes[1].axvline(best, color=ink, alpha=0.35, linestyle=":")
        if any("val_loss" in row for row in self._rows):
            self._axes[0].legend(fontsize=7, frameon=False, labelcolor=ink)
        self.draw_idle()
