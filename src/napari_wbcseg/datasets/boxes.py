"""Fields whose cells are known only by boxes: outlines drawn from them, and training pairs.

The layout is that of the Barcelona part of TXL-PBC: a folder ``images`` and a
``boxes.csv`` with the columns ``image,kind,r0,c0,r1,c1`` (pixels, ends exclusive). Outlines
come from a model that is told how large the cells are, where one is given, and are checked
against the boxes; GrabCut draws the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..box import Box
from ..errors import DatasetError
from ..progress import Progress, silent
from .class_map import RED_CELL_BOX
from .csv_table import read_table

if TYPE_CHECKING:
    import pandas as pd

    from .pair import Outliner, TrainingPair

WHITE_KIND = "WBC"
_CORNERS = ("r0", "c0", "r1", "c1")
_TRAINING_SHARE = 0.7
_WORKING_SIDE = 96.0
_MIN_BOX_AGREEMENT = 0.80
_MIN_SOLIDITY = 0.88
# A tenth of a cell off on each side: what the outline of a network may differ from a box drawn by hand.
_MIN_MODEL_AGREEMENT = 0.66


def is_boxes(path: Path) -> bool:
    """Whether a folder holds fields with boxes."""
    path = Path(path)
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
    import pandas as pd

    table_path = Path(path) / "boxes.csv"
    table = read_table(table_path, {"image", "kind", *_CORNERS})
    corners = table[list(_CORNERS)].apply(pd.to_numeric, errors="coerce")
    bad = ~(
        (corners["r1"] > corners["r0"]) & (corners["c1"] > corners["c0"]) & np.isfinite(corners).all(axis=1)
    )
    bad |= table["image"].isna()
    if bad.any():
        line = int(np.flatnonzero(bad)[0]) + 2
        raise DatasetError(
            f"Line {line} of the box table {table_path} is no box: give the image's name, its kind, and four "
            "numbers with r0 < r1 and c0 < c1."
        )
    table[list(_CORNERS)] = corners.astype(np.int64)
    return table


def outline_from_box(image: np.ndarray, box: Box) -> np.ndarray | None:
    """Outline the cell inside a box.

    GrabCut (Rother et al., ACM Trans. Graph. 23, 2004) separates the cell from what
    surrounds the box; the ellipse inscribed in the box is where it starts.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    box : Box

    Returns
    -------
    ndarray of bool, shape (H, W), or None
        The mask of the cell; none when the outline does not fill its box or is
        ragged, so that nothing can be learned from it.
    """
    import cv2
    from scipy import ndimage
    from skimage.measure import label, regionprops

    height, width = image.shape[:2]
    r0, c0, r1, c1 = _whole_cell_box(box, height, width)
    side = max(r1 - r0, c1 - c0)
    margin = round(0.45 * side)
    top, left = max(r0 - margin, 0), max(c0 - margin, 0)
    crop = image[top : min(max(r1, 0) + margin, height), left : min(max(c1, 0) + margin, width)]
    scale = min(4.0, _WORKING_SIDE / side)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=how)
    small = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 0.7), cv2.COLOR_RGB2BGR)

    rows, cols = np.mgrid[: small.shape[0], : small.shape[1]]
    centre = ((r0 + r1) / 2 - top) * scale - 0.5, ((c0 + c1) / 2 - left) * scale - 0.5
    radii = max((r1 - r0) * scale / 2, 2.0), max((c1 - c0) * scale / 2, 2.0)
    distance = np.hypot((rows - centre[0]) / radii[0], (cols - centre[1]) / radii[1])
    outside = (np.abs(rows - centre[0]) > radii[0] + 2) | (np.abs(cols - centre[1]) > radii[1] + 2)
    state = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    state[distance <= 0.95] = cv2.GC_PR_FGD
    state[distance <= 0.5] = cv2.GC_FGD
    state[outside] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        # The rectangle is not looked at where a mask is given.
        cv2.grabCut(small, state, (0, 0, 0, 0), *models, 6, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    found: np.ndarray = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, kernel)
    components = label(found)
    if components.max() == 0:
        return None
    largest = max(regionprops(components), key=lambda region: region.area)
    solid: np.ndarray = np.zeros(found.shape, np.float32)
    solid[largest.slice] = largest.image_filled
    solid = cv2.resize(solid, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_LINEAR)
    solid = cv2.GaussianBlur(solid, (0, 0), 0.02 * side + 0.5) > 0.5
    if largest.solidity < _MIN_SOLIDITY or not solid.any():
        return None
    mask = np.zeros((height, width), bool)
    mask[top : top + crop.shape[0], left : left + crop.shape[1]] = solid
    found_box = Box.of(ndimage.find_objects(mask.view(np.uint8))[0])
    return mask if found_box.iou(box) >= _MIN_BOX_AGREEMENT else None


def _whole_cell_box(box: Box, height: int, width: int) -> Box:
    """Extend a box that the image border cuts beyond the border, to the square of its long side."""
    r0, c0, r1, c1 = box
    side = max(box.shape)
    edge = 2
    if r0 <= edge:
        r0 = r1 - side
    elif r1 >= height - edge:
        r1 = r0 + side
    if c0 <= edge:
        c0 = c1 - side
    elif c1 >= width - edge:
        c1 = c0 + side
    return Box(r0, c0, r1, c1)


def split_names(path: Path) -> tuple[list[str], list[str]]:
    """Split the fields, by name, into those to train on and those never trained on.

    Names that begin with ``train`` or ``valid`` say it themselves; elsewhere it is the last 30 %.
    """
    names = sorted(read_boxes(path)["image"].unique())
    told = [name for name in names if name.startswith("valid")]
    if told and all(name.startswith(("train", "valid")) for name in names):
        return [name for name in names if name.startswith("train")], told
    first = round(_TRAINING_SHARE * len(names))
    return names[:first], names[first:]


def read_boxed_pairs(
    path: Path,
    names: list[str] | None = None,
    progress: Progress = silent,
    outline: Outliner | None = None,
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
    progress : Progress
    outline : Outliner, optional
        Proposes outlines, which are taken where they agree with the boxes.

    Raises
    ------
    DatasetError
        If the table cannot be used, or a box lies outside its image.
    ImageError
        If an image cannot be read.
    """
    from ..images.read import read_rgb8
    from .pair import Box as KindBox
    from .pair import TrainingPair

    path = Path(path)
    table = read_boxes(path)
    wanted = split_names(path)[0] if names is None else names
    red_cells_too = bool((table["kind"] == RED_CELL_BOX).any())
    pairs = []
    for number, name in enumerate(wanted):
        progress(number, len(wanted), "Outlining boxed cells")
        file = path / "images" / name
        image = read_rgb8(file)
        labels = np.zeros(image.shape[:2], np.int32)
        here = table[table["image"] == name]
        kinds, boxes = here["kind"].tolist(), list(map(Box._make, here[list(_CORNERS)].to_numpy().tolist()))
        white = [box for kind, box in zip(kinds, boxes, strict=True) if kind == WHITE_KIND]
        for box in white:
            if min(box.grown(0, labels.shape).shape) <= 0:
                raise DatasetError(
                    f"The box {', '.join(map(str, box))} in {path / 'boxes.csv'} lies outside {file}."
                )
        masks = _outlines(image, white, outline)
        for index, mask in enumerate(masks, 1):
            if mask is not None:
                labels[mask & (labels == 0)] = index
        if all(mask is not None for mask in masks):
            distractors = tuple(
                KindBox(kind, box) for kind, box in zip(kinds, boxes, strict=True) if kind != WHITE_KIND
            )
            pairs.append(
                TrainingPair(
                    Path(name).stem,
                    image,
                    labels,
                    "boxes" if red_cells_too else "fields",
                    distractors=distractors,
                    all_boxed=red_cells_too,
                    erythroblasts=frozenset(),
                )
            )
    return pairs


def _outlines(image: np.ndarray, boxes: list[Box], outline: Outliner | None) -> list[np.ndarray | None]:
    """Return the mask of each box, None where neither the model nor GrabCut fits it."""
    from scipy import ndimage

    masks: list[np.ndarray | None] = [None] * len(boxes)
    if outline is not None and boxes:
        labels = outline(image, float(np.median([max(box.shape) for box in boxes])))
        proposed = [(i, Box.of(spot)) for i, spot in enumerate(ndimage.find_objects(labels), 1) if spot]
        for number, box in enumerate(boxes):
            agreement, index = max(((found.iou(box), i) for i, found in proposed), default=(0.0, 0))
            if agreement >= _MIN_MODEL_AGREEMENT:
                masks[number] = labels == index
    return [
        outline_from_box(image, box) if mask is None else mask for mask, box in zip(masks, boxes, strict=True)
    ]
