"""What is drawn on a canvas is the same in memory and on disk, and in every resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_wbcseg.box import Box
from napari_wbcseg.segmentation.canvas import Canvas
from napari_wbcseg.segmentation.large.pyramid import Pyramid


@given(st.data(), st.integers(1, 60), st.integers(1, 60))
def test_coarser_levels_hold_every_second_pixel(data: st.DataObject, height: int, width: int) -> None:
    levels = [np.zeros((-(-height // step), -(-width // step)), np.int32) for step in (1, 2, 4, 8)]
    canvas = Canvas(levels)
    for _ in range(4):
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        box = Box(top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
        values = np.random.default_rng(top).integers(0, 9, box.shape)
        how = data.draw(st.sampled_from([canvas.draw, canvas.replace]))
        how(box, values)
    for level, array in enumerate(levels):
        assert np.array_equal(array, levels[0][:: 2**level, :: 2**level])


def test_zeros_let_what_was_drawn_show_through_and_replace_takes_it_away() -> None:
    canvas = Canvas([np.zeros((2, 3, 4), int)], plane=1)
    whole = Box(0, 0, 3, 4)
    canvas.draw(whole, np.arange(12).reshape(3, 4))
    canvas.draw(Box(0, 0, 1, 2), np.array([[0, 20]]))
    assert canvas.read(Box(0, 0, 1, 3)).tolist() == [[0, 20, 2]]
    canvas.replace(Box(0, 1, 1, 2), np.array([[0]]))
    assert canvas.read(Box(0, 0, 1, 3)).tolist() == [[0, 0, 2]]
    assert not canvas.arrays[0][0].any(), "another plane is left alone"


def test_a_pyramid_on_disk_is_a_canvas(tmp_path: Path) -> None:
    pyramid = Pyramid.create(tmp_path / "labels.zarr", (1500, 1100), np.int32, labels=True)
    patch = np.random.default_rng(0).integers(0, 5, (300, 301))
    pyramid.draw(Box(900, 799, 1200, 1100), patch)
    again = Pyramid.open(tmp_path / "labels.zarr")
    assert [array.shape for array in again.arrays] == [(1500, 1100), (750, 550)]
    assert np.array_equal(again.read(Box(900, 799, 1200, 1100)), patch)
    assert np.array_equal(np.asarray(again.arrays[1]), np.asarray(again.arrays[0])[::2, ::2])
