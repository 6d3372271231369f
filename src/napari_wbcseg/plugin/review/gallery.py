"""The gallery: all cells at one scale, sorted into classes by key, by dragging or from a menu."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QMimeData, QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QDrag, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QInputDialog,
    QListView,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QWidget,
)

from ...classification.classes import ClassList
from ..shared.panel import Panel, there
from .crops import Crops
from .decisions import Cell
from .gallery_model import GalleryModel
from .layer import LayerReview
from .selection import OrderedSelection

SIDE = 60  # pixels of the screen, of a picture
_EDGE, _BAR, _CAPTION, _TITLE = 3, 4, 14, 24
_CELL = QSize(SIDE + 2 * _EDGE, SIDE + 2 * _EDGE + _BAR + _CAPTION)
_CHECK, _CHOSEN = QColor("#f2a541"), QColor("#4aa3ff")
#: Keys that name the selected cells; 0 takes back what a person said.
DIGITS = tuple("0123456789")
_MIME = "application/x-napari-wbcseg-cells"
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
    """Shows the cells of a review, and asks for what a person does with them.

    Parameters
    ----------
    shown : callable
        Gives the cells that are shown; the others of the review are left out.
    review : callable
        Gives the review, or None.
    panel : Panel
        Says what cannot be done.
    """

    #: Emitted with cells and the name of a class; nothing takes back what a person said.
    named = Signal(list, str)

    def __init__(
        self, shown: Callable[[], list[Cell]], review: Callable[[], LayerReview | None], panel: Panel
    ) -> None:
        super().__init__()
        self._shown, self._review = shown, review
        self._crops: Crops | None = None
        self._stale = True
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
        self.setDragEnabled(True)
        self.setMinimumHeight(140)
        self.setToolTip(_TIP)
        self.clicked.connect(self._on_clicked)
        self.selection = OrderedSelection(self, lambda row: self._items.items[row].cell, self._items.row_of)

    # What is shown ---------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Show the cells as they are now; a hidden gallery does so when it is opened."""
        self._stale = True
        if self._review() is None:
            self._crops = None
        if self.isVisible():
            self._show_cells()

    def _show_cells(self) -> None:
        self._stale = False
        review = self._review()
        if review is None:
            self._items.clear()
            return
        table, cells = review.cells, review.keys()
        typical = float(table["diameter"].median()) if len(table) else 1.0
        if self._crops is None or not self._crops.suit(review.labels, review.image, typical):
            self._crops = Crops(review.labels, review.image, typical, SIDE)
            self._crops.loaded.connect(there(self.viewport()).update)  # bound: Qt lets go of it with the view
        shown = set(self._shown())
        keep = [cell in shown for cell in cells]
        table, cells = table[keep], [cell for cell in cells if cell in shown]
        bar = there(self.verticalScrollBar())
        before = bar.value()
        self._items.set_cells(table, cells, review.classes)
        self.doItemsLayout()  # type: ignore[attr-defined]  # or selecting does, and this again
        self.selection.show()
        bar.setValue(before)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        if self._stale:
            self._show_cells()
            self.selection.scroll()

    def _picture(self, cell: Cell) -> QPixmap:
        review = self._review()
        assert self._crops is not None
        assert review is not None
        return self._crops.picture(cell, review.box_of(cell))

    # Selecting -------------------------------------------------------------------------------------------

    def _on_clicked(self, index: QModelIndex) -> None:
        item = self._items.items[index.row()]
        if item.cell is None:
            self.selection.chosen.emit(self._items.group(item.name))

    # Naming ----------------------------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """Do what a key asks for; whoever names one cell is taken to the next of its class."""
        names, number = self._items.classes.names, int(key)
        if number > len(names) or not self.selection.cells or not self.isVisible():
            return
        cells = self.selection.cells
        later = self._items.after(cells[0]) if len(cells) == 1 else None
        self.named.emit(cells, names[number - 1] if number else "")
        if later is not None:
            self.selection.chosen.emit([later])

    def menu(self) -> QMenu:
        """Return the menu of the right button: all classes."""
        menu = QMenu(self)
        for name in self._items.classes.names:
            menu.addAction(name, partial(self.named.emit, self.selection.cells, name))
        menu.addSeparator()
        menu.addAction("as the model says", partial(self.named.emit, self.selection.cells, ""))
        return menu

    def contextMenuEvent(self, event: Any) -> None:
        index = self.indexAt(event.pos())
        if index.isValid() and self._items.items[index.row()].cell is None:
            self.class_menu.menu(self._items.items[index.row()].name).exec(event.globalPos())
        elif self.selection.cells:
            self.menu().exec(event.globalPos())

    def startDrag(self, actions: Any) -> None:
        if not self.selection.cells:
            return
        drag = QDrag(self)
        drag.setMimeData(self.dragged())
        drag.setPixmap(self._picture(self.selection.cells[-1]))
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
            self.named.emit(self.selection.cells, name)
        else:
            event.ignore()

    def _class_at(self, point: Any) -> str | None:
        """Return the class of the group at a point of the viewport; None below all of them."""
        index = self.indexAt(point)
        if index.isValid():
            return self._items.items[index.row()].name
        titles = [(row, item.name) for row, item in enumerate(self._items.items) if item.cell is None]
        above = [name for row, name in titles if self.visualRect(self._items.index(row)).top() <= point.y()]
        return above[-1] if above else None


