"""The pixel size of an image, in the Segment panel: typed, from the file, from a line over the scale bar."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_wbcseg import save
from napari_wbcseg.plugin.segment.pixel_size_field import PixelSizeField
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.plugin.shared.viewer import pixel_size

from ..conftest import dark_discs, discs
from ..review.test_layer_review import soon


@pytest.fixture
def image(viewer):
    """Show an image with its cells, moved to another place; another picture lies beside it."""
    other = viewer.add_image(discs(), rgb=True, name="other")
    assert pixel_size(other) == (1, 1, "px")
    layer = viewer.add_image(discs(), rgb=True, name="smear", translate=(100, 40))
    add_segmentation(viewer, dark_discs(layer.data), layer)
    return layer


@pytest.fixture
def field(viewer, image, qtbot):
    made = PixelSizeField(viewer)
    qtbot.addWidget(made)
    made.follow(image)
    yield made
    made.follow(None)


def test_what_is_typed_holds_for_the_image_and_what_was_found_in_it(viewer, image, field):
    assert (field.value.value(), field.value.text()) == (0, "not known")
    camera = viewer.scene.camera
    centre, zoom = np.array(camera.center), camera.zoom
    field.value.setValue(0.2)
    for layer in viewer.layers:
        expected = (1, 1, "px") if layer.name == "other" else (0.2, 0.2, "µm")
        assert pixel_size(layer) == pytest.approx(expected), layer.name
    assert tuple(image.translate) == pytest.approx((20, 8))
    assert camera.zoom == pytest.approx(5 * zoom), "the view stays where it is"
    assert np.allclose(np.array(camera.center)[-2:], 0.2 * centre[-2:])
    image.scale = (0.5, 0.5)
    assert field.value.value() == 0.5


def test_what_lies_on_other_pictures_keeps_its_size(viewer, image, field, tmp_path):
    """Cells that were opened without their picture, of the same scale by chance, were saved with the size."""
    save(dark_discs(discs()), tmp_path / "another", "tiff")
    viewer.open(tmp_path / "another-result.json", plugin="napari-wbcseg")
    viewer.add_labels(np.zeros((400, 400), int), name="of a larger one")
    viewer.add_labels(np.zeros((120, 160), int), name="drawn", translate=(100, 40))
    viewer.add_shapes([[[100, 40], [110, 50]]], shape_type="line", name="line")
    opened = viewer.layers[-4]
    field.value.setValue(0.2)
    for layer in (opened, viewer.layers["of a larger one"]):
        assert pixel_size(layer) == (1, 1, "px"), layer.name
    for name in ("drawn", "line"):
        assert pixel_size(viewer.layers[name]) == pytest.approx((0.2, 0.2, "µm")), name


def test_labels_with_axes_of_one_place_lie_on_their_picture(viewer, qtbot):
    """As OME-Zarr has them; the size could not be set."""
    image = viewer.add_image(np.zeros((1, 1, 40, 50), np.uint8))
    labels = viewer.add_labels(np.zeros((1, 1, 40, 50), np.uint8))
    field = PixelSizeField(viewer)
    qtbot.addWidget(field)
    field.follow(image)
    field.value.setValue(0.2)
    assert pixel_size(labels) == pytest.approx((0.2, 0.2, "µm"))
    field.follow(None)


def test_a_size_that_is_taken_back_is_not_known_in_the_cells_either(viewer, image, field):
    field.value.setValue(0.2)
    field.value.setValue(0)
    assert field.value.text() == "not known"
    for layer in viewer.layers:
        assert pixel_size(layer) == (1, 1, "px"), layer.name
    assert tuple(image.translate) == pytest.approx((100, 40))


def test_both_sides_of_a_pixel_that_is_no_square_are_shown(viewer, image, field):
    field.set_size(0.5, 0.2)
    assert field.value.text() == "0.2000 × 0.5 µm"
    field.value.lineEdit().setText("0.25 × 0.5 µm")
    field.value.interpretText()
    assert pixel_size(image) == pytest.approx((0.25, 0.25, "µm")), "what is typed is of a square"
    assert field.value.text() == "0.2500 µm"


def test_layers_that_are_linked_get_the_size_once(viewer, image, field):
    viewer.layers.link_layers(viewer.layers)
    field.value.setValue(0.2)
    assert all(np.allclose(layer.scale, 0.2) for layer in viewer.layers)


def test_the_size_is_that_which_files_get_where_an_affine_stretches_the_pixels(viewer, image, field):
    image.affine = [[0, -2, 0], [3, 0, 0], [0, 0, 1]]
    field.value.setValue(0.6)
    assert field.value.value() == 0.6
    assert tuple(image.scale) == pytest.approx((0.2, 0.3))
    assert pixel_size(image) == pytest.approx((0.6, 0.6, "µm"))
    image.affine = [[1, 0.3, 0], [0, 1, 0], [0, 0, 1]]
    assert pixel_size(image) == (1, 1, "px"), "a sheared pixel is no rectangle"


def test_the_length_of_a_line_is_of_the_picture_that_it_was_drawn_in(viewer, image, field, monkeypatch):
    from napari_wbcseg.plugin.segment import pixel_size_field

    other = viewer.add_image(np.zeros((100, 120)))

    def ask(*_):  # while a session shows the next picture
        field.follow(other)
        return 20.0, True

    monkeypatch.setattr(pixel_size_field.QInputDialog, "getDouble", ask)
    field._on_line(np.array([[90.0, 20.0], [90.0, 100.0]]))
    assert pixel_size(other) == (1, 1, "px")


def test_a_line_over_the_scale_bar_gives_it_once_its_length_is_known(viewer, image, field, monkeypatch):
    from napari_wbcseg.plugin.segment import pixel_size_field

    monkeypatch.setattr(pixel_size_field.QInputDialog, "getDouble", lambda *_: (20.0, True))
    said = []
    field.said.connect(said.append)
    field.from_line.trigger()
    tool = viewer.layers.selection.active
    assert tool.mode == "add_path"
    assert said[-1].startswith("Draw a line")
    tool.add([np.array([[90.0, 20.0], [90.0, 60.0], [90.0, 100.0]])], shape_type="path")
    soon(lambda: tool not in viewer.layers)
    assert pixel_size(image) == pytest.approx((0.25, 0.25, "µm"))
    assert said[-1] == ""


@pytest.mark.parametrize("stated", [0.1, None])
def test_the_file_is_asked(viewer, tmp_path, qtbot, stated):
    path, resolution = tmp_path / "smear.tif", None if stated is None else (1e4 / stated,) * 2
    tifffile.imwrite(path, discs(), resolution=resolution, resolutionunit="CENTIMETER" if stated else None)
    (layer,) = viewer.open(path, plugin="napari", layer_type="image", rgb=True)
    field, said = PixelSizeField(viewer), []
    qtbot.addWidget(field)
    field.said.connect(said.append)
    field.follow(layer)
    field.from_file.trigger()
    if stated is None:
        assert said[-1].startswith("No file of this image states")
    assert field.value.value() == (stated or 0)
    field.follow(None)
