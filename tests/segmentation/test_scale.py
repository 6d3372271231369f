"""How large cells are is read off the network's own maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.prediction import Maps, Predictor
from napari_wbcseg.segmentation.scale import (
    _PIXELS_A_LEVEL,
    PARAMETERS,
    Candidate,
    Levels,
    RedCells,
    ScaleEstimate,
    _told,
    _windows_of_a_level,
    find_candidates,
    find_red_cells,
    reference_size,
    size_likelihood,
    typical_diameter,
)
from napari_wbcseg.settings import SegmentationSettings

from ..drawings import disc_labels, perfect_maps

CANONICAL = 48.0

candidates = st.lists(
    st.builds(
        Candidate,
        row=st.floats(0, 200),
        col=st.floats(0, 200),
        diameter=st.floats(5, 100),
        score=st.floats(0.15, 1),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.5])
def test_cells_are_found_in_pixels_of_the_image(factor: float) -> None:
    maps = perfect_maps(disc_labels((160, 200), [(50, 60, 48), (110, 140, 40)]), CANONICAL)
    found = sorted(find_candidates(maps, factor, CANONICAL), key=lambda s: s.row)
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
        (seen,) = find_candidates(maps, 1.0, CANONICAL)
        scores.append(seen.score)
    assert scores[1] == max(scores)


@pytest.mark.parametrize("octaves", [-2.0, 2.0])
def test_cells_far_from_the_size_the_network_knows_are_left_to_another_scale(octaves: float) -> None:
    maps = perfect_maps(disc_labels((160, 160), [(80, 80, 48)]), CANONICAL)
    far = replace(maps, diameter=np.full_like(maps.diameter, CANONICAL * 2**octaves))
    assert find_candidates(far, 1.0, CANONICAL) == []


def test_a_centre_without_a_cell_around_it_is_no_candidate() -> None:
    maps = perfect_maps(disc_labels((160, 160), [(80, 80, 48)]), CANONICAL)
    assert find_candidates(replace(maps, cell=np.zeros_like(maps.cell)), 1.0, CANONICAL) == []


# Which sizes to try --------------------------------------------------------------------------------


def sizes_to_try(
    candidates: list[Candidate], red_cell: float | None = None, round_field: float | None = None
) -> list[float]:
    return ScaleEstimate(RedCells(red_cell), candidates, round_field).sizes(candidates)


def seen(diameter: float, number: int = 1, score: float = 0.7) -> list[Candidate]:
    return [Candidate(10.0 * i, 20.0, diameter, score) for i in range(number)]


@given(candidates, st.one_of(st.none(), st.floats(5, 100)))
def test_the_sizes_to_try_are_few_and_apart_and_were_seen(candidates, red_cell) -> None:
    found = sizes_to_try(candidates, red_cell)
    assert len(found) <= 4
    for size in found:
        assert min(abs(size - s.diameter) for s in candidates) < 1e-6 * size
    assert (np.diff(np.sort(found)) > 0).all()


def test_a_group_taken_for_one_cell_does_not_hide_its_cells() -> None:
    # Four cells of 130 pixels, which the coarsest scale takes for one of 380.
    sizes = sizes_to_try(seen(380) + seen(130, 4))
    assert sizes == pytest.approx([380, 130])


def test_platelets_though_many_do_not_come_before_the_cells() -> None:
    sizes = sizes_to_try(seen(60, 3) + seen(18, 20, score=0.4))
    assert sizes[0] == pytest.approx(60)


def test_what_is_little_beside_the_rest_is_not_tried() -> None:
    assert sizes_to_try(seen(60, 3) + seen(18, 2)) == pytest.approx([60])


def test_beside_red_cells_an_unlikely_size_counts_for_less() -> None:
    both = seen(60, 4) + seen(150)
    assert sizes_to_try(both)[0] == pytest.approx(150)
    assert sizes_to_try(both, red_cell=35)[0] == pytest.approx(60)


def test_what_is_surely_seen_counts_whatever_the_red_cells_say() -> None:
    assert size_likelihood(30, None) == size_likelihood(PARAMETERS.white_over_red * 20, 20) == 1
    octave = [size_likelihood(35 * 2.0**i, 20) for i in range(5)]
    assert octave == sorted(octave, reverse=True)
    assert octave[1] > 0.1, "a giant blast"
    assert [size_likelihood(35 * 2.0**i, 20, many=True) for i in range(5)] == octave
    assert size_likelihood(25, 20, many=True) < 0.3 * size_likelihood(25, 20), (
        "hardly larger than many red cells"
    )
    assert 0.001 < octave[4] < 0.01, "a round field of view"


def test_a_group_in_the_field_of_an_eyepiece_is_hardly_one_cell() -> None:
    both = seen(460) + seen(165, 2)
    assert sizes_to_try(both)[0] == pytest.approx(460)
    assert sizes_to_try(both, round_field=770)[0] == pytest.approx(165)
    assert sizes_to_try(seen(460), round_field=770)[0] == pytest.approx(460), "a lone cell in a circle"


# Red cells -----------------------------------------------------------------------------------------


def grid_of(diameter: float, count: int = 3) -> np.ndarray:
    places = [60 * (i + 0.5) for i in range(count)]
    return disc_labels((60 * count, 60 * count), [(row, col, diameter) for row in places for col in places])


def found_in(maps: Maps, factor: float) -> np.ndarray:
    """Return octave, weight and number of the red cells' pixels, in an image without colours."""
    image = np.zeros((*np.ceil(np.array(maps.cell.shape) / factor).astype(int), 3), np.float32)
    return find_red_cells(maps, factor, CANONICAL, image)[:3]


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.5])
def test_red_cells_tell_their_size_in_pixels_of_the_image(factor: float) -> None:
    red = grid_of(CANONICAL / PARAMETERS.white_over_red)
    maps = perfect_maps(np.zeros_like(red), CANONICAL, red=red)
    found = reference_size(found_in(maps, factor))
    assert found == pytest.approx(CANONICAL / PARAMETERS.white_over_red / factor, rel=0.05)


