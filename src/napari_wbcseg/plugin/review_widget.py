"""The widget *Review white blood cells*: look at each cell, correct it, and count again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..errors import EditError, WBCSegError
from ..segmentation.measure import in_physical_units
from .correction_store import AddToTrainingSet
from .jobs import clean_up_with
from .layer_picker import LayerPicker
from .layers import METADATA_KEY, own_viewer, role_of
from .panel import folded, scrolled_column, sentence, stretched, with_tip
from .review_canvas import ClickPicker, Frames, StrokeTool, look_at
from .review_columns import BY_NAME, NUMBERS
from .review_edits import level0, plane_of, shown_planes
from .review_histogram import Histogram
from .review_layer import Cell, LayerReview
from .review_table import SHOWN, CellTable, CellTableModel
from .review_units import pixel_size

if TYPE_CHECKING:
    import napari
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

#: Keys, on the canvas while the cells layer is chosen and in the table, and what they call.
KEYS = {
    "N": "next_to_check",
    "Shift-N": "previous_to_check",
    "A": "accept",
    "R": "reject",
    "S": "split",
    "J": "merge",
}


class ReviewWidget(QWidget):
    """Shows a row a cell of a Labels layer, and corrects its cells.

    The same from a script: set ``labels`` and ``image``, then call `select`, `accept`, `reject`, `split`,
    `merge`, `next_to_check`; read ``cells``, ``selected`` and ``review``. A cell is given as its plane
    (0 for a single image) and its label.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are offered.
    """

    #: Emitted when another layer is reviewed.
    layer_changed = Signal()
    #: Emitted when the table, the count or a decision changed.
    changed = Signal()
    #: Emitted with the selected cells.
    selection_changed = Signal(list)
    #: Emitted with the sentence that says what could not be done.
    failed = Signal(str)

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = own_viewer(napari_viewer)
        self.review: LayerReview | None = None
        self._clicks: ClickPicker | None = None
        self._frames: Frames | None = None
        self._stroke: StrokeTool | None = None
        self._bound: Labels | None = None
        self._selecting = False
        self._framed: list[Any] = []
        self._build()
        self._cleanup = clean_up_with(self)
        self._cleanup.add(self._let_go)
        self._viewer.dims.events.current_step.connect(self._on_plane)
        self._cleanup.add(lambda: self._viewer.dims.events.current_step.disconnect(self._on_plane))
        self._follow()

    # For scripts -----------------------------------------------------------------------------------------

    @property
    def labels(self) -> Labels | None:
        """The layer with the cells."""
        return self._labels_picker.layer

    @labels.setter
    def labels(self, layer: Labels) -> None:
        self._labels_picker.layer = layer

    @property
    def image(self) -> Image | None:
        """The stained image that goes with it; only images of the same shape are offered."""
        return self._image_picker.layer

    @image.setter
    def image(self, layer: Image) -> None:
        self._image_picker.layer = layer

    @property
    def cells(self) -> pd.DataFrame:
        """The table, lengths in µm where the layer has units of length; see `LayerReview.cells`.

        Raises
        ------
        EditError
            If there is no layer with cells.
        """
        review = self._need_review()
        height, width, _ = pixel_size(review.labels)
        return in_physical_units(review.cells, (height, width))

    @property
    def selected(self) -> list[Cell]:
        """The selected cells, in the order in which they were selected."""
        return self._table.selected

    @property
    def shown(self) -> list[Cell]:
        """The cells of the table from the top, as filtered and sorted."""
        return self._model.shown

    def select(self, cells: Iterable[Cell], *, centre: bool = True) -> None:
        """Select cells; the camera goes to the last of them.

        Raises
        ------
        EditError
            If a cell is not there.
        """
        review, chosen = self._need_review(), list(cells)
        there = set(review.keys())
        for plane, label in chosen:
            if (plane, label) not in there:
                raise EditError(f"There is no cell {label} on plane {plane}.")
        self._table.select(chosen)
        self._on_chosen(chosen, centre)

    def next_to_check(self, step: int = 1) -> Cell | None:
        """Go to the next cell to check, in the order of the table; None where there is none."""
        to_check = self._model.to_check
        if not to_check:
            self._say("No cell is left to check.")
            return None
        shown, current = self._model.shown, self.selected[-1:]
        at = shown.index(current[0]) if current and current[0] in shown else (-1 if step > 0 else len(shown))
        places = sorted(shown.index(cell) for cell in to_check) if len(to_check) < 50 else None
        if places is None:
            rank = {cell: row for row, cell in enumerate(shown)}
            places = sorted(rank[cell] for cell in to_check)
        beyond = [row for row in places if (row > at if step > 0 else row < at)]
        row = (beyond or places)[0 if step > 0 else -1]
        self.select([shown[row]])
        return shown[row]

    def previous_to_check(self) -> Cell | None:
        """Go to the cell to check before this one."""
        return self.next_to_check(-1)

    def accept(self) -> None:
        """Mark the selected cells as right; once more takes that back."""
        review = self._need_review()
        review.accept(self._need_selected("accept"))

    def reject(self) -> None:
        """Take the selected cells out of the labels; `undo` brings them back."""
        review = self._need_review()
        review.reject(self._need_selected("reject"))

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
        review = self._need_review()
        cell = self._need_selected("split")[-1] if stroke is None else self._cell_under(np.asarray(stroke))
        parts = review.split(cell, stroke)
        self.select(parts, centre=False)
        return parts

    def merge(self) -> Cell:
        """Make one cell of the selected ones."""
        review = self._need_review()
        whole = review.merge(self._need_selected("merge", 2))
        self.select([whole], centre=False)
        return whole

    def undo(self) -> None:
        """Take the last edit of the layer back."""
        review = self._need_review()
        review.labels.undo()
        review.update_now()

    def show_only(self, shown: str = "All cells", condition: str = "", *, this_plane: bool = False) -> None:
        """Filter the table.

        Parameters
        ----------
        shown : str
            One of the list *Show*, such as ``To check``.
        condition : str
            On the columns of `cells`, such as ``area > 300 and lobes >= 2``.
        this_plane : bool
            Only cells of the plane on the canvas.
        """
        self._shown.setCurrentText(shown)
        self._condition.setText(condition)
        self._this_plane.setChecked(this_plane)
        self._filter()

    def sort_by(self, column: str, *, descending: bool = False) -> None:
        """Sort the table by a column of `cells`."""
        index = next(i for i, each in enumerate(self._model.columns) if each.name == column)
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self._table.sortByColumn(index, order)

    # Parts -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._labels_picker = LayerPicker(self._viewer, _is_cells, "no labels yet")
        self._image_picker = LayerPicker(self._viewer, self._is_image, "no image of that shape")
        top = QFormLayout()
        tip = "The layer with the cells: of the Segment widget, or any other labels."
        top.addRow("Cells", with_tip(stretched(self._labels_picker), tip))
        tip = "The stained image that the stain and the nucleus are measured on."
        top.addRow("Image", with_tip(stretched(self._image_picker), tip))

        self._count = sentence()
        self._count.setStyleSheet("font-size: 16pt; font-weight: bold;")
        self._here = sentence()
        self._message = sentence()

        self._shown = QComboBox()
        self._shown.addItems(list(SHOWN))
        self._condition = QLineEdit()
        self._condition.setPlaceholderText("filter, such as: area > 300 and lobes >= 2")
        self._condition.setClearButtonEnabled(True)
        self._this_plane = with_tip(QCheckBox("this plane"), "Only the cells of the plane on the canvas.")
        filters = QHBoxLayout()
        filters.addWidget(with_tip(self._shown, "Which cells the table shows."))
        tip = "A condition on the columns: circularity < 0.8, touching or border. Press Enter."
        filters.addWidget(with_tip(self._condition, tip), 1)
        filters.addWidget(self._this_plane)

        self._model = CellTableModel(self._colour_of)
        self._table = CellTable(self._model)
        self._histogram = Histogram()
        self._column = QComboBox()
        for name in NUMBERS:
            self._column.addItem(BY_NAME[name].title, name)
        self._column.setCurrentText("area")
        histogram = QWidget()
        inside = QVBoxLayout(histogram)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self._column)
        inside.addWidget(self._histogram)
        self._histogram_part = folded("Histogram", histogram)

        #: Room for what others build on the review, such as adding cells to a training set.
        self.extras = QVBoxLayout()
        self.extras.addWidget(AddToTrainingSet(lambda: (self.image, self.labels)))
        layout = scrolled_column(self)
        layout.addLayout(top)
        for part in (self._count, self._here):
            layout.addWidget(part)
        layout.addLayout(filters)
        layout.addWidget(self._table, 1)
        layout.addLayout(self._buttons())
        layout.addWidget(self._message)
        layout.addWidget(self._histogram_part)
        layout.addLayout(self.extras)

        self._draw_later = QTimer(self)
        self._draw_later.setSingleShot(True)
        self._draw_later.setInterval(150)
        self._draw_later.timeout.connect(self._draw_histogram)
        self._labels_picker.layer_changed.connect(self._follow)
        self._image_picker.layer_changed.connect(self._on_image)
        self._shown.currentIndexChanged.connect(self._filter)
        self._condition.editingFinished.connect(self._filter)
        self._this_plane.toggled.connect(self._filter)
        self._table.chosen.connect(self._on_chosen)
        self._column.currentIndexChanged.connect(self._draw_histogram)
        self._histogram_part.toggled.connect(self._draw_histogram)

    def _buttons(self) -> QGridLayout:
        words = {
            "next_to_check": ("Next to check", "Go to the next cell that is unsure or flagged."),
            "accept": ("Accept", "The selected cells are right: nothing to check. Again takes it back."),
            "reject": ("Reject", "The selected cells are none: they leave the labels and the count."),
            "split": ("Split …", "Draw a line across a cell. A cell in pieces is split into them at once."),
            "merge": ("Merge", "Make one cell of the selected ones. Shift-click selects several."),
            "undo": ("Undo", "Take the last edit of the labels back."),
        }
        keys = {name: key for key, name in KEYS.items()} | {"undo": "Ctrl+Z"}
        grid = QGridLayout()
        self._actions: dict[str, QPushButton] = {}
        for place, (name, (title, tip)) in enumerate(words.items()):
            key = keys[name].replace("-", "+")
            button = self._actions[name] = with_tip(QPushButton(f"{title} ({key})"), f"{tip} Key: {key}.")
            button.clicked.connect(self._calling(name))
            grid.addWidget(button, place // 3, place % 3)
        for key, name in KEYS.items():
            shortcut = QShortcut(QKeySequence(key.replace("-", "+")), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(self._calling(name))
        undo = QShortcut(QKeySequence(QKeySequence.StandardKey.Undo), self)
        undo.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        undo.activated.connect(self._calling("undo"))
        return grid

    def _calling(self, name: str) -> Callable[..., None]:
        return lambda *_: self._by_hand(name)

    def _by_hand(self, name: str) -> None:
        """Do what a button or key asks for; what cannot be done is said, not raised."""
        self._say("")
        try:
            if name == "split":
                self._split_by_hand()
            elif name in ("accept", "reject"):
                self._decide_by_hand(name)
            else:
                getattr(self, name)()
        except WBCSegError as error:
            self._say(str(error))
            self.failed.emit(str(error))

    def _decide_by_hand(self, name: str) -> None:
        """Accept or reject; whoever goes from cell to cell to check goes on to the next one."""
        to_check, shown, selected = set(self._model.to_check), self._model.shown, self.selected
        checking = len(selected) == 1 and selected[0] in to_check
        at = shown.index(selected[0]) if checking else 0
        getattr(self, name)()
        left = self._model.to_check
        if checking and left:
            rank = {cell: row for row, cell in enumerate(shown)}
            after = [cell for cell in left if rank.get(cell, -1) > at]
            self.select([(after or left)[0]])

    def _split_by_hand(self) -> None:
        review = self._need_review()
        if self._stroke is not None:
            self._stroke.close()
            return
        if len(self.selected) == 1:
            cells = dict(zip(review.keys(), review.cells["pieces"].tolist(), strict=True))
            if cells.get(self.selected[0], 1) > 1:
                self.split()
                return
        sides = np.sqrt(review.cells["area"].to_numpy(float))
        width = max(1.0, 0.04 * float(np.median(sides))) if len(sides) else 1.0
        self._say("Draw a line across the cell on the canvas. Esc leaves it.")
        self._actions["split"].setText("Stop splitting (Esc)")
        self._stroke = StrokeTool(self._viewer, review.labels, width, self._on_stroke, self._on_stroke_ended)

    def _on_stroke(self, points: np.ndarray) -> None:
        try:
            parts = self.split(points)
            self._say(f"Cell {parts[0][1]} was split into {len(parts)}. Ctrl-Z takes it back.")
        except WBCSegError as error:
            self._say(str(error))
            self.failed.emit(str(error))

    def _on_stroke_ended(self) -> None:
        self._stroke = None
        self._actions["split"].setText("Split … (S)")
        self._say("")

    # The layer -------------------------------------------------------------------------------------------

    def _need_review(self) -> LayerReview:
        if self.review is None:
            raise EditError("There is no layer with cells: run Segment white blood cells, or open labels.")
        return self.review

    def _need_selected(self, what: str, least: int = 1) -> list[Cell]:
        selected = self.selected
        if len(selected) < least:
            some = "a cell" if least == 1 else "two cells or more"
            raise EditError(f"Select {some} to {what}: click in the table, or on the canvas (Shift adds).")
        return selected

    def _is_image(self, layer: Layer) -> bool:
        from napari.layers import Image

        labels = self._labels_picker.layer
        if labels is None or not isinstance(layer, Image) or role_of(layer) is not None:
            return False
        shape = level0(layer).shape
        return tuple(shape[:-1] if layer.rgb else shape) == tuple(level0(labels).shape)

    def _follow(self) -> None:
        """Review the chosen layer from now on."""
        self._let_go()
        labels = self._labels_picker.layer
        self._image_picker.refresh()
        if labels is None:
            self._model.set_table(_no_cells(), [], "px")
            self._refresh()
            self.layer_changed.emit()
            return
        source = labels.metadata.get(METADATA_KEY, {}).get("source_id")
        for layer in self._viewer.layers:
            if str(layer.unique_id) == source and self._is_image(layer):
                self._image_picker.layer = layer
        self.review = review = LayerReview(self._viewer, labels, self._image_picker.layer)
        review.changed.connect(self._on_changed)
        review.measured.connect(self._on_measured)
        review.noted.connect(self._say)
        self._clicks = ClickPicker(self._viewer, labels, [*self._images()], self._on_click)
        self._frames = Frames(self._viewer, labels)
        labels.events.selected_label.connect(self._on_label)
        for key, name in KEYS.items():
            labels.bind_key(key, self._calling(name), overwrite=True)
        self._bound = labels
        self._this_plane.setVisible(review.stacked)
        self._on_changed()
        self._on_measured()
        self.layer_changed.emit()

    def _images(self) -> list[Layer]:
        return [layer for layer in self._viewer.layers if self._is_image(layer)]

    def _let_go(self) -> None:
        if self._stroke is not None:
            self._stroke.close()
        for part in (self._clicks, self._frames, self.review):
            if part is not None:
                part.close()
        if self._bound is not None:
            self._bound.events.selected_label.disconnect(self._on_label)
            for key in KEYS:
                self._bound.bind_key(key, None)
        self._clicks = self._frames = self.review = self._bound = None
        self._framed = []

    def _on_image(self) -> None:
        if self.review is not None:
            self.review.set_image(self._image_picker.layer)

    # What happens ----------------------------------------------------------------------------------------

    def _on_changed(self) -> None:
        review = self.review
        if review is None:
            return
        keys = review.keys()
        self._model.set_table(self.cells, keys, pixel_size(review.labels)[2])
        selected, there = self.selected, set(keys)
        if any(cell not in there for cell in selected):
            self._table.select([cell for cell in selected if cell in there])
            self.selection_changed.emit(self.selected)
        self._frame()
        self._refresh()
        self._draw_later.start()
        self.changed.emit()

    def _on_measured(self) -> None:
        self._table.fit_columns()
        if self.review is not None:
            self._say(self.review.image_problem)

    def _refresh(self) -> None:
        review = self.review
        for button in self._actions.values():
            button.setEnabled(review is not None)
        if review is None:
            self._count.setText("")
            self._say("Run Segment white blood cells first, or open labels of your own.")
        else:
            self._count.setText(review.summary())
        plane = self._plane_shown()
        here = (
            f"Plane {plane}: {review.summary(plane)}."
            if review and review.stacked and plane is not None
            else ""
        )
        self._here.setText(here)
        self._here.setVisible(bool(here))

    def _plane_shown(self) -> int | None:
        if self.review is None:
            return None
        planes = shown_planes(self.review.labels, self._viewer.dims)
        return planes[0] if planes else None

    def _on_plane(self, event: Any = None) -> None:
        self._refresh()
        if self._this_plane.isChecked():
            self._filter()

    def _filter(self, *_: Any) -> None:
        conditions = [SHOWN[self._shown.currentText()], self._condition.text()]
        if self._this_plane.isChecked() and self._plane_shown() is not None:
            conditions.append(f"plane == {self._plane_shown()}")
        try:
            self._model.set_conditions(conditions)
            self._say("")
        except WBCSegError as error:
            self._say(str(error))
        self._draw_histogram()

    def _on_chosen(self, cells: list[Cell], centre: bool = True) -> None:
        """Follow the table: the label, the frames and the camera."""
        review = self.review
        if review is None:
            return
        if cells:
            plane, label = cells[-1]
            self._selecting = True
            review.labels.selected_label = label
            self._selecting = False
            if review.labels in self._viewer.layers and self._stroke is None:
                self._viewer.layers.selection.active = review.labels
            if centre:
                look_at(self._viewer, review.labels, plane, review.box_of(cells[-1]))
        self._frame()
        self._draw_later.start()
        self.selection_changed.emit(cells)

    def _on_label(self, event: Any = None) -> None:
        """Follow the layer: its picker chose a label."""
        review, plane = self.review, self._plane_shown()
        if review is None or self._selecting:
            return
        cell = (plane or 0, int(review.labels.selected_label))
        self._table.select([cell] if self._model.row_of(cell) is not None else [])
        self._on_chosen(self.selected, centre=False)

    def _on_click(self, label: int, add: bool) -> None:
        plane = self._plane_shown()
        if label == 0 or plane is None:
            if not add:
                self._table.select([])
                self._on_chosen([], centre=False)
            return
        cell, before = (plane, label), self.selected
        if add and cell in before:
            before.remove(cell)
            chosen = before
        else:
            chosen = [*before, cell] if add else [cell]
        self._table.select(chosen)
        self._on_chosen(chosen, centre=False)

    def _cell_under(self, stroke: np.ndarray) -> Cell:
        """Return the cell that a line is meant for."""
        review, plane = self._need_review(), self._plane_shown() or 0
        labels = plane_of(review.labels, plane)
        steps = np.linspace(0, 1, 200)[:, None]
        points = [a + steps * (b - a) for a, b in pairwise(stroke)]
        at = np.round(np.concatenate(points)).astype(int) if points else np.zeros((0, 2), int)
        at = at[((at >= 0) & (at < labels.shape)).all(axis=1)]
        numbers, counts = np.unique(labels[at[:, 0], at[:, 1]], return_counts=True)
        crossed = {int(n): int(c) for n, c in zip(numbers, counts, strict=True) if n != 0}
        if not crossed:
            raise EditError("The line crosses no cell: draw it right across one.")
        for cell in reversed(self.selected):
            if cell[0] == plane and cell[1] in crossed:
                return cell
        return plane, max(crossed, key=lambda number: crossed[number])

    def _frame(self) -> None:
        review = self.review
        if review is None or self._frames is None:
            return
        places = [(cell[0], review.box_of(cell)) for cell in self.selected[-50:]]
        if places != self._framed:
            self._framed = places
            self._frames.show(places)

    def _draw_histogram(self, *_: Any) -> None:
        if self.review is None or not self._histogram_part.isExpanded():
            return
        name = self._column.currentData()
        unit = pixel_size(self.review.labels)[2]
        rows = [row for cell in self.selected if (row := self._model.row_of(cell)) is not None]
        values = np.asarray(self._model.values(name), float)
        header = BY_NAME[name].header(unit).replace("\n", ", ")
        self._histogram.show_values(values, header, values[rows] if rows else None)

    def _colour_of(self, label: int) -> Any:
        return None if self.review is None else self.review.labels.get_color(label)

    def _say(self, words: str) -> None:
        self._message.setText(words)
        self._message.setVisible(bool(words))


def image_for(viewer: ViewerModel, labels: Labels) -> Image | None:
    """Return the image that labels belong to: their source, or one of the same shape."""
    from napari.layers import Image

    source = labels.metadata.get(METADATA_KEY, {}).get("source_id")
    fitting = None
    for layer in viewer.layers:
        if isinstance(layer, Image) and role_of(layer) is None:
            shape = level0(layer).shape
            if str(layer.unique_id) == source:
                return layer
            if tuple(shape[:-1] if layer.rgb else shape) == tuple(level0(labels).shape):
                fitting = layer
    return fitting


def _is_cells(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and layer.ndim in (2, 3)


def _no_cells() -> pd.DataFrame:
    from ..segmentation.measure import COLUMNS
    from ..segmentation.tracking import TrackedCells

    table = TrackedCells(np.zeros((0, 0), np.int32)).table
    assert tuple(table.columns) == COLUMNS
    return table.assign(flag=[], decision=[])
