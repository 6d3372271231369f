"""What the Segment widget looks like: its parts, from the image at the top to the next steps below."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QFrame, QMessageBox, QProgressBar, QPushButton, QWidget

from ...words import counted
from ..controls.basic_widgets import NOTICE_LOOK, Folded, Sentence, beside, form, together, with_tip
from ..controls.layer_picker import LayerPicker
from ..controls.method_form import MethodForm
from ..controls.panel import Panel, scrolled_column
from ..controls.unsaved_offer import UnsavedOffer
from ..shared.layers import result_layers
from ..shared.metadata import is_picture
from ..shared.regions import is_regions
from .pixel_size_field import PixelSizeField
from .save_form import SaveForm

#: Shown on top; the others are folded away.
TOP = ("cell_diameter",)

# napari's style sheet rules over fonts and palettes, so these are style sheets too.
_RUN_LOOK = """
QPushButton { background-color: #2563c9; color: white; font-weight: bold; padding: 8px; border-radius: 4px; }
QPushButton:hover { background-color: #2f74e6; }
QPushButton:disabled { background-color: rgba(128, 128, 128, 60); color: rgba(128, 128, 128, 200); }
"""
_COUNT_LOOK = "font-size: 17pt; font-weight: bold;"


class SegmentPanel:
    """The parts of the Segment widget, laid out in it.

    Parameters
    ----------
    widget : QWidget
        Gets the layout.
    viewer : napari.Viewer
    """

    def __init__(self, widget: Panel, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.picker = LayerPicker(viewer, is_picture, "no image open")
        self.pixel_size = PixelSizeField(viewer)
        self.planes = QComboBox()
        self.planes.addItems(["all planes", "the plane shown"])
        self.regions = LayerPicker(viewer, is_regions, none="the whole image")
        self.draw = with_tip(QPushButton("Draw"), "Draw a rectangle; only what lies in it is segmented.")
        self.method = MethodForm(TOP)
        self.about = Sentence()
        self.join = QPushButton("Show as one colour image")
        self.found = Sentence()
        self.status = Sentence()
        self.run = QPushButton("Segment")
        self.run.setStyleSheet(_RUN_LOOK)
        self.cancel = with_tip(QPushButton("Cancel"), "Stop; the layers stay as they are.")
        self.bar = QProgressBar()
        self.result = Sentence(look=_COUNT_LOOK)
        self.here, self.classes = Sentence(), Sentence()
        self.notes = Sentence()
        tip = "Opens a table of the cells: look at those to check, correct, and see the count follow."
        self.review = with_tip(QPushButton("Review the cells …"), tip)
        self.save = SaveForm(viewer, self.cells)
        self._lay_out(widget)

    def _lay_out(self, widget: Panel) -> None:
        layout = scrolled_column(widget, "Segment")
        layout.addWidget(UnsavedOffer(self._viewer))
        layout.addLayout(self._what())
        layout.addWidget(self.about)
        layout.addWidget(self.join)
        layout.addWidget(_line())
        layout.addWidget(self.method)
        layout.addWidget(self.found)
        layout.addWidget(self.method.more)
        layout.addLayout(beside(self.run, self.cancel, wide=self.run))
        for part in (self.status, self.bar, self.result, self.here, self.classes, self.notes, widget.message):
            layout.addWidget(part)
        self.next_steps = together(_line(), self.review, Folded("Save", self.save))
        layout.addWidget(self.next_steps)
        layout.addStretch(1)

    def _what(self) -> QFormLayout:
        """Return the rows that say what is segmented."""
        tip = "All of the image, or the shapes of a Shapes layer: cells whose centre is inside count."
        with_tip(self.regions.native, tip)
        region = together(beside(self.regions.native, self.draw, wide=self.regions.native))
        self._rows = form(
            ("Image", self.picker.native, "The layer with the stained smear."),
            ("Pixel size", self.pixel_size, ""),
            ("Planes", self.planes, "Every plane of the stack, or the one that is shown."),
            ("Region", region, ""),
        )
        return self._rows

    def cells(self) -> Labels | None:
        """Return the cells of the chosen image, found by this run or an earlier one."""
        image = self.picker.value
        return None if image is None else result_layers(self._viewer, image).get("cells")  # type: ignore[return-value]

    def show_planes(self, count: int) -> None:
        """Offer the planes of a stack; none for a single image."""
        self.planes.setItemText(0, f"all {counted(count, 'plane')}")
        self._rows.setRowVisible(self.planes, count > 0)

    def show_status(self, words: str, wrong: bool = False) -> None:
        """Say below the button how far the run is, or why there can be none."""
        self.status.setText(words)
        self.status.setStyleSheet(NOTICE_LOOK if wrong else "")


def ask_to_keep(parent: QWidget, name: str) -> bool | None:
    """Ask what becomes of corrected cells; None where there is to be no run."""
    box = QMessageBox(parent)
    box.setWindowTitle("Segment again?")
    box.setText(f"The layer {name} was corrected by hand, or opened from a file.")
    box.setInformativeText("It can stay as a layer of its own beside the new cells.")
    keep = box.addButton("Keep it", QMessageBox.ButtonRole.AcceptRole)
    replace = box.addButton("Replace it", QMessageBox.ButtonRole.DestructiveRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(keep)
    box.exec()
    clicked = box.clickedButton()
    return clicked is keep if clicked in (keep, replace) else None


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFixedHeight(1)
    line.setStyleSheet("background-color: rgba(128, 128, 128, 80);")
    line.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    return line
