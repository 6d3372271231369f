"""Training in a process of its own, seen from outside.

TensorFlow and a napari viewer cannot share a process, and training must not make a
window wait. The process is a plain ``python -m`` of `worker_process`, so it also works where the main
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
from pathlib import Path
from typing import Any, Literal

from ..errors import TrainingError
from ..network.model_file import ModelFile
from .checkpoint import Checkpoint
from .folder import TrainingJob, discard_training, read_record, write_job

#: The last event of every training is one of these.
FINAL_EVENTS = ("result", "error")


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
        self.folder = Path(folder).resolve()
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
            self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
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
        for pipe in (self.popen.stdin, self.popen.stdout, self._said):
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
        # Ctrl-C in the terminal is for the parent, which then decides.
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW}
        return subprocess.Popen(
            # -P: a file in the working folder must not stand in for a library.
            [sys.executable, "-P", "-m", f"{__package__}.worker_process", str(self.folder), *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUTF8": "1"},
            **options,
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
            self._events.put({"event": "error", "text": self._death()})

    def _death(self) -> str:
        code, said = self.popen.returncode, ""
        if code < 0:
            names = {each.value: each.name for each in signal.Signals}
            why = f"it was ended by {names.get(-code, f'signal {-code}')}"
            if why.endswith("SIGKILL"):
                why += ", as the system does when memory runs out"
        else:
            why = f"exit code {code}"
            self._said.seek(0)
            last = self._said.read().strip().rpartition("\n")[2]
            said = f" It last said: {last}" if last else ""
        kept = " The epochs done are kept: train again with resume." if Checkpoint(self.folder).exists else ""
        return f"The training process stopped unexpectedly ({why}).{kept}{said}"
