"""What the buttons and keys of the review do: what cannot be done is said, and whoever goes on is led on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ...errors import WBCSegError
from ..shared.panel import calling
from ..shared.stroke import StrokeTool
from .actions import ReviewActions
from .decisions import Cell
from .gallery import DIGITS
from .panel import KEYS

_OF_DIAMETER = 0.04  # width of the line that is drawn across a cell


class ByHand:
    """Acts on a review for the person at the mouse and the keys.

    Parameters
    ----------
    widget : ReviewActions
        Whose functions are called.
    """

    def __init__(self, widget: ReviewActions) -> None:
        self._widget, self._panel = widget, widget.panel
        self._stroke: StrokeTool | None = None

    def act(self, name: str) -> None:
        """Do what a button or key asks for, given by the name of a function of the widget."""
        with self.said():
            if name == "split":
                self._split()
            elif name == "outline_missed":
                self._wait_for_clicks(None)
            elif name in ("accept", "reject"):
                self._decide(name)
            elif name == "learn" and self._suggesting:
                self._widget.tools.learning.forget()  # type: ignore[union-attr]
            else:
                getattr(self._widget, name)()
        self.show_suggesting()

    @property
    def _suggesting(self) -> bool:
        tools, review = self._widget.tools, self._widget.review
        return tools is not None and review is not None and bool(review.told or tools.learning.wanted)

    def show_suggesting(self, words: str = "") -> None:
        """Show on the button whether classes are suggested, and what was learnt."""
        self._panel.buttons["learn"].setChecked(self._suggesting)
        if words:
            self._panel.say(words)

    def name(self, cells: list[Cell], name: str) -> None:
        """Name cells, as the gallery asks for."""
        with self.said():
            self._widget.need_review().name(cells, name)

    @contextmanager
    def said(self) -> Iterator[None]:
        """Say what could not be done."""
        self._panel.say("")
        try:
            yield
        except WBCSegError as error:
            self.fail(str(error))

    def fail(self, sentence: str) -> None:
        """Say a sentence below the buttons, and tell of it."""
        self._panel.say(sentence)
        self.show_suggesting()
        self._widget.failed.emit(sentence)

    def bind_keys(self, *_: object) -> None:
        """Let the keys work on the canvas: digits as long as the gallery is open."""
        review = self._widget.review
        if review is not None:
            shown = self._panel.tabs.currentWidget() is self._panel.gallery
            calls = {key: calling(self.act, name) for key, name in KEYS.items()}
            calls |= {key: calling(self._panel.gallery.press, key) for key in DIGITS}
            for key, call in calls.items():
                unbound = key in DIGITS and not shown
                review.labels.bind_key(key, None if unbound else call, overwrite=True)

    def close(self) -> None:
        """Stop what waits for something on the image."""
        self._wait_for_clicks(False)
        if self._stroke is not None:
            self._stroke.close()

    def _decide(self, name: str) -> None:
        """Accept or reject; whoever goes through the cells to check is taken to the next one."""
        widget = self._widget
        selected, to_check = widget.selected, widget.to_check
        checking = len(selected) == 1 and selected[0] in to_check
        later = to_check[to_check.index(selected[0]) + 1 :] if checking else []
        getattr(widget, name)()
        left = widget.to_check
        if checking and left:
            still = set(left)
            widget.select([next((cell for cell in later if cell in still), left[0])])

    def _split(self) -> None:
        widget, review = self._widget, self._widget.need_review()
        if self._stroke is not None:
            self._stroke.close()
            return
        if len(widget.selected) == 1:
            pieces = dict(zip(review.keys(), review.cells["pieces"].tolist(), strict=True))
            if pieces.get(widget.selected[0], 1) > 1:
                widget.split()
                return
        areas = review.cells["area"].to_numpy(float)
        width = max(1.0, _OF_DIAMETER * float(np.sqrt(np.median(areas)))) if len(areas) else 1.0
        self._panel.waiting("split", True)
        self._stroke = StrokeTool(
            widget.viewer,
            review.labels,
            "draw a line across the cell",
            width,
            self._on_stroke,
            self._on_stroke_ended,
        )

    def _wait_for_clicks(self, wait: bool | None) -> None:
        """Begin or stop outlining what is clicked; None for the other of the two."""
        widget, tools = self._widget, self._widget.tools
        if tools is None or wait == tools.canvas.outlining:
            return
        tools.canvas.outlining = wait = not tools.canvas.outlining
        self._panel.waiting("outline_missed", wait)
        labels = widget.need_review().labels
        labels.bind_key("Escape", (lambda _: self.close()) if wait else None, overwrite=True)
        if wait:
            labels.mode = "pan_zoom"
            widget.viewer.layers.selection.active = labels

    def on_missed(self, plane: int, place: np.ndarray) -> None:
        """Outline the cell that was clicked."""
        with self.said():
            self._widget.outline_at((float(place[0]), float(place[1])), plane)

    def _on_stroke(self, points: np.ndarray) -> None:
        with self.said():
            parts = self._widget.split(points)
            self._panel.say(f"Cell {parts[0][1]} was split into {len(parts)}. Ctrl-Z takes it back.")

    def _on_stroke_ended(self) -> None:
        self._stroke = None
        self._panel.waiting("split", False)
