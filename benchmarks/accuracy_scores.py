"""What is counted on each set of images, and by what it is judged."""

from __future__ import annotations

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

Row = dict[str, Any]
#: Finds the labels of an image uint8 (H, W, 3), and the table of its cells where it makes one.
Method = Callable[[np.ndarray], tuple[np.ndarray, pd.DataFrame | None]]
#: What is told of one image, given what a method found.
Judge = Callable[[BenchImage, np.ndarray, pd.DataFrame | None], Row]
#: What is told of all images, a row each, by what it is.
SumUp = Callable[[pd.DataFrame], dict[str, str]]


@dataclass(frozen=True)
class Outcome:
    """What one method did on one set."""

    told: dict[str, str]
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
    return Outcome(sum_up(table), seconds, len(table), [text for text in table["failure"] if text])


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


def sum_zheng(table: pd.DataFrame) -> dict[str, str]:
    """Mean Dice and the number of crops with exactly one cell."""
    return {"Dice": f"{table['dice'].mean():.3f}", "exactly one": f"{table['right'].sum()}/{len(table)}"}


def judge_instances(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Match cells by their outlines."""
    match, found = match_instances(item.labels, labels), count_of(labels)  # type: ignore[arg-type]
    value = match.average_precision
    told = f"{item.name} ({item.kind}): {found} for {item.count}, AP {value:.2f}"
    failure = told if found != item.count or value < 1 else ""
    return {"ap": value, "failure": failure, **_counted(match)}


def sum_touching(table: pd.DataFrame) -> dict[str, str]:
    """Average precision at an IoU of 0.5, mean of images, and the share of right counts."""
    return {"AP": f"{table['ap'].mean():.3f}", "counts right": f"{table['right'].mean():.1%}"}


def sum_synthetic(table: pd.DataFrame) -> dict[str, str]:
    """F1 at an IoU of 0.5 over all stains and magnifications."""
    return {"F1": f"{_f1(table):.3f}"}


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


def sum_txl(table: pd.DataFrame) -> dict[str, str]:
    """F1 of boxes and the share of right counts, in brackets without doubtful truths."""
    clear = table[~table["doubtful"]]
    return {
        "F1": f"{_f1(table):.3f} ({_f1(clear):.3f})",
        "counts right": f"{table['right'].mean():.1%} ({clear['right'].mean():.1%})",
    }


def sum_fields(table: pd.DataFrame) -> dict[str, str]:
    """F1 of boxes, with what is missed and what is extra, and the number of right counts."""
    return {
        "F1": f"{_f1(table):.3f} (−{table['fn'].sum()} +{table['fp'].sum()})",
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


def sum_clean(table: pd.DataFrame) -> dict[str, str]:
    """Count fields of which every cell is found and nothing else, and what is missed and extra."""
    missed, extra = table["missed"], table["extra"]
    complete = ((missed == 0) & (extra == 0)).sum()
    return {"fields right": f"{complete}/{len(table)} (−{missed.sum()} +{extra.sum()})"}


# Counts --------------------------------------------------------------------------------------------


def judge_count(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Take the count as it is."""
    return {}


def sum_counts(table: pd.DataFrame) -> dict[str, str]:
    """Sum the count errors, over the number of cells."""
    wrong, cells = (table["found"] - table["count"]).abs().sum(), table["count"].sum()
    return {"count errors": f"{wrong} of {cells} ({wrong / max(cells, 1):.0%})"}


def judge_middle(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Count what is found in the middle: a picture of a platelet may show a white cell at its border."""
    height, width = labels.shape
    found = count_of(labels[height // 3 : -(height // 3), width // 3 : -(width // 3)])
    return {"found": found, "failure": f"{item.name}: {found}" if found else ""}


def sum_false(table: pd.DataFrame) -> dict[str, str]:
    """Count false cells an image, where there is no white cell."""
    return {"false cells an image": f"{table['found'].mean():.3f} ({table['found'].sum()})"}


# What is said of cells besides ---------------------------------------------------------------------


def judge_erythroblast(item: BenchImage, labels: np.ndarray, cells: pd.DataFrame | None) -> Row:
    """Say whether the cell in the middle is found, and taken for an erythroblast."""
    index = int(labels[labels.shape[0] // 2, labels.shape[1] // 2])
    kinds = {} if cells is None else cells.set_index("label")["class"].to_dict()
    named = kinds.get(index) == "erythroblast"
    wrong = named != (item.kind == "erythroblast")
    failure = f"{item.name}: {kinds.get(index, 'found' if index else 'nothing')}" if wrong else ""
    return {"hit": index > 0, "named": named, "failure": failure}


def sum_erythroblasts(table: pd.DataFrame) -> dict[str, str]:
    """Count erythroblasts that are found and told from white cells, and white cells taken for one."""
    red, white = (table[(table["kind"] == "erythroblast") == whether] for whether in (True, False))
    return {
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


def sum_certainty(table: pd.DataFrame) -> dict[str, str]:
    """Say how many of the cells that are marked sure are right, and how many of those to check are wrong."""
    sure, hits, checks = (np.array(table[name].sum()) for name in ("sure", "hits", "checks"))
    surest, unsure = hits[sure > _SURE], hits[checks.astype(bool)]
    wrong = f"{1 - unsure.mean():.0%} of {len(unsure)}" if len(unsure) else "none"
    right = f"{surest.mean():.1%} of {len(surest)}" if len(surest) else "none"
    return {f"right of those surer than {_SURE}": right, "wrong of those to check": wrong}
