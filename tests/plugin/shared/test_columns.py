"""What the status bar says while the mouse rests on a cell."""

from __future__ import annotations

import numpy as np

from napari_wbcseg.plugin.review.layer_review import LayerReview
from napari_wbcseg.plugin.shared.columns import cell_in_words
from napari_wbcseg.plugin.shared.layers import add_segmentation

from ..conftest import dark_discs, discs


def status_at(viewer, point):
    viewer.mouse_over_canvas = True
    viewer.cursor.position = point
    viewer.update_status_from_cursor()
    return viewer.status["coordinates"]


def test_the_status_bar_says_what_is_worth_knowing_without_exponents(viewer):
    pixels = discs((400, 500), centres=((100, 100), (300, 400)), radius=60)
    image = viewer.add_image(pixels, rgb=True, name="smear")
    cells = add_segmentation(viewer, dark_discs(pixels), image).cells
    said = status_at(viewer, (100, 100))
    assert said == "[100, 100]: 1; diameter 119.9 px, area 11289.0 px², certainty 0.90"
    assert "; " not in status_at(viewer, (10, 10)), "of the background nothing is said"
    image.scale = cells.scale = (0.5, 0.5)
    cells.units = image.units = ("um", "um")
    assert "diameter 59.9 µm, area 2822.2 µm², certainty 0.90" in status_at(viewer, (50, 50))


def test_a_cell_to_check_says_why_first(viewer):
    pixels = discs(radius=7)
    cells = add_segmentation(viewer, dark_discs(pixels), viewer.add_image(pixels, rgb=True)).cells
    assert cell_in_words(cells, 1).startswith("check: unsure, diameter")
    assert cell_in_words(cells, 99) == ""


def test_of_cells_of_one_number_on_two_planes_it_tells_the_one_at_the_mouse(viewer):
    """It told the area of the cell on the first plane."""
    stack = np.stack([discs(), discs()])
    cells = add_segmentation(viewer, dark_discs(stack), viewer.add_image(stack, rgb=True)).cells
    review = LayerReview(viewer, cells)
    viewer.dims.set_point(0, 1)
    cells.brush_size = 20
    cells.paint((1, 60, 60), 1)
    review.update_now()
    assert "area 441.0 px²" in cell_in_words(cells, 1, 0)
    assert "area 349.0 px²" in status_at(viewer, (1, 60, 60))
    review.close()


def test_the_labels_of_others_keep_what_napari_says(viewer):
    labels = viewer.add_labels(np.ones((20, 20), np.uint8), features={"mood": ["", "calm"]})
    add_segmentation(viewer, dark_discs(discs()))
    viewer.layers.selection.active = labels
    assert "mood: calm" in status_at(viewer, (5, 5))
