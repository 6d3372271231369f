"""Measurements of a drawn smear, equal to those of the engine before, which added up runs of pixels.

Tables that users saved then must read like those of today.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from napari_wbcseg.classification.classes import CLASS, CLASS_BY, CLASS_PROBABILITY
from napari_wbcseg.segmentation.measure import COLUMNS

from ..drawings import disc_labels, measure_cells

#: Written by the engine before.
STORED = Path(__file__).with_name("measured.csv")


def drawn_smear() -> tuple[np.ndarray, np.ndarray]:
    """Draw cells of every kind: round, cut, touching, in pieces, lobed, a line, a single pixel."""
    shape = (200, 260)
    labels = disc_labels(
        shape,
        [
            (40, 40, 56),
            (40, 96, 54),
            (100, 30, 30),
            (2, 160, 40),
            (120, 120, 60),
            (198, 258, 50),
            (60, 220, 44),
        ],
    )
    labels[150:160, 20:60] = 9
    labels[163:170, 20:36] = 9  # a second piece
    labels[180, 100:130] = 11
    labels[185, 150] = 14
    labels[170:172, 200:202] = 15
    labels[90:104, 58:75] = 20
    labels[90:104, 76:90] = 21  # one pixel beside
    lobes = disc_labels(
        shape,
        [
            (34, 34, 20),
            (46, 48, 18),
            (40, 96, 30),
            (6, 160, 18),
            (112, 112, 20),
            (130, 122, 18),
            (116, 136, 16),
        ],
    )
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    grain = 14 * np.sin(rows * 0.9) * np.cos(cols * 0.7) + 6 * np.sin(rows * 2.3 + cols * 1.7)
    colours = np.array([(232, 214, 222), (170, 120, 178), (84, 40, 120)], float)
    tone = np.where(labels == 0, 0, np.where(lobes > 0, 2, 1))
    return labels, np.clip(colours[tone] + grain[..., None], 0, 255).astype(np.float32)


def test_the_measures_are_those_that_were_stored() -> None:
    labels, pixels = drawn_smear()
    table = measure_cells(labels, pixels, {1: 0.5, 9: 0.75}, check_below=0.6)
    stored = pd.read_csv(STORED)
    assert tuple(table.columns) == COLUMNS
    said = [CLASS, CLASS_PROBABILITY, CLASS_BY]
    assert set(table[CLASS]) == {""}, "which it did not tell"
    pd.testing.assert_frame_equal(table.drop(columns=said), stored, rtol=1e-6, atol=1e-6)
