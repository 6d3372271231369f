"""What is counted on each set of images, and by what it is judged."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from accuracy_sets import BenchImage
from box_matching import box_iou, match_boxes

from napari_wbcseg.box import label_boxes
from napari_wbcseg.evaluation.metrics import Counts, dice, match_instances

_NEAR = 40.0
#: IoU from which boxes are the same, of TXL-PBC, and of boxes drawn by hand.
IOU, IOU_BY_HAND = 0.5, 0.4
_SURE = 0.9
_STEPS = (0.0, 0.6, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)

Row = dict[str, Any]
Figures = dict[str, float]
#: Finds the labels of an image uint8 (H, W, 3), and the table of its cells where it makes one.
Method = Callable[[np.ndarray], tuple[np.ndarray, pd.DataFrame | None]]
#: What is told of one image, given what a method found.
Judge = Callable[[BenchImage, np.ndarray, pd.DataFrame | None], Row]
#: What is told of all images, a row each: every figure, and the columns of the table.
SumUp = Callable[[pd.DataFrame], tuple[Figures, dict[str, str]]]


@dataclass
class Outcome:
    """What one method did on one set."""

    columns: dict[str, str]
    figures: Figures
    seconds: float
    images: int
    failures: list[str]


def score(items: Iterable[BenchImage], method: Method, judge: Judge, sum_up: SumUp) -> Outcome:
    """Score a method on the images of a set.

    Each image has a row of what the judge says, beside ``kind``, ``doubtful``; ``count`` and ``found``, the
    true and the found number of cells; and ``failure``, a sentence where something is wrong.
    """
    seconds, rows = 0.0, []
    for item in items:
        start = time.perf_counter()
        labels, cells = method(item.image)
        seconds += time.perf_counter() - start
        found = count_of(labels)
        row: Row = {
            "kind": item.kind,
            "doubtful": item.doubtful,
            "count": item.count,
            "found": found,
            "failure": "" if found == item.count else f"{item.name}: {found} for {item.count}",
        }
        rows.append(row | judge(item, labels, cells))
    table = pd.DataFrame(rows)
    table["right"] = table["found"] == table["count"]
    figures, columns = sum_up(table)
    return Outcome(
        columns, figures, seconds, len(table), [failure for failure in table["failure"] if failure]
    )


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """Return the boxes of all labels."""
    return np.array([box for _, box in label_boxes(labels)], int).reshape(-1, 4)


def count_of(labels: np.ndarray) -> int:
    """Return the number of labels."""
    return int(np.count_nonzero(np.bincount(labels.ravel())[1:]))


def _counted(match: Counts) -> Row:
    return {"tp": match.true_positive, "fp": match.false_positive, "fn": match.false_negative}


def _f1(table: pd.DataFrame) -> float:
    return Counts(*table[["tp", "fp", "fn"]].sum().tolist()).f1


# Outlines ------------------------------------------------------------------------------------------


def judge_zheng(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Compare the outline of the one cell."""
    value, found = dice(item.labels, labels), count_of(labels)  # type: ignore[arg-type]
    failure = f"{item.name}: {found} cells, Dice {value:.2f}" if found != 1 or value < 0.8 else ""
    return {"dice": value, "failure": failure}


