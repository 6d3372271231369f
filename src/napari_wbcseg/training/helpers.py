"""Helper processes that prepare data beside the training.

Drawing and augmenting training samples is NumPy and OpenCV, which hold Python's lock
for much of the time: threads would take turns with the training loop. A helper is a
plain ``python -m`` of this module, so that it starts in the same way on every system,
never runs the user's script again, and ends when the pipe to its parent closes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import queue
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any

from ..progress import Progress, silent

_COUNT = struct.Struct("<Q")


class HelperError(Exception):
    """A helper process died or could not be started; the work can be done without it."""


class Helpers:
    """Some processes that call functions.

    Parameters
    ----------
    count : int
        How many processes. They start at the first call.

    Notes
    -----
    Functions must be importable by name, as pickle needs them, and so must their
    arguments' classes. What a function raises, `call` raises.
    """

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        self._idle: queue.SimpleQueue[_Helper | None] = queue.SimpleQueue()
        for _ in range(self.count):
            self._idle.put(None)
        self._started: list[_Helper] = []
        self._lock = threading.Lock()
        self._closed = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the next free process and return its result; any thread may.

        Raises
        ------
        HelperError
            If the process died, as it does when memory runs out.
        """
        helper = self._idle.get()
        try:
            if helper is None:
                helper = self._start()
            return helper.call(function, arguments)
        except HelperError:
            helper = None
            raise
        finally:
            self._idle.put(helper)

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        progress: Progress = silent,
        stage: str = "",
    ) -> list[Any]:
        """Call a function on each item, several at once; the results are in the order of the items.

        A process that dies is done without: its item is worked on in this process.
        """
        todo = list(items)
        results: list[Any] = [None] * len(todo)

        def work(item: Any) -> Any:
            try:
                return self.call(function, item)
            except HelperError:
                return function(item)

        with ThreadPoolExecutor(self.count) as pool:
            pending: dict[Future[Any], int] = {pool.submit(work, item): i for i, item in enumerate(todo)}
            try:
                while pending:
                    progress(len(todo) - len(pending), len(todo), stage)
                    done, _ = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
                    for future in done:
                        results[pending.pop(future)] = future.result()
            finally:
                for future in pending:
                    future.cancel()
        progress(len(todo), len(todo), stage)
        return results

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            self._closed = True
            started, self._started = self._started, []
        for helper in started:
            helper.close()

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> _Helper:
        with self._lock:
            if self._closed:
                raise HelperError("The helpers are closed.")
            helper = _Helper()
            self._started.append(helper)
        return helper


class _Helper:
    """One process and the pipes to it."""

    def __init__(self) -> None:
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NO_WINDOW
        try:
            self._process = subprocess.Popen(
                # -P: a file in the working folder must not stand in for a library.
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # One thread each, for there are as many of them as cores.
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                **options,
            )
        except OSError as error:
            raise HelperError(f"A helper process cannot be started ({error}).") from None

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _write(self._process.stdin, (function, arguments))
            succeeded, value = _load(_read_parts(self._process.stdout))
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            self.close()
            raise HelperError("A helper process died.") from None
        if not succeeded:
            raise value
        return value

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _write(pipe: IO[bytes], value: Any) -> None:
    """Write a value; arrays go as they are, after the pickle that mentions them."""
    buffers: list[pickle.PickleBuffer] = []
    parts = [memoryview(pickle.dumps(value, protocol=5, buffer_callback=buffers.append))]
    parts += [buffer.raw() for buffer in buffers]
    pipe.write(_COUNT.pack(len(parts)))
    for part in parts:
        pipe.write(_COUNT.pack(part.nbytes))
        pipe.write(part)
    pipe.flush()


def _read_parts(pipe: IO[bytes]) -> list[bytearray]:
    return [_read_exactly(pipe, _read_count(pipe)) for _ in range(_read_count(pipe))]


def _load(parts: list[bytearray]) -> Any:
    return pickle.loads(parts[0], buffers=parts[1:])


def _read_count(pipe: IO[bytes]) -> int:
    return int(_COUNT.unpack(_read_exactly(pipe, _COUNT.size))[0])


def _read_exactly(pipe: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    view = memoryview(content)
    done = 0
    while done < size:
        count = pipe.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return content


# Large objects that every helper needs ----------------------------------------------------------------


class SharedObject:
    """An object written once and mapped into every helper, so that its arrays are in memory once.

    Parameters
    ----------
    value : picklable
        Its arrays become read-only in the helpers.
    """

    def __init__(self, value: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        self._head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        self._sizes = [buffer.raw().nbytes for buffer in buffers]
        number, path = tempfile.mkstemp(prefix="wbcseg-shared-")
        self.path = Path(path)
        try:
            with os.fdopen(number, "wb") as file:
                for buffer in buffers:
                    file.write(buffer.raw())
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    @property
    def reference(self) -> tuple[str, bytes, list[int]]:
        """What `shared` takes."""
        return str(self.path), self._head, self._sizes


_shared: dict[str, Any] = {}


def shared(path: str) -> Any:
    """Return the object that `attach` made known in this process."""
    return _shared[path]


def attach(path: str, head: bytes, sizes: list[int]) -> None:
    """Map a `SharedObject` into this process."""
    if path in _shared:
        return
    if sum(sizes):
        with open(path, "rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    else:
        content = memoryview(b"")
    _shared[path] = pickle.loads(head, buffers=list(_cut(content, sizes)))


def _cut(content: memoryview, sizes: list[int]) -> Iterator[memoryview]:
    start = 0
    for size in sizes:
        yield content[start : start + size]
        start += size


# In the process ---------------------------------------------------------------------------------------


def _main() -> None:
    # What libraries print must not be mixed with the results.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    calls = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            parts = _read_parts(calls)
        except (EOFError, OSError):
            os._exit(0)  # the parent closed the pipe or died
        try:
            function, arguments = _load(parts)
            answer = (True, function(*arguments))
        except Exception as error:
            traceback.print_exc()
            answer = (False, error)
        try:
            _write(results, answer)
        except OSError:
            os._exit(0)


if __name__ == "__main__":
    _main()
