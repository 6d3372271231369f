"""Segment files on a cluster, a file a task; the files of the result are written by the worker.

A file that is read in tiles is none of these: its tiles are spread over the workers, see
`napari_wbcseg.segmentation.large.cluster`.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os.path import exists  # `Path.exists` raises where a folder may not be entered
from pathlib import Path
from typing import Any

import dask
from distributed import Client, KilledWorker, LocalCluster, WorkerPlugin, get_worker

from ..errors import ImageError, ModelError, OutputError, first_line
from ..executors import ClusterError, completed
from ..files import read_text
from ..images.read import LARGE_PIXELS
from ..network.device import available_cpus
from ..progress import Progress
from ..results.names import RUN_FILE
from ..segmentation.large.cluster import Shared, killed, outcome, sharing
from ..words import counted
from .folder import BatchItem, Row, Run, failure
from .process import process

# Memory as measured with the robust recipe (classic takes two thirds): of a pixel while its image is
# segmented, and of a pixel of an image done in tiles, which is held whole with its labels.
_OF_A_PIXEL = 150
_OF_A_HELD_PIXEL = 20
_CONNECT_SECONDS = 20
# The processes of a cluster watch themselves up to a hundred times a second, which takes two seconds of the
# processor a minute each. And they give memory back at once, for which a tile's arrays are mapped anew each
# time: a third of a worker's time went there (glibc: a set M_TRIM_THRESHOLD fixes M_MMAP_THRESHOLD too).
_OWN_WAYS = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


class _Client(Client):
    """A client that is not the default one, and is closed also where what answers is no scheduler."""

    def __init__(self, of: Any) -> None:
        # As the default one it would take what dask computes here too, and still do once it failed.
        super().__init__(of, timeout=_CONNECT_SECONDS, set_as_default=False)

    def start(self, **options: Any) -> None:
        try:
            super().start(**options)
        except (ValueError, MemoryError):  # of these dask closes nothing, and Python waits for it as it ends
            self.close()
            raise


class _DeafToCtrlC(WorkerPlugin):
    """Keeps Ctrl-C, which a terminal sends to all processes, from workers: they end with the run."""

    def setup(self, worker: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


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
        If no scheduler answers, or no processes can be started.
    """
    # What is lost is told in a sentence; dask would print a traceback before it.
    for name in ("distributed", "distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        with dask.config.set(_OWN_WAYS), _local_cluster(workers or 1) as local, _Client(local) as client:
            client.register_plugin(_DeafToCtrlC())
            yield client
        return
    try:
        address = _address_in(Path(scheduler)) if Path(scheduler).exists() else scheduler
        client = _Client(address)
    except (OSError, ValueError, TimeoutError, MemoryError) as error:
        # The beginning of what a web server says is taken for the length of a message.
        why = "another program does" if isinstance(error, MemoryError) else first_line(error)
        raise ClusterError(
            f"No dask scheduler answers at {scheduler} ({why}): start one with "
            "`dask scheduler`, and give the address that it prints."
        ) from None
    with client:
        yield client


def _local_cluster(count: int) -> LocalCluster:
    """Start processes on this machine, and what they need to find each other."""
    threads = max(1, available_cpus() // count)
    # No dashboard, but a port it has; of two runs at a time the second would tell that 8787 is taken.
    ports = {"dashboard_address": ":0"}
    options = {"dashboard_address": None, "scheduler_kwargs": ports, "silence_logs": logging.CRITICAL}
    try:
        return LocalCluster(n_workers=count, threads_per_worker=threads, **options)
    except RuntimeError as error:  # where there is no loopback network, say
        raise ClusterError(
            f"Processes cannot be started on this machine ({first_line(error)}). Leave --workers out: the "
            "work is then done in this process."
        ) from None


def _address_in(file: Path) -> str:
    """Return the address in a scheduler file, which ``dask scheduler --scheduler-file`` writes."""
    try:
        return str(json.loads(read_text(file))["address"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ClusterError(
            f"{file} is no scheduler file of dask: give the one that `dask scheduler --scheduler-file` "
            "writes, or the address that it prints."
        ) from None


def describe(client: Client) -> str:
    """Return what a cluster is, in words."""
    threads = client.nthreads()  # of each worker
    address = client.scheduler.address if client.scheduler else ""
    workers, all_threads = counted(len(threads), "worker"), counted(sum(threads.values()), "thread")
    return f"dask cluster {address}: {workers}, {all_threads}"


def segment_on_cluster(
    items: Sequence[BatchItem], run: Run, progress: Progress, client: Client
) -> Generator[tuple[BatchItem, Row], None, None]:
    """Segment files on the workers of a cluster.

    Large ones come one after the other, their tiles on all workers; then the others, a file a task. What a
    worker did that dies goes to another one, three times at most. Each row is told once, whatever was
    done twice.

    Parameters
    ----------
    items : sequence of BatchItem
    run : Run
        Into a folder that the workers see under the same name.
    progress : Progress
        Called within a large file.
    client : distributed.Client

    Yields
    ------
    (BatchItem, Row)
        Each file as it is done.

    Raises
    ------
    ClusterError
        If workers lack this package, have another version of it, or do not see the
        folder of the results; or if the scheduler is lost.
    OutputError
        If results cannot be written: nothing further is tried then.
    """
    small = []
    for item in items:
        if item.large or item.problem or not exists(item.path):  # what fails need not travel
            with dask.config.set(scheduler="threads"):  # what is lazy is read here, not on the cluster
                row = process(item, run, progress, client=client)
            yield item, row
        else:
            small.append(item)
    with sharing(client, run, run.folder, RUN_FILE) as submit:
        waiting = {submit(_work, replace(item, path=item.path.resolve())): item for item in small}
        for item, future in completed(waiting):
            try:
                row = outcome(future)
            except (ClusterError, OutputError, ModelError):  # it would be the same with all others
                raise
            except KilledWorker as error:
                row = failure(item, ImageError(killed(str(item.path), error)))
            except Exception as error:
                row = failure(item, error)
            yield item, row


def _work(shared: Shared, item: BatchItem) -> Row:
    """Do one file, on a worker."""
    address, capacity, needed = get_worker().address, shared.capacity, _needed(item)
    if not exists(item.path):
        raise ImageError(f"The worker {address} does not see {item.path}, which is there here.")
    if capacity.size is not None and needed > capacity.size:
        raise ImageError(
            f"The image needs about {needed / 1e9:.1f} GB, and a worker has {capacity.size / 1e9:.1f} GB "
            "for images: start workers with more memory (fewer of them, or a larger memory limit)."
        )
    with capacity.take(needed):
        return process(item, shared.thing, shared.alive)


def _needed(item: BatchItem) -> int:
    if item.pixels <= LARGE_PIXELS:
        return item.pixels * _OF_A_PIXEL
    return LARGE_PIXELS * _OF_A_PIXEL + item.pixels * _OF_A_HELD_PIXEL
