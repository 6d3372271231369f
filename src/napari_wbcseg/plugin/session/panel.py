"""How the widget *White blood cell session* looks: its parts, and what each says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtWidgets import QMessageBox, QProgressBar, QPushButton, QWidget

from ..shared.method_form import MethodForm
from ..shared.panel import NOTICE_LOOK, Folded, Panel, Sentence, beside, button, scrolled_column
from .picture_list import PictureList

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
    "save": ("Save", "Write the corrected cells into the result files of this picture."),
    "review": ("Review the cells …", "Look at the cells of this picture, and correct them."),
    "differential": ("Differential of all …", "Counts and per cents of the classes, over all pictures."),
}


START = "Open the folder with your pictures. Their cells are kept in result files, here as in the shell."
LOOKING = "Looking for the pictures …"
OTHERWISE = (
    "These cells were found with another model or settings than the run into this folder. Save keeps them "
    "until Segment all, which finds them anew where none was corrected. Elsewhere … counts all as you like."
)


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
        "Save the corrections?",
        f"The cells of {name} were corrected, and that is not saved.",
        buttons.Save | buttons.Discard | buttons.Cancel,
        buttons.Save,
    )
    return None if answer == buttons.Cancel else bool(answer == buttons.Save)
