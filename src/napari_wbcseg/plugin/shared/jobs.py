"""Long work off the GUI thread: progress, cancel, and errors as a sentence."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeGuard

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QThreadPool, QTimer, Signal
from qtpy.QtWidgets import QWidget
from superqt.utils import FunctionWorker

from ...errors import Cancelled, WBCSegError
from ...files import system_problem
from ...progress import Progress
from .activity import ActivityBar

logger = logging.getLogger(__name__)

#: Seconds between two progress messages to the GUI. Every message repaints a bar.
MESSAGE_INTERVAL = 0.1


class _Worker(FunctionWorker):  # type: ignore[type-arg]
    """The worker of superqt, which napari's thread_worker wraps, but for its way with warnings.

    It takes Python's hook for these while it works; two that overlap put back each other's, and napari shows
    no warning any more.
    """

    def run(self) -> None:
        self.returned.emit(self.work())  # that of a job raises nothing
        self._finished.emit(self)


class Job(QObject):
    """One call of a function in a worker thread.

    The function gets a progress callback, which raises `Cancelled` once `cancel` was called. Exactly one of
    `done`, `failed` and `cancelled` is emitted, on the GUI thread, followed by `ended`; after `abandon` none
    is.

    Parameters
    ----------
    function : callable
        Called as ``function(progress)`` in the worker thread.
    title : str
        What the activity dock shows; empty for nothing there.
    lasting : bool
        Whether it goes on though the widget, or napari, is closed, as what writes files does. Cancel ends it.
    """

    progressed = Signal(int, int, str)
    #: For the function, to tell the window more than how far it is.
    yielded = Signal(object)
    done = Signal(object)
    failed = Signal(str)
    cancelled = Signal()
    ended = Signal()

    # A running job must outlive the widget that started it: its thread still emits signals.
    _running: set[Job] = set()  # noqa: RUF012

    def __init__(
        self, function: Callable[[Progress], Any], title: str = "", *, lasting: bool = False
    ) -> None:
        super().__init__()
        self._function: Callable[[Progress], Any] | None = function
        self._title, self._lasting = title, lasting
        self._stop = threading.Event()
        self._bar: ActivityBar | None = None
        self._cleanup: Cleanup | None = None
        self._last_message = 0.0
        # That of napari also registers a task that asks "are you sure" when the window closes. Ours needs no
        # question: it stops by itself.
        self._worker: Any = _Worker(self._work)
        self._worker.returned.connect(self._on_returned)

    @property
    def running(self) -> bool:
        """Whether the work has started and not ended."""
        return self in Job._running

    @property
    def cancelling(self) -> bool:
        """Whether it was cancelled."""
        return self._stop.is_set()

    def start(self, cleanup: Cleanup | None = None) -> None:
        """Start the work and show it in napari's activity dock; with ``cleanup`` it is abandoned."""
        Job._running.add(self)
        self._cleanup = cleanup
        if cleanup is not None:
            cleanup.add(self.abandon)
        if self._title:
            self._bar = ActivityBar(self._title, self.cancel)
            self.progressed.connect(self._bar.show)
        self._worker.start()

    def cancel(self) -> None:
        """Ask the work to stop; it does at its next progress report."""
        self._stop.set()

    def abandon(self) -> None:
        """Cancel what does not last, and emit nothing from now on: whoever listened is going away."""
        if not self._lasting:
            self.cancel()
        self._leave_window()
        self._let_go()

    # worker thread ---------------------------------------------------------------------------------------

    def _work(self) -> tuple[Any, ...]:
        # Let go of what the function holds as soon as it is done.
        function, self._function = self._function, None
        if function is None:  # another was done instead before it began
            return ("cancelled",)
        try:
            return "done", function(self._report)
        except Cancelled:
            return ("cancelled",)
        except WBCSegError as error:
            return "failed", str(error)
        except MemoryError:
            logger.exception("out of memory in %s", self._title)
            return "failed", "There is not enough memory. Try a smaller image or a smaller batch size."
        except Exception as error:
            if isinstance(error, OSError) and error.filename:  # a full disk, for instance
                return "failed", system_problem(error)
            logger.exception("unexpected error in %s", self._title)
            return "failed", f"Something went wrong that should not have: {type(error).__name__}: {error}"

    def _report(self, done: int, total: int, stage: str) -> None:
        self._raise_if_cancelled()
        now = time.monotonic()
        if now - self._last_message >= MESSAGE_INTERVAL:
            self._last_message = now
            self.progressed.emit(done, total, stage)

    def rest(self, seconds: float) -> None:
        """Wait; until then another job may have the thread."""
        pool = QThreadPool.globalInstance()
        assert pool is not None
        pool.releaseThread()
        self._stop.wait(seconds)
        pool.reserveThread()
        self._raise_if_cancelled()

    def _raise_if_cancelled(self) -> None:
        closing = self._worker.abort_requested and not self._lasting  # as napari asks for
        if self._stop.is_set() or closing:
            raise Cancelled("Cancelled.")

    # GUI thread ------------------------------------------------------------------------------------------

    def _leave_window(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
        if self._cleanup is not None:
            self._cleanup.remove(self.abandon)

    def _on_returned(self, outcome: tuple[Any, ...]) -> None:
        """Emit the signal of this end, which nobody hears of a job that was abandoned."""
        Job._running.discard(self)
        self._leave_window()
        how, *told = ("cancelled",) if outcome[0] == "done" and self.cancelling else outcome
        getattr(self, how).emit(*told)
        self.ended.emit()
        self._let_go()

    def _let_go(self) -> None:
        """Forget who listens, and what they hold: whoever started a job may keep it."""
        ends = self.done, self.failed, self.cancelled, self.ended
        for signal in (self.progressed, self.yielded, *ends):
            with suppress(TypeError, RuntimeError):  # nobody does
                signal.disconnect()


def in_background(
    work: Callable[..., Any],
    title: str = "",
    *,
    cleanup: Cleanup | None = None,
    instead_of: Job | None = None,
    lasting: bool = False,
    **told: Callable[..., object],
) -> Job:
    """Start a `Job`, and call what is given for its signals, such as ``done``, on the GUI thread.

    With ``yielded`` the work gets, after ``progress``, a function that hands it something meanwhile. The job
    emits it: a thread that emits a signal of a widget that is being deleted crashes napari. A job that it is
    done ``instead_of`` is abandoned, and not begun where that waits for a thread.
    """
    if instead_of is not None:
        instead_of.abandon()
        instead_of._function = None
    job = Job(
        (lambda progress: work(progress, job.yielded.emit)) if "yielded" in told else work,
        title,
        lasting=lasting,
    )
    for signal, call in told.items():
        getattr(job, signal).connect(call)
    job.start(cleanup)
    return job


def busy(job: Job | None) -> TypeGuard[Job]:
    """Say whether a job is under way."""
    return job is not None and job.running


def _end_all() -> None:
    """Wait for the threads when Python ends, however long: one that outlives Qt aborts the process."""
    for job in Job._running:
        if not job._lasting:
            job.cancel()
    pool = QThreadPool.globalInstance()
    if pool is not None:
        pool.waitForDone()


# What is told of last is done first: Python removes temporary folders, of which a job may read, after it.
weakref.finalize(Job, bool)
atexit.register(_end_all)


class Cleanup:
    """Ends what runs on behalf of a widget when the widget goes away.

    It holds no reference to the widget: Qt destroys a widget's Python side before it tells of it.
    """

    def __init__(self) -> None:
        self._enders: list[Callable[[], object]] = []
        #: Whether the widget is gone.
        self.done = False

    def add(self, end: Callable[[], object]) -> None:
        """Call this when the widget goes away."""
        self._enders.append(end)

    def connect(self, emitter: Any, callback: Callable[..., object]) -> None:
        """Connect a callback to an event of napari until the widget goes away."""
        emitter.connect(callback)
        self.add(lambda: emitter.disconnect(callback))

    def remove(self, end: Callable[[], object]) -> None:
        """Forget about this; it has ended."""
        if end in self._enders:
            self._enders.remove(end)

    def run(self, *_: object) -> None:
        """End everything."""
        self.done = True
        atexit.unregister(self.run)
        enders, self._enders = self._enders, []
        for end in enders:
            end()


class _Removal(QObject):
    """Sees a dock widget being taken out of its window.

    napari keeps the content of a removed dock widget alive, without a parent.
    """

    def __init__(self, widget: QWidget, cleanup: Cleanup) -> None:
        super().__init__(widget)
        self._cleanup = cleanup
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        reparented = event is not None and event.type() == QEvent.Type.ParentChange
        if reparented and isinstance(watched, QWidget) and watched.parentWidget() is None:
            self._cleanup.run()
        return False


def clean_up_with(widget: QWidget) -> Cleanup:
    """Return a `Cleanup` that runs when a dock widget is removed, its window is closed or Python ends."""
    cleanup = Cleanup()
    _Removal(widget, cleanup)
    widget.destroyed.connect(cleanup.run)
    QCoreApplication.instance().aboutToQuit.connect(cleanup.run)  # type: ignore[union-attr]
    # A script may end with its viewer open. What Qt destroys then, it does in no order to rely on.
    atexit.register(cleanup.run)
    return cleanup


def timer(delay: int, call: Callable[[], object], parent: QObject | None = None) -> QTimer:
    """Return a timer that calls once, so many milliseconds after each start."""
    made = QTimer(parent)
    made.setSingleShot(True)
    made.setInterval(delay)
    made.timeout.connect(call)
    return made
