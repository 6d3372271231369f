"""Batches prepared ahead of the training, so that the network does not wait for them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from ..network.backend import import_keras
from ..network.device import available_cpus
from .helpers import HelperError, Helpers, SharedObject, attach, shared

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
    """
    cpus = available_cpus() if cpus is None else cpus
    if not heavy:
        return 0
    if device == "cpu":
        return min(cpus // 8, 4)
    return min(max(cpus - 1, 1), _MOST_PROCESSES)


class Feeder:
    """Draws batches in the order of training, some ahead, in threads or helper processes.

    Parameters
    ----------
    batches : Batches
    epochs : int
        Epochs of the training; the first batches of the next epoch are drawn while the
        present one ends.
    processes : int
        Helper processes, 0 for a thread.
    keep : bool
        Keep what was drawn and give it again each epoch, for validation.
    """

    def __init__(self, batches: Batches, epochs: int, processes: int = 0, keep: bool = False) -> None:
        self.batches = batches
        self.epochs = epochs
        self.processes = processes
        self._keep = keep
        self._ahead = max(AHEAD, 2 * processes)
        self._futures: dict[tuple[int, int], Future[Batch]] = {}
        self._lock = threading.Lock()
        self._waited = 0.0
        self._shared: SharedObject | None = None
        self._helpers: Helpers | None = None
        if processes:
            try:
                self._shared = SharedObject(batches)
                self._helpers = Helpers(processes)
            except OSError:  # no room for temporary files
                self.processes = 0
        self._pool = ThreadPoolExecutor(max(self.processes, 1), thread_name_prefix="wbcseg-batches")

    def get(self, epoch: int, index: int) -> Batch:
        """Return a batch, waiting for it if it is not ready."""
        position = epoch * len(self.batches) + index
        last = (self.epochs if not self._keep else 1) * len(self.batches)
        with self._lock:
            for ahead in range(position, max(min(position + self._ahead, last), position + 1)):
                key = divmod(ahead, len(self.batches))
                if key not in self._futures:
                    self._futures[key] = self._pool.submit(self._draw, *key)
            if not self._keep:
                # Keras looks at the first two batches twice.
                for key in [k for k in self._futures if k[0] * len(self.batches) + k[1] < position - 2]:
                    del self._futures[key]
            future = self._futures[epoch, index]
        if future.done():
            return future.result()
        start = time.monotonic()
        try:
            return future.result()
        finally:
            self._waited += time.monotonic() - start

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
        """End threads and processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._helpers is not None:
            self._helpers.close()
        if self._shared is not None:
            self._shared.close()

    def _draw(self, epoch: int, index: int) -> Batch:
        if self._helpers is not None and self._shared is not None:
            try:
                batch: Batch = self._helpers.call(draw_shared, self._shared.reference, epoch, index)
                return batch
            except HelperError:
                pass  # memory ran out, or training ends; this process can draw it as well
        return self.batches.draw(epoch, index)


def draw_shared(reference: tuple[str, bytes, list[int]], epoch: int, index: int) -> Batch:
    """Draw a batch from batches shared with this process."""
    attach(*reference)
    batches: Batches = shared(reference[0])
    return batches.draw(epoch, index)


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
