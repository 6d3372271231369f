"""How a training shows itself on a terminal, and how it is stopped there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rich import progress

from ..words import duration
from .console import add_bar, new_console, on_signals, progress_bars


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
