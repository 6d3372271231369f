"""The report: one file that shows every image, what was found in it, and what to check."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_wbcseg import Segmentation, SegmentationSettings
from napari_wbcseg.batch.report import Gallery, add_to_gallery, report_pictures, write_report
from napari_wbcseg.batch.run import collect, segment_files
from napari_wbcseg.classification.differential import differential
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.results.formats.pictures import CELL_COLOUR, CHECK_COLOUR
from napari_wbcseg.results.records import CellPicture, RunRecord

from ..dark_model import spots
from ..discs import PINK, VIOLET, discs, write_taught
from .folders import write_images


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return where a picture has about a colour; JPEG blurs it."""
    return (np.abs(picture.astype(int) - colour) < 70).all(axis=2)


def found(labels: np.ndarray, check: list[bool]) -> Segmentation:
    centres = [np.argwhere(labels == i + 1).mean(axis=0) for i in range(len(check))]
    cells = pd.DataFrame(
        {
            "label": range(1, len(check) + 1),
            "row": [c[0] for c in centres],
            "col": [c[1] for c in centres],
            "diameter": 40.0,
            "certainty": np.linspace(0.3, 0.6, len(check)),
            "check": check,
        }
    )
    none = np.zeros((0, 4), np.int64)
    return Segmentation(labels, cells, labels.astype(np.float32), none, SegmentationSettings(), "m@1")


def cells_of_gallery(text: str) -> list[tuple[str, str, str]]:
    """Return of each cell of a report's gallery which it is, its class, and its JPEG."""
    pattern = r'<li title="([^"]+)"><img src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)"'
    return [(which, name, jpeg) for which, jpeg, name in re.findall(pattern, text)]


class TestPictures:
    def test_the_image_is_shown_with_its_cells_and_those_to_check(self) -> None:
        image, labels = spots((600, 800), ((150, 200), (400, 600)))
        whole, cell = report_pictures(image, found(labels, [False, True]))["pictures"]
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(whole.jpeg))))
        assert picture.shape == (270, 360, 3)
        zoom = 360 / 800
        for colour, (row, col) in ((CELL_COLOUR, (150, 200)), (CHECK_COLOUR, (400, 600))):
            rows, cols = np.nonzero(near(picture, colour))
            assert (rows.mean(), cols.mean()) == pytest.approx((row * zoom, col * zoom), abs=2)
        assert cell.caption == "2, 0.60"
        assert near(np.asarray(Image.open(io.BytesIO(base64.b64decode(cell.jpeg)))), CHECK_COLOUR).any()

    def test_of_a_table_that_says_not_what_to_check_the_image_alone(self) -> None:
        image, labels = spots((600, 800), ((150, 200), (400, 600)))
        told = found(labels, [True, True])
        for cells in (told.cells.drop(columns="check"), told.cells.assign(check=[np.nan, np.nan])):
            assert len(report_pictures(image, replace(told, cells=cells))["pictures"]) == 1

    def test_cells_at_the_edge_and_images_of_a_few_pixels_are_shown_too(self) -> None:
        image, labels = spots((40, 1200), ((0, 0), (39, 1199)))
        assert len(report_pictures(image, found(labels, [True, True]))["pictures"]) == 3
        tiny = np.zeros((1, 1), np.int32)
        assert len(report_pictures(np.full((1, 1), 200, np.uint16), found(tiny, []))["pictures"]) == 1

    def test_a_cell_of_which_nobody_said_it_is_not_to_check(self) -> None:
        image, labels = spots((600, 800), ((150, 200), (400, 600)))
        result = found(labels, [False, True])
        for check, shown in (([np.nan, True], 1), ([np.nan, np.nan], 0)):
            cells = result.cells.assign(check=np.array(check, object))
            pictures = report_pictures(image, dataclasses.replace(result, cells=cells))["pictures"]
            assert len(pictures) == 1 + shown
        cells = result.cells.drop(columns=["check", "certainty"])
        assert len(report_pictures(image, dataclasses.replace(result, cells=cells))["pictures"]) == 1

    def test_of_a_stack_the_plane_with_most_cells(self) -> None:
        image, labels = spots((100, 100), ((50, 50),))
        result = found(labels, [True])
        stack = Segmentation(
            np.stack([np.zeros_like(labels), labels]),
            result.cells.assign(plane=1),
            *(result.probability, result.proposals, result.settings, result.model),
        )
        pictures = report_pictures(np.stack([image, image]), stack)["pictures"]
        assert [picture.caption for picture in pictures] == ["plane 1 of 0 to 1", "1, 0.30"]
        # Full brightness is that of the stack, as for the count: plane 1 is a quarter as bright as plane 0.
        uneven = np.stack([image.astype(np.uint16) * 16, image.astype(np.uint16) * 4])
        shown = report_pictures(uneven, stack)["pictures"][0]
        assert np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.jpeg)))).mean() < 0.35 * image.mean()


