"""The cells that the classifier is taught on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg.datasets.sigtuple import sigtuple_classes
from napari_wbcseg.errors import DatasetError
from napari_wbcseg.training.class_cells import (
    CLASSES,
    SIDE,
    ClassCells,
    cut_cells,
    discs,
    drawn_cells,
    joined,
)

real_data = pytest.mark.skipif("WBCSEG_DATA" not in os.environ, reason="WBCSEG_DATA is not set")


def test_drawn_cells_have_the_class_they_were_drawn_with() -> None:
    cells = drawn_cells(6, seed=3)
    assert cells.crops.shape == (len(cells), SIDE, SIDE, 3)
    np.testing.assert_allclose(cells.truth.sum(axis=1), 1)
    told = cells.truth.argmax(axis=1)
    assert set(told) <= {CLASSES.index(name) for name in CLASSES if name not in ("erythroblast", "platelet")}
    for index in range(len(cells)):
        crop, mask = cells.cell(index)
        assert crop[mask > 0.9].mean() < 0.98, "a cell can be seen"
    np.testing.assert_array_equal(cells.crops, drawn_cells(6, seed=3).crops)


def test_discs_are_of_no_class() -> None:
    cells = discs(5)
    assert len(cells) == 5
    np.testing.assert_allclose(cells.truth, 1 / len(CLASSES))
    assert all((cells.cell(index)[1] > 0).sum() > 100 for index in range(5))


def test_cells_come_back_from_a_file(tmp_path: Path) -> None:
    cells = joined([discs(2), drawn_cells(2)])
    cells.save(tmp_path / "cells.npz")
    again = ClassCells.load(tmp_path / "cells.npz")
    np.testing.assert_array_equal(again.crops, cells.crops)
    np.testing.assert_array_equal(again.truth, cells.truth)


def test_a_class_that_is_not_told_apart_is_refused(tmp_path: Path) -> None:
    import cv2

    (tmp_path / "images").mkdir()
    image = np.full((90, 90, 3), 240, np.uint8)
    cv2.circle(image, (45, 45), 16, (120, 40, 90), -1)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image)
    (tmp_path / "classes.csv").write_text("image,class\na.png,thrombus\n")
    with pytest.raises(DatasetError, match="'thrombus', which is none of"):
        cut_cells(tmp_path, lambda image, _: (image[..., 0] < 200).astype(np.int32))


@real_data
def test_cells_of_the_clean_test_fields_are_never_trained_on() -> None:
    table = sigtuple_classes(Path(os.environ["WBCSEG_DATA"]) / "sigtuple")
    held_out = table["image"][table["held_out"]]
    assert len(held_out) > 20
    assert len(table) - len(held_out) > 100
    clean = pd.read_csv(Path(__file__).parents[2] / "benchmarks" / "clean_test_counts.csv", dtype=str)[
        "field"
    ]
    assert set(held_out.map(lambda name: Path(name).stem)) <= set(clean), "fields that share no cell"
    assert set(table["class"]) <= {"neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"}
