"""Measure the methods on every set: one command, one table.

    WBCSEG_DATA=FOLDER python benchmarks/accuracy.py --out results.md
    WBCSEG_DATA=FOLDER python benchmarks/accuracy.py --limit 20 --sets txl zheng --methods wbc --failures
    WBCSEG_DATA=FOLDER python benchmarks/accuracy.py --methods wbc my-model.safetensors

Reads ``sigtuple/``, ``txl_pbc/``, ``zheng_dataset1/``, ``pig/``, ``pbc/``, ``chula/`` and ``hard/`` in the
folder WBCSEG_DATA; a set whose data is missing is left out with a line. No parameter is set by hand.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import accuracy_scores as scores
import accuracy_sets as sets
import numpy as np
import pandas as pd
from accuracy_scores import Judge, Method, Outcome, SumUp
from accuracy_sets import WHITE_CLASSES, BenchImage
from accuracy_touching import touching_groups
from baseline import segment_classically
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tables import markdown

from napari_wbcseg import load_model, segment
from napari_wbcseg.errors import WBCSegError

BASELINE = "baseline"
console = Console()


@dataclass(frozen=True)
class BenchSet:
    """How the images of a set are read in the folder of all data, and by what they are scored."""

    read: Callable[[Path], list[BenchImage]]
    judge: Judge
    sum_up: SumUp


def _in(folder: str, read: Callable[[Path], list[BenchImage]]) -> Callable[[Path], list[BenchImage]]:
    return lambda root: read(root / folder)


def _hard(name: str) -> Callable[[Path], list[BenchImage]]:
    return _in("hard", partial(sets.hard_images, name=name))


def _pbc(*kinds: str) -> Callable[[Path], list[BenchImage]]:
    return _in("pbc", partial(sets.single_cells, kinds=kinds))


_of_txl, _by_hand = (partial(scores.judge_boxes, iou=iou) for iou in (scores.IOU, scores.IOU_BY_HAND))
SETS = {
    "clean": BenchSet(_in("sigtuple", sets.clean_fields), scores.judge_clean, scores.sum_clean),
    "txl": BenchSet(_in("txl_pbc", sets.txl_validation), _of_txl, scores.sum_txl),
    "zheng": BenchSet(_in("zheng_dataset1", sets.zheng_crops), scores.judge_zheng, scores.sum_zheng),
    "touching": BenchSet(touching_groups, scores.judge_instances, scores.sum_touching),
    "empty": BenchSet(sets.without_cells, scores.judge_count, scores.sum_false),
    "synthetic": BenchSet(sets.synthetic_smears, scores.judge_instances, scores.sum_synthetic),
    "pig": BenchSet(_in("pig", sets.pig_fields), _by_hand, scores.sum_fields),
    "leukaemia": BenchSet(_hard("leukaemia"), scores.judge_count, scores.sum_counts),
    "marrow": BenchSet(_hard("marrow"), scores.judge_count, scores.sum_counts),
    "blue": BenchSet(_hard("blue"), _by_hand, scores.sum_fields),
    "vivax": BenchSet(_hard("vivax"), scores.judge_count, scores.sum_false),
    "chula": BenchSet(_in("chula", sets.red_cell_fields), scores.judge_count, scores.sum_false),
    "platelets": BenchSet(_pbc("platelet"), scores.judge_middle, scores.sum_false),
    "erythroblasts": BenchSet(
        _pbc("erythroblast", *WHITE_CLASSES), scores.judge_erythroblast, scores.sum_erythroblasts
    ),
    "certainty": BenchSet(sets.certainty_images, scores.judge_certainty, scores.sum_certainty),
}


def read_set(name: str, root: Path, limit: int | None) -> list[BenchImage]:
    """Return a set, evenly thinned to the limit; empty, and said, where its data is missing or damaged."""
    items, why = list[BenchImage](), "its data is not in WBCSEG_DATA."
    try:
        items = sets.spread(SETS[name].read(root), limit)
    except (OSError, WBCSegError) as error:
        why = f"its data cannot be read: {error}"
    if not items:
        console.print(f"{name}: left out, {why}", style="yellow", markup=False)
    return items


def measure(title: str, method: Method, name: str, items: list[BenchImage]) -> Outcome:
    """Score one method on one set, and show how far it is; what is told bears the name of the set."""
    shown = track(items, f"{title}: {name}", console=console, transient=True)
    found = scores.score(shown, method, SETS[name].judge, SETS[name].sum_up)
    return replace(found, told={f"{name}: {what}": text for what, text in found.told.items()})


def method_of(name: str) -> Method:
    """Return the method of a model, with the settings of its recipe as they come, or the baseline."""
    if name == BASELINE:
        return lambda image: (segment_classically(image), None)
    model = load_model(name)

    def method(image: np.ndarray) -> tuple[np.ndarray, pd.DataFrame]:
        found = segment(image, model)
        return found.labels, found.cells

    return method


def _column(outcomes: list[Outcome]) -> dict[str, str]:
    told = {what: text for one in outcomes for what, text in one.told.items()}
    seconds, images = sum(one.seconds for one in outcomes), sum(one.images for one in outcomes)
    return {**told, "s an image": f"{seconds / max(images, 1):.2f}"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    usual = [name for name in SETS if name != "synthetic"]
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=usual)
    parser.add_argument(
        "--methods", nargs="+", default=["classic", "wbc", BASELINE], help="models, by name or file"
    )
    parser.add_argument("--limit", type=int, help="images of each set, for a quick look")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--failures", action="store_true", help="name every image that went wrong")
    args = parser.parse_args()
    root = Path(os.environ.get("WBCSEG_DATA", "."))
    outcomes: dict[str, list[Outcome]] = {name: [] for name in args.methods}
    for name in args.sets:
        items = read_set(name, root, args.limit)
        for title in args.methods if items else ():
            outcome = measure(title, method_of(title), name, items)
            outcomes[title].append(outcome)
            for what, text in outcome.told.items():
                console.print(f"{title}, {what}: {text}", highlight=False)
            for line in outcome.failures if args.failures else ():
                console.print(f"    - {line}", highlight=False, markup=False)
    rows = {title: _column(found) for title, found in outcomes.items()}
    columns = list(dict.fromkeys(column for told in rows.values() for column in told))
    table = Table("measure", *rows)
    for column in columns:
        table.add_row(column, *(told.get(column, "") for told in rows.values()))
    console.print(table)
    if args.out:
        notes = [f"A quick look: at most {args.limit} images of each set."] if args.limit else []
        notes.append("In brackets for txl: without the fields whose truth is doubtful.")
        models = [load_model(name) for name in args.methods if name != BASELINE]
        notes += [f"{model.id}: trained on {model.header.training_data}." for model in models]
        lines = [[title, *(told.get(column, "") for column in columns)] for title, told in rows.items()]
        text = [markdown(["method", *columns], lines), "", *(f"- {note}" for note in notes), ""]
        args.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
