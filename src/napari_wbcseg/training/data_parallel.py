"""Training on several GPUs or TPUs of one machine, through Keras' distribution API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ..network.backend import import_keras
from .batches import Batches


def accelerators() -> list[str]:
    """Return Keras' names of the GPUs or TPUs that can share a batch: only on JAX, as of Keras 3.15."""
    keras = import_keras()
    if keras.backend.backend() != "jax":
        return []
    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def replicas(batch_sizes: Sequence[int], devices: int) -> int:
    """Return over how many devices batches of these sizes can be spread evenly.

    >>> replicas([16, 16], 4), replicas([3, 2], 4), replicas([6, 4], 4)
    (4, 1, 2)
    """
    return max(count for count in range(1, devices + 1) if all(size % count == 0 for size in batch_sizes))


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
        count = replicas(sizes, len(found))
    if count < 2:
        yield 1
        return
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:count]))
    try:
        yield count
    finally:
        keras.distribution.set_distribution(before)
