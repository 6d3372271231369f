"""What the commands write with: sentences, tables and bars."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.table import Table


def new_console() -> Console:
    """Return what writes to standard error."""
    from rich.console import Console

    # Made anew each time, so that it writes to the stream of the moment.
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def complain(message: str) -> None:
    new_console().print(message, style="red")


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Show a bar on standard error while it is a terminal, and nothing otherwise."""
    with progress_bars() as bars:
        yield add_bar(bars, title)


def add_bar(bars: Bars, title: str = "", **values: Any) -> Progress:
    """Add a bar, with values for its columns, and return the callback that moves it."""
    task = bars.add_task(title, total=None, **values)

    def show(done: int, total: int, stage: str) -> None:
        bars.update(task, completed=done, total=total or None, description=stage or title)

    return show


def progress_bars(*columns: Any) -> Bars:
    """Return bars that are shown on standard error while it is a terminal."""
    from rich import progress

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
    before = {}
    for name in names:
        if (one := getattr(signal, name, None)) is not None:
            before[one] = signal.getsignal(one)
    if before.get(getattr(signal, "SIGHUP", None)) == signal.SIG_IGN:
        del before[signal.SIGHUP]  # nohup lets a process ignore the end of its terminal
    for one in before:
        signal.signal(one, act)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def new_table(*headings: str, title: str | None = None, left: int = 1) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", overflow="fold")
    return table


def print_table(table: Table) -> None:
    from rich.console import Console

    # Names in square brackets are names, so no markup; a pipe gets wide lines instead of folded ones.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def rounded(value: Any, digits: int = 1) -> str:
    return "" if value is None or value != value else f"{value:.{digits}f}"
