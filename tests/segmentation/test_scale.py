"""How large cells are is read off the network's own maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wbcseg.segmentation.scale import Sighting, distinct, sight

from .drawings import disc_labels, perfect_maps

CANONICAL = 48.0

sightings = st.lists(
    st.builds(
        Sighting,
        row=st.floats(0, 200),
        col=st.floats(0, 200),
        diameter=st.floats(5, 100),
        score=st.floats(0.15, 1),
    ),
    max_size=25,
)


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.5])
def test_cells_are_sighted_in_pixels_of_the_image(factor: float) -> None:
    maps = perfect_maps(disc_labels((160, 200), [(50, 60, 48), (110, 140, 40)]), CANONICAL)
    found = sorted(sight(maps, factor, CANONICAL), key=lambda s: s.row)
    assert len(found) == 2
    for seen, (row, col, diameter) in zip(found, [(50, 60, 48), (110, 140, 40)], strict=True):
        assert (seen.row, seen.col) == pytest.approx(
            ((row + 0.5) / factor, (col + 0.5) / factor), abs=1.5 / factor
        )
        assert seen.diameter == pytest.approx(diameter / factor, rel=0.02)


def test_a_cell_of_the_size_the_network_knows_best_is_the_surest() -> None:
    scores = []
    for diameter in (24, 48, 96):
        maps = perfect_maps(disc_labels((160, 160), [(80, 80, diameter)]), CANONICAL)
        (seen,) = sight(maps, 1.0, CANONICAL)
        scores.append(seen.score)
    assert scores[1] == max(scores)


@pytest.mark.parametrize("octaves", [-2.0, 2.0])
def test_cells_far_from_the_size_the_network_knows_are_left_to_another_scale(octaves: float) -> None:
    maps = perfect_maps(disc_labels((160, 160), [(80, 80, 48)]), CANONICAL)
    far = replace(maps, diameter=np.full_like(maps.diameter, CANONICAL * 2**octaves))
    assert sight(far, 1.0, CANONICAL) == []


def test_a_centre_without_a_cell_around_it_is_no_sighting() -> None:
    maps = perfect_maps(disc_labels((160, 160), [(80, 80, 48)]), CANONICAL)
    assert sight(replace(maps, cell=np.zeros_like(maps.cell)), 1.0, CANONICAL) == []


@settings(deadline=None)
@given(sightings)
def test_sightings_that_are_kept_do_not_overlap(seen) -> None:
    kept = distinct(seen)
    assert set(kept) <= set(seen)
    for i, a in enumerate(kept):
        for b in kept[i + 1 :]:
            assert np.hypot(a.row - b.row, a.col - b.col) > 0.5 * max(a.diameter, b.diameter)


@settings(deadline=None)
@given(sightings)
def test_what_is_dropped_lies_with_another_sighting(seen) -> None:
    kept = distinct(seen)
    for one in set(seen) - set(kept):
        assert any(
            np.hypot(one.row - other.row, one.col - other.col) <= 0.5 * max(one.diameter, other.diameter)
            for other in seen
            if other is not one
        )


CELL = Sighting(row=50, col=50, diameter=60, score=0.4)


def test_the_cell_is_kept_and_not_the_surer_lobe_inside() -> None:
    lobe = Sighting(row=55, col=52, diameter=28, score=0.7)
    assert distinct([lobe, CELL]) == [CELL]


def test_a_much_surer_cell_is_kept_and_not_the_doubtful_large_one_around() -> None:
    small = Sighting(row=55, col=52, diameter=28, score=0.9)
    assert distinct([small, CELL]) == [small]
