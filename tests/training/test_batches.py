"""Batches drawn ahead: the same whoever draws them, none waited for that was ready, shared by devices."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.errors import DatasetError
from napari_wbcseg.training.batches import Feeder, helper_processes

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


def refuse(epoch: int, index: int) -> None:
    raise DatasetError(f"{index} is refused.")


def hang(epoch: int, index: int) -> int:
    """Draw the first batch; the others take longer than a test may."""
    time.sleep(1000 * index)
    return index


@pytest.mark.parametrize("processes", [0, 1])
def test_what_drawing_raises_is_raised_to_who_asks(processes: int) -> None:
    with closing(Feeder(refuse, 1, processes=processes)) as feeder, pytest.raises(DatasetError, match="0 is"):
        feeder.get(0, 0)


def test_what_helpers_draw_ahead_is_not_waited_for() -> None:
    feeder = Feeder(hang, 1000, processes=2)
    assert feeder.get(0, 0) == 0
    feeder.close()


@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks at processes in /proc")
def test_no_helper_outlives_a_parent_that_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from napari_wbcseg.training.batches import Feeder\n"
        "from tests.training.test_batches import Numbers\n"
        "feeder = Feeder(Numbers().draw, 3, processes=2)\n"
        "feeder.get(0, 0)\n"
        "children = open(f'/proc/self/task/{os.getpid()}/children').read()\n"
        "print(children, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root, timeout=100)
    assert done.returncode == -9
    children = [int(pid) for pid in done.stdout.split()]
    assert len(children) >= 2
    end = time.monotonic() + 10
    while not all(map(gone, children)):
        assert time.monotonic() < end, "a helper outlived its parent"
        time.sleep(0.02)


def test_a_file_in_the_working_folder_stands_in_for_no_library(tmp_path: Path) -> None:
    for name in ("loky", "numpy", "queue"):
        (tmp_path / f"{name}.py").write_text("open('run', 'w')\nraise SystemExit('a stranger')\n")
    code = (
        "import operator\n"
        "from napari_wbcseg.training.batches import Feeder\n"
        "feeder = Feeder(operator.sub, 3, processes=2)\n"
        "assert [feeder.get(0, index) for index in range(3)] == [0, -1, -2]\n"
        "feeder.close()\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, check=True, timeout=100)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("processes", [0, 2])
def test_batches_are_the_same_from_threads_and_processes(processes: int) -> None:
    with closing(Feeder(Numbers().draw, 3, epochs=2, processes=processes)) as feeder:
        for epoch in range(2):
            for index in range(3):
                values, (pid,) = feeder.get(epoch, index)
                assert values[0] == epoch * 3 + index
                assert len(values) == 1000 - values[0]
                assert (pid == os.getpid()) == (processes == 0)


class Kept:
    """Says of its arrays how they are kept where they are drawn from."""

    def __init__(self) -> None:
        self.arrays = [np.ones(5000), np.zeros((0, 3))]

    def draw(self, epoch: int, index: int) -> tuple[float, bool, bool]:
        array = self.arrays[index]
        return float(array.sum()), array.flags.writeable, array.flags.owndata


def test_arrays_are_in_memory_once_for_all_processes() -> None:
    with closing(Feeder(Kept().draw, 2, processes=1)) as feeder:
        assert feeder.get(0, 0) == (5000, False, False), "mapped, not copied"
        assert feeder.get(0, 1)[0] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
def test_where_a_helper_is_killed_half_as_many_go_on_and_no_batch_is_lost() -> None:
    with closing(Feeder(Numbers().draw, 3, epochs=10_000, processes=2)) as feeder:
        positions = count()
        for left in (1, 0):
            position = next(positions)
            values, (pid,) = feeder.get(*divmod(position, 3))
            os.kill(pid, signal.SIGKILL)
            while feeder.processes > left:  # what another one draws goes on until the death is noticed
                position = next(positions)
                values, _ = feeder.get(*divmod(position, 3))
                assert values[0] == position
                time.sleep(0.01)
            assert feeder.processes == left


def test_only_what_was_not_ready_counts_as_waited() -> None:
    with closing(Feeder(Numbers(seconds=0.05).draw, 3)) as feeder:
        feeder.get(0, 0)
        assert feeder.waited > 0
        feeder.waited = 0.0
        wait(feeder._futures.values())
        feeder.get(0, 1)
        assert feeder.waited == 0


def test_a_gpu_gets_the_cores_and_a_cpu_keeps_them() -> None:
    assert helper_processes("cpu", cpus=2) == 0
    assert helper_processes("gpu", cpus=2) == 1
    assert helper_processes("gpu", cpus=64) == 16


#: One after the other on one device and on two that JAX makes of the CPU.
_BOTH = """
import contextlib, json
from napari_wbcseg.training import batches
from napari_wbcseg.training.train import train
from tests.tiny_networks import TINY, dark_disc_pairs, random_model
from tests.training.test_train import FAST

import keras
found = keras.distribution.list_devices()
curves, devices = [], []
for use in ([], found):
    batches.accelerators = lambda use=use: use
    result = train(dark_disc_pairs(), FAST.replace(batch_size=2, dropout=0.0), init=random_model(TINY))
    curves.append([row["loss"] for row in result.history])
    devices.append(result.device)
after = str(keras.distribution.distribution())
print(json.dumps({"found": found, "curves": curves, "devices": devices, "after": after}))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_two_devices_give_the_curve_of_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BOTH],
        cwd=Path(__file__).parents[2],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told["found"]) == 2
    assert "2 of them work together" not in told["devices"][0]
    assert "2 of them work together" in told["devices"][1]
    assert told["curves"][1] == pytest.approx(told["curves"][0], rel=1e-3)
    assert told["after"] == "None", "what comes after is on one device again"
