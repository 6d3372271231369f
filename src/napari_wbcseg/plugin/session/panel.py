"""How the widget *White blood cell session* looks: its parts, the list of pictures, and what each says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import (
    QHeaderView,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from ...batch.folder import BatchItem
from ...classification.differential import count_in_words
from ...words import counted
from ..controls.basic_widgets import NOTICE_LOOK, Folded, Sentence, beside, button, there
from ..controls.method_form import MethodForm
from ..controls.panel import Panel, scrolled_column

#: Keys, wherever in the window the focus is, and the action of each.
KEYS = {"Ctrl+PgDown": "next", "Ctrl+PgUp": "previous"}
_BUTTONS = {
    "open_folder": ("Open a folder …", "Pictures to count; or the results of an earlier session or run."),
    "open_files": ("Open files …", "Some pictures to count."),
    "go_on": ("", "The session that was open last: it stands where it was."),
    "look_again": ("Look again", "List pictures that came since, and read what others wrote of them."),
    "keep_elsewhere": (
        "Elsewhere …",
        "Count these pictures into another folder, with another model or settings perhaps.",
    ),
    "segment_all": (
        "Segment all",
        "Find the cells of all pictures that are not done; go on working meanwhile.",
    ),
    "cancel": ("Cancel", "Stop. What is done is kept; Segment all goes on from there."),
    "previous": ("Previous", "Go to the picture before this one (Ctrl-PageUp)."),
    "next": ("Next", "Go to the next picture (Ctrl-PageDown)."),
    "save": (
        "Save",
        "Write the cells into the result files of this picture; those of regions of a slide beside them.",
    ),
    "review": ("Review the cells …", "Look at the cells of this picture, and correct them."),
    "differential": ("Differential of all …", "Counts and per cents of the classes, over all pictures."),
}

START = "Open the folder with your pictures. Their cells are kept in result files, here as in the shell."
LOOKING = "Looking for the pictures …"
OTHERWISE = (
    "These cells were found in a part of the picture, or with another model or settings than the run into "
    "this folder. Save keeps them until Segment all, which finds them anew where none was corrected. "
    "Elsewhere … counts all as you like."
)
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


class PictureList(QTreeWidget):
    """Shows the entries of a session, in the order of its pictures; one is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self._places: dict[Path, int] = {}
        self.setHeaderLabels(list(_HEADERS))
        for column, tip in enumerate(_TIPS):
            there(self.headerItem()).setToolTip(column, tip)
        self.setIconSize(_SIZE)
        self.setRootIsDecorated(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setMinimumHeight(160)
        columns = there(self.header())
        columns.setStretchLastSection(False)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        columns.setResizeContentsPrecision(0)  # rows in view: with each word told Qt would measure a thousand

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """Show these pictures."""
        self.clear()
        self.entries = list(entries)
        self._places = {entry.item.path: place for place, entry in enumerate(entries)}
        self.addTopLevelItems([_filled(QTreeWidgetItem(), entry) for entry in entries])

    def entry_of(self, item: BatchItem) -> Entry | None:
        """Return the entry of a picture; None where it is not listed."""
        place = self._places.get(item.path)
        return None if place is None else self.entries[place]

    def tell(self, entry: Entry) -> None:
        """Show what came to be known of an entry."""
        _filled(there(self.topLevelItem(self._places[entry.item.path])), entry)

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


def _filled(item: QTreeWidgetItem, entry: Entry) -> QTreeWidgetItem:
    """Write what is known of an entry into its row."""
    row = entry.row or {}
    for column, words in enumerate(entry.words):
        item.setText(column, words)
        item.setToolTip(column, row.get("error") or row.get("notes") or str(entry.item.path))
        if column:
            item.setTextAlignment(column, Qt.AlignmentFlag.AlignCenter)
    item.setSizeHint(0, QSize(0, _SIZE.height() + 4))
    if entry.picture is not None:
        item.setIcon(0, QIcon(entry.picture))
    return item


def thumbnail(jpeg: bytes) -> QPixmap:
    """Return a thumbnail as it is shown."""
    made = QPixmap()
    made.loadFromData(jpeg)
    return made if made.isNull() else made.scaled(_SIZE, Qt.AspectRatioMode.KeepAspectRatio)


class SessionPanel:
    """Lays out the parts of the widget.

    Parameters
    ----------
    widget : QWidget
        Gets the layout.
    act : callable
        Called with the name of an action whose button was pressed.
    """

    def __init__(self, widget: Panel, act: Callable[[str], None]) -> None:
        self.pictures = PictureList()
        self.where, self.summary = Sentence(), Sentence()
        #: What should be known of the numbers; see `napari_wbcseg.batch.notices`.
        self.notices = Sentence(look=NOTICE_LOOK)
        self.bar = QProgressBar()
        self.method = MethodForm()
        self.buttons: dict[str, QPushButton] = {}
        for name, (title, tip) in _BUTTONS.items():
            self.buttons[name] = button(title, partial(act, name), tip)
        by = self.buttons
        #: What only the first run asks for.
        self.first_run = Folded("Model and settings", self.method)
        layout = scrolled_column(widget, "Session")
        layout.addLayout(beside(by["open_folder"], by["open_files"]))
        layout.addWidget(by["go_on"])
        layout.addLayout(beside(self.where, by["look_again"], by["keep_elsewhere"], wide=self.where))
        layout.addWidget(self.first_run)
        layout.addLayout(beside(by["segment_all"], by["cancel"], wide=by["segment_all"]))
        for part in (self.bar, widget.message, self.summary, self.notices):
            layout.addWidget(part)
        layout.addWidget(self.pictures, 1)
        layout.addLayout(beside(by["previous"], by["next"], by["save"]))
        layout.addLayout(beside(by["review"], by["differential"]))


def ask_to_save(parent: QWidget, name: str) -> bool | None:
    """Ask what becomes of corrections; None where all is to stay as it is."""
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent,
        "Save the cells?",
        f"The cells of {name} were found or corrected, and that is not saved.",
        buttons.Save | buttons.Discard | buttons.Cancel,
        buttons.Save,
    )
    return None if answer == buttons.Cancel else bool(answer == buttons.Save)
