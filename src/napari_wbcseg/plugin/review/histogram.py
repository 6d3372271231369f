"""How one measurement is distributed over the cells shown in the table."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from qtpy.QtWidgets import QSizePolicy, QWidget

from ...words import readable

_BARS, _MARK = "#4f9dde", "#f2a541"


class Histogram(FigureCanvasQTAgg):
    """Bars of one column, in the colours of the window; selected cells are marked by a line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        figure = Figure(figsize=(3, 1.9), layout="constrained")
        super().__init__(figure)
        self.setParent(parent)
        self.setMinimumHeight(150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("background: transparent;")
        self._axes = figure.subplots()

    def show_values(self, values: np.ndarray, name: str, marked: np.ndarray | None = None) -> None:
        """Draw the histogram.

        Parameters
        ----------
        values : ndarray, shape (n,)
            What is not finite is left out.
        name : str
            What is written below, with its unit.
        marked : ndarray, optional
            Values of the selected cells.
        """
        axes, ink = self._axes, self.palette().windowText().color().name()
        self.figure.patch.set_alpha(0)
        axes.clear()
        axes.patch.set_alpha(0)
        values = np.asarray(values, float)
        values = values[np.isfinite(values)]
        if values.size:
            axes.hist(values, bins=_edges(values).tolist(), color=_BARS)
            axes.set_title(
                f"median {readable(np.median(values))}, {readable(values.min())} to {readable(values.max())}",
                color=ink,
                fontsize=8,
            )
        for value in np.asarray([] if marked is None else marked, float)[:20]:
            if np.isfinite(value):
                axes.axvline(value, color=_MARK, linewidth=1.5)
        axes.set_xlabel(name, color=ink, fontsize=8)
        axes.set_ylabel("cells", color=ink, fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        axes.tick_params(colors=ink, labelsize=7)
        for spine in axes.spines.values():
            spine.set_color(ink)
            spine.set_alpha(0.4)
        self.draw_idle()


def _edges(values: np.ndarray) -> np.ndarray:
    """Return the edges of the bars: one a number where there are few whole ones."""
    low, high = float(values.min()), float(values.max())
    if np.all(values == np.round(values)) and high - low <= 20:
        return np.arange(low - 0.5, high + 1)
    return np.histogram_bin_edges(values, bins=min(max(int(np.sqrt(values.size)) + 1, 5), 40))
