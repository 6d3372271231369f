"""What is no white cell is left out, whatever the network says."""

from __future__ import annotations

import numpy as np
from napari_wbcseg.segmentation.plausible import leave_out_small, leave_out_unlikely, typical_diameter
from napari_wbcseg.segmentation.red_cells import RedCells

from napari_wbcseg.segmentation.found import Found
from napari_wbcseg.segmentation.instances import Instances

from ..drawings import disc_labels

RED = RedCells(diameter=30.0, stain=np.array([0.2, 0.6, 0.5], np.float32))


SLIDE = np.zeros((200, 200, 3), np.float32)


def found(labels: np.ndarray) -> Found:
    return Found(labels, (labels > 0).astype(np.float32), np.zeros((0, 4), np.int64), 48.0)


def kept(labels: np.ndarray) -> list[int]:
    return [int(i) for i in np.unique(labels) if i]


def test_a_platelet_beside_a_cell_is_left_out() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (150, 150, 16)])
    assert kept(leave_out_small(found(labels), SLIDE, None).labels) == [1]


def test_a_small_lymphocyte_beside_a_monocyte_is_kept() -> None:
    labels = disc_labels((200, 200), [(60, 60, 70), (150, 150, 36)])
    assert kept(leave_out_small(found(labels), SLIDE, None).labels) == [1, 2]


def test_nothing_smaller_than_a_red_cell_is_a_white_cell() -> None:
    labels = disc_labels((200, 200), [(60, 60, 24), (150, 150, 40)])
    assert kept(leave_out_small(found(labels), SLIDE, RED).labels) == [2]


def test_a_cell_that_the_border_cuts_may_be_small() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (196, 150, 44)])
    assert kept(leave_out_small(found(labels), SLIDE, None).labels) == [1, 2]


def test_beside_red_cells_a_platelet_stays_a_platelet_where_the_border_cuts_it() -> None:
    labels = disc_labels((200, 200), [(196, 150, 20)])
    assert kept(leave_out_small(found(labels), SLIDE, RED).labels) == []


def test_where_red_cells_cannot_be_measured_what_else_is_stained_is_the_ruler() -> None:
    # Two red cells, one of them cut by the border, beside a platelet; then beside a cell.
    others = disc_labels((200, 200), [(60, 60, 60), (60, 195, 60)]) > 0
    image = np.where(others[..., None], np.float32(0.6), np.float32(0))
    for diameter, left in ((24, []), (80, [1])):
        labels = disc_labels((200, 200), [(150, 100, diameter)])
        stained = np.where(labels[..., None] > 0, np.float32(1.4), image)
        assert kept(leave_out_small(found(labels), stained, None).labels) == left


def test_an_unsure_instance_is_left_out() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (150, 150, 50)])
    image = np.full((200, 200, 3), 1.5, np.float32)
    kept_instances = leave_out_unlikely(Instances(labels, {1: 0.9, 2: 0.3}), image, None)
    assert kept(kept_instances.labels) == [1]
    assert kept_instances.certainty == {1: 0.9}


def test_an_instance_without_a_nucleus_is_left_out() -> None:
    labels = disc_labels((200, 200), [(60, 60, 50), (150, 150, 50)])
    image = np.zeros((200, 200, 3), np.float32)
    image[labels == 1] = RED.stain
    image[labels == 2] = (1.4, 1.6, 1.0)
    assert kept(leave_out_unlikely(Instances(labels, {1: 0.9, 2: 0.9}), image, RED).labels) == [2]


def test_the_typical_diameter_is_that_of_the_cells_not_of_many_specks() -> None:
    specks = [(20 + 12 * i, 180, 6) for i in range(10)]
    labels = disc_labels((200, 200), [(60, 60, 50), *specks])
    assert abs(typical_diameter(np.bincount(labels.ravel())[1:]) - 50) < 2
    assert typical_diameter(np.zeros(5, np.int32)) == 0
