"""Several devices: each takes its share of a batch, and the result is that of one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: One after the other on one device and on two that JAX makes of the CPU.
_BOTH = """
import contextlib, json
from napari_wbcseg.training import data_parallel
from napari_wbcseg.training.train import train
from tests.tiny_networks import TINY, dark_disc_pairs, random_model
from tests.training.test_train import FAST

import keras
found = keras.distribution.list_devices()
curves, devices = [], []
for use in ([], found):
    data_parallel.accelerators = lambda use=use: use
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
