"""What the commands write with: sentences, tables and bars."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import warnings
from _thread import interrupt_main
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich import box, progress
from rich.console import Console
from rich.table import Table

from ..progress import Progress


def new_console() -> Console:
    """Return what writes to standard error."""
    # Made anew each time, so that it writes to the stream of the moment.
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def complain(message: str) -> None:
    new_console().print(message, style="red")


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Show a bar on standard error while it is a terminal, and nothing otherwise."""
    with progress_bars() as bars:
        yield add_bar(bars, title)


def add_bar(bars: progress.Progress, title: str = "", **values: Any) -> Progress:
    """Add a bar, with values for its columns, and return the callback that moves it."""
    task = bars.add_task(title, total=None, **values)

    def show(done: int, total: int, stage: str) -> None:
        bars.update(task, completed=done, total=total or None, description=stage or title)

    return show


def progress_bars(*columns: Any) -> progress.Progress:
    """Return bars that are shown on standard error while it is a terminal."""
    console = new_console()
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        *columns,
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextlib.contextmanager
def on_signals(act: Callable[[int, Any], None], *names: str) -> Iterator[None]:
    """Call a function at signals, such as ``SIGTERM``, while the context lasts."""
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {one: signal.getsignal(one) for one in known}
    if before.get(getattr(signal, "SIGHUP", None)) == signal.SIG_IGN:
        del before[signal.SIGHUP]  # nohup lets a process ignore the end of its terminal
    for one in before:
        signal.signal(one, act)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def interrupts_heard() -> Iterator[None]:
    """Give the end of a command once more where it fell into code that Python lets raise nothing.

    Such are finalizers, and what libraries call at each garbage collection: it would be printed and lost.
    Given is ``SIGTERM``, since a job in the background is deaf to Ctrl-C; what `on_signals` calls then is to
    raise.
    """
    others = sys.unraisablehook

    def hear(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            threading.Timer(0.1, interrupt_main, [signal.SIGTERM]).start()  # when that code is over
        else:
            others(what)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = others


@contextlib.contextmanager
def notes_of_images() -> Iterator[None]:
    """Print what is to be known of an image that was read, without the line of code that read it."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            from ..images.read import ImageWarning

            if issubclass(category, ImageWarning):
                new_console().print(str(message))
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    total: Sequence[str] = (),
    title: str | None = None,
    left: int = 1,
) -> None:
    """Print a table, with a row below a line perhaps; its first columns are words, the others numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", show_header=any(headings))
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    if total:
        table.add_section()
        table.add_row(*total)
    # Names in square brackets are names, so no markup; a pipe gets wide lines instead of folded ones.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def rounded(value: Any, digits: int = 1) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"
