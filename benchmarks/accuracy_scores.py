"""What is counted on each set of images, and by what it is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from accuracy_methods import TRAINED, Method
from accuracy_sets import BenchImage, back_to
from box_matching import box_iou, match_boxes

from napari_wbcseg.box import label_boxes
from napari_wbcseg.evaluation.metrics import dice, match_instances

_NEAR = 40.0
#: Truth smaller than this, in pixels, is a cell that the edge of its tile cuts to a sliver.
_SLIVER = 310


@dataclass
class Outcome:
    """What one method did on one set."""

    columns: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    images: int = 0
    failures: list[str] = field(default_factory=list)
    worst: list[tuple[float, BenchImage, np.ndarray]] = field(default_factory=list, repr=False)


Run = Callable[[BenchImage], np.ndarray]
Scorer = Callable[[list[BenchImage], Run, Method], Outcome]


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """Return the boxes of all labels."""
    return np.array([box for _, box in label_boxes(labels)], int).reshape(-1, 4)


def count_of(labels: np.ndarray) -> int:
    """Return the number of labels."""
    return int(np.count_nonzero(np.bincount(labels.ravel())[1:]))


def _f1(tp: int, fp: int, fn: int) -> float:
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


# One scorer a set ----------------------------------------------------------------------------------


def score_sigtuple(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Mean tile Dice against the masks, by fold and together."""
    out = Outcome()
    by_fold: dict[int, list[float]] = {}
    clear: list[float] = []
    large: list[float] = []
    marks: dict[int, str] = {}
    for item in items:
        assert item.fold is not None
        assert item.labels is not None
        method.choose(item.fold)
        marks[item.fold] = method.seen(item.fold)
        labels = run(item)
        score = dice(item.labels, labels)
        by_fold.setdefault(item.fold, []).append(score)
        if not item.doubtful:
            clear.append(score)
        if np.count_nonzero(item.labels) >= _SLIVER:
            large.append(score)
        out.worst.append((score, item, labels))
    method.choose(None)
    every = [score for scores in by_fold.values() for score in scores]
    out.figures = {
        "dice": float(np.mean(every)),
        "dice_without_doubtful_masks": float(np.mean(clear)),
        "dice_without_slivers": float(np.mean(large)),
    }
    out.figures |= {f"dice_fold_{fold}": float(np.mean(scores)) for fold, scores in by_fold.items()}
    trained = [fold for fold, mark in marks.items() if mark == TRAINED]
    mark = "" if not trained else " (train)" if len(trained) == len(marks) else " (partly train)"
    out.columns["SigTuple Dice"] = (
        f"{out.figures['dice']:.3f} ({out.figures['dice_without_slivers']:.3f}){mark}"
    )
    out.figures["folds_trained_on"] = float(len(trained))
    return out


