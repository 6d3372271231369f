"""One small result with everything that files find hard: holes, pieces, borders, gaps in the numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg import SegmentationSettings
from napari_wbcseg.segmentation.result import Segmentation

from ..drawings import measure_cells


@dataclass(frozen=True)
class Layer:
    """What `save` reads of a labels layer; tests/plugin has real ones."""

    data: Any
    features: Any = None
    name: str = "cells"
    metadata: dict = field(default_factory=dict)
    scale: tuple = (1.0, 1.0)
    translate: tuple = (0.0, 0.0)
    units: tuple = ("pixel", "pixel")


@pytest.fixture
def labels() -> np.ndarray:
    image = np.zeros((60, 80), np.int32)
    image[5:20, 5:20] = 3
    image[8:12, 8:12] = 0  # a hole
    image[30:50, 40:60] = 700
    image[0:3, 70:80] = 9  # in two pieces, each on a border
    image[55:60, 0:4] = 9
    return image


@pytest.fixture
def image(labels: np.ndarray) -> np.ndarray:
    picture = np.full((*labels.shape, 3), 230, np.uint8)
    picture[labels > 0] = (90, 40, 120)
    return picture


@pytest.fixture
def result(labels: np.ndarray, image: np.ndarray) -> Segmentation:
    return made(labels, image)


def made(labels: np.ndarray, image: np.ndarray) -> Segmentation:
    """Return a result as `segment` makes it of these labels; 9 is to check."""
    planes = labels if labels.ndim == 3 else labels[None]
    pictures = image if labels.ndim == 3 else image[None]
    sure = {3: 0.9, 9: 0.4, 700: 0.8}
    tables = [
        measure_cells(plane, picture, sure, 0.5) for plane, picture in zip(planes, pictures, strict=True)
    ]
    if labels.ndim == 3:
        tables = [table.assign(plane=number) for number, table in enumerate(tables)]
    filled = [table for table in tables if len(table)] or tables[:1]
    return Segmentation(
        labels=labels,
        cells=pd.concat(filled, ignore_index=True),
        probability=(labels > 0).astype(np.float32),
        proposals=np.zeros((0, 4), np.int64),
        settings=SegmentationSettings(cell_diameter=20, flips=True),
        model="wbc@0123456789ab",
        cell_diameter=20.0,
        class_diameter=25.0,
        notes=("A note.",),
    )
