"""The cells that the classifier is taught on: named by experts, cut out as our own segmentation does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classification.classes import BAND, ERYTHROBLAST, PLATELET, SEGMENTED
from ..classification.crops import cut_out
from ..datasets.boxes import split_names
from ..datasets.single_cells import CELL_OF_PICTURE, dark_middle, read_classes
from ..errors import DatasetError
from ..progress import Progress, silent
from .class_views import SIDE

if TYPE_CHECKING:
    from ..datasets.pair import Outliner

#: What is told apart.
CLASSES = (
    *(BAND, SEGMENTED, "lymphocyte", "monocyte", "eosinophil", "basophil", "immature granulocyte"),
    *(ERYTHROBLAST, PLATELET),
)
# Names in the tables of classes, and what a table may say more exactly of them.
_NAMES = {"ig": "immature granulocyte", "BNE": BAND, "SNE": SEGMENTED}
# A cell is in the middle if it is no further from it, over the side of the picture.
_MIDDLE = 0.03
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
        1 for the class, in the order of `CLASSES`; a half each where only a neutrophil is named.
    names : tuple of str
        The pictures.
    """

    crops: np.ndarray
    masks: np.ndarray
    truth: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def cell(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return crop and mask of a cell, as `cut_out` gave them."""
        return self.crops[index].astype(np.float32) * STEP, self.masks[index].astype(np.float32) / 255

    def save(self, path: Path) -> None:
        """Write them to a file that appears whole or not at all."""
        import io

        from ..errors import OutputError
        from ..files import write_atomically

        content = io.BytesIO()
        np.savez(content, crops=self.crops, masks=self.masks, truth=self.truth, names=np.array(self.names))
        write_atomically(path, content.getvalue(), OutputError)

    @classmethod
    def load(cls, path: Path) -> ClassCells:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["crops"], file["masks"], file["truth"], tuple(file["names"].tolist()))


#: Transmittance that a step of the stored crops stands for.
STEP = np.float32(1 / 200)


def cut_cells(folder: Path, held_out: bool, outline: Outliner, progress: Progress = silent) -> ClassCells:
    """Cut the cells of a data set out.

    Parameters
    ----------
    folder : Path
        With ``images`` and a ``classes.csv`` of the columns ``image``, ``class`` and perhaps ``subtype``.
    held_out : bool
        The cells that are never trained on, or the others. With boxes beside the classes, as in TXL-PBC,
        those that `split_names` has for validation; else a fifth of each class, see `read_classes`.
    outline : Outliner
    progress : Progress

    Raises
    ------
    DatasetError
        If there is no table of classes, or it names one that is not in `CLASSES`.
    """
    from ..images.prepare import prepare_image
    from ..images.read import read_image

    table, whole_fields = read_classes(folder), (Path(folder) / "boxes.csv").is_file()
    if whole_fields:
        table["held_out"] = ~table["image"].isin(split_names(folder)[0])
    table = table[table["held_out"] == held_out]
    found = []
    for number, row in enumerate(table.to_dict("records")):
        progress(number, len(table), f"Cutting out the cells of {Path(folder).name}")
        pixels = prepare_image(read_image(Path(folder) / "images" / row["image"])).pixels
        cell = _cell(np.rint(pixels).astype(np.uint8), str(row["class"]), outline, whole_fields)
        if cell is not None:
            found.append((*cell, _truth(row, folder), str(row["image"])))
    if not found:
        raise DatasetError(f"No cell of {folder} could be outlined.")
    crops, masks, truth, names = zip(*found, strict=True)
    return ClassCells(np.stack(crops), np.stack(masks), np.stack(truth), names)


def joined(parts: list[ClassCells]) -> ClassCells:
    """Return the cells of several data sets."""
    return ClassCells(
        np.concatenate([part.crops for part in parts]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.truth for part in parts]),
        tuple(name for part in parts for name in part.names),
    )


def _truth(row: dict[Any, Any], folder: Path) -> np.ndarray:
    exact = _NAMES.get(str(row.get("subtype")), "")
    name = exact or _NAMES.get(row["class"], row["class"])
    truth = np.zeros(len(CLASSES), np.float32)
    for one in (BAND, SEGMENTED) if name == "neutrophil" else (name,):
        if one not in CLASSES:
            raise DatasetError(f"{folder} names a class {one!r}, which is none of {', '.join(CLASSES)}.")
        truth[CLASSES.index(one)] = 1 if name == one else 0.5
    return truth


def _cell(
    image: np.ndarray, name: str, outline: Outliner, anywhere: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the cell in the middle, or of a whole field that nearest to it; None where there is none."""
    from scipy import ndimage

    from ..images.illumination import normalised

    diameter = CELL_OF_PICTURE * max(image.shape[:2])
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
    middle = (image.shape[0] // 2, image.shape[1] // 2)
    if not anywhere and distance[middle] > _MIDDLE * max(image.shape[:2]):
        return None
    mask = labels == labels[tuple(nearest[:, middle[0], middle[1]])]
    if name == PLATELET and mask.sum() > _LARGEST_PLATELET * size**2:
        return None
    (place,) = ndimage.find_objects(mask.astype(np.uint8))
    corner = [side.start for side in place]
    crop, inside = cut_out(normalised(image), mask[place], corner, diameter, SIDE)
    return np.rint(np.clip(crop, 0, 1.25) / STEP).astype(np.uint8), np.rint(inside * 255).astype(np.uint8)
