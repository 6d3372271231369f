"""Training in a process of its own: the process, and how it is seen from outside.

TensorFlow and a napari viewer cannot share a process, and training must not make a
window wait. The process is a plain ``python -m`` of this module, so it also works where the main
module is napari or a notebook. Messages are lines of JSON over its pipes. It ends when
its parent does: its input then closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any, Literal

from ..errors import TrainingError, WBCSegError
from ..files import user_path
from ..network.model_file import ModelFile
from .batches import PARENT_GONE, end_with_parent
from .checkpoint import Checkpoint
from .folder import TrainingJob, discard_training, read_job, read_record, write_job
from .train import train

#: The last event of every training is one of these.
FINAL_EVENTS = ("result", "error")
_PROGRESS_EVERY = 0.25  # seconds


class TrainingProcess:
    """Training that runs beside this process.

    Parameters
    ----------
    folder : str or Path
        For model, history, checkpoint, and a copy of what is needed to go on.
    job : TrainingJob, optional
        What to train; without one, the interrupted training of the folder goes on.
    preview : bool
        As `napari_wbcseg.training.train.train`.

    Attributes
    ----------
    popen : subprocess.Popen
        The process.

    Notes
    -----
    Call `poll` a few times a second; it never waits. The events are those of
    `napari_wbcseg.training.train.train`, ``progress`` (with ``done``, ``total``,
    ``stage``), ``paused``, ``continued``, and at the very end either ``result`` (with ``model``, the path,
    ``history``, ``device``, ``seconds``, ``ended``) or ``error`` (with ``text``).

    Raises
    ------
    TrainingError
        If the process cannot be started, the images cannot be handed over, or there is nothing to go on with.
    """

    def __init__(self, folder: str | Path, job: TrainingJob | None = None, *, preview: bool = False) -> None:
        self.folder = user_path(folder).resolve()
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._final: dict[str, Any] | None = None
        flags = ["--resume"] if job is None else []
        flags += ["--preview"] if preview else []
        try:
            if job is None:
                read_record(self.folder)
            else:
                write_job(self.folder, job)
            # What it says besides, for the case that it dies; closed by `close`.
            self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            self.popen = self._start(flags)
        except OSError as error:
            raise TrainingError(
                f"The training process cannot be started ({error.strerror or error}): "
                "check the room on the disk, or train with `wbcseg train`."
            ) from None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def model(self) -> ModelFile:
        """The trained model.

        Raises
        ------
        TrainingError
            If there is none, or none yet.
        """
        if self._final is None or self._final["event"] != "result":
            raise TrainingError("There is no model yet: it comes with the last event, the result.")
        return ModelFile.read(self._final["model"])

    def poll(self) -> list[dict[str, Any]]:
        """Return what happened since the last call, without waiting."""
        events = [self._events.get() for _ in range(self._events.qsize())]
        if events and events[-1]["event"] in FINAL_EVENTS:
            self._final = events[-1]
        return events

    def send(self, command: Literal["pause", "continue", "stop"]) -> None:
        """Ask to hold after the present step, to go on, or to end and keep the best weights."""
        stdin = self.popen.stdin
        assert stdin is not None
        # It may have died, which poll() tells.
        with contextlib.suppress(OSError, ValueError):
            stdin.write(command + "\n")
            stdin.flush()

    def close(self) -> None:
        """End the process if it still runs.

        One that has made its model can still be gone on with, and then ends at once: whoever takes the model
        removes the folder.
        """
        self.popen.kill()
        self.popen.wait()
        self._reader.join(timeout=5)
        for pipe in (self.popen.stdin, self.popen.stdout, self._stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        failed = self._final is not None and self._final["event"] != "result"
        if failed and not Checkpoint(self.folder).exists:
            discard_training(self.folder)  # there is nothing to go on with

    def discard(self) -> None:
        """End the process, and leave nothing of the training."""
        self.close()
        discard_training(self.folder)

    def _start(self, flags: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            # -P: a file in the working folder must not stand in for a library.
            [sys.executable, "-P", "-m", __name__, str(self.folder), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUTF8": "1"},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which then decides
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # on Windows
        )

    def _read(self) -> None:
        """Take in what it tells, and at its end that it ended, where it could not say so itself."""
        stdout = self.popen.stdout
        assert stdout is not None
        event: dict[str, Any] = {"event": ""}
        for line in stdout:
            with contextlib.suppress(json.JSONDecodeError):  # a line cut by its death
                event = json.loads(line)
                self._events.put(event)
        if event["event"] not in FINAL_EVENTS:
            self.popen.wait()
            self._events.put({"event": "error", "text": self._cause_of_death()})

    def _cause_of_death(self) -> str:
        code, said = self.popen.returncode, ""
        if code < 0:
            names = {each.value: each.name for each in signal.Signals}
            why = f"it was ended by {names.get(-code, f'signal {-code}')}"
            if why.endswith("SIGKILL"):
                why += ", as the system does when memory runs out"
        else:
            why = f"exit code {code}"
            self._stderr.seek(0)
            last = self._stderr.read().strip().rpartition("\n")[2]
            said = f" It last said: {last}" if last else ""
        kept = " The epochs done are kept: train again with resume." if Checkpoint(self.folder).exists else ""
        return f"The training process stopped unexpectedly ({why}).{kept}{said}"


# The process ---------------------------------------------------------------------------------------


class _Worker:
    """Takes commands, a word a line, and tells events, a line of JSON each."""

    def __init__(self, commands: IO[str], events: IO[str]) -> None:
        self._commands = commands
        self._events = events
        self._stop = threading.Event()
        self._go = threading.Event()  # cleared while paused
        self._go.set()
        self._last_progress = 0.0

    def run(self, folder: Path, resume: bool, preview: bool) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        end_with_parent(os.getppid())  # a process forked from it may hold the pipe open after its death
        try:
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
            self._emit({"event": "result", **vars(result), "model": str(result.model.path)})
        except WBCSegError as error:
            self._emit({"event": "error", "text": str(error)})
        except MemoryError:
            self._emit({"event": "error", "text": "Memory ran out: use a smaller batch size."})
        except Exception as error:
            text = f"Training failed ({type(error).__name__}: {str(error).strip()[:500]})."
            self._emit({"event": "error", "text": text})

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
    _Worker(commands, events).run(Path(folder), "--resume" in flags, "--preview" in flags)
    # TensorFlow's threads can take seconds to wind down, or crash doing so.
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
