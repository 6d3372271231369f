"""Fields whose cells are known only by boxes, as training pairs.

The layout is that of the Barcelona part of TXL-PBC: a folder ``images`` and a
``boxes.csv`` with the columns ``image,kind,r0,c0,r1,c1`` (pixels, ends exclusive). Outlines
come from a model that is told how large the cells are, where one is given, and are checked
against the boxes; GrabCut draws the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ..box import Box, label_boxes
from ..errors import DatasetError
from ..images.read import read_rgb8
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
    table = read_table(table_path, {"image", "kind", *_CORNERS}, dtype={"image": str})
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
    validation = [name for name in names if name.startswith("valid")]
    if validation and all(name.startswith(("train", "valid")) for name in names):
        training = [name for name in names if name.startswith("train")]
        return [name for name in training if Path(name).stem not in PIG_WITH_UNBOXED_CELLS], validation
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
        if not box.within(image.shape).area:
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


# Outlines ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoxOutlineParameters:
    """How a box becomes an outline, and which outlines are good enough to learn from.

    Attributes
    ----------
    side : float
        Pixels of the longer side that GrabCut sees a cell with.
    most_enlarged : float
        How often as large as it is a small cell is made for that, at most.
    margin : float
        What it sees around the box, of its longer side.
    blur : float
        Of what it sees, pixels.
    certain, likely : float
        Of the way from the middle of the box to its sides: within which all is cell, or may be.
    beyond : float
        Pixels from the box, from where on nothing is cell.
    iterations : int
    opening : int
        Pixels across, by which thin parts are taken away.
    smoothing : float
        Of the outline, of the longer side of the box.
    edge : int
        Pixels from the border of the image, within which the border cuts a box.
    least_agreement : float
        IoU of the box of its outline and the box drawn by hand.
    least_solidity : float
        Area over that of the convex hull; ragged outlines have less.
    """

    side: float = 96.0
    most_enlarged: float = 4.0
    margin: float = 0.45
    blur: float = 0.7
    certain: float = 0.5
    likely: float = 0.95
    beyond: float = 2.0
    iterations: int = 6
    opening: int = 7
    smoothing: float = 0.02
    edge: int = 2
    least_agreement: float = 0.80
    least_solidity: float = 0.88


PARAMETERS = BoxOutlineParameters()


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
    from skimage.measure import label, regionprops

    whole = _whole_cell_box(box, *image.shape[:2])
    side = max(whole.shape)
    patch = whole.grown(round(PARAMETERS.margin * side), within=image.shape)
    scale = min(PARAMETERS.most_enlarged, PARAMETERS.side / side)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image[patch.slices], None, fx=scale, fy=scale, interpolation=how)
    small = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), PARAMETERS.blur), cv2.COLOR_RGB2BGR)

    state = _first_guess(small.shape[:2], whole, patch, scale)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        # The rectangle is not looked at where a mask is given.
        cv2.grabCut(small, state, (0, 0, 0, 0), *models, PARAMETERS.iterations, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    found: np.ndarray = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (PARAMETERS.opening,) * 2)
    regions = regionprops(label(cv2.morphologyEx(found, cv2.MORPH_OPEN, kernel)))
    if not regions:
        return None
    largest = max(regions, key=lambda region: region.area)
    solid: np.ndarray = np.zeros(found.shape, np.float32)
    solid[largest.slice] = largest.image_filled
    solid = cv2.resize(solid, patch.shape[::-1], interpolation=cv2.INTER_LINEAR)
    solid = cv2.GaussianBlur(solid, (0, 0), PARAMETERS.smoothing * side + 0.5) > 0.5
    if largest.solidity < PARAMETERS.least_solidity or not solid.any():
        return None
    mask = np.zeros(image.shape[:2], bool)
    mask[patch.slices] = solid
    ((_, found_box),) = label_boxes(mask.view(np.uint8))
    return mask if found_box.iou(box) >= PARAMETERS.least_agreement else None


def _first_guess(shape: tuple[int, ...], cell: Box, patch: Box, scale: float) -> np.ndarray:
    """Return GrabCut's classes on a patch: surely cell in the middle of the box, surely none beyond it."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    down = np.abs(rows - ((cell.top + cell.bottom) / 2 - patch.top) * scale + 0.5)
    across = np.abs(cols - ((cell.left + cell.right) / 2 - patch.left) * scale + 0.5)
    radii = [max(side * scale / 2, 2.0) for side in cell.shape]
    distance = np.hypot(down / radii[0], across / radii[1])
    state = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    state[distance <= PARAMETERS.likely] = cv2.GC_PR_FGD
    state[distance <= PARAMETERS.certain] = cv2.GC_FGD
    state[(down > radii[0] + PARAMETERS.beyond) | (across > radii[1] + PARAMETERS.beyond)] = cv2.GC_BGD
    return state


def _whole_cell_box(box: Box, height: int, width: int) -> Box:
    """Extend a box that the image border cuts beyond the border, to the square of its long side."""
    ends, side = list(box), max(box.shape)
    for start, length in enumerate((height, width)):
        stop = start + 2
        if ends[start] <= PARAMETERS.edge:
            ends[start] = ends[stop] - side
        elif ends[stop] >= length - PARAMETERS.edge:
            ends[stop] = ends[start] + side
    return Box(*ends)
