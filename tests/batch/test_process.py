"""What one file causes is that file's row in the table, whatever it is; the rest goes on."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wbcseg import SegmentationSettings, load_result, save
from napari_wbcseg.batch import process as process_module
from napari_wbcseg.batch.classify import classify_results
from napari_wbcseg.batch.run import collect, renew_tables, segment_files
from napari_wbcseg.images.read import LargeImage
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.results.formats.registry import FORMATS
from napari_wbcseg.results.records import ResultRecord
from napari_wbcseg.segmentation.large.result import LargeResult
from napari_wbcseg.segmentation.result import Segmentation

from ..dark_model import spots

IMAGE = spots((150, 150), ((40, 40),))[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(IMAGE).save(folder / "good.png")
    return folder


def table(folder: Path, model: ModelFile, **options: Any) -> pd.DataFrame:
    out = folder.with_name("out")
    items = collect([folder], **options)
    segment_files(items, out, model, SegmentationSettings(recipe="classic"), formats=())
    counts = pd.read_csv(out / "counts.csv", index_col="image")
    assert counts.loc["good.png", "count"] == 1, "the others are done"
    return counts


def test_damaged_tiffs(folder: Path, model: ModelFile) -> None:
    tifffile.imwrite(folder / "whole.tif", IMAGE, photometric="rgb")
    content = (folder / "whole.tif").read_bytes()
    # Tags of the first page, each with a number that it cannot have; tifffile raises what it may.
    (place,) = struct.unpack("<I", content[4:8])
    (tags,) = struct.unpack("<H", content[place : place + 2])
    for tag in range(tags):
        for value in (0, 0xFFFFFFFF):
            where = place + 2 + 12 * tag + 8
            bad = content[:where] + struct.pack("<I", value) + content[where + 4 :]
            (folder / f"{tag:02}-{value:x}.tif").write_bytes(bad)
    counts = table(folder, model)
    assert len(counts) == 2 + 2 * tags
    failed = counts[counts["status"] == "failed"]
    assert len(failed) >= 5
    assert all(name in error for name, error in failed["error"].items())


def test_names_as_long_as_the_disk_allows(folder: Path, model: ModelFile) -> None:
    for end in ("1", "2"):
        Image.fromarray(IMAGE).save(folder / f"{'n' * 246}-{end}.png")
    counts = table(folder, model)
    assert counts["count"].tolist() == [1, 1, 1]
    assert len(list(folder.with_name("out").glob("*-result.json"))) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text(folder: Path, model: ModelFile) -> None:
    os.rename(saved(folder / "a.png"), os.fsencode(folder) + b"/caf\xe9.png")
    counts = table(folder, model)
    (bad,) = [name for name in counts.index if name != "good.png"]
    assert "is no text (UTF-8): rename it" in counts.loc[bad, "error"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have UTF-8 names whatever the locale")
def test_a_locale_in_which_names_are_no_text(folder: Path, model: ModelFile) -> None:
    saved(folder / "café.png")
    locale = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "napari_wbcseg", "segment", folder, "-o", folder.parent / "out"]
    done = subprocess.run(
        [*command, "-m", model.path], env=locale, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "set PYTHONUTF8=1, as Python takes it for ascii" in done.stderr
    assert "good.png" in done.stdout


def test_links_to_themselves(folder: Path, model: ModelFile) -> None:
    loop = folder / "loop.png"
    loop.symlink_to(loop)
    (folder / "gone.png").symlink_to(folder / "not there.png")
    (folder / "self").symlink_to(folder)
    for options in ({}, {"recursive": True}):
        counts = table(folder, model, **options)
        errors = " ".join(counts["error"].dropna())
        assert f"{loop} cannot be opened: Too many levels" in errors
        assert f"There is no file {folder / 'gone.png'}; check the name." in errors
        assert len(counts) == 3


@pytest.mark.skipif(os.name != "posix", reason="other systems protect folders otherwise")
def test_a_folder_in_the_folder_that_cannot_be_read(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o000)
    program = """
import os, sys
from napari_wbcseg.batch.run import collect
from napari_wbcseg.images import read
if os.geteuid() == 0:
    os.seteuid(65534)  # whom folders are closed to
for item in collect([sys.argv[1]], recursive=True):
    print(item.path.name, item.problem, sep="|")
