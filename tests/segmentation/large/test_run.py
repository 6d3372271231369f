"""A result on disk: the same cells in any order of the tiles, and nothing lost when a run is killed."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from napari_wbcseg import load_result, save
from napari_wbcseg.box import Box
from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, PROBABILITY
from napari_wbcseg.classification.naming import each_named
from napari_wbcseg.errors import BusyError, Cancelled, ImageError, OutputError, SettingsError, WBCSegError
from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.images.read import read_pixel_size
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.large.result import LargeResult
from napari_wbcseg.segmentation.large.run import LargeRun, segment_large
from napari_wbcseg.segmentation.measure import COLUMNS
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.settings import SegmentationSettings

from ...drawings import disc_labels, picture, write_dark_robust_model

pytestmark = pytest.mark.usefixtures("small_tiles")
# A tile is 64 wide. Every dark pixel is a centre to this network, so connected regions are its cells.
SETTINGS = SegmentationSettings(cell_diameter=24.0, split_touching=False)
TILES = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return write_dark_robust_model(tmp_path_factory.mktemp("model") / "dark.safetensors")


@pytest.fixture(scope="module")
def smear() -> tuple[np.ndarray, np.ndarray]:
    """Return an image with cells inside tiles, on their borders and corners, and at its own border."""
    discs = [(30, 25, 24), (32, 64, 26), (64, 96, 24), (64, 128, 25), (4, 110, 24), (100, 150, 22)]
    truth = disc_labels((120, 180), [(float(r), float(c), float(d)) for r, c, d in discs])
    return picture(truth), truth


def test_every_cell_is_found_whole_and_once(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, truth = smear
    result = segment_large(image, tmp_path / "out", model, SETTINGS)
    labels = np.asarray(result.labels)
    assert result.count == labels.max() == truth.max()
    pairs = np.unique(np.stack([labels[truth > 0], truth[truth > 0]]), axis=1)
    assert pairs.shape[1] == truth.max(), "one label a cell, one cell a label"
    assert np.array_equal(labels > 0, segment(image, model, SETTINGS).labels > 0)


def test_what_was_left_out_of_a_file_is_in_the_notes(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as file:
        for field in (smear[0], smear[0][::-1].copy()):
            file.write(field, photometric="rgb", metadata={"axes": "YXS"})
    for _ in range(2):  # also where all was done before
        found = segment_large(tmp_path / "two.ome.tif", tmp_path / "out", model, SETTINGS)
        assert "Of the 2 images of one size in the file only the first was taken." in found.notes
        assert LargeResult.open(tmp_path / "out").notes == found.notes


def test_what_is_left_on_disk(smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path) -> None:
    import zarr

    image, _ = smear
    result = segment_large(image, tmp_path / "out", model, SETTINGS)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"labels.zarr", "probability.zarr", "cells.csv", "plan.json", "result.json"}
    table = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert [name for name in table if not name.startswith(PROBABILITY)] == list(COLUMNS)
    assert set(table["class"]) <= set(BUILT_IN_CLASSES.names)
    labels = np.asarray(zarr.open(str(tmp_path / "out" / "labels.zarr"), mode="r")["0"])
    first = [np.flatnonzero(labels == n)[0] for n in table["label"]]
    assert first == sorted(first), "numbered in reading order"
    for cell in table.itertuples():
        rows, cols = np.nonzero(labels == cell.label)
        assert (cell.row, cell.col, cell.area) == pytest.approx((rows.mean(), cols.mean(), rows.size))
        assert cell.border == (rows.min() == 0)
    assert np.asarray(result.probability)[labels > 0].min() > 0.4
    # A second call finds it done.
    again = segment_large(image, tmp_path / "out", model, SETTINGS, on_tile=pytest.fail)
    assert again.count == result.count == len(table)
    assert again.cells.dtypes.equals(result.cells.dtypes)


def test_a_result_of_a_file_is_saved_with_its_pixel_size_and_where_it_came_from(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    file = tmp_path / "slide.tif"
    size = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(file, smear[0], photometric="rgb", tile=(64, 64), **size)
    for _ in range(2):  # found, and had again
        result = segment_large(file, tmp_path / "slide-cells", model, SETTINGS)
        save(result, tmp_path / "again", "tiff,csv")
        found = load_result(tmp_path / "again-result.json")
        assert (found.placement.scale, found.image_path, found.name) == ((0.5, 0.5), file, "slide")
        assert "area_um2" in pd.read_csv(tmp_path / "again-cells.csv")
    size["resolution"] = (10_000, 10_000)  # the scanner was calibrated since
    tifffile.imwrite(file, smear[0], photometric="rgb", tile=(64, 64), **size)
    result = segment_large(file, tmp_path / "slide-cells", model, SETTINGS, on_tile=pytest.fail)
    assert LargeResult.open(tmp_path / "slide-cells").pixel_size == result.placement.pixel_size
    assert result.placement.pixel_size == PixelSize(1.0, 1.0)
    assert read_pixel_size(tmp_path / "slide-cells" / "probability.zarr") == PixelSize(1.0, 1.0)


def test_a_result_is_opened_with_its_image_where_a_run_has_seen_that_last(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    file, out = tmp_path / "slide.tif", tmp_path / "out"
    tifffile.imwrite(file, smear[0], photometric="rgb", tile=(64, 64))
    run = LargeRun(file, out, model, SETTINGS)
    next(run.tiles())
    done = len(list((out / "unfinished").iterdir()))
    (tmp_path / "elsewhere").mkdir()
    file = file.rename(tmp_path / "elsewhere" / "slide.tif")
    run = LargeRun(file, out, model, SETTINGS)
    assert len(list(run.tiles())) == TILES - done, "it is known wherever it lies"
    run.finish()
    assert LargeResult.open(out).image_file == file
    file = file.rename(tmp_path / "slide.tif")
    segment_large(file, out, model, SETTINGS, on_tile=pytest.fail)
    segment_large(smear[0], out, model, SETTINGS, on_tile=pytest.fail)  # which is in no file
    assert LargeResult.open(out).image_file == file


def test_an_image_with_nothing_in_it(model: ModelFile, tmp_path: Path) -> None:
    empty = np.full((150, 200, 3), 230, np.uint8)
    for number, chosen in enumerate([SETTINGS, SegmentationSettings()]):
        result = segment_large(empty, tmp_path / str(number), model, chosen)
        assert result.count == 0
        assert not np.asarray(result.labels).any()


def test_what_is_on_view_comes_first(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCSEG_THREADS", "1")  # of those that are done at once any may be the first
    run = LargeRun(smear[0], tmp_path / "out", model, SETTINGS)
    done = list(run.tiles(lambda: (119.0, 179.0)))
    assert done[0].area.holds(119, 179)
    assert [one.done for one in done] == [1, 2, 3, 4, 5, 6]
    assert all(one.total == TILES for one in done)


CHILD = """
import sys
import numpy as np
from napari_wbcseg.segmentation import tiles
from napari_wbcseg.segmentation.large.run import segment_large
from napari_wbcseg.settings import SegmentationSettings

