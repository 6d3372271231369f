"""How much a few corrected cells help, and what they cost: fine-tuning on another laboratory.

    WBCSEG_DATA=FOLDER python benchmarks/finetune.py --out results
    WBCSEG_DATA=FOLDER python benchmarks/finetune.py --start wbc sigtuple-only.safetensors --out results
    WBCSEG_DATA=FOLDER python benchmarks/finetune.py --choose-blend --out results
    python benchmarks/finetune.py --cells 5 --epochs 1 --steps 2 --limit 6 --out quick    # to try it

``zheng_dataset1`` is split in two by image number. The cells to train on are spread evenly over
the first half; the whole second half is scored on. What is forgotten is measured on SigTuple fold
2, of which nothing is replayed. Copies of a picture are left out. A run that was interrupted goes on
where it stopped, when it is given the same folder; what is in it is taken as it is, so name another one for
another limit. No model that is shipped has seen the set.

``--choose-blend`` never looks at that second half. It tries how much of the tuned weights to take
on cells of two other kinds: fields of TXL-PBC, outlined from their boxes, and the first half of
``zheng_dataset1``, halved again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_sets import spread, zheng_crops
from tables import markdown

from napari_wbcseg import evaluate, load_model, train
from napari_wbcseg.datasets.boxes import read_boxed_pairs, split_names
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.sigtuple import cut_tiles, fold_of, read_sigtuple
from napari_wbcseg.evaluation.evaluate import Evaluation
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.duplicates import find_duplicates
from napari_wbcseg.training.fine_tune import BLEND, ORIGINAL_FOLD, FineTuningPlan, make_replay

ALLOWED_LOSS = 0.01
BLENDS = (0.3, 0.5, 0.7, 1.0)
BLEND_CELLS = 10
_TXL_SCORED = 60

Scores = dict[str, Any]


def halves(folder: Path) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Return the crops of the lower and of the higher image numbers, without copies of one another."""
    pairs = [TrainingPair(crop.name, crop.image, crop.labels, crop.name) for crop in zheng_crops(folder)]
    middle = len(pairs) // 2
    first, second = pairs[:middle], pairs[middle:]
    copies = {pair.name for _, pair in find_duplicates(second, first)}
    return [pair for pair in first if pair.name not in copies], second


def figures(result: Evaluation) -> Scores:
    """Return what is told of an evaluation."""
    dice = np.asarray(result.rows["dice"])
    return {
        "images": len(dice),
        "dice": float(dice.mean()),
        "dice_5th_percentile": float(np.percentile(dice, 5)),
        "below_0.95": int((dice < 0.95).sum()),
        "count_right": float(result.summary["count_right"]),
    }


def once(path: Path, make: Callable[[], Scores]) -> Scores:
    """Return what is in a file, or make and write it."""
    if not path.exists():
        path.write_text(json.dumps(make(), indent=1))
    scores: Scores = json.loads(path.read_text())
    return scores


def report(rows: list[Scores], column: str = "trained on") -> str:
    """Return the table; the first row is what it started from."""
    before, lines = rows[0], []
    for row in rows:
        own, old = row["own"], row["original"]
        gain = own["dice"] - before["own"]["dice"]
        loss = before["original"]["dice"] - old["dice"]
        verdict = "" if loss <= ALLOWED_LOSS else f" (more than {ALLOWED_LOSS})"
        after = ["", ""] if row is before else [f"{own['dice']:.4f}", f"{gain:+.4f}"]
        lines.append(
            [
                row["name"],
                f"{before['own']['dice']:.4f}",
                *after,
                f"{own['dice_5th_percentile']:.3f}",
                f"{own['below_0.95']} of {own['images']}",
                f"{own['count_right']:.1%}",
                f"{old['dice']:.4f}",
                "" if row is before else f"{loss:+.4f}{verdict}",
                f"{row['seconds'] / 60:.1f}" if "seconds" in row else "",
            ]
        )
    scores = "Dice before", "after", "gain", "5th percentile", "below 0.95", "right counts"
    return markdown([column, *scores, "SigTuple fold 2", "loss", "minutes"], lines)


