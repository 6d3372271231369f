"""The cells that the classifier is taught on, cut out as our own segmentation does.

Experts named those of the Barcelona sets. Those of SigTuple, another laboratory's, were named by eye, the
doubtful left out; cells drawn for the purpose are a third look, and plain discs are of no class at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..box import Box, label_boxes
from ..classification.classes import BAND, ERYTHROBLAST, NEUTROPHIL, PLATELET, SEGMENTED
from ..classification.crops import cut_out
from ..datasets.boxes import split_names
from ..datasets.pair import Outliner
from ..datasets.sigtuple import is_sigtuple, sigtuple_classes
from ..datasets.single_cells import CELL_OF_PICTURE, dark_middle, read_classes
from ..errors import DatasetError
from ..files import written_whole
from ..images.illumination import BRIGHTEST, normalised
from ..images.read import read_rgb8
from ..progress import Progress, silent
from ..synthetic.smear import random_smear
from ..synthetic.white_cells import outline_at, ring_outline, texture
from .class_views import SIDE

#: What is told apart.
CLASSES = (
    *(BAND, SEGMENTED, "lymphocyte", "monocyte", "eosinophil", "basophil", "immature granulocyte"),
    *(ERYTHROBLAST, PLATELET),
)
#: Per cent of what is outlined as white cells in ordinary blood, by class: the middle of the reference
#: intervals of a differential (Hoffbrand's Essential Haematology); the last three are rare, not absent.
USUAL = (3.0, 57.0, 30.0, 6.0, 3.0, 0.5, 1.0, 1.0, 1.0)
# Names in the tables of classes, and what a table may say more exactly of them.
_NAMES = {"ig": "immature granulocyte", "BNE": BAND, "SNE": SEGMENTED}
# A cell is in the middle if it is no further from it, over the side of the picture.
_MIDDLE = 0.03
#: Pixels across a typical white cell of SigTuple's pictures (their data's page: 50 to 71).
SIGTUPLE_DIAMETER = 63.0
_HIDDEN = 0.97  # mean transmittance of a drawn cell that nobody would see
_LARGEST_PLATELET = 4.0  # its area over that of the square around the dark middle


@dataclass(frozen=True)
class ClassCells:
    """Cells of known classes.

    Attributes
    ----------
    crops : ndarray of uint8, shape (n, SIDE, SIDE, 3)
        Transmittance, in steps of `STEP`.
    masks : ndarray of uint8, shape (n, SIDE, SIDE)
        Share of each pixel that is the cell's, 0 to 255.
    truth : ndarray of float32, shape (n, classes)
        1 for the class, in the order of `CLASSES`; a half each where only a neutrophil is named, the same
        everywhere for what is none of them.
    """

    crops: np.ndarray
    masks: np.ndarray
    truth: np.ndarray

    @classmethod
    def of(cls, cells: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> ClassCells:
        """Return some cells, given crop, mask and truth of each."""
        return cls(*(np.stack(part) for part in zip(*cells, strict=True)))

    def __len__(self) -> int:
        return len(self.truth)

    def cell(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return crop and mask of a cell, as `cut_out` gave them."""
        return self.crops[index].astype(np.float32) * STEP, self.masks[index].astype(np.float32) / 255

    def save(self, path: Path) -> None:
        """Write them to a file that appears whole or not at all."""
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> ClassCells:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(*(file[name] for name in ("crops", "masks", "truth")))


#: Transmittance that a step of the stored crops stands for.
STEP = np.float32(1 / 200)


def cut_cells(folder: Path, outline: Outliner, progress: Progress = silent) -> ClassCells:
    """Cut out the cells of a data set that may be trained on.

    Those held out are with boxes beside the classes, as in TXL-PBC, what `split_names` has for validation;
    else a fifth of each class, see `read_classes`.

    Parameters
    ----------
    folder : Path
        With ``images`` and a ``classes.csv`` of the columns ``image``, ``class`` and perhaps ``subtype``; or
        SigTuple's, whose classes come with this package.
    outline : Outliner
    progress : Progress

    Raises
    ------
    DatasetError
        If there is no table of classes, or it names one that is not in `CLASSES`.
    """
    table = class_table(Path(folder))
    table = table[~table["held_out"]]
    found, read = [], lru_cache(maxsize=1)(read_rgb8)  # cells of one picture follow each other
    for number, row in enumerate(table.to_dict("records")):
        progress(number, len(table), f"Cutting out the cells of {Path(folder).name}")
        cell = _cut(read(Path(folder) / row["image"]), row, outline)
        if cell is not None:
            found.append((*cell, class_truth(row, folder)))
    if not found:
        raise DatasetError(f"No cell of {folder} could be outlined.")
    return ClassCells.of(found)


