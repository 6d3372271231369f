"""Shift the cell head of a robust model so that its outlines neither swell nor shrink.

    WBCSEG_DATA=FOLDER python benchmarks/calibrate_outlines.py MODEL.safetensors OUT.safetensors

The outlines that a network proposed for its own training pictures grow a little from pass to pass.
The boxes of white cells in the *training* fields of TXL-PBC, drawn by people, say by how much: the
threshold at which outlines are as wide as the boxes becomes the new 0.5, by a shift of the bias.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from napari_wbcseg.datasets.boxes import WHITE_KIND, read_boxes, split_names
from napari_wbcseg.images.read import read_image
from napari_wbcseg.network.library import load_model
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.settings import SegmentationSettings

_THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85)
_EVERY = 6


def width_ratio(model: ModelFile, folder: Path, threshold: float) -> float:
    """Return the median of the width of an outline over that of its box, whole cells only."""
    table = read_boxes(folder)
    table = table[table["kind"] == WHITE_KIND]
    ratios = []
    for name in split_names(folder)[0][::_EVERY]:
        image = read_image(folder / "images" / name)
        labels = segment(image, model, SegmentationSettings(probability_threshold=threshold)).labels
        for r0, c0, r1, c1 in table.loc[table["image"] == name, ["r0", "c0", "r1", "c1"]].to_numpy(int):
            index = labels[(r0 + r1) // 2, (c0 + c1) // 2]
            if index and min(r0, c0) > 2 and r1 < labels.shape[0] - 2 and c1 < labels.shape[1] - 2:
                rows, cols = np.nonzero(labels == index)
                ratios.append((np.ptp(rows) + np.ptp(cols) + 2) / (r1 - r0 + c1 - c0))
    return float(np.median(ratios))


def main() -> None:
    """Measure, shift and write."""
    model, folder = load_model(Path(sys.argv[1])), Path(os.environ["WBCSEG_DATA"]) / "txl_pbc"
    ratios = [width_ratio(model, folder, threshold) for threshold in _THRESHOLDS]
    for threshold, ratio in zip(_THRESHOLDS, ratios, strict=True):
        print(f"threshold {threshold:.2f}: outlines {ratio:.3f} of the boxes")
    best = float(np.interp(1.0, ratios[::-1], _THRESHOLDS[::-1]))
    weights = dict(model.weights)
    weights["head_cell/bias"] = weights["head_cell/bias"] - np.float32(np.log(best / (1 - best)))
    print(f"The new 0.5 is {best:.3f}; {ModelFile.write(Path(sys.argv[2]), model.header, weights).path}")


if __name__ == "__main__":
    main()
