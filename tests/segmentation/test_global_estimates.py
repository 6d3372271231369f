"""What is estimated once for a whole image, and how much of it is read for that."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.network.library import load_model
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.global_estimates import FieldOfView, GlobalEstimates, _field_of_view, estimate
from napari_wbcseg.settings import SegmentationSettings
from napari_wbcseg.synthetic.smear import synthetic_smear

SHAPE = (2500, 2600)


class Counted(PixelSource):
    """Counts the pixels that are read."""

    pixels = 0

    def read(self, *box: int) -> np.ndarray:
        self.pixels += Box(*box[:4]).area
        return super().read(*box)


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


def slide() -> np.ndarray:
    """Return an empty slide with something black in its middle."""
    pixels = np.random.default_rng(0).integers(220, 240, (*SHAPE, 3), np.uint8)
    pixels[1000:1600, 1000:1600] = 5
    return pixels


def test_the_field_of_an_eyepiece_is_known_by_its_corners() -> None:
    rows, cols = np.mgrid[:60, :80]
    disc = np.hypot(rows - 30, cols - 40) < 25
    assert FieldOfView.of(disc, step=4).round_width == pytest.approx(200, abs=8)
    assert FieldOfView.of(disc & (cols < 50), step=4).round_width == pytest.approx(200, abs=8), (
        "cut by a side"
    )
    assert FieldOfView.of(rows + cols > 20, step=4).round_width is None, "one corner is dark"
    assert FieldOfView.of(cols > 20, step=4).round_width is None


def test_of_a_large_image_that_shows_the_slide_to_its_edge_only_that_is_read() -> None:
    source = Counted(slide())
    assert _field_of_view(source, silent) is None
    assert source.pixels < 0.1 * SHAPE[0] * SHAPE[1]


@pytest.mark.parametrize("side", [np.s_[:300], np.s_[-300:], np.s_[:, :300], np.s_[:, -300:]])
def test_a_dark_side_of_a_large_image_is_none_of_the_slide(side) -> None:
    pixels = slide()
    pixels[side] = 5
    found = _field_of_view(PixelSource(pixels), silent)
    assert found is not None
    inside = found.inside(Box(0, 0, *SHAPE))
    assert not inside[side].any()
    assert inside[1300, 1300], "what is dark in the middle is on the slide"
    assert inside.mean() > 0.8


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
