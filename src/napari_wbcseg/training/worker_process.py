"""The process that trains: takes a job from its folder and commands from its parent, tells events."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from ..errors import WBCSegError
from .batches import PARENT_GONE, end_with_parent
from .folder import read_job
from .train import train

_PROGRESS_EVERY = 0.25  # seconds


class _Child:
    """Takes commands, a word a line, and tells events, a line of JSON each."""

    def __init__(self, commands: IO[str], events: IO[str]) -> None:
        self._commands = commands
        self._events = events
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._go = threading.Event()  # cleared while paused
        self._go.set()
        self._last_progress = 0.0

    def main(self, folder: Path, resume: bool, preview: bool) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        end_with_parent(os.getppid())  # a process forked from it may hold the pipe open after its death
        try:
            self._emit({"event": "result", **self._train(folder, resume, preview)})
        except WBCSegError as error:
            self._emit({"event": "error", "text": str(error)})
        except MemoryError:
            self._emit({"event": "error", "text": "Memory ran out: use a smaller batch size."})
        except Exception as error:
            text = f"Training failed ({type(error).__name__}: {str(error).strip()[:500]})."
            self._emit({"event": "error", "text": text})

    def _train(self, folder: Path, resume: bool, preview: bool) -> dict[str, Any]:
        job = read_job(folder)
        result = train(
            job.data,
            job.settings,
            folder,
            name=job.name,
            init=job.init,
            resume=resume,
            progress=self._progress,
            on_event=self._emit,
            should_stop=self._stop.is_set,
            training_data=job.training_data,
            preview=preview,
        )
        return {**vars(result), "model": str(result.model.path)}

    def _progress(self, done: int, total: int, stage: str) -> None:
        if not self._go.is_set():
            self._emit({"event": "paused"})
            self._go.wait()
            self._emit({"event": "continued"})
        now = time.monotonic()
        if now - self._last_progress >= _PROGRESS_EVERY or done == total:
            self._last_progress = now
            self._emit({"event": "progress", "done": done, "total": total, "stage": stage})

    def _emit(self, event: dict[str, Any]) -> None:
        try:
            with self._lock:
                self._events.write(json.dumps(event) + "\n")
                self._events.flush()
        except OSError:
            os._exit(PARENT_GONE)

    def _listen(self) -> None:
        for line in self._commands:
            command = line.strip()
            if command == "pause":
                self._go.clear()
                continue
            if command == "stop":
                self._stop.set()
            self._go.set()  # nothing is waited for by who wants to end
        # The parent closed the pipe or died. What is on disk is whole at every moment.
        os._exit(PARENT_GONE)


def _main(folder: str, *flags: str) -> None:
    # Libraries print to standard output; the events must not be mixed with that.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    commands = os.fdopen(os.dup(0), "r", encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    _Child(commands, events).main(Path(folder), "--resume" in flags, "--preview" in flags)
    # TensorFlow's threads can take seconds to wind down, or crash doing so.
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
