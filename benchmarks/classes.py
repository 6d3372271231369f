"""Scores of the classifier: cells held out of two laboratories, and a third it never saw, with examples too.

``WBCSEG_DATA=... python benchmarks/classes.py [--classifier FILE] [--cells FOLDER]``; cells that were cut
out are kept in the folder, so that another classifier is scored in a minute.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from tables import markdown

from napari_wbcseg import segment
from napari_wbcseg.box import label_boxes
from napari_wbcseg.classification.classes import NEUTROPHIL
from napari_wbcseg.classification.learn import probabilities_of, teach
from napari_wbcseg.images.illumination import normalised
from napari_wbcseg.images.read import read_image
from napari_wbcseg.network.classifier import ClassifierFile, read_classifier
from napari_wbcseg.training.class_cells import CLASSES, USUAL, ClassCells, class_table, class_truth, cut_cell
from napari_wbcseg.training.classifier import unchanged_views

#: The classes with both kinds of neutrophils as one.
NAMES = (NEUTROPHIL, *CLASSES[2:])
EXAMPLES, DRAWS = 10, 10
#: A cell is the one of its picture if it is no further from its place, over the side of the picture.
NEAR = 0.05
#: Which classes a person names, all of them or those that come first.
NAMED = (
    (NEUTROPHIL, "lymphocyte", "monocyte", "eosinophil"),
    (NEUTROPHIL, "eosinophil"),
    ("lymphocyte", "monocyte"),
    (NEUTROPHIL,),
)


def merged(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities of `NAMES`."""
    return np.column_stack([probabilities[:, :2].sum(axis=1), probabilities[:, 2:]])


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected calibration error, ten bins (Guo et al., ICML 2017)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((sure * 10).astype(int), 9)
    return float(sum(abs((right[bins == b] - sure[bins == b]).sum()) for b in range(10)) / len(truth))


def report(title: str, probabilities: np.ndarray, truth: np.ndarray) -> None:
    """Print accuracy, calibration and the confusion matrix as Markdown."""
    called, present = probabilities.argmax(axis=1), np.unique(truth)
    error = calibration_error(probabilities, truth)
    print(f"\n{title}: accuracy {(called == truth).mean():.3f}, calibration error {error:.3f}\n")
    names = NAMES[: probabilities.shape[1]]
    rows = ((NAMES[one], *np.bincount(called[truth == one], minlength=len(names))) for one in present)
    print(markdown(("true, called", *names), rows))


def with_examples(
    classifier: ClassifierFile, embedding: np.ndarray, truth: np.ndarray, count: int, names: Sequence[str]
) -> float:
    """Return the mean accuracy on the other cells, after so many of some classes were named."""
    scores, classes = [], [NAMES.index(name) for name in names]
    scored = np.flatnonzero(np.isin(truth, [c for c in np.unique(truth) if (truth == c).sum() > EXAMPLES]))
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        named = np.concatenate([rng.permutation(np.flatnonzero(truth == c))[:count] for c in classes])
        rest = np.setdiff1d(scored, named)
        taught = teach(classifier, embedding[named], np.array(NAMES)[truth[named]].tolist())
        scores.append(float((called_of(taught, embedding[rest]) == truth[rest]).mean()))
    return float(np.mean(scores))


def ordinary_slides(
    classifier: ClassifierFile, embedding: np.ndarray, truth: np.ndarray, count: int, names: Sequence[str]
) -> Iterator[float]:
    """Yield scores of slides with classes as frequent as in ordinary blood, where so many cells were named.

    Before and after it, mean of the draws: accuracy on the other cells; how far the per cents are off, in
    sum; the share of the cells of all other classes that are called rightly.
    """
    usual = np.array([sum(USUAL[:2]), *USUAL[2 : len(NAMES) - 1]])
    usual[np.setdiff1d(np.arange(len(usual)), truth)] = 0
    classes, scores = [NAMES.index(name) for name in names], []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        drawn = rng.choice(len(usual), 100, p=usual / usual.sum())
        slide = np.unique([rng.choice(np.flatnonzero(truth == kind)) for kind in drawn])
        kinds = truth[slide]
        named = np.concatenate([rng.permutation(np.flatnonzero(kinds == c))[:count] for c in classes])
        said = np.array(NAMES)[kinds[named]].tolist()
        for file in (classifier, teach(classifier, embedding[slide][named], said)):
            called = called_of(file, embedding[slide])
            called[named] = kinds[named]
            right = np.delete(called == kinds, named)
            rare = np.isin(np.delete(kinds, named), classes, invert=True)
            off = abs(np.bincount(called, minlength=9) - np.bincount(kinds, minlength=9)).sum()
            scores.append((right.mean(), 100 * off / len(kinds), right[rare].mean()))
    for score in zip(*scores, strict=True):
        yield from (float(np.nanmean(score[::2])), float(np.nanmean(score[1::2])))