"""
    for path in (folder, *folder.parents):
        if Path(tempfile.gettempdir()) in path.parents:
            path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, folder], capture_output=True, text=True, check=False
    )
    closed.chmod(0o755)
    assert done.stdout.splitlines() == [
        "good.png|",
        f"closed|{closed} cannot be looked into: Permission denied.",
    ], done.stderr


def test_an_image_replaced_while_it_is_read(
    folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(IMAGE).save(folder / "moving.png")
    real = Image.open

    def replaced(file: Any, *arguments: Any, **options: Any) -> Image.Image:
        image = real(file, *arguments, **options)
        image.load()
        if (folder / "moving.png").read_bytes() == Path(getattr(image, "filename", "") or file).read_bytes():
            Image.fromarray(IMAGE[::-1].copy()).save(folder / "new.bin", "PNG")
            os.replace(folder / "new.bin", folder / "moving.png")
        return image

    monkeypatch.setattr(Image, "open", replaced)
    counts = table(folder, model)
    assert "was changed while it was read" in counts.loc["moving.png", "error"]
    assert not (folder.with_name("out") / "moving-result.json").exists()


def test_a_slide_replaced_while_it_is_segmented_is_done_again(
    folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, real = folder / "slide.zarr", process_module.segment_large
    zarr.save_array(str(slide), IMAGE)

    def replaced(*arguments: Any, **options: Any) -> Segmentation:
        found = real(*arguments, **options)
        shutil.rmtree(slide)
        zarr.save_array(str(slide), spots((150, 150), ((40, 40), (110, 110)))[0])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(process_module, "segment_large", replaced)
        assert table(folder, model).loc["slide.zarr", "count"] == 1
    assert table(folder, model).loc["slide.zarr", "count"] == 2


@pytest.mark.parametrize("again", [True, False])
def test_what_is_corrected_in_a_slide_while_it_waits_for_its_turn_is_kept(
    folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """With --again it was lost with its folder, without it with its record."""
    zarr.save_array(str(folder / "slide.zarr"), IMAGE)
    table(folder, model)
    record, large = (folder.with_name("out") / f"slide-{name}" for name in ("result.json", "cells"))
    real = process_module.open_large

    def corrected(path: Path) -> LargeImage:
        result = LargeResult.open(large)
        result.keep_said(result.cells.assign(**{"class": "blast", "class_by": "person"}))
        return real(path)

    monkeypatch.setattr(process_module, "open_large", corrected)
    settings = SegmentationSettings(recipe="classic", cell_diameter=None if again else 30)
    result = segment_files(collect([folder]), record.parent, model, settings, again=again)
    assert "was corrected while this run was under way" in result.rows[1]["error"]
    assert LargeResult.open(large).cells["class"].tolist() == ["blast"]
    assert record.exists()


def test_corrections_of_a_slide_whose_record_is_damaged_are_kept(folder: Path, model: ModelFile) -> None:
    """A run with --again removed them with their folder."""
    zarr.save_array(str(folder / "slide.zarr"), IMAGE)
    table(folder, model)
    out = folder.with_name("out")
    large = LargeResult.open(out / "slide-cells")
    large.keep_said(large.cells.assign(**{"class": "blast", "class_by": "person"}))
    (out / "slide-result.json").write_text("{")
    segment_files(collect([folder]), out, model, SegmentationSettings(recipe="classic"), again=True)
    assert LargeResult.open(out / "slide-cells").cells["class"].tolist() == ["blast"]


def test_of_a_small_image_nothing_is_left_where_a_large_one_took_its_place(
    folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report showed the outlines of the small one."""
    monkeypatch.setattr("napari_wbcseg.images.read.LARGE_PIXELS", 20_000)
    formats, out = ("csv", "ome-zarr", "geojson", "overlay", "mask"), folder.with_name("out")
    beside = "-cells.csv", "-labels.tif", ".ome.zarr", "-overlay.png", "-mask.jpg"
    small, large = (spots((side, side), ((40, 40),))[0] for side in (100, 150))
    for image, kept in ((small, True), (large, False)):
        tifffile.imwrite(folder / "a.tif", image, photometric="rgb", tile=(16, 16))
        items = [item for item in collect([folder]) if item.image == "a.tif"]
        segment_files(items, out, model, SegmentationSettings(recipe="classic"), formats=formats)
        assert [(out / f"a{suffix}").exists() for suffix in beside] == [kept] * len(beside)
        assert (out / "a.geojson").exists()
    assert "a-overlay" not in (out / "report.html").read_text()


def test_a_result_that_was_corrected_stays_one_of_the_version_that_made_it(
    folder: Path, model: ModelFile
) -> None:
    table(folder, model)
    out = folder.with_name("out")
    file, labels = out / "good-result.json", tifffile.imread(out / "good-labels.tif")
    made = ResultRecord.read(file)
    made.versions["napari-wbcseg"] = "0.0.1"
    made.write(file)
    labels[labels > 0] = 7
    tifffile.imwrite(out / "good-labels.tif", labels)
    renew_tables(out)
    now = ResultRecord.read(file)
    assert (now.edited, now.cells["label"]) == (True, [7])
    assert (now.versions, now.created, now.seconds) == (made.versions, made.created, made.seconds)


