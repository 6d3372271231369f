"""How much a few corrected cells help, and what they cost: fine-tuning on another laboratory.

    WBCSEG_DATA=FOLDER python benchmarks/finetune.py --out results
    python benchmarks/finetune.py --cells 5 --epochs 1 --steps 2 --limit 6 --out quick    # to try it

``zheng_dataset1`` is split in two by image number. The cells to train on are spread evenly over
the first half; the whole second half is scored on. What is forgotten is measured on SigTuple fold
2, of which nothing is replayed. Copies of a picture are left out. A run that was interrupted goes on where it
stopped, when it is given the same folder. No model that is shipped has seen the set.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from accuracy_sets import zheng_crops

from napari_wbcseg import evaluate, load_model, train
from napari_wbcseg.data.checks import find_duplicates
from napari_wbcseg.data.pairs import SYNTHETIC_GROUP, TrainingPair
from napari_wbcseg.data.sigtuple import cut_tiles, fold_of, read_sigtuple
from napari_wbcseg.network.finetuning import (
    ORIGINAL_FOLD,
    FineTuningPlan,
    Replay,
    fine_tuning_settings,
    make_replay,
)
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.evaluation import Evaluation

ALLOWED_LOSS = 0.01


def halves(folder: Path) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Return the crops of the lower and of the higher image numbers, without copies of one another."""
    pairs = [TrainingPair(crop.name, crop.image, crop.labels, crop.name) for crop in zheng_crops(folder)]
    middle = len(pairs) // 2
    first, second = pairs[:middle], pairs[middle:]
    copies = {pair.name for _, pair in find_duplicates(second, first)}
    return [pair for pair in first if pair.name not in copies], second


def spread(pairs: list[TrainingPair], number: int) -> list[TrainingPair]:
    """Return so many pairs, evenly spread over all."""
    return [pairs[int(i)] for i in np.linspace(0, len(pairs) - 1, number).round()]


def figures(result: Evaluation) -> dict[str, float]:
    """Return what is told of an evaluation."""
    dice = np.asarray(result.rows["dice"])
    return {
        "images": len(dice),
        "dice": float(dice.mean()),
        "dice_5th_percentile": float(np.percentile(dice, 5)),
        "below_0.95": int((dice < 0.95).sum()),
        "count_right": float(result.summary["count_right"]),
    }


def once(path: Path, make: object) -> dict:
    """Return what is in a file, or make and write it."""
    if not path.exists():
        value = make()  # type: ignore[operator]
        path.write_text(json.dumps(value, indent=1))
    return json.loads(path.read_text())


def report(rows: list[dict]) -> str:
    """Return the table."""
    lines = [
        "| trained on | Dice, other half | gain | 5th percentile | below 0.95 | right counts "
        "| SigTuple fold 2 | loss | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    before = rows[0]
    for row in rows:
        own, old = row["own"], row["original"]
        gain = own["dice"] - before["own"]["dice"]
        loss = before["original"]["dice"] - old["dice"]
        first = row is before
        verdict = "" if loss <= ALLOWED_LOSS else f" (more than {ALLOWED_LOSS})"
        lines.append(
            f"| {row['name']} | {own['dice']:.4f} | {'' if first else f'{gain:+.4f}'} "
            f"| {own['dice_5th_percentile']:.3f} | {own['below_0.95']} of {own['images']} "
            f"| {own['count_right']:.1%} | {old['dice']:.4f} | {'' if first else f'{loss:+.4f}{verdict}'} "
            f"| {'' if first else format(row['seconds'] / 60, '.1f')} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder; it is made, and gone on with")
    parser.add_argument("--start", default="wbc", help="model to go on from")
    parser.add_argument("--cells", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--epochs", type=int, help="default: those of a fine-tuning")
    parser.add_argument("--steps", type=int, help="steps an epoch; default: those of a fine-tuning")
    parser.add_argument("--limit", type=int, help="score on so many images of each set")
    parser.add_argument("--replay", choices=["original", "synthetic"], default="original")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = Path(os.environ.get("WBCSEG_DATA", ""))
    if not (data / "zheng_dataset1").is_dir() or not (data / "sigtuple").is_dir():
        parser.error("WBCSEG_DATA must name a folder with zheng_dataset1/ and sigtuple/")

    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    start = load_model(options.start)
    own, rest = halves(data / "zheng_dataset1")
    sigtuple = read_sigtuple(data / "sigtuple")
    fold = [pair for pair in cut_tiles(sigtuple) if fold_of(pair.name) == ORIGINAL_FOLD]
    if options.limit:
        rest, fold = spread(rest, options.limit), spread(fold, options.limit)
    changes = {"seed": options.seed}
    changes |= {"epochs": options.epochs} if options.epochs else {}
    changes |= {"steps_per_epoch": options.steps} if options.steps else {}
    settings = fine_tuning_settings(start, **changes, validation_fraction=0.0)

    def scored(model: ModelFile) -> dict:
        return {"own": figures(evaluate(model, rest)), "original": figures(evaluate(model, fold))}

    rows = [{"name": f"nothing ({start.id})", **once(out / f"{start.hash}.json", lambda: scored(start))}]
    print(report(rows), flush=True)
    replay = make_replay(sigtuple, start.header.recipe, options.seed)
    if options.replay == "synthetic":
        smears = [pair for pair in replay.training if pair.group.startswith(SYNTHETIC_GROUP)]
        replay = Replay(smears, replay.held_out, f"{len(smears)} synthetic smears")
    for number in options.cells:
        folder = out / f"{number}-cells"

        def tuned(number: int = number, folder: Path = folder) -> dict:
            plan = FineTuningPlan(start, spread(own, number), rest, replay, settings, ())
            began = time.perf_counter()
            result = train(
                plan.pairs, plan.settings, folder, name="tuned", init=start, resume=True,
                training_data=plan.described,
            )  # fmt: skip
            seconds = time.perf_counter() - began
            return {**scored(plan.blended(result.model)), "seconds": seconds}

        rows.append({"name": f"{number} cells", **once(out / f"{start.hash}-{number}.json", tuned)})
        print(report(rows), flush=True)
    (out / "table.md").write_text(report(rows) + "\n")


if __name__ == "__main__":
    main()
