"""Pictures of one cell in the middle whose class is known, and pictures without a white cell.

The layout is that of the Barcelona set (Acevedo et al., Data in Brief 30, 2020): a folder
``images`` and a ``classes.csv`` with the columns ``image,class``. By convention
erythroblasts and platelets are no white cells. Pictures without any are brought to scale by the diameter of
lone round red cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ..box import Box
from ..errors import DatasetError
from ..images.illumination import background_colour, transmittance
from ..images.read import read_rgb8
from ..sizes import WHITE_OVER_RED, weighted_median
from .boxes import outline_from_box
from .csv_table import read_table
from .folders import image_files
from .pair import Outliner, TrainingPair, taken_for_cells

PLATELET_CLASS = "platelet"
#: What the groups of the pairs begin with, the class behind it.
GROUP = "class-"
#: Group of pictures without a white cell.
WITHOUT_CELLS = "no-cells"
#: Pictures of the Chula set of red cells that do show a white cell; looked at one by one.
CHULA_WITH_WHITE_CELLS = frozenset({"17", "219", "391", "480", "538", "731", "Iron deficiency anemia_7"})
#: One picture in so many, by name within its class, is never trained on; see `is_held_out`.
KEPT_ASIDE = 5
# The diameter of a typical white cell over the side of its picture, in the Barcelona pictures.
CELL_OF_PICTURE = 0.37
_PLATELET_OF_CELL = 0.75
# Diameter of a late erythroblast over that of a white cell.
_SMALL_CELL = 0.6


def is_single_cells(path: Path) -> bool:
    """Whether a folder holds pictures of single cells with their class."""
    return (path / "classes.csv").is_file() and (path / "images").is_dir()


def is_held_out(number: Any) -> Any:
    """Say whether the picture of a number, or of each of an array of numbers, from 0 is never trained on."""
    return number % KEPT_ASIDE == KEPT_ASIDE - 1


def read_classes(path: Path) -> pd.DataFrame:
    """Read the table of classes.

    Returns
    -------
    DataFrame
        Columns ``image`` (in ``images``, without the leading folder), ``class``, and ``held_out``:
        True for the fifth of each class, by name, that is never trained on.

    Raises
    ------
    DatasetError
        If the table is missing, unreadable or lacks a column.
    """
    table = read_table(Path(path) / "classes.csv", {"image", "class"}, dtype=str, keep_default_na=False)
    table = table.sort_values("image", ignore_index=True)
    table["held_out"] = is_held_out(table.groupby("class").cumcount())
    return table


def read_single_cells(path: Path, outline: Outliner | None) -> list[TrainingPair]:
    """Turn pictures of single cells into training pairs, those held out left aside.

    Parameters
    ----------
    path : Path
    outline : Outliner
        Draws the outlines; pictures in whose middle neither it nor `dark_middle` sees a cell are left out.

    Raises
    ------
    DatasetError
        If the table cannot be used, or there is nothing to draw outlines with.
    ImageError
        If an image cannot be read.
    """
    if outline is None:
        raise DatasetError(
            f"{path} has classes but no outlines: to train on it, name a model that draws them (--outlines)."
        )
    table = read_classes(path)
    named = table.loc[~table["held_out"], ["image", "class"]].itertuples(index=False)
    pairs = (_pair(Path(path) / "images" / name, kind, outline) for name, kind in named)
    return [pair for pair in pairs if pair is not None]


def _pair(file: Path, kind: str, outline: Outliner) -> TrainingPair | None:
    image = read_rgb8(file)
    diameter = CELL_OF_PICTURE * max(image.shape[:2])
    middle = _middle(image)
    if kind == PLATELET_CLASS:
        box = dark_middle(image, diameter)
        boxes = () if box is None else (box,)
        labels = np.zeros(image.shape[:2], np.int32)
    else:
        boxes, labels = (), _outlined(image, diameter, outline)
        if not labels[middle]:
            return None
    return TrainingPair(
        file.stem, image, labels, GROUP + kind, platelets=boxes, look_alikes=boxes, white_cell=diameter
    )


def _middle(image: np.ndarray) -> tuple[int, ...]:
    return tuple(side // 2 for side in image.shape[:2])


def _outlined(image: np.ndarray, diameter: float, outline: Outliner) -> np.ndarray:
    """Label the cells of a picture of which one is in the middle, also one too small for its outliner.

    Late erythroblasts are: a model that never learnt from those it missed went on missing them.
    """
    labels, middle = outline(image, diameter), _middle(image)
    if labels[middle]:
        return labels
    small = outline(image, _SMALL_CELL * diameter)
    if small[middle]:
        mask: np.ndarray | None = small == small[middle]
    else:
        box = dark_middle(image, diameter)
        mask = None if box is None else outline_from_box(image, box)
    if mask is not None:
        labels[mask & (labels == 0)] = labels.max() + 1
    return labels


def dark_middle(image: np.ndarray, cell: float) -> Box | None:
    """Return the box of the stained thing in the middle of a picture."""
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops

    half = round(_PLATELET_OF_CELL * cell / 2)
    top, left = image.shape[0] // 2 - half, image.shape[1] // 2 - half
    crop = cv2.GaussianBlur(image[top : top + 2 * half, left : left + 2 * half], (0, 0), 2.0)
    # Red cells let red light pass, platelets do not.
    red = crop[..., 0].astype(float)
    regions = regionprops(label(red < threshold_otsu(red)))
    if not regions:
        return None
    nearest = min(regions, key=lambda region: float(np.hypot(*(np.array(region.centroid) - half))))
    r0, c0, r1, c1 = nearest.bbox
    return Box(top + r0, left + c0, top + r1, left + c1)


def without_cells_files(path: Path) -> list[Path]:
    """List the pictures of a folder, by name, those of `CHULA_WITH_WHITE_CELLS` left out."""
    return [file for file in sorted(image_files(path)) if file.stem not in CHULA_WITH_WHITE_CELLS]


def read_without_cells(path: Path, outline: Outliner | None = None) -> list[TrainingPair]:
    """Read pictures of a folder that show no white cell.

    The scale is told by the red cells; pictures where they cannot be measured get the
    median of the others.

    Parameters
    ----------
    path : Path
    outline : Outliner, optional
        What it takes for white cells is boxed as such, for a training to look there often.

    Raises
    ------
    DatasetError
        If there is no picture, or none whose red cells can be measured.
    """
    files = without_cells_files(path)
    files = [file for number, file in enumerate(files) if not is_held_out(number)]
    images = [read_rgb8(file) for file in files]
    measured = [red_cell_diameter(2 * (1 - transmittance(i, background_colour(i)))) for i in images]
    known = [diameter for diameter in measured if diameter is not None]
    if not known:
        raise DatasetError(f"No red cells could be measured in {path}, so the scale is not known.")
    usual = float(np.median(known))
    pairs = []
    for file, image, diameter in zip(files, images, measured, strict=True):
        size = WHITE_OVER_RED * (diameter or usual)
        labels = np.zeros(image.shape[:2], np.int32)
        mistakes = taken_for_cells(image, size, outline) if outline else ()
        pairs.append(
            TrainingPair(file.stem, image, labels, WITHOUT_CELLS, look_alikes=mistakes, white_cell=size)
        )
    return pairs


@dataclass(frozen=True)
class RedCellParameters:
    """What is taken for a lone red cell, and when enough of them agree.

    Attributes
    ----------
    working_pixels : int
        The picture is looked at with so many at most.
    least_cells : int
        Below this nothing is said.
    percentile, least_contrast : float
        Percentile of what is absorbed above which all counts alike: dark white cells would pull Otsu's
        threshold up. Below that contrast nothing is stained.
    least_area : float
        Pixels of a cell in the picture looked at.
    most_oblong, least_solidity : float
        Of its sides, and its area over that of its convex hull.
    octaves, agreeing : float
        Cells this near to the median, in powers of two, are of one size; they take this share of all area.
    """

    working_pixels: int = 1_000_000
    least_cells: int = 5
    percentile: float = 90
    least_contrast: float = 0.02
    least_area: float = 40
    most_oblong: float = 1.5
    least_solidity: float = 0.9
    octaves: float = 0.3
    agreeing: float = 0.6


RED_CELLS = RedCellParameters()


def red_cell_diameter(absorbed: np.ndarray) -> float | None:
    """Measure the typical red cell of a picture.

    Stained regions (Otsu's threshold on the most absorbed colour, holes filled) that are
    single, round and of one size are red cells, where these are hundreds of times as many
    as everything else.

    Parameters
    ----------
    absorbed : ndarray of float32, shape (H, W, 3)
        0 on the empty slide, larger where stain absorbs.

    Returns
    -------
    float or None
        Pixels; None where fewer than five red cells stand alone, or their sizes disagree.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops
    from skimage.segmentation import clear_border

    factor = min(1.0, float(np.sqrt(RED_CELLS.working_pixels / (absorbed.shape[0] * absorbed.shape[1]))))
    small = cv2.resize(absorbed, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    most = small.max(axis=-1)
    clipped = np.clip(most, 0, np.percentile(most, RED_CELLS.percentile))
    if np.ptp(clipped) < RED_CELLS.least_contrast:
        return None
    stained = ndimage.binary_fill_holes(most > threshold_otsu(clipped))
    diameters = []
    for region in regionprops(clear_border(label(ndimage.binary_opening(stained)))):
        oblong = max(region.image.shape) / min(region.image.shape)
        round_one = oblong < RED_CELLS.most_oblong and region.solidity > RED_CELLS.least_solidity
        if round_one and region.area >= RED_CELLS.least_area:
            diameters.append(region.equivalent_diameter_area)
    if len(diameters) < RED_CELLS.least_cells:
        return None
    octaves = np.sort(np.log2(diameters))
    areas = np.exp2(2 * octaves)  # so that platelets and specks do not count for much
    agreeing = np.abs(octaves - weighted_median(octaves, areas)) < RED_CELLS.octaves
    if agreeing.sum() < RED_CELLS.least_cells or areas[agreeing].sum() < RED_CELLS.agreeing * areas.sum():
        return None
    return float(np.exp2(np.median(octaves[agreeing])) / factor)
