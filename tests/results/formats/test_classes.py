"""The class of each cell in every file, read as the programs read it that the files are for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import roifile
from PIL import Image

from napari_wbcseg import Segmentation, load_result, save
from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, CellClass
from napari_wbcseg.classification.naming import each_named, said_by_model
from napari_wbcseg.results.formats.pictures import CHECK_COLOUR
from napari_wbcseg.results.formats.tables import write_counts
from napari_wbcseg.results.records import ResultRecord

EOSINOPHIL, OWN = (0xFF, 0x52, 0x52), (0x12, 0x34, 0xEF)
#: Cell 3 is an eosinophil by the model, 9 to check, 700 of a class that a person made.
CLASSES = BUILT_IN_CLASSES.added(CellClass("NK cell", "#1234ef"))


@pytest.fixture
def told(result: Segmentation) -> Segmentation:
    probabilities = pd.DataFrame({"eosinophil": [0.9, 0.2, 0.3], "monocyte": [0.1, 0.8, 0.7]})
    cells = each_named(said_by_model(result.cells, probabilities), {700: "NK cell"})
    return replace(result, cells=cells, classes=CLASSES, classifier="own@abcdefabcdef")


def test_the_table_says_class_probability_who_said_so_and_all_probabilities(
    tmp_path: Path, told: Segmentation
) -> None:
    table = pd.read_csv(save(told, tmp_path / "a.csv")[0]).set_index("label")
    assert table["class"].to_dict() == {3: "eosinophil", 9: "monocyte", 700: "NK cell"}
    assert table["class_by"].to_dict() == {3: "model", 9: "model", 700: "person"}
    assert table["class_probability"].to_dict() == {3: 0.9, 9: 0.8, 700: 1.0}
    assert table["p_monocyte"].to_dict() == {3: 0.1, 9: 0.8, 700: 0.7}


def test_qupath_gets_classification_and_colour(tmp_path: Path, told: Segmentation) -> None:
    features = json.loads(save(told, tmp_path / "a.geojson")[0].read_text(encoding="utf-8"))["features"]
    about = [feature["properties"] for feature in features]
    assert [one["classification"] for one in about] == [
        {"name": "Eosinophil", "color": list(EOSINOPHIL)},
        {"name": "Monocyte: To check", "color": list(CHECK_COLOUR)},
        {"name": "NK cell", "color": list(OWN)},
    ]
    assert about[0]["measurements"]["Probability: monocyte"] == 0.1
    assert about[2]["metadata"] == {"class_by": "person"}


def test_of_which_nobody_said_it_qupath_gets_no_cell_to_check(tmp_path: Path, told: Segmentation) -> None:
    told = replace(told, cells=told.cells.assign(check=np.array([np.nan, True, np.nan], object)))
    content = save(told, tmp_path / "a.geojson")[0].read_text(encoding="utf-8")
    assert content.count("To check") == told.to_check == 1


def test_imagej_gets_names_and_colours(tmp_path: Path, told: Segmentation) -> None:
    rois = roifile.roiread(save(told, tmp_path / "a.zip")[0])
    assert [roi.name for roi in rois] == [
        "cell-00003-eosinophil",
        "cell-00009-monocyte-check",
        "cell-00700-NK-cell",
    ]
    assert [tuple(roi.stroke_color[1:]) for roi in rois] == [EOSINOPHIL, CHECK_COLOUR, OWN]


def test_ome_zarr_has_classes_as_properties_and_colours_of_its_labels(
    tmp_path: Path, told: Segmentation, image: np.ndarray
) -> None:
    from ome_zarr.format import FormatV04
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    (path,) = save(told, tmp_path / "a.ome.zarr", image=image)
    nodes = Reader(parse_url(str(path), fmt=FormatV04()))()
    (about,) = [node.metadata for node in nodes if "properties" in node.metadata]
    assert {label: row["class"] for label, row in about["properties"].items()} == {
        3: "eosinophil",
        9: "monocyte",
        700: "NK cell",
    }
    colours = {label: tuple(np.rint(np.multiply(rgba, 255))) for label, rgba in about["color"].items()}
    assert colours == {3: (*EOSINOPHIL, 255), 9: (*CHECK_COLOUR, 255), 700: (*OWN, 255)}


def test_the_overlay_has_a_legend_of_the_classes_that_are_there(
    tmp_path: Path, told: Segmentation, image: np.ndarray
) -> None:
    plain = replace(told, cells=told.cells.drop(columns="class"))
    (path,), (without,) = (
        save(one, tmp_path / n, image=image) for one, n in ((told, "a.png"), (plain, "b.png"))
    )
    with Image.open(path) as overlay, Image.open(without) as bare:
        picture, height = np.asarray(overlay), bare.height
    legend = picture[height:]
    assert len(legend), "below the image"

    def has(part: np.ndarray, colour: tuple[int, int, int]) -> bool:
        return bool((part == colour).all(axis=2).any())

    coloured = [one for one in CLASSES if len(set(one.rgb)) > 1]  # greys are in the words too
    shown = [one.name for one in coloured if has(legend, one.rgb)]
    assert shown == ["monocyte", "eosinophil", "NK cell"]
    assert [has(picture[:height], colour) for colour in (EOSINOPHIL, CHECK_COLOUR, OWN)] == [True] * 3


def test_counts_have_a_column_a_class(tmp_path: Path, told: Segmentation) -> None:
    immature = {"class": ["erythroblast", "band neutrophil", "segmented neutrophil"]}
    rows = [
        ResultRecord.of(told, tmp_path).row(name, cells)
        for name, cells in (("a", told.cells), ("b", told.cells.assign(**immature)))
    ]
    table = pd.read_csv(write_counts(tmp_path / "counts.csv", rows)).set_index("image")
    assert set(CLASSES.names) <= set(table.columns)
    first, second = (table.loc[name, [*CLASSES.names, "white_cells"]] for name in "ab")
    assert first[first > 0].to_dict() == {"eosinophil": 1, "monocyte": 1, "NK cell": 1, "white_cells": 3}
    assert second[second > 0].to_dict() == {
        "neutrophil": 2,  # both parts of it
        "band neutrophil": 1,
        "segmented neutrophil": 1,
        "erythroblast": 1,
        "white_cells": 2,
    }


def test_the_record_of_a_result_names_what_told_its_classes(tmp_path: Path, told: Segmentation) -> None:
    save(told, tmp_path / "a", "tiff")
    record = ResultRecord.read(tmp_path / "a-result.json")
    assert record.classifier is not None
    assert (record.classifier.name, record.classifier.hash) == ("own", "abcdefabcdef")
    assert load_result(tmp_path / "a-result.json").classifier == told.classifier
