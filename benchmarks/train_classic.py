"""Train the published network on the SigTuple tiles and score it as published.

    python benchmarks/train_classic.py SIGTUPLE_FOLDER --out FOLDER            # all 182 tiles
    python benchmarks/train_classic.py SIGTUPLE_FOLDER --out FOLDER --fold 2   # score on the fold left out

Prints the soft Dice coefficient (over all pixels, and the mean of tiles) on the tiles
trained on and, with ``--fold``, on those left out. Killed, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.sigtuple import cut_tiles, fold_of, read_sigtuple
from napari_wbcseg.evaluation.metrics import soft_dice
from napari_wbcseg.network.classic import classic_arrays
from napari_wbcseg.network.engines import create_engine
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.train import train


def score(model: ModelFile, pairs: list[TrainingPair]) -> dict[str, float]:
    """Return the soft Dice of a model against the masks as stored."""
    images, targets = classic_arrays(pairs)
    engine = create_engine(model)
    probability = np.concatenate(
        [engine.predict(images[i : i + 16].astype(np.float32) / 255) for i in range(0, len(images), 16)]
    )
    truth = targets.astype(np.float32) / 255
    each = [soft_dice(t, p) for t, p in zip(truth, probability, strict=True)]
    binary = [soft_dice(t > 0.5, p > 0.5) for t, p in zip(truth, probability, strict=True)]
    return {
        "tiles": len(each),
        "soft_dice_all_pixels": round(soft_dice(truth, probability), 4),
        "soft_dice_mean_of_tiles": round(float(np.mean(each)), 4),
        "dice_mean_of_tiles": round(float(np.mean(binary)), 4),
    }


def main() -> None:
    """Train, score, print, and write the scores into the model's header."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="SigTuple folder or tar")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fold", type=int, choices=range(5), help="fold to leave out, 0 to 4")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "mixed"])
    parser.add_argument("--flips", action="store_true")
    args = parser.parse_args()

    pairs = cut_tiles(read_sigtuple(args.data))
    kept = [pair for pair in pairs if args.fold is None or fold_of(pair.name) != args.fold]
    left_out = [pair for pair in pairs if args.fold is not None and fold_of(pair.name) == args.fold]
    settings = TrainingSettings(epochs=args.epochs, precision=args.precision, flips=args.flips)

    def show(event: dict[str, object]) -> None:
        if event["event"] != "step":
            print(json.dumps(event), flush=True)

    part = "" if args.fold is None else f" without fold {args.fold}"
    result = train(
        kept,
        settings,
        args.out,
        name="classic" if args.fold is None else f"classic-without-fold-{args.fold}",
        resume=True,
        on_event=show,
        training_data=f"{len(kept)} tiles of 128x128 of the SigTuple AI Challenge training set{part}",
    )
    scores = {"trained_on": score(result.model, kept)}
    if left_out:
        scores["left_out"] = score(result.model, left_out)
    header = result.model.header
    flat = {f"{part}_{key}": float(value) for part, row in scores.items() for key, value in row.items()}
    ModelFile.write(
        args.out / f"{header.name}.safetensors",
        header.replace(scores={**header.scores, **flat}),
        result.model.weights,
    )
    (args.out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(f"{result.seconds:.0f} s on {result.device}")
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
