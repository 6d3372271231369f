"""What is no white cell is left out; what the network is sure of stays."""

from __future__ import annotations

import numpy as np

from napari_wbcseg.segmentation.filters import PARAMETERS, red_cells_by_stain, too_small

from ..drawings import disc_labels

RED_CELL = 30.0


def large_enough(labels: np.ndarray, red_cell: float | None, certainty: float = 0.7) -> list[int]:
    """Return the labels that are not too small, each as certain."""
    areas = np.bincount(labels.ravel())[1:]
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    cut = np.isin(np.arange(1, len(areas) + 1), border)
    small = too_small(areas, cut, np.full(len(areas), certainty), red_cell)
    return (np.flatnonzero(~small) + 1).tolist()


def test_a_platelet_beside_a_cell_is_left_out() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (150, 150, 16)])
    assert large_enough(labels, None) == [1]


def test_a_small_lymphocyte_beside_a_monocyte_is_kept() -> None:
    labels = disc_labels((200, 200), [(60, 60, 70), (150, 150, 36)])
    assert large_enough(labels, None) == [1, 2]


def test_nothing_much_smaller_than_a_red_cell_is_a_white_cell() -> None:
    labels = disc_labels((200, 200), [(60, 60, 20), (150, 150, 40)])
    assert large_enough(labels, RED_CELL) == [2]


def test_a_sure_cell_is_kept_however_small() -> None:
    labels = disc_labels((200, 200), [(60, 60, 20), (150, 150, 60)])
    assert large_enough(labels, RED_CELL, PARAMETERS.sure) == [1, 2]


def test_a_cell_that_the_border_cuts_may_be_small() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (196, 150, 44)])
    assert large_enough(labels, None) == [1, 2]


def test_what_is_rather_an_erythroblast_may_be_smaller_than_a_red_cell() -> None:
    areas, one = np.pi / 4 * np.array([0.8, 0.8, 0.5]) ** 2 * RED_CELL**2, np.ones(3)
    probability = np.array([0.6, 0.4, 0.6])
    small = too_small(areas, one < 0, 0.7 * one, RED_CELL, erythroblast=probability)
    assert small.tolist() == [False, True, True]


def test_what_is_small_is_so_among_the_cells_of_its_look() -> None:
    areas, look = np.array([9000.0, 900.0]), np.array([0, 1])
    sure, inside = np.full(2, 0.9), np.zeros(2, bool)
    assert too_small(areas, inside, sure, None).tolist() == [False, True]
    assert not too_small(areas, inside, sure, None, look=look).any()


def test_beside_several_likely_cells_of_any_look_the_red_cells_may_be_mistaken() -> None:
    areas, look = np.array([4000.0] * 3 + [450.0]), np.array([0, 0, 0, 1])  # the last 24 across
    sure, inside = np.full(4, 0.9), np.zeros(4, bool)
    assert not too_small(areas, inside, sure, RED_CELL, look=look).any()
    assert too_small(areas[2:], inside[2:], sure[2:], RED_CELL, look=look[2:]).tolist() == [False, True]


RED, WHITE = (0.4, 0.9, 0.5), (1.4, 1.7, 0.9)
#: Cells of the first look.
FIRST = np.zeros(4, int)


def between(*shares: float) -> np.ndarray:
    """Return stains between that of red cells, 0, and of white cells, 1."""
    return np.array([(1 - share) * np.array(RED) + share * np.array(WHITE) for share in shares])


def test_an_unsure_cell_stained_as_the_red_cells_is_left_out() -> None:
    out = red_cells_by_stain(between(1.0, 0.1, 0.1, 0.7), np.array([0.95, 0.7, 0.95, 0.7]), RED, FIRST[:4])
    assert out.tolist() == [False, True, False, False], "the third is sure, the fourth stained as white cells"


def test_a_fairly_sure_cell_shows_the_stain_of_white_cells_and_is_judged_by_it_too() -> None:
    assert PARAMETERS.reference < 0.85 < PARAMETERS.judged
    stain, certainty = between(1.0, 1.0, 0.0), np.array([0.85, 0.85, 0.85])
    assert red_cells_by_stain(stain, certainty, RED, FIRST[:3]).tolist() == [False, False, True]


def test_what_is_darker_than_the_white_cells_stays_whatever_its_colour() -> None:
    dark_blue = np.array([[1.9, 1.9, 0.3]])
    stain = np.concatenate([between(1.0), dark_blue])
    assert dark_blue.sum() > np.sum(WHITE)
    assert not red_cells_by_stain(stain, np.array([0.95, 0.5]), RED, FIRST[:2]).any()


def test_stain_tells_nothing_without_a_reference() -> None:
    stain, certainty = between(1.0, 0.0), np.array([0.95, 0.5])
    assert red_cells_by_stain(stain, certainty, RED, FIRST[:2]).tolist() == [False, True]
    assert not red_cells_by_stain(stain, certainty, None, FIRST[:2]).any(), "no red cell"
    assert not red_cells_by_stain(stain, np.array([0.75, 0.5]), RED, FIRST[:2]).any(), "no sure cell"
    alike = between(0.1, 0.0)
    assert not red_cells_by_stain(alike, certainty, RED, FIRST[:2]).any(), "red and white cells look the same"


def test_many_red_cells_of_a_later_look_do_not_pass_for_examples_of_white_ones() -> None:
    stain, certainty = between(1.0, 0.0, 0.1, 0.0), np.array([0.92, 0.85, 0.85, 0.85])
    out = red_cells_by_stain(stain, certainty, RED, np.array([0, 1, 1, 1]))
    assert out.tolist() == [False, True, True, True]