def test_the_level_that_knows_their_size_best_decides() -> None:
    # The same red cells, 27 px in the image; seen reduced the network tells them too large.
    true, off = grid_of(27), grid_of(18)
    reduced = found_in(perfect_maps(np.zeros_like(off), CANONICAL, red=off), 0.4)
    full = found_in(perfect_maps(np.zeros_like(true), CANONICAL, red=true), 1.0)
    assert reference_size(np.concatenate([reduced, full], axis=1)) == pytest.approx(27, rel=0.05)


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.5])
def test_the_stain_of_red_cells_is_read_in_the_image(factor: float) -> None:
    red = grid_of(CANONICAL / PARAMETERS.white_over_red)
    maps = perfect_maps(np.zeros_like(red), CANONICAL, red=red)
    rows, cols = ((np.arange(side / factor) * factor).astype(int) for side in red.shape)
    image = (red[np.ix_(rows, cols)] > 0)[..., None] * np.array([1.5, 1.0, 0.5], np.float32)
    stain = find_red_cells(maps, factor, CANONICAL, image)[3:]
    assert np.median(stain, axis=1).tolist() == [1.5, 1.0, 0.5]


def test_few_red_cells_are_no_reference() -> None:
    assert reference_size(np.zeros((3, 0), np.float32)) is None
    red = disc_labels((120, 120), [(40, 40, 27), (80, 80, 27)])
    maps = perfect_maps(np.zeros_like(red), CANONICAL, red=red)
    assert reference_size(found_in(maps, 1.0)) is None


def test_red_cells_of_many_sizes_are_no_reference() -> None:
    ten_of_each = np.array([np.log2([20, 27, 37]).repeat(10), np.ones(30), np.ones(30)])
    assert reference_size(ten_of_each[:, 10:20]) == pytest.approx(27, rel=0.05)
    assert reference_size(ten_of_each) is None


def test_a_part_of_something_large_does_not_hide_the_red_cells() -> None:
    red = grid_of(27)
    true = found_in(perfect_maps(np.zeros_like(red), CANONICAL, red=red), 1.0)
    large = np.array([[np.log2(350)] * 80, [0.002] * 80, [0.002] * 80])
    assert reference_size(np.concatenate([true, large], axis=1)) == pytest.approx(27, rel=0.05)


def test_a_sure_cell_of_the_usual_size_settles_the_scale() -> None:
    assert _told(seen(60, score=0.6), red_cell=35)
    assert not _told(seen(60, score=0.6), red_cell=None), "nothing says that it is no group of smaller ones"
    assert not _told(seen(60, score=0.6), red_cell=12)
    assert not _told(seen(60, score=0.3), red_cell=35)


@pytest.mark.parametrize("shape", [(300, 500), (3000, 2000)])
def test_of_a_large_level_no_more_is_looked_at_than_so_many_pixels(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.float32)
    image[-200:, -200:] = 1.0
    windows = _windows_of_a_level(image, 16)
    assert any(w.bottom >= shape[0] - 16 and w.right >= shape[1] - 16 for w in windows)
    assert sum(w.area for w in windows) <= 1.3 * _PIXELS_A_LEVEL


def test_a_level_that_shows_a_part_of_the_image_proposes_no_cells(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its other windows hold was passed over: 298 cells were found of 318."""
    levels = Levels(np.ones((800, 900, 3), np.float32), Predictor(model, SegmentationSettings(), silent))
    assert levels.showing(100.0, 25.0) is not None
    monkeypatch.setattr("napari_wbcseg.segmentation.scale._PIXELS_A_LEVEL", 2 * 256**2)
    levels = Levels(levels.image, levels.predictor)
    assert levels.showing(100.0, 25.0) is None


def test_the_typical_diameter_is_that_of_the_cells_not_of_many_specks() -> None:
    specks = [(20 + 12 * i, 180, 6) for i in range(10)]
    labels = disc_labels((200, 200), [(60, 60, 50), *specks])
    assert abs(typical_diameter(np.bincount(labels.ravel())[1:]) - 50) < 2
    assert typical_diameter(np.zeros(3)) == 0
