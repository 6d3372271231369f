"""The widget *Review white blood cells*: look at each cell, correct it, and count again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pandas as pd
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from ...errors import EditError, SettingsError, WBCSegError
from ...network.tensor_file import SUFFIX
from ...segmentation.edit import label_under
from ..shared.canvas_guard import guard_canvas
from ..shared.jobs import Job, clean_up_with, timer
from ..shared.panel import button
from ..shared.stroke import StrokeTool
from ..shared.unsaved import UnsavedOffer
from ..shared.viewer import own_viewer
from .canvas import OnCanvas
from .correction_store import add_to_training_set
from .decisions import Cell
from .differential_panel import DifferentialPanel
from .edits import plane_of
from .gallery import DIGITS
from .large_edit import ON_DISK, LargeEditor
from .layer import LayerReview
from .learning import Learning
from .missed_cell import outline_missed
from .panel import EDITING, LayerChoice, ReviewPanel, cells_of
from .table import SHOWN, CellTableModel

_START = "Run Segment white blood cells first, or open labels of your own."
_DRAW_DELAY = 300  # ms after the last change
_OF_DIAMETER = 0.04  # width of the line that is drawn across a cell


class ReviewWidget(QWidget):
    """Shows a row a cell of a Labels layer; selects, decides on and corrects its cells.

    The same from a script: set ``labels`` and ``image``, then call what has no underscore. A cell is given as
    its plane, 0 for a single image, and its label. What cannot be done raises `EditError`.

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
        Table, gallery and buttons.
    differential : DifferentialPanel
    large : LargeEditor
    """

    #: Emitted with the sentence that says what a button or key could not do.
    failed = Signal(str)

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer = own_viewer(napari_viewer)
        guard_canvas(viewer)  # frames come and go
        self.review: LayerReview | None = None
        self.canvas: OnCanvas | None = None
        self.learning: Learning | None = None
        self._stroke: StrokeTool | None = None
        self._outlining: Job | None = None
        self._layers = layers = LayerChoice(viewer)
        self.panel = panel = ReviewPanel(self, layers, CellTableModel(self._colour_of), self._act)
        self.gallery = gallery = panel.gallery
        self.differential = DifferentialPanel(viewer)
        panel.tabs.addTab(self.differential, "Differential")
        self.large = LargeEditor(viewer, self._by_hand, self._fail)
        self.store_field = button(
            "Add to my training set",
            lambda: self._by_hand(self.add_to_training_set),
            "Stores this field and its cells, as they are now, in a folder that models are fine-tuned on "
            "(White blood cell models). The same field again replaces what was stored of it.",
        )
        self.save_classifier = button(
            "Save the classifier …",
            lambda: self._by_hand(self._ask_where_to_save),
            "A file that wbcseg classify, and Classes in the Segment panel, take.",
        )
        panel.layout.insertWidget(0, UnsavedOffer(viewer))
        for part in (self.large, self.store_field, self.save_classifier):
            panel.layout.addWidget(part)
        self._draw_later = timer(_DRAW_DELAY, self._draw, self)
        layers.labels.changed.connect(self._follow)
        layers.image.changed.connect(self._on_image)
        for changed in (
            panel.shown.currentIndexChanged,
            panel.condition.editingFinished,
            panel.this_plane.toggled,
        ):
            changed.connect(lambda *_: self._by_hand(panel.filter))
        for view in (panel.table, gallery):
            view.selection.chosen.connect(lambda cells: self._show_selected(cells, centre=True))
        gallery.named.connect(lambda cells, name: self._by_hand(self.need_review().name, cells, name))
        gallery.class_menu.failed.connect(panel.say)
        panel.model.modelReset.connect(gallery.renew)
        panel.tabs.currentChanged.connect(self._bind_keys)
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

    def need_review(self) -> LayerReview:
        """Return the review; `EditError` without one."""
        if self.review is None:
            raise EditError(f"There is no layer with cells. {_START}")
        return self.review

    # Following the layer ---------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Review the chosen layer from now on."""
        if self._cleanup.done:
            return  # a removed panel's lists go on following the viewer, and two reviews would disagree
        self._let_go(later=True)
        labels = self.labels
        self._layers.take_source()
        on_disk = self.large.follow(labels)
        self.panel.say(_START if labels is None else ON_DISK if on_disk else "")
        if labels is not None:
            self._start(labels)
        for part in (self.panel, self.gallery, self.differential):
            part.follow(self.review)
        for name, press in self.panel.buttons.items():
            press.setEnabled(labels is not None and not (on_disk and name in EDITING))
        self._show_learnt()
        self._bind_keys()
        self._on_changed()
        self._on_measured()

    def _start(self, labels: Labels) -> None:
        self.review = review = LayerReview(self.viewer, labels, self.image)
        review.changed.connect(self._on_changed)
        review.measured.connect(self._on_measured)
        review.noted.connect(self.panel.say)
        self.canvas = canvas = OnCanvas(review, self._layers.images)
        canvas.chosen.connect(self._show_selected)
        canvas.missed.connect(lambda plane, place: self._by_hand(self.outline_at, place, plane))
        self.learning = learning = Learning(review)
        learning.learnt.connect(self._show_learnt)
        learning.failed.connect(self._fail)

    def _let_go(self, later: bool = False) -> None:
        """Leave the layer as it was found.

        Our own layers go later where napari may be in the middle of removing some.
        """
        self._stop_tools()
        if self.canvas is not None:
            self.canvas.close(later)
        if self.review is not None:
            self.review.close()
            for key in self.panel.keys:
                self.review.labels.bind_key(key, None)
        self.review = self.canvas = self.learning = None

    def _on_image(self) -> None:
        if self.review is not None:
            self.review.set_image(self.image)

    def _on_changed(self) -> None:
        self.panel.update()
        if self.review is None:
            return
        there, selected = set(self.review.keys()), self.selected
        left = [cell for cell in selected if cell in there]
        if len(left) < len(selected):
            self._show_selected(left)
        self._draw_later.start()
        self.differential.refresh()

    def _on_measured(self) -> None:
        self.panel.table.fit_columns()
        if self.review is not None and not self.review.measuring and not self.review.on_disk:
            self.panel.say(self.review.image_problem)

    def _on_plane(self, event: Any = None) -> None:
        self.panel.show_counts()
        if self.panel.this_plane.isChecked():
            self._by_hand(self.panel.filter)

    def _draw(self) -> None:
        """Draw what may wait until the hands rest."""
        self.panel.draw_histogram()
        if self.canvas is not None:
            self.canvas.show(self.selected)
            self.canvas.colour()

    def _colour_of(self, label: int) -> Any:
        return None if self.review is None else self.review.labels.get_color(label)

    # What is listed --------------------------------------------------------------------------------------

    @property
    def cells(self) -> pd.DataFrame:
        """The table, lengths in µm where the layer has units of length; see `LayerReview.cells`."""
        return cells_of(self.need_review())

    @property
    def selected(self) -> list[Cell]:
        """The selected cells, in the order in which they were selected."""
        return self.panel.table.selection.cells

    @property
    def to_check(self) -> list[Cell]:
        """Those of the table that are worth a second look, in its order."""
        return self.panel.model.to_check

    @property
    def shown(self) -> list[Cell]:
        """The cells of the table from the top, as filtered and sorted."""
        return self.panel.model.shown

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
        self._show_selected(self.need_review().there(cells), centre)

    def next_to_check(self, step: int = 1) -> Cell | None:
        """Go to the next cell to check, in the order of the table, and return it; None without one."""
        self.need_review()
        return self._go_to(self.panel.next_to_check(step), "No cell is left to check.")

    def previous_to_check(self) -> Cell | None:
        """Go to the cell to check before this one."""
        return self.next_to_check(-1)

    def next_unsure(self) -> Cell | None:
        """Go to the cell that it helps most to name next, and return it; None without one."""
        self.need_review()
        return self._go_to(self.panel.next_unsure(), "No cell is left whose class a model told.")

    def _go_to(self, cell: Cell | None, why_not: str) -> Cell | None:
        if cell is None:
            self.panel.say(why_not)
        else:
            self.select([cell])
        return cell

    def _show_selected(self, cells: list[Cell], centre: bool = False) -> None:
        """Show in the table, the gallery and on the canvas which cells are selected; see `OnCanvas.show`."""
        if self.canvas is not None:
            self.panel.table.selection.select(cells)
            self.gallery.selection.select(cells)
            self.canvas.show(cells, centre)
            self._draw_later.start()

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
        if stroke is None:
            cell = self._need_selected("split")[-1]
        else:
            plane = review.plane or 0
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
        self.learning.learn()  # type: ignore[union-attr]

    def outline_at(self, point: tuple[float, float], plane: int = 0) -> None:
        """Outline a missed cell at a point, row and column in pixels, in the background, and select it."""
        review = self.need_review()
        if self._outlining is not None and self._outlining.running:
            raise EditError("A cell is being outlined: click again when it is there.")
        self._outlining = outline_missed(
            review, plane, point, lambda cell: self.select([cell], centre=False), self._fail
        )

    def add_to_training_set(self) -> None:
        """Store this field and its cells in the training set, in the background."""
        if self.review is not None:
            self.review.update_now()
        job = add_to_training_set(self.image, self.labels, self._fail)
        self.store_field.setEnabled(False)
        job.ended.connect(lambda: self.store_field.setEnabled(True))

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

    # By button, key and click ----------------------------------------------------------------------------

    def _by_hand(self, call: Callable[..., object], *arguments: Any) -> None:
        """Do what a person asks for; what cannot be done is said, not raised."""
        self.panel.say("")
        try:
            call(*arguments)
        except WBCSegError as error:
            self._fail(str(error))

    def _fail(self, sentence: str) -> None:
        """Say a sentence below the buttons, and tell of it."""
        self._show_learnt(sentence)
        self.failed.emit(sentence)

    def _act(self, name: str) -> None:
        """Do what a button or key asks for, given by the name of a function of the widget."""
        more_by_hand = {
            "accept": lambda: self._decide(self.accept),
            "reject": lambda: self._decide(self.reject),
            "split": self._split,
            "outline_missed": self._switch_outlining,
            "learn": self._switch_learning,
        }
        self._by_hand(more_by_hand.get(name) or getattr(self, name))
        self._show_learnt()

    def _bind_keys(self, *_: object) -> None:
        """Let the keys work on the canvas: digits as long as the gallery is open."""
        if self.review is not None:
            shown = self.panel.tabs.currentWidget() is self.gallery
            for key, call in self.panel.keys.items():
                bound = shown or key not in DIGITS
                self.review.labels.bind_key(key, call if bound else None, overwrite=True)

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

    def _show_learnt(self, words: str = "") -> None:
        """Show whether classes are suggested, and whether there is something to be saved, and say it."""
        learning, review = self.learning, self.review
        self.panel.buttons["learn"].setChecked(learning is not None and learning.suggests)
        self.save_classifier.setVisible(review is not None and review.told is not None)
        if words:
            self.panel.say(words)

    def _ask_where_to_save(self) -> None:
        """Export what was learnt."""
        files = f"Classifiers (*{SUFFIX})"
        name, _ = QFileDialog.getSaveFileName(self, "Save the classifier", f"classes{SUFFIX}", files)
        told = self.need_review().told
        if name and told is not None:
            told.save(name if name.endswith(SUFFIX) else name + SUFFIX)

    def _split(self) -> None:
        """Split a cell that is in pieces; else wait for a line, or no more."""
        review, selected = self.need_review(), self.selected
        if self._stroke is not None:
            self._stroke.close()
            return
        if len(selected) == 1 and review.cells["pieces"].iloc[review.keys().index(selected[0])] > 1:
            self.split()
            return
        width = np.nanmax([1.0, _OF_DIAMETER * review.cells["diameter"].median()])
        self.panel.waiting("split", True)
        self._stroke = StrokeTool(
            self.viewer,
            review.labels,
            "draw a line across the cell",
            float(width),
            lambda points: self._by_hand(self._on_stroke, points),
            self._on_stroke_ended,
        )

    def _on_stroke(self, points: np.ndarray) -> None:
        parts = self.split(points)
        self.panel.say(f"Cell {parts[0][1]} was split into {len(parts)}. Ctrl-Z takes it back.")

    def _on_stroke_ended(self) -> None:
        self._stroke = None
        self.panel.waiting("split", False)

    def _switch_outlining(self) -> None:
        """Begin to outline what is clicked, or stop."""
        labels, canvas = self.need_review().labels, self.canvas
        assert canvas is not None
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
        if self._stroke is not None:
            self._stroke.close()
