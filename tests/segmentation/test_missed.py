"""A cell that was missed is outlined where a person says that it is."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg import segment
from napari_wbcseg.errors import EditError
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.network.library import load_model
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.missed import outline_at
from napari_wbcseg.segmentation.prediction import Predictor
from napari_wbcseg.settings import SegmentationSettings
from napari_wbcseg.synthetic.smear import synthetic_smear


@pytest.fixture(scope="module")
def smear():
    """Draw a smear, with its truth and what the built-in model finds in it."""
    drawn = synthetic_smear((384, 512), seed=3)
    return drawn, segment(drawn.image)


def centre(labels, label):
    rows, cols = np.nonzero(labels == label)
    middle = np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2)
    return float(rows[middle]), float(cols[middle])


@pytest.mark.parametrize(("model", "recipe"), [("wbc", "robust"), ("classic", "classic")])
def test_a_cell_taken_out_is_found_again_as_the_network_had_it(smear, model, recipe):
    drawn, found = smear
    label = int(found.cells["label"].iloc[0])
    before = found.labels == label
    without = np.where(before, 0, found.labels)
    predictor = Predictor(load_model(model), SegmentationSettings(recipe=recipe), silent)
    box, mask = outline_at(
        PixelSource(drawn.image), without, centre(found.labels, label), found.cell_diameter, predictor
    )
    again = np.zeros_like(before)
    again[box.slices] = mask
    union = (again | before).sum()
    assert (again & before).sum() > (0.9 if recipe == "robust" else 0.5) * union
    assert not (again & (without > 0)).any(), "its neighbours keep their pixels"


def test_a_threshold_that_is_too_high_is_lowered(smear):
    drawn, found = smear
    label = int(found.cells["label"].iloc[0])
    settings = SegmentationSettings(probability_threshold=0.9999999)
    nothing = np.zeros_like(found.labels)
    point = centre(found.labels, label)
    predictor = Predictor(load_model("wbc"), settings, silent)
    _, mask = outline_at(PixelSource(drawn.image), nothing, point, found.cell_diameter, predictor)
    assert mask.sum() > 0.7 * (found.labels == label).sum()


@pytest.mark.parametrize("guess", [None, 3.0])
@pytest.mark.parametrize("shrink", [1, 4])
def test_beside_dabs_the_image_tells_how_large_a_cell_is(smear, guess, shrink):
    drawn, found = smear
    label = int(found.cells["label"].iloc[0])
    image, before = drawn.image[::shrink, ::shrink], (found.labels == label)[::shrink, ::shrink]
    predictor = Predictor(load_model("wbc"), SegmentationSettings(), silent)
    box, mask = outline_at(PixelSource(image), before * 0, centre(before, True), None, predictor, guess)
    again = np.zeros_like(before)
    again[box.slices] = mask
    assert (again & before).sum() > 0.8 * (again | before).sum()
    with pytest.raises(EditError, match="sees no cell there"):
        outline_at(PixelSource(image), before * 0, centre(before, True), 3.0, predictor)


def test_where_there_is_none_is_said(smear):
    drawn, found = smear
    empty = np.full((300, 300, 3), 235, np.uint8)
    asked = (found.cell_diameter, Predictor(load_model("wbc"), SegmentationSettings(), silent))
    with pytest.raises(EditError, match="sees no cell there"):
        outline_at(PixelSource(empty), np.zeros((300, 300), int), (150.0, 150.0), *asked)
    with pytest.raises(EditError, match="outlined there already"):
        outline_at(PixelSource(drawn.image), found.labels, centre(found.labels, 1), *asked)
    with pytest.raises(EditError, match="Click on the image"):
        outline_at(PixelSource(drawn.image), found.labels, (-3.0, 10.0), *asked)
