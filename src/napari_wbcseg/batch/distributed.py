"""Segment files on a cluster: `dask.distributed` hands them out, and does them again where a worker dies.

There is no scheduler of our own. The model travels once to the scheduler and from there once to
each worker, also to those that come later; each worker builds one network from it. A task is
one file, named by its position, and its result is small: the label image is written by the worker.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client, WorkerPlugin, as_completed, get_worker

from ..errors import ImageError, ModelError, OutputError, WBCSegError
from ..results.names import RUN_FILE
from ..version import __version__
from .file import BatchItem, Outcome, Outputs, failure, is_large_item, process

if TYPE_CHECKING:
    from distributed import Future, Worker

    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings

# Memory as measured with the robust recipe (classic takes two thirds): of a worker that has its
# network, of a pixel while its image is segmented, and of a pixel of an image done in blocks, which
# is held whole with its labels.
_OF_A_WORKER = 600_000_000
_OF_A_PIXEL = 150
_OF_A_HELD_PIXEL = 20
# Of a file that is read and written in blocks, whatever its size.
_OF_A_LARGE_IMAGE = 900_000_000
_CONNECT_SECONDS = 20


class ClusterError(WBCSegError):
    """A cluster that cannot be reached, or cannot do the work."""


@contextmanager
def cluster(*, scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """Connect to a cluster, or start one of processes on this machine.

    Parameters
    ----------
    scheduler : str, optional
        Address of the scheduler, such as ``tcp://10.0.0.1:8786``, or its scheduler file.
    workers : int, optional
        Start as many processes here instead, which share the processors evenly.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If no scheduler answers.
    """
    import logging

    from distributed import LocalCluster

    from ..network.device import available_cpus

    if scheduler is None:
        count = workers or 1
        local = LocalCluster(
            n_workers=count,
            threads_per_worker=max(1, available_cpus() // count),
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
        with local, Client(local) as client:
            yield client
        return
    try:
        if Path(scheduler).is_file():
            client = Client(scheduler_file=scheduler, timeout=_CONNECT_SECONDS)
        else:
            client = Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"No dask scheduler answers at {scheduler} ({_first_line(error)}): start one with "
            "`dask scheduler`, and give the address that it prints."
        ) from None
    with client:
        yield client


def describe(client: Client) -> str:
    """Return what a cluster is, in words."""
    threads = client.nthreads()  # of each worker
    address = client.scheduler.address if client.scheduler else ""
    return f"dask cluster {address}: {len(threads)} workers, {sum(threads.values())} threads"


def segment_distributed(
    items: Sequence[tuple[int, BatchItem]],
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    client: Client,
    *,
    done: Callable[[int, Outcome], None],
    starting: Callable[[int], None],
) -> None:
    """Segment files on the workers of a cluster.

    A file whose worker dies goes to another one, three times at most. Each outcome is
    reported once, whatever was done twice.

    Parameters
    ----------
    items : sequence of (int, BatchItem)
        Files, and the position that each is known by.
    model : ModelFile
    settings : SegmentationSettings
    outputs : Outputs
        In a folder that the workers see under the same name.
    client : distributed.Client
    done : callable
        Called in this thread with position and outcome, as they come.
    starting : callable
        Called with the position of a file when the one before is done.

    Raises
    ------
    ClusterError
        If workers lack this package, have another version of it, or do not see the
        folder of the results; or if the scheduler is lost.
    OutputError
        If results cannot be written: nothing further is tried then.
    """
    run = uuid.uuid4().hex[:8]
    plugin = _ModelOnWorker(model, f"wbcseg-model-{run}")
    waiting: dict[str, tuple[int, BatchItem]] = {}
    futures: dict[str, Future[Outcome]] = {}
    finished = False
    try:
        _send(client, plugin)
        for index, item in items:
            if item.problem or not item.path.exists():  # it need not travel to fail
                done(index, process(item, model, settings, outputs, _ignore))
                continue
            key = f"wbcseg-{run}-{index}"
            waiting[key] = index, item
            travelling = replace(item, path=item.path.resolve())
            futures[key] = client.submit(
                _work, travelling, plugin.name, settings, outputs, __version__, key=key, pure=False
            )
        if waiting:
            starting(next(iter(waiting.values()))[0])
        for future, result in as_completed(list(futures.values()), with_results=True, raise_errors=False):
            index, item = waiting.pop(future.key)
            del futures[future.key]
            done(index, result if future.status == "finished" else _what_went_wrong(client, future, item))
            if waiting:
                starting(next(iter(waiting.values()))[0])
        finished = True
    finally:
        if not finished:
            for key, future in futures.items():  # stopped: what is done all the same
                if future.status == "finished":
                    done(waiting[key][0], future.result())
        if client.status == "running":
            client.cancel(list(futures.values()))
            client.unregister_worker_plugin(plugin.name)


class _ModelOnWorker(WorkerPlugin):
    """A model on a worker, and the room for images in the worker's memory."""

    def __init__(self, model: ModelFile, name: str) -> None:
        self.model = model
        self.name = name
        self._client_process = os.getpid()

    def setup(self, worker: Worker) -> None:
        """Take this worker's share of the machine, before its network is built."""
        if os.getpid() != self._client_process:
            from ..network.device import THREADS_VARIABLE

            os.environ.setdefault(THREADS_VARIABLE, str(worker.state.nthreads))
        limit = worker.memory_manager.memory_limit
        self.room = _Room(int(limit * 0.85) - _OF_A_WORKER if limit else None)

    def teardown(self, worker: Worker) -> None:
        """Let the model go."""


