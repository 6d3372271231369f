"""The widget *Review white blood cells*: look at each cell, correct it, and count again."""

from __future__ import annotations

from typing import Any

import napari
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout

from ..shared.canvas_guard import guard_canvas
from ..shared.jobs import clean_up_with, timer
from ..shared.offers import UnsavedOffer
from ..shared.viewer import own_viewer
from .actions import START, ReviewActions, ReviewTools
from .by_hand import ByHand
from .correction_store import AddToTrainingSet
from .differential_panel import DifferentialPanel
from .gallery import DIGITS
from .large_edit import ON_DISK, LargeEditor
from .layer import LayerReview
from .learning import SaveClassifier
from .panel import EDITING, KEYS, LayerChoice, ReviewPanel
from .table import CellTableModel

_DRAW_DELAY = 300  # ms after the last change


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
        self.panel = panel = ReviewPanel(self, layers, model, lambda name: self._hand.act(name))
        panel.top.insertWidget(0, UnsavedOffer(viewer))
        self._hand = hand = ByHand(self)
        self.extras: QVBoxLayout = panel.extras
        self.large = LargeEditor(viewer)
        self.large.chosen.connect(self._on_part)
        self.large.failed.connect(panel.say)
        self.extras.addWidget(self.large)
        self.extras.addWidget(AddToTrainingSet(self._corrected))
        self.save_classifier = export = SaveClassifier(hand.fail)
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
        gallery.named.connect(hand.name)
        gallery.class_menu.failed.connect(panel.say)
        self.selection_changed.connect(gallery.select)
        self.selection_changed.connect(lambda _: self._draw_later.start())
        for changed in (model.modelReset, model.dataChanged):
            changed.connect(lambda *_: gallery.show_cells(self.shown))
        panel.tabs.currentChanged.connect(hand.bind_keys)
        self.differential = shares = DifferentialPanel(self.viewer)
        panel.tabs.addTab(shares, "Differential")
        for part in (export, gallery, shares):
            self.layer_changed.connect(lambda part=part: part.follow(self.review))
        for part in (export, shares):
            self.changed.connect(part.refresh)
        panel.column.currentIndexChanged.connect(panel.draw_histogram)
        panel.histogram_part.toggled.connect(panel.draw_histogram)
        self.viewer.dims.events.current_step.connect(self._on_plane)
        self._cleanup = cleanup = clean_up_with(self)
        cleanup.add(self._let_go)
        cleanup.add(lambda: self.viewer.dims.events.current_step.disconnect(self._on_plane))
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
        tools.canvas.missed.connect(self._hand.on_missed)
        tools.learning.learnt.connect(self._hand.show_suggesting)
        tools.missed.found.connect(lambda cell: self.select([cell], centre=False))
        for part in (tools.learning, tools.missed):
            part.failed.connect(self._hand.fail)
        self._hand.show_suggesting()
        self.panel.plane = tools.canvas.plane
        self.panel.follow(review)
        self._hand.bind_keys()
        self._on_changed()
        self._on_measured()

    def _let_go(self, later: bool = False) -> None:
        """Leave the layer as it was found.

        Our own layers go later where napari may be in the middle of removing some.
        """
        self._hand.close()
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
        with self._hand.said():
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
