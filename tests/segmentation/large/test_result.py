"""A result on disk is opened as its labels are now, whoever changed them."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from napari_wbcseg.box import Box
from napari_wbcseg.classification.classes import CellClass, probability_columns
from napari_wbcseg.classification.naming import each_named
from napari_wbcseg.errors import BusyError, ImageError, OutputError
from napari_wbcseg.files import locked
from napari_wbcseg.network.classifier import read_classifier
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.large import pyramid
from napari_wbcseg.segmentation.large.result import LargeResult
from napari_wbcseg.segmentation.large.run import segment_large
from napari_wbcseg.segmentation.measure import COLUMNS, measure_labels
from napari_wbcseg.settings import SegmentationSettings
from napari_wbcseg.words import counted

from ...drawings import disc_labels, picture, write_dark_robust_model

SETTINGS = SegmentationSettings(cell_diameter=20.0, split_touching=False, classes=None)
MEASURED = ["label", "row", "col", "area", "perimeter", "pieces", "touching", "border"]
TRUTH = disc_labels((200, 300), [(40, 50, 20), (64, 128, 21), (140, 199, 22), (140, 270, 20)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return write_dark_robust_model(tmp_path_factory.mktemp("model") / "dark.safetensors")


@pytest.fixture
def folder(tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a result whose labels are in chunks of 64 pixels."""
    monkeypatch.setattr(pyramid, "_CHUNK", 64)
    found = segment_large(picture(TRUTH), tmp_path / "slide", model, SETTINGS)
    assert np.array_equal(np.asarray(found.labels), TRUTH)
    return tmp_path / "slide"


def changed(folder: Path, window: Box, values: Any) -> np.ndarray:
    """Return all labels after another program changed some."""
    labels = pyramid.Pyramid.open(folder / "labels.zarr").arrays[0]
    labels[window.slices] = values
    return np.asarray(labels)


def assert_is_of(cells: pd.DataFrame, labels: np.ndarray) -> None:
    expected, _ = measure_labels(labels)
    pd.testing.assert_frame_equal(cells[MEASURED], expected[MEASURED])


@pytest.mark.parametrize(
    ("window", "value"),
    [
        (Box(30, 40, 60, 70), 0),  # gone
        (Box(60, 120, 70, 128), 0),  # cut, by the corner of four chunks
        (Box(10, 10, 20, 20), 9),  # new
        (Box(10, 280, 20, 290), 1),  # a piece far from the rest
        (Box(40, 61, 45, 70), 9),  # beside another
        (Box(40, 10, 44, 290), 1),  # much longer than any was
        (Box(0, 0, 200, 300), 0),
        (Box(0, 0, 200, 300), 3),
    ],
)
def test_the_table_is_that_of_the_labels(folder: Path, window: Box, value: int) -> None:
    known = LargeResult.open(folder).cells
    labels = changed(folder, window, value)
    result = LargeResult.open(folder)
    assert (result.edited, result.in_table) == (True, False)
    assert_is_of(result.cells, labels)
    kept = result.cells["mean_stain"].notna()
    both = known.merge(result.cells[kept], how="right")
    assert both["certainty"].notna().all(), "other rows stay as they are"
    result.keep()
    again = LargeResult.open(folder)
    assert (again.edited, again.in_table) == (True, True)
    pd.testing.assert_frame_equal(again.cells, result.cells, check_dtype=len(again.cells) > 0)


def test_a_number_of_cells_too_far_apart_to_be_measured_together_is_to_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_wbcseg.segmentation.large.result._MOST_AT_ONCE", 10_000)
    changed(folder, Box(170, 280, 180, 290), 1)
    cells = LargeResult.open(folder).cells
    assert cells["check"].tolist() == [True, False, False, False]
    assert cells["pieces"].tolist() == [1] * 4, "as each was seen by itself"


