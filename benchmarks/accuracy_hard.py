"""The smears that matter: leukaemia, marrow, malaria, a phone at the eyepiece, what is no white cell.

Each set is a list of `BenchImage`, each scorer takes it as those of `accuracy_scores` do.
"""

from __future__ import annotations

import csv
import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
from accuracy_methods import Method
from accuracy_scores import Outcome, Run, Scorer, _f1, boxes_of, count_of
from accuracy_sets import BenchImage, txl_validation
from box_matching import box_iou, match_boxes

from napari_wbcseg.datasets.boxes import WHITE_KIND, read_boxes
from napari_wbcseg.datasets.single_cells import is_held_out, read_classes, without_cells_files
from napari_wbcseg.images.read import read_image

#: Sets of the folder ``hard`` that are scored together.
KINDS = {
    "leukaemia": ("leukaemia", "leukaemia_atlas"),
    "marrow": ("marrow",),
    "blue": ("leukaemia_blue", "malaria"),
    "vivax": ("vivax",),
}
#: At an IoU of boxes drawn by hand.
_IOU = 0.4


def rgb(file: Path) -> np.ndarray:
    """Read an image as RGB without alpha."""
    image = read_image(file)
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image[..., :3]


def hard_images(path: Path, name: str) -> list[BenchImage]:
    """Return the images of one of `KINDS`; ``ignore`` holds places that count for nothing."""
    with (path / "truth.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["image"].split("/")[0] in KINDS[name]]
    found = []
    for row in rows:
        boxes = np.array(json.loads(row["boxes"]), int).reshape(-1, 4) if row["boxes"] else None
        ignore = np.array(json.loads(row["ignore"] or "[]"), int).reshape(-1, 4)
        found.append(
            BenchImage(
                row["image"],
                rgb(path / row["image"]),
                int(row["count"]),
                boxes=boxes,
                ignore=ignore,
                doubtful=bool(row["doubtful"]),
                kind=row["image"].split("/")[0],
            )
        )
    return found


def pig_fields(path: Path) -> list[BenchImage]:
    """Return the validation fields of the pig smears, each a round field in a black surround."""
    table = read_boxes(path)
    table = table[table["kind"] == WHITE_KIND]
    found = []
    for file in sorted((path / "images").glob("valid*")):
        boxes = table.loc[table["image"] == file.name, ["r0", "c0", "r1", "c1"]].to_numpy(int)
        found.append(BenchImage(file.name, rgb(file), len(boxes), boxes=boxes, kind="pig"))
    return found


def red_cell_fields(path: Path) -> list[BenchImage]:
    """Return the fifth of the Chula fields that is kept apart; none shows a white cell."""
    files = without_cells_files(path / "images")
    kept = [file for number, file in enumerate(files) if is_held_out(number)]
    return [BenchImage(file.stem, rgb(file), 0, kind="chula") for file in kept]


def single_cells(path: Path, kinds: tuple[str, ...]) -> list[BenchImage]:
    """Return the pictures of some classes that are kept apart; the cell is in the middle."""
    table = read_classes(path)
    table = table[table["held_out"] & table["class"].isin(kinds)]
    return [
        BenchImage(name, rgb(path / "images" / name), int(kind != "platelet"), kind=kind)
        for name, kind in zip(table["image"], table["class"], strict=True)
    ]


def score_counts(items: list[BenchImage], run: Run, method: Method, *, name: str) -> Outcome:
    """Sum the count errors, over the number of cells."""
    out = Outcome()
    wrong = 0
    for item in items:
        labels = run(item)
        found = count_of(labels)
        wrong += abs(found - item.count)
        if found != item.count:
            out.failures.append(f"{item.name}: {found} for {item.count}")
        out.worst.append((-abs(found - item.count) / max(item.count, 1), item, labels))
    cells = sum(item.count for item in items)
    out.figures = {"count_error": wrong / max(cells, 1), "wrong": wrong, "cells": cells}
    out.columns[f"{name}: count errors"] = f"{wrong} of {cells} ({wrong / max(cells, 1):.0%})"
    return out


def score_fields(items: list[BenchImage], run: Run, method: Method, *, name: str) -> Outcome:
    """F1 of boxes and the share of right counts; ignored places count for nothing."""
    out = Outcome()
    totals, right = np.zeros(3, int), 0
    for item in items:
        labels = run(item)
        boxes = _not_ignored(boxes_of(labels), item.ignore)
        assert item.boxes is not None
        match = match_boxes(item.boxes, boxes, _IOU)
        totals += (match.true_positive, match.false_positive, match.false_negative)
        right += len(boxes) == item.count
        if match.false_positive or match.false_negative:
            out.failures.append(
                f"{item.name}: {match.true_positive} of {item.count} found, {match.false_positive} extra"
            )
        out.worst.append((-float(match.false_positive + match.false_negative), item, labels))
    out.figures = {"f1": _f1(*map(int, totals)), "count_right": right / max(len(items), 1)}
    out.figures |= dict(zip(("found", "extra", "missed"), map(float, totals), strict=True))
    out.columns[f"{name}: F1"] = f"{out.figures['f1']:.3f} (−{totals[2]} +{totals[1]})"
    out.columns[f"{name}: counts right"] = f"{right}/{len(items)}"
    return out


def _not_ignored(boxes: np.ndarray, ignore: np.ndarray | None) -> np.ndarray:
    """Leave out boxes whose middle lies in an ignored place."""
    if ignore is None or not len(ignore) or not len(boxes):
        return boxes
    rows, cols = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    inside = (
        (rows[:, None] >= ignore[:, 0])
        & (rows[:, None] < ignore[:, 2])
        & (cols[:, None] >= ignore[:, 1])
        & (cols[:, None] < ignore[:, 3])
    )
    return boxes[~inside.any(axis=1)]


def score_false(items: list[BenchImage], run: Run, method: Method, *, name: str) -> Outcome:
    """Count false cells an image, where there is no white cell."""
    out = Outcome()
    false = 0
    for item in items:
        labels = run(item)
        found = _middle_only(labels) if item.kind == "platelet" else count_of(labels)
        false += found
        if found:
            out.failures.append(f"{item.name}: {found}")
        out.worst.append((-float(found), item, labels))
    out.figures = {"false_per_image": false / max(len(items), 1), "false": false}
    out.columns[f"{name}: false cells an image"] = f"{false / max(len(items), 1):.3f} ({false})"
    return out


def _middle_only(labels: np.ndarray) -> int:
    """Count what is found in the middle: a picture of a platelet may show a white cell at its border."""
    height, width = labels.shape
    middle = labels[height // 3 : -(height // 3), width // 3 : -(width // 3)]
    return count_of(middle)


def score_erythroblasts(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Count erythroblasts that are found and told from white cells, and white cells taken for one."""
    out = Outcome()
    found = told = white = mistaken = 0
    for item in items:
        labels = run(item)
        index = int(labels[labels.shape[0] // 2, labels.shape[1] // 2])
        table = getattr(method, "cells", None)
        kinds = {} if table is None else table.set_index("label")["class"].to_dict()
        red = kinds.get(index) == "erythroblast"
        if item.kind == "erythroblast":
            found += index > 0
            told += red
        else:
            white += 1
            mistaken += red
        if red != (item.kind == "erythroblast"):
            out.failures.append(f"{item.name}: {kinds.get(index, 'found' if index else 'nothing')}")
            out.worst.append((-1.0, item, labels))
    number = len(items) - white
    out.figures = {
        "found": found / max(number, 1),
        "told": told / max(number, 1),
        "white_cells_mistaken": mistaken / max(white, 1),
    }
    out.columns["erythroblasts found, told"] = f"{found}, {told} of {number}"
    out.columns["white cells taken for them"] = f"{mistaken} of {white}"
    return out


#: Sets of which every cell is boxed, or that show none: what is found there is right or wrong.
CERTAINTY_SETS = ("pig", "blue", "vivax", "chula")
_SURE = 0.9
_STEPS = (0.0, 0.6, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


def score_certainty(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Say how many of the cells that are marked sure are right, and how many of those to check are wrong."""
    out = Outcome()
    certainty: list[float] = []
    right: list[bool] = []
    checks: list[bool] = []
    for item in items:
        labels = run(item)
        table = getattr(method, "cells", None)
        if table is None:
            continue
        boxes = boxes_of(labels)
        truth = np.zeros((0, 4), int) if item.boxes is None else item.boxes
        counted = {tuple(box) for box in _not_ignored(boxes, item.ignore).tolist()}
        matched = (box_iou(truth, boxes) >= _IOU).any(axis=0) if len(truth) else np.zeros(len(boxes), bool)
        for row, (box, hit) in enumerate(zip(boxes.tolist(), matched, strict=True)):
            if tuple(box) in counted:
                certainty.append(float(table["certainty"].iloc[row]))
                checks.append(bool(table["check"].iloc[row]))
                right.append(bool(hit))
    sure, hits, check = np.array(certainty), np.array(right, bool), np.array(checks, bool)
    for low, high in itertools.pairwise(_STEPS):
        part = (sure >= low) & (sure < high) if high < 1 else sure >= low
        if part.any():
            out.figures[f"right_{low:g}_to_{high:g} (of {part.sum()})"] = float(hits[part].mean())
    surest = hits[sure > _SURE]
    out.columns["right of those surer than 0.9"] = f"{surest.mean():.1%} of {len(surest)}"
    out.columns["wrong of those to check"] = (
        f"{1 - hits[check].mean():.0%} of {check.sum()}" if check.any() else "none"
    )
    return out


WHITE_CLASSES = ("basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil")

HARD_SCORERS: dict[str, Scorer] = {
    "pig": partial(score_fields, name="pig"),
    "leukaemia": partial(score_counts, name="leukaemia"),
    "marrow": partial(score_counts, name="marrow"),
    "blue": partial(score_fields, name="blue leukaemia, malaria"),
    "vivax": partial(score_false, name="vivax"),
    "chula": partial(score_false, name="chula"),
    "platelets": partial(score_false, name="platelets"),
    "erythroblasts": score_erythroblasts,
    "certainty": score_certainty,
}


def hard_set(root: Path, name: str) -> list[BenchImage]:
    """Return one of the sets of `HARD_SCORERS`; empty where its folder is missing."""
    if name == "certainty":
        found = [item for part in CERTAINTY_SETS for item in hard_set(root, part)]
        fields = txl_validation(root / "txl_pbc") if (root / "txl_pbc").is_dir() else []
        return found + [field for field in fields if not field.doubtful]
    folder, read = {
        "pig": ("pig", pig_fields),
        "chula": ("chula", red_cell_fields),
        "platelets": ("pbc", partial(single_cells, kinds=("platelet",))),
        "erythroblasts": ("pbc", partial(single_cells, kinds=("erythroblast", *WHITE_CLASSES))),
    }.get(name, ("hard", partial(hard_images, name=name)))
    return read(root / folder) if (root / folder).is_dir() else []
