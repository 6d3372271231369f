"""One slide on a cluster of processes: the same bits as in one process, whoever dies or comes late."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from napari_wbcseg.errors import Cancelled
from napari_wbcseg.executors import ClusterError
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.large.cluster import sharing
from napari_wbcseg.segmentation.large.run import LargeRun, TileDone, segment_large
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.segmentation.result import Segmentation
from napari_wbcseg.settings import SegmentationSettings

from ...clusters import kill_a_busy_worker, local_cluster, scheduler_and_worker
from ..smears import SETTINGS, assert_same, smear

pytest.importorskip("distributed", reason="needs the extra cluster")
pytestmark = pytest.mark.usefixtures("small_tiles")
TILES = 30
# A worker that is not done before its scheduler dies, however late this process looks.
STUCK_AFTER_TWELVE = """
import time
from napari_wbcseg.segmentation.large import cluster

if cluster._of_work.__module__ == cluster.__name__:  # dask runs this text more than once
    work, begun = cluster._of_work, []

    def stuck_after_twelve(function, shared, item):
        begun.append(item)
        return work(function, shared, item) if len(begun) <= 12 else time.sleep(3600)

    cluster._of_work = stuck_after_twelve
"""


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return smear(330, 380, 3)


@pytest.fixture(scope="module")
def slide(image: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb")
    return path


@pytest.fixture(scope="module")
def expected(image: np.ndarray, model: ModelFile) -> Segmentation:
    return segment(image, model, SETTINGS)


@pytest.mark.parametrize("kind", ["array", "zarr", "tiff"])
@pytest.mark.parametrize("chosen", [SETTINGS, SegmentationSettings(split_touching=False)], ids=["a", "b"])
def test_three_workers_find_what_one_process_finds(
    client: Any, slide: Path, image: np.ndarray, model: ModelFile, tmp_path: Path, kind: str, chosen: Any
) -> None:
    source: Any = {"array": image, "tiff": slide}.get(kind)
    if source is None:
        zarr.save_array(str(tmp_path / "slide.zarr"), image)
        source = tmp_path / "slide.zarr"
    seen: list[int] = []
    result = segment_large(
        source, tmp_path / "out", model, chosen, client=client, on_tile=lambda tile: seen.append(tile.done)
    )
    alone = segment(image, model, chosen)
    assert_same(result, alone)
    steps = np.rint(alone.probability * np.float32(255)) / np.float32(255)
    np.testing.assert_array_equal(np.asarray(result.probability), steps)
    assert seen == list(range(1, len(seen) + 1)), "each tile is told of once"


def test_pieces_share_no_chunk_and_every_level_fits(
    client: Any, image: np.ndarray, model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Smaller pieces and chunks, here and in the workers, so that there are many of both.
    def of_side(piece: int) -> None:
        from napari_wbcseg.segmentation import finish

        finish.PIECE = piece

    monkeypatch.setattr("napari_wbcseg.segmentation.finish.PIECE", 128)
    monkeypatch.setattr("napari_wbcseg.segmentation.large.pyramid._CHUNK", 64)
    monkeypatch.setattr("napari_wbcseg.segmentation.large.pyramid._SMALLEST_LEVEL", 32)
    one = segment_large(image, tmp_path / "one", model, SETTINGS)
    client.run(of_side, 128)
    try:
        many = segment_large(image, tmp_path / "many", model, SETTINGS, client=client)
    finally:
        client.run(of_side, 2048)
    assert_same(many, one)
    for name in ("labels", "probability"):
        levels = [zarr.open_group(str(tmp_path / run / f"{name}.zarr"), mode="r") for run in ("one", "many")]
        assert len(list(levels[0].array_keys())) == 5
        for key, array in levels[0].arrays():
            np.testing.assert_array_equal(array[:], levels[1][key][:])
            step = 2 ** int(key)
            np.testing.assert_array_equal(array[:], levels[0]["0"][:][::step, ::step])


def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    client: Any, slide: Path, model: ModelFile, expected: Segmentation, tmp_path: Path
) -> None:
    pids, killed, seen = client.run(os.getpid), [], []

    def on_tile(tile: TileDone) -> None:
        seen.append(tile.area)
        if len(seen) >= 3 and not killed:
            killed.extend(kill_a_busy_worker(client, pids))

    result = segment_large(slide, tmp_path / "out", model, SETTINGS, client=client, on_tile=on_tile)
    assert killed, "a worker that had work was killed"
    assert killed[0] not in client.nthreads(), "and it is gone"
    assert len(set(seen)) == len(seen) == TILES
    assert_same(result, expected)
    assert_on_disk(tmp_path / "out", expected)


def test_a_worker_that_dies_while_the_model_is_sent_ends_nothing(tmp_path: Path) -> None:
    class Deadly:
        """Ends the first process that it comes to."""

        def __init__(self, file: Path) -> None:
            self.file = file

        def __setstate__(self, state: dict[str, Path]) -> None:
            self.__dict__ |= state
            if self.file.exists():
                self.file.unlink()
                os._exit(1)

    thing = Deadly(tmp_path / "once")
    for name in ("once", "marker"):
        (tmp_path / name).touch()
    with local_cluster(2) as (_, client):
        first = set(client.nthreads())
        with sharing(client, thing, tmp_path, "marker") as submit:
            assert submit(lambda shared, item: (shared.thing.file.name, item), 5).result() == ("once", 5)
        assert not first <= set(client.nthreads()), "one of the workers died"


def test_workers_that_come_late_get_the_model_and_do_the_rest(
    slide: Path, model: ModelFile, expected: Segmentation, tmp_path: Path
) -> None:
    with local_cluster(1) as (cluster, client):
        first = list(client.nthreads())

        def on_tile(tile: TileDone) -> None:
            if tile.done == 3:
                cluster.scale(2)
                client.wait_for_workers(2)
                client.retire_workers(first)

        result = segment_large(slide, tmp_path / "out", model, SETTINGS, client=client, on_tile=on_tile)
        assert first[0] not in client.nthreads()
    assert_same(result, expected)


def test_a_scheduler_that_dies_is_a_sentence_and_the_same_call_does_the_rest(
    slide: Path, model: ModelFile, expected: Segmentation, tmp_path: Path
) -> None:
    out, done = tmp_path / "out", 0

    with scheduler_and_worker(tmp_path, STUCK_AFTER_TWELVE) as (scheduler, client):

        def on_tile(tile: TileDone) -> None:
            nonlocal done
            done = tile.done
            if done == 5:
                scheduler.kill()

        with pytest.raises(ClusterError, match="The scheduler of the cluster was lost"):
            segment_large(slide, out, model, SETTINGS, client=client, on_tile=on_tile)
    assert 5 <= done < TILES
    before = {path: path.stat().st_mtime_ns for path in (out / "unfinished").glob("tile-*.npz")}
    assert len(before) >= done
    with scheduler_and_worker(tmp_path) as (_, client):
        run = LargeRun(slide, out, model, SETTINGS, client=client)
        again = [tile.done for tile in run.tiles()]
        assert len(again) == TILES - len(before), "only what was missing"
        assert (
            before.items()
            <= {p: p.stat().st_mtime_ns for p in (out / "unfinished").glob("tile-*.npz")}.items()
        )
        assert_same(run.finish(), expected)
    assert_on_disk(out, expected)


def test_a_scheduler_that_is_lost_between_two_steps_is_the_same_sentence(tmp_path: Path) -> None:
    with scheduler_and_worker(tmp_path) as (_, client):
        client.close()  # as the client does itself then
        with (
            pytest.raises(ClusterError, match="The scheduler of the cluster was lost"),
            sharing(client, "a thing", tmp_path, "scheduler.json"),
        ):
            pass


def test_a_stopped_run_goes_on_without_the_cluster(
    client: Any, slide: Path, model: ModelFile, expected: Segmentation, tmp_path: Path
) -> None:
    def stop(done: int, total: int, stage: str) -> None:
        if done == 7:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        segment_large(slide, tmp_path / "out", model, SETTINGS, stop, client=client)
    assert_same(segment_large(slide, tmp_path / "out", model, SETTINGS), expected)


def test_what_a_worker_cannot_see_is_a_sentence(
    client: Any, slide: Path, model: ModelFile, tmp_path: Path
) -> None:
    from napari_wbcseg.segmentation.large import cluster

    with (
        cluster.sharing(client, None, tmp_path / "only-here", "plan.json") as submit,
        pytest.raises(ClusterError, match="does not see the folder"),
    ):
        submit(print, 1).result()


def assert_on_disk(out: Path, expected: Segmentation) -> None:
    """Check the files that are left: labels, and a table in which every cell is once."""
    table = pd.read_csv(out / "cells.csv")
    assert table["label"].tolist() == expected.cells["label"].tolist()
    labels = zarr.open_group(str(out / "labels.zarr"), mode="r")["0"]
    np.testing.assert_array_equal(np.asarray(labels), expected.labels)
    assert not (out / "unfinished").exists()