image, out, model = sys.argv[1:]

def after(tile):
    print(tile.done, flush=True)
    if tile.done == 2:
        sys.stdin.read()  # until the end

tiles.PARAMETERS = tiles.TileParameters(core=128)
settings = SegmentationSettings(cell_diameter=24.0, split_touching=False)
segment_large(np.load(image), out, model, settings, on_tile=after)
"""


def test_a_killed_run_goes_on_where_it_stopped(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, _ = smear
    np.save(tmp_path / "image.npy", image)
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path / "image.npy", out, model.path],
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
    done = {path: path.stat().st_mtime_ns for path in (out / "unfinished").glob("tile-*.npz")}
    assert len(done) >= 2, "and those that were under way meanwhile"
    # One of them is torn, as by a disk that lost its last write; it alone is done again.
    torn = sorted(done)[1]
    torn.write_bytes(torn.read_bytes()[:100])

    run = LargeRun(image, out, model, SETTINGS)
    assert len(list(run.tiles())) == TILES - len(done) + 1
    assert sorted(done)[0].stat().st_mtime_ns == done[sorted(done)[0]]
    assert np.array_equal(np.asarray(run.finish().labels), segment(image, model, SETTINGS).labels)


class Drive:
    """Lets the process change files in a folder so many times; then the drive is gone."""

    changes = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"})

    def __init__(self) -> None:
        self.folder, self.left = "", 0
        sys.addaudithook(self._hear)  # which stays, and hears nothing without a folder

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder or event not in self.changes or self.folder not in str(arguments[0]):
            return
        if event != "open" or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.EIO, "The drive is gone")


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive()


def test_a_run_that_ends_between_any_changes_of_its_files_goes_on(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path, drive: Drive
) -> None:
    image = smear[0][:70, :100]  # four tiles
    expected = segment(image, model, SETTINGS)
    for number in itertools.chain(range(4), itertools.count(4, 10)):
        out = tmp_path / str(number)
        drive.folder, drive.left = str(out), number
        try:
            segment_large(image, out, model, SETTINGS)
            break
        except WBCSegError:
            pass
        finally:
            drive.folder = ""
        result = segment_large(image, out, model, SETTINGS)
        assert np.array_equal(np.asarray(result.labels), expected.labels), f"gone after {number} changes"
        assert result.cells.equals(expected.cells)
    assert number > 60, "of some 120 changes"


def test_another_image_or_setting_begins_afresh(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, _ = smear
    segment_large(image, tmp_path / "out", model, SETTINGS)
    darker = SETTINGS.replace(probability_threshold=0.6)
    tiles = []
    segment_large(image, tmp_path / "out", model, darker, on_tile=tiles.append)
    assert len(tiles) == TILES
    empty = segment_large(np.full_like(image, 230), tmp_path / "out", model, darker)
    assert empty.count == 0


def test_the_cells_of_another_file_are_not_written_over(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, _ = smear
    first, second = tmp_path / "first.tif", tmp_path / "second.tif"
    for file, pixels in {first: image, second: image[::-1]}.items():
        tifffile.imwrite(file, pixels, photometric="rgb")
    count = segment_large(first, tmp_path / "out", model, SETTINGS).count
    with pytest.raises(OutputError, match=r"out holds the cells of .*first\.tif: name another folder"):
        segment_large(second, tmp_path / "out", model, SETTINGS)
    moved = first.rename(tmp_path / "moved.tif")
    darker = SETTINGS.replace(probability_threshold=0.6)
    assert segment_large(moved, tmp_path / "out", model, darker).settings == darker
    assert count > 0


def test_a_run_that_ends_as_it_clears_what_was_found_with_other_settings_goes_on(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path, drive: Drive
) -> None:
    """Of a result whose plan was gone all runs said that it is damaged."""
    image, other = smear[0][:70, :100], SETTINGS.replace(probability_threshold=0.6)
    for number in range(1, 5):
        segment_large(image, tmp_path / "out", model, SETTINGS)
        drive.folder, drive.left = str(tmp_path / "out"), number
        try:
            with pytest.raises(OutputError):
                segment_large(image, tmp_path / "out", model, other)
        finally:
            drive.folder = ""
        assert segment_large(image, tmp_path / "out", model, other).settings == other


def test_another_image_is_told_by_any_of_its_pixels(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, truth = smear
    segment_large(image, tmp_path / "out", model, SETTINGS)
    fewer = np.where((truth == truth.max())[..., None], np.median(image[truth == 0], axis=0), image).astype(
        np.uint8
    )
    assert segment_large(fewer, tmp_path / "out", model, SETTINGS).count == truth.max() - 1


def test_two_runs_do_not_write_into_one_folder_at_a_time(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    def again(_: object) -> None:
        with pytest.raises(BusyError, match="out: wait for its end"):
            segment_large(smear[0][::-1], tmp_path / "out", model, SETTINGS)

    found = segment_large(smear[0], tmp_path / "out", model, SETTINGS, on_tile=again)
    assert found.count == smear[1].max()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_person_corrected_is_not_written_over(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, _ = smear
    segment_large(image, tmp_path / "out", model, SETTINGS)
    result = LargeResult.open(tmp_path / "out")
    window = Box(0, 0, *image.shape[:2])
    result.replace_region(window, np.zeros(window.shape, np.int32))
    with pytest.raises(OutputError, match="which a person corrected"):
        segment_large(image, tmp_path / "out", model, SETTINGS.replace(probability_threshold=0.6))
    assert segment_large(image, tmp_path / "out", model, SETTINGS).count == 0


def test_cancelling_keeps_what_is_done(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, truth = smear

    def stop(done: int, total: int, stage: str) -> None:
        if stage == "Segmenting" and done == 1:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        segment_large(image, tmp_path / "out", model, SETTINGS, stop)
    kept = len(list((tmp_path / "out" / "unfinished").iterdir()))
    assert 0 < kept < TILES, "those under way were done, and no more"
    result = segment_large(image, tmp_path / "out", model, SETTINGS)
    assert result.count == truth.max()


def without_labels(table: Path) -> None:
    pd.read_csv(table).drop(columns="label").to_csv(table, index=False)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("cells.csv", without_labels),
        ("cells.csv", lambda file: file.write_bytes(b"")),
        ("cells.csv", lambda file: file.write_text(file.read_text().replace(",", ";"))),
        ("result.json", lambda file: file.write_text("null")),
    ],
)
def test_a_damaged_result_is_said_and_its_labels_are_left_alone(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path, file: str, damage: Any
) -> None:
    image, truth = smear
    segment_large(image, tmp_path, model, SETTINGS)
    damage(tmp_path / file)
    other = SETTINGS.replace(probability_threshold=0.6)
    doors = (
        LargeResult.open,
        lambda folder: segment_large(image, folder, model, SETTINGS),
        lambda folder: segment_large(image, folder, model, other),  # a person may have corrected its cells
    )
    for door in doors:
        with pytest.raises(ImageError, match=r"damaged .*segment again"):
            door(tmp_path)
    assert (zarr.open_array(tmp_path / "labels.zarr" / "0", mode="r")[:] > 0).sum() == (truth > 0).sum()


def test_a_class_that_is_named_like_a_formula_is_words_in_the_table(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    segment_large(smear[0], tmp_path, model, SETTINGS)
    result = LargeResult.open(tmp_path)
    result.keep_said(each_named(result.cells, {1: "=1+1"}))
    assert pd.read_csv(tmp_path / "cells.csv").loc[0, "class"] == "'=1+1"
    assert LargeResult.open(tmp_path).cells.loc[0, "class"] == "=1+1"


@pytest.mark.parametrize("name", ["NA", "None", "nan", "01", "true"])
def test_a_class_that_is_named_like_a_number_or_nothing_is_opened_as_it_is_called(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path, name: str
) -> None:
    segment_large(smear[0], tmp_path, model, SETTINGS)
    result = LargeResult.open(tmp_path)
    for cells in ({1: name}, dict.fromkeys(result.cells["label"], name)):  # some of the cells, and all
        result.keep_said(each_named(result.cells, cells))
        pd.testing.assert_frame_equal(LargeResult.open(tmp_path).cells, result.cells)


def test_a_folder_that_looks_empty_is_taken(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    """A Mac leaves a file in each folder that its owner has looked into."""
    (tmp_path / ".DS_Store").touch()
    assert segment_large(smear[0], tmp_path, model, SETTINGS).count


def test_what_cannot_be_done_is_said(
    smear: tuple[np.ndarray, np.ndarray], model: ModelFile, tmp_path: Path
) -> None:
    image, _ = smear
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ImageError, match="holds other files"):
        segment_large(image, tmp_path / "mine", model, SETTINGS)
    with pytest.raises(ImageError, match="a stack of images, not one"):
        segment_large(np.zeros((3, 50, 60, 3), np.uint8), tmp_path / "a", model)
    with pytest.raises(ImageError, match="not an image array"):
        segment_large([[1, 2], [3]], tmp_path / "a", model)
    with pytest.raises(SettingsError, match="csv or parquet"):
        segment_large(image, tmp_path / "b", model, table="xlsx")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        segment_large(image, tmp_path / "file" / "out", model, SETTINGS)
