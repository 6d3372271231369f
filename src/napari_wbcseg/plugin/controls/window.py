"""The window that a panel is docked in: keys that work all over it, and a question before it closes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QMainWindow, QWidget

from ..shared.jobs import timer


class WindowGuard(QObject):
    """Watches the window of a panel.

    Parameters
    ----------
    panel : QWidget
    keys : mapping of str to callable
    unsaved : callable
        Says whether something would be lost.
    ask : callable
        Asks what becomes of it, and calls what it is given unless all is to stay as it is.
    """

    def __init__(
        self,
        panel: QWidget,
        keys: Mapping[str, Callable[[], object]],
        unsaved: Callable[[], bool],
        ask: Callable[[Callable[[], object]], object],
    ) -> None:
        super().__init__()
        self._unsaved, self._ask, self._keys = unsaved, ask, keys
        self._shortcuts: list[QShortcut] = []
        self._window: weakref.ref[QMainWindow] | None = None  # a closed one is not kept alive
        self._closing = timer(0, self._ask_and_close, self)  # a window closed twice at once asks once
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None:
            return False
        if event.type() == QEvent.Type.Show and self.window is None:
            self._find_window(watched)
        closing = event.type() == QEvent.Type.Close and watched is self.window
        if closing and self._window_in_use is not None and self._unsaved():
            event.ignore()
            self._closing.start()
            return True
        return False

    @property
    def window(self) -> QMainWindow | None:
        """The window; None before the panel was seen, and after the window is gone."""
        return None if self._window is None else self._window()

    def leave(self) -> None:
        """Let the window go, as the panel is closed."""
        window = self._window_in_use
        if window is None:
            return
        window.removeEventFilter(self)
        for shortcut in self._shortcuts:
            shortcut.deleteLater()
        if self._unsaved():
            QTimer.singleShot(0, lambda: self._ask(lambda: None))

    def stay(self) -> None:
        """Go on asking though the panel is closed, as long as the window is there."""
        if (window := self._window_in_use) is not None:
            self.setParent(window)

    def _ask_and_close(self) -> None:
        if (window := self._window_in_use) is not None:
            self._ask(window.close)

    def _find_window(self, widget: QObject | None) -> None:
        while widget is not None and not isinstance(widget, QMainWindow):
            widget = widget.parent()
        if widget is not None:
            self._window = weakref.ref(widget)
            widget.installEventFilter(self)
            for key, act in self._keys.items():
                shortcut = QShortcut(QKeySequence(key), widget)
                shortcut.activated.connect(act)
                self._shortcuts.append(shortcut)

    @property
    def _window_in_use(self) -> QMainWindow | None:
        """The window while its canvas is there: a script that closes a viewer takes that away first."""
        from napari.qt import QtViewer

        window = self.window
        if window is None or not isalive(window):
            return None
        canvas = window.findChild(QtViewer)
        return window if canvas is not None and canvas.isVisibleTo(window) else None
