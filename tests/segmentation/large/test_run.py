"""A large image in blocks: the same cells whatever the blocks, and nothing lost when a run is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_wbcseg import segment
from napari_wbcseg.errors import Cancelled, ImageError, OutputError, SettingsError
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.large.run import LargeRun, segment_large
from napari_wbcseg.segmentation.measure import COLUMNS
from napari_wbcseg.settings import SegmentationSettings

from ...drawings import disc_labels, picture, write_dark_robust_model

CELL = 20.0
# Every dark pixel is a centre to this network, so connected regions are its cells.
SETTINGS = SegmentationSettings(cell_diameter=CELL, split_touching=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return write_dark_robust_model(tmp_path_factory.mktemp("model") / "dark.safetensors")


def smear(crowd: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Draw pale red cells, a few white ones, and a crowd of white ones larger than any cluster may be."""
    rng = np.random.default_rng(5)
    shape = (420, 600)
    red = [(r, c, 12.0) for r in range(9, 420, 18) for c in range(9, 360, 18)]
    white = [(60.0, 70.0, 20.0), (63.0, 250.0, 22.0), (200.0, 3.0, 20.0), (330.0, 160.0, 19.0)]
    white += [(211.0, 128.0, 21.0), (211.0, 150.5, 20.0)]  # nearly touching
    if crowd:
        white += [
            (r + rng.uniform(-1, 1), c + rng.uniform(-1, 1), rng.uniform(18, 21))
            for r in range(100, 330, 26)
            for c in range(400, 500, 26)
        ]
    labels = disc_labels(shape, white)
    image = picture(disc_labels(shape, red), dark=190)
    return np.where(labels[..., None] > 0, picture(labels), image), labels