class Bench:
    """Fine-tunes and scores, and keeps every figure in a folder.

    Parameters
    ----------
    out : Path
        The folder.
    sigtuple, fold : list of TrainingPair
        What is replayed, without fold 2; and what of fold 2 is scored on.
    changes : dict
        Of the settings of a fine-tuning.
    """

    def __init__(
        self, out: Path, sigtuple: list[TrainingPair], fold: list[TrainingPair], changes: dict[str, Any]
    ) -> None:
        self.out, self.sigtuple, self.fold, self.changes = out, sigtuple, fold, changes

    def scored(self, model: ModelFile, rest: list[TrainingPair]) -> Scores:
        """Score a model on cells like those it is tuned on, and on those it knew."""
        return {"own": figures(evaluate(model, rest)), "original": figures(evaluate(model, self.fold))}

    def untuned(self, start: ModelFile, rest: list[TrainingPair], key: str) -> Scores:
        """Return the row of the model that all of them go on from."""
        path = self.out / f"{start.hash}{key}.json"
        return {"name": "nothing", **once(path, lambda: self.scored(start, rest))}

    def tuned(
        self,
        start: ModelFile,
        cells: list[TrainingPair],
        rest: list[TrainingPair],
        key: str,
        blends: Sequence[float] = (BLEND,),
    ) -> list[Scores]:
        """Fine-tune once, or go on with that, and return a row for each share of the tuned weights."""
        recipe = start.header.recipe
        settings = TrainingSettings.for_recipe(
            recipe, fine_tuning=True, **self.changes, validation_fraction=0.0
        )
        replay = make_replay(self.sigtuple, recipe, settings.seed)
        plan = FineTuningPlan(start, cells, rest, replay, settings, ())
        result = train(
            plan.pairs, settings, self.out / f"{start.hash}{key}", name="tuned", init=start, resume=True,
            training_data=plan.described,
        )  # fmt: skip
        rows = []
        for blend in blends:
            model = replace(plan, blend=blend).blended(result.model)
            path = self.out / f"{start.hash}{key}-blend-{blend}.json"
            row = once(path, partial(self.scored, model, rest))
            rows.append({"name": f"{blend:g}", **row, "seconds": result.seconds})
        return rows


def measure(bench: Bench, start: ModelFile, data: Path, numbers: list[int], limit: int | None) -> str:
    """Return the table of fine-tunings on so many cells of the first half of ``zheng_dataset1``."""
    own, rest = halves(data / "zheng_dataset1")
    rest = spread(rest, limit)
    rows = [bench.untuned(start, rest, "-zheng")]
    for number in numbers:
        row = bench.tuned(start, spread(own, number), rest, f"-zheng-{number}")[0]
        rows.append({**row, "name": f"{number} cells"})
        print(report(rows), flush=True)
    return report(rows)


def choose_blend(bench: Bench, start: ModelFile, data: Path, limit: int | None) -> str:
    """Return what each share of the tuned weights gains on cells that `measure` does not score."""
    own, _ = halves(data / "zheng_dataset1")
    training, validation = split_names(data / "txl_pbc")
    fields, others = (
        [pair for pair in read_boxed_pairs(data / "txl_pbc", names) if pair.labels.max() == 1]
        for names in (training, validation)
    )
    sets = {
        "TXL-PBC": (fields, spread(others, limit or _TXL_SCORED)),
        "zheng_dataset1, first half": (own[::2], spread(own[1::2], limit)),
    }
    parts = []
    for number, (name, (cells, rest)) in enumerate(sets.items()):
        key = f"-choose-{number}"
        rows = [bench.untuned(start, rest, key)]
        rows += bench.tuned(start, spread(cells, BLEND_CELLS), rest, key, BLENDS)
        parts.append(f"{BLEND_CELLS} cells of {name}:\n\n{report(rows, 'share of tuned weights')}")
        print(parts[-1], flush=True)
    return "\n\n".join(parts)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder; it is made, and gone on with")
    parser.add_argument("--start", nargs="+", default=["wbc"], help="models to go on from: names or files")
    parser.add_argument("--cells", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--choose-blend", action="store_true", help="compare shares of the tuned weights")
    parser.add_argument("--epochs", type=int, help="default: those of a fine-tuning")
    parser.add_argument("--steps", type=int, help="steps an epoch; default: those of a fine-tuning")
    parser.add_argument("--limit", type=int, help="score on so many images of each set")
    options = parser.parse_args()
    data = Path(os.environ.get("WBCSEG_DATA", ""))
    needed = ["zheng_dataset1", "sigtuple", *(["txl_pbc"] if options.choose_blend else [])]
    if not all((data / name).is_dir() for name in needed):
        parser.error(f"WBCSEG_DATA must name a folder with {', '.join(needed)}")

    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    sigtuple = read_sigtuple(data / "sigtuple")
    fold = [pair for pair in cut_tiles(sigtuple) if fold_of(pair.name) == ORIGINAL_FOLD]
    fold = spread(fold, options.limit)
    given = {"epochs": options.epochs, "steps_per_epoch": options.steps}
    changes = {name: value for name, value in given.items() if value is not None}
    bench = Bench(out, sigtuple, fold, changes)
    parts = []
    for name in options.start:
        start = load_model(name)
        print(f"From {start.id}", flush=True)
        table = (
            choose_blend(bench, start, data, options.limit)
            if options.choose_blend
            else measure(bench, start, data, options.cells, options.limit)
        )
        parts.append(f"From {start.id}, trained on {start.header.training_data}:\n\n{table}\n")
    (out / ("blend.md" if options.choose_blend else "table.md")).write_text("\n".join(parts))


if __name__ == "__main__":
    main()
