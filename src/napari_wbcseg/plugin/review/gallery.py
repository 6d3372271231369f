"""The gallery: all cells at one scale, sorted into classes by key, by dragging or from a menu."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractListModel, QMimeData, QModelIndex, QRect, QSize, Qt
from qtpy.QtGui import QColor, QDrag, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListView, QMenu, QStyle, QStyledItemDelegate

from ...classification.classes import CLASS, CLASS_BY, CLASS_PROBABILITY, PERSON, UNSURE, ClassList
from ..controls.basic_widgets import there
from ..controls.panel import Panel
from .class_menu import ClassMenu
from .crops import Crops
from .decisions import ACCEPTED, Cell, keys_of
from .layer_review import LayerReview
from .selection import SelectedRows, Selection

SIDE = 60  # pixels of the screen, of a picture
_EDGE, _BAR, _CAPTION, _TITLE = 3, 4, 14, 24
_CELL = QSize(SIDE + 2 * _EDGE, SIDE + 2 * _EDGE + _BAR + _CAPTION)
_CHECK, _CHOSEN = QColor("#f2a541"), QColor("#4aa3ff")
#: Keys that name the selected cells; 0 takes back what a person said.
DIGITS = tuple("0123456789")
_MIME = "application/x-napari-wbcseg-cells"
_NO_INDEX = QModelIndex()
_TIP = (
    "1 to 9 name the selected cells, as the titles say; 0 takes that back. Or drag them to another class, "
    "or click with the right button. Within a class the least sure come first; orange is to check."
)


class Item(NamedTuple):
    """One row.

    Attributes
    ----------
    name : str
        The class.
    cell : tuple of int or None
        Plane and label; None for the title of the class.
    words : str
        What stands on it.
    check : bool
        Whether it is worth a second look.
    """

    name: str
    cell: Cell | None
    words: str
    check: bool = False


class GalleryModel(QAbstractListModel):
    """Cells grouped by class, the least sure of each class first.

    Parameters
    ----------
    picture : callable
        Gives the picture of a cell; asked only for cells that are seen.
    """

    def __init__(self, picture: Callable[[Cell], QPixmap]) -> None:
        super().__init__()
        self._picture = picture
        self.items: list[Item] = []
        self.classes = ClassList()
        self._row_of: dict[Cell, int] = {}

    def set_cells(self, table: pd.DataFrame, classes: ClassList) -> None:
        """Show cells.

        Parameters
        ----------
        table : DataFrame
            A row a cell, with the class, what is known of it, ``certainty``, ``check`` and ``decision``.
        classes : ClassList
            In the order of the groups; cells without a class are among the last, unsure.
        """
        cells, names = keys_of(table), table[CLASS].replace("", UNSURE).to_numpy(object)
        classes = classes.covering([*names, UNSURE])
        known = table[CLASS_PROBABILITY].to_numpy(float)
        sure = np.where(np.isnan(known), table["certainty"].to_numpy(float), known)
        place = {name: number for number, name in enumerate(classes.names)}
        groups = np.array([place[name] for name in names], int)
        theirs = (table[CLASS_BY] == PERSON).to_numpy(bool)
        order = np.lexsort((np.nan_to_num(sure, nan=2.0), theirs, groups))
        accepted = (table["decision"] == ACCEPTED).to_numpy(bool)
        words = _captions(known, theirs, accepted)
        check = table["check"].to_numpy(bool)
        items: list[Item] = []
        for number, one in enumerate(classes):
            members = order[groups[order] == number].tolist()
            key = f"{number + 1}  " if number < 9 else ""
            items.append(Item(one.name, None, f"{key}{one.name}: {len(members)}"))
            items += [Item(one.name, cells[row], words[row], bool(check[row])) for row in members]
        self._set(items, classes)

    def clear(self) -> None:
        """Show nothing."""
        self._set([], ClassList())

    def _set(self, items: list[Item], classes: ClassList) -> None:
        self.beginResetModel()
        self.items, self.classes = items, classes
        self._row_of = {item.cell: row for row, item in enumerate(items) if item.cell is not None}
        self.endResetModel()

    def row_of(self, cell: Cell) -> int | None:
        """Return where a cell stands; None where it is not shown."""
        return self._row_of.get(cell)

    def group(self, name: str) -> list[Cell]:
        """Return the cells of a class, in their order."""
        return [item.cell for item in self.items if item.name == name and item.cell is not None]

    def after(self, cell: Cell) -> Cell | None:
        """Return the next cell of the same class; None for the last one."""
        row = self._row_of.get(cell, len(self.items))
        return next((item.cell for item in self.items[row + 1 : row + 2]), None)

    # Qt --------------------------------------------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self.items)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled
        if index.isValid() and self.items[index.row()].cell is not None:
            flags |= Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled
        return flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        item = self.items[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return item.words
        if role == Qt.ItemDataRole.DecorationRole and item.cell is not None:
            return self._picture(item.cell)
        if role == Qt.ItemDataRole.ToolTipRole:
            if item.cell is None:
                return f"Click: select all. Drop cells here: name them {item.name}. Right button: classes."
            return f"Cell {item.cell[1]}, {item.name}" + (", to check" if item.check else "")
        return None


def _captions(known: np.ndarray, theirs: np.ndarray, accepted: np.ndarray) -> list[str]:
    """Return what stands below each picture: who said the class, or how probable it is; and a tick."""
    words = []
    for sure, named, right in zip(known.tolist(), theirs.tolist(), accepted.tolist(), strict=True):
        said = "named" if named else "" if math.isnan(sure) else f"{100 * sure:.0f} %"
        words.append(f"{said} ✓".strip() if right else said)
    return words


class GalleryDelegate(QStyledItemDelegate):
    """Paints titles of classes, and cells with a bar in the colour of their class."""

    def __init__(self, view: QListView, model: GalleryModel) -> None:
        super().__init__(view)
        self._view, self._model = view, model

    def sizeHint(self, option: Any, index: QModelIndex) -> QSize:
        if self._model.items[index.row()].cell is not None:
            return _CELL  # thousands are asked for at each layout
        return QSize(there(self._view.viewport()).width() - 4, _TITLE)

    def paint(self, painter: QPainter | None, option: Any, index: QModelIndex) -> None:
        if painter is None:
            return
        item, here = self._model.items[index.row()], QRect(option.rect)
        found = self._model.classes(item.name)
        colour = QColor(found.colour if found else "#808080")
        painter.save()
        painter.setPen(option.palette.text().color())
        if item.cell is None:
            painter.fillRect(here.left() + 2, here.top() + 6, 12, 12, colour)
            place = here.adjusted(20, 0, 0, 0)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, item.words)
        else:
            inside = here.adjusted(_EDGE, _EDGE, -_EDGE, -_EDGE)
            selected = bool(option.state & QStyle.StateFlag.State_Selected)
            if selected or item.check:
                painter.fillRect(here, _CHOSEN if selected else _CHECK)
                painter.fillRect(inside, option.palette.base().color())
            picture = index.data(Qt.ItemDataRole.DecorationRole)
            painter.drawPixmap(inside.left(), inside.top(), picture)
            painter.fillRect(inside.left(), inside.top() + SIDE, SIDE, _BAR, colour)
            font = painter.font()
            font.setPointSize(8)
            painter.setFont(font)
            below = inside.adjusted(0, SIDE + _BAR, 0, 0)
            painter.drawText(below, Qt.AlignmentFlag.AlignCenter, item.words)
        painter.restore()


class Gallery(QListView):
    """Shows the cells of a review, and names those that are selected.

    Parameters
    ----------
    shown : callable
        Gives the cells that are shown; the others of the review are left out.
    review : callable
        Gives the review, or None.
    panel : Panel
        Says what cannot be done.
    selection : Selection
    """

    def __init__(
        self,
        shown: Callable[[], list[Cell]],
        review: Callable[[], LayerReview | None],
        panel: Panel,
        selection: Selection,
    ) -> None:
        super().__init__()
        self._shown, self._review, self._panel, self._selection = shown, review, panel, selection
        self._crops: Crops | None = None
        #: Adds classes, and changes them.
        self.class_menu = ClassMenu(self, review, panel)
        self._items = GalleryModel(self._picture)
        self.setModel(self._items)
        self.setItemDelegate(GalleryDelegate(self, self._items))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSelectionRectVisible(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragDrop)
        there(self.viewport()).setAcceptDrops(True)  # which a static movement had switched off
        self.setMinimumHeight(140)
        self.setToolTip(_TIP)
        self.clicked.connect(self._on_clicked)
        items = self._items
        self._selected = SelectedRows(self, selection, lambda row: items.items[row].cell, items.row_of)

    # What is shown ---------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Show the cells as they are now; a hidden gallery does so when it is opened."""
        if self._review() is None:
            self._crops = None
        if self.isVisible():
            self._show_cells()

    def _show_cells(self) -> None:
        review = self._review()
        if review is None:
            self._items.clear()
            return
        table, shown = review.cells, set(self._shown())
        typical = float(table["diameter"].median()) if len(table) else 1.0
        if self._crops is None or not self._crops.suit(review.labels, review.image, typical):
            zoom = self.devicePixelRatioF()
            self._crops = Crops(review.labels, review.image, typical, SIDE, zoom)
            self._crops.loaded.connect(there(self.viewport()).update)  # bound: Qt lets go of it with the view
        bar = there(self.verticalScrollBar())
        before = bar.value()
        self._items.set_cells(table.loc[[cell in shown for cell in keys_of(table)]], review.classes)
        self.doItemsLayout()  # type: ignore[attr-defined]  # or selecting does, and this again
        self._selected.show()
        bar.setValue(before)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._show_cells()
        self._selected.scroll()

    def _picture(self, cell: Cell) -> QPixmap:
        review = self._review()
        assert self._crops is not None
        assert review is not None
        return self._crops.picture(cell, review.box_of(cell))

    # Selecting -------------------------------------------------------------------------------------------

    def _on_clicked(self, index: QModelIndex) -> None:
        item = self._items.items[index.row()]
        if item.cell is None:
            self._selection.select(self._items.group(item.name), centre=True)

    # Naming ----------------------------------------------------------------------------------------------

    def _name(self, name: str) -> None:
        """Name the selected cells, or with an empty name take back what a person said."""
        if (review := self._review()) is not None:
            self._panel.by_hand(review.name, self._selection.cells, name)

    def press(self, key: str) -> None:
        """Do what a key asks for; whoever names one cell is taken to the next of its class."""
        names, number, cells = self._items.classes.names, int(key), self._selection.cells
        if number > len(names) or not cells or not self.isVisible():
            return
        later = self._items.after(cells[0]) if len(cells) == 1 else None
        self._name(names[number - 1] if number else "")
        if later is not None:
            self._selection.select([later], centre=True)

    def menu(self) -> QMenu:
        """Return the menu of the right button: all classes."""
        menu = QMenu(self)
        for name in self._items.classes.names:
            menu.addAction(name, partial(self._name, name))
        menu.addSeparator()
        menu.addAction("as the model says", partial(self._name, ""))
        return menu

    def contextMenuEvent(self, event: Any) -> None:
        index = self.indexAt(event.pos())
        if index.isValid() and self._items.items[index.row()].cell is None:
            self.class_menu.menu(self._items.items[index.row()].name).exec(event.globalPos())
        elif self._selection.cells:
            self.menu().exec(event.globalPos())

    def startDrag(self, actions: Any) -> None:
        if not self._selection.cells:
            return
        drag = QDrag(self)
        drag.setMimeData(self.dragged())
        drag.setPixmap(self._picture(self._selection.cells[-1]))
        drag.exec(Qt.DropAction.CopyAction)

    def dragged(self) -> QMimeData:
        """Return what is dragged: a mark that says it is the selected cells of this gallery."""
        data = QMimeData()
        data.setData(_MIME, str(id(self)).encode())
        return data

    def _is_own(self, data: QMimeData) -> bool:
        return data.data(_MIME) == self.dragged().data(_MIME)

    def dragEnterEvent(self, event: Any) -> None:
        self.dragMoveEvent(event)

    def dragMoveEvent(self, event: Any) -> None:
        super().dragMoveEvent(event)  # scrolls at the edges
        if self._is_own(event.mimeData()):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()

    def dropEvent(self, event: Any) -> None:
        name = self._class_at(event.position().toPoint())
        if self._is_own(event.mimeData()) and name is not None:
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self._name(name)
        else:
            event.ignore()

    def _class_at(self, point: Any) -> str | None:
        """Return the class of the group at a point of the viewport; None on the cells that are dragged."""
        index = self.indexAt(point)
        if index.isValid():
            item = self._items.items[index.row()]
            return None if item.cell in self._selection.cells else item.name
        titles = [(row, item.name) for row, item in enumerate(self._items.items) if item.cell is None]
        above = [name for row, name in titles if self.visualRect(self._items.index(row)).top() <= point.y()]
        return above[-1] if above else None
