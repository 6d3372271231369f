"""Outlines cover exactly the pixels of a cell, whatever its shape; shapely is the judge."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import roifile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_wbcseg import save
from napari_wbcseg.classification import classify
from napari_wbcseg.progress import silent
from napari_wbcseg.results.formats.outlines import cell_outlines, mask_polygons, outlines_of
from napari_wbcseg.segmentation.measure import measure_labels
from napari_wbcseg.segmentation.result import Segmentation

from ...drawings import disc_labels, measure_cells

shapely = pytest.importorskip("shapely")


def geometry(polygons):
    return shapely.MultiPolygon([(part.exterior, part.holes) for part in polygons])


def drawn(shape, polygons):
    """Return the pixels whose centre lies in the polygons."""
    rows, columns = np.indices(shape) + 0.5
    return shapely.contains_xy(geometry(polygons), columns, rows)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_any_mask_comes_back_to_the_pixel(mask):
    polygons = mask_polygons(mask)
    shape = geometry(polygons)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    assert shape.area == mask.sum()
    np.testing.assert_array_equal(drawn(mask.shape, polygons), mask)


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(bool, (8, 8), elements=st.booleans()))
def test_rings_turn_as_geojson_asks(mask):
    for polygon in mask_polygons(mask):
        assert shapely.LinearRing(polygon.exterior).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in polygon.holes)


def test_a_hole_is_a_hole_and_an_island_in_it_a_part_of_its_own():
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    ring, island = mask_polygons(mask, origin=(100, 200))
    assert sorted(ring.exterior.tolist()) == [[201, 101], [201, 108], [208, 101], [208, 108]]
    assert len(ring.holes) == 1
    assert len(ring.holes[0]) == 4
    assert island.exterior.min(axis=0).tolist() == [204, 104]
    assert not island.holes


def test_labels_need_be_neither_contiguous_nor_small_nor_within_the_border():
    labels = np.zeros((2, 6, 5), np.int64)
    labels[0, 0, 0], labels[0, 5, 4] = 7, 3_000_000_000
    labels[1] = 7
    found = {(cell.plane, cell.label): geometry(cell.polygons).bounds for cell in cell_outlines(labels)}
    assert found == {(0, 7): (0, 0, 1, 1), (0, 3_000_000_000): (4, 5, 5, 6), (1, 7): (0, 0, 5, 6)}
    assert [cell.plane for cell in cell_outlines(labels[0])] == [None, None]
    assert list(cell_outlines(np.zeros((4, 4), np.uint8))) == []


def test_labels_on_disk_have_the_outlines_that_they_have_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(classify, "_PART", 64)
    labels = disc_labels((200, 260), [(50, 60, 20), (64, 128, 9), (140, 199, 21)])
    labels[100:103, 5:255] = 4  # long
    labels[150:, [10, 120]] = labels[150, 10:121] = 5  # an arch, whose middle lies outside of it
    labels[20:40, 150:170] = labels[20:30, 240:250] = 6  # in two pieces, one nearer to its middle
    zarr.save_array(str(tmp_path / "a.zarr"), labels)
    stored = zarr.open_array(str(tmp_path / "a.zarr"), mode="r")
    result = Segmentation(labels, measure_labels(labels)[0])
    expected = {one.label: one for one in outlines_of(result, silent)}
    found = {one.label: one for one in outlines_of(replace(result, labels=stored), silent)}
    assert found.keys() == expected.keys() == {1, 2, 3, 4, 5, 6}
    for label, one in found.items():
        assert geometry(one.polygons).equals(geometry(expected[label].polygons))


def test_ten_thousand_cells_have_outlines():
    labels = np.zeros((1000, 1000), np.int32)
    for number in range(10_000):
        row, column = divmod(number, 100)
        labels[10 * row + 1 : 10 * row + 9, 10 * column + 2 : 10 * column + 8] = number + 1
    cells = list(cell_outlines(labels))
    assert len(cells) == 10_000
    assert all(len(cell.polygons[0].exterior) == 4 for cell in cells)


def test_outlines_of_a_part_lie_where_it_does_in_the_image(tmp_path):
    labels = np.zeros((20, 30), np.int32)
    labels[2:5, 3:9] = 7
    cells = measure_cells(labels, np.full((*labels.shape, 3), 200))
    part = Segmentation(labels, cells, corner=(100, 2000), name="slide")
    (feature,) = json.loads(save(part, tmp_path / "a.geojson")[0].read_text())["features"]
    xs, ys = np.array(feature["geometry"]["coordinates"][0]).T
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (2003, 102, 2009, 105)
    (region,) = roifile.roiread(save(part, tmp_path / "a.zip")[0])
    assert (region.left, region.top, region.right, region.bottom) == (2003, 102, 2009, 105)
