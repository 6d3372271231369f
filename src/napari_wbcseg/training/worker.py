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
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TrainingError
from ..network.model_file import ModelFile, read_model
from ..settings import TrainingSettings
from .folder import TrainingJob, discard_training, forget_job, read_record, write_job

if TYPE_CHECKING:
    from ..datasets.pair import TrainingPair

#: The last event of every training is one of these.
FINAL_EVENTS = ("result", "error", "cancelled")


class TrainingProcess:
    """Training that runs beside this process.

    Parameters
    ----------
    data : str, Path or sequence of TrainingPair
    settings : TrainingSettings, optional
    out : str or Path, optional
        Folder for model, history, checkpoint, and a copy of what `go_on` needs. Without
        it a temporary folder is used until `close`; take `model` before.
    name, init, resume, training_data, preview
        As `napari_wbcseg.training.train.train`.
    remarks : dict, optional
        Kept with the job, for who goes on with it.
    scored : sequence of TrainingPair
        Kept as well: pairs that are not trained on.

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
        If the process cannot be started, or the images cannot be handed over.
    """

    def __init__(
        self,
        data: str | Path | Sequence[TrainingPair],
        settings: TrainingSettings | None = None,
        out: str | Path | None = None,
        *,
        name: str | None = None,
        init: ModelFile | None = None,
        resume: bool = False,
        training_data: str | None = None,
        preview: bool = False,
        remarks: dict[str, Any] | None = None,
        scored: Sequence[TrainingPair] = (),
    ) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix="wbcseg-training-")) if out is None else None
        folder = Path(out).resolve() if out is not None else self._temporary
        assert folder is not None
        job = TrainingJob(data, settings, name, init, training_data, remarks or {}, scored)
        try:
            write_job(folder, job)
        except BaseException as error:
            forget_job(folder)
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty
            self._remove_temporary()
            if isinstance(error, OSError):
                raise _cannot_start(error) from None
            raise
        self._launch(folder, resume, preview)

    @classmethod
    def go_on(cls, folder: str | Path, *, preview: bool = False) -> TrainingProcess:
        """Go on with an interrupted training, from its folder alone.

        Raises
        ------
        TrainingError
            If the folder does not hold one, or the process cannot be started.
        """
        read_record(Path(folder))
        process = cls.__new__(cls)
        process._temporary = None
        process._launch(Path(folder).resolve(), True, preview)
        return process

    def _launch(self, folder: Path, resume: bool, preview: bool) -> None:
        self.out = folder
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._complaints: deque[str] = deque(maxlen=40)
        self._final: dict[str, Any] | None = None
        self._cancelling = False
        try:
            self._process = self._start()
        except OSError as error:
            self._remove_temporary()
            raise _cannot_start(error) from None
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._send(json.dumps({"folder": str(folder), "resume": resume, "preview": preview}))

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
        final = self._final
        if final is None or final["event"] != "result":
            running = "Training still goes on: its model comes at the end."
            raise TrainingError(
                running if final is None else final.get("text", "Training was cancelled: it left no model.")
            )
        return read_model(final["model"])

    def poll(self) -> list[dict[str, Any]]:
        """Return what happened since the last call, without waiting."""
        dead = not self.alive
        if dead:
            # Whatever it wrote last may still be in the pipe.
            self._readers[0].join(timeout=1)
        events: list[dict[str, Any]] = []
        while self._final is None:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                break
            events.append(event)
            if event["event"] in FINAL_EVENTS:
                self._final = event
                if event["event"] == "cancelled":
                    discard_training(self.out)
        if dead and self._final is None:
            self._readers[1].join(timeout=1)
            if self._cancelling:
                discard_training(self.out)
                self._final = {"event": "cancelled"}
            else:
                self._final = {"event": "error", "text": self._death()}
            events.append(self._final)
        return events

    def wait(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """Wait for the end, and return what `poll` would have.

        Raises
        ------
        TimeoutError
            If it still runs after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        events: list[dict[str, Any]] = []
        while self._final is None or self.alive:
            events += self.poll()
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"The training process {self.pid} still runs.")
            time.sleep(0.05)
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

        def kill_if_needed() -> None:
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()

        threading.Thread(target=kill_if_needed, daemon=True).start()

    def close(self, *, keep_job: bool = False) -> None:
        """End the process if it still runs, and remove its temporary files.

        Parameters
        ----------
        keep_job : bool
            Whether a training that has ended may be gone on with, which then ends at once.
        """
        if self.alive:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=1)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._final is not None and self._final["event"] == "result":
            if not keep_job:
                forget_job(self.out)
        elif self._final is not None and not self._has_checkpoint():
            discard_training(self.out)  # there is nothing to go on with
        self._remove_temporary()

    def discard(self) -> None:
        """End the process, and leave nothing of the training."""
        with contextlib.suppress(OSError):
            self.close()
        discard_training(self.out)

    def __enter__(self) -> TrainingProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[str]:
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NO_WINDOW
        else:
            # Ctrl-C in the terminal is for the parent, which then decides.
            options["start_new_session"] = True
        return subprocess.Popen(
            # -P: a file in the working folder must not stand in for a library.
            [sys.executable, "-P", "-m", f"{__package__}.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUTF8": "1"},
            **options,
        )

    def _send(self, line: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        # It may have died, which poll() tells.
        with contextlib.suppress(OSError, ValueError):
            stdin.write(line + "\n")
            stdin.flush()

    def _read_events(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            with contextlib.suppress(json.JSONDecodeError):  # a line cut by its death
                self._events.put(json.loads(line))

    def _read_complaints(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        for line in stderr:
            if line.strip():
                self._complaints.append(line.rstrip())

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _death(self) -> str:
        code = self._process.returncode
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            why = f"it was ended by {name}"
            if -code == getattr(signal, "SIGKILL", None):
                why += ", as the system does when memory runs out"
        else:
            why = f"exit code {code}"
        said = f" It last said: {self._complaints[-1]}" if self._complaints and code > 0 else ""
        kept = " The epochs done are kept: train again with resume." if self._has_checkpoint() else ""
        return f"The training process stopped unexpectedly ({why}).{kept}{said}"

    def _has_checkpoint(self) -> bool:
        return self._temporary is None and (self.out / "checkpoint").is_dir()


def _cannot_start(error: OSError) -> TrainingError:
    return TrainingError(
        f"The training process cannot be started ({error.strerror or error}): "
        "check the room on the disk, or train with `wbcseg train`."
    )
