"""A source knows its whole cells and where there are none; its outlines are round, its light divided out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage

from napari_wbcseg.sizes import equivalent_diameter
from napari_wbcseg.training.samples.sources import (
    background_of,
    cut_outs,
    largest_empty,
    make_source,
    mosaic,
    smooth_outline,
)

from .fields import discs, pair, source


def test_a_source_has_its_light_divided_out_and_knows_its_cells() -> None:
    labels = discs((200, 240), (70, 60, 50), (130, 160, 60), (2, 100, 40))
    made = make_source(pair(labels), "mine", smooth=False)
    assert made.image.dtype == np.float16
    np.testing.assert_allclose(made.image[199, 0], 1, atol=0.01)
    assert set(made.centres) == {1, 2}, "the border cuts the third"
    assert made.diameter == pytest.approx(55, abs=6)
    np.testing.assert_allclose(made.centres[1], (70, 60), atol=0.1)
    np.testing.assert_array_equal(made.labels, labels)


def test_large_cells_are_brought_to_at_most_96_pixels() -> None:
    made = make_source(pair(discs((500, 600), (250, 300, 330))), "mine", smooth=False)
    assert made.diameter == pytest.approx(96)
    assert equivalent_diameter((made.labels == 1).sum()) == pytest.approx(96, rel=0.02)
    assert made.image.shape[:2] == made.labels.shape == (145, 175)
    np.testing.assert_allclose(made.centres[1], (250 * 96 / 330, 300 * 96 / 330), atol=1)


@pytest.mark.parametrize("diameter", [120, 200, 288])
def test_the_labels_of_a_cell_that_was_made_smaller_lie_on_it(diameter: int) -> None:
    made = make_source(pair(discs((500, 600), (251, 305, diameter))), "mine", smooth=False)
    dark = 1 - made.image.mean(axis=2, dtype=np.float32)
    np.testing.assert_allclose(made.centres[1], ndimage.center_of_mass(dark), atol=0.15)


def test_smoothing_rounds_blocks_and_cuts_thin_tails() -> None:
    disc = discs((120, 160), (60, 60, 60)) > 0
    blocky = np.kron(disc[::4, ::4], np.ones((4, 4), bool)).astype(np.int32)
    tailed = blocky.copy()
    tailed[59:62, 88:140] = 1
    smooth = smooth_outline(tailed, 2.0)
    assert not smooth[:, 100:].any()
    error = lambda labels: ((labels > 0) ^ disc).sum()  # noqa: E731
    assert error(smooth) < error(blocky) < error(tailed)


def test_smoothing_keeps_numbers_and_leaves_a_cut_cell_cut_straight() -> None:
    labels = discs((100, 120), (2, 40, 40), (60, 90, 40))
    smooth = smooth_outline(labels, 1.5)
    for index in (1, 2):
        a, b = labels == index, smooth == index
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.97
    assert (smooth[0] > 0).sum() == pytest.approx((labels[0] > 0).sum(), abs=2)


def test_smoothing_lets_neighbours_keep_their_own_pixels() -> None:
    labels = discs((80, 120), (40, 40, 40), (40, 79, 40))
    smooth = smooth_outline(labels, 1.5)
    for mine, other in ((1, 2), (2, 1)):
        assert ((smooth == mine) & (labels == other)).sum() < 5, "no more than rounds the notch between"


def test_whole_cells_are_cut_out_with_their_size() -> None:
    made = source((70, 60, 50), (130, 160, 60), (2, 100, 40))
    first, second = cut_outs(made)
    assert first.diameter == pytest.approx(50, rel=0.01)
    assert second.diameter == pytest.approx(60, rel=0.01)
    assert first.relative_size == pytest.approx(50 / made.diameter, rel=0.01)
    assert first.image.shape[:2] == first.mask.shape
    assert (first.image[first.mask > 0.5] < 0.7).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_mosaic_is_a_larger_field_with_cells_of_60_pixels(seed: int) -> None:
    parts = [source((70, 60, 50), (130, 160, 60)), source((100, 120, 80))]
    made = mosaic(parts, np.random.default_rng(seed))
    assert made is not None
    assert made.image.shape == (384, 384, 3)
    assert made.labels.shape == (384, 384)
    assert made.diameter == 60
    assert made.centres
    for index in made.centres:
        mask = made.labels == index
        np.testing.assert_allclose(ndimage.center_of_mass(mask), made.centres[index])
        assert 40 < equivalent_diameter(mask.sum()) < 80
    assert made.image.min() >= 0
    assert made.image.max() <= 1.25


def test_there_is_none_of_a_cell_that_no_window_shows_whole() -> None:
    field = replace(pair(discs((200, 240), (100, 120, 120))), white_cell=40.0)
    assert mosaic([make_source(field, "mine", smooth=False)], np.random.default_rng(0)) is None


# Places without cells ------------------------------------------------------------------------------


@given(
    boxes=st.lists(st.tuples(*[st.integers(-5, 45)] * 2, *[st.integers(1, 30)] * 2), max_size=5),
    least=st.integers(1, 20),
)
@example(boxes=[(0, 0, 1, 2), (0, 41, 1, 1)], least=1)  # one of the two lies beside the image
def test_the_largest_empty_rectangle_is_the_largest_there_is(boxes, least) -> None:
    shape = (24, 40)
    corners = np.array([(r, c, r + h, c + w) for r, c, h, w in boxes], float).reshape(-1, 4)
    taken = np.zeros(shape, bool)
    for r0, c0, r1, c1 in corners.astype(int):
        taken[max(r0, 0) : max(r1, 0), max(c0, 0) : max(c1, 0)] = True
    # By brute force: sums of every rectangle, over the integral image.
    sums = np.pad(taken.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    best = 0
    for height in range(least, shape[0] + 1):
        for width in range(least, shape[1] + 1):
            inside = (
                sums[height:, width:]
                - sums[:-height, width:]
                - sums[height:, :-width]
                + sums[:-height, :-width]
            )
            if (inside == 0).any():
                best = max(best, height * width)
    found = largest_empty(shape, corners, least)
    if best == 0:
        assert found is None
    else:
        assert found is not None
        assert not taken[found].any()
        assert taken[found].size == best
        assert min(taken[found].shape) >= least


def test_a_background_holds_no_cell_and_is_wide_enough_to_be_of_use() -> None:
    field = source((70, 60, 50), (130, 160, 60))
    background = background_of(field)
    assert background is not None
    assert background.image.mean() == pytest.approx(1, abs=0.01)
    assert not background.labels.any()
    assert background.diameter == field.diameter
    assert background_of(source((100, 120, 190))) is None, "only slivers are left beside so large a cell"
