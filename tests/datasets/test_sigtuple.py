"""The SigTuple set: layout, tiles, folds, archives."""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.read import read_pairs
from napari_wbcseg.datasets.sigtuple import (
    TILE,
    cut_tiles,
    fold_of,
    is_sigtuple,
    read_sigtuple,
)
from napari_wbcseg.errors import DatasetError, ImageError

NAMES = ("train-2", "train-10", "train-70", "1467973122")


def _write_set(root: Path) -> Path:
    """Write four pairs and two test fields in the layout of the set."""
    random = np.random.default_rng(3)
    for folder, names in (("Train_Data", NAMES), ("Test_Data", ("F2", "F10"))):
        (root / folder).mkdir(parents=True)
        for name in names:
            side = 128 if name.startswith("train") else 300
            image = random.integers(0, 255, (side, side, 3)).astype(np.uint8)
            Image.fromarray(image).save(root / folder / f"{name}.jpg")
            if folder == "Train_Data":
                mask = np.zeros((side, side), np.uint8)
                mask[40:90, 50:100] = 255
                Image.fromarray(mask).save(root / folder / f"{name}-mask.jpg")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_set(tmp_path_factory.mktemp("set") / "SigTuple_data")


def _real() -> Path:
    data = os.environ.get("WBCSEG_DATA")
    if not data or not (Path(data) / "sigtuple").is_dir():
        pytest.skip("the SigTuple set is not here: set WBCSEG_DATA to the folder that holds it")
    return Path(data) / "sigtuple"


# Layout


def test_tiles_come_first_in_order_with_their_folds_as_groups(folder: Path) -> None:
    pairs = read_sigtuple(folder)
    assert [(pair.name, pair.group) for pair in pairs] == [
        ("train-2", "fold-0"),
        ("train-10", "fold-0"),
        ("train-70", "fold-2"),
        ("1467973122", "fold-2"),
    ]
    assert pairs[0].image.shape == (128, 128, 3)
    assert all(pair.labels.max() == 1 for pair in pairs)


def test_the_set_its_parent_and_its_training_folder_all_do(folder: Path) -> None:
    for path in (folder, folder.parent, folder / "Train_Data"):
        assert is_sigtuple(path)
        assert len(read_sigtuple(path)) == len(read_pairs(path)) == 4
    assert is_sigtuple(folder / "Test_Data")
    with pytest.raises(DatasetError, match="no training images in a folder Train_Data"):
        read_sigtuple(folder / "Test_Data")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