def class_table(folder: Path) -> pd.DataFrame:
    """Return image, class and held_out of each cell, its place, and how far from it it may lie."""
    if is_sigtuple(folder):
        return sigtuple_classes(folder).assign(diameter=SIGTUPLE_DIAMETER, reach=_MIDDLE)
    table = read_classes(folder)
    whole_fields = (folder / "boxes.csv").is_file()
    if whole_fields:
        table["held_out"] = ~table["image"].isin(split_names(folder)[0])
    table["image"] = "images/" + table["image"]
    return table.assign(reach=np.inf if whole_fields else _MIDDLE)


def drawn_cells(fields: int, seed: int = 0) -> ClassCells:
    """Return cells of fields drawn at random, each in a stain of its own; blasts are none of the classes."""
    found = []
    for number in range(fields):
        smear = random_smear(np.random.default_rng((seed, number)), (320, 320), cell_diameter_range=(40, 90))
        image = normalised(smear.image.astype(np.float32))
        for kind, (label, box) in zip(smear.kinds, label_boxes(smear.labels), strict=True):
            mask = smear.labels[box.slices] == label
            hidden = image[box.slices][mask].mean() > _HIDDEN  # by the edge of the microscope's field
            if not hidden and (kind in CLASSES or kind == NEUTROPHIL):
                cut = cut_cell(image, mask, box, smear.cell_diameter)
                found.append((*cut, class_truth({"class": kind}, Path("drawn"))))
    return ClassCells.of(found)


def discs(count: int, seed: int = 0) -> ClassCells:
    """Return stained discs without a nucleus, as red cells and dirt are, which no class fits."""
    rng = np.random.default_rng((seed, 1))
    y, x = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2).astype(np.float32)
    truth, found = np.full(len(CLASSES), 1 / len(CLASSES), np.float32), []
    for _ in range(count):
        outline = ring_outline(rng, rng.uniform(0, 0.08), rng.uniform(1.0, 1.4))
        depth = outline_at(outline, y, x) * rng.uniform(12, 30) - np.hypot(y, x)
        cover = np.clip(depth / rng.uniform(1, 4) + 0.5, 0, 1)
        density = rng.uniform(0.2, 2.0) * rng.dirichlet(np.full(3, 3.0)) * 3
        body = 1 + rng.uniform(0, 0.2) * texture(rng, y.shape, rng.uniform(2, 12))
        body = body * (1 - rng.uniform(0, 0.5) * np.exp(-((np.hypot(y, x) / rng.uniform(4, 12)) ** 2)))
        crop = np.exp(-density * (cover * np.maximum(body, 0.1))[..., None])
        found.append((*_quantised(crop, depth > 0), truth))
    return ClassCells.of(found)


def joined(parts: list[ClassCells]) -> ClassCells:
    """Return the cells of several data sets."""
    return ClassCells(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


def class_truth(row: dict[Any, Any], folder: Path) -> np.ndarray:
    """Return the truth, see `ClassCells`, of a cell of a table of a data set."""
    exact = _NAMES.get(str(row.get("subtype")), "")
    name = exact or _NAMES.get(row["class"], row["class"])
    truth = np.zeros(len(CLASSES), np.float32)
    for one in (BAND, SEGMENTED) if name == "neutrophil" else (name,):
        if one not in CLASSES:
            raise DatasetError(f"{folder} names a class {one!r}, which is none of {', '.join(CLASSES)}.")
        truth[CLASSES.index(one)] = 1 if name == one else 0.5
    return truth


def _cut(image: np.ndarray, row: dict[Any, Any], outline: Outliner) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the cell at its place, the middle of the picture if none is said; None if there is none."""
    from scipy import ndimage

    name, side = str(row["class"]), max(image.shape[:2])
    diameter = row.get("diameter", CELL_OF_PICTURE * side)
    size = diameter
    if name == PLATELET:  # which our segmentation takes for a cell where it takes cells to be that small
        box = dark_middle(image, diameter)
        if box is None:
            return None
        size = float(max(box[2] - box[0], box[3] - box[1], 20))
    labels = outline(image, size)
    if not labels.any():
        return None
    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    spot = (int(row.get("row", image.shape[0] // 2)), int(row.get("col", image.shape[1] // 2)))
    if distance[spot] > row["reach"] * side:
        return None
    mask = labels == labels[tuple(nearest[:, spot[0], spot[1]])]
    if name == PLATELET and mask.sum() > _LARGEST_PLATELET * size**2:
        return None
    ((_, box),) = label_boxes(mask.astype(np.uint8))
    return cut_cell(normalised(image), mask[box.slices], box, diameter)


def cut_cell(image: np.ndarray, mask: np.ndarray, box: Box, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """Return crop and mask of a cell as `ClassCells` keeps them, given its mask within its box."""
    return _quantised(*cut_out(image, mask, box[:2], diameter, SIDE))


def _quantised(crop: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return transmittance and share of each pixel as `ClassCells` keeps them."""
    passed = np.rint(np.clip(crop, 0, BRIGHTEST) / STEP)
    return passed.astype(np.uint8), np.rint(inside * 255).astype(np.uint8)
