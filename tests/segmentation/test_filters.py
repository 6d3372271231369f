"""What is no white cell is left out; what the network is sure of stays."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.segmentation.filters import (
    PARAMETERS,
    cut_by_border,
    red_cells_by_stain,
    too_small,
    white_cell_stain,
)
from napari_wbcseg.segmentation.scale import RedCells

from ..drawings import disc_labels

RED_CELL = 30.0


def sized(areas: np.ndarray, certainty: float, look: np.ndarray | int = 0) -> np.ndarray:
    """Return rows of cells."""
    rows = np.zeros(len(areas), [("area", float), ("certainty", float), ("look", int)])
    rows["area"], rows["certainty"], rows["look"] = areas, certainty, look
    return rows


def large_enough(labels: np.ndarray, red_cell: float | None, certainty: float = 0.7) -> list[int]:
    """Return the labels that are not too small, each as certain."""
    areas = np.bincount(labels.ravel())[1:]
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    cut = np.isin(np.arange(1, len(areas) + 1), border)
    small = too_small(sized(areas, certainty), cut, RedCells(red_cell))
    return (np.flatnonzero(~small) + 1).tolist()


def test_a_platelet_beside_a_cell_is_left_out() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (150, 150, 16)])
    assert large_enough(labels, None) == [1]


def test_a_small_lymphocyte_beside_a_monocyte_is_kept() -> None:
    labels = disc_labels((200, 200), [(60, 60, 70), (150, 150, 36)])
    assert large_enough(labels, None) == [1, 2]


def test_beside_very_large_cells_the_red_ones_say_what_is_small() -> None:
    labels = disc_labels((300, 300), [(90, 90, 120), (90, 220, 110), (250, 250, 40)])
    assert large_enough(labels, None) == [1, 2]
    assert large_enough(labels, RED_CELL) == [1, 2, 3], "wider than a red cell"


def test_nothing_much_smaller_than_a_red_cell_is_a_white_cell() -> None:
    labels = disc_labels((200, 200), [(60, 60, 20), (150, 150, 40)])
    assert large_enough(labels, RED_CELL) == [2]


def test_a_sure_cell_is_kept_however_small() -> None:
    labels = disc_labels((200, 200), [(60, 60, 20), (150, 150, 60)])
    assert large_enough(labels, RED_CELL, PARAMETERS.sure) == [1, 2]


def test_the_border_of_another_panel_cuts_no_cell() -> None:
    """It begins in the row in which the panel beside it does."""
    panels = [Box(0, 0, 400, 300), Box(100, 320, 300, 600)]
    boxes = np.array([(100, 50, 150, 100), (350, 50, 400, 100), (100, 400, 150, 450), (150, 400, 200, 450)])
    assert cut_by_border(boxes, panels).tolist() == [False, True, True, False]
    assert cut_by_border(boxes[:0], panels).tolist() == []


def test_a_cell_that_the_border_cuts_may_be_small() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (196, 150, 44)])
    assert large_enough(labels, None) == [1, 2]


def test_a_platelet_that_the_border_cuts_is_left_out() -> None:
    labels = disc_labels((200, 200), [(195, 60, 20), (190, 150, 36)])
    assert large_enough(labels, None) == [1, 2]
    assert large_enough(labels, 1.3 * RED_CELL) == [2], "less than half as wide as a red cell"


def test_what_is_rather_an_erythroblast_may_be_smaller_than_a_red_cell() -> None:
    areas = np.pi / 4 * np.array([0.8, 0.8, 0.5]) ** 2 * RED_CELL**2
    probability = np.array([0.6, 0.4, 0.6])
    small = too_small(sized(areas, 0.7), np.zeros(3, bool), RedCells(RED_CELL), probability)
    assert small.tolist() == [False, True, True]


def test_what_is_small_is_so_among_the_cells_of_its_look() -> None:
    areas, look = np.array([9000.0, 900.0]), np.array([0, 1])
    inside = np.zeros(2, bool)
    assert too_small(sized(areas, 0.9), inside, RedCells()).tolist() == [False, True]
    assert not too_small(sized(areas, 0.9, look), inside, RedCells()).any()


def test_of_any_look_what_is_a_tenth_as_wide_as_the_widest_is_a_speck() -> None:
    areas, look, inside = np.array([9000.0, 300.0, 90.0]), np.array([0, 1, 2]), np.zeros(3, bool)
    assert too_small(sized(areas, 0.9, look), inside, RedCells()).tolist() == [False, False, True]
    assert not too_small(sized(areas, 0.98, look), inside, RedCells()).any(), "these are sure"


def test_beside_several_likely_cells_of_any_look_one_may_be_smaller_than_a_red_cell() -> None:
    areas, look = np.array([4000.0] * 2 + [450.0]), np.array([0, 0, 1])  # the last 24 across
    rows, inside, red = sized(areas, 0.9, look), np.zeros(3, bool), RedCells(RED_CELL)
    assert not too_small(rows, inside, red).any()
    assert too_small(rows[1:], inside[1:], red).tolist() == [False, True]
    assert too_small(rows[[2] * 2], inside[:2], red).all(), "large platelets are no such cells"


def test_so_may_several_likely_ones_beside_each_other() -> None:
    rows, inside, red = sized(np.array([450.0] * 3), 0.85), np.zeros(3, bool), RedCells(RED_CELL)
    assert not too_small(rows, inside, red).any()
    assert too_small(sized(rows["area"], 0.75), inside, red).all(), "these are not likely"
    assert too_small(rows, inside, RedCells(RED_CELL, many=True)).all(), "so many red cells are not mistaken"


def test_several_sure_cells_show_that_what_was_measured_are_no_red_cells() -> None:
    """But the squares of a grid in the eyepiece, over a thick film."""
    rows, inside, red = sized(np.array([100.0] * 3), 0.92), np.zeros(3, bool), RedCells(RED_CELL)
    assert not too_small(rows, inside, red).any()
    assert too_small(rows[1:], inside[1:], red).all(), "two may be platelets"
    assert too_small(sized(rows["area"], 0.85), inside, red).all(), "so may unsure ones"


RED, WHITE = (0.4, 0.9, 0.5), (1.4, 1.7, 0.9)


def between(*shares: float) -> np.ndarray:
    """Return stains between that of red cells, 0, and of white cells, 1."""
    return np.array([(1 - share) * np.array(RED) + share * np.array(WHITE) for share in shares])


def rows_of(stain: np.ndarray, *certainty: float) -> np.ndarray:
    rows = np.zeros(len(stain), [("stain", float, 3), ("certainty", float)])
    rows["stain"], rows["certainty"] = stain, certainty
    return rows


def thick(stain: tuple[float, float, float], times: float) -> np.ndarray:
    """Return the stain of what is so many times as thick, (1, 3), as Beer and Lambert have it."""
    return np.array([2 - 2 * (1 - np.array(stain) / 2) ** times])


def left_out(stain: np.ndarray, *certainty: float) -> list[bool]:
    """Say which cells are taken for red ones, beside the white ones that are sure."""
    return red_cells_by_stain(rows_of(stain, *certainty), RED).tolist()


def test_an_unsure_cell_stained_as_the_red_cells_is_left_out() -> None:
    out = left_out(between(1.0, 0.1, 0.1, 0.7), 0.95, 0.7, 0.95, 0.7)
    assert out == [False, True, False, False], "the third is sure, the fourth stained as white cells"


def test_a_fairly_sure_cell_shows_the_stain_of_white_cells_and_is_judged_by_it_too() -> None:
    assert PARAMETERS.reference < 0.85 < PARAMETERS.judged
    assert left_out(between(1.0, 1.0, 0.0), 0.85, 0.85, 0.85) == [False, False, True]


@pytest.mark.parametrize("times", [0.4, 1.0, 1.6, 2.5])
def test_a_red_cell_has_its_hue_however_thick_it_is(times: float) -> None:
    crenated = thick(RED, times)
    assert left_out(crenated, 0.89) == [True], "also where no white cell is seen"
    blasts = np.array([[1.2, 1.3, 0.5]])
    assert left_out(np.concatenate([blasts, crenated]), 0.85, 0.89) == [False, True], "however dark"


def test_many_fairly_sure_red_cells_are_no_examples_of_white_ones_beside_one_that_is() -> None:
    stain = np.concatenate([between(1.0), *(thick(RED, times) for times in (1.0, 1.3, 0.7, 2.0))])
    assert left_out(stain, 0.9, *[0.85] * 4) == [False, True, True, True, True]
    np.testing.assert_allclose(white_cell_stain(rows_of(stain, 0.9, *[0.85] * 4), np.array(RED)), WHITE)


def test_a_pale_blast_of_another_hue_than_the_red_cells_stays() -> None:
    lilac = np.array([[0.5, 0.65, 0.15]] * 3)
    assert np.linalg.norm(lilac[0] - RED) < 0.5 * np.linalg.norm(RED), "as dark as red cells"
    assert left_out(lilac, 0.85, 0.75, 0.55) == [False, False, False]
    assert left_out(lilac, 0.75, 0.75, 0.55) == [False, False, False], "nor does any have to be sure"


def test_beside_pale_white_cells_of_another_hue_what_is_much_paler_is_a_smudge() -> None:
    lilac, smudge = np.array([[0.5, 0.65, 0.15]]), np.array([[0.25, 0.33, 0.07]])
    assert left_out(np.concatenate([lilac, smudge]), 0.85, 0.7) == [False, True]
    assert left_out(np.concatenate([lilac, smudge]), 0.75, 0.7) == [False, False], "none is sure"


def test_a_red_cell_is_no_example_and_a_pale_white_one_of_another_hue_is() -> None:
    pale_white = np.array([[0.5, 0.5, 0.05]])
    assert pale_white.sum() < np.sum(RED)
    for times in (0.5, 1.0, 2.5):
        assert white_cell_stain(rows_of(thick(RED, times), 0.95), np.array(RED)) is None
    np.testing.assert_allclose(white_cell_stain(rows_of(pale_white, 0.95), np.array(RED)), pale_white[0])


def test_what_is_darker_than_the_white_cells_stays_whatever_its_colour() -> None:
    dark_blue = np.array([[1.9, 1.9, 0.3]])
    assert dark_blue.sum() > np.sum(WHITE)
    assert left_out(np.concatenate([between(1.0), dark_blue]), 0.95, 0.5) == [False, False]
    orange_granules = np.array([(1.4, 1.7, 0.5), (0.5, 1.2, 2.0)])
    assert left_out(orange_granules, 0.95, 0.5) == [False, False]


def test_stain_tells_nothing_without_red_cells() -> None:
    assert not red_cells_by_stain(rows_of(between(1.0, 0.0), 0.95, 0.5), None).any()


def test_in_a_grey_picture_what_is_as_dark_as_the_red_cells_is_one() -> None:
    red, stain = (0.6, 0.6, 0.6), np.repeat([[1.5], [0.65], [0.4], [1.4]], 3, axis=1)
    out = [False, True, True, False]
    assert red_cells_by_stain(rows_of(stain, 0.85, 0.7, 0.7, 0.7), red).tolist() == out
    assert red_cells_by_stain(rows_of(stain, 0.75, 0.7, 0.7, 0.7), red).tolist() == out, "with none sure"


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_faded_cells_are_told_from_faded_red_ones(share: float) -> None:
    stain = share * between(1.0, 1.0, 0.0)
    red = (share * RED[0], share * RED[1], share * RED[2])
    assert red_cells_by_stain(rows_of(stain, 0.85, 0.6, 0.6), red).tolist() == [False, False, True]