@pytest.fixture(scope="module")
def whole(model: ModelFile, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Return the smear, and its labels when it is one block."""
    image, _ = smear()
    result = segment_large(image, tmp_path_factory.mktemp("whole"), model, SETTINGS)
    return image, np.asarray(result.labels)


def test_every_cell_is_found_whole_and_once(whole: tuple[np.ndarray, np.ndarray]) -> None:
    _, truth = smear()
    _, labels = whole
    assert labels.max() == truth.max()
    assert np.array_equal(labels > 0, truth > 0), "this network sees every pixel as it is"
    pairs = np.unique(np.stack([labels[truth > 0], truth[truth > 0]]), axis=1)
    assert pairs.shape[1] == truth.max(), "one label a cell, one cell a label"


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(70, 700), seed=st.integers(0, 99))
def test_cells_do_not_depend_on_block_size_or_order(
    whole: tuple[np.ndarray, np.ndarray],
    model: ModelFile,
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    seed: int,
) -> None:
    image, expected = whole
    rng = np.random.default_rng(seed)
    run = LargeRun(image, tmp_path_factory.mktemp("blocks"), model, SETTINGS, block_size=size)
    done = list(run.blocks(lambda: (rng.uniform(0, 420), rng.uniform(0, 600))))
    assert done[-1].done == done[-1].total == len(done)
    result = run.finish()
    assert np.array_equal(np.asarray(result.labels), expected)
    assert result.count == expected.max()


def test_without_red_cells_the_network_glances(model: ModelFile, tmp_path: Path) -> None:
    truth = disc_labels((200, 260), [(50, 60, 20), (140, 199, 21)])
    found = [
        np.asarray(
            segment_large(picture(truth), tmp_path / str(size), model, SETTINGS, block_size=size).labels
        )
        for size in (2048, 90)
    ]
    assert np.array_equal(found[0], truth)
    assert np.array_equal(found[1], truth)


def test_what_is_left_on_disk(model: ModelFile, tmp_path: Path) -> None:
    import zarr

    image, truth = smear(crowd=False)
    result = segment_large(image, tmp_path / "out", model, SETTINGS, block_size=200)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"labels.zarr", "probability.zarr", "cells.csv", "plan.json", "result.json"}
    table = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert tuple(table) == COLUMNS
    labels = np.asarray(zarr.open(str(tmp_path / "out" / "labels.zarr"), mode="r")["0"])
    first = [np.flatnonzero(labels == n)[0] for n in table["label"]]
    assert first == sorted(first), "numbered in reading order"
    for cell in table.itertuples():
        rows, cols = np.nonzero(labels == cell.label)
        assert (cell.row, cell.col, cell.area) == pytest.approx((rows.mean(), cols.mean(), rows.size))
        assert cell.border == (cols.min() == 0)
    assert np.asarray(result.probability)[truth > 0].min() > 0.5
    # A second call finds it done.
    again = segment_large(image, tmp_path / "out", model, SETTINGS, block_size=200, on_block=pytest.fail)
    assert again.count == result.count == len(table)
    assert again.cells.dtypes.equals(result.cells.dtypes)


def test_an_image_with_nothing_in_it(model: ModelFile, tmp_path: Path) -> None:
    empty = np.full((150, 200, 3), 230, np.uint8)
    for number, chosen in enumerate([SETTINGS, SegmentationSettings()]):
        result = segment_large(empty, tmp_path / str(number), model, chosen)
        assert result.count == 0
        assert not np.asarray(result.labels).any()


CHILD = """
import sys
import numpy as np
from napari_wbcseg.segmentation.large.run import segment_large
from napari_wbcseg.settings import SegmentationSettings

image, out, model = sys.argv[1:]

def after(block):
    print(block.done, flush=True)
    if block.done == 2:
        sys.stdin.read()  # until the end

settings = SegmentationSettings(cell_diameter=20.0, split_touching=False)
segment_large(np.load(image), out, model, settings, block_size=210, on_block=after)
"""


def test_a_killed_run_goes_on_where_it_stopped(
    model: ModelFile, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image, truth = smear(crowd=False)
    np.save(tmp_path / "image.npy", image)
    file = write_dark_robust_model(tmp_path / "dark.safetensors")
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path / "image.npy", out, tmp_path / "dark.safetensors"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert [child.stdout.readline().strip() for _ in range(2)] == ["1", "2"]  # type: ignore[union-attr]
    finally:
        child.kill()
        child.communicate()
    if sys.platform != "win32":
        assert child.returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in (out / "unfinished").glob("block-*.npz")}
    assert len(done) == 2
    # One of the two is torn, as by a disk that lost its last write; it alone is done again.
    torn = sorted(done)[1]
    torn.write_bytes(torn.read_bytes()[:100])

    run = LargeRun(image, out, file, SETTINGS, block_size=210)
    again = list(run.blocks())
    assert len(again) == again[-1].total - 1
    assert sorted(done)[0].stat().st_mtime_ns == done[sorted(done)[0]]
    assert np.array_equal(np.asarray(run.finish().labels) > 0, truth > 0)


def test_another_image_or_setting_begins_afresh(model: ModelFile, tmp_path: Path) -> None:
    image, _ = smear(crowd=False)
    segment_large(image, tmp_path / "out", model, SETTINGS)
    darker = SETTINGS.replace(probability_threshold=0.6)
    blocks = []
    segment_large(image, tmp_path / "out", model, darker, on_block=blocks.append)
    assert len(blocks) == 1
    empty = segment_large(np.full_like(image, 230), tmp_path / "out", model, darker)
    assert empty.count == 0


def test_cancelling_keeps_what_is_done(model: ModelFile, tmp_path: Path) -> None:
    image, truth = smear(crowd=False)

    def stop(done: int, total: int, stage: str) -> None:
        if done == 1:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        segment_large(image, tmp_path / "out", model, SETTINGS, stop, block_size=300)
    assert len(list((tmp_path / "out" / "unfinished").iterdir())) == 1
    result = segment_large(image, tmp_path / "out", model, SETTINGS, block_size=300)
    assert result.count == truth.max()


def test_what_cannot_be_done_is_said(model: ModelFile, tmp_path: Path) -> None:
    image, _ = smear(crowd=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ImageError, match="holds other files"):
        segment_large(image, tmp_path / "mine", model, SETTINGS)
    with pytest.raises(ImageError, match="not one image"):
        segment_large(np.zeros((3, 50, 60, 3), np.uint8), tmp_path / "a", model)
    with pytest.raises(SettingsError, match="csv or parquet"):
        segment_large(image, tmp_path / "b", model, table="xlsx")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        segment_large(image, tmp_path / "file" / "out", model, SETTINGS)


def test_segment_takes_to_blocks_by_itself(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    image, truth = smear(crowd=False)
    monkeypatch.setattr("napari_wbcseg.images.lazy.LARGE_PIXELS", 100_000)
    result = segment(image, model, SETTINGS)
    assert isinstance(result.labels, np.ndarray)
    assert result.count == truth.max()
    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline._IN_MEMORY", 100_000)
    lazy = segment(image, model, SETTINGS)
    assert not isinstance(lazy.labels, np.ndarray)
    assert np.array_equal(np.asarray(lazy.labels), result.labels)
