"""How the widget *Review white blood cells* looks: its parts, and what each says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLineEdit,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ...errors import SettingsError
from ..shared.columns import BY_NAME, NUMBERS
from ..shared.layer_picker import LayerPicker
from ..shared.panel import Folded, beside, calling, fill, scrolled_column, sentence, stretched, with_tip
from .gallery import DIGITS, Gallery
from .histogram import Histogram
from .table import SHOWN, CellTable, CellTableModel

#: Keys, in the table and on the canvas while the layer is chosen, and the action of each.
KEYS = {
    "N": "next_to_check",
    "Shift-N": "previous_to_check",
    "A": "accept",
    "R": "reject",
    "S": "split",
    "J": "merge",
    "O": "outline_missed",
    "L": "learn",
    "U": "next_unsure",
    "Control-Z": "undo",
    "Control-Shift-Z": "redo",
}
#: Actions that change outlines, which cells on disk do not allow.
EDITING = ("reject", "split", "merge", "outline_missed")
_BUTTONS = {
    "next_to_check": ("Next to check", "N", "Go to the next cell that is unsure or flagged (Shift-N: back)."),
    "accept": ("Accept", "A", "Outline and class of the selected cells are right. Once more takes it back."),
    "reject": ("Reject", "R", "The selected cells are none: they leave the labels and the count."),
    "split": ("Split …", "S", "Draw a line across a cell. A cell in pieces is split into them at once."),
    "merge": ("Merge", "J", "Make one cell of the selected ones. Shift-click on the image selects several."),
    "outline_missed": (
        "Add missed …",
        "O",
        "Click on cells that were missed: each is outlined as the network sees it, and is accepted.",
    ),
    "learn": (
        "Suggest classes",
        "L",
        "The cells named so far teach how the classes look on this slide; what a person said stays. Begins "
        "by itself with three cells of two classes, and goes on with each name. Once more takes it back.",
    ),
    "next_unsure": ("Next unsure", "U", "Go to the cell that it helps most to name next."),
    "undo": ("Undo", "Ctrl-Z", "Take the last edit or decision back (Ctrl-Shift-Z: do it again)."),
}
_WAITED_FOR = {
    "split": "Draw a line across the cell on the image. Esc leaves it.",
    "outline_missed": "Click on a cell of the image that was missed. Esc leaves it.",
}
_FILTER_TIP = (
    "A condition on the columns, then Enter: circularity < 0.8, or: lobes >= 3 and not touching. "
    "The names: " + ", ".join(name for name in BY_NAME if name != "status") + "."
)


class ReviewPanel:
    """Lays out the parts of the widget.

    Parameters
    ----------
    widget : QWidget
        Gets the layout.
    labels, image : LayerPicker
        The lists of layers.
    model : CellTableModel
    act : callable
        Called with the name of an action whose button or key was pressed.
    """

    def __init__(
        self,
        widget: QWidget,
        labels: LayerPicker,
        image: LayerPicker,
        model: CellTableModel,
        act: Callable[[str], None],
    ) -> None:
        self.model, self.table, self.gallery = model, CellTable(model), Gallery()
        self.tabs = QTabWidget()
        self.tabs.addTab(self.table, "Table")
        self.tabs.addTab(self.gallery, "Gallery")
        self.count = sentence()
        self.count.setStyleSheet(
            "font-size: 16pt; font-weight: bold;"
        )  # napari's style sheet rules over a font
        self.here = sentence()
        self.message = sentence()
        self.shown = with_tip(QComboBox(), "Which cells the table shows.")
        self.shown.addItems(list(SHOWN))
        self.condition = with_tip(QLineEdit(), _FILTER_TIP)
        self.condition.setPlaceholderText("filter: area > 300 and lobes >= 2")
        self.condition.setClearButtonEnabled(True)
        self.this_plane = with_tip(QCheckBox("this plane"), "Only the cells of the plane on the canvas.")
        self.this_plane.hide()
        self.column = QComboBox()
        for name in NUMBERS:
            self.column.addItem(BY_NAME[name].title, name)
        self.column.setCurrentIndex(NUMBERS.index("area"))
        self.histogram = Histogram()
        content = QWidget()
        fill(content, self.column, self.histogram)
        self.histogram_part = Folded("Histogram", content)
        #: Room for what others build on the review, such as adding cells to a training set.
        self.extras = QVBoxLayout()
        self.buttons: dict[str, QPushButton] = {}

        top = QFormLayout()
        tip = "The layer with the cells: of the Segment widget, or any other labels."
        top.addRow("Cells", with_tip(stretched(labels.native), tip))
        tip = (
            "The stained image that stain and nucleus are measured on; those of the cells' shape are offered."
        )
        top.addRow("Image", with_tip(stretched(image.native), tip))
        #: The whole of it, from above.
        self.top = layout = scrolled_column(widget, "Review")
        layout.addLayout(top)
        layout.addWidget(self.count)
        layout.addWidget(self.here)
        layout.addLayout(beside(self.shown, self.condition, self.this_plane, wide=self.condition))
        layout.addWidget(self.tabs, 1)
        layout.addLayout(self._make_buttons(act))
        layout.addWidget(self.message)
        layout.addWidget(self.histogram_part)
        layout.addLayout(self.extras)
        self._bind_keys(widget, act)
        self.say("")

    def say(self, words: str) -> None:
        """Show a sentence below the buttons; none hides it."""
        self.message.setText(words)
        self.message.setVisible(bool(words))

    def show_counts(self, everywhere: str, here: str) -> None:
        """Show the count, and that of the plane on the canvas."""
        self.count.setText(everywhere)
        self.here.setText(here)
        self.here.setVisible(bool(here))

    def set_filter(self, shown: str, condition: str, this_plane: bool) -> None:
        """Show a filter without applying it."""
        if self.shown.findText(shown) < 0:
            offered = ", ".join(SHOWN)
            raise SettingsError(f"The table cannot show {shown!r}. Choose one of: {offered}.")
        parts: tuple[QWidget, ...] = (self.shown, self.condition, self.this_plane)
        for part in parts:
            part.blockSignals(True)
        self.shown.setCurrentText(shown)
        self.condition.setText(condition)
        self.this_plane.setChecked(this_plane)
        for part in parts:
            part.blockSignals(False)

    def waiting(self, name: str, under_way: bool) -> None:
        """Say on a button whether something on the image is waited for."""
        title, key, _ = _BUTTONS[name]
        self.buttons[name].setText("Stop (Esc)" if under_way else f"{title} ({key})")
        self.say(_WAITED_FOR[name] if under_way else "")

    def draw_histogram(self, values: Callable[[str], np.ndarray], rows: list[int], unit: str) -> None:
        """Draw the histogram of the chosen column, if it is open; the rows given are marked."""
        if not self.histogram_part.isExpanded():
            return
        name = self.column.currentData()
        column = np.asarray(values(name), float)
        self.histogram.show_values(column, BY_NAME[name].header(unit).replace("\n", ", "), column[rows])

    def _make_buttons(self, act: Callable[[str], None]) -> QGridLayout:
        grid = QGridLayout()
        for place, (name, (title, key, tip)) in enumerate(_BUTTONS.items()):
            button = self.buttons[name] = with_tip(QPushButton(f"{title} ({key})"), tip)
            button.clicked.connect(calling(act, name))
            grid.addWidget(button, place // 3, place % 3)
        self.buttons["learn"].setCheckable(True)
        return grid

    def _bind_keys(self, widget: QWidget, act: Callable[[str], None]) -> None:
        calls = {key: calling(act, name) for key, name in KEYS.items()}
        calls |= {key: calling(self.gallery.press, key) for key in DIGITS}
        for key, call in calls.items():
            shortcut = QShortcut(QKeySequence(key.replace("Control", "Ctrl").replace("-", "+")), widget)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(call)
