"""What looks like a white cell and was not counted is told."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.segmentation.detections import Detections, cells_of_tile
from napari_wbcseg.segmentation.scale import Candidate, RedCells, ScaleEstimate
from napari_wbcseg.segmentation.tiles import tile_grid
from napari_wbcseg.segmentation.uncounted import (
    FROM_AFAR,
    OVEREXPOSED,
    PARAMETERS,
    RED_OR_WHITE,
    TOO_SMALL,
    notes_on_uncounted,
)
from napari_wbcseg.words import in_doubt

from ..drawings import disc_labels

VIOLET, RED, DIAMETER = (1.1, 1.5, 0.5), (0.3, 0.5, 0.4), 30.0
CELLS, OTHER = [(40.0, 40.0, DIAMETER), (40.0, 120.0, DIAMETER)], (110.0, 80.0)


def notes(
    certainty: float = 0.9,
    other: tuple[float, float, float] = VIOLET,
    wide: float = DIAMETER,
    candidates: tuple[Candidate, ...] = (),
    burnt_out: float = 0.0,
    background: float = 255.0,
    more: Sequence[tuple[float, float]] = (),
    red_cell: float = 25.0,
    fields: Sequence[Box] = (Box(0, 0, 160, 160),),
    height: int = 160,
    diameter: float = DIAMETER,
    samples: Sequence[Box] = (),
) -> tuple[str, ...]:
    """Return what is told of an image with two cells that are found, and something that is not.

    The cells are as bright as the empty slide within so many diameters. More of the other thing may be
    elsewhere.
    """
    shape, cells = (height, 160), [(row, col, diameter) for row, col, _ in CELLS]
    labels = disc_labels(shape, cells)
    image = np.zeros((*shape, 3), np.float32)
    image[labels > 0] = VIOLET
    image[disc_labels(shape, [(*place, wide) for place in (OTHER, *more)]) > 0] = other
    if burnt_out:
        image[disc_labels(shape, [(row, col, burnt_out * across) for row, col, across in cells]) > 0] = 0
    (tile,) = tile_grid(shape, 10.0)
    nothing = np.zeros(labels.shape, np.float32), np.zeros((0, 4), np.int64)
    tiles = [cells_of_tile(Detections(labels, *nothing, {1: certainty, 2: certainty}), image, tile)]
    estimate = ScaleEstimate(RedCells(red_cell, RED, True), list(candidates))
    return notes_on_uncounted(image, fields, diameter, tiles, estimate, (background,) * 3, samples)


def test_a_place_stained_like_the_sure_cells_is_told() -> None:
    (note,) = notes()
    assert "at least 1 place is stained like one" in note


def test_what_the_edge_of_a_sample_cuts_off_is_not_told() -> None:
    assert notes(samples=[Box(0, 0, 160, 160)])
    for sample in (Box(0, 0, 112, 160), Box(0, 80, 160, 160), Box(0, 0, 124, 160)):
        assert not notes(samples=[sample])


def test_a_cell_that_the_edge_of_a_sample_cuts_off_is_not_told_as_smaller_than_a_red_cell() -> None:
    """Its outline ends a pixel or two from there, as the network draws it, and not at the very edge."""
    small = {"red_cell": 34.0, "other": RED}
    assert "smaller than a red cell" in " ".join(notes(**small, samples=[Box(0, 0, 160, 160)]))
    assert not notes(**small, samples=[Box(23, 0, 160, 160)])


def test_where_more_places_than_were_counted_are_stained_alike_the_count_is_in_doubt() -> None:
    """As where a camera sharpened a field of red cells, of which some look like white ones."""
    (note,) = notes(more=[(110.0, 30.0)])
    assert not in_doubt([note], corrected=False), "two are counted, and two more may be cells"
    (note,) = notes(more=[(110.0, 30.0), (110.0, 130.0)])
    assert note == RED_OR_WHITE
    assert in_doubt([note], corrected=False)
    assert not in_doubt([note], corrected=True)


def test_a_large_picture_of_small_cells_takes_no_more_memory_than_it_has_pixels() -> None:
    """Its cells were enlarged, and all of it with them; now it is looked at strip by strip."""
    height = 3000
    tracemalloc.start()
    try:
        small, note = notes(
            wide=8.0, more=[(PARAMETERS.strip, 80.0)], height=height, diameter=8.0, red_cell=6.0
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "at least 2 places are stained like one" in note, "the second lies in two strips"
    assert small == TOO_SMALL
    assert most < 100 * height * 160


@pytest.mark.parametrize(
    ("other", "wide"),
    [
        pytest.param((0.0, 0.0, 0.0), DIAMETER, id="empty slide"),
        pytest.param(RED, DIAMETER, id="a red cell"),
        pytest.param((0.4, 0.55, 0.18), DIAMETER, id="a smudge"),
        pytest.param(VIOLET, 12.0, id="a platelet"),
    ],
)
def test_what_is_not_is_not(other: tuple[float, float, float], wide: float) -> None:
    assert notes(other=other, wide=wide) == ()


def test_a_seam_between_cells_is_none() -> None:
    assert notes(wide=9.0, more=[(110.0, col) for col in range(10, 150, 4)]) == ()


def test_where_no_cell_is_sure_what_was_seen_from_afar_is_told() -> None:
    assert notes(0.6) == ()
    assert notes(0.6, candidates=(Candidate(40.0, 40.0, DIAMETER, 0.9),)) == (), "it is counted"
    assert notes(0.6, candidates=(Candidate(*OTHER, DIAMETER, 0.3),)) == (), "it is faint"
    for place in (
        OTHER,
        (160.4, 80.0),
        (80.0, 160.4),
    ):  # beyond the last pixel, of a level that is rounded up
        assert notes(0.6, candidates=(Candidate(*place, DIAMETER, 0.9),)) == (FROM_AFAR,)


def test_cells_that_are_not_counted_are_not_too_small_to_be_counted_surely() -> None:
    small = {"other": (0.0, 0.0, 0.0), "wide": 8.0, "diameter": 8.0}
    assert notes(0.85, red_cell=6.0, **small) == (TOO_SMALL,)
    assert notes(0.85, red_cell=12.0, **small) == (), "all are smaller than a red cell"


def test_cells_as_bright_as_an_empty_slide_that_is_burnt_out_are_told() -> None:
    empty = (0.0, 0.0, 0.0)
    assert notes(other=empty, burnt_out=0.3) == (OVEREXPOSED,)
    assert notes(burnt_out=0.3)[0] == OVEREXPOSED, "beside what else is told"
    assert notes(other=empty, burnt_out=0.3, background=240.0) == (), "the camera shows brighter things"
    assert notes(other=empty, burnt_out=0.1) == (), "a speck of light"
    assert notes(0.6, burnt_out=0.3) == (), "no cell is sure"


def test_what_is_sure_and_smaller_than_a_red_cell_is_told() -> None:
    empty = (0.0, 0.0, 0.0)
    (note,) = notes(other=empty, red_cell=40.0)
    assert note.startswith("What looks like a white cell in 2 places is smaller than a red cell")
    assert notes(0.85, other=empty, red_cell=40.0) == (), "as platelets look"
    panels = [Box(0, 0, 160, 56), Box(0, 105, 160, 160)]
    assert notes(other=empty, red_cell=40.0, fields=panels) == (), "cut by its panel's border it is counted"
