"""Processes that prepare data beside the training.

Drawing and augmenting training samples is NumPy and OpenCV, which hold Python's lock for much
of the time: threads would take turns with the training loop. The processes are loky's, which
start in the same way on every system and never run the user's script again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path
from typing import Any

from ..progress import Progress, silent

#: Exit code of a process whose parent is gone.
PARENT_GONE = 3

_ENVIRONMENT = {
    # One thread each, for there are as many of them as cores.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # A file in the working folder must not stand in for a library.
    "PYTHONSAFEPATH": "1",
    # What is mapped into a process is no leak, for which loky would start it anew.
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",
}


@contextlib.contextmanager
def helpers(count: int, shared: Any = None) -> Iterator[Executor]:
    """Give an executor of some processes, which end with the context or with this process.

    Parameters
    ----------
    count : int
        Processes; they start at the first call.
    shared : object, optional
        What `shared_object` gives in each of them. Its arrays are in memory once for all, read-only.

    Raises
    ------
    OSError
        If there is no room for a temporary file.
    """
    import joblib
    from loky import ProcessPoolExecutor

    with tempfile.TemporaryDirectory(prefix="wbcseg-shared-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "shared"
        joblib.dump(shared, path)
        begin = (os.getpid(), path)
        executor = ProcessPoolExecutor(count, initializer=_begin, initargs=begin, env=_ENVIRONMENT)
        try:
            yield executor
        finally:
            executor.shutdown(wait=True, kill_workers=True)


_shared: Any = None  # in a helper


def _begin(parent: int, path: Path) -> None:
    import joblib

    global _shared
    end_with_parent(parent)
    _shared = joblib.load(path, mmap_mode="r")


def shared_object() -> Any:
    """Return, in a helper, what `helpers` was given to share."""
    return _shared


def end_with_parent(parent: int) -> None:
    """End this process within half a second when its parent, given by its number, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(PARENT_GONE)

    if sys.platform != "win32":  # where a process keeps its parent's number, and pipes break
        threading.Thread(target=watch, daemon=True).start()


def map_in_helpers(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    processes: int,
    progress: Progress = silent,
    stage: str = "",
) -> list[Any]:
    """Call a function on each item, several at once; the results are in the order of the items.

    Where a process dies, as when memory runs out, the rest is done in this one.

    Parameters
    ----------
    function : callable
        Importable by name.
    items : sequence
    processes : int
        Below 2 everything is done in this process.
    progress : Progress
    stage : str
    """
    results: list[Any] = []

    def take(answers: Iterator[Any]) -> None:
        progress(len(results), len(items), stage)
        for answer in answers:
            results.append(answer)
            progress(len(results), len(items), stage)

    if processes > 1:
        with contextlib.suppress(BrokenExecutor, OSError), helpers(processes) as executor:
            take(executor.map(function, items))
    take(map(function, items[len(results) :]))
    return results
