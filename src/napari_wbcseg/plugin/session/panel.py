"""How the widget *White blood cell session* looks: its parts, and what each says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QMessageBox, QProgressBar, QPushButton, QWidget

from ..shared.model_list import ModelPicker
from ..shared.panel import NOTICE_LOOK, Folded, Sentence, beside, button, scrolled_column
from ..shared.preferences import preference, preferred_settings
from ..shared.settings_form import SettingsForm
from .files import Session
from .picture_list import Entry, PictureModel, PictureView

#: Keys, wherever in the window the focus is, and the action of each.
KEYS = {"Ctrl+PgDown": "next", "Ctrl+PgUp": "previous"}
_BUTTONS = {
    "open_folder": ("Open a folder …", "Pictures to count; or the results of an earlier session or run."),
    "open_files": ("Open files …", "Some pictures to count."),
    "go_on": ("", "The session that was open last: it stands where it was."),
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


_START = "Open the folder with your pictures. Their cells are kept in result files, here as in the shell."


class SessionPanel:
    """Lays out the parts of the widget.

    Parameters
    ----------
    widget : QWidget
        Gets the layout.
    act : callable
        Called with the name of an action whose button was pressed.
    """

    def __init__(self, widget: QWidget, act: Callable[[str], None]) -> None:
        self.model = PictureModel()
        self.view = PictureView(self.model)
        self.where, self.summary, self.message = Sentence(), Sentence(), Sentence()
        #: What should be known of the numbers; see `napari_wbcseg.batch.notices`.
        self.notices = Sentence(look=NOTICE_LOOK)
        self.bar = QProgressBar()
        self.models = ModelPicker(preference("model"))
        model = ("Model", self.models, "Built-in models and those you trained.")
        self.settings = SettingsForm(preferred_settings(), above=[model])
        self.buttons: dict[str, QPushButton] = {}
        for name, (title, tip) in _BUTTONS.items():
            self.buttons[name] = button(title, partial(act, name), tip)
        by = self.buttons
        #: What only the first run asks for.
        self.first_run = Folded("Model and settings", self.settings)
        layout = scrolled_column(widget, "Session")
        layout.addLayout(beside(by["open_folder"], by["open_files"]))
        layout.addWidget(by["go_on"])
        layout.addLayout(beside(self.where, by["keep_elsewhere"], wide=self.where))
        layout.addWidget(self.first_run)
        layout.addLayout(beside(by["segment_all"], by["cancel"], wide=by["segment_all"]))
        for part in (self.bar, self.message, self.summary, self.notices):
            layout.addWidget(part)
        layout.addWidget(self.view, 1)
        layout.addLayout(beside(by["previous"], by["next"], by["save"]))
        layout.addLayout(beside(by["review"], by["differential"]))

    def say(self, words: str) -> None:
        """Show a sentence below the buttons; none hides it."""
        self.message.setText(words)

    def show_progress(self, done: int, total: int, image: str) -> None:
        """Show how many pictures are done, and which one is under way."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.say(f"{done} of {total} done. {image}")

    def show_entry(self, entry: Entry) -> None:
        """Show what came to be known of a picture."""
        self.model.tell(entry)
        self.summary.setText(self.model.summary())

    def refresh(self, session: Session | None, last: Path | None, row: int | None, running: bool) -> None:
        """Offer what can be done.

        Parameters
        ----------
        session : Session or None
        last : Path or None
            The folder of the session to go on with.
        row : int or None
            Of the picture shown.
        running : bool
            Whether pictures are being segmented.
        """
        first = session is not None and session.run is None
        self.where.setText(_START if session is None else f"Results in {session.out}")
        self.buttons["go_on"].setText("" if last is None else f"Go on with {'/'.join(last.parts[-2:])}")
        self.summary.setText(self.model.summary())
        for part, shown in (
            (self.buttons["go_on"], last is not None),
            (self.buttons["keep_elsewhere"], session is not None),
            (self.first_run, first),
            (self.bar, running),
            (self.buttons["cancel"], running),
        ):
            part.setVisible(shown)
        for name in ("open_folder", "open_files", "go_on", "keep_elsewhere"):
            self.buttons[name].setEnabled(not running)
        self.buttons["segment_all"].setEnabled(bool(self.model.entries) and not running)
        for name in ("previous", "next"):
            self.buttons[name].setEnabled(len(self.model.entries) > 1)
        if row is not None:
            self.view.selectRow(row)


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
