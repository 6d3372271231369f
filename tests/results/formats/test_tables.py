"""Tables have a row an image and a row a cell, whatever failed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg import SegmentationSettings, save
from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.results.formats.tables import failed_row, write_cells, write_counts
from napari_wbcseg.results.records import ResultRecord
from napari_wbcseg.segmentation.measure import measure_labels
from napari_wbcseg.segmentation.result import Placement, Segmentation, summary_of

from ...drawings import two_discs


@pytest.fixture
def labels() -> np.ndarray:
    return two_discs()


@pytest.fixture
def cells() -> pd.DataFrame:
    return pd.DataFrame({"label": [1, 2], "area": [2821.0, 738.0], "check": [False, True]})


def segmentation(labels: np.ndarray, cells: pd.DataFrame) -> Segmentation:
    return Segmentation(
        labels=labels,
        cells=cells,
        probability=(labels > 0).astype(np.float32),
        proposals=np.zeros((0, 4), dtype=np.int64),
        settings=SegmentationSettings(),
        model="wbc@0123",
        cell_diameter=61.5,
        notes=("A note.",),
    )


class TestTables:
    def test_counts_hold_a_row_an_image_failed_ones_too(
        self, tmp_path: Path, labels: np.ndarray, cells: pd.DataFrame
    ) -> None:
        rows = [
            ResultRecord.of(segmentation(labels, cells), tmp_path)
            .model_copy(update={"seconds": 1.2})
            .row("a.jpg", cells),
            failed_row("b.jpg", "b.jpg is truncated, and so on.", 0.1),
        ]
        table = pd.read_csv(write_counts(tmp_path / "counts.csv", rows))
        assert list(table["image"]) == ["a.jpg", "b.jpg"]
        first = table.iloc[0]
        assert (first["count"], first["to_check"], first["width"], first["height"]) == (2, 1, 300, 200)
        assert (first["cell_diameter"], first["status"]) == (61.5, "ok")
        assert (first["notes"], first["seconds"]) == ("A note.", 1.2)
        assert table.iloc[1]["status"] == "failed"
        assert table.iloc[1]["error"] == "b.jpg is truncated, and so on."
        assert "a.jpg,2,2,0,0,1,61.5,,,300,200" in (tmp_path / "counts.csv").read_text()

    def test_white_cells_per_area_are_those_of_the_slide_and_not_of_its_surround(
        self, tmp_path: Path, labels: np.ndarray, cells: pd.DataFrame
    ) -> None:
        found = replace(
            segmentation(labels, cells),
            field_share=0.5,
            place=Placement.of_pixels(2, PixelSize(0.5, 0.5, "µm")),
        )
        row = ResultRecord.of(found, tmp_path).row("a.jpg", cells)
        assert row["field_mm2"] == pytest.approx(200 * 300 * 0.5 * 0.25e-6)
        assert row["white_cells_per_mm2"] == pytest.approx(2 / row["field_mm2"])
        unknown = ResultRecord.of(replace(found, place=None), tmp_path).row("a.jpg", cells)
        assert unknown["white_cells_per_mm2"] is None, "no pixel size"

    def test_erythroblasts_are_counted_apart(self, cells: pd.DataFrame) -> None:
        assert summary_of(cells) == "2 white cells, 1 to check"
        told = cells.assign(kind=["erythroblast", "white cell"])
        assert summary_of(told).startswith("1 white cell, and 100"), "as earlier versions wrote it"
        cells = cells.assign(**{"class": ["erythroblast", "lymphocyte"]})
        assert summary_of(cells) == "1 white cell, and 100 erythroblasts per 100, 1 to check"

    def test_a_cell_of_which_nobody_said_it_is_not_to_check(self, labels: np.ndarray) -> None:
        """As of rows that were put below a table: each number of these to check was another one."""
        found = segmentation(labels, pd.DataFrame({"label": [1, 2], "check": [np.nan, True]}))
        assert found.marked == {2}
        assert found.to_check == 1
        assert found.summary.endswith(", 1 to check")

    @pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t"])
    def test_no_name_is_a_formula(self, tmp_path: Path, cells: pd.DataFrame, begins: str) -> None:
        name = f"{begins}HYPERLINK(1).jpg"
        paths = [
            write_counts(tmp_path / "counts.csv", [{**failed_row(name, f"{name} is damaged.", 0), name: 1}]),
            write_cells(tmp_path / "cells.csv", [(name, cells.assign(row=-1.5))]),
        ]
        for path in paths:
            table = pd.read_csv(path)
            assert table["image"][0] == f"'{name}"
            assert name not in table.columns, "a class may be called so"
        assert table["row"].tolist() == [-1.5, -1.5], "a number is one"

    def test_cells_begin_with_their_image(self, tmp_path: Path, cells: pd.DataFrame) -> None:
        tables = [("empty.jpg", cells.iloc[:0]), ("a.jpg", cells), ("é.jpg", cells)]
        table = pd.read_csv(write_cells(tmp_path / "cells.csv", tables))
        assert list(table.columns) == ["image", "label", "area", "check"]
        assert list(table["image"]) == ["a.jpg", "a.jpg", "é.jpg", "é.jpg"]
        assert table["label"].dtype.kind == "i"
        assert table["check"].dtype == bool

    def test_a_run_without_cells_still_has_its_columns(self, tmp_path: Path, cells: pd.DataFrame) -> None:
        write_cells(tmp_path / "cells.csv", [("a.jpg", cells.iloc[:0])])
        assert (tmp_path / "cells.csv").read_text() == "image,label,area,check\n"
        write_cells(tmp_path / "none.csv", [])
        assert (tmp_path / "none.csv").read_text() == "image\n"

    def test_a_table_that_was_read_from_csv_is_saved_as_any(self, tmp_path: Path, labels: np.ndarray) -> None:
        size = PixelSize(0.5, 0.5, "µm")
        (path,) = save(segmentation(labels, measure_labels(labels)[0]), tmp_path / "a.csv", pixel_size=size)
        again = segmentation(labels, pd.read_csv(path).assign(area_um2=0.0))
        (other,) = save(again, tmp_path / "b.csv", pixel_size=size, name="a")
        pd.testing.assert_frame_equal(pd.read_csv(other), pd.read_csv(path), rtol=1e-5)
