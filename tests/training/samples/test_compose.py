"""Samples composed from sources carry exact truth: labels, centres, sizes, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_wbcseg.sizes import equivalent_diameter
from napari_wbcseg.training.samples import compose
from napari_wbcseg.training.samples.compose import Composer, Picture
from napari_wbcseg.training.samples.sources import CutOut, make_source

from .fields import discs, pair, source


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer([source((70, 60, 50), (130, 160, 60)), source((100, 120, 80), family="other")])


def samples(composer: Composer, count: int, group: int | None = None, seed: int = 0):
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        if group is not None:
            patch.setattr(compose, "_group_size", lambda *_: group)
        return [composer.sample(rng) for _ in range(count)]


def test_one_seed_gives_one_sample(composer: Composer) -> None:
    for first, again in zip(samples(composer, 10), samples(composer, 10), strict=True):
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.labels, again.labels)
        assert first.centres == again.centres
    assert not np.array_equal(samples(composer, 1)[0].image, samples(composer, 1, seed=1)[0].image)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), group=st.sampled_from([None, 0, 1, 3]))
def test_truth_and_picture_agree(composer, seed, group) -> None:
    (sample,) = samples(composer, 1, group, seed)
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


def test_where_no_source_shows_a_cell_none_is_pasted() -> None:
    """As when pictures without cells are all that is kept aside to validate on."""
    empty = replace(pair(discs((200, 240))), white_cell=50.0)
    composer = Composer([make_source(empty, "no-cells", smooth=False)])
    assert not any(sample.labels.any() for sample in samples(composer, 10, group=3))


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


def test_a_cell_that_is_pasted_over_one_that_the_source_cuts_is_whole() -> None:
    picture = Picture.plain(np.ones((64, 64, 3), np.float32))
    picture.cut[:, :40] = picture.mirrored = True
    (row, col), rng = np.mgrid[-10:11, -10:11], np.random.default_rng(0)
    disc = (row**2 + col**2 <= 100).astype(np.float32)
    cell = CutOut(np.full((21, 21, 3), 0.3, np.float16), disc, diameter=20.0, relative_size=1.0)
    picture.paste(cell, 1.0, np.array([32, 32]), rng)
    sample = picture.crop(8)
    assert len(sample.centres) == 1
    assert not sample.doubtful[sample.labels > 0].any()


def test_samples_from_backgrounds_can_hold_groups() -> None:
    found = samples(Composer([source((70, 60, 50), (130, 160, 60))]), 80, group=2)
    assert sum(0 < len(s.centres) <= 2 for s in found) > 10


def test_where_a_picture_is_made_much_smaller_its_labels_still_lie_on_it() -> None:
    field, rng = source((100, 120, 80)), np.random.default_rng(0)
    off = []
    for _ in range(12):
        made = Picture.around(field, np.array([100, 120]), 0.5, 64, rng)
        dark = 1 - made.image.mean(axis=2)
        off.append(np.subtract(ndimage.center_of_mass(made.labels > 0), ndimage.center_of_mass(dark)))
    assert np.abs(off).max() < 0.15
