"""Batches drawn ahead: the same ones whoever draws them, and none waited for that was ready."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.errors import Cancelled, DatasetError
from napari_wbcseg.training.batches import Feeder, helper_processes
from napari_wbcseg.training.helpers import HelperError, Helpers

from .test_worker import gone


class Numbers:
    """Batches that say which they are, and where they were drawn."""

    heavy = True

    def __init__(self, seconds: float = 0.0) -> None:
        self.stock = np.arange(1000, dtype=np.float32)
        self.seconds = seconds

    def __len__(self) -> int:
        return 3

    def draw(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(self.seconds)
        return self.stock[epoch * 3 + index :], np.array([os.getpid()])


@pytest.fixture(scope="module", autouse=True)
def tests_importable() -> Iterator[None]:
    """Let helpers import what is defined here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield


@pytest.fixture(scope="module")
def helpers(tests_importable: None) -> Iterator[Helpers]:
    with Helpers(2) as both:
        yield both


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> None:
    raise DatasetError(f"{number} is refused.")


def die(number: int) -> int:
    if os.getppid() == number:
        os._exit(1)
    return -number


def test_helpers_map_in_order_and_tell_how_far_they_are(helpers: Helpers) -> None:
    told: list[tuple[int, int]] = []
    assert helpers.map(square, range(20), lambda done, total, stage: told.append((done, total))) == [
        number * number for number in range(20)
    ]
    assert told[-1] == (20, 20)


def test_what_a_helper_raises_is_raised_here_and_it_lives_on(helpers: Helpers) -> None:
    with pytest.raises(DatasetError, match="7 is refused"):
        helpers.call(refuse, 7)
    assert helpers.call(square, 3) == 9


def test_a_helper_that_dies_is_replaced_and_its_work_done_here(helpers: Helpers) -> None:
    parent = os.getpid()
    with pytest.raises(HelperError):
        helpers.call(die, parent)
    assert helpers.map(die, [parent]) == [-parent]


@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks at processes in /proc")
def test_a_helper_ends_when_its_parent_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from napari_wbcseg.training.helpers import Helpers\n"
        "print(Helpers(1).call(os.getpid), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=100)
    assert done.returncode != 0
    end = time.monotonic() + 5
    while not gone(int(done.stdout)):
        assert time.monotonic() < end, "the helper outlived its parent"
        time.sleep(0.02)


def test_work_can_be_cancelled(helpers: Helpers) -> None:
    def stop(done: int, total: int, stage: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        helpers.map(square, range(100), stop)


@pytest.mark.parametrize("processes", [0, 2])
def test_batches_are_the_same_from_threads_and_processes(processes: int) -> None:
    feeder = Feeder(Numbers(), epochs=2, processes=processes)
    try:
        for epoch in range(2):
            for index in range(3):
                values, (pid,) = feeder.get(epoch, index)
                assert values[0] == epoch * 3 + index
                assert len(values) == 1000 - values[0]
                assert (pid == os.getpid()) == (processes == 0)
    finally:
        feeder.close()


def test_only_what_was_not_ready_counts_as_waited() -> None:
    feeder = Feeder(Numbers(seconds=0.05), epochs=1)
    try:
        feeder.get(0, 0)
        assert 0.04 < feeder.waited < 0.5
        feeder.forget_waited()
        while not all(future.done() for future in feeder._futures.values()):
            time.sleep(0.01)
        feeder.get(0, 1)
        assert feeder.waited == 0
    finally:
        feeder.close()


def test_a_gpu_gets_the_cores_and_a_cpu_keeps_them() -> None:
    assert helper_processes("cpu", cpus=2) == 0
    assert helper_processes("gpu", cpus=2) == 1
    assert helper_processes("gpu", cpus=64) == 16
    assert helper_processes("gpu", heavy=False, cpus=64) == 0
