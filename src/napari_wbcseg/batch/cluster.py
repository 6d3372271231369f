"""Segment files on a cluster: `dask.distributed` hands them out, and does them again where a worker dies.

The model travels once to the scheduler and from there once to each worker, also to those that come
later; each worker builds one network from it. A task is one file, and its result is small: the files
of the result are written by the worker.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import Client, KilledWorker, WorkerPlugin, get_worker

from ..errors import ImageError, ModelError
from ..files import read_text
from ..results.names import RUN_FILE
from ..version import __version__
from ..words import counted
from .file import BatchItem, Row, Run, failure, process
from .workers import ClusterError, Room, hand_out

if TYPE_CHECKING:
    from distributed import Worker

# Memory as measured with the robust recipe (classic takes two thirds): of a worker that has its
# network, of a pixel while its image is segmented, and of a pixel of an image done in tiles, which
# is held whole with its labels.
_OF_A_WORKER = 600_000_000
_OF_A_PIXEL = 150
_OF_A_HELD_PIXEL = 20
# Of a file that is read and written in tiles, whatever its size.
_OF_A_LARGE_IMAGE = 900_000_000
_CONNECT_SECONDS = 20
_LOOPBACK_SECONDS = 5


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

    # What is lost is told in a sentence; dask would print a traceback before it.
    for name in ("distributed", "distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        _require_loopback()
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
        address = _address_in(Path(scheduler)) if Path(scheduler).exists() else scheduler
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"No dask scheduler answers at {scheduler} ({_first_line(error)}): start one with "
            "`dask scheduler`, and give the address that it prints."
        ) from None
    with client:
        yield client


def _address_in(file: Path) -> str:
    """Return the address in a scheduler file, which ``dask scheduler --scheduler-file`` writes."""
    try:
        return str(json.loads(read_text(file))["address"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ClusterError(
            f"{file} is no scheduler file of dask: give the one that `dask scheduler --scheduler-file` "
            "writes, or the address that it prints."
        ) from None


def _require_loopback() -> None:
    """Refuse to start processes that could not find each other; dask would wait for them without end."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=_LOOPBACK_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"Processes on this machine cannot reach each other ({error.strerror}): it has no loopback "
            "network. Leave --workers out: the work is then done in this process."
        ) from None


def describe(client: Client) -> str:
    """Return what a cluster is, in words."""
    threads = client.nthreads()  # of each worker
    address = client.scheduler.address if client.scheduler else ""
    workers, all_threads = counted(len(threads), "worker"), counted(sum(threads.values()), "thread")
    return f"dask cluster {address}: {workers}, {all_threads}"


def segment_on_cluster(
    items: Sequence[BatchItem],
    run: Run,
    client: Client,
    *,
    done: Callable[[BatchItem, Row], None],
    starting: Callable[[BatchItem], None],
) -> None:
    """Segment files on the workers of a cluster.

    A file whose worker dies goes to another one, three times at most. Each row is
    reported once, whatever was done twice.

    Parameters
    ----------
    items, done, starting
        As for `napari_wbcseg.batch.workers.hand_out`.
    run : Run
        Into a folder that the workers see under the same name.
    client : distributed.Client

    Raises
    ------
    ClusterError
        If workers lack this package, have another version of it, or do not see the
        folder of the results; or if the scheduler is lost.
    OutputError
        If results cannot be written: nothing further is tried then.
    """
    plugin = _RunOnWorker(run, f"wbcseg-run-{uuid.uuid4().hex[:8]}")
    _send(client, plugin)
    executor = client.get_executor(pure=False)

    def submit(item: BatchItem) -> Future[Row]:
        if item.problem or not item.path.exists():  # it need not travel to fail
            failed: Future[Row] = Future()
            failed.set_result(process(item, run))
            return failed
        travelling = replace(item, path=item.path.resolve())
        future: Future[Row] = executor.submit(_work, travelling, plugin.name, __version__)
        return future

    def stop() -> None:
        if client.status == "running":
            with suppress(OSError):
                executor.shutdown(wait=False)

    try:
        hand_out(items, submit, done=done, starting=starting, stop=stop, failed=_failed)
    finally:
        if client.status == "running":
            with suppress(OSError):  # lost by now
                client.unregister_worker_plugin(plugin.name)


class _RunOnWorker(WorkerPlugin):
    """A run with its model on a worker, and the room for images in the worker's memory."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        self._client_process = os.getpid()

    def setup(self, worker: Worker) -> None:
        """Take this worker's share of the machine, before its network is built."""
        if os.getpid() != self._client_process:
            from ..network.device import THREADS_VARIABLE

            os.environ.setdefault(THREADS_VARIABLE, str(worker.state.nthreads))
        limit = worker.memory_manager.memory_limit
        self.room = Room(int(limit * 0.85) - _OF_A_WORKER if limit else None)


def _work(item: BatchItem, plugin: str, version: str) -> Row:
    """Do one file, on a worker."""
    worker = get_worker()
    if version != __version__:
        raise ClusterError(
            f"The worker {worker.address} has napari-wbcseg {__version__}, and here is {version}: "
            "install the same version everywhere."
        )
    known = worker.plugins[plugin]
    assert isinstance(known, _RunOnWorker)
    run, room = known.run, known.room
    if not (run.folder / RUN_FILE).is_file():
        raise ClusterError(
            f"The worker {worker.address} does not see the folder {run.folder}: the images and the "
            "results must lie on a disk that all workers see under the same name."
        )
    needed = _needed(item)
    if not item.path.exists():
        problem = f"The worker {worker.address} does not see {item.path}, which is there here."
        return failure(item, ImageError(problem))
    if room.size is not None and needed > room.size:
        problem = (
            f"The image needs about {needed / 1e9:.1f} GB, and a worker has {room.size / 1e9:.1f} GB "
            "for images: start workers with more memory (fewer of them, or a larger memory limit)."
        )
        return failure(item, ImageError(problem))
    with room.take(needed):
        return process(item, run)


def _needed(item: BatchItem) -> int:
    from ..images.lazy import LARGE_PIXELS

    if item.large:
        return _OF_A_LARGE_IMAGE
    if item.pixels <= LARGE_PIXELS:
        return item.pixels * _OF_A_PIXEL
    return LARGE_PIXELS * _OF_A_PIXEL + item.pixels * _OF_A_HELD_PIXEL


def _send(client: Client, plugin: _RunOnWorker) -> None:
    try:
        client.register_plugin(plugin, name=plugin.name)
    except ImportError as error:
        raise _lacking(error) from None
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"The model could not be sent to the workers: {_first_line(error)}") from None


def _failed(item: BatchItem, error: Exception) -> Row:
    """Return the row of a file that no worker could do; raise what would be the same with all others."""
    if isinstance(error, ImportError):
        raise _lacking(error)
    if isinstance(error, ModelError):
        raise error
    if isinstance(error, KilledWorker):
        error = ImageError(
            f"{item.path}: every worker that tried it died, the last one {error.last_worker.address}; "
            "most likely it ran out of memory. Give workers more memory, or segment the image alone."
        )
    return failure(item, error)


def _lacking(error: ImportError) -> ClusterError:
    return ClusterError(
        f"The workers cannot import napari-wbcseg ({_first_line(error)}): install the same version of it, "
        "with the extra `cluster`, where they run."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
