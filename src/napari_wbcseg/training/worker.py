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
from typing import Any

from ..errors import TrainingError
from ..network.model_file import ModelFile
from .checkpoint import Checkpoint
from .folder import TrainingJob, discard_training, forget_job, read_record, write_job

#: The last event of every training is one of these.
FINAL_EVENTS = ("result", "error", "cancelled")


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

    Notes
    -----
    Call `poll` a few times a second; it never waits. The events are those of
    `napari_wbcseg.training.train.train`, ``progress`` (with ``done``, ``total``,
    ``stage``), ``paused``, ``continued``, and at the very end exactly one of ``result``
    (with ``model``, the path, ``history``, ``device``, ``seconds``, ``ended``), ``error`` (with ``text``) or
    ``cancelled``.

    Raises
    ------
    TrainingError
        If the process cannot be started, the images cannot be handed over, or there is nothing to go on with.
    """

    def __init__(self, folder: str | Path, job: TrainingJob | None = None, *, preview: bool = False) -> None:
        self.folder = Path(folder).resolve()
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._final: dict[str, Any] | None = None
        self._cancelling = False
        flags = ["--resume"] if job is None else []
        flags += ["--preview"] if preview else []
        try:
            if job is None:
                read_record(self.folder)
            else:
                write_job(self.folder, job)
            # What it says besides, for the case that it dies; closed by `close`.
            self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
            self._process = self._start(flags)
        except OSError as error:
            raise TrainingError(
                f"The training process cannot be started ({error.strerror or error}): "
                "check the room on the disk, or train with `wbcseg train`."
            ) from None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def model(self) -> ModelFile:
        """The trained model.

        Raises
        ------
        TrainingError
            If there is none (yet), with the reason.
        """
        if self._final is None:
            raise TrainingError("Training still goes on: its model comes at the end.")
        if self._final["event"] != "result":
            raise TrainingError(self._final.get("text", "Training was cancelled: it left no model."))
        return ModelFile.read(self._final["model"])

    def poll(self) -> list[dict[str, Any]]:
        """Return what happened since the last call, without waiting."""
        dead = not self.alive
        if dead:
            # Whatever it wrote last may still be in the pipe.
            self._reader.join(timeout=1)
        events: list[dict[str, Any]] = []
        while self._final is None:
            if not self._events.empty():
                event = self._events.get()
            elif dead:
                event = (
                    {"event": "cancelled"} if self._cancelling else {"event": "error", "text": self._death()}
                )
            else:
                break
            events.append(event)
            if event["event"] in FINAL_EVENTS:
                self._final = event
                if event["event"] == "cancelled":
                    discard_training(self.folder)
        return events

    def pause(self) -> None:
        """Ask to hold after the present step; the process stays, and takes no more time."""
        self._send("pause")

    def unpause(self) -> None:
        """Go on after `pause`."""
        self._send("continue")

    def stop(self) -> None:
        """Ask to end after the present step and to keep the best weights."""
        self._send("stop")

    def cancel(self, grace: float = 5.0) -> None:
        """Ask to end and to leave nothing; after ``grace`` seconds the process is killed."""
        if self._cancelling or not self.alive:
            return
        self._cancelling = True
        self._send("cancel")
        killer = threading.Timer(grace, self._process.kill)
        killer.daemon = True
        killer.start()

    def close(self, *, keep_job: bool = False) -> None:
        """End the process if it still runs.

        Parameters
        ----------
        keep_job : bool
            Whether a training that has ended may be gone on with, which then ends at once.
        """
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=1)
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._final is None:
            return
        if self._final["event"] != "result":
            if not Checkpoint(self.folder).exists:
                discard_training(self.folder)  # there is nothing to go on with
        elif not keep_job:
            forget_job(self.folder)

    def discard(self) -> None:
        """End the process, and leave nothing of the training."""
        self.close()
        discard_training(self.folder)

    def __enter__(self) -> TrainingProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

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

    def _send(self, command: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        # It may have died, which poll() tells.
        with contextlib.suppress(OSError, ValueError):
            stdin.write(command + "\n")
            stdin.flush()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            with contextlib.suppress(json.JSONDecodeError):  # a line cut by its death
                self._events.put(json.loads(line))

    def _death(self) -> str:
        code, said = self._process.returncode, ""
        if code < 0:
            names = {each.value: each.name for each in signal.Signals}
            why = f"it was ended by {names.get(-code, f'signal {-code}')}"
            if -code == getattr(signal, "SIGKILL", None):
                why += ", as the system does when memory runs out"
        else:
            why = f"exit code {code}"
            self._said.seek(0)
            last = self._said.read().strip().rpartition("\n")[2]
            said = f" It last said: {last}" if last else ""
        kept = " The epochs done are kept: train again with resume." if Checkpoint(self.folder).exists else ""
        return f"The training process stopped unexpectedly ({why}).{kept}{said}"
