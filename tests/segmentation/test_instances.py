"""Perfect maps come back as the cells they were made from; touching cells apart, lobes together."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_wbcseg.box import Box
from napari_wbcseg.segmentation.instances import (
    Enlargement,
    Instances,
    _tidy,
    draw_at,
    find_centres,
    split_cells,
)
from napari_wbcseg.segmentation.prediction import Maps, placed

from ..drawings import dice, disc_labels, perfect_maps, worst_dice

TYPICAL = 30.0


@st.composite
def crowds(draw) -> np.ndarray:
    """Draw 1 to 8 discs of unlike size that may touch and flatten each other."""
    shape = (150, 190)
    discs: list[tuple[float, float, float]] = []
    for _ in range(draw(st.integers(1, 8))):
        diameter = draw(st.floats(22, 42))
        row = draw(st.floats(diameter / 2, shape[0] - 1 - diameter / 2))
        col = draw(st.floats(diameter / 2, shape[1] - 1 - diameter / 2))
        if all(np.hypot(row - r, col - c) > 0.42 * (diameter + d) for r, c, d in discs):
            discs.append((row, col, diameter))
    return disc_labels(shape, discs)


@settings(max_examples=40, deadline=None)
@given(crowds())
def test_cells_come_back_from_perfect_maps(labels) -> None:
    found = split_cells(perfect_maps(labels), TYPICAL, 0.5)
    assert found.labels.dtype == np.int32
    assert found.labels.max() == labels.max()
    assert worst_dice(labels, found.labels) > 0.98
    assert sorted(found.certainty) == list(range(1, labels.max() + 1))
    assert all(0 <= value <= 1 for value in found.certainty.values())


@settings(max_examples=20, deadline=None)
@given(crowds(), st.sampled_from([0, 1]))
def test_the_number_of_cells_does_not_depend_on_mirroring(labels, axis) -> None:
    mirrored = np.flip(labels, axis)
    count = split_cells(perfect_maps(labels), TYPICAL, 0.5).labels.max()
    assert split_cells(perfect_maps(mirrored), TYPICAL, 0.5).labels.max() == count


def test_touching_cells_are_one_unless_told_apart() -> None:
    labels = disc_labels((90, 120), [(45, 40, 40), (45, 79, 40)])
    maps = perfect_maps(labels)
    assert split_cells(maps, 40, 0.5).labels.max() == 2
    assert split_cells(maps, 40, 0.5, split=False).labels.max() == 1


def test_a_chain_of_touching_cells_is_cut_between_them() -> None:
    labels = disc_labels((80, 700), [(40, 25 + 30 * i, 30) for i in range(22)])
    found = split_cells(perfect_maps(labels), 30, 0.5).labels
    assert found.max() == 22
    assert worst_dice(labels, found) > 0.98


def test_lobes_with_one_centre_stay_together() -> None:
    # Three lobes that touch; each pixel points to the middle of the whole.
    lobes = disc_labels((100, 100), [(40, 40, 24), (40, 62, 24), (60, 51, 24)])
    maps = perfect_maps(lobes, groups={1: 1, 2: 1, 3: 1})
    found = split_cells(maps, 40, 0.5)
    assert found.labels.max() == 1
    assert dice(found.labels > 0, lobes > 0) > 0.99  # the gap between them is filled


def test_a_weak_second_peak_close_to_a_centre_makes_no_second_cell() -> None:
    labels = disc_labels((80, 80), [(40, 40, 40)])
    maps = perfect_maps(labels)
    rows, cols = np.mgrid[:80, :80]
    bump = 0.6 * np.exp(-((rows - 40) ** 2 + (cols - 51) ** 2) / (2 * 2.0**2))
    maps = replace(maps, centre=np.maximum(maps.centre, bump).astype(np.float32))
    centres = find_centres(maps, labels > 0)
    assert len(centres) == 1
    np.testing.assert_allclose(centres[0, :2], [40, 40], atol=1)


def test_a_small_cell_beside_the_middle_of_a_large_one_is_a_cell() -> None:
    labels = disc_labels((100, 100), [(50, 50, 60)])
    maps = perfect_maps(labels)
    rows, cols = np.mgrid[:100, :100]
    peak = 0.8 * np.exp(-((rows - 50) ** 2 + (cols - 67) ** 2) / (2 * 2.0**2))
    maps = replace(maps, centre=np.maximum(maps.centre, peak).astype(np.float32))
    assert len(find_centres(maps, labels > 0)) == 1, "a lobe of it"
    maps.diameter[:, 62:] = 24
    assert len(find_centres(maps, labels > 0)) == 2


def test_centres_come_highest_first_with_the_diameter_of_their_cells() -> None:
    labels = disc_labels((80, 160), [(40, 40, 24), (40, 110, 50)])
    maps = perfect_maps(labels)
    maps.centre[:, :75] *= 0.7
    centres = find_centres(maps, labels > 0)
    np.testing.assert_allclose(centres[:, :3], [[40, 110, 50], [40, 40, 24]], atol=1)
    assert centres[0, 3] > centres[1, 3]


def test_peaks_outside_cells_are_no_centres() -> None:
    labels = disc_labels((80, 80), [(40, 40, 30)])
    assert find_centres(perfect_maps(labels), np.zeros_like(labels, bool)).shape == (0, 4)


def test_specks_are_left_out_unless_the_border_cuts_them() -> None:
    labels = disc_labels((120, 160), [(60, 60, 40), (60, 120, 12), (-6, 100, 32)])
    found = split_cells(perfect_maps(labels), 40, 0.5).labels
    assert found.max() == 2
    assert not found[50:70, 110:130].any()
    assert found[:9, 90:110].any()


def test_holes_are_filled_and_what_lies_apart_is_dropped() -> None:
    labels = disc_labels((100, 100), [(50, 50, 40)])
    holed = labels * ~(disc_labels((100, 100), [(50, 56, 8)]) > 0)
    maps = perfect_maps(labels)
    maps.cell[holed == 0] = 0.01
    found = split_cells(maps, 40, 0.5).labels
    np.testing.assert_array_equal(found, labels)
    drawn = draw_at(found, maps.cell, enlarged_to((200, 200), labels.shape), 0.5)
    assert (drawn[95:105, 107:117] == 1).all(), "nor is it drawn"


@pytest.mark.parametrize("seed", range(20))
def test_a_piece_is_filled_where_the_outside_does_not_come_by_an_edge(seed: int) -> None:
    part = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 30)), 1 + seed % 3 / 2) > 0
    pieces, count = ndimage.label(part)
    largest = pieces == 1 + np.argmax(ndimage.sum_labels(part, pieces, np.arange(1, count + 1)))
    np.testing.assert_array_equal(_tidy(part), ndimage.binary_fill_holes(largest))


def test_a_cell_in_a_crowd_is_as_sure_as_one_alone() -> None:
    alone = perfect_maps(disc_labels((160, 160), [(80, 80, 48)]))
    ring = [(80 + 46 * np.sin(a), 80 + 46 * np.cos(a), 46) for a in np.arange(6) * np.pi / 3]
    crowd = perfect_maps(disc_labels((160, 160), [(80, 80, 48), *ring]))
    sure = []
    for maps in (alone, crowd):
        instances = split_cells(maps, 48.0, 0.5)
        sure.append(instances.certainty[int(instances.labels[80, 80])])
    assert sure[1] > 0.97 * sure[0]


def test_a_sharp_cell_is_surer_than_a_faint_one() -> None:
    labels = disc_labels((80, 160), [(40, 40, 36), (40, 110, 36)])
    maps = perfect_maps(labels)
    maps.cell[labels == 2] = 0.6
    found = split_cells(maps, 36, 0.5)
    sharp, faint = (found.certainty[int(found.labels[40, col])] for col in (40, 110))
    assert sharp > 0.9
    assert faint < 0.5


def test_maps_without_cells_give_none() -> None:
    for shape in ((64, 64), (1, 1), (1, 90), (90, 1)):
        nothing = perfect_maps(np.zeros(shape, np.int32))
        for split in (True, False):
            found = split_cells(nothing, TYPICAL, 0.5, split)
            assert found.labels.shape == shape
            assert not found.labels.any()
            assert found.certainty == {}


def enlarged_to(shape: tuple[int, int], small: tuple[int, ...]) -> Enlargement:
    """Of all of the maps."""
    return Enlargement(Box(0, 0, *small), (small[0], small[1]), shape)


@pytest.mark.parametrize("scale", [0.35, 0.5, 0.8, 1.0, 1.6, 2.5, 4.0])
def test_outlines_are_smooth_at_any_resolution(scale: float) -> None:
    discs = [(30, 30, 48), (36, 78, 46), (90, 60, 50), (60, 118, 40)]
    small = disc_labels((130, 150), discs)
    shape = (round(130 * scale), round(150 * scale))
    exact = (shape[0] / 130, shape[1] / 150)
    truth = disc_labels(
        shape,
        [((r + 0.5) * exact[0] - 0.5, (c + 0.5) * exact[1] - 0.5, d * scale) for r, c, d in discs],
    )
    found = split_cells(perfect_maps(small), 48, 0.5)
    drawn = draw_at(found.labels, perfect_maps(small).cell, enlarged_to(shape, small.shape), 0.5)
    assert drawn.shape == shape
    assert drawn.dtype == np.int32
    assert sorted(np.unique(drawn)) == [0, 1, 2, 3, 4]
    assert worst_dice(truth, drawn) > (0.97 if scale >= 0.5 else 0.95)


@pytest.mark.parametrize("shape", [(87, 61), (130, 150), (211, 263), (416, 480)])
def test_a_part_is_drawn_as_in_the_whole(shape: tuple[int, int]) -> None:
    small = disc_labels((130, 150), [(60, 70, 30), (75, 95, 28)])
    labels, cell = split_cells(perfect_maps(small), 30, 0.5).labels, perfect_maps(small).cell
    area = Box(33, 41, 120, 150)
    part = Enlargement(area, small.shape, shape)
    drawn = draw_at(labels[area.slices], cell[area.slices], part, 0.5)
    assert np.array_equal(
        placed(drawn, part.box, shape), draw_at(labels, cell, enlarged_to(shape, small.shape), 0.5)
    )


def test_a_cell_that_the_border_cuts_reaches_the_border_at_any_resolution() -> None:
    small = disc_labels((60, 60), [(5, 30, 40), (58, 30, 30)])
    found = split_cells(perfect_maps(small), 40, 0.5)
    for shape in ((150, 150), (37, 41)):
        drawn = draw_at(found.labels, perfect_maps(small).cell, enlarged_to(shape, small.shape), 0.5)
        assert drawn[0].any()
        assert drawn[-1].any()


def test_what_is_no_cell_is_not_drawn() -> None:
    small = disc_labels((80, 80), [(30, 30, 30), (60, 60, 8)])
    found = split_cells(perfect_maps(small), 30, 0.5)
    drawn = draw_at(found.labels, perfect_maps(small).cell, enlarged_to((240, 240), small.shape), 0.5)
    assert not drawn[160:200, 160:200].any()


def test_nothing_is_drawn_of_nothing() -> None:
    nothing = perfect_maps(np.zeros((40, 50), np.int32))
    drawn = draw_at(np.zeros((40, 50), np.int32), nothing.cell, enlarged_to((80, 100), (40, 50)), 0.5)
    assert drawn.shape == (80, 100)
    assert not drawn.any()


def tiled(maps: Maps, times: int) -> Maps:
    """Repeat maps side by side."""
    parts = {field.name: getattr(maps, field.name) for field in fields(maps)}
    return Maps(**{name: np.tile(m, (times, times, 1)[: m.ndim]) for name, m in parts.items()})


def test_thousands_of_cells_are_told_apart() -> None:
    tile = perfect_maps(disc_labels((40, 40), [(20, 20, 30)]))
    maps = tiled(tile, 50)
    found = split_cells(maps, 30, 0.5)
    drawn = draw_at(found.labels, maps.cell, enlarged_to((1500, 1500), maps.cell.shape), 0.5)
    assert len(np.unique(drawn)) == 2501


def test_a_large_group_takes_no_memory_by_the_square() -> None:
    # 900 cells in one connected region of 0.9 megapixels.
    tile = perfect_maps(disc_labels((32, 32), [(15.5, 15.5, 33)]))
    maps = tiled(tile, 30)
    found = split_cells(maps, 30, 0.5)
    assert found.labels.max() == 900


def test_an_unsure_instance_is_left_out() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (150, 150, 50)])
    instances = Instances(labels, {1: 0.9, 2: 0.3})
    left = instances.sure()
    assert np.unique(left.labels).tolist() == [0, 1]
    assert left.certainty == {1: 0.9}
