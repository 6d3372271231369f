"""Measure the methods on every set: one command, one table.

    WBCSEG_DATA=FOLDER python benchmarks/accuracy.py --out results.md
    python benchmarks/accuracy.py --limit 20 --sets txl zheng --methods robust --sheet FOLDER
    python benchmarks/accuracy.py --sigtuple-folds all --model robust=without-0.safetensors --model robust=...

Reads ``sigtuple/``, ``txl_pbc/``, ``zheng_dataset1/``, ``pig/``, ``pbc/``, ``chula/`` and ``hard/`` in the
folder WBCSEG_DATA; a set whose data is missing is left out with a line. ``--model NAME=PATH`` adds a model,
or gives a method other weights; several of one name are taken for models that each left out another SigTuple
fold, and each fold is scored by the one that did. No parameter is set by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_methods import Baseline, Method, ModelMethod
from accuracy_scores import SCORERS, Outcome, score
from accuracy_sets import (
    BenchImage,
    clean_fields,
    hard_set,
    resampled,
    sigtuple_tiles,
    spread,
    synthetic_smears,
    txl_validation,
    without_cells,
    zheng_crops,
)
from accuracy_touching import touching_groups
from laboratories import LABORATORIES, as_in
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tables import markdown

FACTORS = (0.35, 0.5, 0.7, 1.4, 2.0, 3.0)
_RESAMPLED_EACH = 12
_RESTAINED_EACH = 12
console = Console()


# Sets ----------------------------------------------------------------------------------------------


class Data:
    """Where the sets lie; each is read once."""

    def __init__(self, root: Path | None, folds: list[int], limit: int | None, seed: int) -> None:
        self.root, self.folds, self.limit, self.seed = root, folds, limit, seed
        self._read: dict[str, list[BenchImage]] = {}

    def _folder(self, name: str) -> Path | None:
        return self.root / name if self.root is not None and (self.root / name).is_dir() else None

    def get(self, name: str) -> list[BenchImage]:
        """Return a set, evenly thinned to the limit; empty where its data is missing."""
        if name not in self._read:
            self._read[name] = self._make(name)
        return self._read[name]

    def _make(self, name: str) -> list[BenchImage]:
        sigtuple, txl, zheng = map(self._folder, ("sigtuple", "txl_pbc", "zheng_dataset1"))
        match name:
            case "touching":
                console.print("Composing touching groups ...")
                return touching_groups(sigtuple, txl, self.folds, self.limit or 100, self.seed)
            case "resampled":
                return self._resampled()
            case "laboratories":
                return self._restained()
            case "sigtuple":
                found = sigtuple_tiles(sigtuple, self.folds) if sigtuple else []
            case "clean":
                found = clean_fields(sigtuple) if sigtuple else []
            case "txl":
                found = txl_validation(txl) if txl else []
            case "zheng":
                found = zheng_crops(zheng) if zheng else []
            case "empty":
                found = without_cells(sigtuple, txl)
            case "synthetic":
                found = synthetic_smears()
            case _:
                found = hard_set(self.root, name) if self.root else []
        return spread(found, self.limit)

    def _some(self, names: tuple[str, ...], most: int) -> list[tuple[str, BenchImage]]:
        each = max(1, min(most, (self.limit or 10**6) // 5))
        return [(f"{name}/{item.name}", item) for name in names for item in spread(self.get(name), each)]

    def _restained(self) -> list[BenchImage]:
        chosen = self._some(("clean", "txl", "zheng"), _RESTAINED_EACH)
        return [
            BenchImage(
                f"{name}, {laboratory}",
                as_in(laboratory, item.image),
                item.count,
                item.labels,
                kind=laboratory,
            )
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
    """Score one method on one set, and show how far it is."""
    return score(name, track(items, f"{method.name}: {name}", console=console, transient=True), method)


def draw_sheet(outcome: Outcome, path: Path, side: int = 260, columns: int = 6) -> None:
    """Draw the worst cases of a set: what was found in green, the truth in yellow."""
    import cv2
    from skimage.segmentation import find_boundaries

    cells = []
    for value, item, labels in outcome.worst:
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
        text = f"{item.name[-24:]} {value:.2f}"
        cv2.putText(cell, text, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
        cells.append(cell)
    if not cells:
        return
    cells += [np.full((side, side, 3), 255, np.uint8)] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def make_methods(args: argparse.Namespace) -> list[Method]:
    """Build the methods asked for."""
    given: dict[str, list[str]] = {}
    for text in args.model:
        name, _, path = text.partition("=")
        if not path:
            sys.exit(f"--model {text} is not NAME=PATH.")
        given.setdefault(name, []).append(path)
    wanted = list(dict.fromkeys([*args.methods, *given]))
    built_in = {"robust": "wbc"}
    return [
        Baseline() if name == "baseline" else ModelMethod(name, given.get(name, [built_in.get(name, name)]))
        for name in wanted
    ]


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
    parser.add_argument(
        "--sets", nargs="+", choices=list(SCORERS), default=[name for name in SCORERS if name != "synthetic"]
    )
    parser.add_argument("--methods", nargs="+", default=["classic", "robust", "baseline"])
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--sigtuple-folds", nargs="+", default=["2"], help="numbers from 0 to 4, or all")
    parser.add_argument("--limit", type=int, help="images of each set, for a quick look")
    parser.add_argument("--seed", type=int, default=0, help="of the touching groups")
    parser.add_argument("--out", type=Path, action="append", default=[], help=".md or .json; repeatable")
    parser.add_argument("--sheet", type=Path, help="folder for pictures of the worst cases")
    parser.add_argument("--failures", action="store_true", help="name every image that went wrong")
    args = parser.parse_args()
    folds = list(range(5)) if "all" in args.sigtuple_folds else [int(f) for f in args.sigtuple_folds]
    if not set(folds) <= set(range(5)):
        parser.error("--sigtuple-folds takes numbers from 0 to 4, or all")
    root = os.environ.get("WBCSEG_DATA")
    if not root:
        console.print("WBCSEG_DATA is not set: only what is drawn can be scored.")
    data = Data(Path(root) if root else None, folds, args.limit, args.seed)
    methods, notes = make_methods(args), []
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
    cells = {name: _cells(outcomes) for name, outcomes in rows.items()}
    columns = list(dict.fromkeys(column for told in cells.values() for column in told))
    table = Table("measure", *rows)
    for column in columns:
        table.add_row(column, *(told.get(column, "") for told in cells.values()))
    console.print(table)
    for path in args.out:
        if path.suffix == ".json":
            text = as_json(rows, methods, notes)
        else:
            lines = [[name, *(told.get(column, "") for column in columns)] for name, told in cells.items()]
            text = "\n".join(
                [markdown(["method", *columns], lines), "", *(f"- {note}" for note in notes), ""]
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
