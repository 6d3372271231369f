"""The widget *Review white blood cells*: look at each cell, correct it, and count again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pandas as pd
from app_model.backends.qt import qkeysequence2modelkeybinding
from app_model.types import KeyBinding
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut

from ...classification.learn import least_sure
from ...errors import EditError, SettingsError
from ...network.classifier import ClassifierFile
from ...network.tensor_file import SUFFIX
from ...segmentation.edit import label_under
from ..controls.basic_widgets import file_to_write, there
from ..controls.panel import Panel, held_by_part
from ..shared.jobs import Job, busy, in_background, timer
from ..shared.passing_layer import StrokeTool
from ..shared.viewer import own_viewer, plane_events, plane_of
from .canvas import OnCanvas
from .decisions import Cell
from .gallery import DIGITS
from .layer_review import ON_DISK, LayerReview
from .learning import Learning
from .panel import EDITING, KEYS, ReviewPanel, cells_in_units
from .table import SHOWN
from .training_set import field_writer, tell_of

_START = "Run Segment white blood cells first, or open labels of your own."
_DRAW_DELAY = 300  # ms after the last change
_OF_DIAMETER = 0.04  # width of the line that is drawn across a cell


class ReviewWidget(Panel):
    """Shows a row a cell of a Labels layer; selects, decides on and corrects its cells.

    From a script: set ``labels`` and ``image``, then call what selects and corrects. A cell is given as its
    plane, 0 for a single image, and its label. What cannot be done raises `EditError`; of what was asked for
    by hand it is said.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.

    Attributes
    ----------
    review : LayerReview or None
        The layer followed: its table in pixels, its count, the decisions.
    canvas : OnCanvas or None
    learning : Learning or None
        Both come and go with the review.
    panel : ReviewPanel
        What is seen of it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer = own_viewer(napari_viewer)
        self.review: LayerReview | None = None
        self.canvas: OnCanvas | None = None
        self.learning: Learning | None = None
        self._outlining: Job | None = None
        self.panel = panel = ReviewPanel(self, viewer, lambda: self.review, self._act)
        self.gallery, self.large = panel.gallery, panel.large
        self.differential = panel.differential
        self._stroke = StrokeTool(
            viewer,
            "draw a line across the cell",
            lambda points: self.by_hand(self._on_stroke, points),
            lambda: panel.waiting("split", False),
        )
        self._keys = {key: partial(self._act, name) for key, name in KEYS.items()}
        self._keys |= {key: partial(self.gallery.press, key) for key in DIGITS}
        for key, call in self._keys.items():
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(call)
        self._draw_later = timer(_DRAW_DELAY, self._draw, self)
        panel.selection.changed.connect(lambda centre: self._draw_later.start())
        panel.layers.labels.changed.connect(self._follow)
        panel.layers.image.changed.connect(self._on_image)
        panel.tabs.currentChanged.connect(self._bind_keys)
        self.cleanup.add(self._let_go)
        for event in plane_events(viewer.dims):
            self.cleanup.connect(event, self._on_plane)
        self._follow()

    # What is reviewed ------------------------------------------------------------------------------------

    labels: Labels | None = held_by_part(
        "panel.layers.labels.value", "The layer with the cells.", settable=True
    )
    image: Image | None = held_by_part(
        "panel.layers.image.value",
        "The stained image that goes with it; only images of the same shape are offered.",
        settable=True,
    )

    def need_review(self) -> LayerReview:
        """Return the review; `EditError` without one."""
        if self.review is None:
            raise EditError(self._why_none)
        return self.review

    @property
    def _why_none(self) -> str:
        """Say why there is no review."""
        labels = self.labels
        if labels is None:
            return f"There is no layer with cells. {_START}"
        return (
            f"{labels.name} has {labels.ndim} axes: cells are reviewed in a single image or in a stack of "
            f"planes. Add one as a layer: viewer.add_labels(viewer.layers[{labels.name!r}].data[0])."
        )

    # Following the layer ---------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Review the chosen layer from now on."""
        if self.cleanup.done:
            return  # a removed panel's lists go on following the viewer, and two reviews would disagree
        if self.learning is not None:
            self.learning.leave()
        self._let_go(later=True)
        self.panel.selection.select([])  # another layer has other cells of these numbers
        labels = self.labels
        self.panel.layers.take_source()
        if labels is not None and labels.ndim in (2, 3):
            self._start(labels)
        on_disk = self.review is not None and self.review.on_disk
        self.say(ON_DISK if on_disk else "" if self.review is not None else self._why_none)
        self.large.refresh()
        for name, press in self.panel.buttons.items():
            press.setEnabled(self.review is not None and not (on_disk and name in EDITING))
        self._on_changed()
        self._on_measured()
        self._bind_keys()

    def _start(self, labels: Labels) -> None:
        self.review = review = LayerReview(self.viewer, labels, self.image)
        review.changed.connect(self._on_changed)
        review.measured.connect(self._on_measured)
        review.noted.connect(self.say)
        self.canvas = canvas = OnCanvas(review, self.panel.layers.fitting_images, self.panel.selection)
        canvas.missed.connect(lambda plane, place: self.by_hand(self.outline_at, place, plane))
        self.learning = learning = Learning(review)
        learning.learnt.connect(self._show_learnt)
        learning.failed.connect(self.fail)

    def _let_go(self, later: bool = False) -> None:
        """Leave the layer as it was found.

        Our own layers go later where napari may be in the middle of removing some.
        """
        self._stop_tools()
        if self.canvas is not None:
            self.canvas.close(later)
        if self.review is not None:
            for key in self._keys:
                self.review.labels.bind_key(_on_canvas(key), None)
            self.review.close()
        self.review = self.canvas = self.learning = None

    def _bind_keys(self, *_: object) -> None:
        """Let the keys work on the canvas: digits as long as the gallery is open."""
        if self.review is not None:
            shown = self.panel.tabs.currentWidget() is self.gallery
            for key, call in self._keys.items():
                bound = shown or key not in DIGITS
                act = (lambda _, call=call: call()) if bound else None  # napari asks it for its name
                self.review.labels.bind_key(_on_canvas(key), act, overwrite=True)

    def _on_image(self) -> None:
        if self.review is not None:
            self.review.set_image(self.image)

    def _on_changed(self) -> None:
        self.panel.update()
        self.differential.refresh()
        self._show_learnt()
        self._draw_later.start()

    def _on_measured(self) -> None:
        self.panel.table.fit_columns()
        if self.review is not None and not self.review.measuring and not self.review.on_disk:
            self.say(self.review.image_problem)

    def _on_plane(self, event: Any = None) -> None:
        self.panel.show_counts()
        if self.panel.this_plane.isChecked():
            self.by_hand(self.panel.filter)

    def _draw(self) -> None:
        """Draw what may wait until the hands rest."""
        self.panel.draw_histogram()
        if self.canvas is not None:
            self.canvas.frame()
            self.canvas.colour()

    # What is listed --------------------------------------------------------------------------------------

    @property
    def cells(self) -> pd.DataFrame:
        """The table, lengths in µm where the layer has units of length; see `LayerReview.cells`."""
        return cells_in_units(self.need_review())

    selected: list[Cell] = held_by_part(
        "panel.selection.cells", "The selected cells, in the order in which they were selected."
    )
    to_check: list[Cell] = held_by_part(
        "panel.model.to_check", "Those of the table that are worth a second look, in its order."
    )
    shown: list[Cell] = held_by_part(
        "panel.model.shown", "The cells of the table from the top, as filtered and sorted."
    )

    def show_only(self, shown: str = "All cells", condition: str = "", *, this_plane: bool = False) -> None:
        """Filter the table.

        Parameters
        ----------
        shown : str
            One of the list beside the filter, such as ``To check``.
        condition : str
            On the columns of ``cells``, such as ``area > 300 and lobes >= 2``.
        this_plane : bool
            Only cells of the plane on the canvas.

        Raises
        ------
        SettingsError
            If the condition cannot be read; the table stays as it is.
        """
        if shown not in SHOWN:
            raise SettingsError(f"The table cannot show {shown!r}. Choose one of: {', '.join(SHOWN)}.")
        self.panel.condition.setText(condition)
        self.panel.shown.setCurrentText(shown)
        self.panel.this_plane.setChecked(this_plane)
        self.panel.filter()

    def show_gallery(self) -> None:
        """Open the gallery."""
        self.panel.tabs.setCurrentWidget(self.gallery)

    def show_differential(self, folder: Path | None = None) -> None:
        """Open the differential, of the picture or of all results in a folder, whatever the picture has."""
        self.differential.count_in(folder)
        self.panel.tabs.setCurrentWidget(self.differential)

    def show_histogram(self, column: str) -> None:
        """Open the histogram of a column of ``cells``."""
        self.panel.column.setCurrentIndex(self.panel.column.findData(column))
        self.panel.histogram_part.expand()

    # Selecting -------------------------------------------------------------------------------------------

    def select(self, cells: Iterable[Cell], *, centre: bool = True) -> None:
        """Select cells; the camera goes to the last of them."""
        self.panel.selection.select(self.need_review().checked(cells), centre)

    def next_to_check(self, step: int = 1) -> Cell | None:
        """Go to the next cell to check, in the order of the table, and return it; None without one."""
        self.need_review()
        return self._go_to(self.panel.next_to_check(step), "No cell is left to check.")

    def previous_to_check(self) -> Cell | None:
        """Go to the cell to check before this one."""
        return self.next_to_check(-1)

    def next_unsure(self) -> Cell | None:
        """Go to the cell that it helps most to name next, and return it; None without one."""
        review = self.need_review()
        keys = review.keys()
        cells = self.panel.onwards([keys[row] for row in least_sure(review.cells)])
        return self._go_to(next(iter(cells), None), "No cell is left whose class a model told.")

    def _go_to(self, cell: Cell | None, why_not: str) -> Cell | None:
        if cell is None:
            self.say(why_not)
        else:
            self.select([cell])
        return cell

    # Correcting ------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Mark the selected cells as right; once more takes that back."""
        self.need_review().accept(self._need_selected("accept"))

    def reject(self) -> None:
        """Take the selected cells out of the labels; `undo` brings them back."""
        self.need_review().reject(self._need_selected("reject"))

    def split(self, stroke: np.ndarray | None = None) -> list[Cell]:
        """Cut a cell along a line, or give the pieces of the selected one numbers of their own.

        Parameters
        ----------
        stroke : ndarray of float, shape (n, 2), optional
            Row and column of the line's points, in pixels of the plane shown. It cuts the selected cell
            where it crosses that, and the cell it is longest in otherwise. Without one the selected cell's
            pieces are told apart.

        Returns
        -------
        list of tuple of int
            The cells that there are now; they are selected.
        """
        review = self.need_review()
        review.require_editable()  # before a plane is read, which on disk is a whole slide
        if stroke is None:
            cell = self._need_selected("split")[-1]
        else:
            plane = review.plane
            if plane is None:
                raise EditError("Show one plane of the stack first: the line is in that.")
            wanted = [label for where, label in reversed(self.selected) if where == plane]
            cell = plane, label_under(plane_of(review.labels, plane), stroke, wanted)
        parts = review.split(cell, stroke)
        self.select(parts, centre=False)
        return parts

    def merge(self) -> Cell:
        """Make one cell of the selected ones, and return it."""
        whole = self.need_review().merge(self._need_selected("merge", 2))
        self.select([whole], centre=False)
        return whole

    def name(self, name: str) -> None:
        """Say what the selected cells are; see `LayerReview.name`."""
        self.need_review().name(self._need_selected("name"), name)

    def learn(self) -> None:
        """Learn the classes from the cells named so far, in the background; see `Learning.learn`."""
        self.need_review()
        there(self.learning).learn()

    def outline_at(self, point: tuple[float, float], plane: int = 0) -> None:
        """Outline a missed cell at a point, row and column in pixels, in the background, and select it."""
        review = self.need_review()
        if busy(self._outlining):
            raise EditError("A cell is being outlined: click again when it is there.")
        self._outlining = review.outline_at(plane, point, lambda cell: self.select([cell], centre=False))
        self._outlining.failed.connect(self.fail)

    def add_to_training_set(self) -> None:
        """Store this field and its cells in the training set, in the background."""
        if self.review is not None:
            self.review.update_now()
        work, store = field_writer(self.image, self.labels), self.panel.store_field
        store.setEnabled(False)
        title, ended = "Adding to the training set", partial(store.setEnabled, True)
        in_background(work, title, lasting=True, done=tell_of, failed=self.fail, ended=ended)

    def undo(self) -> None:
        """Take the last edit of the layer or the last decision back."""
        self.need_review().undo()

    def redo(self) -> None:
        """Do again what was taken back last."""
        self.need_review().redo()

    def _need_selected(self, what: str, least: int = 1) -> list[Cell]:
        selected = self.selected
        if len(selected) < least:
            some = "a cell" if least == 1 else "two cells or more"
            raise EditError(f"Select {some} to {what}: click in the table or on the image (Shift adds).")
        return selected

    # By hand ---------------------------------------------------------------------------------------------

    def by_hand(self, call: Callable[..., object], *arguments: Any) -> None:
        self.say("")
        super().by_hand(call, *arguments)

    def fail(self, words: str) -> None:
        """Say a sentence below the buttons, and tell of it, without a notification for each slip."""
        self._show_learnt(words)
        self.failed.emit(words)

    def _show_learnt(self, words: str = "") -> None:
        """Show whether classes are suggested, and whether there is something to be saved, and say it."""
        learning, review = self.learning, self.review
        self.panel.buttons["learn"].setChecked(learning is not None and learning.suggests)
        self.panel.save_classifier.setVisible(review is not None and review.suggestions is not None)
        if words:
            self.say(words)

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
        self.say(f"Cell {parts[0][1]} was split into {len(parts)}. Undo takes it back.")

    def _switch_outlining(self) -> None:
        """Begin to outline what is clicked, or stop."""
        review, canvas = self.need_review(), there(self.canvas)
        begins = not canvas.outlining
        if begins:
            review.require_editable()
            review.labels.mode = "pan_zoom"
            self.viewer.layers.selection.active = review.labels
        canvas.outlining = begins
        self.panel.waiting("outline_missed", begins)
        stop = (lambda _: self._stop_tools()) if begins else None
        review.labels.bind_key("Escape", stop, overwrite=True)

    def _stop_tools(self) -> None:
        """Stop what waits for something on the image."""
        if self.canvas is not None and self.canvas.outlining:
            self._switch_outlining()
        self._stroke.close()


def _on_canvas(key: str) -> KeyBinding:
    """Return a key as napari hears it: on a Mac what is Ctrl to Qt is Meta there."""
    return qkeysequence2modelkeybinding(QKeySequence(key))
