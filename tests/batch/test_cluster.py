"""The same run on a cluster of processes: the same result, whoever dies."""

from __future__ import annotations

import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from napari_wbcseg import SegmentationSettings
from napari_wbcseg.batch.folder import BatchItem
from napari_wbcseg.batch.run import collect, segment_files
from napari_wbcseg.errors import Cancelled, WBCSegError
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.progress import silent

from ..cli.shell import wbcseg
from ..clusters import kill_a_busy_worker, scheduler_and_worker, wait_for
from ..dark_model import spots, write_dark_model
from .folders import assert_same_results, write_images

if pytest.importorskip("distributed", reason="needs the extra cluster"):
    from napari_wbcseg.batch import cluster as on_cluster

# A worker that is not done before its scheduler dies, however busy the machine is.
STUCK_AFTER_FIVE = """
import time
from napari_wbcseg.batch import cluster

if cluster._work.__module__ == cluster.__name__:  # dask runs this text more than once
    work, begun = cluster._work, []

    def stuck_after_five(shared, item):
        begun.append(item)
        return work(shared, item) if len(begun) <= 5 else time.sleep(3600)

    cluster._work = stuck_after_five
"""
# A worker that has read its second image, and goes on with it when a file says so.
WAITS_WITH_THE_SECOND = """
import time
from pathlib import Path
from napari_wbcseg.images import read

if read.read_file.__module__ == read.__name__:
    read_file, begun = read.read_file, []

    def waits_with_the_second(path):
        begun.append(path)
        while len(begun) == 2 and not Path("go").exists():
            time.sleep(0.02)
        return read_file(path)

    read.read_file = waits_with_the_second
"""
SETTINGS = SegmentationSettings(recipe="classic")
IMAGES = 36


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return write_dark_model(tmp_path_factory.mktemp("model") / "dark.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, IMAGES, bad=[4, 7])
    return folder


@pytest.fixture(scope="module")
def items(folder: Path) -> list[BatchItem]:
    return [*collect([folder]), BatchItem(folder / "gone.png", "gone.png")]


@pytest.fixture(scope="module")
def reference(items: list[BatchItem], model: ModelFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of one process."""
    out = tmp_path_factory.mktemp("reference")
    segment_files(items, out, model, SETTINGS)
    return out


def test_a_cluster_finds_what_one_process_finds(
    client: Any, items: list[BatchItem], model: ModelFile, reference: Path, tmp_path: Path
) -> None:
    seen: list[tuple[BatchItem, dict[str, Any]]] = []
    result = segment_files(
        items, tmp_path, model, SETTINGS, client=client, report=lambda *done: seen.append(done)
    )
    assert result.failed == 3
    assert len(seen) == IMAGES + 1
    assert_same_results(tmp_path, reference)
    again = segment_files(items, tmp_path, model, SETTINGS, client=client)
    assert again.kept == IMAGES - 2


def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    client: Any, items: list[BatchItem], model: ModelFile, reference: Path, tmp_path: Path
) -> None:
    pids = client.run(os.getpid)
    killed: list[str] = []
    seen: list[str] = []

    def report(item: BatchItem, row: dict[str, Any]) -> None:
        seen.append(row["image"])
        if len(seen) >= 3 and not killed:
            killed.extend(kill_a_busy_worker(client, pids))

    result = segment_files(items, tmp_path, model, SETTINGS, client=client, report=report)
    assert killed, "a worker that had work was killed"
    assert killed[0] not in client.nthreads(), "and it is gone"
    assert sorted(seen) == sorted(row["image"] for row in result.rows)
    assert len(set(seen)) == len(seen) == IMAGES + 1
    assert_same_results(tmp_path, reference)


def test_the_tiles_of_a_slide_are_done_by_all_workers(
    client: Any, folder: Path, model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_wbcseg.images.read.LARGE_PIXELS", 20_000)
    image, labels = spots((200, 260), ((50, 60), (140, 199)))
    tifffile.imwrite(tmp_path / "slide.tif", image, tile=(64, 64), photometric="rgb")
    items = collect([tmp_path / "slide.tif", folder / "0002.png"])
    with monkeypatch.context() as patch:
        patch.setattr("napari_wbcseg.segmentation.tile_work.find_in_tile", pytest.fail)  # here, not there
        result = segment_files(items, tmp_path / "out", model, SETTINGS, client=client)
    assert {Path(row["image"]).name: row["count"] for row in result.rows} == {"slide.tif": 2, "0002.png": 2}
    drawn = zarr.open_group(str(tmp_path / "out" / "slide-cells" / "labels.zarr"), mode="r")["0"]
    np.testing.assert_array_equal(drawn[:] > 0, labels > 0)


def test_the_shell_takes_the_address_of_a_scheduler(
    client: Any, folder: Path, model: ModelFile, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("segment", folder / "0002.png", "-m", model.path, "-o", out)
    wbcseg(*command, "--scheduler", client.scheduler.address)
    assert (out / "0002-labels.tif").is_file()
    assert "dask cluster" in (out / "run.json").read_text()


def test_no_scheduler_is_a_sentence(folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_cluster, "_CONNECT_SECONDS", 0.2)
    command = ("segment", folder, "-m", model.path, "-o", "x", "--scheduler", "tcp://127.0.0.1:9")
    result = wbcseg(*command, status=1)
    assert result.stderr.startswith("No dask scheduler answers at tcp://127.0.0.1:9")
    assert not Path("x").exists()


def test_the_port_of_a_web_server_is_a_sentence_too() -> None:
    """Dask's own page, say, whose address is printed beside that of the scheduler."""

    class Refuse(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.server_address[1]}"
        said = rf"No dask scheduler answers at {address} \(another program"
        with dask.config.set(scheduler="threads"):
            with (
                pytest.raises(WBCSegError, match=said),
                on_cluster.cluster(scheduler=address),
            ):
                pass
            assert dask.config.get("scheduler") == "threads", "what dask computes next asks no cluster"
        server.shutdown()


@pytest.mark.parametrize(
    "content", ["", "tcp://127.0.0.1:8786", "[1]", '{"type": "Scheduler"}', "[" * 100_000, "\xff"]
)
def test_a_wrong_scheduler_file_is_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "scheduler.json"
    file.write_bytes(content.encode("latin-1"))
    with (
        pytest.raises(WBCSegError, match=r"scheduler\.json (is no scheduler file|cannot be read)"),
        on_cluster.cluster(scheduler=str(file)),
    ):
        pass


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"]).returncode != 0,
    reason="needs Linux, and a kernel that lets users have a network of their own",
)
def test_without_a_loopback_workers_are_a_sentence(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "napari_wbcseg", "segment", folder, "-o", tmp_path / "x"]
    done = subprocess.run(
        ["unshare", "-rn", *command, "--workers", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Processes cannot be started on this machine (Cluster failed to start")


def test_a_folder_that_workers_do_not_see_is_a_sentence(
    client: Any, items: list[BatchItem], model: ModelFile, tmp_path: Path
) -> None:
    run = on_cluster.Run(tmp_path / "only-here", model=model, settings=SETTINGS, classifier=None)
    with pytest.raises(on_cluster.ClusterError, match="does not see the folder"):
        next(on_cluster.segment_on_cluster([items[0]], run, silent, client))


def test_a_scheduler_that_dies_is_a_sentence_and_nothing_else(
    folder: Path, model: ModelFile, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with scheduler_and_worker(tmp_path, STUCK_AFTER_FIVE) as (scheduler, _):
        command = ["segment", folder, "-m", model.path, "-o", out, "--scheduler", tmp_path / "scheduler.json"]
        run = subprocess.Popen(
            [sys.executable, "-m", "napari_wbcseg", *map(str, command)], stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: len(list(out.glob("*-result.json"))) >= 3 or run.poll() is not None)
        done = {path.name.replace("-result.json", ".png") for path in out.glob("*-result.json")}
        scheduler.kill()
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    lines = [line for line in errors.splitlines() if line and "cannot be read" not in line]
    assert len(lines) == 1, errors
    assert lines[0].startswith("The scheduler of the cluster was lost. What is done is kept")
    counts = pd.read_csv(out / "counts.csv")
    assert len(done) >= 3
    assert done <= {*counts["image"]}
    assert len(counts) < IMAGES


@pytest.mark.skipif(os.name != "posix", reason="other systems have no groups of processes")
def test_ctrl_c_which_a_terminal_sends_to_the_workers_too_is_a_word(
    folder: Path, model: ModelFile, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["segment", folder, "-m", model.path, "-o", out, "--workers", "2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "napari_wbcseg", *map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for((out / "run.json").exists)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "Stopped."
    assert run.returncode == 130


def test_a_worker_writes_nothing_for_a_run_that_is_over(
    folder: Path, model: ModelFile, tmp_path: Path
) -> None:
    """The tables would not tell of it, and the next run into the folder may have other settings."""

    def stop(item: BatchItem, row: dict[str, Any]) -> None:
        raise Cancelled("Stopped.")

    with scheduler_and_worker(tmp_path, WAITS_WITH_THE_SECOND) as (_, client):
        with pytest.raises(Cancelled):
            segment_files(collect([folder]), tmp_path / "out", model, SETTINGS, client=client, report=stop)
        (tmp_path / "go").touch()
        client.submit(int).result()  # its turn is when the other task is over
    assert len(list((tmp_path / "out").glob("*-result.json"))) == 1
    assert len(pd.read_csv(tmp_path / "out" / "counts.csv")) == 1
