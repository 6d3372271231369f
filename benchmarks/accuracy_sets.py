"""The images that `accuracy.py` scores on, each with what is known of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np

from napari_wbcseg.datasets.boxes import WHITE_KIND, read_boxes, split_names
from napari_wbcseg.datasets.sigtuple import TEST_FOLDER
from napari_wbcseg.datasets.single_cells import is_held_out, read_classes, without_cells_files
from napari_wbcseg.images.read import read_rgb8
from napari_wbcseg.synthetic.smear import synthetic_smear
from napari_wbcseg.synthetic.stains import STAINS
from napari_wbcseg.training.samples.sources import largest_empty

HERE = Path(__file__).parent
COUNTS_TABLE = HERE / "clean_test_counts.csv"
DOUBTFUL_TABLE = HERE / "txl_doubtful.csv"

Item = TypeVar("Item")
_LEAST_REGION = 100
#: Sets of the folder ``hard`` that are scored together.
HARD_KINDS = {
    "leukaemia": ("leukaemia", "leukaemia_atlas"),
    "marrow": ("marrow",),
    "blue": ("leukaemia_blue", "malaria"),
    "vivax": ("vivax",),
}
WHITE_CLASSES = ("basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil")


@dataclass(frozen=True, eq=False)
class BenchImage:
    """One image and what is known of its white cells.

    Attributes
    ----------
    name : str
    image : ndarray of uint8, shape (H, W, 3)
    count : int
        True number of white cells.
    labels : ndarray of int32, shape (H, W), or None
        Outlines, each value a cell.
    boxes : ndarray of int, shape (n, 4), or None
        ``row0, col0, row1, col1``, ends exclusive.
    points : ndarray of float, shape (n, 2), or None
        About the centres of the cells.
    doubtful : bool
        The truth looks wrong.
    kind : str
        Part of its set.
    ignore : ndarray of int, shape (n, 4), or None
        Boxes of places where finding or not finding something is no mistake.
    """

    name: str
    image: np.ndarray
    count: int
    labels: np.ndarray | None = None
    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    doubtful: bool = False
    kind: str = ""
    ignore: np.ndarray | None = None


# Sets as they come ---------------------------------------------------------------------------------


def clean_fields(path: Path) -> list[BenchImage]:
    """Return the test fields that share no cell with the training set, counted by eye."""
    with COUNTS_TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = {file.stem: file for file in (path / TEST_FOLDER).iterdir()}
    found = []
    for row in rows:
        points = np.array([point.split(":") for point in row["centres"].split()], float).reshape(-1, 2)
        image = read_rgb8(files[row["field"]])
        found.append(BenchImage(row["field"], image, int(row["white_cells"]), points=points))
    return found


def txl_validation(path: Path) -> list[BenchImage]:
    """Return the fields of TXL-PBC that are never trained on, with their boxes."""
    with DOUBTFUL_TABLE.open(newline="") as file:
        doubtful = {row["image"] for row in csv.DictReader(file)}
    return _boxed_fields(path, split_names(path)[1], doubtful)


def pig_fields(path: Path) -> list[BenchImage]:
    """Return the validation fields of the pig smears, each a round field in a black surround."""
    return _boxed_fields(path, sorted(file.name for file in (path / "images").glob("valid*")))


def _boxed_fields(path: Path, names: Iterable[str], doubtful: Collection[str] = ()) -> list[BenchImage]:
    table, found = read_boxes(path), []
    table = table[table["kind"] == WHITE_KIND]
    for name in names:
        boxes = table.loc[table["image"] == name, ["r0", "c0", "r1", "c1"]].to_numpy(int)
        image = read_rgb8(path / "images" / name)
        found.append(BenchImage(name, image, len(boxes), boxes=boxes, doubtful=name in doubtful))
    return found


def zheng_crops(path: Path) -> list[BenchImage]:
    """Return the 300 crops of one cell each, outlined by experts."""
    found = []
    for file in sorted(path.glob("*.bmp")):
        truth = read_rgb8(file.with_suffix(".png"))[..., 0] > 64
        found.append(BenchImage(file.stem, read_rgb8(file), 1, truth.astype(np.int32)))
    return found


# Places without white cells ------------------------------------------------------------------------


def around(points: np.ndarray | None, radius: float) -> np.ndarray:
    """Return boxes around points."""
    points = np.zeros((0, 2)) if points is None else points
    return np.hstack([points - radius, points + radius])


def without_cells(root: Path) -> list[BenchImage]:
    """Return regions of real fields without white cells, and synthetic fields with none."""
    found = []
    for field in clean_fields(root / "sigtuple"):
        window = largest_empty(field.image.shape[:2], around(field.points, 55), _LEAST_REGION)
        if window is not None:
            found.append(BenchImage(field.name, field.image[window], 0, kind="sigtuple region"))
    for field in txl_validation(root / "txl_pbc"):
        grown = np.asarray(field.boxes) + np.array([-4, -4, 4, 4])
        window = largest_empty(field.image.shape[:2], grown, _LEAST_REGION)
        if window is not None and not field.doubtful:
            found.append(BenchImage(field.name, field.image[window], 0, kind="txl region"))
    for number, (stain, diameter) in enumerate(product(STAINS, (30.0, 63.0, 130.0))):
        smear = synthetic_smear(
            (360, 480), cell_diameter=diameter, white_cells=0, stain=stain, seed=900 + number
        )
        found.append(BenchImage(f"{stain}-{diameter:.0f}", smear.image, 0, kind="synthetic field"))
    return found


# The smears that matter: leukaemia, marrow, malaria, a phone at the eyepiece, what is no white cell ---


def hard_images(path: Path, name: str) -> list[BenchImage]:
    """Return the images of one of `HARD_KINDS`; ``ignore`` holds places that count for nothing."""
    with (path / "truth.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["image"].split("/")[0] in HARD_KINDS[name]]
    return [
        BenchImage(
            row["image"],
            read_rgb8(path / row["image"]),
            int(row["count"]),
            boxes=np.array(json.loads(row["boxes"]), int).reshape(-1, 4) if row["boxes"] else None,
            ignore=np.array(json.loads(row["ignore"] or "[]"), int).reshape(-1, 4),
            doubtful=bool(row["doubtful"]),
        )
        for row in rows
    ]


def red_cell_fields(path: Path) -> list[BenchImage]:
    """Return the fifth of the Chula fields that is kept apart; none shows a white cell."""
    files = without_cells_files(path / "images")
    kept = [file for number, file in enumerate(files) if is_held_out(number)]
    return [BenchImage(file.stem, read_rgb8(file), 0) for file in kept]


def single_cells(path: Path, kinds: tuple[str, ...]) -> list[BenchImage]:
    """Return the pictures of some classes that are kept apart; the cell is in the middle."""
    table = read_classes(path)
    table = table[table["held_out"] & table["class"].isin(kinds)]
    return [
        BenchImage(name, read_rgb8(path / "images" / name), int(kind != "platelet"), kind=kind)
        for name, kind in zip(table["image"], table["class"], strict=True)
    ]


def certainty_images(root: Path) -> list[BenchImage]:
    """Return the fields of which every cell is boxed, or that show none, without those of doubtful truth."""
    found = pig_fields(root / "pig") + red_cell_fields(root / "chula")
    found += [image for name in ("blue", "vivax") for image in hard_images(root / "hard", name)]
    return found + [field for field in txl_validation(root / "txl_pbc") if not field.doubtful]


# Others --------------------------------------------------------------------------------------------


def synthetic_smears(root: Path) -> list[BenchImage]:
    """Return synthetic smears of every stain at three magnifications."""
    found = []
    for (number, stain), diameter in product(enumerate(STAINS), (25.0, 63.0, 160.0)):
        shape = (round(8 * diameter), round(8 * diameter))
        smear = synthetic_smear(shape, cell_diameter=diameter, white_cells=5, stain=stain, seed=700 + number)
        name, kind = f"{stain}-{diameter:.0f}", f"{diameter:.0f} px"
        found.append(BenchImage(name, smear.image, smear.count, smear.labels, kind=kind))
    return found


def spread(items: list[Item], number: int | None) -> list[Item]:
    """Return so many of the items, evenly spread over them; all where no number is given."""
    if number is None or number >= len(items):
        return items
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, number).round()]
