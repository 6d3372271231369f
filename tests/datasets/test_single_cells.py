"""Pictures of one cell with its class, and pictures without a white cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.single_cells import (
    KEPT_ASIDE,
    WITHOUT_CELLS,
    is_single_cells,
    read_classes,
    read_single_cells,
    read_without_cells,
    red_cell_diameter,
)
from napari_wbcseg.errors import DatasetError
from napari_wbcseg.images.illumination import normalised
from napari_wbcseg.synthetic.smear import synthetic_smear

ROWS, COLS = np.mgrid[:120, :120]


def picture(radius: float, colour: tuple[int, int, int] = (90, 50, 150)) -> np.ndarray:
    image = np.full((120, 120, 3), 235, np.uint8)
    image[np.hypot(ROWS - 60, COLS - 60) < radius] = colour
    return image


def outline(image: np.ndarray, diameter: float) -> np.ndarray:
    """Label what is dark, as a model would."""
    assert diameter == pytest.approx(0.37 * 120)
    return (image[..., 0] < 150).astype(np.int32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = []
    for kind, radius in (("lymphocyte", 20), ("erythroblast", 18), ("platelet", 9)):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for number in range(6):
            name = f"{kind}/{number}.png"
            Image.fromarray(picture(radius)).save(tmp_path / "images" / name)
            rows.append({"image": name, "class": kind})
    pd.DataFrame(rows).to_csv(tmp_path / "classes.csv", index=False)
    return tmp_path


def test_a_fifth_of_each_class_is_kept_aside(folder: Path) -> None:
    table = read_classes(folder)
    assert is_single_cells(folder)
    assert table.groupby("class")["held_out"].sum().to_dict() == {
        "erythroblast": 1,
        "lymphocyte": 1,
        "platelet": 1,
    }
    assert KEPT_ASIDE == 5


def test_a_class_may_be_called_as_nothing_is(folder: Path) -> None:
    table = pd.read_csv(folder / "classes.csv").replace("lymphocyte", "NA")
    table.to_csv(folder / "classes.csv", index=False)
    assert {pair.group for pair in read_single_cells(folder, outline)} >= {"class-NA"}


def test_each_cell_is_outlined(folder: Path) -> None:
    pairs = read_single_cells(folder, outline)
    assert len(pairs) == 15
    by_group = {pair.group: pair for pair in pairs}
    assert by_group["class-lymphocyte"].labels[60, 60] == 1
    assert by_group["class-erythroblast"].labels[60, 60] == 1


def test_a_platelet_is_boxed_and_no_cell(folder: Path) -> None:
    pair = next(p for p in read_single_cells(folder, outline) if p.group == "class-platelet")
    assert not pair.labels.any()
    ((r0, c0, r1, c1),) = pair.platelets
    assert pair.look_alikes == pair.platelets, "a training looks there often"
    assert (r0 + r1) / 2 == pytest.approx(60, abs=2)
    assert c1 - c0 == pytest.approx(18, abs=5)


def test_a_cell_too_small_for_the_outliner_is_looked_for_as_one(folder: Path) -> None:
    asked = []

    def of_small(image: np.ndarray, diameter: float) -> np.ndarray:
        asked.append(diameter / max(image.shape[:2]))
        labels = np.zeros(image.shape[:2], np.int32)
        labels[:10, :10] = 1
        if asked[-1] < 0.3:
            labels[50:70, 50:70] = 2
        return labels

    cells = [pair for pair in read_single_cells(folder, of_small) if pair.group != "class-platelet"]
    assert len(cells) == 10
    assert set(np.round(asked, 2)) == {0.37, 0.22}
    for pair in cells:
        assert pair.labels[60, 60] == 2
        assert pair.labels[5, 5] == 1, "the others are those of the usual size"


def test_what_no_model_sees_is_outlined_by_its_stain(folder: Path) -> None:
    pairs = read_single_cells(folder, lambda image, diameter: np.zeros(image.shape[:2], np.int32))
    assert {pair.group for pair in pairs} > {"class-platelet", "class-erythroblast"}
    for pair in pairs:
        if pair.group != "class-platelet":
            assert pair.labels[60, 60] == 1


def test_pictures_in_whose_middle_nothing_is_seen_are_left_out(folder: Path) -> None:
    for file in folder.glob("images/*/*"):
        Image.fromarray(np.full((120, 120, 3), 230, np.uint8)).save(file)
    pairs = read_single_cells(folder, lambda image, diameter: np.zeros(image.shape[:2], np.int32))
    assert {pair.group for pair in pairs} <= {"class-platelet"}


def test_outlines_need_a_model_and_the_table_its_columns(folder: Path) -> None:
    with pytest.raises(DatasetError, match="--outlines"):
        read_single_cells(folder, None)
    (folder / "classes.csv").write_text("image,what\n")
    with pytest.raises(DatasetError, match="class"):
        read_classes(folder)


def test_pictures_without_white_cells_are_brought_to_scale_by_their_red_cells(tmp_path: Path) -> None:
    diameters = []
    for number in range(6):
        smear = synthetic_smear((400, 500), cell_diameter=60, white_cells=0, density=0.2, seed=number)
        diameters.append(2 * np.median(smear.red_cells[:, 2]))
        Image.fromarray(smear.image).save(tmp_path / f"{number}.png")
    pairs = read_without_cells(tmp_path)
    assert len(pairs) == 5, "a fifth is kept aside"
    for pair, diameter in zip(pairs, diameters, strict=False):
        assert pair.white_cell == pytest.approx(1.75 * diameter, rel=0.15)
        assert not pair.labels.any()
        assert pair.group == WITHOUT_CELLS
        assert pair.look_alikes == ()


def test_what_a_model_takes_for_cells_is_boxed_where_there_are_none(tmp_path: Path) -> None:
    smear = synthetic_smear((300, 300), cell_diameter=60, white_cells=0, density=0.2, seed=2)
    Image.fromarray(smear.image).save(tmp_path / "0.png")

    def mistaken(image: np.ndarray, diameter: float) -> np.ndarray:
        labels = np.zeros(image.shape[:2], np.int32)
        labels[10:30, 40:50] = 2 if diameter < 0.5 * 1.75 * np.median(2 * smear.red_cells[:, 2]) else 0
        return labels

    (pair,) = read_without_cells(tmp_path, mistaken)
    assert pair.look_alikes == (Box(10, 40, 30, 50),), "at the one size at which it is mistaken"


def test_a_folder_where_no_red_cell_can_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="red cells"):
        read_without_cells(tmp_path / "gone")
    Image.fromarray(np.full((50, 50, 3), 230, np.uint8)).save(tmp_path / "empty.png")
    with pytest.raises(DatasetError, match="red cells"):
        read_without_cells(tmp_path)


@pytest.mark.parametrize("diameter", [40.0, 80.0, 120.0])
def test_lone_red_cells_tell_their_diameter(diameter: float) -> None:
    side = round(8 * diameter)
    smear = synthetic_smear((side, side), cell_diameter=diameter, white_cells=0, density=0.2, seed=1)
    found = red_cell_diameter(1 - normalised(smear.image))
    assert found == pytest.approx(2 * np.median(smear.red_cells[:, 2]), rel=0.12)


def test_an_empty_slide_tells_nothing() -> None:
    assert red_cell_diameter(np.zeros((100, 100, 3), np.float32)) is None
    assert red_cell_diameter(np.random.default_rng(0).normal(0, 0.01, (90, 90, 3)).astype(np.float32)) is None
