"""The basic widgets and layouts that panels are put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

PartT = TypeVar("PartT")
WidgetT = TypeVar("WidgetT", bound=QWidget)
#: Style sheet of what should be noticed. No orange is read well on napari's dark and on its light grey, so
#: the text keeps the colour of the theme, and the orange stands beside it.
NOTICE_LOOK = "border-left: 4px solid #e08a1e; padding-left: 6px;"


class Folded(QWidget):
    """A part that opens when its title is clicked; folded it is hidden, so that no key reaches it.

    superqt's QCollapsible leaves the focus in what it folds, and keeps the height that its content had.
    """

    toggled = Signal(bool)

    def __init__(self, title: str, *parts: QWidget) -> None:
        super().__init__()
        self._button, self._content = QToolButton(), together(*parts)
        self._button.setText(title)
        self._button.setCheckable(True)
        self._button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        fill(self, stretched(self._button), self._content)
        self._button.toggled.connect(self._show)
        self._show(False)

    def isExpanded(self) -> bool:
        """Say whether it is open."""
        return bool(self._button.isChecked())

    def expand(self) -> None:
        """Open it."""
        self._button.setChecked(True)

    def _show(self, expanded: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if expanded else Qt.ArrowType.RightArrow
        self._button.setArrowType(arrow)
        self._content.setVisible(expanded)
        self.toggled.emit(expanded)


def fill(widget: QWidget, *parts: QWidget | QLayout) -> QVBoxLayout:
    """Lay parts out below each other in a widget, to its edges."""
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        if isinstance(part, QLayout):
            column.addLayout(part)
        else:
            column.addWidget(part)
    return column


def together(*parts: QWidget | QLayout) -> QWidget:
    """Return one widget of parts that lie below each other."""
    made = QWidget()
    fill(made, *parts)
    return made


def beside(*parts: QWidget, wide: QWidget | None = None) -> QHBoxLayout:
    """Lay widgets out beside each other; one of them may take the width that is left."""
    layout = QHBoxLayout()
    for part in parts:
        layout.addWidget(part, int(part is wide))
    return layout


def choice(items: Iterable[tuple[Any, str, str]]) -> QComboBox:
    """Return a list to choose from: the data of each item, its words and its tip."""
    made = QComboBox()
    add_choices(made, items)
    return made


def add_choices(box: QComboBox, items: Iterable[tuple[Any, str, str]]) -> None:
    """Offer more in a list to choose from: the data of each item, its words and its tip."""
    for data, words, tip in items:
        box.addItem(words, data)
        box.setItemData(box.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)


def confirmed(parent: QWidget, title: str, question: str) -> bool:
    """Ask a question, and say whether the answer is yes."""
    return bool(QMessageBox.question(parent, title, question) == QMessageBox.StandardButton.Yes)


def file_to_write(parent: QWidget, title: str, suggested: str, endings: Mapping[str, str]) -> Path | None:
    """Ask for a file to write, and before it is replaced, also where its ending was left out; None for none.

    Parameters
    ----------
    parent : QWidget
    title, suggested : str
    endings : mapping of str to str
        The kinds of files, as the dialog names them, and the ending of each.
    """
    name, kind = QFileDialog.getSaveFileName(parent, title, suggested, ";;".join(endings))
    if not name or Path(name).suffix in endings.values():
        return Path(name) if name else None
    path = Path(name + endings.get(kind, Path(suggested).suffix))
    question = f"{path.name} is there already. Replace it?"
    return path if not path.exists() or confirmed(parent, title, question) else None


class Sentence(QLabel):
    """A label for sentences: it breaks lines, its text can be copied, and without any it takes no room."""

    def __init__(self, text: str = "", look: str = "") -> None:
        super().__init__(text)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setStyleSheet(look)
        if not text:
            self.hide()

    def setText(self, text: str | None) -> None:
        super().setText(text)
        self.setHidden(not text)


def button(text: str, act: Callable[[], object], tip: str = "") -> QPushButton:
    """Return a button that calls a function."""
    made = with_tip(QPushButton(text), tip)
    made.clicked.connect(lambda: act())
    return made


class Offer(QFrame):
    """A sentence, a button to go on with what it tells of, and one to discard it; hidden without any."""

    def __init__(self, accept: str, tip: str, discard_tip: str) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = Sentence()
        self.accept_button = button(accept, self.accept, tip)
        self.discard_button = button("Discard", self.discard, discard_tip)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addLayout(beside(self.accept_button, self.discard_button, wide=self.accept_button))

    def accept(self) -> None:
        """Go on with what is shown."""
        raise NotImplementedError

    def discard(self) -> None:
        """Remove what is shown."""
        raise NotImplementedError

    def say(self, words: str) -> None:
        """Show a sentence with the buttons; without one there is nothing to offer."""
        self.text.setText(words)
        if self.parentWidget() is not None or not words:  # alone it would be a window
            self.setVisible(bool(words))


def pixmap(pixels: np.ndarray, zoom: float = 1) -> QPixmap:
    """Return a picture, uint8, (H, W, 3), with so many pixels for one of the screen."""
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    made = QPixmap.fromImage(image.copy())  # whose pixels are its own
    made.setDevicePixelRatio(zoom)
    return made


def form(*rows: tuple[str, QWidget, str]) -> QFormLayout:
    """Return a form: the title of each row, what stands in it as wide as there is room, and its tip."""
    layout = QFormLayout()
    layout.setVerticalSpacing(4)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for title, widget, tip in rows:
        layout.addRow(title, with_tip(stretched(widget), tip))
    return layout


def there(part: PartT | None) -> PartT:
    """Return a part of a view; Qt's types allow for views without."""
    assert part is not None
    return part


def with_tip(widget: WidgetT, text: str) -> WidgetT:
    """Explain a widget when the mouse rests on it."""
    widget.setToolTip(text)
    return widget


def stretched(widget: WidgetT) -> WidgetT:
    """Let a widget take the width there is."""
    widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return widget
