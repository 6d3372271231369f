"""`wbcseg segment` of what is too large to be read at once, alone and beside small images."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from ome_zarr.writer import write_image
from PIL import Image
from roifile import ImagejRoi

from napari_wbcseg.batch.run import renew_tables
from napari_wbcseg.box import Box
from napari_wbcseg.classification.classes import CellClass
from napari_wbcseg.classification.naming import each_named
from napari_wbcseg.results.records import ResultRecord
from napari_wbcseg.segmentation.large.result import LargeResult

from ..discs import CLASSES, write_taught
from ..drawings import disc_labels, picture, write_dark_robust_model
from .shell import wbcseg

TRUTH = disc_labels((200, 260), [(50, 60, 20), (140, 199, 21)])


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let small images count as large, and return what a network of hand-set weights asks for."""
    monkeypatch.setattr("napari_wbcseg.images.read.LARGE_PIXELS", 20_000)
    model = write_dark_robust_model(tmp_path / "dark.safetensors")
    return ["--cell-diameter", "20", "--no-split-touching", "-m", str(model.path)]


def write_slide(path: Path) -> None:
    """Write the image in the format of its ending, its pixels half a micrometre apart."""
    image = picture(TRUTH)
    if path.name.endswith(".ome.zarr"):
        write_image(
            np.moveaxis(image, -1, 0),
            zarr.open_group(str(path), mode="w"),
            axes=["c", "y", "x"],
            scale={"c": 1.0, "y": 0.5, "x": 0.5},
            axes_units={"y": "micrometer", "x": "micrometer"},
        )
    elif path.suffix == ".zarr":
        zarr.save_array(str(path), image)
    else:
        per_centimetre = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", **per_centimetre)


def segmented(folder: Path, *options: str) -> tuple[list[str | Path], LargeResult]:
    """Segment a slide in the shell, and return the command and what it found."""
    write_slide(folder / "slide.tif")
    command = ["segment", folder / "slide.tif", "-o", folder / "out", *options]
    wbcseg(*command)
    return command, LargeResult.open(folder / "out" / "slide-cells")


def remove_first_cell(result: LargeResult) -> None:
    """Correct a result, as a person does."""
    window = Box(0, 0, 100, 120)
    labels = result.region(window)
    result.replace_region(window, np.where(labels == 1, 0, labels))


