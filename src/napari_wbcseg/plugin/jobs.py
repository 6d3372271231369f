"""Long work off the GUI thread: progress, cancel, and errors as a sentence."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from napari.utils.progress import cancelable_progress
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QMainWindow, QWidget
from superqt.utils import create_worker

from ..errors import Cancelled, WBCSegError
from ..progress import Progress

logger = logging.getLogger(__name__)

#: Seconds between two progress messages to the GUI. Every message repaints a bar.
MESSAGE_INTERVAL = 0.1


class _NoTerminal:
    """Where napari's progress bar writes its text form: nowhere."""

    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


class Job(QObject):
    """One call of a function in a worker thread.

    The function gets a progress callback as its last argument; it raises `Cancelled` once `cancel` was
    called. Exactly one of `succeeded`, `failed` and `cancelled` is emitted, on the GUI thread, followed by
    `ended`; after `abandon` none is.

    Parameters
    ----------
    function : callable
        Called as ``function(progress)`` in the worker thread.
    title : str
        What the activity dock shows.
    """

    progressed = Signal(int, int, str)
    succeeded = Signal(object)
    failed = Signal(str)
    cancelled = Signal()
    ended = Signal()

    # A running job must outlive the widget that started it: its thread still emits signals.
    _running: set[Job] = set()  # noqa: RUF012

    def __init__(self, function: Callable[[Progress], Any], title: str) -> None:
        super().__init__()
        self._function = function
        self._title = title
        self._stop = threading.Event()
        self._abandoned = False
        self._bar: cancelable_progress | None = None
        self._last_message = 0.0
        self._stage = ""
        # superqt's worker is the one napari's thread_worker wraps; napari's also registers a task that asks
        # "are you sure" when the window closes. Ours needs no question: it stops by itself.
        self._worker: Any = create_worker(self._work, _start_thread=False, _ignore_errors=True)
        self._worker.returned.connect(self._on_returned)
        self._worker.finished.connect(self._on_finished)
        self.progressed.connect(self._show_progress)

    @property
    def running(self) -> bool:
        """Whether the work has started and not ended."""
        return self in Job._running

    def start(self) -> None:
        """Start the work and show it in napari's activity dock."""
        Job._running.add(self)
        self._bar = cancelable_progress(total=0, desc=self._title, file=_NoTerminal())
        self._worker.start()

    def cancel(self) -> None:
        """Ask the work to stop; it does at its next progress report."""
        self._stop.set()

    def abandon(self) -> None:
        """Cancel, and emit nothing from now on: whoever listened is going away."""
        self._abandoned = True
        self.cancel()
        self._close_bar()

    # worker thread ---------------------------------------------------------------------------------------

    def _work(self) -> tuple[str, Any]:
        try:
            return "succeeded", self._function(self._report)
        except Cancelled:
            return "cancelled", None
        except WBCSegError as error:
            return "failed", str(error)
        except MemoryError:
            logger.exception("out of memory in %s", self._title)
            return "failed", "There is not enough memory. Try a smaller image or a smaller batch size."
        except Exception as error:
            logger.exception("unexpected error in %s", self._title)
            return "failed", f"Something went wrong that should not have: {type(error).__name__}: {error}"

    def _report(self, done: int, total: int, stage: str) -> None:
        bar = self._bar
        if self._stop.is_set() or self._worker.abort_requested or (bar is not None and bar.is_canceled):
            raise Cancelled("Cancelled.")
        now = time.monotonic()
        if now - self._last_message >= MESSAGE_INTERVAL:
            self._last_message = now
            self.progressed.emit(done, total, stage)

    # GUI thread ------------------------------------------------------------------------------------------

    def _show_progress(self, done: int, total: int, stage: str) -> None:
        bar = self._bar
        if bar is None:
            return
        if bar.total != total:
            bar.total = total
        if stage != self._stage:
            self._stage = stage
            bar.set_description(stage)
        # napari's bar handles events while it repaints, so this job may be over after each line.
        if self._bar is not None and done != bar.n:
            bar.update(done - bar.n)

    def _close_bar(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _on_returned(self, outcome: tuple[str, Any]) -> None:
        kind, value = outcome
        self._close_bar()
        Job._running.discard(self)
        if self._abandoned:
            return
        if kind == "cancelled" or (kind == "succeeded" and self._stop.is_set()):
            self.cancelled.emit()
        elif kind == "succeeded":
            self.succeeded.emit(value)
        else:
            self.failed.emit(value)
        self.ended.emit()

    def _on_finished(self) -> None:
        # Reached without a result only when napari itself asked the worker to quit.
        if self in Job._running:
            self._on_returned(("cancelled", None))


class ClosingWatch(QObject):
    """Tell when a dock widget goes away: taken out of the window, or the window closed.

    napari keeps a removed dock widget's content alive without a parent, and a closing window says nothing to
    its docks, so both are watched here.
    """

    closing = Signal()

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self._window: QMainWindow | None = None
        widget.installEventFilter(self)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.closing)

    def find_window(self) -> None:
        """Watch the window that the widget is in now."""
        parent = self._widget.parentWidget()
        while parent is not None and not isinstance(parent, QMainWindow):
            parent = parent.parentWidget()
        if parent is not None and parent is not self._window:
            self._window = parent
            parent.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None:
            return False
        if watched is self._widget:
            if event.type() == QEvent.Type.ParentChange and self._widget.parentWidget() is None:
                self.closing.emit()
            elif event.type() in (QEvent.Type.ParentChange, QEvent.Type.Show):
                self.find_window()
        elif watched is self._window and event.type() == QEvent.Type.Close:
            # The window may still refuse to close ("are you sure?"): look once the event is dealt with.
            QTimer.singleShot(0, self._look)
        elif watched is self._window and event.type() == QEvent.Type.DeferredDelete:
            self.closing.emit()
        return False

    def _look(self) -> None:
        try:
            gone = self._window is None or not self._window.isVisible()
        except RuntimeError:  # deleted in the meantime
            gone = True
        if gone:
            self.closing.emit()


def say_error(sentence: str) -> None:
    """Show what went wrong as a napari notification."""
    from napari.utils.notifications import show_error

    show_error(sentence)