def test_the_report_of_a_run(tmp_path: Path, model: ModelFile) -> None:
    write_images(tmp_path / "in", 4, bad=[1])
    name = "<i> & 50% #2.png" if Path("/").anchor == "/" else "50% #2.png"
    Image.fromarray(spots()[0]).save(tmp_path / "in" / name)
    settings = SegmentationSettings(recipe="classic", min_area=600)
    segment_files(collect([tmp_path / "in"]), tmp_path / "out", model, settings)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    outside = [link for link in re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", text) if "data:" not in link]
    assert "http" not in text
    for link in outside:  # nothing but the overlays beside it
        from urllib.parse import unquote

        assert (tmp_path / "out" / unquote(link)).is_file()
    assert len(outside) == 4
    for picture in re.findall(r"base64,([^\"]+)", text):
        Image.open(io.BytesIO(base64.b64decode(picture))).verify()
    assert "<i>" not in text
    assert "<h1>7 white cells in 4 images, 1 failed</h1>" in text
    assert "min area 600" in text
    assert re.search(r"<td class=\"bad\">[^<]*0001\.png cannot be read", text)

    record = RunRecord.read(tmp_path / "out" / "run.json")
    inputs = [
        one.model_copy(update={"status": "pending"}) if i == 0 else one for i, one in enumerate(record.inputs)
    ]
    stopped = record.model_copy(update={"finished": False, "inputs": inputs})
    gallery = {name: [("a.png", CellPicture(name, "", 1, 0.95))] for name in ("lymphocyte", "unsure")}
    write_report(tmp_path / "report.html", stopped, [], differential(pd.DataFrame({"class": []})), gallery)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 of 5 images is missing" in text
    assert text.count("95 %") == 1, "no cell is unsure by 95 %: it is what that is of something else"


def test_the_report_shows_differential_gallery_and_what_told_the_classes(
    tmp_path: Path, model: ModelFile
) -> None:
    classifier = write_taught(tmp_path / "own.safetensors")
    (tmp_path / "in").mkdir()
    Image.fromarray(discs((PINK, VIOLET, VIOLET))[0]).save(tmp_path / "in" / "a.png")
    settings = SegmentationSettings(
        recipe="classic", grey_threshold=130, probability_threshold=0.4, classes=str(classifier.path)
    )
    segment_files(collect([tmp_path / "in"]), tmp_path / "out", model, settings, formats=())
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"classes {classifier.id}" in text
    assert "<h1>2 white cells in 1 image</h1>" in text, "a pink one is none"
    assert 'data-name="white cells">2<' in text
    (table,) = re.findall(r'<table class="differential">(.*?)</table>', text, re.DOTALL)
    rows = [re.sub(r"^[^>]*>|<[^>]+>", " ", row).split() for row in table.split("<tr")[2:]]
    assert ["violet", "2", "100.0", "34.2", "to", "100.0"] in rows
    assert ["pink,", "no", "white", "cell", "1", "50.0", "per", "100"] in rows
    assert table.count("#112233") == 2, "the colour of the class, before its name and in its bar"
    gallery = cells_of_gallery(text)
    assert [name for _, name, _ in gallery] == ["violet", "violet", "pink"], (
        "as the differential has the classes"
    )
    for (_, _, jpeg), colour in zip(gallery, (VIOLET, VIOLET, PINK), strict=True):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(jpeg)))).astype(float)
        near = np.abs(picture - colour).max(axis=2) < 12  # the disc around its core
        assert near.mean() > 0.1