@pytest.mark.parametrize("follow", [renew_tables, classify_results])
def test_in_a_corrected_stack_each_number_of_the_tables_is_one_cell_of_the_labels(
    folder: Path, model: ModelFile, follow: Callable[[Path], object]
) -> None:
    tifffile.imwrite(folder / "stack.tif", np.stack([IMAGE] * 2), photometric="rgb")
    table(folder, model)
    out = folder.with_name("out")
    labels = tifffile.imread(out / "stack-labels.tif")
    labels[1, :9, :9] = labels[0].max()  # another program counts in each plane anew
    tifffile.imwrite(out / "stack-labels.tif", labels)
    follow(out)
    cells = pd.read_csv(out / "cells.csv").query("image == 'stack.tif'")
    labels = tifffile.imread(out / "stack-labels.tif")
    assert len(cells) == 3
    for plane, label, area in cells[["plane", "label", "area"]].to_numpy(int):
        assert np.count_nonzero(labels[plane] == label) == np.count_nonzero(labels == label) == area


def test_cells_of_other_pictures_of_a_file_than_are_read_are_not_looked_at_in_these(
    folder: Path, model: ModelFile
) -> None:
    """Of two images napari opens the first, here the larger is read; an animation is a stack in napari."""
    large, labels = spots((300, 400), ((100, 100),))
    with tifffile.TiffWriter(folder / "two.tif") as file:
        for image in (IMAGE, large):
            file.write(image, photometric="rgb")
    first, second = (Image.fromarray(one) for one in (IMAGE, IMAGE[::-1]))
    first.save(folder / "moving.gif", save_all=True, append_images=[second])
    table(folder, model)
    out = folder.with_name("out")
    for name, shape in (("two", (150, 150)), ("moving", (2, 150, 150))):
        found = load_result(out / f"{name}-result.json")
        labels = np.zeros(shape, np.int32)
        labels[..., 30:50, 30:50] = 1
        save(dataclasses.replace(found, labels=labels, place=None), out / name, "tiff")
    renew_tables(out)
    records = [ResultRecord.read(out / f"{name}-result.json") for name in ("two", "moving", "good")]
    assert [bool(record.pictures) for record in records] == [False, False, True]
    done, problems = classify_results(out)
    assert done == [out / "good-result.json"]
    assert all("give the image that the labels lie on" in problem for problem in problems)
    counts = table(folder, model)
    assert counts.loc[["two.tif", "moving.gif"], ["count", "width"]].to_numpy().tolist() == [
        [1, 400],
        [1, 150],
    ]
    assert load_result(out / "moving-result.json").labels.ndim == 3, "a person's work stays"


def test_a_stack_has_a_picture_a_plane(folder: Path, model: ModelFile) -> None:
    def run() -> int:
        items, settings = collect([folder]), SegmentationSettings(recipe="classic")
        return segment_files(items, out, model, settings, formats=("overlay", "mask")).kept

    tifffile.imwrite(folder / "stack.tif", np.stack([IMAGE] * 2), photometric="rgb")
    out = folder.with_name("out")
    files = [out / f"stack-plane-{plane}-{kind}" for kind in ("overlay.png", "mask.jpg") for plane in (0, 1)]
    run()
    assert sorted(out.glob("stack-plane*")) == sorted(files)
    assert 'href="stack-plane-0-overlay.png"' in (out / "report.html").read_text()
    assert "picture" not in pd.read_csv(out / "counts.csv", index_col="image").loc["stack.tif", "notes"]
    assert run() == 2
    files[0].unlink()
    assert (run(), files[0].exists()) == (1, True), "what is missing is drawn"
    labels = tifffile.imread(out / "stack-labels.tif")
    tifffile.imwrite(out / "stack-labels.tif", labels * 0)
    (folder / "stack.tif").unlink()
    renew_tables(out)
    assert [file.exists() for file in files] == [False, False, True, True], "rather none than of other cells"


def saved(path: Path) -> Path:
    Image.fromarray(IMAGE).save(path)
    return path


def test_a_result_that_is_too_large_for_memory_is_written(
    folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline._IN_MEMORY", IMAGE.shape[0] ** 2 - 1)
    tifffile.imwrite(folder / "stack.tif", np.stack([IMAGE, IMAGE[::-1]]), photometric="rgb")
    assert table(folder, model).loc["stack.tif", "count"] == 2
    assert np.unique(tifffile.imread(folder.with_name("out") / "stack-labels.tif")).tolist() == [0, 1, 2]


def test_a_format_that_ends_before_an_image_does_is_left_out_aloud(
    folder: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "roi", dataclasses.replace(FORMATS["roi"], most_side=100))
    zarr.save_array(str(folder / "slide.zarr"), IMAGE)
    for kept in (0, 2):
        done = segment_files(
            collect([folder]),
            folder.with_name("out"),
            model,
            SegmentationSettings(recipe="classic"),
            formats=("roi", "geojson"),
        )
        assert (done.failed, done.kept) == (0, kept)
        assert all("Not written for it: roi." in row["notes"] for row in done.rows)
    assert len(list(folder.with_name("out").glob("*.geojson"))) == 2