def test_labels_of_which_a_file_has_as_many_bytes_as_before_are_known_to_be_others(folder: Path) -> None:
    labels = pyramid.Pyramid.open(folder / "labels.zarr")
    before, chunk = labels.stamps({}), folder / "labels.zarr" / "0" / "1" / "2"
    content, date = chunk.read_bytes(), chunk.stat().st_mtime_ns
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(chunk, ns=(date, date + 10**9))
    assert labels.changed(before, labels.stamps(before)) == [Box(64, 128, 128, 192)]
    chunk.write_bytes(content)
    assert labels.changed(before, labels.stamps(before)) == [], "by another date alone nothing is"


def test_what_nobody_touched_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pyramid.hashlib, "sha256", lambda content: pytest.fail("a file is read"))
        patch.setattr(LargeResult, "region", lambda self, window: pytest.fail("labels are read"))
        result = LargeResult.open(folder)
    assert (result.edited, result.in_table) == (False, True)
    changed(folder, Box(40, 50, 41, 51), 0)
    read = list[Box]()
    region = LargeResult.region
    monkeypatch.setattr(LargeResult, "region", lambda self, box: read.append(box) or region(self, box))
    LargeResult.open(folder)
    assert all(box.bottom <= 128 and box.right <= 128 for box in read)


def test_what_is_said_of_cells_that_were_found_anew_since_is_said_of_no_others(
    folder: Path, model: ModelFile
) -> None:
    """In a window that showed those before, a run in the shell gave their numbers to other cells."""
    window = LargeResult.open(folder)
    said = each_named(window.cells, {2: "blast"})
    segment_large(picture(np.where(TRUTH == 1, 0, TRUTH)), folder, model, SETTINGS)
    with pytest.raises(ImageError, match="were found anew"):
        window.keep_said(said)
    with pytest.raises(ImageError, match="were found anew"):
        window.replace_region(Box(0, 0, 100, 150), TRUTH[:100, :150], known=said)
    again = LargeResult.open(folder)
    assert again.cells["class"].eq("").all()
    assert again.cells["label"].tolist() == [1, 2, 3]


def test_corrections_of_our_own_are_in_the_table(folder: Path) -> None:
    result, window = LargeResult.open(folder), Box(100, 100, 170, 240)
    result.replace_region(window, np.zeros(window.shape, np.int32))
    again = LargeResult.open(folder)
    assert again.in_table
    assert again.cells["label"].tolist() == [1, 2, 4]


def test_erythroblasts_are_no_white_cells(folder: Path) -> None:
    result = LargeResult.open(folder)
    result.cells.loc[0, "class"] = "erythroblast"
    assert result.white_cells == len(result.cells) - 1
    assert repr(result).startswith(f"<LargeResult: {counted(result.white_cells, 'white cell')}, and ")


def test_two_who_correct_one_result_lose_nothing_of_each_other(folder: Path) -> None:
    """Each wrote the table that it had opened: cells that were gone came back."""
    one, other = LargeResult.open(folder), LargeResult.open(folder)
    for result, window in ((one, Box(30, 40, 60, 70)), (other, Box(50, 110, 80, 140))):
        result.replace_region(window, np.zeros(window.shape, np.int32))
    one.keep_said(each_named(other.cells[other.cells["label"] == 3], {3: "blast"}))
    changed(folder, Box(120, 250, 160, 290), 0)
    window = Box(0, 0, 20, 20)
    cells = other.replace_region(window, np.ones(window.shape, np.int32)).set_index("label")["class"]
    assert cells.to_dict() == {3: "blast", 4: ""}, "of a third program, too"
    assert LargeResult.open(folder).in_table


def test_what_is_said_of_a_cell_of_which_another_left_a_rim_is_kept(folder: Path) -> None:
    """It was taken for one that a run found anew: its middle moved further than it is wide now."""
    window, other = LargeResult.open(folder), LargeResult.open(folder)
    part = Box(120, 180, 160, 208)
    other.replace_region(part, np.zeros(part.shape, np.int32))
    window.keep_said(each_named(window.cells, {3: "blast"}))
    assert LargeResult.open(folder).cells["class"].tolist() == ["", "", "blast", ""]


