"""The scores of two models, beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qtpy.QtWidgets import QGridLayout, QLabel, QWidget


class ScoreTable(QWidget):
    """Rows of what was scored on, the measure, and the score before and now."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)

    @property
    def texts(self) -> list[str]:
        """All that is shown."""
        return [label.text() for label in self.findChildren(QLabel)]

    def fill(self, rows: Iterable[Sequence[str]]) -> None:
        """Show these rows in place of those before."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.setParent(None)
        before = ""
        for number, row in enumerate([("", "", "before", "now"), *rows]):
            for place, text in enumerate(row):
                label = QLabel("" if place == 0 and text == before else text)
                if place == 0:  # breaks lines, for the panel is narrow
                    label.setWordWrap(True)
                self._grid.addWidget(label, number, place)
            before = row[0]
