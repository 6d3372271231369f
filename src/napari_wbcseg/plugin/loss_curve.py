"""The curves of a training under way."""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from qtpy.QtWidgets import QSizePolicy, QWidget

_COLOURS = {"loss": "#4f9dde", "val_loss": "#f2a541", "dice": "#4f9dde", "val_dice": "#f2a541"}
_NAMES = {"loss": "training", "val_loss": "validation"}


class LossCurve(FigureCanvasQTAgg):
    """Loss and Dice against the epoch, in the colours of the window."""

    def __init__(self, parent: QWidget | None = None) -> None:
        figure = Figure(figsize=(3, 2.4), layout="constrained")
        super().__init__(figure)
        self.setParent(parent)
        self.setMinimumHeight(190)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setStyleSheet("background: transparent;")
        self._axes = figure.subplots(1, 2)
        self.show_history([])

    def show_history(self, history: list[dict[str, Any]]) -> None:
        """Draw the epochs so far: ``epoch``, ``loss``, ``dice``, and the same with ``val_`` in front."""
        ink = self.palette().windowText().color().name()
        self.figure.patch.set_alpha(0)
        epochs = [row["epoch"] for row in history]
        for axes, quantity in zip(self._axes, ("loss", "dice"), strict=True):
            axes.clear()
            axes.patch.set_alpha(0)
            for key in (quantity, f"val_{quantity}"):
                values = [row.get(key) for row in history]
                if any(value is not None for value in values):
                    label = _NAMES.get(key.replace("dice", "loss"))
                    axes.plot(
                        epochs,
                        values,
                        color=_COLOURS[key],
                        marker="." if len(epochs) < 20 else None,
                        label=label,
                    )
            axes.set_title("Loss" if quantity == "loss" else "Dice", color=ink, fontsize=9)
            axes.set_xlabel("epoch", color=ink, fontsize=8)
            axes.tick_params(colors=ink, labelsize=7)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            for spine in axes.spines.values():
                spine.set_color(ink)
                spine.set_alpha(0.4)
            axes.grid(alpha=0.15, color=ink)
        if any("val_loss" in row for row in history):
            self._axes[0].legend(fontsize=7, frameon=False, labelcolor=ink)
        self.draw_idle()
