"""A segmentation becomes proposals, probability and cells that lie on their source."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from napari.layers import _layer_actions

from napari_wbcseg.errors import SettingsError
from napari_wbcseg.plugin.shared.layers import add_segmentation, layer_arrays, layers_in_steps, result_layers
from napari_wbcseg.plugin.shared.metadata import role_of
from napari_wbcseg.plugin.shared.viewer import placement

from ..conftest import dark_discs, discs


@pytest.fixture
def stack():
    """Three planes with 1, 0 and 3 cells."""
    return np.stack([discs(centres=[(40, 40)]), discs(centres=[]), discs()])


def test_three_layers_land_with_the_count_in_the_name(viewer):
    source = viewer.add_image(discs(), rgb=True)
    layers = add_segmentation(viewer, dark_discs(source.data), source)
    assert [layer.name for layer in viewer.layers][1:] == [
        "probability of Image",
        "proposals of Image",
        "3 white cells of Image",
    ]
    assert [layer._type_string for layer in (layers.probability, layers.proposals, layers.cells)] == [
        "image",
        "shapes",
        "labels",
    ]
    assert viewer.layers.selection.active is layers.cells
    assert not layers.probability.visible
    assert not layers.proposals.visible


def test_pixels_and_names_instead_of_a_result_and_its_layer_are_a_sentence(viewer):
    source = viewer.add_image(discs(), rgb=True)
    found = dark_discs(source.data)
    for given in ((found, source.data), (found, source.name), (found.labels, source)):
        with pytest.raises(SettingsError, match="give what segment returned, and the image layer it is of"):
            add_segmentation(viewer, *given)
    assert [*viewer.layers] == [source]


def test_layers_copy_scale_translate_units_and_axis_labels(viewer):
    source = viewer.add_image(
        discs(),
        rgb=True,
        scale=(0.25, 0.5),
        translate=(10, -4),
        rotate=30,
        units=("um", "um"),
        axis_labels=("row", "col"),
    )
    layers = add_segmentation(viewer, dark_discs(source.data), source)
    for layer in (layers.proposals, layers.probability, layers.cells):
        np.testing.assert_allclose(layer.scale, source.scale)
        np.testing.assert_allclose(layer.translate, source.translate)
        np.testing.assert_allclose(layer.rotate, source.rotate)
        assert layer.units == source.units
        assert layer.axis_labels == source.axis_labels
        # The same pixel is at the same place in the world.
        np.testing.assert_allclose(layer.data_to_world((7, 9)), source.data_to_world((7, 9)))


def test_what_has_fewer_axes_than_its_source_is_turned_and_stretched_with_it(viewer):
    affine = np.array([[1, 0, 0, 0], [0, 0, -2, 5], [0, 2, 0, 7], [0, 0, 0, 1]])
    source = viewer.add_image(np.zeros((2, 9, 9)), scale=(1, 0.5, 0.5), affine=affine)
    drawn = viewer.add_shapes(ndim=2, **placement(source, 2))
    assert drawn.data_to_world((3, 4)) == pytest.approx(source.data_to_world((0, 3, 4))[1:])


def test_running_again_replaces_the_layers_of_the_same_source_only(viewer):
    first, second = (viewer.add_image(discs(), rgb=True, name=name) for name in "ab")
    add_segmentation(viewer, dark_discs(first.data), first)
    other = add_segmentation(viewer, dark_discs(second.data), second)
    old = result_layers(viewer, first)
    old["probability"].visible = True
    order = [layer._type_string for layer in viewer.layers]

    empty = dark_discs(discs(centres=[(50, 50)]))
    new = add_segmentation(viewer, empty, first)

    assert [layer._type_string for layer in viewer.layers] == order
    assert new.cells.name == "1 white cell of a"
    assert new.probability.visible, "the user had shown it"
    assert result_layers(viewer, first) == old, "the layers are the same, with new content"
    assert new.cells.data.max() == 1
    assert len(new.proposals.data) == 1
    assert other.cells in viewer.layers


def test_a_renamed_result_is_replaced_and_keeps_its_name(viewer):
    source = viewer.add_image(discs(), rgb=True)
    first = add_segmentation(viewer, dark_discs(source.data), source)
    first.cells.name, source.name = "my cells", "slide 7"
    first.cells.paint((5, 5), 2)
    second = add_segmentation(viewer, dark_discs(discs(centres=[(50, 50)])), source)
    assert second.cells is first.cells
    assert second.cells.name == "my cells"
    before = second.cells.data.copy()
    second.cells.undo()
    # Undo does not reach into the earlier run.
    np.testing.assert_array_equal(second.cells.data, before)


def test_results_lie_right_above_their_source(viewer):
    below = viewer.add_image(discs(), rgb=True, name="below")
    viewer.add_image(discs(), rgb=True, name="above")
    add_segmentation(viewer, dark_discs(below.data), below)
    names = [layer.name for layer in viewer.layers]
    assert names == [
        "below",
        "probability of below",
        "proposals of below",
        "3 white cells of below",
        "above",
    ]


def test_an_update_that_is_broken_off_leaves_the_list_as_it_was(viewer):
    source = viewer.add_image(discs(), rgb=True)
    found = dark_discs(source.data)
    steps = layers_in_steps(viewer, found, source, layer_arrays(found))
    next(steps)
    next(steps)
    assert len(viewer.layers) > 1
    steps.close()
    assert list(viewer.layers) == [source]


def test_ten_thousand_cells_land_and_are_drawn_without_conversion(viewer):
    labels = np.zeros((600, 600), np.int32)
    labels[2::6, 2::6] = np.arange(1, 10_001).reshape(100, 100)
    rows, cols = np.nonzero(labels)
    cells = pd.DataFrame({"label": labels[rows, cols], "row": rows, "col": cols, "check": False})
    found = dark_discs(discs(centres=[]))
    boxes = np.stack([rows, cols, rows + 1, cols + 1], axis=1)[:100]
    many = dataclasses.replace(found, labels=labels, cells=cells, proposals=boxes)
    layers = add_segmentation(viewer, many)
    assert layers.cells.name == "10000 white cells"
    assert layers.cells.data.dtype == np.uint16, "napari converts wider labels each time it draws them"
    assert len(layers.cells.features) == 10_001


def test_proposals_run_along_the_edges_of_the_pixels(viewer):
    source = viewer.add_image(discs(centres=[(30, 40)], radius=10), rgb=True)
    layers = add_segmentation(viewer, dark_discs(source.data), source)
    (corners,) = layers.proposals.data
    # Pixels 20..40 and 30..50 are dark.
    np.testing.assert_allclose(corners.min(axis=0), (19.5, 29.5))
    np.testing.assert_allclose(corners.max(axis=0), (40.5, 50.5))


def test_features_have_a_row_for_every_label_and_the_background(viewer):
    segmentation = dark_discs(discs())
    layers = add_segmentation(viewer, segmentation)
    features = layers.cells.features
    assert list(features["label"]) == [0, 1, 2, 3]
    assert list(features["area"])[1:] == list(segmentation.cells["area"])
    assert np.isnan(features["area"][0])
    assert features["check"].dtype == bool
    assert not features["check"][0]


def test_features_stay_in_step_where_numbers_are_missing():
    segmentation = dark_discs(discs())
    labels = segmentation.labels.copy()
    labels[labels == 2] = 0
    cells = segmentation.cells[segmentation.cells["label"] != 2]
    features = layer_arrays(dataclasses.replace(segmentation, labels=labels, cells=cells)).features
    assert list(features["label"]) == [0, 1, 2, 3]
    assert np.isnan(features["area"][2])
    assert features["area"][3] == segmentation.cells["area"][2]


def test_numbers_far_apart_land_with_their_colours(viewer):
    """A ValueError told that NaN is no whole number."""
    found = dark_discs(discs())
    labels, cells = found.labels * 10_000, found.cells.assign(label=found.cells["label"] * 10_000)
    layer = add_segmentation(viewer, dataclasses.replace(found, labels=labels, cells=cells)).cells
    assert layer.features["index"].tolist() == [0, 10_000, 20_000, 30_000]
    assert set(layer.colormap.color_dict) == {None, 0, 10_000, 20_000, 30_000}


def test_a_stack_numbers_its_cells_through(stack):
    segmentation = dark_discs(stack)
    arrays = layer_arrays(segmentation)
    assert [sorted(set(np.unique(plane)) - {0}) for plane in arrays.labels] == [[1], [], [2, 3, 4]]
    assert list(arrays.features["plane"])[1:] == [0, 2, 2, 2]
    for row in arrays.features[1:].itertuples():
        assert arrays.labels[int(row.plane), round(row.row), round(row.col)] == row.label
    assert arrays.rectangles.shape == (4, 4, 3)
    assert segmentation.labels.max() == 3, "the result itself keeps its numbers"


def test_the_canvas_tells_the_count_of_the_plane_shown(viewer, stack):
    source = viewer.add_image(stack, rgb=True, scale=(5, 1, 1))
    layers = add_segmentation(viewer, dark_discs(stack), source)
    viewer.dims.set_current_step(0, 2)
    assert viewer.canvas.overlays.text.text == "plane 2: 3 white cells\nstack: 4 white cells"
    viewer.dims.set_current_step(0, 1)
    assert viewer.canvas.overlays.text.text.startswith("plane 1: 0 white cells")
    viewer.dims.ndisplay = 3
    assert viewer.canvas.overlays.text.text == "4 white cells", "no plane is shown"
    viewer.dims.ndisplay = 2
    assert viewer.canvas.overlays.text.text.startswith("plane 1: 0 white cells")
    viewer.layers.remove(layers.cells)
    assert not viewer.canvas.overlays.text.visible


def test_the_canvas_tells_how_many_to_check(viewer):
    image = discs(centres=[(30, 30), (30, 110)], radius=12)
    image[90:100, 60:70] = 0
    source = viewer.add_image(image, rgb=True)
    add_segmentation(viewer, dark_discs(image), source)
    assert viewer.canvas.overlays.text.text == "3 white cells, 1 to check"
    assert viewer.canvas.overlays.text.visible


def test_the_canvas_tells_that_a_count_is_in_doubt(viewer):
    image = discs(centres=[(30, 30)], radius=12)
    found = dataclasses.replace(
        dark_discs(image), notes=("The background is dark: is it one? Do not trust it.",)
    )
    add_segmentation(viewer, found, viewer.add_image(image, rgb=True))
    assert viewer.canvas.overlays.text.text == "count in doubt, see its notes"


def test_an_image_with_no_cell_gives_empty_layers(viewer):
    source = viewer.add_image(discs(centres=[]), rgb=True)
    layers = add_segmentation(viewer, dark_discs(source.data), source)
    assert layers.cells.name == "0 white cells of Image"
    assert len(layers.proposals.data) == 0
    assert viewer.canvas.overlays.text.text == "0 white cells"
    assert list(layers.cells.features["label"]) == [0]


def test_a_plane_of_a_stack_layer_can_be_placed_on_it(viewer, stack):
    source = viewer.add_image(stack, rgb=True, scale=(5, 0.5, 0.25))
    layers = add_segmentation(viewer, dark_discs(stack[2]), source)
    np.testing.assert_allclose(layers.cells.scale, (0.5, 0.25))


def test_what_napari_makes_of_our_layers_is_the_users(viewer):
    source = viewer.add_image(discs(), rgb=True)
    layers = add_segmentation(viewer, dark_discs(source.data), source)
    viewer.layers.selection = {layers.proposals}
    _layer_actions._convert_to_labels(viewer.layers)
    viewer.layers.selection = {layers.cells}
    _layer_actions._convert_to_image(viewer.layers)
    made = [layer for layer in viewer.layers if layer not in (source, layers.proposals, layers.probability)]
    assert [role_of(layer) for layer in made] == [None, None]
    add_segmentation(viewer, dark_discs(source.data), source)
    assert all(layer in viewer.layers for layer in made)


@pytest.mark.parametrize("plane", [..., 0], ids=["stack", "plane"])
def test_layers_land_while_the_view_is_in_3d(viewer, stack, plane):
    image = stack[plane]
    source, found = viewer.add_image(image, rgb=True), dark_discs(image)
    viewer.dims.ndisplay = 3
    assert add_segmentation(viewer, found, source).proposals.nshapes == len(found.proposals)
    assert add_segmentation(viewer, found, source).proposals.nshapes == len(found.proposals), "and again"


def test_a_projection_of_the_probability_stays(viewer, stack):
    source = viewer.add_image(stack, rgb=True)
    found = add_segmentation(viewer, dark_discs(stack), source)
    viewer.layers.selection.active = found.probability
    _layer_actions._project(viewer.layers)
    projection = viewer.layers[-1]
    assert add_segmentation(viewer, dark_discs(stack), source).probability is found.probability
    assert projection in viewer.layers


def test_cells_land_in_a_layer_of_the_viewer_though_that_of_before_is_removed_on_the_way(viewer):
    image = viewer.add_image(discs(), rgb=True)
    before = add_segmentation(viewer, dark_discs(image.data), image).cells
    found = dark_discs(image.data)
    steps = layers_in_steps(viewer, found, image, layer_arrays(found))
    next(steps)
    viewer.layers.remove(before)
    *_, landed = steps
    assert landed.cells in viewer.layers
    assert landed.cells.data.max() == 3