def _pairs(scores: Iterator[float]) -> list[str]:
    return [f"{before:.3g}, {after:.3g}" for before, after in zip(scores, scores, strict=True)]


def called_of(classifier: ClassifierFile, embedding: np.ndarray) -> np.ndarray:
    """Return the class that each cell is called, as its place in `NAMES`."""
    found = probabilities_of(classifier, embedding)
    whole = [NEUTROPHIL if NEUTROPHIL in name else name for name in found.columns]
    return found.T.groupby(np.array(whole)).sum().T.idxmax(axis=1).map(NAMES.index).to_numpy().copy()


def table_of(folder: Path) -> pd.DataFrame:
    """Return image and class of the cells that are scored, and their row and column if not in the middle."""
    if folder.name == "zheng_dataset1":
        return pd.read_csv(folder / "classes.csv")
    table = class_table(folder)
    return table[table["held_out"]]


def cells_of(folder: Path) -> ClassCells:
    """Cut out the cell at its place in each picture, as `segment` finds it and tells its class."""
    found, missing = [], Counter[str]()
    for row in table_of(folder).to_dict("records"):
        pixels = read_image(folder / row["image"])
        result = segment(pixels)
        distance, nearest = ndimage.distance_transform_edt(result.labels == 0, return_indices=True)
        middle = {"row": pixels.shape[0] // 2, "col": pixels.shape[1] // 2}
        spot = tuple(int(row.get(axis, place)) for axis, place in middle.items())
        if not result.labels.any() or distance[spot] > max(NEAR, row.get("reach", 0.0)) * max(pixels.shape):
            missing[row["class"]] += 1
            continue
        mask = result.labels == result.labels[tuple(nearest[:, *spot])]
        ((_, box),) = label_boxes(mask.astype(np.uint8))
        cut = cut_cell(normalised(pixels), mask[box.slices], box, result.class_diameter or 1.0)
        found.append((*cut, class_truth(row, folder)))
    print(f"\nNot outlined in {folder.name}: {dict(missing)}")
    return ClassCells.of(found)


def main() -> None:
    """Cut the cells out and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classifier", default="built-in")
    parser.add_argument("--cells", type=Path, default=Path("class-cells"))
    options = parser.parse_args()
    classifier, data = read_classifier(options.classifier), Path(os.environ["WBCSEG_DATA"])
    options.cells.mkdir(exist_ok=True)
    for folder in ("pbc", "txl_pbc", "sigtuple", "zheng_dataset1"):
        file = options.cells / f"{folder}.npz"
        if not file.exists():
            cells_of(data / folder).save(file)
        cells = ClassCells.load(file)
        probabilities, embedding = classifier.predict(unchanged_views(cells, np.arange(len(cells))))
        found, truth = merged(probabilities), merged(cells.truth).argmax(axis=1)
        report(folder, found, truth)
        if folder == "zheng_dataset1":
            five = found[:, :5] / found[:, :5].sum(axis=1, keepdims=True)
            report(f"{folder}, of the five classes it has", five, truth)
            print("\nAccuracy once cells were named, mean of ten draws:\n")
            counts = (1, 3, EXAMPLES)
            rows = (
                (
                    " and ".join(names),
                    *(f"{with_examples(classifier, embedding, truth, n, names):.3f}" for n in counts),
                )
                for names in NAMED
            )
            print(markdown(("named", *(f"{n} of each" for n in counts)), rows))
        if folder != "sigtuple":
            print("\nOrdinary slides of 100 of these cells, before and after some were named:\n")
            rows = (
                (
                    f"{n} of {' and '.join(named)}",
                    *_pairs(ordinary_slides(classifier, embedding, truth, n, named)),
                )
                for named, n in ((NAMES[:2], 3), (NAMES[:2], 10), (NAMES[:1], 3))
            )
            titles = ("accuracy", "per cents off, in sum", "accuracy on classes not named")
            print(markdown(("named", *titles), rows))


if __name__ == "__main__":
    main()
