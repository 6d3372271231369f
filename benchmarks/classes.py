"""Scores of the classifier: cells held out of two laboratories, and a third it never saw, with examples too.

``WBCSEG_DATA=... python benchmarks/classes.py [--classifier FILE] [--cells FOLDER]``; cells that were cut
out are kept in the folder, so that another classifier is scored in a minute.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from tables import markdown

from napari_wbcseg import SegmentationSettings, segment
from napari_wbcseg.box import label_boxes
from napari_wbcseg.classification.classes import NEUTROPHIL
from napari_wbcseg.classification.learn import probabilities_of, teach
from napari_wbcseg.images.illumination import normalised
from napari_wbcseg.images.read import read_image
from napari_wbcseg.network.classifier import ClassifierFile, read_classifier
from napari_wbcseg.segmentation.outlining import outliner
from napari_wbcseg.training.class_cells import CLASSES, ClassCells, cut_cell, cut_cells
from napari_wbcseg.training.classifier import as_they_are

#: The classes with both kinds of neutrophils as one.
NAMES = (NEUTROPHIL, *CLASSES[2:])
EXAMPLES, DRAWS = 10, 10
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
        said = [NAMES[kind] if cell in named else None for cell, kind in enumerate(truth)]
        taught = teach(classifier, embedding, said)
        found = probabilities_of(taught, embedding[rest])
        whole = [NEUTROPHIL if NEUTROPHIL in name else name for name in found.columns]
        called = found.T.groupby(np.array(whole)).sum().T.idxmax(axis=1)
        scores.append(float((called.to_numpy() == np.array(NAMES)[truth[rest]]).mean()))
    return float(np.mean(scores))


def zheng_cells(folder: Path) -> ClassCells:
    """Cut out the cell in the middle of each picture, as `segment` finds it and at the size it estimates."""
    table, found = pd.read_csv(folder / "classes.csv"), []
    for name, kind in zip(table["image"], table["class"], strict=True):
        pixels = read_image(folder / name)
        result = segment(pixels, settings=SegmentationSettings(classes=None))
        if not result.count:
            print(f"Nothing found in {name}.")
            continue
        _, nearest = ndimage.distance_transform_edt(result.labels == 0, return_indices=True)
        middle = nearest[:, pixels.shape[0] // 2, pixels.shape[1] // 2]
        mask = result.labels == result.labels[tuple(middle)]
        ((_, box),) = label_boxes(mask.astype(np.uint8))
        cut = cut_cell(normalised(pixels), mask[box.slices], box, result.cell_diameter or 1.0)
        truth = np.zeros(len(CLASSES), np.float32)
        truth[slice(0, 2) if kind == NEUTROPHIL else CLASSES.index(kind)] = 1
        found.append((*cut, truth))
    return ClassCells.of(found)


def main() -> None:
    """Cut the cells out and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classifier", default="built-in")
    parser.add_argument("--cells", type=Path, default=Path("class-cells"))
    options = parser.parse_args()
    classifier, data = read_classifier(options.classifier), Path(os.environ["WBCSEG_DATA"])
    options.cells.mkdir(exist_ok=True)
    for name, folder in (("pbc_test", "pbc"), ("sigtuple", "sigtuple"), ("zheng", "zheng_dataset1")):
        file = options.cells / f"{name}.npz"
        if not file.exists():
            if name == "zheng":
                zheng_cells(data / folder).save(file)
            else:
                cut_cells(data / folder, True, outliner("wbc", flips=False)).save(file)
        cells = ClassCells.load(file)
        probabilities, embedding = classifier.predict(as_they_are(cells, np.arange(len(cells))))
        found, truth = merged(probabilities), merged(cells.truth).argmax(axis=1)
        report(folder, found, truth)
        if name == "zheng":
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


if __name__ == "__main__":
    main()