def jpeg(picture: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))


def test_of_many_cells_the_least_sure_are_shown_first() -> None:
    image, labels = spots((300, 900), [(row, col) for row in (60, 200) for col in range(60, 900, 120)])
    result = found(labels, [True] * 14)
    numbers = [str(number) for number in range(14, 2, -1)]
    cells = result.cells.assign(certainty=np.linspace(0.6, 0.3, 14), **{"class": "monocyte"})
    cells["class_probability"] = cells["certainty"]
    shown = report_pictures(image, replace(result, cells=cells))
    assert [picture.caption.split(",")[0] for picture in shown["pictures"][1:]] == numbers
    assert [str(picture.label) for picture in shown["gallery"]] == numbers


def test_cells_of_the_gallery_are_shown_at_one_scale_from_their_own_plane() -> None:
    image, labels = spots((100, 100), ((50, 50),))
    one = found(labels, [False])
    one = replace(one, cells=one.cells.assign(**{"class": "monocyte"}))
    alone, among_larger = (
        jpeg(report_pictures(image, replace(one, cell_diameter=size))["gallery"][0].jpeg)
        for size in (None, 80.0)
    )
    assert near(alone, (60, 60, 60)).mean() > 2 * near(among_larger, (60, 60, 60)).mean() > 0
    stack = replace(one, labels=np.stack([labels * 0, labels]), cells=one.cells.assign(plane=1))
    (shown,) = report_pictures(np.stack([np.full_like(image, 255), image]), stack)["gallery"]
    np.testing.assert_array_equal(jpeg(shown.jpeg), alone)


class TestGallery:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> SegmentationSettings:
        classifier = write_taught(tmp_path / "own.safetensors")
        return SegmentationSettings(
            recipe="classic", grey_threshold=130, probability_threshold=0.4, classes=str(classifier.path)
        )

    def test_it_is_of_all_images_also_of_those_that_an_earlier_run_did(
        self, tmp_path: Path, model: ModelFile, settings: SegmentationSettings
    ) -> None:
        (tmp_path / "in").mkdir()
        for name, colours in (("a.png", (PINK, VIOLET)), ("b.png", (VIOLET, PINK))):
            Image.fromarray(discs(colours)[0]).save(tmp_path / "in" / name)
            done = segment_files(collect([tmp_path / "in"]), tmp_path / "out", model, settings)
        assert done.kept == 1
        text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        gallery = [(name, which) for which, name, _ in cells_of_gallery(text)]
        assert sorted(gallery) == [
            *[("pink", "a.png, cell 1"), ("pink", "b.png, cell 2")],
            *[("violet", "a.png, cell 2"), ("violet", "b.png, cell 1")],
        ]

    def test_it_keeps_the_least_sure_of_a_class_and_says_how_many(self) -> None:
        gallery = Gallery()
        for image in range(10):
            cells = [
                CellPicture("violet", "", label, 0.5 + label / 100 + image / 1000) for label in range(12)
            ]
            add_to_gallery(gallery, f"{image}.png", cells)
        add_to_gallery(gallery, "last.png", [CellPicture("pink", "", 1, 1.0)])
        shown = [(image, cell.label) for image, cell in gallery["violet"]]
        assert shown == [(f"{image}.png", label) for label in range(4) for image in range(10)][:36]
        assert [image for image, _ in gallery["pink"]] == ["last.png"]
