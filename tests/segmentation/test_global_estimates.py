"""What is estimated once for a whole image, and how much of it is read for that."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from napari_wbcseg import segment
from napari_wbcseg.box import Box
from napari_wbcseg.images.field_of_view import FieldOfView
from napari_wbcseg.images.illumination import CUT_OUT
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.network.library import load_model
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.global_estimates import GlobalEstimates, _Seen, _with_cells, estimate
from napari_wbcseg.segmentation.looks import palest_nucleus
from napari_wbcseg.segmentation.scale import RedCells, ScaleEstimate
from napari_wbcseg.segmentation.standard_stain import StandardStain
from napari_wbcseg.settings import SegmentationSettings
from napari_wbcseg.sizes import WHITE_OVER_RED
from napari_wbcseg.synthetic.smear import synthetic_smear
from napari_wbcseg.words import in_doubt


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


WHITE = {"value_range": 255, "background": (255.0, 255.0, 255.0)}


@pytest.mark.parametrize("step", [1, 3])
def test_outside_the_field_of_view_there_is_empty_slide(step: int) -> None:
    inside = np.zeros((30, 40), bool)
    inside[10:, 20:] = True
    found = GlobalEstimates(**WHITE, field_of_view=FieldOfView.of(inside, step=2))
    box = Box(6, 9, 60, 78)
    image = found.transmittance(np.full((54, 69, 3), 51.0, np.float32)[::step, ::step], box, step)
    expected = np.where(np.kron(inside, np.ones((2, 2)))[box.slices][::step, ::step] > 0, 0.2, 1.0)
    np.testing.assert_allclose(image, expected[..., None].repeat(3, axis=2), rtol=1e-6)


def test_cells_that_were_cut_out_on_black_are_outlined_as_on_the_slide() -> None:
    smear = synthetic_smear((320, 400), white_cells=5, seed=1)
    cut_out = np.where(smear.labels[..., None] > 0, smear.image, 0).astype(np.uint8)
    found = segment(cut_out)
    assert CUT_OUT in found.notes
    assert not in_doubt(found.notes, False)
    assert found.count == smear.labels.max()
    both = np.count_nonzero((found.labels > 0) & (smear.labels > 0))
    assert 2 * both / (np.count_nonzero(found.labels) + np.count_nonzero(smear.labels)) > 0.95


def test_of_a_large_image_the_network_is_shown_what_is_as_dark_as_its_nuclei() -> None:
    white, red = (0.9, 1.6, 0.4), (0.3, 0.8, 0.3)
    stain = StandardStain(white=white, mixing=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    seen = tuple(2 - 2 * np.exp(-np.array(red)))
    found = GlobalEstimates(**WHITE, cell_diameter=40, red_cell_stain=seen, standard_stain=stain)
    assert [look.least_stain for look in found.looks] == [None], "of one that was all looked at"
    (look,) = found.model_copy(update={"nuclei_alone": True}).looks
    assert look.least_stain == pytest.approx(palest_nucleus(white, red))


def test_where_samples_show_no_white_cell_the_red_ones_tell_its_size() -> None:
    image, light = np.zeros((90, 90, 3), np.float32), GlobalEstimates(**WHITE)
    seen = _Seen(image, 2, [Box(0, 0, 90, 90)], (), ScaleEstimate(RedCells(20.0, (0.3, 0.5, 0.4)), []), [])
    found = _with_cells(light, seen, sampled=True)
    assert (found.red_cell, found.cell_diameter) == (40.0, WHITE_OVER_RED * 40.0), "of pixels of the image"
    assert "their size was taken from the red cells" in found.notes[0]
    assert _with_cells(light, seen, sampled=False).cell_diameter is None


def test_pen_marks_on_a_large_image_do_not_hide_its_cells() -> None:
    """The fields with the most stain show ink alone: then the size is told by those that follow."""
    smear = synthetic_smear((640, 640), cell_diameter=60, white_cells=6, dark_edge=0.0, seed=3).image
    pixels = np.full((3600, 3600, 3), np.percentile(smear, 95, axis=(0, 1)), np.uint8)
    for top, left in product((60, 760), range(60, 3600, 700)):
        pixels[top : top + 440, left : left + 400] = (25, 25, 40)
    pixels[2400:3040, 1200:1840] = smear
    found, tiles = estimate(PixelSource(pixels), load_model("wbc"), SegmentationSettings(), silent)
    assert tiles == [], "too large to be looked at as a whole"
    assert found.cell_diameter == pytest.approx(60, rel=0.15)
