"""How one measurement is distributed over the cells shown in the table."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from ...words import readable
from ..shared.plot import BLUE, ORANGE, Plot


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
