"""Several GPUs of one machine, through Keras' distribution API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ..network.backend import import_keras
from .batches import Feeder


def accelerators() -> list[str]:
    """Return Keras' names of the GPUs or TPUs there are; none where it only has the CPU."""
    keras = import_keras()
    if keras.backend.backend() == "torch":
        import torch

        return [f"gpu:{i}" for i in range(torch.cuda.device_count())]
    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def can_distribute() -> bool:
    """Whether Keras' distribution API works on this backend: only on JAX, as of Keras 3.15."""
    return bool(import_keras().backend.backend() == "jax")


def replicas(batch_sizes: Sequence[int], devices: int) -> int:
    """Return over how many devices batches of these sizes can be spread evenly.

    >>> replicas([16, 16], 4), replicas([3, 2], 4), replicas([6, 4], 4)
    (4, 1, 2)
    """
    return max(
        count for count in range(1, max(devices, 1) + 1) if all(size % count == 0 for size in batch_sizes)
    )


@contextlib.contextmanager
def data_parallel(feeders: Sequence[Feeder], devices: Sequence[str] | None = None) -> Iterator[int]:
    """Spread each batch over the devices while the context lasts, and say over how many.

    Every device holds the whole network and takes an equal share of each batch; the
    gradients are averaged, so that the result is that of one device but for rounding.
    Build the model inside.

    Parameters
    ----------
    feeders : sequence of Feeder
        The batches. As many devices are used as divide the size of each.
    devices : sequence of str, optional
        Keras' names; by default all accelerators.
    """
    keras = import_keras()
    count, found = 1, list(devices) if devices is not None else accelerators()
    if can_distribute() and len(found) > 1:
        # Only the last batch of an epoch may be shorter.
        places = [(feeder, index) for feeder in feeders for index in (0, len(feeder.batches) - 1)]
        count = replicas([len(feeder.get(0, index)[0]) for feeder, index in places], len(found))
    before = keras.distribution.distribution()
    # A distribution that the caller has set up is theirs.
    if count < 2 or before is not None:
        yield 1
        return
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:count]))
    try:
        yield count
    finally:
        keras.distribution.set_distribution(before)
