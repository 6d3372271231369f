"""Cells of neighbouring tiles become the cells of the image, whatever the order."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wbcseg.box import Box
from napari_wbcseg.errors import OutputError
from napari_wbcseg.segmentation.detections import ROW, Detections, TileCells, cells_of_tile, draw, join
from napari_wbcseg.segmentation.large.files import TileFiles
from napari_wbcseg.segmentation.tiles import Tile, tile_grid

from ..drawings import disc_labels


def tile_cells(*cells: tuple[int, int, np.ndarray, float]) -> TileCells:
    """Return cells given by the corner of their box, their mask and their certainty."""
    rows = np.zeros(len(cells), ROW)
    for number, (row, col, mask, certainty) in enumerate(cells):
        first, box = (row, col + np.argmax(mask[0])), (row, col, row + mask.shape[0], col + mask.shape[1])
        rows[number] = (0, 0, number, mask.sum(), 0, first, box, certainty, (0, 0, 0))
    masks, nothing = [cell[2] for cell in cells], np.zeros((0, 4), np.int64)
    return TileCells(rows, masks, np.zeros((len(cells), 0)), nothing, Box(0, 0, 0, 0), np.zeros((0, 0)))


def joined(tiles: list[TileCells], shape: tuple[int, int], left_out=None) -> np.ndarray:
    cells = join(tiles, len(tiles), left_out)
    rows = cells.rows
    labels = draw(rows["box"], cells.masks(tiles), rows["label"], Box(0, 0, *shape))
    assert np.bincount(labels.ravel(), minlength=len(cells) + 1)[1:].tolist() == rows["area"].tolist()
    return labels


SQUARE = np.ones((10, 10), bool)


def test_what_two_tiles_claim_is_kept_once_the_surer() -> None:
    two = [tile_cells((5, 5, SQUARE, 0.7)), tile_cells((6, 6, SQUARE, 0.9))]
    for tiles in (two, two[::-1]):
        labels = joined(tiles, (30, 30))
        assert labels.max() == 1
        assert labels[15, 15] == 1
        assert not labels[5].any()


@pytest.mark.parametrize(
    ("sure", "kept"), [((0.6, 0.7, 0.8), "ac"), ((0.8, 0.7, 0.6), "ac"), ((0.7, 0.8, 0.6), "b")]
)
def test_what_is_removed_removes_nothing_itself(sure: tuple[float, ...], kept: str) -> None:
    """The second lies over most of both others, which share little."""
    tiles = [tile_cells((5, 5 + 4 * number, SQUARE, one)) for number, one in enumerate(sure)]
    labels = joined(tiles, (30, 40))
    assert labels.max() == len(kept)
    assert [bool(labels[5, col]) for col in (5, 9, 14, 22)] == {"ac": [1, 1, 1, 1], "b": [0, 1, 1, 0]}[kept]


def test_pixels_that_two_cells_claim_go_to_the_first() -> None:
    two = [tile_cells((5, 5, SQUARE, 0.7)), tile_cells((5, 12, SQUARE, 0.9))]
    for tiles in (two, two[::-1]):
        labels = joined(tiles, (30, 30))
        assert labels[5].tolist() == [0] * 5 + [1] * 10 + [2] * 7 + [0] * 8


def test_what_two_looks_claim_is_that_of_the_first_however_sure_the_other_is() -> None:
    first, other = tile_cells((5, 5, SQUARE, 0.7)), tile_cells((6, 6, SQUARE, 0.9))
    other.rows["look"] = 1
    for tiles in ([first, other], [other, first]):
        assert join(tiles, 2).rows[["look", "certainty"]].tolist() == [(0, 0.7)]


def test_a_cell_of_which_its_neighbours_leave_nothing_is_none() -> None:
    """Half of it lies over each, and so over neither more than half."""
    beside = tile_cells((5, 0, SQUARE, 0.8)), tile_cells((4, 10, SQUARE, 0.8))
    tiles = [*beside, tile_cells((5, 5, SQUARE[:9], 0.8))]
    assert joined(tiles, (20, 30)).max() == len(join(tiles, 3)) == 2


def test_a_cell_that_gave_its_first_pixels_away_is_numbered_by_those_that_it_has() -> None:
    below = np.zeros((16, 3), bool)
    below[:, 0] = below[3:] = True
    tiles = [
        tile_cells((5, 5, SQUARE, 0.8)),
        tile_cells((5, 14, below, 0.8)),
        tile_cells((6, 20, SQUARE, 0.8)),
    ]
    assert join(tiles, 3).rows["first"].tolist() == [[5, 5], [6, 20], [8, 15]]


def test_cells_of_one_tile_are_left_as_they_are() -> None:
    ring = ~np.pad(np.ones((8, 8), bool), 1)
    labels = joined([tile_cells((5, 5, ring, 0.7), (7, 7, np.ones((4, 4), bool), 0.9))], (30, 30))
    assert np.bincount(labels.ravel())[1:].tolist() == [36, 16]


def test_a_filter_sees_all_cells_and_leaves_some_out() -> None:
    small = np.ones((2, 2), bool)
    tiles = [tile_cells((5, 5, SQUARE, 0.7)), tile_cells((20, 20, small, 0.9))]
    labels = joined(tiles, (30, 30), lambda cells: cells.rows["area"] < cells.rows["area"].max() / 2)
    assert labels.max() == 1
    assert not labels[20:].any()


def test_of_tiles_on_disk_few_are_in_memory_at_once() -> None:
    held: list[int] = []

    class OnDisk(list[TileCells]):
        def __getitem__(self, number):
            cells = replace(super().__getitem__(number))
            held.append(number)
            weakref.finalize(cells, held.remove, number)
            assert len(held) <= 2
            return cells

    tiles = OnDisk(tile_cells((9 * number, 5, SQUARE, 0.7)) for number in range(9))
    assert len(join(tiles, 9).masks(tiles)) == 9


def test_cells_of_a_part_of_an_image_are_moved_to_where_it_lies() -> None:
    found = tile_cells((5, 6, SQUARE, 0.7))
    moved = replace(found, proposals=np.array([[1, 2, 30, 40]]), seen=Box(0, 1, 20, 30)).shifted(100, 2000)
    assert moved.rows["first"].tolist() == [[105, 2006]]
    assert moved.rows["box"].tolist() == [[105, 2006, 115, 2016]]
    assert (moved.proposals.tolist(), moved.seen) == ([[101, 2002, 130, 2040]], (100, 2001, 120, 2030))
    assert found.rows["first"].tolist() == [[5, 6]], "what was given stays"


def test_no_tile_and_no_cell_are_no_error() -> None:
    assert len(join([], 0)) == 0
    assert len(join([tile_cells()], 1)) == 0


def test_the_stain_of_a_cell_is_that_of_its_darker_half() -> None:
    labels = disc_labels((100, 100), [(50, 50, 40)])
    image = np.full((100, 100, 3), 0.2, np.float32)
    image[labels > 0] = 0.5
    image[:52][labels[:52] > 0] = (1.5, 1.0, 0.5)
    (tile,) = tile_grid(labels.shape, 1.0)
    found = Detections(labels, np.zeros(labels.shape, np.float32), np.zeros((0, 4), np.int64))
    assert cells_of_tile(found, image, tile).rows["stain"].tolist() == [[1.5, 1.0, 0.5]]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 199), st.integers(0, 299), st.integers(5, 9)), max_size=30),
    st.randoms(),
)
def test_cells_cut_into_tiles_are_put_together_again(discs: list[tuple[int, int, int]], random) -> None:
    truth = disc_labels((200, 300), [(float(r), float(c), float(d)) for r, c, d in discs])
    grid = tile_grid(truth.shape, 1 / 12)  # cores 85 wide
    random.shuffle(grid)
    tiles = [
        cells_of_tile(
            Detections(truth[tile.window.slices], np.zeros(tile.window.shape), np.zeros((0, 4), np.int64)),
            np.zeros((*tile.window.shape, 3), np.float32),
            tile,
        )
        for tile in grid
    ]
    labels = joined(tiles, truth.shape)
    assert np.array_equal(labels > 0, truth > 0)
    pairs = np.unique(np.stack([labels[truth > 0], truth[truth > 0]]), axis=1)
    assert pairs.shape[1] == labels.max() == len(np.unique(truth)) - 1
    first = [int(np.flatnonzero(labels == number)[0]) for number in range(1, labels.max() + 1)]
    assert first == sorted(first), "numbered in reading order"


def test_the_file_of_a_tile_holds_its_cells_and_a_torn_one_none(tmp_path: Path) -> None:
    labels = disc_labels((60, 80), [(20, 20, 13), (40, 60, 9)])
    probability = np.zeros(labels.shape, np.float32)
    probability[10:50, 10:70] = 1
    found = Detections(labels, probability, np.array([[1, 2, 30, 40]]), {1: 0.8})
    window = Box(100, 200, 160, 280)
    image = np.random.default_rng(0).random((*labels.shape, 3)).astype(np.float32)
    cells = cells_of_tile(found, image, Tile(window, window, 0.0))
    cells = replace(cells, classes=np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert cells.rows["certainty"].tolist() == [0.8, 1.0]
    assert cells.proposals.tolist() == [[101, 202, 130, 240]]
    assert cells.seen == (110, 210, 150, 270)
    assert cells.probability.shape == cells.seen.shape
    files = TileFiles(tmp_path, "run")
    files[3] = cells
    again = files[3]
    for name in ("rows", "classes", "proposals", "seen", "probability"):
        np.testing.assert_array_equal(getattr(again, name), getattr(cells, name))
    for one, two in zip(cells.masks, again.masks, strict=True):
        np.testing.assert_array_equal(one, two)
    assert TileFiles(tmp_path, "another run").get(3) is None
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-40])
    assert files.get(3) is None
    with pytest.raises(OutputError, match="changed while they were made"):
        files[4]


@pytest.mark.parametrize("number", [0, 1])
def test_an_empty_tile_is_kept_too(tmp_path: Path, number: int) -> None:
    files = TileFiles(tmp_path, "run")
    files[0] = tile_cells(*[(0, 0, SQUARE, 1.0)] * number)
    assert len(files[0]) == number
    assert files[0].probability.size == 0