def test_what_is_said_while_changed_labels_are_measured_is_kept(folder: Path) -> None:
    """A run that took such labels into the table wrote it without what a window had said meanwhile."""
    changed(folder, Box(30, 40, 60, 70), 0)
    run, window = LargeResult.open(folder), LargeResult.open(folder)
    window.keep_said(each_named(window.cells, {3: "blast"}))
    run.keep()
    assert LargeResult.open(folder).cells.set_index("label")["class"].to_dict() == {2: "", 3: "blast", 4: ""}


def test_a_result_that_another_is_changing_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_wbcseg.segmentation.large.result._PATIENCE", 0)
    result = LargeResult.open(folder)
    with (
        locked(folder.parent / f".{folder.name}.lock", BusyError("Busy.")),
        pytest.raises(BusyError, match="is being changed or saved"),
    ):
        result.keep_said(result.cells)


def test_a_cell_drawn_as_it_was_has_the_stain_that_it_had(
    tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is looked at as the run did: its brightest value and light are not those of a part of it."""
    image = picture(TRUTH).astype(np.uint16) << 8
    known = segment_large(image, tmp_path / "slide", model, SETTINGS).cells
    result, window = LargeResult.open(tmp_path / "slide"), Box(30, 40, 60, 70)
    labels = result.region(window)
    for asked in ("background_colour", "bit_range"):
        monkeypatch.setattr(f"napari_wbcseg.images.pixel_source.{asked}", lambda _: pytest.fail("is read"))
    result.replace_region(window, np.zeros(window.shape, np.int32), image)
    result.replace_region(window, labels, image)
    stain = known["mean_stain"].tolist()
    assert result.cells["mean_stain"].tolist() == pytest.approx([*stain[1:], stain[0]])


def test_what_was_said_of_a_cell_stays_with_it_whoever_draws_in_it(folder: Path) -> None:
    result, image = LargeResult.open(folder), picture(TRUTH)
    said = result.cells.assign(**{"class": "lymphocyte", "class_by": "model", "p_lymphocyte": 0.9})
    result.keep_said(each_named(said, {2: "blast"}))
    told = ["class", "class_by", "class_probability", "p_lymphocyte", "certainty", "check"]
    areas = result.cells["area"]
    expected = result.cells.set_index("label")[told]
    for number in (1, 2):
        row, col = np.argwhere(number == TRUTH)[0].tolist()
        changed(folder, Box(row - 1, col, row, col + 1), number)
    changed(folder, Box(180, 20, 195, 40), 3)
    changed(folder, Box(140 - 13, 199 - 13, 140 + 13, 199 + 13), 0)  # another cell has its number
    result = LargeResult.open(folder)
    assert (result.cells["area"] - areas).tolist()[:2] == [1, 1]
    pd.testing.assert_frame_equal(result.cells.set_index("label")[told].drop(3), expected.drop(3))
    assert result.cells.set_index("label").loc[3, ["class", "class_by"]].tolist() == ["", ""]
    result.keep()
    result = LargeResult.open(folder)
    window = Box(20, 20, 90, 150)
    corrected = result.region(window)
    corrected[corrected == 2] = 0
    corrected[40:50, 102:114] = 2
    cells = result.replace_region(window, corrected, image).set_index("label")
    pd.testing.assert_frame_equal(cells[told].drop([2, 3]), expected.drop([2, 3]))
    assert (cells.at[2, "class"], cells.at[2, "mean_stain"] > 0.3) == ("blast", True), "cut, but there"


def test_classes_that_a_person_made_stay_where_those_of_other_cells_are_told_anew(folder: Path) -> None:
    result = LargeResult.open(folder)
    stone = CellClass("stone", "#123456", white_cell=False)
    result.keep_said(each_named(result.cells, {2: "stone"}), result.classes.added(stone))
    result.classify(picture(TRUTH), read_classifier(), "built-in")
    again = LargeResult.open(folder)
    assert again.cells.set_index("label").loc[2, ["class", "class_by"]].tolist() == ["stone", "person"]
    assert again.classes("stone") == stone


def test_what_nobody_said_of_the_first_cell_is_unknown(folder: Path) -> None:
    result, window = LargeResult.open(folder), Box(0, 0, 200, 300)
    result.replace_region(window, np.zeros(window.shape, np.int32))
    result.classify(picture(TRUTH), read_classifier(), "built-in")
    again = LargeResult.open(folder)
    again.replace_region(window, np.where(TRUTH == 1, 1, 0))
    said = again.cells[probability_columns(again.cells)]
    assert said.shape[1] > 1
    assert said.dtypes.eq(float).all()
    assert said.isna().all(axis=None)


def test_a_table_of_another_program_tells_nothing_in_the_columns_that_it_lacks(folder: Path) -> None:
    known = pd.read_csv(folder / "cells.csv")
    known[["label", "row", "col", "diameter", "certainty", "check"]].to_csv(folder / "cells.csv", index=False)
    result = LargeResult.open(folder)
    assert {*COLUMNS} <= {*result.cells}
    assert result.cells[["area", "pieces", "mean_stain"]].isna().all(axis=None)
    assert result.cells[["class", "touching"]].drop_duplicates().to_numpy().tolist() == [["", False]]
    result.replace_region(Box(30, 40, 60, 70), np.zeros((30, 30), np.int32))
    result.keep_said(each_named(result.cells, {2: "blast"}))
    again = LargeResult.open(folder).cells
    assert again["label"].tolist() == [2, 3, 4]
    assert again["class"].tolist() == ["blast", "", ""]


def test_labels_below_0_are_no_cells(folder: Path) -> None:
    result, window = LargeResult.open(folder), Box(0, 0, 100, 150)
    labels = result.region(window)
    result.replace_region(window, np.where(labels == 1, 0, labels - 1))
    assert np.array_equal(result.region(window), np.where(labels == 2, 1, 0))
    assert LargeResult.open(folder).cells["label"].tolist() == [1, 3, 4]


def test_a_correction_that_ended_before_the_table_was_written_is_taken_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, window = LargeResult.open(folder), Box(100, 100, 170, 240)
    with monkeypatch.context() as patch:
        patch.setattr(LargeResult, "_measure", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            result.replace_region(window, np.zeros(window.shape, np.int32))
    assert LargeResult.open(folder).cells["label"].tolist() == [1, 2, 4]


def test_a_correction_that_ended_right_after_the_table_was_written_is_known_for_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table fits the labels, so nothing told of it, and a run with other settings wrote over it."""
    result, window = LargeResult.open(folder), Box(100, 100, 170, 240)
    with monkeypatch.context() as patch:
        patch.setattr("napari_wbcseg.segmentation.large.result._table_state", lambda _: 1 / 0)
        patch.setattr(LargeResult, "_alone", lambda _: nullcontext())
        with pytest.raises(ZeroDivisionError):
            result.replace_region(window, np.zeros(window.shape, np.int32))
    LargeResult.open(folder).replace_region(window, np.zeros(window.shape, np.int32))
    again = LargeResult.open(folder)
    assert (again.cells["label"].tolist(), again.edited) == ([1, 2, 4], True)


def test_a_correction_that_failed_in_a_coarser_resolution_is_whole_when_it_is_put_back_again(
    tmp_path: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full resolution was as it should be by then, and so the others stayed as they were."""
    monkeypatch.setattr(pyramid, "_SMALLEST_LEVEL", 200)
    segment_large(picture(TRUTH), tmp_path / "slide", model, SETTINGS)
    window, write = Box(100, 100, 170, 240), zarr.Array.__setitem__

    def full(self: zarr.Array[Any], *given: Any) -> None:
        if self.basename == "1":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, *given)

    def put_back() -> LargeResult:
        result = LargeResult.open(tmp_path / "slide")
        result.replace_region(window, np.zeros(window.shape, np.int32))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(OutputError, match="No space left"):
            put_back()
    fine, coarse = map(np.asarray, put_back().labels.arrays)
    assert np.array_equal(coarse, fine[::2, ::2])


def test_labels_that_are_none_any_more_are_said(folder: Path) -> None:
    chunk = folder / "labels.zarr" / "0" / "0" / "0"
    chunk.write_bytes(b"no chunk")
    with pytest.raises(ImageError, match="changed by another program"):
        LargeResult.open(folder)


def test_cells_that_went_with_their_file_are_told_of(folder: Path, model: ModelFile) -> None:
    # By a copy that was cut short, perhaps: zarr takes what is missing for empty.
    (folder / "labels.zarr" / "0" / "2" / "4").unlink()
    result = LargeResult.open(folder)
    assert result.cells["label"].tolist() == [1, 2, 3]
    assert "labels.zarr are gone, and cells with them (4 before, 3 now)" in result.notes[-1]
    again = segment_large(picture(TRUTH), folder, model, SETTINGS)
    assert again.notes == result.notes == LargeResult.open(folder).notes


def test_labels_whose_folder_is_gone_are_not_read_as_no_cells(folder: Path, model: ModelFile) -> None:
    found = segment_large(picture(TRUTH), folder, model, SETTINGS)
    folder.rename(folder.with_name("elsewhere"))
    for read in (np.asarray, lambda labels: measure_labels(labels[...]), lambda labels: labels[3, 4]):
        with pytest.raises(ImageError, match=r"labels\.zarr, which was being read, is gone: put it back"):
            read(found.labels)
    folder.with_name("elsewhere").rename(folder)
    assert np.array_equal(np.asarray(found.labels), TRUTH)


def test_labels_in_other_chunks_are_measured(folder: Path) -> None:
    pyramid.Pyramid.create(folder / "labels.zarr", TRUTH.shape, np.uint16).arrays[0][:] = TRUTH * (TRUTH > 1)
    assert_is_of(LargeResult.open(folder).cells, TRUTH * (TRUTH > 1))


def test_labels_of_another_size_are_said(folder: Path) -> None:
    pyramid.Pyramid.create(folder / "labels.zarr", (50, 60), np.int32)
    with pytest.raises(ImageError, match="changed by another program"):
        LargeResult.open(folder)


def test_a_result_that_is_had_again_is_as_a_person_left_it(folder: Path, model: ModelFile) -> None:
    result = LargeResult.open(folder)
    result.keep_said(
        each_named(result.cells, {2: "stone"}), result.classes.added(CellClass("stone", "#123456"))
    )
    changed(folder, Box(30, 40, 60, 70), 0)
    again = segment_large(picture(TRUTH), folder, model, SETTINGS)
    assert (again.cells["label"].tolist(), again.edited) == ([2, 3, 4], True)
    assert again.classes("stone").colour == "#123456"
    assert LargeResult.open(folder).in_table


def test_a_result_has_one_table(folder: Path, model: ModelFile) -> None:
    pytest.importorskip("pyarrow")
    for kind in ("parquet", "csv", "parquet"):
        segment_large(picture(TRUTH), folder, model, SETTINGS, table=kind)
        assert [file.name for file in folder.glob("cells.*")] == [f"cells.{kind}"]
    window = Box(30, 40, 60, 70)
    LargeResult.open(folder).replace_region(window, np.zeros(window.shape, np.int32))
    assert segment_large(picture(TRUTH), folder, model, SETTINGS, table="parquet").count == 3
    assert len(pd.read_parquet(folder / "cells.parquet")) == 3


def test_other_files_of_the_name_of_the_table_are_a_users_own(folder: Path, model: ModelFile) -> None:
    """A copy made before corrections took these in, and what a spreadsheet saved went with another run."""
    mine = [folder / "cells.bak", folder / "cells.xlsx"]
    for file in mine:
        file.write_bytes((folder / "cells.csv").read_bytes())
    before = mine[0].read_bytes()
    segment_large(picture(TRUTH), folder, model, SETTINGS.replace(probability_threshold=0.6))
    result = LargeResult.open(folder)
    result.keep_said(each_named(result.cells, {2: "blast"}))
    assert pd.read_csv(folder / "cells.csv")["class"].eq("blast").sum() == 1
    assert [file.read_bytes() for file in mine] == [before] * 2
