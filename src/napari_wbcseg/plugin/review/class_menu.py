"""The user's own list of classes: the menu of a class's title in the gallery adds, renames and colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QInputDialog, QMenu, QWidget

from ...classification.classes import ClassList
from ..controls.basic_widgets import there
from ..controls.panel import Panel
from .layer_review import LayerReview


class ClassMenu:
    """Changes the classes of a review, as a person asks for it.

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
        self._set(lambda classes: classes.changed(name, **changes), {name: new} if new != name else None)

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
