"""What the commands write with: sentences, tables and bars."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich import box, progress
from rich.console import Console
from rich.table import Table

from ..progress import Progress
from ..words import duration


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
    return "" if value is None or value != value else f"{value:.{digits}f}"


# How a training shows itself ---------------------------------------------------------------------------


@contextlib.contextmanager
def training_view() -> Iterator[dict[str, Any]]:
    """Show bars, a line an epoch, and let the first Ctrl-C keep the best weights; the second acts at once.

    Yields
    ------
    dict
        ``progress``, ``on_event`` and ``should_stop``, as `napari_wbcseg.train` takes them.
    """
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        new_console().print("Stopping after this step; the best weights are kept. Once more to give up.")

    with (
        progress_bars(progress.TextColumn("{task.fields[scores]}", markup=False)) as bars,
        on_signals(ask, "SIGINT", "SIGTERM"),
    ):
        show = add_bar(bars, "Starting", scores="")

        def tell(event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind == "start":
                bars.console.print(_start_line(event))
            elif kind == "note":
                bars.console.print(event["text"])
            elif kind == "step":
                bars.update(bars.task_ids[0], scores=_scores(event))
            elif kind == "epoch":
                bars.console.print(_epoch_line(event))

        yield {"progress": show, "on_event": tell, "should_stop": lambda: asked}


def _start_line(event: dict[str, Any]) -> str:
    resumed = f", resumed after epoch {event['resumed_from']}" if event["resumed_from"] else ""
    helpers = f" Processes that prepare batches: {event['processes']}." if event["processes"] else ""
    return (
        f"Training {event['name']} ({event['recipe']}){resumed}. {event['plan']}\n"
        f"Device: {event['device']}. Arithmetic: {event['precision']}.{helpers}"
    )


def _epoch_line(event: dict[str, Any]) -> str:
    best = "  best so far" if event["best"] else ""
    pace = f"{event['images_per_second']:.1f} images/s, {duration(event['seconds_left'])} left"
    epoch = f"epoch {event['epoch']:>3} of {event['epochs']}"
    return f"{epoch}  {_scores(event)}  lr {event['lr']:.2g}  {pace}{best}"


def _scores(event: dict[str, Any]) -> str:
    names = {"loss": "loss", "dice": "dice", "val_loss": "val loss", "val_dice": "val dice"}
    return "  ".join(f"{shown} {event[key]:.4f}" for key, shown in names.items() if key in event)
