"""What is estimated once for a whole image, and how much of it is read for that."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.network.library import load_model
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.global_estimates import GlobalEstimates, estimate
from napari_wbcseg.settings import SegmentationSettings
from napari_wbcseg.synthetic.smear import synthetic_smear


@pytest.mark.parametrize(
    ("cell", "red_cell", "diameter"),
    [
        pytest.param(60.0, 80.0, 140.0, id="a lone erythroblast is no typical white cell"),
        pytest.param(60.0, None, 60.0, id="without red cells, that of the white cells"),
        pytest.param(60.0, 255.0, 60.0, id="smudges are no red cells"),
        pytest.param(None, 80.0, None, id="no white cell"),
    ],
)
def test_red_cells_tell_at_which_size_classes_are_told(
    cell: float | None, red_cell: float | None, diameter: float | None
) -> None:
    white = (255.0, 255.0, 255.0)
    found = GlobalEstimates(value_range=255, background=white, cell_diameter=cell, red_cell=red_cell)
    assert found.class_diameter == (None if diameter is None else pytest.approx(diameter))


def test_pen_marks_on_a_large_image_do_not_hide_its_cells() -> None:
    """The fields with the most stain show ink alone: then the size is told by those that follow."""
    smear = synthetic_smear((640, 640), cell_diameter=60, white_cells=6, dark_edge=0.0, seed=3).image
    pixels = np.full((3600, 3600, 3), np.percentile(smear, 95, axis=(0, 1)), np.uint8)
    for top, left in product((60, 760), range(60, 3600, 700)):
        pixels[top : top + 440, left : left + 400] = (25, 25, 40)
    pixels[2400:3040, 1200:1840] = smear
    found, tiles = estimate(PixelSource(pixels), load_model("wbc"), SegmentationSettings(), silent)
    assert tiles is None, "too large to be looked at as a whole"
    assert found.cell_diameter == pytest.approx(60, rel=0.15)
