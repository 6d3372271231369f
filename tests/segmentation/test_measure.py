"""Measurements of drawn cells, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label as connected
from skimage.measure import regionprops

from napari_wbcseg.images.illumination import absorbed, background_colour
from napari_wbcseg.segmentation.measure import COLUMNS, STAIN_COLUMNS, in_physical_units, measure_labels

from ..drawings import disc_labels, measure_cells, picture


def drawn_cell(lobes: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray, int]:
    """Draw a cell of diameter 60 with dark lobes; also return the area of its nucleus."""
    labels = disc_labels((100, 120), [(50, 60, 60)])
    nucleus = (disc_labels((100, 120), lobes) > 0) & (labels > 0)
    grey = np.where(nucleus, 60.0, np.where(labels > 0, 160.0, 240.0))
    return labels, grey[..., None].repeat(3, axis=2).astype(np.float32), int(nucleus.sum())


def test_a_drawn_cell_has_the_measures_it_was_drawn_with() -> None:
    labels, pixels, nucleus = drawn_cell([(50, 60, 30)])
    table = measure_cells(labels, pixels)
    assert tuple(table.columns) == COLUMNS
    (cell,) = table.itertuples()
    assert (cell.label, cell.row, cell.col) == (1, 50, 60)
    assert cell.area == (labels == 1).sum()
    assert cell.diameter == pytest.approx(60, rel=0.01)
    assert cell.perimeter == pytest.approx(np.pi * 60, rel=0.03)
    assert cell.circularity > 0.94
    assert cell.eccentricity < 0.1
    assert cell.nucleus_area == nucleus
    assert cell.nc_ratio == pytest.approx(nucleus / (cell.area - nucleus))
    assert cell.lobes == 1
    expected = (nucleus * np.log10(4) + (cell.area - nucleus) * np.log10(1.5)) / cell.area
    assert cell.mean_stain == pytest.approx(expected, rel=0.01)
    assert (cell.touching, cell.border, cell.check, cell.certainty) == (False, False, False, 1.0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_lobes_of_the_nucleus_are_counted(count: int) -> None:
    angles = 2 * np.pi * np.arange(count) / count
    labels, pixels, nucleus = drawn_cell([(50 + 17 * np.sin(a), 60 + 17 * np.cos(a), 18) for a in angles])
    (cell,) = measure_cells(labels, pixels).itertuples()
    assert cell.lobes == count
    assert cell.nucleus_area == nucleus


def test_a_cell_of_one_tone_has_no_nucleus() -> None:
    labels, _, _ = drawn_cell([])
    (cell,) = measure_cells(labels, np.full((100, 120, 3), 99, np.float32)).itertuples()
    assert (cell.nucleus_area, cell.lobes, cell.nc_ratio) == (0, 0, 0)


def test_an_ellipse_is_longer_than_wide() -> None:
    rows, cols = np.mgrid[:100, :200]
    labels = (((rows - 50) / 20) ** 2 + ((cols - 100) / 60) ** 2 <= 1).astype(np.int32)
    (cell,) = measure_cells(labels, picture(labels)).itertuples()
    assert cell.eccentricity == pytest.approx(np.sqrt(1 - (20 / 60) ** 2), abs=0.01)
    assert cell.circularity < 0.75


def test_uncertain_cells_are_marked_to_check() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 80, 40), (30, 130, 40)])
    table = measure_cells(labels, picture(labels), {1: 0.4, 2: 0.9}, check_below=0.75)
    assert table["certainty"].tolist() == [0.4, 0.9, 1.0]
    assert table["check"].tolist() == [True, False, False]


@pytest.mark.parametrize("spot", [(5, 60), (95, 60), (50, 5), (50, 115)])
def test_cells_that_the_border_cuts_are_marked(spot: tuple[int, int]) -> None:
    labels = disc_labels((101, 121), [(*spot, 30), (50, 60, 20)])
    table = measure_cells(labels, picture(labels)).set_index("label")
    assert table["border"].to_dict() == {1: True, 2: False}


def test_cells_that_meet_are_marked_with_a_gap_of_one_pixel_allowed() -> None:
    labels = np.zeros((20, 60), np.int32)
    for number, start in enumerate((0, 8, 17, 27), 1):  # gaps of 0, 1 and 2 pixels
        labels[5:15, start : start + 8] = number
    for turned in (labels, np.ascontiguousarray(labels.T)):
        table = measure_cells(turned, picture(turned)).set_index("label")
        assert table["touching"].to_dict() == {1: True, 2: True, 3: True, 4: False}


def test_rows_are_ordered_by_label_and_gaps_in_the_numbers_are_allowed() -> None:
    labels = disc_labels((60, 160), [(30, 30, 40), (30, 80, 40)]) * 5
    assert measure_cells(labels, picture(labels))["label"].tolist() == [5, 10]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (30, 40)])
def test_no_cells_give_an_empty_table_of_the_same_types(shape: tuple[int, int]) -> None:
    empty = measure_cells(np.zeros(shape, np.int32), np.full((*shape, 3), 200, np.float32))
    labels = disc_labels((60, 60), [(30, 30, 40)])
    full = measure_cells(labels, picture(labels))
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_what_is_not_measured_without_pixels_is_unknown_and_not_zero() -> None:
    labels, _, _ = drawn_cell([])
    assert measure_labels(labels)[0][list(STAIN_COLUMNS)].isna().all(axis=None)


def test_of_an_image_without_pixels_the_table_is_empty() -> None:
    nothing = np.zeros((0, 0), np.int32)
    for density in (None, nothing.astype(np.float32)):
        table, boxes = measure_labels(nothing, density)
        assert len(table) == len(boxes) == 0


def test_one_pixel_is_measured_too() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[4, 4] = 1
    (cell,) = measure_cells(labels, picture(labels)).itertuples()
    assert cell.area == 1
    assert np.isfinite([cell.diameter, cell.perimeter, cell.circularity, cell.eccentricity]).all()


@settings(deadline=None, max_examples=60)
@given(arrays(np.int32, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(-1, 3)))
def test_shapes_are_those_of_scikit_image(labels) -> None:
    table = measure_cells(labels, np.full((*labels.shape, 3), 99, np.float32)).set_index("label")
    assert set(table.index) == set(np.unique(labels)) - {-1, 0}
    for region in regionprops(np.maximum(labels, 0)):
        cell = table.loc[region.label]
        assert cell.area == region.area
        assert (cell.row, cell.col) == pytest.approx(region.centroid)
        assert cell.perimeter == pytest.approx(region.perimeter_crofton)
        assert 0 < cell.circularity <= 1
        assert cell.pieces == connected(region.image, connectivity=2).max()
        if region.area > 1 and region.inertia_tensor_eigvals[0] > 1e-9:
            assert cell.eccentricity == pytest.approx(region.eccentricity, abs=1e-5)


def test_the_nucleus_is_that_of_scikit_images_threshold() -> None:
    noise = np.random.default_rng(0).normal(0, 12, (100, 120, 1)).astype(np.float32)
    labels, pixels, _ = drawn_cell([(46, 52, 20), (60, 70, 22)])
    pixels = np.clip(pixels + noise, 0, 255)
    labels[labels > 0] += np.int32(5)  # two cells, of which the other is small
    labels[2:6, 2:6] = 3
    density = absorbed(pixels, background_colour(pixels))
    cell = measure_cells(labels, pixels).set_index("label").loc[6]
    nucleus = (labels == 6) & (density > threshold_otsu(density[labels == 6]))
    assert cell.nucleus_area == pytest.approx(nucleus.sum(), abs=2)
    parts, _ = ndimage.label(ndimage.binary_opening(nucleus))
    assert cell.lobes == (np.bincount(parts.ravel())[1:] >= 0.04 * cell.area).sum() == 2


def test_a_label_in_two_parts_is_told_from_one_whose_parts_meet_at_a_corner() -> None:
    labels = np.zeros((12, 30), np.int32)
    labels[1:5, 1:5] = labels[1:5, 8:12] = 1
    labels[1:5, 16:20] = labels[5:9, 20:24] = 2
    assert measure_cells(labels, picture(labels))["pieces"].tolist() == [2, 1]


def test_lengths_and_areas_take_the_unit_of_the_pixel_and_shapes_stay() -> None:
    labels, pixels, _ = drawn_cell([(50, 60, 30)])
    table = measure_cells(labels, pixels)
    micrometres = in_physical_units(table, (0.2, 0.2))
    (was,), (now,) = table.itertuples(), micrometres.itertuples()
    assert now.diameter == pytest.approx(0.2 * was.diameter)
    assert now.perimeter == pytest.approx(0.2 * was.perimeter)
    assert (now.area, now.nucleus_area) == pytest.approx((0.04 * was.area, 0.04 * was.nucleus_area))
    assert (now.row, now.circularity, now.nc_ratio) == (was.row, was.circularity, was.nc_ratio)
    oblong = in_physical_units(table, (0.1, 0.4))
    assert oblong["area"].item() == pytest.approx(micrometres["area"].item())
    shape = ["perimeter", "circularity", "eccentricity"]
    assert oblong[shape].isna().all(axis=None)
    assert in_physical_units(table, (0.2, 0.201))[shape].notna().all(axis=None), "as calibrations differ"
