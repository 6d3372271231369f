"""The curves of a training under way."""

from __future__ import annotations

import time
from typing import Any

from matplotlib.ticker import MaxNLocator
from qtpy.QtCore import QEvent
from qtpy.QtGui import QShowEvent

from ..shared.jobs import timer
from ..shared.plot import BLUE, ORANGE, Plot

_COLOURS = {"training": BLUE, "validation": ORANGE}
_REDRAW_EVERY = 2.0, 10.0  # seconds, at least and at most
_SHARE = 0.01  # of a core that drawing may take in between: the training needs it


class LossCurve(Plot):
    """Loss and Dice against the epoch, in the colours of the window, the epoch under way included."""

    def __init__(self) -> None:
        self._best: Any = None
        super().__init__(180, figsize=(3.4, 2.1))
        # Fixed margins: finding out the best ones takes longer than drawing.
        self._axes = self.figure.subplots(1, 2, gridspec_kw={"wspace": 0.35})
        self.figure.subplots_adjust(left=0.11, right=0.98, top=0.86, bottom=0.2)
        self._lines: dict[str, Any] = {}
        self._drawn = self._cost = 0.0
        self._shown: tuple[list[dict[str, Any]], dict[str, Any] | None] = ([], None)
        self._timer = timer(0, self._redraw, self)
        self._lay_out()
        self._dress()
        self.show_history([])

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the colours of the window, which are known now."""
        self._dress()
        super().showEvent(event)

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the window's theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._dress()

    def draw(self) -> None:
        """Draw, and note how long it took."""
        start = time.thread_time()
        super().draw()
        self._cost = time.thread_time() - start

    def _lay_out(self) -> None:
        for axes, quantity in zip(self._axes, ("loss", "dice"), strict=True):
            for part, key in (("training", quantity), ("validation", f"val_{quantity}")):
                (self._lines[key],) = axes.plot([], [], color=_COLOURS[part], marker=".", label=part)
            axes.set_title("Loss" if quantity == "loss" else "Dice (1 is perfect)", fontsize=9)
            axes.set_xlabel("epoch", fontsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            axes.grid(alpha=0.15)
        self._best = self._axes[1].axvline(0, alpha=0.35, linestyle=":", visible=False)
        self._legend = self._axes[0].legend(fontsize=7, frameon=False)

    def _dress(self) -> None:
        """Give what is drawn the colour of the window's text."""
        if self._best is None:
            return  # Qt asks before the axes are there
        self.ensurePolished()
        self.dress()
        self._best.set_color(self.ink)
        for text in self._legend.get_texts():
            text.set_color(self.ink)
        self.draw_idle()

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
        self._shown = history, step
        if not self._timer.isActive():
            least, most = _REDRAW_EVERY
            pause = min(max(self._cost / _SHARE, least), most) - (time.monotonic() - self._drawn)
            self._timer.start(max(0, round(1000 * pause)))

    def _redraw(self) -> None:
        history, step = self._shown
        self._drawn = time.monotonic()
        for key, line in self._lines.items():
            points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
            line.set_marker("." if len(points) < 20 else "")
            if step is not None and step.get(key) is not None:
                points.append((step["epoch"] - 1 + step["step"] / step["steps"], step[key]))
            line.set_data([x for x, _ in points], [y for _, y in points])
        validated = any("val_loss" in row for row in history)
        self._legend.set_visible(validated)
        best = max((row["epoch"] for row in history if row.get("best")), default=0)
        self._best.set_visible(bool(best))
        self._best.set_xdata([best, best])
        for axes in self._axes:
            axes.relim(visible_only=True)
            axes.autoscale_view()
        last = max((row["epoch"] for row in history), default=0) + (1 if step is not None else 0)
        for axes in self._axes:
            axes.set_xlim(0, 1.04 * max(last, 2))
        self.draw_idle()
