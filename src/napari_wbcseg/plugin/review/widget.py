"""The widget *Review white blood cells*: look at each cell, correct it, and count again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout

from ...errors import WBCSegError
from ..shared.canvas_guard import guard_canvas
from ..shared.jobs import clean_up_with, timer
from ..shared.panel import calling
from ..shared.stroke import StrokeTool
from ..shared.unsaved_offer import UnsavedOffer
from ..shared.viewer import own_viewer
from .actions import START, ReviewActions, ReviewTools
from .correction_store import AddToTrainingSet
from .decisions import Cell
from .differential_panel import DifferentialPanel
from .gallery import DIGITS
from .large_edit import ON_DISK, LargeEditor
from .layer import LayerReview
from .learning import SaveClassifier
from .panel import EDITING, KEYS, LayerChoice, ReviewPanel
from .table import CellTableModel

_DRAW_DELAY = 300  # ms after the last change
_OF_DIAMETER = 0.04  # width of the line that is drawn across a cell


class ReviewWidget(ReviewActions):
    """Shows a row a cell of a Labels layer, and corrects its cells.

    The same from a script: set ``labels`` and ``image``, then call what `ReviewActions` offers.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    extras : QVBoxLayout
        Room below for what others build on the review.
    """

    #: Emitted when another layer is reviewed, or none.
    layer_changed = Signal()
    #: Emitted when the table, the count or a decision changed.
    changed = Signal()

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer = own_viewer(napari_viewer)
        guard_canvas(viewer)  # frames come and go
        self._layers = layers = LayerChoice(viewer)
        model = CellTableModel(self._colour_of)
        self.panel = panel = ReviewPanel(self, layers, model, self._act)
        panel.top.insertWidget(0, UnsavedOffer(viewer))
        self._stroke: StrokeTool | None = None
        self.extras: QVBoxLayout = panel.extras
        self.large = LargeEditor(viewer)
        self.large.chosen.connect(self._on_part)
        self.large.failed.connect(panel.say)
        self.extras.addWidget(self.large)
        self.extras.addWidget(AddToTrainingSet(self._corrected))
        self.save_classifier = export = SaveClassifier(self._fail)
        self.extras.addWidget(export)
        self._draw_later = timer(_DRAW_DELAY, self._draw, self)
        layers.labels.changed.connect(self._follow)
        layers.image.changed.connect(self._on_image)
        panel.shown.currentIndexChanged.connect(self._filter)
        panel.condition.editingFinished.connect(self._filter)
        panel.this_plane.toggled.connect(self._filter)
        panel.table.chosen.connect(lambda cells: self._show_selected(cells, centre=True))
        self.gallery = gallery = panel.gallery
        gallery.chosen.connect(lambda cells: self._show_selected(cells, centre=True, soon=True))
        gallery.named.connect(self._name_cells)
        gallery.class_menu.failed.connect(panel.say)
        self.selection_changed.connect(gallery.select)
        self.selection_changed.connect(lambda _: self._draw_later.start())
        for changed in (model.modelReset, model.dataChanged):
            changed.connect(lambda *_: gallery.show_cells(self.shown))
        panel.tabs.currentChanged.connect(self._bind_keys)
        self.differential = shares = DifferentialPanel(self.viewer)
        panel.tabs.addTab(shares, "Differential")
        self._followers = (export, gallery, shares)
        self.changed.connect(lambda: export.follow(self.review))
        self.changed.connect(shares.refresh)
        panel.column.currentIndexChanged.connect(panel.draw_histogram)
        panel.histogram_part.toggled.connect(panel.draw_histogram)
        self._cleanup = cleanup = clean_up_with(self)
        cleanup.add(self._let_go)
        cleanup.connect(viewer.dims.events.current_step, self._on_plane)
        self._follow()

    # What is reviewed ------------------------------------------------------------------------------------

    @property
    def labels(self) -> Labels | None:
        """The layer with the cells."""
        return self._layers.labels.value

    @labels.setter
    def labels(self, layer: Labels) -> None:
        self._layers.labels.value = layer

    @property
    def image(self) -> Image | None:
        """The stained image that goes with it; only images of the same shape are offered."""
        return self._layers.image.value

    @image.setter
    def image(self, layer: Image) -> None:
        self._layers.image.value = layer

    # Following the layer ---------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Review the chosen layer from now on."""
        if self._cleanup.done:
            return  # a removed panel's lists go on following the viewer, and two reviews would disagree
        self._let_go(later=True)
        labels = self.labels
        self._layers.take_source()
        on_disk = self.large.follow(labels)
        self.panel.say(START if labels is None else ON_DISK if on_disk else "")
        if labels is not None:
            self._start(labels)
        else:
            self.panel.follow(None)
        for name, button in self.panel.buttons.items():
            button.setEnabled(labels is not None and not (on_disk and name in EDITING))
        for part in self._followers:
            part.follow(self.review)
        self.layer_changed.emit()

    def _on_part(self, layer: Labels) -> None:
        """Review a part of a large result, or all of it again."""
        self.labels = layer
        self._follow()

    def _start(self, labels: Labels) -> None:
        self.review = review = LayerReview(self.viewer, labels, self.image)
        review.changed.connect(self._on_changed)
        review.measured.connect(self._on_measured)
        review.noted.connect(self.panel.say)
        self.tools = tools = ReviewTools(self.viewer, review, self._layers.images)
        tools.canvas.chosen.connect(self._show_selected)
        tools.canvas.missed.connect(self._on_missed)
        tools.learning.learnt.connect(self._show_suggesting)
        tools.missed.found.connect(lambda cell: self.select([cell], centre=False))
        for part in (tools.learning, tools.missed):
            part.failed.connect(self._fail)
        self._show_suggesting()
        self.panel.plane = tools.canvas.plane
        self.panel.follow(review)
        self._bind_keys()
        self._on_changed()
        self._on_measured()

    def _let_go(self, later: bool = False) -> None:
        """Leave the layer as it was found.

        Our own layers go later where napari may be in the middle of removing some.
        """
        self._stop_tools()
        tools, self.tools = self.tools, None
        if tools is not None:
            tools.close(later)
        review, self.review = self.review, None
        if review is not None:
            review.close()
            for key in (*KEYS, *DIGITS):
                review.labels.bind_key(key, None)

    def _on_image(self) -> None:
        if self.review is not None:
            self.review.set_image(self._layers.image.value)

    def _on_changed(self) -> None:
        if self.review is None or self.tools is None:
            return
        self.panel.update()
        there, selected = set(self.review.keys()), self.selected
        left = [cell for cell in selected if cell in there]
        if len(left) < len(selected):
            self._show_selected(left)
        else:
            self.tools.canvas.show(selected, soon=True)
        self._draw_later.start()
        self.changed.emit()

    def _on_measured(self) -> None:
        self.panel.table.fit_columns()
        if self.review is not None and not self.review.measuring and not self.review.on_disk:
            self.panel.say(self.review.image_problem)

    def _on_plane(self, event: Any = None) -> None:
        if self.tools is not None and self.panel.go_to_plane(self.tools.canvas.plane):
            self._filter()

    def _filter(self, *_: Any) -> None:
        """Filter by hand: what cannot be read is said."""
        with self._said():
            self.panel.filter()
            self.panel.draw_histogram()

    # Rows and cells --------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Draw what may wait until the hands rest."""
        self.panel.draw_histogram()
        if self.tools is not None:
            self.tools.canvas.colour()

    def _corrected(self) -> tuple[Image | None, Labels | None]:
        """Return the layers, with every decision written into the features."""
        if self.review is not None:
            self.review.update_now()
            self.review.write_features()
        return self.image, self.labels

    def _colour_of(self, label: int) -> Any:
        return None if self.review is None else self.review.labels.get_color(label)

    # By button and key: what cannot be done is said, and whoever goes on is led on --------------------------

    def _act(self, name: str) -> None:
        """Do what a button or key asks for, given by the name of a function of the widget."""
        with self._said():
            if name == "split":
                self._split()
            elif name == "outline_missed":
                self._wait_for_clicks(None)
            elif name in ("accept", "reject"):
                self._decide(name)
            elif name == "learn" and self._suggesting:
                self.tools.learning.forget()  # type: ignore[union-attr]
            else:
                getattr(self, name)()
        self._show_suggesting()

    @property
    def _suggesting(self) -> bool:
        tools, review = self.tools, self.review
        return tools is not None and review is not None and bool(review.told or tools.learning.wanted)

    def _show_suggesting(self, words: str = "") -> None:
        """Show on the button whether classes are suggested, and what was learnt."""
        self.panel.buttons["learn"].setChecked(self._suggesting)
        if words:
            self.panel.say(words)

    def _name_cells(self, cells: list[Cell], name: str) -> None:
        """Name cells, as the gallery asks for."""
        with self._said():
            self.need_review().name(cells, name)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Say what could not be done."""
        self.panel.say("")
        try:
            yield
        except WBCSegError as error:
            self._fail(str(error))

    def _fail(self, sentence: str) -> None:
        """Say a sentence below the buttons, and tell of it."""
        self.panel.say(sentence)
        self._show_suggesting()
        self.failed.emit(sentence)

    def _bind_keys(self, *_: object) -> None:
        """Let the keys work on the canvas: digits as long as the gallery is open."""
        review = self.review
        if review is not None:
            shown = self.panel.tabs.currentWidget() is self.panel.gallery
            calls = {key: calling(self._act, name) for key, name in KEYS.items()}
            calls |= {key: calling(self.panel.gallery.press, key) for key in DIGITS}
            for key, call in calls.items():
                unbound = key in DIGITS and not shown
                review.labels.bind_key(key, None if unbound else call, overwrite=True)

    def _stop_tools(self) -> None:
        """Stop what waits for something on the image."""
        self._wait_for_clicks(False)
        if self._stroke is not None:
            self._stroke.close()

    def _decide(self, name: str) -> None:
        """Accept or reject; whoever goes through the cells to check is taken to the next one."""
        selected, to_check = self.selected, self.to_check
        checking = len(selected) == 1 and selected[0] in to_check
        later = to_check[to_check.index(selected[0]) + 1 :] if checking else []
        getattr(self, name)()
        left = self.to_check
        if checking and left:
            still = set(left)
            self.select([next((cell for cell in later if cell in still), left[0])])

    def _split(self) -> None:
        review = self.need_review()
        if self._stroke is not None:
            self._stroke.close()
            return
        if len(self.selected) == 1:
            pieces = dict(zip(review.keys(), review.cells["pieces"].tolist(), strict=True))
            if pieces.get(self.selected[0], 1) > 1:
                self.split()
                return
        areas = review.cells["area"].to_numpy(float)
        width = max(1.0, _OF_DIAMETER * float(np.sqrt(np.median(areas)))) if len(areas) else 1.0
        self.panel.waiting("split", True)
        self._stroke = StrokeTool(
            self.viewer,
            review.labels,
            "draw a line across the cell",
            width,
            self._on_stroke,
            self._on_stroke_ended,
        )

    def _wait_for_clicks(self, wait: bool | None) -> None:
        """Begin or stop outlining what is clicked; None for the other of the two."""
        tools = self.tools
        if tools is None or wait == tools.canvas.outlining:
            return
        tools.canvas.outlining = wait = not tools.canvas.outlining
        self.panel.waiting("outline_missed", wait)
        labels = self.need_review().labels
        labels.bind_key("Escape", (lambda _: self._stop_tools()) if wait else None, overwrite=True)
        if wait:
            labels.mode = "pan_zoom"
            self.viewer.layers.selection.active = labels

    def _on_missed(self, plane: int, place: np.ndarray) -> None:
        """Outline the cell that was clicked."""
        with self._said():
            self.outline_at((float(place[0]), float(place[1])), plane)

    def _on_stroke(self, points: np.ndarray) -> None:
        with self._said():
            parts = self.split(points)
            self.panel.say(f"Cell {parts[0][1]} was split into {len(parts)}. Ctrl-Z takes it back.")

    def _on_stroke_ended(self) -> None:
        self._stroke = None
        self.panel.waiting("split", False)
