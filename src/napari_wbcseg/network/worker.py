"""Training in a process of its own.

TensorFlow and a napari viewer cannot share a process, and training must not make a
window wait. The process is a plain ``python -m``, so it also works where the main
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
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..errors import Cancelled, TrainingError, WBCSegError
from ..settings import TrainingSettings
from .model_file import ModelFile, read_model, write_model

if TYPE_CHECKING:
    from ..data.pairs import TrainingPair

#: The last event of every training is one of these.
FINAL_EVENTS = ("result", "error", "cancelled")
_PROGRESS_EVERY = 0.1  # seconds
_PARENT_GONE = 3  # exit code


class TrainingProcess:
    """Training that runs beside this process.

    Parameters
    ----------
    data : str, Path or sequence of TrainingPair
    settings : TrainingSettings, optional
    out : str or Path, optional
        Folder for model, history and checkpoint. Without it a temporary folder is used
        until `close`; take `model` before.
    name, init, resume, training_data
        As `napari_wbcseg.network.training.train`.

    Notes
    -----
    Call `poll` a few times a second; it never waits. The events are those of
    `napari_wbcseg.network.training.train`, ``progress`` (with ``done``, ``total``,
    ``stage``), and at the very end exactly one of ``result`` (with ``model``, the path,
    ``history``, ``device``, ``seconds``, ``ended``), ``error`` (with ``text``) or
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
    ) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix="wbcseg-training-"))
        self.out = Path(out) if out is not None else self._temporary / "out"
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._complaints: deque[str] = deque(maxlen=40)
        self._final: dict[str, Any] | None = None
        self._cancelling = False
        try:
            job: dict[str, Any] = {
                "data": str(Path(data).resolve()) if isinstance(data, (str, Path)) else None,
                "pairs": None,
                "settings": settings.model_dump() if settings is not None else None,
                "out": str(self.out.resolve()),
                "name": name,
                "init": self._init_path(init),
                "resume": resume,
                "training_data": training_data,
            }
            if not isinstance(data, (str, Path)):
                job["pairs"] = str(self._temporary / "pairs.npz")
                _write_pairs(Path(job["pairs"]), data)
            self._process = self._start()
        except OSError as error:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise TrainingError(
                f"The training process cannot be started ({error.strerror or error}): "
                "check the room on the disk, or train with `wbcseg train`."
            ) from None
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._send(json.dumps(job))

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.poll()

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
        if dead and self._final is None:
            self._readers[1].join(timeout=1)
            if self._cancelling:
                self._discard()
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

    def close(self) -> None:
        """End the process if it still runs, and remove its temporary files."""
        if self.alive:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=1)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

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
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUTF8": "1"},
            **options,
        )

    def _init_path(self, init: ModelFile | None) -> str | None:
        if init is None:
            return None
        # A copy, because the file may be replaced before the process reads it.
        return str(
            write_model(self._temporary / "init.safetensors", init.header, init.weights, "float32").path
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

    def _discard(self) -> None:
        shutil.rmtree(self.out / "checkpoint", ignore_errors=True)
        for part in self.out.glob(".*.part"):
            part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.out.rmdir()  # only if it is empty

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
        return self._temporary not in self.out.parents and (self.out / "checkpoint").is_dir()


def _write_pairs(path: Path, pairs: Sequence[TrainingPair]) -> None:
    arrays: dict[str, np.ndarray] = {}
    about = []
    for i, pair in enumerate(pairs):
        arrays[f"image{i}"], arrays[f"labels{i}"] = np.asarray(pair.image), np.asarray(pair.labels)
        if pair.mask is not None:
            arrays[f"mask{i}"] = np.asarray(pair.mask)
        about.append({"name": pair.name, "group": pair.group})
    np.savez(path, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)  # type: ignore[arg-type]


def _read_pairs(path: Path) -> list[TrainingPair]:
    from ..data.pairs import TrainingPair

    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        return [
            TrainingPair(
                item["name"],
                arrays[f"image{i}"],
                arrays[f"labels{i}"],
                item["group"],
                arrays.get(f"mask{i}"),
            )
            for i, item in enumerate(about)
        ]


# In the process ------------------------------------------------------------------------------------


class _Child:
    """The process's side: takes a job and commands, tells events."""

    def __init__(self, commands: IO[str], events: IO[str]) -> None:
        self._commands = commands
        self._events = events
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._cancel = threading.Event()
        self._last_progress = 0.0

    def main(self) -> int:
        line = self._commands.readline()
        if not line:
            return _PARENT_GONE
        job = json.loads(line)
        threading.Thread(target=self._listen, daemon=True).start()
        if sys.platform != "win32":
            threading.Thread(target=self._watch_parent, args=(os.getppid(),), daemon=True).start()
        try:
            self._train(job)
        except Cancelled:
            self._emit({"event": "cancelled"})
        except WBCSegError as error:
            self._emit({"event": "error", "kind": type(error).__name__, "text": str(error)})
        except MemoryError:
            self._emit(
                {"event": "error", "kind": "MemoryError", "text": "Memory ran out: use a smaller batch size."}
            )
        except Exception as error:
            import traceback

            text = f"Training failed ({type(error).__name__}: {str(error).strip()[:500]})."
            self._emit({"event": "error", "kind": type(error).__name__, "text": text})
            traceback.print_exc()
            return 1
        return 0

    def _train(self, job: dict[str, Any]) -> None:
        from .training import train

        result = train(
            _read_pairs(Path(job["pairs"])) if job["pairs"] else job["data"],
            TrainingSettings(**job["settings"]) if job["settings"] else None,
            job["out"],
            name=job["name"],
            init=read_model(job["init"]) if job["init"] else None,
            resume=job["resume"],
            progress=self._progress,
            on_event=self._emit,
            should_stop=self._stop.is_set,
            training_data=job["training_data"],
        )
        self._emit(
            {
                "event": "result",
                "model": str(result.model.path),
                "history": result.history,
                "device": result.device,
                "seconds": result.seconds,
                "ended": result.ended,
            }
        )

    def _progress(self, done: int, total: int, stage: str) -> None:
        if self._cancel.is_set():
            raise Cancelled("Training was cancelled.")
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
            os._exit(_PARENT_GONE)

    def _listen(self) -> None:
        for line in self._commands:
            if line.strip() == "stop":
                self._stop.set()
            elif line.strip() == "cancel":
                self._cancel.set()
        # The parent closed the pipe or died. What is on disk is whole at every moment.
        os._exit(_PARENT_GONE)

    def _watch_parent(self, parent: int) -> None:
        # A process forked from the parent may hold the pipe open after its death.
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(_PARENT_GONE)


def _main() -> int:
    # Libraries print to standard output; the events must not be mixed with that.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    commands = os.fdopen(os.dup(0), "r", encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    code = _Child(commands, events).main()
    sys.stderr.flush()
    # TensorFlow's threads can take seconds to wind down, or crash doing so.
    os._exit(code)


if __name__ == "__main__":
    _main()
