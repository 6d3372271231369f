"""The differential: how many cells there are of each class, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QModelIndex, QRect, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QHeaderView,
    QStyledItemDelegate,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from ...classification.classes import UNSURE
from ...classification.differential import Differential, Share, differential
from ...results.differential import ResultClasses, Results, read_results
from ...words import counted
from ..controls.basic_widgets import Sentence, button, fill, form, there, with_tip
from ..controls.layer_picker import LayerPicker
from ..shared.jobs import Job, in_background
from ..shared.regions import inside, is_regions, region_outlines
from ..shared.viewer import PLACED
from .layer_review import LayerReview

_HEADERS = ("class", "cells", "%", "95 %", "")
_BAR = len(_HEADERS) - 1
_SHARE = Qt.ItemDataRole.UserRole


class BarDelegate(QStyledItemDelegate):
    """Paints a share as a bar, and its interval as a line over it."""

    def paint(self, painter: QPainter | None, option: Any, index: QModelIndex) -> None:
        super().paint(painter, option, index)
        data = index.data(_SHARE)
        if painter is None or data is None or np.isnan(data[0].percent):
            return
        share, colour, widest = data
        here = QRect(option.rect).adjusted(2, 4, -4, -4)

        def at(value: float) -> int:
            return here.left() + round(value / widest * here.width())

        middle = here.center().y()
        ink, low, high = option.palette.text().color(), at(share.low), at(share.high)
        bar = QRect(here.left(), here.top(), at(share.percent) - here.left(), here.height())
        painter.fillRect(bar, QColor(colour))
        painter.fillRect(low, middle, max(high - low, 1), 1, ink)
        for end in (low, high):
            painter.fillRect(end, middle - 3, 1, 7, ink)


class DifferentialPanel(QWidget):
    """A tab of the review: a row a class, for the picture, regions drawn in a Shapes layer, or the folder.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose Shapes layers are offered.
    review : callable
        Gives the review, or None.

    Attributes
    ----------
    differential : Differential or None
        What is shown; None without cells, and where their count is in doubt.
    regions : LayerPicker
        The Shapes layer whose regions are counted; its ``value`` is None for the picture.
    folder : QCheckBox
        Whether all results in the folder of this one are counted, this one as it is now; or those in that
        asked for, until a picture of a third folder is opened. The others are read when that is asked for,
        and as another picture or the tab is opened.
    """

    def __init__(self, viewer: ViewerModel, review: Callable[[], LayerReview | None]) -> None:
        super().__init__()
        self._review = review
        self._asked: Path | None = None
        self._beside: Path | None = None  # the folder of the picture shown when that was asked for
        self.differential: Differential | None = None
        self.regions = LayerPicker(viewer, is_regions, "", none="the whole picture")
        self.regions.changed.connect(self._on_regions)
        self.folder = with_tip(QCheckBox("all pictures of the folder"), "All results beside this one.")
        self.folder.hide()
        self.folder.toggled.connect(self._read_anew)
        self._reading: Job | None = None
        self._read_for: tuple[Path, Path | None] | None = None  # a folder, and the record shown then
        self._results: Results | None = None
        self.table = QTreeWidget()
        self.table.setHeaderLabels(list(_HEADERS))
        self.table.setItemDelegateForColumn(_BAR, BarDelegate(self.table))
        self.table.setIndentation(12)
        self.table.setRootIsDecorated(False)
        self.table.setMinimumHeight(120)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.currentItemChanged.connect(self._say)
        with_tip(self.table, "Shares of the white cells, and where they lie with 95 % confidence (Wilson).")
        self.summary, self.more = Sentence(), Sentence()
        where = form(("Count in", self.regions.native, "Or the regions of a Shapes layer."))
        where.addRow("", self.folder)
        copy = button("Copy", self.copy, "Copy the table, for a spreadsheet or a report.")
        fill(self, where, self.summary, self.table, self.more, copy).setContentsMargins(4, 4, 4, 4)
        header = there(self.table.header())
        header.setMinimumSectionSize(24)
        header.setStretchLastSection(False)  # it would keep the width that it had first
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_BAR, QHeaderView.ResizeMode.Stretch)

    def count_in(self, folder: Path | None) -> None:
        """Count all results in a folder, also where no cells are reviewed; None for the picture alone."""
        record = self._record
        self._asked = None if folder is None else folder.resolve()
        self._beside = None if record is None else record.parent
        self.folder.setChecked(folder is not None)
        self._read_anew()

    @property
    def _record(self) -> Path | None:
        """The record of the picture that is reviewed."""
        review = self._review()
        kept = None if review is None else review.info.record
        return None if kept is None else Path(kept).resolve()

    def refresh(self, event: Any = None) -> None:
        """Count again; a hidden panel does so when it is opened."""
        if not self.isVisible():
            return
        chosen = self.table.currentItem()
        name = "" if chosen is None else chosen.text(0)
        record, together = self._record, self.folder.isChecked()
        beside = record and record.parent
        if beside is not None and not (together and beside == self._beside):
            self._asked = None  # as a picture of another folder was opened, or this one is looked at alone
        folder = self._asked or beside
        self.folder.setVisible(folder is not None)
        self.regions.enabled = folder is None or not together
        if folder is not None and together:
            record = record if beside == folder else None
            self._read(folder, record)
            self.differential, words = self._of_folder(record)
        else:
            self.differential, words = self._of_picture()
        self.table.clear()
        if self.differential is not None:
            self.table.setCurrentItem(self._fill(self.differential).get(name))
        self.summary.setText(words)
        self._say()

    def _of_picture(self) -> tuple[Differential | None, str]:
        """Count the cells of the picture, or of the regions in it."""
        review = self._review()
        if review is None:
            return None, ""
        if review.info.in_doubt:
            return None, "Count in doubt, see its notes."
        cells = review.cells
        if self.regions.value is not None:
            outlines = region_outlines(self.regions.value, review.labels)
            cells = cells[inside(cells[["row", "col"]].to_numpy(float), outlines)]
        found = differential(cells, review.classes)
        return found, _in_words(found)

    def _of_folder(self, record: Path | None) -> tuple[Differential | None, str]:
        """Count the cells of the results in the folder, those of this picture as they are now."""
        review = self._review()
        if self._results is None:
            return None, "Reading the results …"
        read = self._results
        if review is not None and record is not None and record not in read.outdated:
            saved = read.told.get(record)
            now = ResultClasses(review.cells, review.classes, review.info.in_doubt)
            now = now._replace(picture=saved.picture) if isinstance(saved, ResultClasses) else now
            read = read._replace(told={**read.told, record: now})
        found, readable = read.differential, len(read.readable)
        what_else = {
            "in doubt": found.in_doubt,
            "of another run left out": found.outdated,
            "that cannot be read": len(read.told) - readable,
            "without a result": found.missing,
            "counted twice": found.twice,
        }
        pictures = f" in {counted(readable - found.in_doubt, 'picture')}"
        pictures += "".join(f", {number} {what}" for what, number in what_else.items() if number)
        return found, _in_words(found, pictures)

    def _read(self, folder: Path, record: Path | None) -> None:
        """Read the results in a folder in the background, once for each picture that is shown."""
        if self._read_for == (folder, record):
            return
        if self._read_for is None or self._read_for[0] != folder:
            self._results = None
        self._read_for = folder, record
        self._reading = in_background(
            partial(read_results, folder),
            "" if self._results else "Reading the results",
            done=self._on_read,
            failed=self.summary.setText,
            cancelled=self._on_cancelled,
            instead_of=self._reading,
        )

    def _read_anew(self) -> None:
        self._read_for = None
        self.refresh()

    def _on_read(self, results: Results) -> None:
        self._results = results
        self.refresh()

    def _on_cancelled(self) -> None:
        self.folder.setChecked(False)

    def copy(self) -> None:
        """Put the table on the clipboard, columns parted by tabs."""
        if self.differential is not None:
            table = self.differential.table().to_csv(sep="\t", index=False, float_format="%.1f")
            there(QApplication.clipboard()).setText(table)

    def _fill(self, found: Differential) -> dict[str, QTreeWidgetItem]:
        """Add a row a class, and return them by its name."""
        rows: dict[str, QTreeWidgetItem] = {}
        widest = max((share.high for share in found.shares), default=100.0)
        for share in found.shares:
            if not share.count and (share.part_of or share.name == UNSURE):
                continue
            colour = found.colours[share.name]
            item = rows[share.name] = QTreeWidgetItem(_texts(share))
            item.setData(_BAR, _SHARE, (share, colour, widest))
            swatch = QPixmap(10, 10)
            swatch.fill(QColor(colour))
            item.setIcon(0, QIcon(swatch))
            for column in range(1, _BAR):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            parent = rows.get(share.part_of, there(self.table.invisibleRootItem()))
            parent.addChild(item)
        self.table.expandAll()
        return rows

    def _say(self, *_: Any) -> None:
        """Say what more cells would bring for the chosen class, or for the widest interval."""
        found, item = self.differential, self.table.currentItem()
        if found is None or not found.white_cells:
            self.more.setText("")
        elif item is None:
            self.more.setText(f"{counted(found.more_to_halve, 'more cell')} would halve the widest interval.")
        else:
            share, *_ = item.data(_BAR, _SHARE)
            more = counted(share.more_to_halve, "more cell")
            self.more.setText(f"{more} would halve the interval of the class {share.name}.")

    def _on_regions(self, *_: Any) -> None:
        """Follow the regions of the chosen layer while they are drawn."""
        if self.regions.value is not None:
            for changed in ("data", *PLACED):  # connected once, however often it is chosen
                getattr(self.regions.value.events, changed).connect(self.refresh)
        self.refresh()

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._read_anew()


def _texts(share: Share) -> list[str]:
    if np.isnan(share.percent):
        return [share.name, str(share.count), "", "", ""]
    return [share.name, str(share.count), f"{share.percent:.1f}", f"{share.low:.1f} – {share.high:.1f}", ""]


def _in_words(found: Differential, pictures: str = "") -> str:
    others = ", ".join(f"{name} {number}" for name, number in found.others.items() if number)
    beside = f"Not among them: {others}." if others else ""
    return " ".join(filter(None, (f"{found.summary}{pictures}.", beside, found.unusual)))