def test_a_tar_reads_like_the_folder_and_nothing_is_written(
    folder: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"set{suffix}"
    with tarfile.open(path, "w:gz" if "g" in suffix else "w") as tar:
        tar.add(folder, "SigTuple_data")
    monkeypatch.chdir(tmp_path)
    assert is_sigtuple(path)
    for ours, theirs in zip(read_pairs(path), read_sigtuple(folder), strict=True):
        assert (ours.name, ours.group) == (theirs.name, theirs.group)
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert list(tmp_path.iterdir()) == [path]


def test_other_folders_and_files_are_not_sigtuple(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("not a tar")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("other/file"))
    for path in (tmp_path, tmp_path / "a.tar", tmp_path / "b.tar", tmp_path / "gone"):
        assert not is_sigtuple(path)
    with pytest.raises(DatasetError, match="no training images"):
        read_pairs(tmp_path / "b.tar")


# Tiles and folds


def _pair(height: int, width: int, cells: list[tuple[int, int]]) -> TrainingPair:
    """Single-pixel cells, and an image that knows its own coordinates."""
    labels = np.zeros((height, width), np.int32)
    for number, (row, col) in enumerate(cells, start=1):
        labels[row % height, col % width] = number
    row, col = np.mgrid[:height, :width]
    image = np.dstack([row % 256, col % 256, row // 256 * 16 + col // 256]).astype(np.uint8)
    return TrainingPair("field", image, labels, "g", (labels > 0).astype(np.uint8) * np.uint8(255))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    cells=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 399)), max_size=6),
)
def test_tiles_are_whole_on_the_grid_and_hold_a_cell(
    height: int, width: int, cells: list[tuple[int, int]]
) -> None:
    pair = _pair(height, width, cells)
    tiles = cut_tiles([pair])
    if height <= TILE and width <= TILE:
        assert len(tiles) == 1
        assert tiles[0] is pair
        return
    rows, cols = min(TILE, height), min(TILE, width)
    places = set()
    for tile in tiles:
        found = re.fullmatch(r"field@r(\d+)c(\d+)", tile.name)
        assert found is not None
        row, col = int(found[1]), int(found[2])
        assert row % TILE == col % TILE == 0
        places.add((row, col))
        window = np.s_[row : row + rows, col : col + cols]
        np.testing.assert_array_equal(tile.image, pair.image[window])
        np.testing.assert_array_equal(tile.labels > 0, pair.labels[window] > 0)
        assert tile.image.shape == (rows, cols, 3)
        assert tile.group == "g"
        assert set(np.unique(tile.labels)) - {0} == set(range(1, tile.labels.max() + 1))
        assert len(np.unique(tile.labels)) == len(np.unique(pair.labels[window]))
    assert len(places) == len(tiles)
    # Every cell inside the whole tiles of the grid is in exactly one of them.
    inside = pair.labels[: height // rows * rows, : width // cols * cols]
    assert sum(int((tile.labels > 0).sum()) for tile in tiles) == int((inside > 0).sum())


def test_the_raw_mask_decides_which_tiles_are_kept() -> None:
    pair = _pair(256, 384, [(5, 5), (5, 140)])
    assert pair.mask is not None
    pair.mask[5, 140] = 200  # a cell by the threshold, but its mask does not reach 255
    assert [tile.name for tile in cut_tiles([pair])] == ["field@r0c0"]


def test_a_tile_of_the_right_size_without_cells_is_kept() -> None:
    assert len(cut_tiles([_pair(TILE, TILE, [])])) == 1


@pytest.mark.parametrize(
    ("name", "fold"),
    [
        *(
            ("train-0", 0),
            ("train-32", 0),
            ("train-33", 1),
            ("train-65", 1),
            ("train-66", 2),
            ("train-98", 2),
        ),
        *(("train-99", 3), ("train-131", 3), ("train-132", 4), ("train-163", 4)),
        *(("1467973122", 2), ("1467973178@r0c128", 2), ("1467973104", 2)),
        *(("54A84627F362@r896c768", 3), ("017532875DDF", 4)),
    ],
)
def test_neighbours_and_leaks_share_a_fold(name: str, fold: int) -> None:
    assert fold_of(name) == fold


@pytest.mark.parametrize("name", ["train-164", "train-", "other", "train-1-mask"])
def test_other_names_have_no_fold(name: str) -> None:
    with pytest.raises(DatasetError, match="no fold"):
        fold_of(name)


def test_the_real_set_gives_182_tiles_in_five_folds() -> None:
    pairs = read_pairs(_real())
    tiles = cut_tiles(pairs)
    assert (len(pairs), len(tiles)) == (169, 182)
    assert sum("@" in tile.name for tile in tiles) == 18
    assert {tile.image.shape for tile in tiles} == {(128, 128, 3)}
    assert all(tile.labels.any() for tile in tiles)
    counts = {fold: sum(tile.group == f"fold-{fold}" for tile in tiles) for fold in range(5)}
    assert counts == {0: 33, 1: 33, 2: 40, 3: 39, 4: 37}
    assert [pair.name for pair in pairs[:164]] == [f"train-{number}" for number in range(164)]


# Archives


def _tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    """Write a tar that starts well and then holds the given members."""
    picture = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, "JPEG")
    with tarfile.open(path, "w") as tar:
        good = tarfile.TarInfo("SigTuple_data/Train_Data/train-0.jpg")
        good.size = len(picture.getvalue())
        tar.addfile(good, io.BytesIO(picture.getvalue()))
        for member in members:
            data = b"evil" if member.isfile() else b""
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


EVIL = {
    "parent": _member("../evil.jpg"),
    "inner parent": _member("SigTuple_data/Train_Data/../../../evil.jpg"),
    "absolute": _member("/tmp/evil.jpg"),
    "drive": _member("C:/evil.jpg"),
    "backslash": _member("..\\evil.jpg"),
    "symbolic link": _member("SigTuple_data/Train_Data/train-1.jpg", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": _member("SigTuple_data/Train_Data/train-1.jpg", tarfile.LNKTYPE, "../../x"),
    "device": _member("SigTuple_data/dev", tarfile.CHRTYPE),
    "pipe": _member("SigTuple_data/pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("evil", EVIL)
def test_members_that_reach_outside_are_put_nowhere(tmp_path: Path, evil: str) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    path = _tar_with(inner / "set.tar", EVIL[evil])
    with pytest.raises(DatasetError, match=r"set\.tar holds [12] images? but no masks"):
        read_sigtuple(path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_what_is_wrong_with_a_picture_names_the_tar_and_nothing_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unpacked").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "unpacked"))
    path = _tar_with(tmp_path / "set.tar", _member("SigTuple_data/Train_Data/train-0-mask.jpg"))
    with pytest.raises(ImageError, match=r"^.*set\.tar/train-0-mask\.jpg is not a JPEG"):
        read_sigtuple(path)
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize("kept", [0.4, 0.001])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_cut_archive_is_damaged(folder: Path, tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"set{suffix}"
    with tarfile.open(path, "w:gz" if "g" in suffix else "w") as tar:
        tar.add(folder, "SigTuple_data")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DatasetError, match=re.escape(path.name) + r" cannot be read, .*damaged"):
        read_pairs(path)


def test_a_text_file_named_tar_and_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("no archive")
    with pytest.raises(DatasetError, match=r"a\.tar cannot be read"):
        read_pairs(tmp_path / "a.tar")
    with pytest.raises(DatasetError, match=r"no folder or archive .*gone\.tar"):
        read_pairs(tmp_path / "gone.tar")