class _Room:
    """So many bytes, of which each image takes what it needs and waits until that is free."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def take(self, needed: int) -> Iterator[None]:
        """Hold some of the room.

        Raises
        ------
        ImageError
            If there is less, even when it is empty.
        """
        if self._size is None or self._free is None:
            yield
            return
        if needed > self._size:
            raise ImageError(
                f"The image needs about {needed / 1e9:.1f} GB, and a worker has {self._size / 1e9:.1f} GB "
                "for images: start workers with more memory (fewer of them, or a larger memory limit)."
            )
        with self._changed:
            self._changed.wait_for(lambda: self._free is not None and self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()


def _work(
    item: BatchItem, plugin: str, settings: SegmentationSettings, outputs: Outputs, version: str
) -> Outcome:
    """Do one file, on a worker."""
    worker = get_worker()
    if version != __version__:
        raise ClusterError(
            f"The worker {worker.address} has napari-wbcseg {__version__}, and here is {version}: "
            "install the same version everywhere."
        )
    if not (outputs.folder / RUN_FILE).is_file():
        raise ClusterError(
            f"The worker {worker.address} does not see the folder {outputs.folder}: the images and the "
            "results must lie on a disk that all workers see under the same name."
        )
    if not item.path.exists():
        error = ImageError(f"The worker {worker.address} does not see {item.path}, which is there here.")
        return failure(item, error, 0.0)
    model = worker.plugins[plugin]
    assert isinstance(model, _ModelOnWorker)
    try:
        with model.room.take(_needed(item)):
            outcome = process(item, model.model, settings, outputs, _ignore)
    except ImageError as error:
        return failure(item, error, 0.0)
    if outcome.error is not None:  # not every exception can travel
        outcome = replace(outcome, error=RuntimeError(f"{outcome.error!r} on {worker.address}"))
    return outcome


def _needed(item: BatchItem) -> int:
    from ..images.headers import image_pixels
    from ..images.lazy import LARGE_PIXELS

    if is_large_item(item):
        return _OF_A_LARGE_IMAGE
    pixels = image_pixels(item.path) or 0
    if pixels <= LARGE_PIXELS:
        return pixels * _OF_A_PIXEL
    return LARGE_PIXELS * _OF_A_PIXEL + pixels * _OF_A_HELD_PIXEL


def _send(client: Client, plugin: _ModelOnWorker) -> None:
    try:
        client.register_plugin(plugin, name=plugin.name)
    except ImportError as error:
        raise _lacking(error) from None
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"The model could not be sent to the workers: {_first_line(error)}") from None


def _what_went_wrong(client: Client, future: Any, item: BatchItem) -> Outcome:
    """Return the outcome of a file that no worker could do.

    Raises
    ------
    ClusterError, ModelError, OutputError
        If it would be the same with all others.
    """
    from distributed import KilledWorker

    if future.status != "error":
        raise ClusterError(
            f"The cluster {client.scheduler.address if client.scheduler else ''} was lost ({future.status}). "
            "What is done is kept: the same command does the rest once there is a cluster again."
        )
    error = future.exception()
    if isinstance(error, ImportError):
        raise _lacking(error)
    if isinstance(error, ClusterError | ModelError | OutputError):
        raise error
    if isinstance(error, KilledWorker):
        error = ImageError(
            f"{item.path}: every worker that tried it died, the last one {error.last_worker.address}; "
            "most likely it ran out of memory. Give workers more memory, or segment the image alone."
        )
    return failure(item, error, 0.0)


def _lacking(error: ImportError) -> ClusterError:
    return ClusterError(
        f"The workers cannot import napari-wbcseg ({_first_line(error)}): install the same version of it, "
        "with the extra `cluster`, where they run."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _ignore(done: int, total: int, stage: str) -> None:
    pass
