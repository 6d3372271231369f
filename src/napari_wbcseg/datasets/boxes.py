"""Fields whose cells are known only by boxes, as training pairs.

The layout is that of the Barcelona part of TXL-PBC: a folder ``images`` and a
``boxes.csv`` with the columns ``image,kind,r0,c0,r1,c1`` (pixels, ends exclusive). Outlines
come from a model that is told how large the cells are, where one is given, and are checked
against the boxes; GrabCut draws the others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..box import Box, label_boxes
from ..errors import DatasetError
from ..images.read import read_rgb8
from .box_outline import outline_from_box
from .csv_table import read_table
from .pair import Outliner, TrainingPair, taken_for_cells

#: Kinds of boxes; all others are taken for platelets.
WHITE_KIND, RED_KIND = "WBC", "RBC"
#: Fields of the pig smears in which a white cell is not boxed; looked at one by one, where a model saw one.
PIG_WITH_UNBOXED_CELLS = frozenset(
    f"train-{number}"
    for number in (
        *(10, 16, 20, 65, 133, 134, 174, 210, 219, 247, 280, 338, 341, 342, 353, 375, 385, 390, 392),
        *(419, 445, 475, 478, 482, 569, 572, 592, 595, 608, 624),
    )
)
#: Share of the fields, by name, that is trained on.
_TRAINING_SHARE = 0.7
#: IoU of the box of a model's outline and the box drawn by hand: a tenth of a cell off on each side.
_LEAST_AGREEMENT = 0.66
_CORNERS = ["r0", "c0", "r1", "c1"]


def is_boxes(path: Path) -> bool:
    """Whether a folder holds fields with boxes."""
    return (path / "boxes.csv").is_file() and (path / "images").is_dir()


def read_boxes(path: Path) -> pd.DataFrame:
    """Read the box table of a folder.

    Returns
    -------
    DataFrame
        Columns ``image, kind, r0, c0, r1, c1``.

    Raises
    ------
    DatasetError
        If the table is missing, unreadable or lacks a column, or a box is no box.
    """
    table_path = Path(path) / "boxes.csv"
    table = read_table(table_path, {"image", "kind", *_CORNERS})
    corners = table[_CORNERS].apply(pd.to_numeric, errors="coerce")
    good = (corners["r1"] > corners["r0"]) & (corners["c1"] > corners["c0"]) & table["image"].notna()
    good &= np.isfinite(corners).all(axis=1)
    if not good.all():
        raise DatasetError(
            f"Line {int(np.argmin(good)) + 2} of the box table {table_path} is no box: give the image's "
            "name, its kind, and four numbers with r0 < r1 and c0 < c1."
        )
    table[_CORNERS] = corners.astype(np.int64)
    return table


def split_names(path: Path) -> tuple[list[str], list[str]]:
    """Split the fields, by name, into those to train on and those never trained on.

    Names that begin with ``train`` or ``valid`` say it themselves; elsewhere it is the last 30 %. Those of
    `PIG_WITH_UNBOXED_CELLS` are neither.
    """
    names = sorted(read_boxes(path)["image"].unique())
    told = [name for name in names if name.startswith("valid")]
    if told and all(name.startswith(("train", "valid")) for name in names):
        unboxed = PIG_WITH_UNBOXED_CELLS
        return [name for name in names if name.startswith("train") and Path(name).stem not in unboxed], told
    first = round(_TRAINING_SHARE * len(names))
    return names[:first], names[first:]


def read_boxed_pairs(
    path: Path, names: list[str] | None = None, outline: Outliner | None = None
) -> list[TrainingPair]:
    """Turn fields with boxes into training pairs.

    Fields with a white cell that cannot be outlined well are left out: an unmarked
    cell would teach the network to miss cells.

    Parameters
    ----------
    path : Path
        Folder with ``images`` and ``boxes.csv``.
    names : list of str, optional
        File names to use; by default the training part of `split_names`.
    outline : Outliner, optional
        Proposes outlines, which are taken where they agree with the boxes.

    Raises
    ------
    DatasetError
        If the table cannot be used, or a box lies outside its image.
    ImageError
        If an image cannot be read.
    """
    table = read_boxes(path)
    wanted = split_names(path)[0] if names is None else names
    all_boxed = bool((table["kind"] == RED_KIND).any())
    images = Path(path) / "images"
    pairs = (_boxed_pair(images / name, table[table["image"] == name], all_boxed, outline) for name in wanted)
    return [pair for pair in pairs if pair is not None]


def _boxed_pair(
    file: Path, table: pd.DataFrame, all_boxed: bool, outline: Outliner | None
) -> TrainingPair | None:
    image = read_rgb8(file)
    kinds: dict[str, list[Box]] = {WHITE_KIND: [], RED_KIND: [], "others": []}
    for kind, *corners in table[["kind", *_CORNERS]].itertuples(index=False):
        kinds.get(kind, kinds["others"]).append(Box(*corners))
    white, red, others = kinds.values()
    for box in white:
        if min(box.grown(0, image.shape).shape) <= 0:
            raise DatasetError(f"The box {', '.join(map(str, box))} in boxes.csv lies outside {file}.")
    labels = np.zeros(image.shape[:2], np.int32)
    size = float(np.median([max(box.shape) for box in white])) if white else 0.0
    proposed = outline(image, size) if outline and white else np.zeros_like(labels)
    places = label_boxes(proposed)
    for index, box in enumerate(white, 1):
        agreement, number = max(((place.iou(box), number) for number, place in places), default=(0.0, 0))
        fits = agreement >= _LEAST_AGREEMENT
        mask = proposed == number if fits else outline_from_box(image, box)
        if mask is None:
            return None
        labels[mask & (labels == 0)] = index
    return TrainingPair(
        file.stem,
        image,
        labels,
        "boxes" if all_boxed else "fields",
        red_cells=tuple(red),
        platelets=tuple(others),
        all_boxed=all_boxed,
        look_alikes=taken_for_cells(image, size, outline, white) if outline and white else (),
    )
