"""The gallery: all cells at one scale, sorted into classes by key, by dragging or from a menu."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QDrag, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListView, QMenu, QStyle, QStyledItemDelegate

from .class_menu import ClassMenu
from .crops import Crops
from .decisions import Cell
from .gallery_model import MIME, GalleryModel, dragged_cells
from .selection import OrderedSelection

if TYPE_CHECKING:
    from .layer import LayerReview

SIDE = 60  # pixels of the screen, of a picture
_EDGE, _BAR, _CAPTION, _TITLE = 3, 4, 14, 24
_CELL = QSize(SIDE + 2 * _EDGE, SIDE + 2 * _EDGE + _BAR + _CAPTION)
_CHECK, _CHOSEN = QColor("#f2a541"), QColor("#4aa3ff")
#: Keys that name the selected cells; 0 takes back what a person said.
DIGITS = tuple("0123456789")
_TIP = (
    "1 to 9 name the selected cells, as the titles say; 0 takes that back. Or drag them to another class, "
    "or click with the right button. Within a class the least sure come first; orange is to check."
)


class GalleryDelegate(QStyledItemDelegate):
    """Paints titles of classes, and cells with a bar in the colour of their class."""

    def __init__(self, view: QListView, model: GalleryModel) -> None:
        super().__init__(view)
        self._view, self._model = view, model

    def sizeHint(self, option: Any, index: QModelIndex) -> QSize:
        if self._model.items[index.row()].cell is not None:
            return _CELL  # thousands are asked for at each layout
        viewport = self._view.viewport()
        return QSize((viewport.width() if viewport else 300) - 4, _TITLE)

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
    """Shows the cells of a review, and asks for what a person does with them."""

    #: Emitted with the selected cells when the user, and not a call, changed them.
    chosen = Signal(list)
    #: Emitted with cells and the name of a class; nothing takes back what a person said.
    named = Signal(list, str)

    def __init__(self) -> None:
        super().__init__()
        self._review: LayerReview | None = None
        self._crops: Crops | None = None
        self._stale = True
        self._cells: list[Cell] | None = None
        #: Adds classes, and changes them.
        self.class_menu = ClassMenu(self, lambda: self._review)
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
        self.setDragEnabled(True)
        self.setMinimumHeight(140)
        self.setToolTip(_TIP)
        self.clicked.connect(self._on_clicked)
        self._selection = OrderedSelection(self, lambda row: self._items.items[row].cell, self._items.row_of)
        self._selection.chosen.connect(self.chosen)

    # What is shown ---------------------------------------------------------------------------------------

    def follow(self, review: LayerReview | None) -> None:
        """Show the cells of a review from now on; None for nothing."""
        self._review, self._crops, self._selection.cells = review, None, []
        self.show_cells(None)

    def show_cells(self, cells: Iterable[Cell] | None) -> None:
        """Show these cells as they are now; None for all. A hidden gallery does so when it is opened."""
        self._cells, self._stale = None if cells is None else list(cells), True
        if self.isVisible():
            self.refresh()

    def refresh(self) -> None:
        """Follow what changed."""
        self._stale = False
        review = self._review
        if review is None:
            self._items.clear()
            return
        table, cells = review.cells, review.keys()
        typical = float(table["diameter"].median()) if len(table) else 1.0
        if self._crops is None or not self._crops.suit(review.image, typical):
            self._crops = Crops(review.labels, review.image, typical, SIDE)
            self._crops.loaded.connect(self._repaint)
        if self._cells is not None and len(self._cells) < len(cells):
            shown = set(self._cells)
            keep = [cell in shown for cell in cells]
            table, cells = table[keep], [cell for cell in cells if cell in shown]
        bar = self.verticalScrollBar()
        before = bar.value() if bar else 0
        with self._selection.quietly():
            self._items.set_cells(table, cells, review.classes)
        self.doItemsLayout()  # type: ignore[attr-defined]  # or selecting does, and this again
        self._selection.show()
        if bar:
            bar.setValue(before)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        if self._stale:
            self.refresh()
            self._selection.show(scroll=True)

    def _repaint(self) -> None:
        viewport = self.viewport()
        if viewport is not None:
            viewport.update()

    def _picture(self, cell: Cell) -> QPixmap:
        assert self._crops is not None
        assert self._review is not None
        return self._crops.picture(cell, self._review.box_of(cell))

    # Selecting -------------------------------------------------------------------------------------------

    @property
    def selected(self) -> list[Cell]:
        """The selected cells, in the order in which they were selected."""
        return list(self._selection.cells)

    def select(self, cells: Iterable[Cell]) -> None:
        """Select cells, and scroll to the last of them."""
        cells = list(cells)
        if cells != self._selection.cells:
            self._selection.cells = cells
            if not self._stale:
                self._selection.show(scroll=True)

    def _on_clicked(self, index: QModelIndex) -> None:
        item = self._items.items[index.row()]
        if item.cell is None:
            self.select(self._items.group(item.name))
            self.chosen.emit(self.selected)

    # Naming ----------------------------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """Do what a key asks for; whoever names one cell is taken to the next of its class."""
        names, number = self._items.classes.names, int(key)
        if number > len(names) or not self.selected or not self.isVisible():
            return
        cells = self.selected
        later = self._items.after(cells[0]) if len(cells) == 1 else None
        self.named.emit(cells, names[number - 1] if number else "")
        if later is not None:
            self.select([later])
            self.chosen.emit(self.selected)

    def menu(self) -> QMenu:
        """Return the menu of the right button: all classes."""
        menu = QMenu(self)
        for name in self._items.classes.names:
            menu.addAction(name, partial(self.named.emit, self.selected, name))
        menu.addSeparator()
        menu.addAction("as the model says", partial(self.named.emit, self.selected, ""))
        return menu

    def contextMenuEvent(self, event: Any) -> None:
        index = self.indexAt(event.pos())
        if index.isValid() and self._items.items[index.row()].cell is None:
            self.class_menu.menu(self._items.items[index.row()].name).exec(event.globalPos())
        elif self.selected:
            self.menu().exec(event.globalPos())

    def startDrag(self, actions: Any) -> None:
        model = self.selectionModel()
        if model is None or not self.selected:
            return
        drag = QDrag(self)
        drag.setMimeData(self._items.mimeData(model.selectedIndexes()))
        drag.setPixmap(self._picture(self.selected[-1]))
        drag.exec(Qt.DropAction.CopyAction)

    def dragEnterEvent(self, event: Any) -> None:
        self.dragMoveEvent(event)

    def dragMoveEvent(self, event: Any) -> None:
        super().dragMoveEvent(event)  # scrolls at the edges
        if event.mimeData().hasFormat(MIME):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()

    def dropEvent(self, event: Any) -> None:
        cells, name = dragged_cells(event.mimeData()), self._class_at(event.position().toPoint())
        if cells and name is not None:
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.named.emit(cells, name)
        else:
            event.ignore()

    def _class_at(self, point: Any) -> str | None:
        """Return the class of the group at a point of the viewport; None below all of them."""
        index = self.indexAt(point)
        if index.isValid():
            return self._items.items[index.row()].name
        above = None
        for row, item in enumerate(self._items.items):
            if item.cell is None and self.visualRect(self._items.index(row)).top() <= point.y():
                above = item.name
        return above
