"""The widget *Review white blood cells*: what its buttons and keys, and clicks on the image, do."""

from __future__ import annotations

from collections.abc import Callable

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut

from ...network.classifier import ClassifierFile
from ...network.tensor_file import SUFFIX
from ..controls.basic_widgets import calling, file_to_write
from ..shared.passing_layer import StrokeTool
from .gallery import DIGITS
from .panel import BUTTONS
from .scripted import ScriptedReview

#: Keys, in the table and on the canvas while the layer is chosen, and the action of each.
KEYS = {
    **{key.replace("-", "+"): name for name, (_, key, _) in BUTTONS.items()},
    "Shift+N": "previous_to_check",
    "Ctrl+Shift+Z": "redo",
}
_OF_DIAMETER = 0.04  # width of the line that is drawn across a cell


class ReviewWidget(ScriptedReview):
    """Lets a person do by hand what `ScriptedReview` does; what cannot be done is said, not raised.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        panel, gallery = self.panel, self.gallery
        self._stroke = StrokeTool(
            self.viewer,
            "draw a line across the cell",
            lambda points: self.by_hand(self._on_stroke, points),
            lambda: panel.waiting("split", False),
        )
        self._keys = {key: calling(self._act, name) for key, name in KEYS.items()}
        self._keys |= {key: calling(gallery.press, key) for key in DIGITS}
        for key, call in self._keys.items():
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(call)
        for name, press in panel.buttons.items():
            press.clicked.connect(calling(self._act, name))
        panel.store_field.clicked.connect(calling(self._act, "add_to_training_set"))
        panel.save_classifier.clicked.connect(calling(self._act, "save_classifier"))
        for changed in (
            panel.shown.currentIndexChanged,
            panel.condition.editingFinished,
            panel.this_plane.toggled,
        ):
            changed.connect(lambda *_: self.by_hand(panel.filter))
        gallery.named.connect(lambda cells, name: self.by_hand(self.need_review().name, cells, name))
        panel.tabs.currentChanged.connect(self._bind_keys)
        self._follow()

    def _follow(self) -> None:
        super()._follow()
        if self.canvas is not None:
            self.canvas.missed.connect(lambda plane, place: self.by_hand(self.outline_at, place, plane))
        self._bind_keys()

    def _let_go(self, later: bool = False) -> None:
        self._stop_tools()
        if self.review is not None:
            for key in self._keys:
                self.review.labels.bind_key(key, None)
        super()._let_go(later)

    def _bind_keys(self, *_: object) -> None:
        """Let the keys work on the canvas: digits as long as the gallery is open."""
        if self.review is not None:
            shown = self.panel.tabs.currentWidget() is self.gallery
            for key, call in self._keys.items():
                bound = shown or key not in DIGITS
                self.review.labels.bind_key(key, call if bound else None, overwrite=True)

    def _act(self, name: str) -> None:
        """Do what a button or key asks for, given by the name of a function of the widget."""
        more_by_hand = {
            "accept": lambda: self._decide(self.accept),
            "reject": lambda: self._decide(self.reject),
            "split": self._split,
            "outline_missed": self._switch_outlining,
            "learn": self._switch_learning,
            "save_classifier": self._ask_where_to_save,
        }
        self.by_hand(more_by_hand.get(name) or getattr(self, name))
        self._show_learnt()

    def _decide(self, decide: Callable[[], None]) -> None:
        """Accept or reject; whoever goes through the cells to check is taken to the next one."""
        checking = len(self.selected) == 1 and self.selected[0] in self.to_check
        following = self.panel.next_to_check()
        decide()
        if checking and following in self.to_check:
            self.select([following])

    def _switch_learning(self) -> None:
        if self.learning is not None and self.learning.suggests:
            self.learning.forget()
        else:
            self.learn()

    def _ask_where_to_save(self) -> None:
        """Export what was learnt."""
        endings = {f"Classifiers (*{SUFFIX})": SUFFIX}
        file = file_to_write(self, "Save the classifier", f"classes{SUFFIX}", endings)
        found = self.need_review().suggestions
        if file is not None and found is not None:
            ClassifierFile.write(file, found.classifier.header, found.classifier.weights)

    def _split(self) -> None:
        """Split a cell that is in pieces; else wait for a line, or no more."""
        review, selected = self.need_review(), self.selected
        if self._stroke.waits:
            self._stroke.close()
            return
        review.require_editable()
        if len(selected) == 1 and review.cells["pieces"].iloc[review.keys().index(selected[0])] > 1:
            self.split()
            return
        width = np.nanmax([1.0, _OF_DIAMETER * review.cells["diameter"].median()])
        self.panel.waiting("split", True)
        self._stroke.start(review.labels, float(width))

    def _on_stroke(self, points: np.ndarray) -> None:
        parts = self.split(points)
        self.say(f"Cell {parts[0][1]} was split into {len(parts)}. Ctrl-Z takes it back.")

    def _switch_outlining(self) -> None:
        """Begin to outline what is clicked, or stop."""
        labels, canvas = self.need_review().labels, self.canvas
        assert canvas is not None
        if not canvas.outlining:
            self.need_review().require_editable()
        canvas.outlining = not canvas.outlining
        self.panel.waiting("outline_missed", canvas.outlining)
        stop = (lambda _: self._stop_tools()) if canvas.outlining else None
        labels.bind_key("Escape", stop, overwrite=True)
        if canvas.outlining:
            labels.mode = "pan_zoom"
            self.viewer.layers.selection.active = labels

    def _stop_tools(self) -> None:
        """Stop what waits for something on the image."""
        if self.canvas is not None and self.canvas.outlining:
            self._switch_outlining()
        self._stroke.close()
