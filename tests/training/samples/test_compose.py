"""Samples composed from sources carry exact truth: labels, centres, sizes, and what is not known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.training.samples.compose import (
    Composer,
    Source,
    background_of,
    cut_outs,
    equivalent_diameter,
    largest_empty,
    make_source,
    mosaic,
    smooth_outline,
)


def discs(shape: tuple[int, int], *where: tuple[float, float, float]) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for number, (row, col, diameter) in enumerate(where, 1):
        labels[(rows - row) ** 2 + (cols - col) ** 2 <= diameter**2 / 4] = number
    return labels


def pair(labels: np.ndarray, name: str = "field") -> TrainingPair:
    """Return a pair whose cells are dark and blue on a slide that is bright."""
    image = np.where(labels[..., None] > 0, (90, 60, 140), (240, 230, 235)).astype(np.uint8)
    return TrainingPair(name, image, labels, "mine")


def source(*where: tuple[float, float, float], family: str = "mine") -> Source:
    made = make_source(pair(discs((200, 240), *where)), family, smooth=False)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer([source((70, 60, 50), (130, 160, 60)), source((100, 120, 80), family="other")])


def samples(composer: Composer, count: int, group: int | None = None, seed: int = 0):
    rng = np.random.default_rng(seed)
    return [composer.sample(rng, group) for _ in range(count)]


# Sources -------------------------------------------------------------------------------------------


def test_a_source_has_its_light_divided_out_and_knows_its_cells() -> None:
    labels = discs((200, 240), (70, 60, 50), (130, 160, 60), (2, 100, 40))
    made = make_source(pair(labels), "mine", smooth=False)
    assert made is not None
    assert made.image.dtype == np.float16
    np.testing.assert_allclose(made.image[199, 0], 1, atol=0.01)
    assert made.whole == {1, 2}, "the border cuts the third"
    assert made.diameter == pytest.approx(55, abs=6)
    np.testing.assert_allclose(made.centres[1], (70, 60), atol=0.1)
    np.testing.assert_array_equal(made.labels, labels)


def test_an_image_without_a_whole_cell_is_no_source() -> None:
    assert make_source(pair(np.zeros((60, 60), np.int32))) is None
    assert make_source(pair(discs((60, 60), (0, 30, 40)))) is None


def test_large_cells_are_brought_to_at_most_96_pixels() -> None:
    made = make_source(pair(discs((500, 600), (250, 300, 330))), "mine", smooth=False)
    assert made is not None
    assert made.diameter == pytest.approx(96)
    assert equivalent_diameter((made.labels == 1).sum()) == pytest.approx(96, rel=0.02)
    assert made.image.shape[:2] == made.labels.shape == (145, 175)
    np.testing.assert_allclose(made.centres[1], (250 * 96 / 330, 300 * 96 / 330), atol=1)


@given(st.floats(1, 1e6))
def test_the_equivalent_diameter_is_that_of_the_disc(diameter) -> None:
    assert equivalent_diameter(np.pi / 4 * diameter**2) == pytest.approx(diameter)


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


# Samples -------------------------------------------------------------------------------------------


def test_one_seed_gives_one_sample(composer: Composer) -> None:
    for first, again in zip(samples(composer, 10), samples(composer, 10), strict=True):
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.labels, again.labels)
        assert first.centres == again.centres
    assert not np.array_equal(samples(composer, 1)[0].image, samples(composer, 1, seed=1)[0].image)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), group=st.sampled_from([None, 0, 1, 3]))
def test_truth_and_picture_agree(composer, seed, group) -> None:
    sample = composer.sample(np.random.default_rng(seed), group)
    assert sample.image.shape == (128, 128, 3)
    assert sample.image.dtype == np.float32
    assert sample.labels.shape == sample.doubtful.shape == (128, 128)
    assert sample.labels.dtype == np.int32
    assert sample.doubtful.dtype == bool
    present = set(np.unique(sample.labels)) - {0}
    assert set(sample.centres) == set(sample.diameters) <= present
    for index, (row, col) in sample.centres.items():
        mask = sample.labels == index
        assert equivalent_diameter(mask.sum()) <= sample.diameters[index] * 1.001
        inside = not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        if inside:
            np.testing.assert_allclose(ndimage.center_of_mass(mask), (row, col), atol=1e-6)
            assert equivalent_diameter(mask.sum()) == pytest.approx(sample.diameters[index])
    core = ndimage.binary_erosion(sample.labels > 0, iterations=4) & ~sample.doubtful
    if core.any():
        assert np.median(sample.image[core].mean(axis=1)) < 0.6, "cells are the dark ones here"


def test_pasted_cells_touch_and_stay_apart_in_the_truth(composer: Composer) -> None:
    groups = 0
    for sample in samples(composer, 40, group=3):
        grown = [ndimage.binary_dilation(sample.labels == i, iterations=2) for i in sample.centres]
        groups += sum((grown[i] & grown[j]).any() for i in range(len(grown)) for j in range(i))
    assert groups > 10


def test_without_pasting_cells_come_from_the_source_alone(composer: Composer) -> None:
    alone = np.mean([len(s.centres) for s in samples(composer, 40, group=0)])
    pasted = np.mean([len(s.centres) for s in samples(composer, 40, group=3)])
    assert pasted > alone + 0.25


def test_sizes_lie_around_the_canonical_diameter_and_far_from_it_too(composer: Composer) -> None:
    # One a sample, since many more of the small ones fit in.
    sizes = np.array([max(s.diameters.values()) for s in samples(composer, 80) if s.diameters])
    assert 0.6 * 48 < np.median(sizes) < 1.6 * 48
    assert sizes.min() < 0.5 * 48
    assert sizes.max() > 1.6 * 48


def test_some_samples_show_nothing_that_is_a_cell(composer: Composer) -> None:
    empty = [not s.labels.any() for s in samples(composer, 100)]
    assert 0.05 < np.mean(empty) < 0.5


def test_families_are_drawn_by_their_weight() -> None:
    pale = source((100, 120, 60), family="pale")
    pale.image[:] = 1.0  # so that its samples can be told
    dark = source((100, 120, 60), family="dark")
    balanced = Composer([pale, dark, dark, dark])
    skewed = Composer([pale, dark], weights={"pale": 0.0})
    assert balanced.names == ["dark", "pale"]
    np.testing.assert_allclose(balanced.share, [0.5, 0.5])
    np.testing.assert_allclose(skewed.share, [1.0, 0.0])


def test_cells_that_the_source_cuts_have_no_centre() -> None:
    cut = source((100, 120, 50), (0, 40, 60))
    seen = 0
    for sample in samples(Composer([cut]), 60, group=0):
        unknown = set(np.unique(sample.labels)) - {0} - set(sample.centres)
        seen += bool(unknown)
        for index in unknown:
            # Its pixels are doubtful where mirroring doubled it, and those of a cell otherwise.
            assert index not in sample.diameters
    assert seen > 5


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


def test_samples_from_backgrounds_can_hold_groups() -> None:
    found = samples(Composer([source((70, 60, 50), (130, 160, 60))]), 80, group=2)
    assert sum(0 < len(s.centres) <= 2 for s in found) > 10


# Mosaics -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_mosaic_is_a_larger_field_with_cells_of_60_pixels(seed: int) -> None:
    parts = [source((70, 60, 50), (130, 160, 60)), source((100, 120, 80))]
    made = mosaic(parts, np.random.default_rng(seed))
    assert made.image.shape == (384, 384, 3)
    assert made.labels.shape == (384, 384)
    assert made.diameter == 60
    assert made.whole
    assert set(made.centres) == made.whole
    for index in made.whole:
        mask = made.labels == index
        np.testing.assert_allclose(ndimage.center_of_mass(mask), made.centres[index])
        assert 40 < equivalent_diameter(mask.sum()) < 80
    assert made.image.min() >= 0
    assert made.image.max() <= 1.25
