"""Measure the methods on every set: one command, one table.

    WBCSEG_DATA=FOLDER python benchmarks/accuracy.py --out results.md
    python benchmarks/accuracy.py --limit 20 --sets txl zheng --methods robust --sheet FOLDER
    python benchmarks/accuracy.py --sigtuple-folds all --model robust=without-0.safetensors --model robust=...

Reads ``sigtuple/``, ``txl_pbc/`` and ``zheng_dataset1/`` in the folder WBCSEG_DATA; a set
whose data is missing is left out with a line. ``--model NAME=PATH`` adds a model, or gives
a method other weights; several of one name are taken for models that each left out
another SigTuple fold, and each fold is scored by the one that did. No parameter is set by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_methods import TRAINED, Baseline, Method, ModelMethod, StarDist, stardist_missing
from accuracy_sets import (
    BenchImage,
    back_to,
    clean_fields,
    resampled,
    sigtuple_tiles,
    spread,
    synthetic_smears,
    touching_groups,
    txl_validation,
    without_cells,
    zheng_crops,
)
from laboratories import LABORATORIES, as_in
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import ndimage

from napari_wbcseg.segmentation.metrics import dice, match_boxes, match_instances

FACTORS = (0.35, 0.5, 0.7, 1.4, 2.0, 3.0)
SETS = ("sigtuple", "clean", "txl", "zheng", "touching", "resampled", "laboratories", "empty", "synthetic")
_RESAMPLED_EACH = 12
_RESTAINED_EACH = 12
_NEAR = 40.0
#: Truth smaller than this, in pixels, is a cell that the edge of its tile cuts to a sliver.
_SLIVER = 310
console = Console()


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


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """Return the boxes of all labels."""
    windows = [w for w in ndimage.find_objects(labels) if w is not None]
    return np.array([(r.start, c.start, r.stop, c.stop) for r, c in windows], int).reshape(-1, 4)


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
    tally: dict[bool, list[int]] = {True: [0, 0, 0, 0, 0], False: [0, 0, 0, 0, 0]}
    for item in items:
        labels = run(item)
        boxes = boxes_of(labels)
        assert item.boxes is not None
        match = match_boxes(item.boxes, boxes, 0.5)
        right = len(boxes) == item.count
        row = (match.true_positive, match.false_positive, match.false_negative, int(right), 1)
        for every in (True, False) if not item.doubtful else (True,):
            tally[every] = [a + b for a, b in zip(tally[every], row, strict=True)]
        wrong = match.false_positive + match.false_negative
        if wrong:
            found = f"{len(boxes)} for {item.count}, IoU {_ious(item.boxes, boxes)}"
            out.failures.append(f"{item.name}: {found}" + (" (doubtful truth)" if item.doubtful else ""))
        mean = float(match.ious.mean()) if len(match.ious) else 0.0
        out.worst.append((mean - wrong, item, labels))
    for part, name in ((True, ""), (False, "_without_doubtful")):
        tp, fp, fn, counted, n = tally[part]
        out.figures |= {f"f1{name}": _f1(tp, fp, fn), f"count_right{name}": counted / max(n, 1)}
    f = out.figures
    out.columns["txl F1"] = f"{f['f1']:.3f} ({f['f1_without_doubtful']:.3f})"
    out.columns["txl count"] = f"{f['count_right']:.1%} ({f['count_right_without_doubtful']:.1%})"
    return out


def _ious(truth: np.ndarray, boxes: np.ndarray) -> str:
    from napari_wbcseg.segmentation.metrics import box_iou

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


SCORERS: dict[str, Callable[[list[BenchImage], Run, Method], Outcome]] = {
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


# Sets ----------------------------------------------------------------------------------------------


class Data:
    """Where the sets lie; each is read once."""

    def __init__(self, root: Path | None, folds: list[int], limit: int | None, seed: int) -> None:
        self.folds, self.limit, self.seed = folds, limit, seed
        self.sigtuple = self._folder(root, "sigtuple")
        self.txl = self._folder(root, "txl_pbc")
        self.zheng = self._folder(root, "zheng_dataset1")
        self._read: dict[str, list[BenchImage]] = {}

    @staticmethod
    def _folder(root: Path | None, name: str) -> Path | None:
        return root / name if root is not None and (root / name).is_dir() else None

    def get(self, name: str) -> list[BenchImage]:
        """Return a set, evenly thinned to the limit; empty where its data is missing."""
        if name not in self._read:
            self._read[name] = self._make(name)
        return self._read[name]

    def _make(self, name: str) -> list[BenchImage]:
        if name == "sigtuple" and self.sigtuple:
            return spread(sigtuple_tiles(self.sigtuple, self.folds), self.limit)
        if name == "clean" and self.sigtuple:
            return spread(clean_fields(self.sigtuple), self.limit)
        if name == "txl" and self.txl:
            return spread(txl_validation(self.txl), self.limit)
        if name == "zheng" and self.zheng:
            return spread(zheng_crops(self.zheng), self.limit)
        if name == "touching":
            console.print("Composing touching groups ...")
            return touching_groups(self.sigtuple, self.txl, self.folds, self.limit or 100, self.seed)
        if name == "resampled":
            return self._resampled()
        if name == "laboratories":
            return self._restained()
        if name == "empty":
            return spread(without_cells(self.sigtuple, self.txl), self.limit)
        if name == "synthetic":
            return spread(synthetic_smears(), self.limit)
        return []

    def _some(self, names: tuple[str, ...], most: int) -> list[tuple[str, BenchImage]]:
        each = max(1, min(most, (self.limit or 10**6) // 5))
        return [(f"{name}/{item.name}", item) for name in names for item in spread(self.get(name), each)]

    def _restained(self) -> list[BenchImage]:
        chosen = self._some(("clean", "txl", "zheng"), _RESTAINED_EACH)
        return [
            BenchImage(name, as_in(laboratory, item.image), item.count, item.labels, kind=laboratory)
            for name, item in chosen
            for laboratory in LABORATORIES
        ]

    def _resampled(self) -> list[BenchImage]:
        chosen = self._some(("sigtuple", "clean", "txl", "zheng", "touching"), _RESAMPLED_EACH)
        return [
            BenchImage(
                f"{name}@{factor:g}",
                item.image if factor == 1 else resampled(item.image, factor),
                item.count,
                item.labels,
                item.boxes,
                fold=item.fold,
            )
            for name, item in chosen
            for factor in (1.0, *FACTORS)
        ]


# Running -------------------------------------------------------------------------------------------


def measure(method: Method, name: str, items: list[BenchImage]) -> Outcome:
    """Score one method on one set."""
    spent = 0.0
    bar = iter(track(range(len(items)), f"{method.name}: {name}", console=console, transient=True))

    def run(item: BenchImage) -> np.ndarray:
        nonlocal spent
        next(bar, None)
        if name == "resampled" and item.fold is not None:
            method.choose(item.fold)
        start = time.perf_counter()
        labels = method(item.image)
        spent += time.perf_counter() - start
        return labels

    outcome = SCORERS[name](items, run, method)
    next(bar, None)
    method.choose(None)
    outcome.seconds, outcome.images = spent, len(items)
    outcome.worst = sorted(outcome.worst, key=lambda row: row[0])[:24]
    return outcome


def draw_sheet(outcome: Outcome, path: Path, side: int = 260, columns: int = 6) -> None:
    """Draw the worst cases of a set: what was found in green, the truth in yellow."""
    import cv2
    from skimage.segmentation import find_boundaries

    cells = []
    for score, item, labels in outcome.worst:
        scale = (side - 18) / max(item.image.shape[:2])
        size = max(1, round(item.image.shape[1] * scale)), max(1, round(item.image.shape[0] * scale))
        picture = cv2.resize(item.image, size, interpolation=cv2.INTER_AREA)

        def small(marks: np.ndarray, size: tuple[int, int] = size) -> np.ndarray:
            return cv2.resize(marks.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(int)

        if item.labels is not None:
            picture[find_boundaries(small(item.labels), mode="inner")] = (255, 220, 0)
        for r0, c0, r1, c1 in np.empty((0, 4)) if item.boxes is None else item.boxes:
            if "@" not in item.name:
                corners = [(round(c0 * scale), round(r0 * scale)), (round(c1 * scale), round(r1 * scale))]
                cv2.rectangle(picture, corners[0], corners[1], (255, 220, 0), 1)
        for row, col in np.empty((0, 2)) if item.points is None else item.points:
            cv2.circle(picture, (round(col * scale), round(row * scale)), 3, (255, 220, 0), -1)
        picture[find_boundaries(small(labels), mode="inner")] = (0, 230, 0)
        cell = np.full((side, side, 3), 255, np.uint8)
        cell[16 : 16 + size[1], : size[0]] = picture[: side - 16]
        text = f"{item.name[-24:]} {score:.2f}"
        cv2.putText(cell, text, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
        cells.append(cell)
    if not cells:
        return
    cells += [np.full((side, side, 3), 255, np.uint8)] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def make_methods(args: argparse.Namespace) -> tuple[list[Method], list[str]]:
    """Build the methods asked for, and say which could not be and why."""
    given: dict[str, list[str]] = {}
    for text in args.model:
        name, _, path = text.partition("=")
        if not path:
            sys.exit(f"--model {text} is not NAME=PATH.")
        given.setdefault(name, []).append(path)
    wanted = list(dict.fromkeys([*args.methods, *given]))
    methods: list[Method] = []
    skipped = []
    for name in wanted:
        if name == "baseline":
            methods.append(Baseline())
        elif name == "stardist":
            why = stardist_missing(args.stardist_python)
            folder = Path(given.get(name, [""])[0])
            if not why and not (folder / "about.json").is_file():
                why = "no trained model; train one with train_stardist.py and give --model stardist=FOLDER"
            if why:
                skipped.append(f"stardist: skipped, {why}.")
            else:
                methods.append(StarDist(folder, args.stardist_python))
        else:
            built_in = {"robust": "wbc"}.get(name, name)
            methods.append(ModelMethod(name, given.get(name, [built_in])))
    return methods, skipped


def markdown(columns: list[str], rows: dict[str, dict[str, Outcome]], notes: Iterable[str]) -> str:
    """Return the table and the notes as Markdown."""
    lines = ["| method | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for name, outcomes in rows.items():
        cells = _cells(outcomes)
        lines.append(f"| {name} | " + " | ".join(cells.get(column, "") for column in columns) + " |")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def _cells(outcomes: dict[str, Outcome]) -> dict[str, str]:
    cells = {column: text for outcome in outcomes.values() for column, text in outcome.columns.items()}
    images = sum(o.images for o in outcomes.values())
    cells["s an image"] = f"{sum(o.seconds for o in outcomes.values()) / max(images, 1):.2f}"
    return cells


def as_json(rows: dict[str, dict[str, Outcome]], methods: list[Method], notes: list[str]) -> str:
    """Return every figure as JSON."""
    models = {
        m.name: [{"model": x.id, "training_data": x.header.training_data} for x in m.models]
        for m in methods
        if isinstance(m, ModelMethod)
    }
    table: dict[str, Any] = {
        name: {
            part: {
                **o.figures,
                "images": o.images,
                "seconds_an_image": o.seconds / max(o.images, 1),
                "failures": o.failures,
            }
            for part, o in outcomes.items()
        }
        for name, outcomes in rows.items()
    }
    return json.dumps({"models": models, "results": table, "notes": notes}, indent=2) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS[:-1]))
    parser.add_argument("--methods", nargs="+", default=["classic", "robust", "baseline", "stardist"])
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--sigtuple-folds", nargs="+", default=["2"], help="numbers from 0 to 4, or all")
    parser.add_argument("--limit", type=int, help="images of each set, for a quick look")
    parser.add_argument("--seed", type=int, default=0, help="of the touching groups")
    parser.add_argument("--out", type=Path, action="append", default=[], help=".md or .json; repeatable")
    parser.add_argument("--sheet", type=Path, help="folder for pictures of the worst cases")
    parser.add_argument("--failures", action="store_true", help="name every image that went wrong")
    parser.add_argument("--stardist-python", default=sys.executable, help="a Python that has StarDist")
    args = parser.parse_args()
    folds = list(range(5)) if "all" in args.sigtuple_folds else [int(f) for f in args.sigtuple_folds]
    if not set(folds) <= set(range(5)):
        parser.error("--sigtuple-folds takes numbers from 0 to 4, or all")
    root = os.environ.get("WBCSEG_DATA")
    if not root:
        console.print("WBCSEG_DATA is not set: only what is drawn can be scored.")
    data = Data(Path(root) if root else None, folds, args.limit, args.seed)
    methods, notes = make_methods(args)
    for note in notes:
        console.print(note, style="yellow")
    rows: dict[str, dict[str, Outcome]] = {method.name: {} for method in methods}
    for name in args.sets:
        items = data.get(name)
        if not items:
            notes.append(f"{name}: left out, its data is not in WBCSEG_DATA.")
            console.print(notes[-1], style="yellow")
            continue
        for method in methods:
            outcome = measure(method, name, items)
            rows[method.name][name] = outcome
            speed = outcome.seconds / max(outcome.images, 1)
            console.print(
                f"{method.name}, {name}: {outcome.images} images, {speed:.2f} s each", highlight=False
            )
            for key, value in outcome.figures.items():
                console.print(f"    {key} {value:.4g}", highlight=False)
            if args.failures:
                for line in outcome.failures:
                    console.print(f"    - {line}", highlight=False, markup=False)
            if args.sheet:
                draw_sheet(outcome, args.sheet / f"{method.name.split()[0]}_{name}.png")
            outcome.worst.clear()
    for method in methods:
        method.close()
    if args.limit:
        notes.append(f"A quick look: at most {args.limit} images of each set.")
    folds_text = ", ".join(map(str, folds))
    notes.append(f"SigTuple and touching groups: fold {folds_text}; (train) marks models trained on it.")
    notes.append("In brackets for SigTuple: without tiles that hold no more than a sliver of a cell.")
    notes += [
        f"{m.name}: {', '.join(f'{x.id} ({x.header.training_data})' for x in m.models)}."
        for m in methods
        if isinstance(m, ModelMethod)
    ]
    notes.append("In brackets for txl: without the fields whose truth is doubtful.")
    columns = list(dict.fromkeys(c for outcomes in rows.values() for c in _cells(outcomes)))
    table = Table("measure", *rows)
    cells = {name: _cells(outcomes) for name, outcomes in rows.items()}
    for column in columns:
        table.add_row(column, *(cells[name].get(column, "") for name in rows))
    console.print(table)
    for path in args.out:
        text = as_json(rows, methods, notes) if path.suffix == ".json" else markdown(columns, rows, notes)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
