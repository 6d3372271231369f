"""How wide outlines are beside boxes that people drew, for `InstanceParameters.outline`.

    WBCSEG_DATA=FOLDER python benchmarks/calibrate_outlines.py [MODEL.safetensors]

The outlines that a network proposed for its own training pictures grow a little from pass to pass.
The boxes of white cells in the *training* fields of TXL-PBC say by how much: printed is the width of
outlines over that of the boxes, for outlines drawn so many logits above the threshold of cells.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_wbcseg.datasets.boxes import WHITE_KIND, read_boxes, split_names
from napari_wbcseg.images.read import read_image
from napari_wbcseg.network.library import load_model
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation import instances
from napari_wbcseg.segmentation.pipeline import segment

_OUTLINES = (0.0, 0.3, 0.62, 1.0, 1.4)
_EVERY = 6


def width_ratio(model: ModelFile, folder: Path) -> float:
    """Return the median of the width of an outline over that of its box, whole cells only."""
    table = read_boxes(folder)
    table = table[table["kind"] == WHITE_KIND]
    ratios = []
    for name in split_names(folder)[0][::_EVERY]:
        image = read_image(folder / "images" / name)
        labels = segment(image, model).labels
        for r0, c0, r1, c1 in table.loc[table["image"] == name, ["r0", "c0", "r1", "c1"]].to_numpy(int):
            index = labels[(r0 + r1) // 2, (c0 + c1) // 2]
            if index and min(r0, c0) > 2 and r1 < labels.shape[0] - 2 and c1 < labels.shape[1] - 2:
                rows, cols = np.nonzero(labels == index)
                ratios.append((np.ptp(rows) + np.ptp(cols) + 2) / (r1 - r0 + c1 - c0))
    return float(np.median(ratios))


def main() -> None:
    """Measure and print."""
    model, folder = load_model((*sys.argv[1:], "wbc")[0]), Path(os.environ["WBCSEG_DATA"]) / "txl_pbc"
    for outline in _OUTLINES:
        instances.PARAMETERS = replace(instances.PARAMETERS, outline=outline)
        ratio = width_ratio(model, folder)
        print(f"{outline:.2f} logits above the threshold: outlines {ratio:.4f} of the boxes")


if __name__ == "__main__":
    main()
