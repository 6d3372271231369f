"""A picture that is twice in a folder: both count, and that is said."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from napari_wbcseg import SegmentationSettings, load_result, save
from napari_wbcseg.batch.run import BatchResult, collect, renew_tables, segment_files
from napari_wbcseg.network.model_file import ModelFile

from ..dark_model import spots


def run(tmp_path: Path, model: ModelFile) -> BatchResult:
    settings = SegmentationSettings(recipe="classic")
    return segment_files(collect([tmp_path / "in"]), tmp_path / "out", model, settings)


@pytest.mark.parametrize("doubt", [(), ("Is it one field? Count one plane.",)])
def test_pictures_of_which_a_person_saved_the_result_are_named_too(
    tmp_path: Path, model: ModelFile, doubt: tuple[str, ...]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.jpg"):
        Image.fromarray(spots((150, 150), ((40, 40),))[0]).save(tmp_path / "in" / name)
    run(tmp_path, model)
    file = tmp_path / "out" / "a_png-result.json"
    save(dataclasses.replace(load_result(file), notes=doubt), tmp_path / "out" / "a_png", "tiff")
    renew_tables(tmp_path / "out")
    assert "seem to be one picture" in (tmp_path / "out" / "report.html").read_text()
    assert pd.read_csv(tmp_path / "out" / "counts.csv")["notes"].str.contains("seem to be one picture").all()


def test_copies_of_a_file_are_named_whatever_they_are_called(tmp_path: Path, model: ModelFile) -> None:
    (tmp_path / "in").mkdir()
    content = io.BytesIO()
    Image.fromarray(spots((150, 150), ((40, 40),))[0]).save(content, "PNG")
    for name in ("1.png", "1.PNG", "2.png", "3.png"):
        (tmp_path / "in" / name).write_bytes(content.getvalue())
    (said,) = run(tmp_path, model).notices
    assert said.endswith(
        "2.png and 1 more seem to be one picture, whose cells count 4 times: leave all but one of them out."
    )


def test_the_two_endings_of_an_ome_tiff_are_one(tmp_path: Path, model: ModelFile) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.ome.tif"):
        Image.fromarray(spots((150, 150), ((40, 40),))[0]).save(tmp_path / "in" / name)
    (said,) = run(tmp_path, model).notices
    assert said.startswith("a.ome.tif and a.png seem to be one picture")


def test_pictures_of_one_name_and_different_shapes_are_two(tmp_path: Path, model: ModelFile) -> None:
    (tmp_path / "in").mkdir()
    for name, shape in (("a.png", (150, 150)), ("a.jpg", (150, 210))):
        Image.fromarray(spots(shape, ((40, 40),))[0]).save(tmp_path / "in" / name)
    assert run(tmp_path, model).notices == ()


@pytest.mark.filterwarnings("error")
def test_a_picture_of_one_pixel_is_like_none(tmp_path: Path, model: ModelFile) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.bmp"):
        Image.new("RGB", (1, 1)).save(tmp_path / "in" / name)
    assert run(tmp_path, model).notices == ()


def test_only_what_has_one_name_and_looks_alike_is_named(tmp_path: Path, model: ModelFile) -> None:
    (tmp_path / "in").mkdir()
    pictures = [Image.fromarray(spots((150, 150), (centre,))[0]) for centre in ((40, 40), (100, 110))]
    for name, picture in {
        "same.png": 0,
        "same.jpg": 0,
        "other.png": 0,
        "other.jpg": 1,
        "alone.png": 0,
    }.items():
        pictures[picture].save(tmp_path / "in" / name, dpi=(len(name), ord(name[0])))  # no copies
    found = run(tmp_path, model)
    said = "same.jpg and same.png seem to be one picture, whose cells count twice: leave one of them out."
    assert found.notices == (said,)
    counts = pd.read_csv(tmp_path / "out" / "counts.csv").set_index("image")
    assert counts["white_cells"].tolist() == [1] * 5, "none is left out"
    notes = counts["notes"].fillna("")
    assert list(notes.index[notes.str.contains(said, regex=False)]) == ["same.jpg", "same.png"]
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert run(tmp_path, model).notices == (said,), "also where all was done before"
