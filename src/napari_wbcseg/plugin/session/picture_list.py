"""The list of the pictures of a session: a row a picture, with what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from ...batch.file import BatchItem
from ...classification.differential import count_in_words
from ...words import counted
from ..shared.panel import there

_HEADERS = ("picture", "cells", "to check", "done")
_TIPS = (
    "Click a picture to open it.",
    "White cells, of those that are segmented; ? where the notes on the picture leave that in doubt.",
    "Cells that are worth a second look.",
    "✓ is segmented, with nothing left to check.",
)
_SIZE = QSize(72, 54)  # pixels of the screen, of a thumbnail


@dataclass(eq=False)
class Entry:
    """A picture, its row of ``counts.csv`` (None where it is not segmented), and its thumbnail.

    ``known`` says whether it was looked at.
    """

    item: BatchItem
    row: dict[str, Any] | None = None
    picture: QPixmap | None = None
    known: bool = False

    @property
    def segmented(self) -> bool:
        """Whether there is a result."""
        return self.row is not None and self.row["status"] == "ok"

    @property
    def words(self) -> tuple[str, str, str, str]:
        """What stands in the columns."""
        row = self.row or {}
        if not self.segmented:
            return self.item.image, "", "", str(row.get("status", ""))
        if row["white_cells"] is None:  # in doubt
            return self.item.image, "?", "", ""
        to_check = row["to_check"]
        return self.item.image, str(row["white_cells"]), str(to_check or ""), "" if to_check else "✓"


class PictureModel(QAbstractTableModel):
    """Holds the entries of a session, in the order of its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """Show these pictures."""
        self.beginResetModel()
        self.entries = list(entries)
        self.endResetModel()

    def tell(self, entry: Entry) -> None:
        """Show what came to be known of an entry."""
        if entry in self.entries:
            row = self.entries.index(entry)
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(_HEADERS) - 1))

    def summary(self) -> str:
        """Return the counts over all pictures, in words."""
        if not self.entries:
            return ""
        rows = [entry.row for entry in self.entries if entry.row is not None]
        done = [row for row in rows if row["status"] == "ok"]
        sure = [row for row in done if row["white_cells"] is not None]
        white, erythroblasts, check = (
            sum(row[name] for row in sure) for name in ("white_cells", "erythroblasts", "to_check")
        )
        words = f"{counted(len(self.entries), 'picture')}, {len(done)} segmented"
        words += f": {count_in_words(white, erythroblasts)}, {check} to check." if done else "."
        words += f" {len(done) - len(sure)} in doubt." if len(sure) < len(done) else ""
        return f"{words} {len(rows) - len(done)} failed." if len(done) < len(rows) else words

    def rowCount(self, parent: Any = None) -> int:
        return len(self.entries)

    def columnCount(self, parent: Any = None) -> int:
        return len(_HEADERS)

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        texts = {Qt.ItemDataRole.DisplayRole: _HEADERS, Qt.ItemDataRole.ToolTipRole: _TIPS}
        across = orientation == Qt.Orientation.Horizontal
        return texts[Qt.ItemDataRole(role)][section] if across and role in texts else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        entry, column = self.entries[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return entry.words[column]
        if role == Qt.ItemDataRole.DecorationRole and column == 0:
            return entry.picture
        if role == Qt.ItemDataRole.TextAlignmentRole and column:
            return Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            row = entry.row or {}
            return row.get("error") or row.get("notes") or str(entry.item.path)
        return None


class PictureView(QTableView):
    """Shows a `PictureModel`; one picture is chosen."""

    def __init__(self, model: PictureModel) -> None:
        super().__init__()
        self.setModel(model)
        self.setIconSize(_SIZE)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.setMinimumHeight(160)
        rows, columns = there(self.verticalHeader()), there(self.horizontalHeader())
        rows.setDefaultSectionSize(_SIZE.height() + 4)
        rows.hide()
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)


def pixmap(jpeg: bytes) -> QPixmap:
    """Return a thumbnail as it is shown."""
    made = QPixmap()
    made.loadFromData(jpeg)
    return made if made.isNull() else made.scaled(_SIZE, Qt.AspectRatioMode.KeepAspectRatio)
