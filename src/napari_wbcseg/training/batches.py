"""Batches prepared ahead of the training, so that the network does not wait for them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

import numpy as np

from ..network.backend import import_keras
from ..network.device import available_cpus
from .helpers import helpers, shared_object

Batch = tuple[np.ndarray, np.ndarray]

#: Batches that lie ready.
AHEAD = 8
_MOST_PROCESSES = 16


class Batches(Protocol):
    """Where the batches of a training come from.

    It must be picklable, and know nothing of Keras: helper processes draw from it.
    """

    @property
    def heavy(self) -> bool:
        """Whether drawing a batch takes work worth a process; else it is copied from memory."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def draw(self, epoch: int, index: int) -> Batch:
        """Return a batch ``(x, y)``, both float32 and NHWC, of an epoch from 0.

        Every random choice must follow from the seed of the settings, the epoch and the
        index, so that training that is resumed goes on as if it had never stopped.
        Batches to validate on do not depend on the epoch.
        """


def helper_processes(device: str, heavy: bool = True, cpus: int | None = None) -> int:
    """Return how many processes should prepare batches, 0 for a thread of this one.

    A network on the CPU keeps the cores busy itself, and one thread is always done before
    it; a GPU takes its steps in milliseconds, and every core is needed to keep up.

    Parameters
    ----------
    device : str
        Kind of the device: ``cpu``, ``gpu`` or ``tpu``.
    heavy : bool
        As `Batches.heavy`.
    cpus : int, optional
        Cores; by default those of this process.

    Examples
    --------
    >>> helper_processes("gpu", cpus=4), helper_processes("cpu", cpus=4)
    (3, 0)
    """
    cpus = available_cpus() if cpus is None else cpus
    if not heavy:
        return 0
    if device == "cpu":
        return min(cpus // 8, 4)
    return min(max(cpus - 1, 1), _MOST_PROCESSES)


class Feeder:
    """Draws batches in the order of training, some ahead, in a thread or in helper processes.

    Parameters
    ----------
    batches : Batches
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

    def __init__(self, batches: Batches, epochs: int, processes: int = 0) -> None:
        self.batches = batches
        self.waited = 0.0
        self._last = epochs * len(batches)
        self._futures: dict[int, Future[Batch]] = {}
        self._lock = threading.Lock()
        self._executing = contextlib.ExitStack()
        self._start(processes)

    def _start(self, processes: int) -> None:
        """Begin, or begin again, with so many processes."""
        self.close()
        self._futures.clear()
        self._draw: Callable[[int, int], Batch] = self.batches.draw
        self._executor: Executor = ThreadPoolExecutor(1, thread_name_prefix="wbcseg-batches")
        self._executing.callback(self._executor.shutdown, wait=False, cancel_futures=True)
        if processes:
            with contextlib.suppress(OSError):  # no room for temporary files
                self._executor = self._executing.enter_context(helpers(processes, self.batches))
                self._draw, self.processes = _draw_shared, processes

    def get(self, epoch: int, index: int) -> Batch:
        """Return a batch, waiting for it if it is not ready."""
        length = len(self.batches)
        position = epoch * length + index
        end = min(position + max(AHEAD, 2 * self.processes), max(self._last, position + 1))
        try:
            with self._lock:
                for ahead in range(position, end):
                    if ahead not in self._futures:
                        self._futures[ahead] = self._executor.submit(self._draw, *divmod(ahead, length))
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


def _draw_shared(epoch: int, index: int) -> Batch:
    batch: Batch = shared_object().draw(epoch, index)
    return batch


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
