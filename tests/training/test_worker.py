from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.errors import TrainingError
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.folder import TrainingJob, new_training_folder, unfinished_trainings
from napari_wbcseg.training.preview import decode_array
from napari_wbcseg.training.train import train
from napari_wbcseg.training.worker import FINAL_EVENTS, TrainingProcess

from ..tiny_networks import TINY, random_model
from .test_train import FAST

LONG = FAST.replace(epochs=10_000, early_stop_patience=10_000)


def job(pairs: list[TrainingPair], settings: TrainingSettings = LONG, name: str = "mine") -> TrainingJob:
    """Return what a process is asked to do, with a small network to start from."""
    return TrainingJob(pairs, settings, name, random_model(TINY))


def alive(process: TrainingProcess) -> bool:
    """Say whether a process still runs."""
    return process.popen.poll() is None


def wait_for(process: TrainingProcess, kind: str, seconds: float = 120) -> list[dict[str, Any]]:
    """Poll until an event of a kind has come."""
    events: list[dict[str, Any]] = []
    end = time.monotonic() + seconds
    while not any(event["event"] == kind for event in events):
        events += process.poll()
        assert not any(event["event"] == "error" for event in events), events[-1]
        assert time.monotonic() < end, f"no {kind} in {seconds} s"
        time.sleep(0.02)
    return events


def wait_for_end(process: TrainingProcess, seconds: float = 120) -> list[dict[str, Any]]:
    """Poll until it has told its last event and is gone."""
    events: list[dict[str, Any]] = []
    end = time.monotonic() + seconds
    while alive(process) or not (events and events[-1]["event"] in FINAL_EVENTS):
        events += process.poll()
        assert time.monotonic() < end, f"it still runs after {seconds} s"
        time.sleep(0.05)
    return events


def gone(pid: int) -> bool:
    """Say whether a process has ended, be it still a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_training_runs_beside_this_process_and_its_model_comes_back(
    pairs: list[TrainingPair], tmp_path: Path
) -> None:
    with closing(TrainingProcess(tmp_path / "out", job(pairs, FAST, "beside"))) as process:
        assert alive(process)
        with pytest.raises(TrainingError, match="no model yet"):
            _ = process.model
        events = wait_for_end(process)

    kinds = [event["event"] for event in events]
    assert kinds[-1] == "result"
    assert sum(kind in FINAL_EVENTS for kind in kinds) == 1
    assert {"start", "progress", "step", "epoch", "end"} <= set(kinds)
    assert process.model.name == "beside"
    assert len(events[-1]["history"]) == 3
    assert process.model.path == tmp_path / "out" / "beside.safetensors"
    # It trains as this process would.
    here = train(pairs, FAST, init=random_model(TINY)).model
    assert all(np.array_equal(process.model.weights[name], here.weights[name]) for name in here.weights)


def test_pause_holds_the_training_and_stop_keeps_the_best_weights(
    pairs: list[TrainingPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path))
    folder = new_training_folder("mine")
    with closing(TrainingProcess(folder, job(pairs), preview=True)) as process:
        events = wait_for(process, "epoch")
        tiles = next(event for event in events if event["event"] == "preview_tiles")
        predicted = next(event for event in events if event["event"] == "preview")
        assert decode_array(tiles["image"]).shape[-1] == 3
        assert decode_array(predicted["probability"]).shape == decode_array(tiles["truth"]).shape
        assert unfinished_trainings() == [], "one that is at work is not offered to go on"
        with pytest.raises(TrainingError, match="Another training is at work"):
            train(pairs, FAST, folder, init=random_model(TINY))

        process.send("pause")
        wait_for(process, "paused")
        time.sleep(0.3)
        assert process.poll() == []
        process.send("continue")
        wait_for(process, "epoch")

        process.send("pause")
        wait_for(process, "paused")
        process.send("stop")
        last = wait_for_end(process)[-1]
        assert last["event"] == "result"
        assert process.model.header.training["best_epoch"] >= 1
        assert last["ended"].startswith("stopped by the user")
    assert [kept.folder for kept in unfinished_trainings()] == [folder], "until its model is taken"


def test_discarded_it_leaves_nothing(pairs: list[TrainingPair], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = TrainingProcess(out, job(pairs))
    wait_for(process, "epoch")
    process.discard()
    assert not alive(process)
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
def test_a_killed_process_is_found_and_goes_on_from_its_last_epoch(
    pairs: list[TrainingPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path))
    folder = new_training_folder("mine")
    settings = LONG.replace(epochs=12)
    with closing(TrainingProcess(folder, job(pairs, settings, "mine"))) as process:
        events = wait_for(process, "epoch")
        process.send("pause")
        events += wait_for(process, "paused")
        os.kill(process.popen.pid, signal.SIGKILL)
        events += wait_for_end(process)
    assert events[-1]["event"] == "error"
    for word in ("SIGKILL", "memory", "resume"):
        assert word in events[-1]["text"]

    (found,) = unfinished_trainings()
    told = max(event["epoch"] for event in events if event["event"] == "epoch")
    assert (found.folder, found.name, found.epochs) == (folder, "mine", 12)
    assert told <= found.epochs_done <= told + 1
    with closing(TrainingProcess(found.folder)) as process:
        events = wait_for_end(process)
    start = next(event for event in events if event["event"] == "start")
    assert len(start["history"]) == found.epochs_done
    # The images and the model it started from came from the folder: it ends as it would have.
    whole = train(pairs, settings, init=random_model(TINY))
    assert [row["loss"] for row in events[-1]["history"]] == [row["loss"] for row in whole.history]


@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks at processes in /proc")
def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "from tests.training.test_worker import TrainingProcess, job, wait_for\n"
        "from tests.tiny_networks import dark_disc_pairs\n"
        "process = TrainingProcess(sys.argv[1], job(dark_disc_pairs()))\n"
        "wait_for(process, 'epoch')\n"
        "print(process.popen.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        timeout=150,
    )
    pid = int(parent.stdout)
    end = time.monotonic() + 5
    while not gone(pid):
        assert time.monotonic() < end, "the training outlived its parent"
        time.sleep(0.05)


def test_what_the_user_did_wrong_comes_back_as_its_sentence(tmp_path: Path) -> None:
    with closing(TrainingProcess(tmp_path / "out", TrainingJob(tmp_path / "gone", FAST, "mine"))) as process:
        last = wait_for_end(process)[-1]
        assert last["event"] == "error"
        assert "gone" in last["text"]
        with pytest.raises(TrainingError, match="no model"):
            _ = process.model


def test_closing_ends_the_process(pairs: list[TrainingPair], tmp_path: Path) -> None:
    process = TrainingProcess(tmp_path, job(pairs))
    assert alive(process)
    process.close()
    assert not alive(process)


def test_what_a_process_that_dies_said_last_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    with closing(TrainingProcess(tmp_path / "out", TrainingJob(tmp_path, FAST, "mine"))) as process:
        last = wait_for_end(process)[-1]
    assert "exit code 1" in last["text"]
    assert "It last said: " in last["text"]


def test_where_there_is_no_training_none_goes_on(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"job\.json is not there"):
        TrainingProcess(tmp_path)


def test_starting_costs_the_parent_no_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from napari_wbcseg.settings import TrainingSettings\n"
        "from napari_wbcseg.training.worker import TrainingJob, TrainingProcess\n"
        "TrainingProcess(sys.argv[1], TrainingJob('nowhere', TrainingSettings(), 'mine')).close()\n"
        "heavy = {'keras', 'tensorflow', 'torch', 'jax', 'onnxruntime', 'napari'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
