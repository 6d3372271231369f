"""Batches prepared ahead of the training, so that the network does not wait for them."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from ..network.backend import import_keras
from ..network.device import available_cpus
from .helpers import helpers, load_shared, shared_object

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
    keep : bool
        Keep what was drawn and give it again each epoch, for validation.
    """

    def __init__(self, batches: Batches, epochs: int, processes: int = 0, keep: bool = False) -> None:
        self.batches = batches
        self.epochs = epochs
        self.processes = 0
        self._keep = keep
        self._futures: dict[int, Future[Batch]] = {}
        self._lock = threading.Lock()
        self._waited = 0.0
        self._shared: tuple[str, bytes, list[int]] | None = None
        self._closing, self._executing = contextlib.ExitStack(), contextlib.ExitStack()
        if processes:
            with contextlib.suppress(OSError):  # no room for temporary files
                self._shared = self._closing.enter_context(shared_object(batches))
        self._start(processes)

    def _start(self, processes: int) -> None:
        """Begin, or begin again, with so many processes."""
        self._futures.clear()
        self._executing.close()
        self.processes = 0 if self._shared is None else processes
        self._executor: Executor
        if self.processes and self._shared is not None:
            self._executor = self._executing.enter_context(helpers(self.processes, _take, self._shared))
        else:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="wbcseg-batches")
            self._executing.callback(self._executor.shutdown, wait=False, cancel_futures=True)

    def get(self, epoch: int, index: int) -> Batch:
        """Return a batch, waiting for it if it is not ready."""
        length = len(self.batches)
        position, last = epoch * length + index, (1 if self._keep else self.epochs) * length
        end = min(position + max(AHEAD, 2 * self.processes), max(last, position + 1))
        draw = _draw if self.processes else self.batches.draw
        try:
            with self._lock:
                for ahead in range(position, end):
                    if ahead not in self._futures:
                        self._futures[ahead] = self._executor.submit(draw, *divmod(ahead, length))
                if not self._keep:
                    # Keras looks at the first two batches twice.
                    for past in [number for number in self._futures if number < position - 2]:
                        del self._futures[past]
                future = self._futures[position]
            start = time.monotonic()
            ready = future.done()
            batch = future.result()
        except (BrokenExecutor, OSError):
            if not self.processes:
                raise
            self._start(self.processes // 2)
            return self.get(epoch, index)
        if not ready:
            self._waited += time.monotonic() - start
        return batch

    @property
    def waited(self) -> float:
        """Seconds waited for batches since `forget_waited`.

        Keras itself fetches ahead from here, so the network waited for at most as long.
        """
        return self._waited

    def forget_waited(self) -> None:
        """Count from now on."""
        self._waited = 0.0

    def close(self) -> None:
        """End the thread or the processes."""
        self.processes = 0  # who still asks starts none anew
        self._executing.close()
        self._closing.close()


_batches: Batches  # of a helper process


def _take(path: str, head: bytes, sizes: list[int]) -> None:
    global _batches
    _batches = load_shared(path, head, sizes)


def _draw(epoch: int, index: int) -> Batch:
    return _batches.draw(epoch, index)


def fed_dataset(feeder: Feeder, keep: bool = False) -> Any:
    """Return a `keras.utils.PyDataset` of a feeder; its attribute ``epoch`` says which batches it gives."""
    keras = import_keras()

    class Fed(keras.utils.PyDataset):  # type: ignore[name-defined,misc]
        epoch = 0

        def __len__(self) -> int:
            return len(feeder.batches)

        def __getitem__(self, index: int) -> Batch:
            return feeder.get(0 if keep else self.epoch, index)

    return Fed()
