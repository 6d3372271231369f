"""How a training shows itself in the shell, and is stopped with Ctrl-C."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..progress import Progress
from ..words import duration
from .console import new_console, progress_bars


@dataclass(frozen=True)
class TrainingView:
    """What `napari_wbcseg.train` takes to be followed and stopped.

    Attributes
    ----------
    progress : Progress
    on_event : callable
    should_stop : callable
    """

    progress: Progress
    on_event: Callable[[dict[str, Any]], None]
    should_stop: Callable[[], bool]


@contextlib.contextmanager
def training_view() -> Iterator[TrainingView]:
    """Show bars, a line an epoch, and let the first Ctrl-C keep the best weights."""
    from rich.progress import TextColumn

    with (
        progress_bars(TextColumn("{task.fields[scores]}", markup=False)) as bars,
        _polite_interrupt() as asked_to_stop,
    ):
        task = bars.add_task("Starting", total=None, scores="")

        def show(done: int, total: int, stage: str) -> None:
            bars.update(task, completed=done, total=total or None, description=stage)

        def tell(event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind == "start":
                bars.console.print(_start_line(event))
            elif kind == "note":
                bars.console.print(event["text"])
            elif kind == "step":
                bars.update(task, scores=_scores(event))
            elif kind == "epoch":
                best = "  best so far" if event["best"] else ""
                pace = f"{event['images_per_second']:.1f} images/s"
                bars.console.print(
                    f"epoch {event['epoch']:>3} of {event['epochs']}  {_scores(event)}  "
                    f"lr {event['lr']:.2g}  {pace}, {duration(event['seconds_left'])} left{best}"
                )

        yield TrainingView(show, tell, asked_to_stop)


def _start_line(event: dict[str, Any]) -> str:
    resumed = f", resumed after epoch {event['resumed_from']}" if event["resumed_from"] else ""
    helpers = f" Processes that prepare batches: {event['processes']}." if event["processes"] else ""
    return (
        f"Training {event['name']} ({event['recipe']}){resumed}. {event['plan']}\n"
        f"Device: {event['device']}. Arithmetic: {event['precision']}.{helpers}"
    )


def _scores(event: dict[str, Any]) -> str:
    names = {"loss": "loss", "dice": "dice", "val_loss": "val loss", "val_dice": "val dice"}
    return "  ".join(f"{shown} {event[key]:.4f}" for key, shown in names.items() if key in event)


@contextlib.contextmanager
def _polite_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or termination) into a request to stop; the second acts at once."""
    import signal

    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        new_console(stderr=True).print(
            "Stopping after this step; the best weights are kept. Once more to give up."
        )

    kinds = [signal.SIGINT, signal.SIGTERM]
    before = {kind: signal.signal(kind, ask) for kind in kinds}
    try:
        yield lambda: asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
