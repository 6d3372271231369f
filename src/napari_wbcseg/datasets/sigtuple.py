"""The SigTuple AI Challenge set: its layout, tiles, folds and test fields."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice, product
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from ..box import Box
from ..errors import DatasetError, WBCSegError, reading
from ..files import check_ordinary, user_path
from ..images.find import natural_key
from .csv_table import read_table
from .folders import image_files, is_image_name, read_matching, split_masks
from .pair import TrainingPair

_CLASSES = Path(__file__).with_name("sigtuple_classes.csv")

#: Side of a training tile in pixels.
TILE = 128

TRAIN_FOLDER = "Train_Data"
TEST_FOLDER = "Test_Data"

# Neighbouring tiles come from one slide, so folds are runs of them; a big field goes
# with the tiles that were cut out of it.
_FOLD_STARTS = (0, 33, 66, 99, 132)
_FOLDS = {
    **{f"train-{number}": sum(number >= start for start in _FOLD_STARTS) - 1 for number in range(164)},
    **{"1467973104": 2, "1467973122": 2, "1467973178": 2, "54A84627F362": 3, "017532875DDF": 4},
}

_PEEK = 2000  # members looked at to recognise an archive

#: Tiles whose mask leaks into debris or misses much of the cell (seen by eye).
DOUBTFUL_MASKS = frozenset(f"train-{number}" for number in (24, 57, 58, 76, 83, 140, 157))


def is_tar(path: Path) -> bool:
    """Say whether a path names a tar archive, by its ending."""
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def is_sigtuple(path: str | Path) -> bool:
    """Say whether a folder or tar has the SigTuple layout; never raises.

    Parameters
    ----------
    path : str or Path
        Folder ``SigTuple_data`` or any that holds ``Train_Data`` or ``Test_Data``, one
        of these themselves, or a ``.tar`` or ``.tar.gz`` of them.
    """
    path = user_path(path)
    if path.is_dir():
        return any(_section(path, name) for name in (TRAIN_FOLDER, TEST_FOLDER))
    if not (is_tar(path) and path.is_file()):
        return False
    try:
        with _open_tar(path) as tar:
            parts = (PurePosixPath(member.name).parts for member in islice(tar, _PEEK))
            return any({TRAIN_FOLDER, TEST_FOLDER}.intersection(names) for names in parts)
    except DatasetError:
        return False


def _section(path: Path, name: str) -> Path | None:
    """Find ``Train_Data`` or ``Test_Data`` in, or as, a folder."""
    own = path if path.resolve().name == name else path / name
    return next((folder for folder in (own, path / "SigTuple_data" / name) if folder.is_dir()), None)


def read_sigtuple(path: str | Path) -> list[TrainingPair]:
    """Read the training pairs of a SigTuple folder or tar.

    Parameters
    ----------
    path : str or Path
        As `is_sigtuple`. A tar is unpacked into a folder that is gone afterwards.

    Returns
    -------
    list of TrainingPair
        The tiles in order of their number, then the big fields. ``group`` is
        ``fold-0`` to ``fold-4`` by `fold_of`, or the name for images the set does not have.

    Raises
    ------
    DatasetError
        If there is no training data in it, as `read_pairs`, or if the archive is damaged.
    ImageError
        If an image cannot be read.
    """
    path = user_path(path)
    with nullcontext(_section(path, TRAIN_FOLDER)) if path.is_dir() else _unpacked(path) as section:
        files = [] if section is None else image_files(section)
        if section is None or not files:
            raise DatasetError(
                f"{path} has no training images in a folder {TRAIN_FOLDER}; give the whole set."
            )
        pairs = read_matching(*split_masks(files, section), where=str(path))
    pairs.sort(key=lambda pair: (not pair.name.startswith("train-"), natural_key(pair.name)))
    return [
        replace(pair, group=f"fold-{_FOLDS[pair.name]}" if pair.name in _FOLDS else pair.name)
        for pair in pairs
    ]


# Tiles and folds -----------------------------------------------------------------------------------


def sigtuple_classes(path: str | Path) -> pd.DataFrame:
    """Return the classes of white cells of a SigTuple folder, told by eye, the doubtful left out.

    Returns
    -------
    DataFrame
        Columns ``image`` (within the folder), ``row`` and ``col`` of the cell's middle, ``class``, and
        ``held_out``, True for those of the test fields that share no cell with the training set.
    """
    table = read_table(_CLASSES, {"image", "row", "col", "class", "held_out"}, dtype={"image": str})
    sections = table["held_out"].map({0: TRAIN_FOLDER, 1: TEST_FOLDER})
    table["image"] = sections + "/" + table["image"] + ".jpg"
    table["held_out"] = table["held_out"] == 1
    return table[[(user_path(path) / image).is_file() for image in table["image"]]]


def cut_tiles(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    """Cut the pairs larger than a tile into tiles, keeping those with a cell.

    Tiles lie on a grid from the top left corner. Those that would reach over the right
    or lower border are left out, so every tile is whole; where the image is narrower
    than a tile, the tile is as narrow. A tile is kept when its mask reaches 255,
    or, for numbered cells, when it has one. The 169 SigTuple pairs give
    164 + 18 = 182 tiles.

    Parameters
    ----------
    pairs : iterable of TrainingPair
        Pairs up to `TILE` in both directions come back as they are.

    Returns
    -------
    list of TrainingPair
        Tiles are named after their place, ``1467973122@r128c256``, and stay in the
        group of their image; their cells are numbered 1, 2, ... anew.
    """
    from skimage.segmentation import relabel_sequential

    tiles: list[TrainingPair] = []
    for pair in pairs:
        height, width = pair.labels.shape
        if height <= TILE and width <= TILE:
            tiles.append(pair)
            continue
        rows, cols = min(TILE, height), min(TILE, width)
        corners = product(range(0, height - rows + 1, TILE), range(0, width - cols + 1, TILE))
        for row, col in corners:
            tile = pair.cropped(Box(row, col, row + rows, col + cols), f"{pair.name}@r{row}c{col}")
            has_cell = tile.labels.any() if tile.mask is None else tile.mask.max() == 255
            if has_cell:
                tiles.append(replace(tile, labels=relabel_sequential(tile.labels)[0].astype(np.int32)))
    return tiles


def fold_of(name: str) -> int:
    """Return the fold of a training image or of a tile cut from it.

    Parameters
    ----------
    name : str
        Such as ``train-12``, ``1467973122`` or ``1467973122@r128c256``.

    Returns
    -------
    int
        0 to 4. Tiles that show the same cells are in one fold.

    Raises
    ------
    DatasetError
        If the SigTuple set has no training image of that name.

    Examples
    --------
    >>> fold_of("train-66"), fold_of("1467973122@r128c256")
    (2, 2)
    """
    fold = _FOLDS.get(name.split("@", 1)[0])
    if fold is None:
        raise DatasetError(f"{name} is not a training image of the SigTuple set, so it has no fold.")
    return fold


# Archives ------------------------------------------------------------------------------------------


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with reading(path, DatasetError, "give the tar of the SigTuple set, or fetch it again"):
        check_ordinary(path)
        with tarfile.open(path) as tar:
            yield tar


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Give a folder with the training images and masks in a tar; errors in them name the tar."""
    with TemporaryDirectory(prefix="wbcseg-") as folder:
        with _open_tar(path) as tar:
            for member in tar:
                inside = PurePosixPath(member.name)
                wanted = member.isfile() and TRAIN_FOLDER in inside.parts[:-1] and is_image_name(inside.name)
                if wanted and (content := tar.extractfile(member)):
                    # By its name alone: nothing is put where a member says.
                    Path(folder, Path(inside.name).name).write_bytes(content.read())
        try:
            yield Path(folder)
        except WBCSegError as error:
            raise type(error)(str(error).replace(folder, str(path))) from None
