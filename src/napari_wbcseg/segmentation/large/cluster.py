"""Work on the workers of a cluster: `dask.distributed` hands it out, and does it again where a worker dies.

What all tasks share travels once to the scheduler and from there once to each worker, also to those
that come later. A task is small, and so is its result: files are written by the workers.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client, KilledWorker, WorkerPlugin, get_worker

from ...errors import Cancelled, first_line
from ...executors import Capacity, ClusterError, completed
from ...network.device import THREADS_VARIABLE
from ...version import __version__
from ..tile_work import Each, TileWork
from .folder import PLAN_FILE

if TYPE_CHECKING:
    from distributed import Worker


# Memory as measured with the robust recipe: of a worker that has its network, and of a tile.
_OF_A_WORKER = 600_000_000
_OF_A_TILE = 300_000_000
#: So often what is shared is sent; as often as a task is tried whose worker dies.
_TIMES = 4
_LOST = (
    "The scheduler of the cluster was lost. What is done is kept: the same command does the rest once there "
    "is a cluster again."
)

#: Hands a function of what is shared, and of one item, to a worker.
Submit = Callable[[Callable[..., Any], Any], Future[Any]]


class Shared(WorkerPlugin):
    """What all tasks share, on a worker, and the room for images in the worker's memory."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        self.name = f"wbcseg-{uuid.uuid4().hex[:8]}"
        self._client_process = os.getpid()
        self._over = False

    def setup(self, worker: Worker) -> None:
        """Take this worker's share of the machine, before its network is built."""
        if os.getpid() != self._client_process:
            os.environ.setdefault(THREADS_VARIABLE, str(worker.state.nthreads))
        limit = worker.memory_manager.memory_limit
        self.capacity = Capacity(int(limit * 0.85) - _OF_A_WORKER if limit else None)

    def teardown(self, worker: Worker) -> None:
        """Know that the client has ended its work, or that the scheduler is lost."""
        self._over = True

    def alive(self, done: int, total: int, stage: str) -> None:
        """Stop a task, as its progress, that goes on for no one: the next may write into its folder.

        Raises
        ------
        Cancelled
        """
        if self._over:
            raise Cancelled("Stopped.")


@contextmanager
def sharing(client: Client, thing: Any, folder: Path, marker: str) -> Iterator[Submit]:
    """Share something with all workers of a cluster, as long as the context lasts.

    Parameters
    ----------
    client : distributed.Client
    thing : object
        What functions that are handed out find in the `Shared` that they get first.
    folder : Path
        Which the workers must see under the same name.
    marker : str
        A file in it.

    Yields
    ------
    callable
        Given a function and an item, hands both to a worker.

    Raises
    ------
    ClusterError
        If workers lack this package; or, from a task, have another version of it or do not see the folder.
    """
    plugin = Shared(thing)
    _send(client, plugin)
    executor = client.get_executor(pure=False)
    try:
        yield partial(executor.submit, _call, plugin.name, __version__, folder, marker)
    finally:
        if client.status == "running":
            with suppress(OSError):  # lost by now
                executor.shutdown(wait=False)
                client.unregister_worker_plugin(plugin.name)


def _send(client: Client, plugin: Shared) -> None:
    """Send what is shared to all workers; one that dies meanwhile ends nothing, the others get it again."""
    for left in reversed(range(_TIMES)):
        try:
            client.register_plugin(plugin, name=plugin.name)
            return
        except ImportError as error:
            raise _lacking(error) from None
        except (OSError, RuntimeError) as error:
            if not left:
                unsent = f"The model could not be sent to the workers: {first_line(error)}"
                raise ClusterError(unsent if client.status == "running" else _LOST) from None


def _call(
    plugin: str, version: str, folder: Path, marker: str, function: Callable[..., Any], item: Any
) -> Any:
    """Do one task, on a worker."""
    worker = get_worker()
    if version != __version__:
        raise ClusterError(
            f"The worker {worker.address} has napari-wbcseg {__version__}, and here is {version}: "
            "install the same version everywhere."
        )
    if not (folder / marker).is_file():
        raise ClusterError(
            f"The worker {worker.address} does not see the folder {folder}: the images and the "
            "results must lie on a disk that all workers see under the same name."
        )
    shared = worker.plugins[plugin]
    assert isinstance(shared, Shared)
    with dask.config.set(scheduler="threads"):  # a lazy image is read here
        return function(shared, item)


@contextmanager
def on_workers(client: Client, work: TileWork, folder: Path) -> Iterator[Each]:
    """Do the parts of the work on an image, into a folder, on the workers of a cluster; see `sharing`."""
    with sharing(client, work, folder, PLAN_FILE) as submit:

        def each(function: Callable[..., Any], items: Any, progress: Any) -> Iterator[tuple[Any, Any]]:
            waiting = {submit(partial(_of_work, function), item): item for item in items}
            for item, future in completed(waiting):
                try:
                    yield item, outcome(future)
                except KilledWorker as error:
                    raise ClusterError(killed("A tile", error)) from None

        yield each


def _of_work(function: Callable[..., Any], shared: Shared, item: Any) -> Any:
    with shared.capacity.take(_OF_A_TILE):
        return function(shared.thing, item, shared.alive)


def outcome(future: Future[Any]) -> Any:
    """Return what a task came to, or raise its error.

    Raises
    ------
    ClusterError
        If the scheduler was lost, or workers lack this package.
    KilledWorker
        If every worker that tried it died.
    """
    try:
        return future.result()
    except CancelledError:
        raise ClusterError(_LOST) from None
    except ImportError as error:
        raise _lacking(error) from None


def killed(what: str, error: KilledWorker) -> str:
    """Say that every worker that tried something died."""
    return (
        f"{what}: every worker that tried it died, the last one {error.last_worker.address}; "
        "most likely it ran out of memory. Give workers more memory."
    )


def _lacking(error: ImportError) -> ClusterError:
    return ClusterError(
        f"The workers cannot import napari-wbcseg ({first_line(error)}): install the same version of it, "
        "with the extra `cluster`, where they run."
    )