class ClassMenu:
    """The user's own list of classes: the menu of a class's title adds, renames and colours.

    Parameters
    ----------
    parent : QWidget
        Over which questions appear.
    review : callable
        Gives the review, or None.
    panel : Panel
        Says what cannot be done.
    """

    def __init__(self, parent: QWidget, review: Callable[[], LayerReview | None], panel: Panel) -> None:
        self._parent, self._review, self._panel = parent, review, panel

    def add(self, name: str) -> None:
        """Add a class of white cells, in a colour that is free."""
        self._set(lambda classes: classes.covering([name.strip()]))

    def change(self, name: str, /, **changes: Any) -> None:
        """Change what is known of a class: its ``name``, ``colour``, or whether it is a ``white_cell``."""
        new = changes.get("name", name)

        def changed(classes: ClassList) -> ClassList:
            values = classes.to_list()
            for one in values:
                one.update(changes if one["name"] == name else {})
                one["part_of"] = new if one["part_of"] == name else one["part_of"]
            return ClassList.from_list(values)

        self._set(changed, {name: new} if new != name else None)

    def _set(self, change: Callable[[ClassList], ClassList], renamed: dict[str, str] | None = None) -> None:
        if (review := self._review()) is not None:
            self._panel.by_hand(lambda: review.set_classes(change(review.classes), renamed))

    # Asked for ---------------------------------------------------------------------------------------------

    def menu(self, name: str) -> QMenu:
        """Return the menu of a class."""
        review, menu = self._review(), QMenu(self._parent)
        found = None if review is None else review.classes(name)
        menu.addAction("New class …", self._ask_new)
        if found is not None:
            menu.addAction(f"Rename {name} …", lambda: self._ask_name(name))
            menu.addAction("Colour …", lambda: self._ask_colour(name, found.colour))
            white = there(menu.addAction("Counted as white cell"))
            white.setCheckable(True)
            white.setChecked(found.white_cell)
            white.toggled.connect(lambda checked: self.change(name, white_cell=checked))
        return menu

    def _ask_new(self) -> None:
        name, given = QInputDialog.getText(self._parent, "New class", "Name, such as blast:")
        if given and name.strip():
            self.add(name)

    def _ask_name(self, name: str) -> None:
        new, given = QInputDialog.getText(self._parent, "Rename class", f"New name of {name}:", text=name)
        if given and new.strip():
            self.change(name, name=new.strip())

    def _ask_colour(self, name: str, before: str) -> None:
        colour = QColorDialog.getColor(QColor(before), self._parent, f"Colour of {name}")
        if colour.isValid():
            self.change(name, colour=colour.name())
