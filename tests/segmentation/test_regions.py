"""The network looks at whole cells, also where only part of one lies in a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation import robust
from napari_wbcseg.segmentation.looks import Look
from napari_wbcseg.segmentation.prediction import Predictor, placed
from napari_wbcseg.segmentation.regions import PARAMETERS, window_depth
from napari_wbcseg.segmentation.robust import find_cells
from napari_wbcseg.settings import SegmentationSettings

from ..drawings import disc_labels, worst_dice, write_dark_robust_model


def test_a_cell_that_was_not_proposed_is_not_cut_by_the_window_of_its_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first cell is proposed; the second lies half in its window, and the third beyond.
    labels = disc_labels((300, 400), [(150, 100, 48), (150, 156, 48), (150, 210, 48)])
    box = np.array([[150 - 36, 100 - 36, 150 + 36, 100 + 36]])
    monkeypatch.setattr(robust, "propose", lambda *_: box)
    predictor = Predictor(
        write_dark_robust_model(tmp_path / "dark.safetensors"),
        SegmentationSettings(split_touching=False),
        silent,
    )
    image = np.where(labels[..., None] > 0, np.float32(1.5), np.float32(0)).repeat(3, axis=2)
    detections = find_cells(image, Look(48.0), predictor)
    found = placed(detections.labels, detections.area, labels.shape)
    assert worst_dice(np.where(labels == 3, 0, labels), found) > 0.97
    assert not found[labels == 3].any(), "nobody asked for it"


def test_depth_is_counted_from_the_edge_of_a_window_but_not_from_that_of_the_image() -> None:
    size, most = (60, 100), PARAMETERS.context
    depth = window_depth([Box(0, 0, 60, 40), Box(0, 38, 60, 80)], Box(0, 0, 60, 90), size)
    row = depth[30].tolist()
    assert row[:24] == [most] * 24, "the image begins there"
    assert row[36:42] == [4, 3, 2, 2, 3, 4], "at the seam each window sees a pixel from its rim"
    assert row[79:82] == [1, 0, 0], "the second window ends, and nothing saw the rest"
    assert (depth == depth[:1]).all(), "the windows are as high as the image"
