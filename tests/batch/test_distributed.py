"""The same run on a cluster of processes: the same result, whoever dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wbcseg import SegmentationSettings
from napari_wbcseg.batch.run import BatchItem, collect, segment_files
from napari_wbcseg.cli import app
from napari_wbcseg.errors import ImageError
from napari_wbcseg.network.model_file import ModelFile

from ..dark_model import write_dark_model
from .folders import assert_same_results, write_images

distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
if distributed:
    from napari_wbcseg.batch import distributed as on_cluster

SETTINGS = SegmentationSettings(recipe="classic")
IMAGES = 36


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Three processes, as a cluster has."""
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


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
    return [*collect([folder]), BatchItem(folder / "gone.png", "gone.png", "gone")]


@pytest.fixture(scope="module")
def reference(items: list[BatchItem], model: ModelFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of one process."""
    out = tmp_path_factory.mktemp("reference")
    segment_files(items, out, model, SETTINGS)
    return out


def test_a_cluster_finds_what_one_process_finds(
    client: Any, items: list[BatchItem], model: ModelFile, reference: Path, tmp_path: Path
) -> None:
    seen: list[dict[str, Any]] = []
    result = segment_files(items, tmp_path, model, SETTINGS, client=client, report=seen.append)
    assert result.failed == 3
    assert len(seen) == IMAGES + 1
    assert_same_results(tmp_path, reference)
    assert all(path.is_file() for path in result.files)
    again = segment_files(items, tmp_path, model, SETTINGS, client=client)
    assert again.kept == IMAGES - 2


def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    client: Any, items: list[BatchItem], model: ModelFile, reference: Path, tmp_path: Path
) -> None:
    pids = client.run(os.getpid)
    killed: list[str] = []
    seen: list[str] = []

    def report(row: dict[str, Any]) -> None:
        seen.append(row["image"])
        busy = [worker for worker, tasks in client.processing().items() if tasks]
        if len(seen) >= 3 and busy and not killed:
            killed.append(busy[0])
            os.kill(pids[busy[0]], signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    result = segment_files(items, tmp_path, model, SETTINGS, client=client, report=report)
    assert killed, "a worker that had work was killed"
    assert killed[0] not in client.nthreads(), "and it is gone"
    assert sorted(seen) == sorted(row["image"] for row in result.rows)
    assert len(set(seen)) == len(seen) == IMAGES + 1
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == IMAGES + 2
    assert not list(tmp_path.glob(".*.part"))
    assert_same_results(tmp_path, reference)


def test_the_shell_takes_the_address_of_a_scheduler(
    client: Any, folder: Path, model: ModelFile, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["segment", str(folder / "0002.png"), "-m", str(model.path), "-o", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--scheduler", client.scheduler.address])
    assert result.exit_code == 0, result.output
    assert (out / "0002-labels.tif").is_file()
    assert "dask cluster" in (out / "run.json").read_text()


def test_no_scheduler_is_a_sentence(folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_cluster, "_CONNECT_SECONDS", 0.2)
    result = CliRunner().invoke(
        app, ["segment", str(folder), "-m", str(model.path), "-o", "x", "--scheduler", "tcp://127.0.0.1:9"]
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("No dask scheduler answers at tcp://127.0.0.1:9")
    assert not Path("x").exists()


def test_a_folder_that_workers_do_not_see_is_a_sentence(
    client: Any, items: list[BatchItem], model: ModelFile, tmp_path: Path
) -> None:
    outputs = on_cluster.Outputs(tmp_path / "only-here")
    with pytest.raises(on_cluster.ClusterError, match="does not see the folder"):
        on_cluster.segment_distributed(
            [(0, items[0])],
            *(model, SETTINGS, outputs, client),
            done=lambda index, outcome: None,
            starting=lambda index: None,
        )


class TestRoom:
    """Images wait until a worker has the memory for them."""

    def test_images_that_do_not_fit_together_take_turns(self) -> None:
        room = on_cluster._Room(100)
        inside, most = 0, 0
        lock = threading.Lock()

        def work() -> None:
            nonlocal inside, most
            with room.take(40):
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.005)
                with lock:
                    inside -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert most == 2
        with room.take(100):
            pass  # all was given back

    def test_one_that_never_fits_is_a_sentence(self) -> None:
        with pytest.raises(ImageError, match=r"needs about 9\.0 GB"), on_cluster._Room(10**9).take(9 * 10**9):
            pass

    def test_it_is_asked_for_by_the_header_alone(self, tmp_path: Path) -> None:
        import numpy as np
        import tifffile

        from napari_wbcseg.images.headers import image_pixels

        Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
        tifffile.imwrite(tmp_path / "b.tif", np.zeros((5, 20, 30, 3), np.uint8), photometric="rgb")
        tifffile.imwrite(tmp_path / "c.tif", np.zeros((20, 30), np.uint16))
        (tmp_path / "d.png").write_text("no image")
        assert [image_pixels(path) for path in sorted(tmp_path.iterdir())] == [600, 3000, 600, None]
