"""Folders of small images for the tests of whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from napari_wbcseg.batch.folder import BatchItem
from napari_wbcseg.batch.run import collect

from ..dark_model import spots


def write_images(folder: Path, number: int, bad: Sequence[int] = ()) -> list[BatchItem]:
    """Write images of zero to three cells, some of them cut off in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    places = ((40, 40), (40, 110), (110, 60))
    for index in range(number):
        path = folder / f"{index:04}.png"
        # No file is a copy of another.
        Image.fromarray(spots((150, 150), places[: index % 4])[0]).save(path, dpi=(1 + index, 1))
        if index in bad:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
    return collect([folder])


def results(out: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Return all that a run found: counts without times, cells, label images."""
    counts = pd.read_csv(out / "counts.csv").drop(columns="seconds")
    labels = {path.name: tifffile.imread(path) for path in sorted(out.glob("*-labels.tif"))}
    return counts, pd.read_csv(out / "cells.csv"), labels


def assert_same_results(one: Path, other: Path) -> None:
    """Check that two runs found the same, to the pixel."""
    (counts, cells, labels), (counts2, cells2, labels2) = results(one), results(other)
    pd.testing.assert_frame_equal(counts, counts2)
    pd.testing.assert_frame_equal(cells, cells2)
    assert labels.keys() == labels2.keys()
    for name, array in labels.items():
        np.testing.assert_array_equal(array, labels2[name], err_msg=name)
