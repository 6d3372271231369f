"""Clusters of processes on this machine, of which tests kill parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def local_cluster(workers: int) -> Iterator[tuple[Any, Any]]:
    """Start so many processes of one thread; yields the cluster and a client of it."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


@contextmanager
def scheduler_and_worker(folder: Path, preload: str = "") -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """Start both as a person does, with ``scheduler.json`` in a folder; yields the scheduler and a client.

    The worker runs the Python text ``preload`` first.
    """
    from distributed import Client

    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    python = [sys.executable, "-m"]
    started = [*python, "distributed.cli.dask_scheduler", "--scheduler-file", file, "--port", "0"]
    scheduler = subprocess.Popen([*started, "--no-dashboard"], **quiet)
    started = [*python, "distributed.cli.dask_worker", "--scheduler-file", file, "--nthreads", "1"]
    worker = subprocess.Popen([*started, "--no-nanny", *["--preload", preload] * bool(preload)], **quiet)
    try:
        wait_for(file.exists)
        with Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(1)
            yield scheduler, client
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def kill_a_busy_worker(client: Any, pids: dict[str, int]) -> list[str]:
    """Kill one that has work, and return its address; nothing where none has any."""
    busy = [worker for worker, tasks in client.processing().items() if tasks][:1]
    for worker in busy:
        os.kill(pids[worker], getattr(signal, "SIGKILL", signal.SIGTERM))
    return busy


def wait_for(state: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240  # a busy machine starts each process in half a minute
    while not state():
        assert time.monotonic() < deadline
        time.sleep(0.02)
