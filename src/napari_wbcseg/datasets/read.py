"""Images with their truth, from any data set that is known."""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from ..files import user_path
from .boxes import is_boxes, read_boxed_pairs
from .corrections import is_corrections, read_corrections
from .folders import read_folder
from .masks import MaskReading
from .pair import Outliner, Pairs, TrainingPair
from .sigtuple import is_sigtuple, is_tar, read_sigtuple
from .single_cells import is_single_cells, read_single_cells


def read_pairs(
    path: str | Path, masks: MaskReading = "auto", outline: Outliner | None = None
) -> list[TrainingPair]:
    """Read every pair of a data set.

    These layouts are known: SigTuple, as a folder or a tar (`napari_wbcseg.datasets.sigtuple`); a folder
    of ``NAME.ext`` with ``NAME-mask.ext`` (or ``_masks``, ``-labels`` and the like); a folder with
    ``images/`` and ``labels/`` or ``masks/``, where files of one name belong together, also in folders of
    these; fields with boxes, pictures of single cells, and the user's training set (`boxes`,
    `single_cells` and `corrections` beside this module).

    A mask is black and white, and each connected region of it one cell, when it is a
    JPEG, has only one value besides 0, or is of 8 bits and reaches 255. Other masks
    number the cells.

    Parameters
    ----------
    path : str or Path
        The folder, or a SigTuple ``.tar`` or ``.tar.gz``.
    masks : {"auto", "foreground", "numbers"}
        How masks of several values are read, in folders: by the rule above; every value but
        0 as cell, each connected region one (masks that tell the nucleus from the cell body);
        or every value as one cell.
    outline : Outliner, optional
        Draws the outlines where only boxes or the class of the middle cell are known.

    Returns
    -------
    list of TrainingPair
        Of folders of images with masks in natural order of their names, each image a group of its own.

    Raises
    ------
    DatasetError
        If nothing is found, an image has no mask or the reverse, sizes differ, no
        mask has a cell in it, a mask is inverted, or its values are neither cell numbers nor
        black and white.
    ImageError
        If an image cannot be read.
    """
    path = user_path(path)
    if not path.exists():
        raise DatasetError(f"There is no folder or archive {path}; check the name.")
    if is_tar(path) or is_sigtuple(path):
        return read_sigtuple(path)
    if is_boxes(path):
        return read_boxed_pairs(path, outline=outline)
    if is_single_cells(path):
        return read_single_cells(path, outline)
    if is_corrections(path):
        return read_corrections(path)
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder of images and masks, nor a SigTuple tar.")
    return read_folder(path, masks)


def require_outlines(path: str | Path) -> None:
    """Raise a `DatasetError` where a data set says where its cells are, and not how they are outlined."""
    path = user_path(path)
    if is_boxes(path) or is_single_cells(path):
        raise DatasetError(
            f"{path} says where cells are, not how they are outlined, so nothing can be scored by it. "
            "Give images with masks or labels."
        )


def pairs_of(data: str | Path | Pairs) -> list[TrainingPair]:
    """Return training pairs; what is a path is read by `read_pairs`."""
    pairs = read_pairs(data) if isinstance(data, str | Path) else list(data)
    if others := [pair for pair in pairs if not isinstance(pair, TrainingPair)]:
        raise DatasetError(
            f"A {type(others[0]).__name__} is no image with its truth: give a folder that read_pairs reads, "
            "or TrainingPair(name, image, labels, group) for each image."
        )
    return pairs
