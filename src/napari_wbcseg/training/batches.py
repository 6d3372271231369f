"""Batches prepared ahead of the training, so that the network does not wait for them.

Drawing and augmenting training samples is NumPy and OpenCV, which hold Python's lock for much
of the time: beside a GPU, threads would take turns with the training loop. The processes are loky's,
which start in the same way on every system and never run the user's script again.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ..network.backend import import_keras
from ..network.device import available_cpus

Batch = tuple[np.ndarray, np.ndarray]
Drawn = TypeVar("Drawn")
Submit = Callable[[int, int], Future[Drawn]]

#: Batches that lie ready.
AHEAD = 8
#: Exit code of a process whose parent is gone.
PARENT_GONE = 3
_MOST_PROCESSES = 16
_ENVIRONMENT = {
    # One thread each, for there are as many of them as cores.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # A file in the working folder must not stand in for a library.
    "PYTHONSAFEPATH": "1",
    # What is mapped into a process is no leak, for which loky would start it anew.
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",
}


@dataclass(frozen=True)
class Batches:
    """Where the batches of a training come from.

    Attributes
    ----------
    draw : callable
        Returns a batch ``(x, y)``, both float32 and NHWC, given an epoch from 0 and an index. Every random
        choice must follow from the seed of the settings, the epoch and the index, so that training that is
        resumed goes on as if it had never stopped. Batches to validate on do not depend on the epoch. It
        must be picklable, and know nothing of Keras: helper processes draw with it.
    steps : int
        Batches in an epoch.
    heavy : bool
        Whether drawing a batch takes work worth a process; else it is copied from memory.
    """

    draw: Callable[[int, int], Batch]
    steps: int
    heavy: bool


def helper_processes(device: str, cpus: int | None = None) -> int:
    """Return how many processes should prepare batches that take work, 0 for a thread of this one.

    A network on the CPU keeps the cores busy itself, and one thread is always done before
    it; a GPU takes its steps in milliseconds, and every core is needed to keep up.

    Parameters
    ----------
    device : str
        Kind of the device: ``cpu``, ``gpu`` or ``tpu``.
    cpus : int, optional
        Cores; by default those of this process.

    Examples
    --------
    >>> helper_processes("gpu", cpus=4), helper_processes("cpu", cpus=4)
    (3, 0)
    """
    cpus = available_cpus() if cpus is None else cpus
    if device == "cpu":
        return min(cpus // 8, 4)
    return min(max(cpus - 1, 1), _MOST_PROCESSES)


class Feeder(Generic[Drawn]):
    """Draws batches in the order of training, some ahead, in a thread or in helper processes.

    Parameters
    ----------
    draw : callable
        Returns a batch, given epoch and index. Where there are processes it must be picklable, and its
        arrays are in memory once for all of them, read-only.
    steps : int
        Batches in an epoch.
    epochs : int
        Epochs of the training; the first batches of the next epoch are drawn while the
        present one ends.
    processes : int
        Helper processes, 0 for a thread. Where one dies, as when memory runs out, half as many go on.

    Attributes
    ----------
    processes : int
        Helper processes that draw now.
    waited : float
        Seconds waited for batches; whoever asks may set it back to 0. Keras itself fetches
        ahead from here, so the network waited for at most as long.
    """

    def __init__(
        self, draw: Callable[[int, int], Drawn], steps: int, epochs: int = 1, processes: int = 0
    ) -> None:
        self.steps = steps
        self.waited = 0.0
        self._draw = draw
        self._last = epochs * steps
        self._futures: dict[int, Future[Drawn]] = {}
        self._lock = threading.Lock()
        self._executing = contextlib.ExitStack()
        self._start(processes)

    def _start(self, processes: int) -> None:
        """Begin, or begin again, with so many processes."""
        self.close()
        self._futures.clear()
        thread = ThreadPoolExecutor(1, thread_name_prefix="wbcseg-batches")
        self._executing.callback(thread.shutdown, wait=False, cancel_futures=True)
        self._submit: Submit[Drawn] = lambda epoch, index: thread.submit(self._draw, epoch, index)
        if processes:
            with contextlib.suppress(OSError):  # no room for temporary files
                self._submit = self._executing.enter_context(_helpers(processes, self._draw))
                self.processes = processes

    def get(self, epoch: int, index: int) -> Drawn:
        """Return a batch, waiting for it if it is not ready."""
        position = epoch * self.steps + index
        end = min(position + max(AHEAD, 2 * self.processes), max(self._last, position + 1))
        try:
            with self._lock:
                for ahead in range(position, end):
                    if ahead not in self._futures:
                        self._futures[ahead] = self._submit(*divmod(ahead, self.steps))
                # Keras looks at the first two batches twice.
                for past in [number for number in self._futures if number < position - 2]:
                    del self._futures[past]
                future = self._futures[position]
            if not future.done():
                start = time.monotonic()
                wait([future])
                self.waited += time.monotonic() - start
            return future.result()
        except (BrokenExecutor, OSError):
            if not self.processes:
                raise
            self._start(self.processes // 2)
            return self.get(epoch, index)

    def close(self) -> None:
        """End the thread or the processes."""
        self.processes = 0  # who still asks starts none anew
        self._executing.close()


@contextlib.contextmanager
def _helpers(count: int, draw: Callable[[int, int], Drawn]) -> Iterator[Submit[Drawn]]:
    """Give what has batches drawn by some processes, which end with this one."""
    import joblib
    from loky import ProcessPoolExecutor

    with tempfile.TemporaryDirectory(prefix="wbcseg-shared-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "shared"
        joblib.dump(draw, path)
        parent = (os.getpid(),)
        executor = ProcessPoolExecutor(count, initializer=end_with_parent, initargs=parent, env=_ENVIRONMENT)
        try:
            yield lambda epoch, index: executor.submit(_draw_in_helper, path, epoch, index)
        finally:
            executor.shutdown(wait=True, kill_workers=True)


def _draw_in_helper(path: Path, epoch: int, index: int) -> Any:
    return _mapped(path)(epoch, index)


@cache
def _mapped(path: Path) -> Callable[[int, int], Any]:
    import joblib

    return joblib.load(path, mmap_mode="r")


def end_with_parent(parent: int) -> None:
    """End this process within half a second when its parent, given by its number, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(PARENT_GONE)

    if sys.platform != "win32":  # where a process keeps its parent's number, and pipes break
        threading.Thread(target=watch, daemon=True).start()


