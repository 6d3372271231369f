"""Train `wbc` anew without one source of training data, for each source in turn, and score each model.

    WBCSEG_DATA=FOLDER python benchmarks/left_out.py --out FOLDER
    WBCSEG_DATA=FOLDER python benchmarks/left_out.py --out FOLDER --without nothing pig --epochs 40

Each model begins with random weights and learns as long as the others, far shorter than the shipped one:
compare the rows with the first, in which nothing is left out, not with the model card. Outlines of boxed and
single cells come from the shipped model, which knows every source. Killed, it goes on where it was: what is
in FOLDER is taken as it is, so name another one for other epochs, another rate or another limit.
"""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from accuracy import measure, method_of, read_set
from accuracy_sets import BenchImage
from rich.console import Console
from rich.table import Table

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.read import read_pairs
from napari_wbcseg.datasets.single_cells import read_without_cells
from napari_wbcseg.files import write_atomically
from napari_wbcseg.segmentation.outlining import outliner
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.train import train

NOTHING = "nothing"
SOURCES = ("sigtuple", "txl_pbc", "pbc", "pig", "chula")
_EASY = ("clean", "txl", "zheng", "touching", "empty")
SETS = (*_EASY, "pig", "leukaemia", "marrow", "blue", "vivax", "chula", "platelets")
console = Console()


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return what a file of this benchmark's own holds, made first where it is not there."""
    if not path.is_file():
        write_atomically(path, pickle.dumps(make()))
    return pickle.loads(path.read_bytes())


def pairs_of(source: str, root: Path) -> list[TrainingPair]:
    """Read the training part of a source."""
    console.print(f"Reading {source} ...")
    if source == "chula":
        return read_without_cells(root / source / "images", outliner("wbc"))
    return read_pairs(root / source, outline=outliner("wbc", flips=source != "pig"))


def trained(left_out: str, root: Path, out: Path, epochs: int, rate: float) -> Path:
    """Return the model that never saw a source, trained first where there is none."""
    path = out / left_out / "wbc.safetensors"
    if not path.is_file():
        pairs: list[TrainingPair] = []
        for source in SOURCES:
            if source != left_out:
                pairs += kept(out / f"pairs-{source}.pkl", partial(pairs_of, source, root))
        settings = TrainingSettings.for_recipe(
            "robust", epochs=epochs, learning_rate=rate, validation_fraction=0.0, early_stop_patience=epochs
        )
        console.print(f"Training without {left_out} ...")
        train(pairs, settings, path.parent, name="wbc", resume=True)
    return path


def scores(left_out: str, model: Path, data: dict[str, list[BenchImage]]) -> dict[str, str]:
    """Return the columns of `accuracy.py` for a model."""
    columns: dict[str, str] = {}
    method = method_of(str(model))
    for name, items in data.items():
        if items:
            columns |= measure(f"without {left_out}", method, name, items).told
    return columns


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", nargs="+", choices=(NOTHING, *SOURCES), default=[NOTHING, *SOURCES])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--limit", type=int, help="images of each set")
    args = parser.parse_args()
    root = Path(os.environ["WBCSEG_DATA"])
    args.out.mkdir(parents=True, exist_ok=True)
    data = {name: read_set(name, root, args.limit) for name in SETS}
    rows: dict[str, dict[str, str]] = {}
    for name in args.without:
        # In a process of its own: each training holds gigabytes of pictures.
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            model = process.submit(trained, name, root, args.out, args.epochs, args.rate).result()
        rows[name] = kept(args.out / name / "scores.pkl", partial(scores, name, model, data))
    table = Table("without", *rows)
    for column in dict.fromkeys(column for row in rows.values() for column in row):
        table.add_row(column, *(row.get(column, "") for row in rows.values()))
    console.print(table)


if __name__ == "__main__":
    main()
