"""Train StarDist on the images that the robust recipe is trained on, and predict with it.

    python benchmarks/train_stardist.py export --out FOLDER [--fold 2] [--no-txl]   # our Python
    TF_USE_LEGACY_KERAS=1 STARDIST_PYTHON benchmarks/train_stardist.py train --out FOLDER --minutes 10
    python benchmarks/accuracy.py --model stardist=FOLDER --stardist-python STARDIST_PYTHON

StarDist needs Keras 2, so it lives in an environment of its own (``pip install stardist
tensorflow tf-keras``), which does not need this package: ``export`` writes the images, at
one size of cell, and ``train`` and ``predict`` only read files. An image is predicted as
it comes: StarDist does not estimate the size of cells, so sizes are varied in training.

The method is Schmidt et al., *Cell Detection with Star-Convex Polygons*, MICCAI 2018.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CELL_DIAMETER = 63.0
_TILE = 192
_BATCH = 4
_STEPS = 25
_RATE = 4e-4


def export(out: Path, fold: int | None, with_txl: bool) -> None:
    """Write the training images and labels, cells about `CELL_DIAMETER` pixels across."""
    import cv2

    from napari_wbcseg.datasets.boxes import read_boxed_pairs
    from napari_wbcseg.datasets.sigtuple import DOUBTFUL_MASKS, fold_of, read_sigtuple

    root = Path(os.environ["WBCSEG_DATA"])
    pairs = [p for p in read_sigtuple(root / "sigtuple") if p.name not in DOUBTFUL_MASKS]
    pairs = [p for p in pairs if fold is None or fold_of(p.name) != fold]
    text = "SigTuple training set" + ("" if fold is None else f" without fold {fold}")
    if with_txl:
        pairs += read_boxed_pairs(root / "txl_pbc")
        text += ", and the training part of TXL-PBC"
    (out / "images").mkdir(parents=True, exist_ok=True)
    for number, pair in enumerate(pairs):
        image: np.ndarray = pair.image
        labels: np.ndarray = pair.labels
        areas = np.bincount(labels.ravel())[1:]
        if pair.group == "boxes" and areas.any():
            scale = CELL_DIAMETER / (2 * np.sqrt(np.median(areas[areas > 0]) / np.pi))
            size = round(image.shape[1] * scale), round(image.shape[0] * scale)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        np.savez_compressed(out / "images" / f"{number:04d}.npz", image=image, labels=labels)
    (out / "about.json").write_text(json.dumps({"training_data": text, "images": len(pairs)}) + "\n")
    print(f"{len(pairs)} images: {text}")


def _vary(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop at another size of cell, turned, mirrored and recoloured."""
    from scipy import ndimage

    scale = float(np.exp(rng.uniform(np.log(0.5), np.log(2.4))))
    side = int(np.ceil(_TILE / scale))
    need = [(max(0, side - n) // 2 + 1, max(0, side - n) // 2 + 1) for n in labels.shape]
    image = np.pad(image, (*need, (0, 0)), mode="symmetric")
    labels = np.pad(labels, need, mode="symmetric")
    top, left = (int(rng.integers(n - side + 1)) for n in labels.shape)
    crop: np.ndarray = image[top : top + side, left : left + side].astype(np.float32)
    marks = labels[top : top + side, left : left + side]
    zoom = _TILE / side
    crop = ndimage.zoom(crop, (zoom, zoom, 1), order=1)[:_TILE, :_TILE]
    marks = ndimage.zoom(marks, zoom, order=0)[:_TILE, :_TILE]
    turns = int(rng.integers(4))
    crop, marks = np.rot90(crop, turns), np.rot90(marks, turns)
    if rng.random() < 0.5:
        crop, marks = crop[:, ::-1], marks[:, ::-1]
    crop = 255 * (crop / 255) ** np.exp(rng.normal(0, 0.2, 3))
    crop = crop * np.exp(rng.normal(0, 0.1, 3)) + rng.normal(0, 6) + rng.normal(0, 3, crop.shape)
    # Padding repeats labels: number connected pieces anew.
    pieces = np.zeros(marks.shape, np.int32)
    for value in np.unique(marks[marks > 0]):
        found = ndimage.label(marks == value)[0]
        pieces[found > 0] = found[found > 0] + pieces.max()
    return np.clip(crop, 0, 255) / np.float32(255), pieces


def train(out: Path, minutes: float, seed: int) -> None:
    """Train for about so many minutes, then choose the thresholds on a tenth kept aside."""
    from stardist.models import Config2D, StarDist2D

    files = sorted((out / "images").glob("*.npz"))
    rng = np.random.default_rng(seed)
    loaded = [np.load(files[int(i)]) for i in rng.permutation(len(files))]
    pictures = [(item["image"], item["labels"]) for item in loaded]
    held = max(8, len(pictures) // 10)
    validation, training = pictures[:held], pictures[held:]
    fixed = [_vary(*picture, np.random.default_rng((seed, i))) for i, picture in enumerate(validation)]
    config = Config2D(
        axes="YXC",
        n_channel_in=3,
        n_rays=32,
        grid=(4, 4),
        train_patch_size=(_TILE, _TILE),
        train_batch_size=_BATCH,
        train_tensorboard=False,
        train_shape_completion=False,
        train_reduce_lr=None,
    )
    model = StarDist2D(config, name="model", basedir=str(out))
    model.prepare_for_training()
    clock = _stop_in_time(60 * minutes)
    model.callbacks.append(clock)

    def draw(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # StarDist cuts patches of one scale; ours are drawn afresh instead of what it cut.
        return _vary(*training[int(rng.integers(len(training)))], rng)

    model.train(
        [image for image, _ in fixed],
        [labels for _, labels in fixed],
        validation_data=([image for image, _ in fixed], [labels for _, labels in fixed]),
        augmenter=draw,
        epochs=10_000,
        steps_per_epoch=_STEPS,
    )
    model.optimize_thresholds([image for image, _ in fixed], [labels for _, labels in fixed])
    about = json.loads((out / "about.json").read_text())
    about |= {"minutes": minutes, "steps": clock.steps, "batch_size": _BATCH}
    (out / "about.json").write_text(json.dumps(about) + "\n")
    print(f"{clock.steps} steps of {_BATCH} in {minutes:g} minutes")


def _stop_in_time(seconds: float) -> Any:
    """Return a callback that lowers the rate along a cosine over a time, then ends training."""
    from tf_keras.callbacks import Callback

    class StopInTime(Callback):  # type: ignore[misc]
        steps = 0

        def on_train_begin(self, logs: Any = None) -> None:
            self.start = time.monotonic()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            share = min((time.monotonic() - self.start) / seconds, 1.0)
            self.model.optimizer.learning_rate.assign(_RATE * (0.02 + 0.49 * (1 + np.cos(np.pi * share))))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = time.monotonic() - self.start > seconds

    return StopInTime()


def predict(out: Path) -> None:
    """Answer lines ``IMAGE.npy<tab>LABELS.npy`` on standard input until it ends."""
    from stardist.models import StarDist2D

    model = StarDist2D(None, name="model", basedir=str(out))
    print("ready", flush=True)
    for line in sys.stdin:
        source, target = line.rstrip("\n").split("\t")
        image = np.load(source).astype(np.float32) / 255
        tiles = tuple(max(1, int(np.ceil(side / 1024))) for side in image.shape[:2])
        labels = model.predict_instances(image, n_tiles=(*tiles, 1), show_tile_progress=False)[0]
        np.save(target, labels.astype(np.int32))
        print("done", flush=True)


def main() -> None:
    """Export, train or predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["export", "train", "predict"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fold", type=int, choices=range(5), help="SigTuple fold to leave out")
    parser.add_argument("--no-txl", action="store_true", help="SigTuple alone")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if args.what == "export":
        export(args.out, args.fold, not args.no_txl)
    elif args.what == "train":
        train(args.out, args.minutes, args.seed)
    else:
        predict(args.out)


if __name__ == "__main__":
    main()