def as_dataset(get: Callable[[int, int], Batch], length: int) -> Any:
    """Return a `keras.utils.PyDataset` of what ``get(epoch, index)`` gives; ``epoch`` is an attribute."""
    keras = import_keras()

    class Dataset(keras.utils.PyDataset):  # type: ignore[name-defined,misc]
        epoch = 0

        def __len__(self) -> int:
            return length

        def __getitem__(self, index: int) -> Batch:
            return get(self.epoch, index)

    return Dataset()


# Several devices ----------------------------------------------------------------------------------


def accelerators() -> list[str]:
    """Return Keras' names of the GPUs or TPUs that can share a batch: only on JAX, as of Keras 3.15."""
    keras = import_keras()
    if keras.backend.backend() != "jax":
        return []
    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


@contextlib.contextmanager
def data_parallel(*batches: Batches | None) -> Iterator[int]:
    """Spread each batch over the accelerators while the context lasts, and say over how many.

    Every device holds the whole network and takes an equal share of each batch; the
    gradients are averaged, so that the result is that of one device but for rounding.
    Build the model inside.

    Parameters
    ----------
    *batches : Batches or None
        As many devices are used as divide the size of each.
    """
    keras = import_keras()
    found, before, count = accelerators(), keras.distribution.distribution(), 1
    # A distribution that the caller has set up is theirs.
    if len(found) > 1 and before is None:
        # Only the last batch of an epoch may be shorter.
        sizes = [len(part.draw(0, index)[0]) for part in batches if part for index in (0, part.steps - 1)]
        # As many as divide all of them.
        count = max(n for n in range(1, len(found) + 1) if math.gcd(*sizes) % n == 0)
    if count < 2:
        yield 1
        return
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:count]))
    try:
        yield count
    finally:
        keras.distribution.set_distribution(before)