@pytest.mark.parametrize("name", ["slide.tif", "slide.zarr", "slide.ome.zarr"])
def test_a_large_image_is_reported_like_a_small_one(name: str, options: list[str], tmp_path: Path) -> None:
    write_slide(tmp_path / name)
    out = tmp_path / "out"
    output = wbcseg("segment", tmp_path / name, "-o", out, "-f", "geojson", *options).output
    labels = zarr.open(str(out / "slide-cells" / "labels.zarr"), mode="r")["0"]
    assert np.array_equal(np.asarray(labels), TRUTH)
    row = pd.read_csv(out / "counts.csv").iloc[0]
    assert (row["image"], row["count"], row["width"], row["height"]) == (name, 2, 260, 200)
    cells = pd.read_csv(out / "cells.csv")
    assert list(cells["image"]) == [name, name]
    if name != "slide.zarr":  # a plain array does not tell how large a pixel is
        assert np.allclose(cells["area_um2"], cells["area"] / 4)
    outlined = json.loads((out / "slide.geojson").read_text(encoding="utf-8"))["features"]
    for feature, size in zip(outlined, np.bincount(TRUTH.ravel())[1:], strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        x, y = np.array(ring, float).T
        assert abs(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2 == size, "an outline holds the pixels of its cell"
    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/jpeg") >= 1
    assert str(out / "report.html") in output


def test_after_corrections_all_that_was_written_follows(options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command, result = segmented(tmp_path, "-f", "geojson,roi", *options)
    report = (out / "report.html").read_text(encoding="utf-8")
    remove_first_cell(result)
    wbcseg(*command)
    assert pd.read_csv(out / "counts.csv")["count"].tolist() == [1]
    assert pd.read_csv(out / "cells.csv")["label"].tolist() == [2]
    outlined = json.loads((out / "slide.geojson").read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["name"] for feature in outlined] == ["2"]
    (roi,) = ImagejRoi.fromfile(out / "slide-rois.zip")
    assert roi.name.startswith("cell-00002")
    assert ResultRecord.read(out / "slide-result.json").edited
    again = (out / "report.html").read_text(encoding="utf-8")
    picture = re.compile('<td class="image">.*?(data:image/jpeg[^"]*)', re.DOTALL)
    assert picture.search(again)[1] != picture.search(report)[1], "its picture is drawn anew"
    gallery = [text.count('<li title="slide') for text in (report, again)]
    assert gallery == [2, 1]


def test_a_copied_slide_is_known_again_with_its_corrections(options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command, result = segmented(tmp_path, *options)
    remove_first_cell(result)
    os.utime(tmp_path / "slide.tif", (1e9, 1e9))  # as a copy has it
    assert "Done before" in wbcseg(*command).output
    assert pd.read_csv(out / "counts.csv")["count"].tolist() == [1]
    pixels = {"tile": (64, 64), "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "slide.tif", picture(TRUTH)[::-1], **pixels)
    assert "Done before" not in wbcseg(*command).output


def test_labels_that_another_program_changed_are_what_counts(options: list[str], tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.tif")
    out = tmp_path / "out"
    command = ["segment", tmp_path / "slide.tif", "-o", out, "-f", "geojson,roi", *options]
    wbcseg(*command)
    shutil.copytree(out, tmp_path / "moved", copy_function=shutil.copyfile)  # not the times of the files
    assert not LargeResult.open(tmp_path / "moved" / "slide-cells").edited, "a copy is no change"
    labels = zarr.open_group(str(out / "slide-cells" / "labels.zarr"), mode="r+")["0"]
    labels[:, :130] = 0  # the first cell
    labels[20:50, 100:110] = 9
    edited = np.asarray(labels)
    assert "2 white cells" in wbcseg("differential", out).output
    renew_tables(out)
    cells = pd.read_csv(out / "cells.csv")
    assert cells["label"].tolist() == [2, 9]
    assert cells["area"].tolist() == [(TRUTH == 2).sum(), 300]
    assert cells["mean_stain"].notna().tolist() == [True, False]
    outlined = json.loads((out / "slide.geojson").read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["name"] for feature in outlined] == ["2", "9"]
    assert len(ImagejRoi.fromfile(out / "slide-rois.zip")) == 2
    record = ResultRecord.read(out / "slide-result.json")
    assert (record.count, record.edited) == (2, True)
    table = (out / "slide-cells" / "cells.csv").stat().st_mtime_ns
    assert "Done before, and not again: 1 image" in wbcseg(*command).output
    assert (out / "slide-cells" / "cells.csv").stat().st_mtime_ns == table, "measured once"
    labels[60, 0] = 9  # of a result that was corrected before
    assert wbcseg(*command, "--check-below", 0.9).exit_code == 0
    edited[60, 0] = 9
    assert np.array_equal(np.asarray(labels), edited), "other settings do not write over it"
    (other,) = set(out.glob("*-cells")) - {out / "slide-cells"}
    assert LargeResult.open(other).cells["label"].tolist() == [1, 2]
    wbcseg(*command)
    assert pd.read_csv(out / "cells.csv")["area"].tolist() == [(TRUTH == 2).sum(), 301]


def test_cells_that_went_with_a_file_are_not_missed_without_a_word(
    options: list[str], tmp_path: Path
) -> None:
    command, result = segmented(tmp_path, *options)
    (result.folder / "labels.zarr" / "0" / "0" / "0").unlink()
    for _ in range(2):
        output = wbcseg(*command).output
        assert "labels.zarr are gone, and cells with them (2 before, 0 now)" in " ".join(output.split())
    assert output.count("put it back") == 1


def test_tables_and_report_say_of_corrected_cells_what_the_differential_says(
    options: list[str], tmp_path: Path
) -> None:
    write_slide(tmp_path / "slide.tif")
    out = tmp_path / "out"
    wbcseg("segment", tmp_path / "slide.tif", "-o", out, "-f", "geojson", *options)
    result = LargeResult.open(out / "slide-cells")
    stone = CellClass("stone", "#123456", white_cell=False)
    result.keep_said(each_named(result.cells, {2: "stone"}), result.classes.added(stone))
    shutil.copytree(out, tmp_path / "moved", copy_function=shutil.copyfile)  # not the times of the files
    for folder in (out, tmp_path / "moved"):
        renew_tables(folder)
        assert "1 white cell (stone 1: no white cells)." in wbcseg("differential", folder).output
        row = pd.read_csv(folder / "counts.csv").iloc[0]
        assert (row["white_cells"], row["stone"]) == (1, 1)
        report = (folder / "report.html").read_text(encoding="utf-8")
        assert "<h1>1 white cell in 1 image</h1>" in report
        assert '<h3><i style="background: #123456"></i>stone</h3>' in report, "the gallery is drawn anew"
        assert "stone" in (folder / "slide.geojson").read_text(encoding="utf-8").lower()
        assert ResultRecord.read(folder / "slide-result.json").class_list("stone") == stone


def test_cells_that_a_person_named_are_not_written_over(options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command, result = segmented(tmp_path, *options)
    result.keep_said(each_named(result.cells, {2: "blast"}))
    wbcseg(*command, "--check-below", 0.9)
    assert LargeResult.open(out / "slide-cells").cells["class"].tolist()[1] == "blast"
    assert len(list(out.glob("*-cells"))) == 2


@pytest.mark.parametrize("more", [["--probability-threshold", "0.6"], ["--again"]])
def test_a_damaged_result_is_not_written_over(options: list[str], tmp_path: Path, more: list[str]) -> None:
    command, result = segmented(tmp_path, *options)
    remove_first_cell(result)
    table = result.folder / "cells.csv"
    table.write_text(table.read_text().replace(",", ";"))
    assert "damaged" in wbcseg(*command, status=1).output
    wbcseg(*command, *more)
    assert set(np.unique(zarr.open_array(result.folder / "labels.zarr" / "0", mode="r")[:])) == {0, 2}
    assert ";" in table.read_text()
    assert pd.read_csv(tmp_path / "out" / "counts.csv")["count"].tolist() == [2], "that of another name"


def test_a_folder_holds_large_and_small_images_and_bad_ones(options: list[str], tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "in" / "results"
    folder.mkdir()
    for name in ("a.ome.tif", "b.ome.zarr"):
        write_slide(folder / name)
    Image.fromarray(picture(TRUTH)[:100, :120]).save(folder / "small.png")
    (folder / "broken.svs").write_bytes((folder / "a.ome.tif").read_bytes()[:200])
    command = ["segment", folder, "-r", "-o", out, *options]
    output = wbcseg(*command, status=1).output
    assert "broken.svs" in output
    assert "Traceback" not in output
    counts = pd.read_csv(out / "counts.csv", index_col="image")["count"]
    assert counts[["a.ome.tif", "b.ome.zarr", "small.png"]].to_dict() == {
        "a.ome.tif": 2,
        "b.ome.zarr": 2,
        "small.png": 1,
    }
    (folder / "broken.svs").unlink()
    again = wbcseg(*command).output
    assert "3 images" in again, "what is done is kept, and results are no input"
    assert list(pd.read_csv(out / "counts.csv")["image"]) == list(counts.dropna().index)


def test_a_large_image_whose_result_is_gone_is_done_again(options: list[str], tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.tif")
    out = tmp_path / "out"
    for _ in range(2):
        assert "Done before" not in wbcseg("segment", tmp_path / "slide.tif", "-o", out, *options).output
        assert (out / "slide-cells" / "cells.csv").exists()
        shutil.rmtree(out / "slide-cells")


def test_classes_told_anew_are_those_that_segmenting_tells_and_all_that_was_written_follows(
    options: list[str], tmp_path: Path
) -> None:
    own = write_taught(tmp_path / "own.safetensors")
    write_slide(tmp_path / "slide.tif")
    out, other = tmp_path / "out", tmp_path / "other"
    command = ["segment", tmp_path / "slide.tif", "-f", "geojson,roi", *options]
    wbcseg(*command, "-o", out, "--classes", "none")
    wbcseg(*command, "-o", other, "--classes", own.path)
    told = LargeResult.open(other / "slide-cells").cells
    assert f"Classes told by {own.id}." in wbcseg("classify", out, "--classes", own.path).output
    again = LargeResult.open(out / "slide-cells")
    pd.testing.assert_frame_equal(again.cells[list(told)], told, rtol=1e-3, atol=1e-4)
    assert (again.classifier, again.classes("pink"), again.edited) == (own.id, CLASSES("pink"), False)
    for name in ("slide.geojson", "slide-rois.zip"):
        assert len((out / name).read_bytes()) == pytest.approx(len((other / name).read_bytes()), abs=60)
    columns = ["white_cells", "violet", "pink"]
    assert pd.read_csv(out / "counts.csv")[columns].equals(pd.read_csv(other / "counts.csv")[columns])
    assert "Done before, and not again: 1 image" in wbcseg(*command, "-o", out, "--classes", own.path).output
    again.keep_said(each_named(again.cells, {2: "blast"}))
    (tmp_path / "slide.tif").rename(tmp_path / "kept.tif")
    tifffile.imwrite(tmp_path / "slide.tif", picture(TRUTH)[::-1].copy(), tile=(64, 64), photometric="rgb")
    refused = wbcseg("classify", out, status=1).stderr
    assert "has changed since" in refused, "classes are not told of what another image shows there"
    (tmp_path / "kept.tif").replace(tmp_path / "slide.tif")
    wbcseg("classify", out)
    assert LargeResult.open(out / "slide-cells").cells["class"].tolist()[1] == "blast"
    assert "blast" in (out / "slide.geojson").read_text(encoding="utf-8").lower()


def test_a_corrected_part_brings_what_was_said_of_its_cells(options: list[str], tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.tif")
    wbcseg("segment", tmp_path / "slide.tif", "-o", tmp_path / "out", *options)
    result = LargeResult.open(tmp_path / "out" / "slide-cells")
    window = Box(0, 0, 100, 120)
    labels = result.region(window)
    labels[40:44, 60] = 0  # an outline that was corrected
    labels[80:90, 100:110] = 7  # and a cell that was missed
    said = each_named(pd.DataFrame({"label": [1, 7], "check": False}), {1: "blast", 7: "blast"})
    result.replace_region(window, labels, said=said)
    cells = LargeResult.open(tmp_path / "out" / "slide-cells").cells
    assert cells["label"].tolist() == [1, 2, 3], "the new one has a number that no other had"
    assert cells["class"].tolist()[::2] == ["blast", "blast"]
    assert cells["class_by"].tolist() == ["person", "model", "person"]