def sum_zheng(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """Mean Dice and the number of crops with exactly one cell."""
    figures = {"dice": table["dice"].mean(), "exactly_one": int(table["right"].sum()), "images": len(table)}
    single = f"{figures['exactly_one']}/{len(table)}"
    return figures, {"Dice": f"{figures['dice']:.3f}", "exactly one": single}


def judge_instances(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Match cells by their outlines."""
    match, found = match_instances(item.labels, labels), count_of(labels)  # type: ignore[arg-type]
    value = match.average_precision
    told = f"{item.name} ({item.kind}): {found} for {item.count}, AP {value:.2f}"
    failure = told if found != item.count or value < 1 else ""
    return {"ap": value, "failure": failure, **_counted(match)}


def sum_touching(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """Average precision at an IoU of 0.5, mean of images, and the share of right counts."""
    kinds = table.groupby("kind")
    figures = {f"ap_{kind}": value for kind, value in kinds["ap"].mean().items()}
    figures |= {f"count_right_{kind}": value for kind, value in kinds["right"].mean().items()}
    figures |= {"average_precision": table["ap"].mean(), "count_right": table["right"].mean()}
    precision, right = f"{figures['average_precision']:.3f}", f"{figures['count_right']:.1%}"
    return figures, {"AP": precision, "counts right": right}


def sum_synthetic(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """F1 at an IoU of 0.5 over all stains, by magnification."""
    figures = {f"f1_{kind}": _f1(part) for kind, part in table.groupby("kind")} | {"f1": _f1(table)}
    return figures, {"F1": f"{figures['f1']:.3f}"}


# Boxes and places ----------------------------------------------------------------------------------


def judge_boxes(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None, *, iou: float) -> Row:
    """Match cells by their boxes; ignored places count for nothing."""
    boxes = _not_ignored(boxes_of(labels), item.ignore)
    match = match_boxes(item.boxes, boxes, iou)  # type: ignore[arg-type]
    wrong = match.false_positive + match.false_negative
    told = f"{item.name}: {match.true_positive} of {item.count} found, {match.false_positive} extra"
    failure = f"{told}{' (doubtful truth)' if item.doubtful else ''}" if wrong else ""
    return {"found": len(boxes), "failure": failure, **_counted(match)}


def _not_ignored(boxes: np.ndarray, ignore: np.ndarray | None) -> np.ndarray:
    """Leave out boxes whose middle lies in an ignored place."""
    if ignore is None:
        return boxes
    middles = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    inside = ((middles >= ignore[:, :2]) & (middles < ignore[:, 2:])).all(axis=2)
    return boxes[~inside.any(axis=1)]


def sum_txl(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """F1 of boxes and the share of right counts, with and without doubtful truths."""
    clear = table[~table["doubtful"]]
    figures = {"f1": _f1(table), "count_right": table["right"].mean()}
    figures |= {"f1_without_doubtful": _f1(clear), "count_right_without_doubtful": clear["right"].mean()}
    return figures, {
        "F1": f"{figures['f1']:.3f} ({figures['f1_without_doubtful']:.3f})",
        "counts right": f"{figures['count_right']:.1%} ({figures['count_right_without_doubtful']:.1%})",
    }


def sum_fields(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """F1 of boxes and the share of right counts."""
    found, extra, missed = table[["tp", "fp", "fn"]].sum().astype(float)
    figures = {"f1": _f1(table), "count_right": table["right"].mean()}
    figures |= {"found": found, "extra": extra, "missed": missed}
    return figures, {
        "F1": f"{figures['f1']:.3f} (−{missed:.0f} +{extra:.0f})",
        "counts right": f"{table['right'].sum()}/{len(table)}",
    }


def judge_clean(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Compare cells with where the eye saw them."""
    hit: set[int] = set()
    lost = 0
    for row, col in item.points:  # type: ignore[union-attr]
        value = _label_near(labels, row, col)
        lost += value == 0 or value in hit
        hit.add(value)
    found = count_of(labels)
    extra = found - len(hit - {0})
    told = f"{item.name}: {found} for {item.count}, {lost} missed, {extra} extra"
    failure = told if lost or extra or found != item.count else ""
    return {"missed": lost, "extra": extra, "failure": failure}


def _label_near(labels: np.ndarray, row: float, col: float) -> int:
    """Return the label nearest to a point, within reach."""
    r0, c0 = max(round(row - _NEAR), 0), max(round(col - _NEAR), 0)
    crop = labels[r0 : round(row + _NEAR), c0 : round(col + _NEAR)]
    rows, cols = np.nonzero(crop)
    if not len(rows):
        return 0
    distance = np.hypot(rows + r0 - row, cols + c0 - col)
    nearest = int(np.argmin(distance))
    return int(crop[rows[nearest], cols[nearest]]) if distance[nearest] < _NEAR / 2 else 0


def sum_clean(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """Compare counts with those taken by eye, and cells with where the eye saw them."""
    missed, extra = int(table["missed"].sum()), int(table["extra"].sum())
    complete = int(((table["missed"] == 0) & (table["extra"] == 0)).sum())
    figures = {"right": int(table["right"].sum()), "images": len(table)}
    figures |= {"missed": missed, "extra": extra, "all_found": complete}
    return figures, {"fields right": f"{complete}/{len(table)} (−{missed} +{extra})"}


# Counts --------------------------------------------------------------------------------------------


def judge_count(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Take the count as it is."""
    return {}


def sum_counts(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """Sum the count errors, over the number of cells."""
    wrong, cells = int((table["found"] - table["count"]).abs().sum()), int(table["count"].sum())
    error = wrong / max(cells, 1)
    figures = {"count_error": error, "wrong": wrong, "cells": cells}
    return figures, {"count errors": f"{wrong} of {cells} ({error:.0%})"}


def judge_middle(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Count what is found in the middle: a picture of a platelet may show a white cell at its border."""
    height, width = labels.shape
    found = count_of(labels[height // 3 : -(height // 3), width // 3 : -(width // 3)])
    return {"found": found, "failure": f"{item.name}: {found}" if found else ""}


def sum_false(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """Count false cells an image, where there is no white cell; by kind, where there are kinds."""
    false, each = int(table["found"].sum()), table["found"].mean()
    kinds = table.groupby("kind")["found"].mean()
    figures = {f"false_per_image_{kind}": value for kind, value in kinds.items() if kind}
    return {**figures, "false_per_image": each}, {"false cells an image": f"{each:.3f} ({false})"}


# What is said of cells besides ---------------------------------------------------------------------


def judge_erythroblast(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Say whether the cell in the middle is found, and taken for an erythroblast."""
    index = int(labels[labels.shape[0] // 2, labels.shape[1] // 2])
    kinds = {} if cells is None else cells.set_index("label")["class"].to_dict()
    named = kinds.get(index) == "erythroblast"
    wrong = named != (item.kind == "erythroblast")
    failure = f"{item.name}: {kinds.get(index, 'found' if index else 'nothing')}" if wrong else ""
    return {"hit": index > 0, "named": named, "failure": failure}


def sum_erythroblasts(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """Count erythroblasts that are found and told from white cells, and white cells taken for one."""
    red, white = (table[(table["kind"] == "erythroblast") == whether] for whether in (True, False))
    figures = {"found": red["hit"].mean(), "told": red["named"].mean()}
    figures["white_cells_mistaken"] = white["named"].mean()
    return figures, {
        "found, told": f"{red['hit'].sum()}, {red['named'].sum()} of {len(red)}",
        "white cells taken for them": f"{white['named'].sum()} of {len(white)}",
    }


def judge_certainty(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Say of each cell how sure it is, and whether it is right."""
    if cells is None:
        return {"sure": [], "hits": [], "checks": [], "failure": ""}
    boxes = boxes_of(labels)
    counted = {tuple(box) for box in _not_ignored(boxes, item.ignore).tolist()}
    kept = np.array([tuple(box) in counted for box in boxes.tolist()], bool)
    truth = np.zeros((0, 4), int) if item.boxes is None else item.boxes
    hits = (box_iou(truth, boxes) >= IOU_BY_HAND).any(axis=0)
    sure, checks = cells["certainty"].to_numpy(float), cells["check"].to_numpy(bool)
    told = {"sure": sure[kept].tolist(), "hits": hits[kept].tolist(), "checks": checks[kept].tolist()}
    return {**told, "failure": ""}


def sum_certainty(table: pd.DataFrame) -> tuple[Figures, dict[str, str]]:
    """Say how many of the cells that are marked sure are right, and how many of those to check are wrong."""
    sure, hits, checks = (np.array(table[name].sum()) for name in ("sure", "hits", "checks"))
    figures = {}
    for low, high in itertools.pairwise(_STEPS):
        part = (sure >= low) & (sure < high) if high < 1 else sure >= low
        if part.any():
            figures[f"right_{low:g}_to_{high:g} (of {part.sum()})"] = float(hits[part].mean())
    surest, unsure = hits[sure > _SURE], hits[checks.astype(bool)]
    wrong = f"{1 - unsure.mean():.0%} of {len(unsure)}" if len(unsure) else "none"
    right = f"{surest.mean():.1%} of {len(surest)}" if len(surest) else "none"
    return figures, {"right of those surer than 0.9": right, "wrong of those to check": wrong}