def score_clean(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Compare counts with those taken by eye, and cells with where the eye saw them."""
    out = Outcome()
    right = complete = extra = missed = 0
    for item in items:
        labels = run(item)
        found = count_of(labels)
        assert item.points is not None
        hit: set[int] = set()
        lost = 0
        for row, col in item.points:
            value = _label_near(labels, row, col)
            lost += value == 0 or value in hit
            hit.add(value)
        surplus = found - len(hit - {0})
        right += found == item.count
        complete += not lost and not surplus
        missed += lost
        extra += surplus
        if lost or surplus or found != item.count:
            out.failures.append(f"{item.name}: {found} for {item.count}, {lost} missed, {surplus} extra")
        out.worst.append((-float(lost + surplus), item, labels))
    n = len(items)
    out.figures = {"right": right, "images": n, "missed": missed, "extra": extra, "all_found": complete}
    out.columns["clean fields right"] = f"{complete}/{n} (−{missed} +{extra})"
    return out


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


def score_txl(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """F1 of boxes at an IoU of 0.5 and the share of right counts, with and without doubtful truths."""
    out = Outcome()
    every, clear = np.zeros(5, int), np.zeros(5, int)
    for item in items:
        labels = run(item)
        boxes = boxes_of(labels)
        assert item.boxes is not None
        match = match_boxes(item.boxes, boxes, 0.5)
        right = len(boxes) == item.count
        row = np.array([match.true_positive, match.false_positive, match.false_negative, right, 1])
        every += row
        clear += row * (not item.doubtful)
        wrong = match.false_positive + match.false_negative
        if wrong:
            found = f"{len(boxes)} for {item.count}, IoU {_ious(item.boxes, boxes)}"
            out.failures.append(f"{item.name}: {found}" + (" (doubtful truth)" if item.doubtful else ""))
        mean = float(match.ious.mean()) if len(match.ious) else 0.0
        out.worst.append((mean - wrong, item, labels))
    for tally, name in ((every, ""), (clear, "_without_doubtful")):
        tp, fp, fn, counted, n = tally.tolist()
        out.figures |= {f"f1{name}": _f1(tp, fp, fn), f"count_right{name}": counted / max(n, 1)}
    f = out.figures
    out.columns["txl F1"] = f"{f['f1']:.3f} ({f['f1_without_doubtful']:.3f})"
    out.columns["txl count"] = f"{f['count_right']:.1%} ({f['count_right_without_doubtful']:.1%})"
    return out


def _ious(truth: np.ndarray, boxes: np.ndarray) -> str:
    return ", ".join(f"{v:.2f}" for v in box_iou(truth, boxes).max(axis=1, initial=0.0))


def score_zheng(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Mean Dice and the number of crops with exactly one cell."""
    out = Outcome()
    scores, single = [], 0
    for item in items:
        labels = run(item)
        assert item.labels is not None
        scores.append(dice(item.labels, labels))
        single += count_of(labels) == 1
        if count_of(labels) != 1 or scores[-1] < 0.8:
            out.failures.append(f"{item.name}: {count_of(labels)} cells, Dice {scores[-1]:.2f}")
        out.worst.append((scores[-1] - (count_of(labels) != 1), item, labels))
    out.figures = {"dice": float(np.mean(scores)), "exactly_one": single, "images": len(items)}
    out.columns["zheng Dice"] = f"{out.figures['dice']:.3f}"
    out.columns["exactly one"] = f"{single}/{len(items)}"
    return out


def score_touching(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Average precision at an IoU of 0.5, mean of images, and the share of right counts."""
    out = Outcome()
    rows: list[tuple[str, float, int]] = []
    marks = set()
    for item in items:
        method.choose(item.fold)
        marks |= {method.seen(item.fold)} if item.fold is not None else set()
        labels = run(item)
        assert item.labels is not None
        precision = match_instances(item.labels, labels, 0.5).average_precision
        right = count_of(labels) == item.count
        rows.append((item.kind, precision, right))
        if not right or precision < 1:
            out.failures.append(
                f"{item.name} ({item.kind}): {count_of(labels)} for {item.count}, AP {precision:.2f}"
            )
        out.worst.append((precision - (not right), item, labels))
    for kind in sorted({row[0] for row in rows}):
        part = [row for row in rows if row[0] == kind]
        out.figures[f"ap_{kind}"] = float(np.mean([row[1] for row in part]))
        out.figures[f"count_right_{kind}"] = float(np.mean([row[2] for row in part]))
    out.figures["average_precision"] = float(np.mean([row[1] for row in rows]))
    out.figures["count_right"] = float(np.mean([row[2] for row in rows]))
    method.choose(None)
    mark = " (train)" if TRAINED in marks else ""
    out.columns["touching AP"] = f"{out.figures['average_precision']:.3f}{mark}"
    out.columns["touching count"] = f"{out.figures['count_right']:.1%}"
    return out


def score_resampled(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """How the count and the Dice of an image change when it is resampled."""
    out = Outcome()
    changed: dict[float, list[bool]] = {}
    moved: dict[float, list[float]] = {}
    agreement: dict[float, list[float]] = {}
    native: dict[str, np.ndarray] = {}
    for item in items:
        name, _, factor_text = item.name.rpartition("@")
        factor = float(factor_text)
        labels = run(item)
        if factor == 1.0:
            native[name] = labels
            continue
        first = native[name]
        same = count_of(labels) == count_of(first)
        back = back_to(labels, first.shape)
        changed.setdefault(factor, []).append(not same)
        agreement.setdefault(factor, []).append(dice(first, back))
        if item.boxes is None and item.labels is not None:
            difference = dice(item.labels, back) - dice(item.labels, first)
            moved.setdefault(factor, []).append(difference)
        if not same:
            counts = f"{count_of(labels)} for {count_of(first)} at its own size, truth {item.count}"
            out.failures.append(f"{name} ×{factor}: {counts}")
        out.worst.append((agreement[factor][-1] - (not same), item, labels))
    for factor in sorted(changed):
        out.figures[f"count_changed_x{factor:g}"] = float(np.mean(changed[factor]))
        out.figures[f"agreement_x{factor:g}"] = float(np.mean(agreement[factor]))
        if factor in moved:
            out.figures[f"dice_change_x{factor:g}"] = float(np.mean(moved[factor]))
    shares = [v for values in changed.values() for v in values]
    every = [v for values in moved.values() for v in values]
    out.figures["count_changed"] = float(np.mean(shares)) if shares else 0.0
    out.figures["dice_change"] = float(np.mean(every)) if every else float("nan")
    out.figures["dice_change_absolute"] = float(np.mean(np.abs(every))) if every else float("nan")
    out.columns["resampled: count changed"] = f"{out.figures['count_changed']:.1%}"
    signed, absolute = out.figures["dice_change"], out.figures["dice_change_absolute"]
    out.columns["resampled: Dice"] = f"{signed:+.3f} (size {absolute:.3f})"
    return out


def score_laboratories(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Share of right counts, and Dice where outlines are known, as each laboratory shows the images."""
    out = Outcome()
    right: dict[str, list[bool]] = {}
    scores: dict[str, list[float]] = {}
    for item in items:
        labels = run(item)
        same = count_of(labels) == item.count
        right.setdefault(item.kind, []).append(same)
        if item.labels is not None:
            scores.setdefault(item.kind, []).append(dice(item.labels, labels))
        if not same:
            out.failures.append(f"{item.name}, {item.kind}: {count_of(labels)} for {item.count}")
        out.worst.append((-abs(count_of(labels) - item.count), item, labels))
    for kind, counted in right.items():
        out.figures[f"count_right_{kind}"] = float(np.mean(counted))
        if kind in scores:
            out.figures[f"dice_{kind}"] = float(np.mean(scores[kind]))
    out.figures["count_right"] = float(np.mean([same for counted in right.values() for same in counted]))
    out.columns["other laboratories: count"] = f"{out.figures['count_right']:.1%}"
    if scores:
        out.figures["dice"] = float(np.mean([v for values in scores.values() for v in values]))
        out.columns["other laboratories: Dice"] = f"{out.figures['dice']:.3f}"
    return out


def score_empty(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """Count false cells a field, by kind."""
    out = Outcome()
    rows: dict[str, list[int]] = {}
    for item in items:
        labels = run(item)
        found = count_of(labels)
        rows.setdefault(item.kind, []).append(found)
        if found:
            out.failures.append(f"{item.kind} {item.name}: {found}")
        out.worst.append((-float(found), item, labels))
    out.figures = {f"false_per_field_{kind}": float(np.mean(v)) for kind, v in rows.items()}
    every = [found for values in rows.values() for found in values]
    out.figures["false_per_field"] = float(np.mean(every))
    out.columns["false cells a field"] = f"{out.figures['false_per_field']:.3f}"
    return out


def score_synthetic(items: list[BenchImage], run: Run, method: Method) -> Outcome:
    """F1 at an IoU of 0.5 over all stains, by magnification."""
    out = Outcome()
    total: dict[str, np.ndarray] = {}
    for item in items:
        labels = run(item)
        assert item.labels is not None
        match = match_instances(item.labels, labels, 0.5)
        counts = np.array([match.true_positive, match.false_positive, match.false_negative])
        total[item.kind] = total.get(item.kind, np.zeros(3, int)) + counts
        if match.f1 < 1:
            out.failures.append(f"{item.name}: {count_of(labels)} for {item.count}, F1 {match.f1:.2f}")
        out.worst.append((match.f1, item, labels))
    for kind, counts in total.items():
        out.figures[f"f1_{kind}"] = _f1(*map(int, counts))
    out.figures["f1"] = _f1(*map(int, sum(total.values(), np.zeros(3, int))))
    out.columns["synthetic F1"] = f"{out.figures['f1']:.3f}"
    return out


SCORERS: dict[str, Scorer] = {
    "sigtuple": score_sigtuple,
    "clean": score_clean,
    "txl": score_txl,
    "zheng": score_zheng,
    "touching": score_touching,
    "resampled": score_resampled,
    "laboratories": score_laboratories,
    "empty": score_empty,
    "synthetic": score_synthetic,
}
