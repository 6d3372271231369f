"""Drawings of matplotlib in a panel: the curves of a training, and how a measurement is distributed."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from qtpy.QtWidgets import QSizePolicy

from ...words import readable
from ..shared.jobs import timer

BLUE, ORANGE = "#4f9dde", "#f2a541"

_REDRAW_EVERY = 3000  # milliseconds: the training needs the processor
_TITLES = {"loss": "Loss", "dice": "Dice (1 is perfect)"}


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


class LossCurve(Plot):
    """Loss and Dice against the epoch, in the colours of the window, the epoch under way included."""

    def __init__(self) -> None:
        super().__init__(180, figsize=(3.4, 2.1))
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
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("epoch", fontsize=8)
            axes.set_xlim(0, 1.04 * max(last, 2))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            axes.grid(alpha=0.15)
        if best := max((row["epoch"] for row in self._rows if row.get("best")), default=0):
            self._axes[1].axvline(best, color=self.ink, alpha=0.35, linestyle=":")
        if any("val_loss" in row for row in self._rows):
            self._axes[0].legend(fontsize=7, frameon=False, labelcolor=self.ink)
        self.dress()
        self.draw_idle()


class Histogram(Plot):
    """Bars of one column, in the colours of the window; selected cells are marked by a line."""

    def __init__(self) -> None:
        super().__init__(150, figsize=(3, 1.9), layout="constrained")
        self._axes = self.figure.subplots()

    def show_values(self, values: np.ndarray, name: str, marked: np.ndarray) -> None:
        """Draw the histogram.

        Parameters
        ----------
        values : ndarray, shape (n,)
            What is not finite is left out.
        name : str
            What is written below, with its unit.
        marked : ndarray
            Values of the selected cells.
        """
        axes = self._axes
        axes.clear()
        values = values[np.isfinite(values)]
        if values.size:
            axes.hist(values, bins=_edges(values).tolist(), color=BLUE)
            axes.set_title(
                f"median {readable(np.median(values))}, {readable(values.min())} to {readable(values.max())}",
                fontsize=8,
            )
        for value in marked[np.isfinite(marked)][:20]:
            axes.axvline(value, color=ORANGE, linewidth=1.5)
        axes.set_xlabel(name, fontsize=8)
        axes.set_ylabel("cells", fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        self.dress()
        self.draw_idle()


def _edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of the bars: one a number where there are few whole ones."""
    low, high = float(values.min()), float(values.max())
    if np.all(values == np.round(values)) and high - low <= 20:
        return np.arange(low - 0.5, high + 1)
    return np.histogram_bin_edges(values, bins=min(max(int(np.sqrt(values.size)) + 1, 5), 40))
