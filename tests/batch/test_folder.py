"""A folder of results has an owner: what is another's is not overwritten, and one run writes at a time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from skimage.measure import label

from napari_wbcseg import SegmentationSettings, load_result, save, segment
from napari_wbcseg.batch.folder import BatchItem
from napari_wbcseg.batch.run import BatchResult, collect, segment_files
from napari_wbcseg.errors import OutputError
from napari_wbcseg.images import read
from napari_wbcseg.images.opened import OpenedImage
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.result import Segmentation

from ..dark_model import spots

PLACES = ((40, 40), (40, 110), (110, 60))


def write(folder: Path, cells: int, name: str = "0001.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(spots((150, 150), PLACES[:cells])[0]).save(folder / name)
    return folder


def run(folder: Path, out: Path, model: ModelFile, **options: Any) -> BatchResult:
    settings = SegmentationSettings(recipe="classic")
    return segment_files(collect([folder]), out, model, settings, **{"formats": (), **options})


def counted(out: Path) -> dict[str, int]:
    return pd.read_csv(out / "counts.csv").set_index("image")["count"].to_dict()


def test_files_of_one_name_from_two_folders_keep_both_results(tmp_path: Path, model: ModelFile) -> None:
    out = tmp_path / "out"
    run(write(tmp_path / "monday", 1), out, model)
    run(write(tmp_path / "tuesday", 2), out, model)
    assert load_result(out / "0001-result.json").count == 1
    assert load_result(out / "tuesday__0001-result.json").count == 2
    assert counted(out) == {"monday/0001.png": 1, "tuesday/0001.png": 2}, "the tables tell of both"
    run(tmp_path / "tuesday", out, model)
    assert counted(out) == {"monday/0001.png": 1, "tuesday/0001.png": 2}, "by the same names each time"
    assert len(pd.read_csv(out / "cells.csv")) == 3
    # Each keeps its name, whichever is done again.
    assert run(tmp_path / "monday", out, model).kept == 2
    assert run(tmp_path / "tuesday", out, model, again=True).kept == 1
    assert len(list(out.glob("*-result.json"))) == 2


@pytest.mark.parametrize("first", [False, True])
def test_an_image_called_as_a_plane_of_a_stack_has_its_own_pictures(
    tmp_path: Path, model: ModelFile, first: bool
) -> None:
    stack = np.stack([spots((150, 150), PLACES[:cells])[0] for cells in (2, 3)])
    folder = write(tmp_path / "in", 1, "s-plane-0.png")
    if first:  # it was there before the stack
        run(folder, tmp_path / "out", model, formats=("mask",))
    tifffile.imwrite(folder / "s.tif", stack, photometric="rgb")
    wanted = {"s-plane-0": 2, "s-plane-1": 3, "s-plane-0_png": 1}
    for _ in range(2):
        run(folder, tmp_path / "out", model, formats=("mask",))
        masks = {file.name: np.asarray(Image.open(file)) > 127 for file in (tmp_path / "out").glob("*.jpg")}
        found = {name.removesuffix("-mask.jpg"): label(mask).max() for name, mask in masks.items()}
        assert found == ({"s-plane-0": 1, "in__s-plane-0": 2, "in__s-plane-1": 3} if first else wanted)


def test_a_folder_of_nothing_but_results_is_said(tmp_path: Path, model: ModelFile) -> None:
    out = tmp_path / "out"
    run(write(tmp_path / "monday", 1), out, model, formats=("overlay",))
    (item,) = collect([out])
    assert item.problem.endswith(
        "out holds only what an earlier run wrote: give the images, or --settings with its run.json."
    )


def test_a_zarr_that_holds_its_image_is_one_where_it_is_named(tmp_path: Path) -> None:
    image, _ = spots((150, 150), PLACES)
    save(segment(image, "classic"), tmp_path / "scan", "ome-zarr", image=image)
    for given in (tmp_path, str(tmp_path / "*.zarr")):
        assert "an earlier run wrote" in collect([given])[0].problem
    assert not collect([tmp_path / "scan.ome.zarr"])[0].problem


def test_tables_call_an_image_alike_when_another_of_its_name_comes(tmp_path: Path, model: ModelFile) -> None:
    out = tmp_path / "out"
    for place in ("monday", "tuesday"):
        run(write(tmp_path / place, 1), out, model, formats=("csv",))
    tables = [pd.read_csv(file) for file in (out / "0001-cells.csv", out / "tuesday__0001-cells.csv")]
    assert [table["image"].tolist() for table in tables] == [["monday/0001.png"], ["tuesday/0001.png"]]
    shutil.rmtree(tmp_path / "tuesday")
    run(tmp_path / "monday", out, model, formats=("csv",))
    assert counted(out) == {"0001.png": 1}
    assert pd.read_csv(out / "0001-cells.csv")["image"].tolist() == ["0001.png"], "as before"


def test_without_the_record_of_the_run_each_result_says_whose_it_is(tmp_path: Path, model: ModelFile) -> None:
    out = tmp_path / "out"
    run(write(tmp_path / "monday", 1), out, model)
    for name in ("run.json", "counts.csv", "cells.csv", "report.html"):
        (out / name).unlink()
    assert run(tmp_path / "monday", out, model).kept == 1
    run(write(tmp_path / "tuesday", 2), out, model)
    assert load_result(out / "0001-result.json").count == 1


def test_cells_drawn_by_hand_are_not_replaced(tmp_path: Path, model: ModelFile) -> None:
    folder = write(tmp_path / "in", 1)
    labels = np.zeros((150, 150), np.int32)
    labels[5:9, 5:9] = 1
    save(Segmentation(labels, None), folder / "0001", "tiff", image_path=folder / "0001.png")
    tifffile.imwrite(write(tmp_path / "other", 1) / "0001-labels.tif", labels)
    for here in (folder, tmp_path / "other"):
        said = run(here, here, model).notices
        assert [len(said), *("but not counted: 0001." in one for one in said)] == (
            [1, True] if here == folder else [0]
        )
        np.testing.assert_array_equal(tifffile.imread(here / "0001-labels.tif"), labels)
        assert load_result(here / f"{here.name}__0001-result.json").count == 1


@pytest.mark.parametrize("name", ["counts.csv", "cells.csv", "report.html", "run.json"])
def test_a_table_of_the_users_own_is_not_overwritten(tmp_path: Path, model: ModelFile, name: str) -> None:
    folder = write(tmp_path / "in", 1)
    (folder / name).write_text("mine")
    with pytest.raises(OutputError, match=rf"holds a {name} that no run of this program wrote"):
        run(folder, folder, model)
    assert (folder / name).read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == sorted(["0001.png", name])


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path, model: ModelFile) -> None:
    folder, out = write(tmp_path / "in", 1), tmp_path / "out"
    refused: list[str] = []

    def at_once(item: BatchItem, row: dict[str, Any]) -> None:
        with pytest.raises(OutputError, match="Another run is writing into"):
            run(folder, out, model)
        refused.append(row["image"])

    assert run(folder, out, model, report=at_once).failed == 0
    assert refused == ["0001.png"]
    assert not (out / ".wbcseg.lock").exists()
    assert run(folder, out, model).kept == 1


def test_what_killed_runs_left_half_written_is_removed(tmp_path: Path, model: ModelFile) -> None:
    out = tmp_path / "out"
    (out / ".0001.ome.zarr.0123456789ab.old" / "0").mkdir(parents=True)
    for name in (".0001-labels.tif.0123456789ab.part", ".report.html.0123456789ab.part", ".mine.part"):
        (out / name).write_text("of a process that died")
    for path in out.rglob("*"):
        os.utime(path, (1, 1))
    (out / ".0002-labels.tif.0123456789ab.part").write_text("of a person who is saving")
    run(write(tmp_path / "in", 1), out, model)
    assert sorted(path.name for path in out.glob(".*")) == [
        ".0002-labels.tif.0123456789ab.part",
        ".mine.part",
    ]


def test_the_head_of_a_file_is_opened_once_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = BatchItem(write(tmp_path, 1) / "0001.png", "0001.png")
    opened, before = list[Path](), read.open_image

    def noting(path: Path) -> OpenedImage:
        opened.append(path)
        return before(path)

    monkeypatch.setattr(read, "open_image", noting)
    assert (item.large, item.pixels, opened) == (False, 150 * 150, [item.path])
