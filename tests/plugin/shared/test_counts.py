"""The count on the canvas is that of the cells that are seen, whole, and follows every edit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from napari.utils.transforms import Affine

from napari_wbcseg import save
from napari_wbcseg.plugin.controls.panel import open_panel
from napari_wbcseg.plugin.shared.count_on_canvas import fitted
from napari_wbcseg.plugin.shared.counts import REPLACED, counts_of, labels_present
from napari_wbcseg.plugin.shared.layers import add_segmentation, result_layers
from napari_wbcseg.plugin.shared.metadata import LayerInfo
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.result import summary_of
from napari_wbcseg.segmentation.tracking import TrackedCells

from ..conftest import dark_discs, discs


def add_found(viewer, name, **options):
    source = viewer.add_image(discs(**options), rgb=True, name=name)
    return source, add_segmentation(viewer, dark_discs(source.data), source).cells


def shown(viewer):
    overlay = viewer.canvas.overlays.text
    return overlay.text if overlay.visible else None


def test_it_goes_with_its_layer_and_comes_back(viewer):
    _, cells = add_found(viewer, "smear")
    assert shown(viewer) == "3 white cells"
    cells.visible = False
    assert shown(viewer) is None
    cells.visible = True
    assert shown(viewer) == "3 white cells"


def test_of_a_buried_picture_nothing_is_said(viewer):
    add_found(viewer, "below")
    above = viewer.add_image(discs(), rgb=True, name="above")
    assert shown(viewer) is None
    above.opacity = 0.5
    assert shown(viewer) == "below\n3 white cells", "two pictures: it says which one is counted"
    above.opacity = 1
    above.translate = (500, 500)
    viewer.layers.selection.active = above
    assert shown(viewer) == "below\n3 white cells", "it lies beside the other"


def test_what_was_found_in_a_picture_is_called_as_that_is_now(viewer):
    picture, cells = add_found(viewer, "first")
    viewer.add_image(discs(), rgb=True, name="second", translate=(500, 500))
    picture.name = "donor 7"
    assert cells.name == "3 white cells of donor 7"
    assert shown(viewer) == "donor 7\n3 white cells"
    cells.name, picture.name = "mine", "donor 8"
    assert cells.name == "mine", "the user chose it"


def test_of_two_pictures_that_are_seen_the_active_one_counts(viewer):
    _, first = add_found(viewer, "a")
    second, _ = add_found(viewer, "b", centres=((60, 60),))
    for layer in viewer.layers[4:]:
        layer.translate = (0, 300)
    viewer.layers.selection.active = first
    assert shown(viewer) == "a\n3 white cells"
    viewer.layers.selection.active = second
    assert shown(viewer) == "b\n1 white cell"


def test_words_of_the_user_are_left_alone(viewer):
    overlay = viewer.canvas.overlays.text
    overlay.text, overlay.visible = "slide 7", True
    _, cells = add_found(viewer, "smear")
    cells.visible = False
    assert shown(viewer) == "slide 7"


@pytest.mark.parametrize("width", [160, 200, 300, 400, 800])
def test_no_number_is_cut(width):
    text, size = fitted(["12 white cells, and 17 erythroblasts per 100, 2 to check"], width)
    assert max(map(len, text.split("\n"))) * size * 0.9 <= width
    assert size >= 6
    assert text.replace("\n", ", ") == "12 white cells, and 17 erythroblasts per 100, 2 to check"


@pytest.mark.slow
def test_the_picture_of_a_narrow_window_shows_the_whole_line(make_napari_viewer, qtbot):
    """The canvas beside two panels at 1024 × 700 is about 300 pixels wide."""
    viewer = make_napari_viewer(show=True)
    centres = [(20 + 40 * row, 20 + 40 * col) for row in range(3) for col in range(4)]
    image = discs((140, 180), centres)
    image[100:108, 170:178] = 0
    source = viewer.add_image(image, rgb=True, name="smear")
    viewer.window._qt_window.resize(640, 700)
    add_segmentation(viewer, dark_discs(source.data), source)
    qtbot.waitUntil(lambda: "\n" in viewer.canvas.overlays.text.text, timeout=10_000)
    for layer in viewer.layers:
        layer.opacity = 0.0  # leaves the words alone
    viewer.canvas.overlays.text.visible = True
    lit = viewer.screenshot(canvas_only=True, flash=False)[..., :3].max(axis=(0, 2)) > 60
    assert lit.any()
    assert not lit[:4].any()
    assert not lit[-4:].any()


def test_erythroblasts_are_told_apart():
    names = ["lymphocyte"] * 23 + ["erythroblast"] * 2
    table = pd.DataFrame({"class": names, "check": [True, True] + 23 * [False]})
    assert summary_of(table) == "23 white cells, and 8.7 erythroblasts per 100, 2 to check"
    assert summary_of(table[22:24]) == "1 white cell, and 100 erythroblasts per 100"
    assert summary_of(table.drop(columns="class")) == "25 white cells, 2 to check"


def test_the_count_follows_edits_where_no_panel_is_open(viewer, qtbot):
    _, cells = add_found(viewer, "smear")
    with qtbot.waitSignal(counts_of(viewer).changed, timeout=10_000):
        cells.fill((30, 30), 0)
    assert (shown(viewer), cells.name) == ("2 white cells", "2 white cells of smear")


def test_classes_unlike_ordinary_bloods_are_told(viewer):
    source = viewer.add_image(discs(), rgb=True, name="smear")
    found = dark_discs(source.data)
    told = pd.concat([found.cells.assign(**{"class": "lymphocyte"})] * 2, ignore_index=True)
    table = told.assign(label=range(1, len(told) + 1))
    cells = add_segmentation(viewer, found, source).cells
    counts = counts_of(viewer)
    counts.tell(cells, table)
    assert "lymphocyte 100.0 % (at most 45 there)" in counts.classes(cells)[1]


def test_the_legend_follows_edits_and_is_not_told_of_a_count_in_doubt(viewer, qtbot):
    source = viewer.add_image(discs(), rgb=True, name="smear")
    found = dark_discs(source.data)
    told = found.cells.assign(**{"class": ["lymphocyte", "lymphocyte", "monocyte"]})
    cells = add_segmentation(viewer, dataclasses.replace(found, cells=told), source).cells
    counts = counts_of(viewer)
    assert "lymphocyte 2" in counts.classes(cells)[0]
    with qtbot.waitSignal(counts.changed, timeout=10_000):
        cells.fill((30, 30), 0)
    assert "lymphocyte 1" in counts.classes(cells)[0]
    asked = dataclasses.replace(found, cells=told, notes=("Is it one? Then invert it.",))
    assert counts.classes(add_segmentation(viewer, asked, source).cells) == ("", "")


def test_numbers_that_no_cell_has_are_no_cells_of_the_legend(viewer, tmp_path):
    """A result of which a cell was removed opened with one more that has no class."""
    found = dark_discs(discs())
    told = found.cells.assign(**{"class": ["lymphocyte", "lymphocyte", "monocyte"], "class_by": "person"})
    left = dataclasses.replace(found, labels=np.where(found.labels == 2, 0, found.labels), cells=told)
    save(left, tmp_path / "a-labels.tif")
    (cells,) = viewer.open(tmp_path / "a-result.json", plugin="napari-wbcseg")
    assert cells.features["label"].tolist() == [0, 1, 2, 3]
    counts = counts_of(viewer)
    assert counts.words(cells) == "2 white cells"
    assert counts.classes(cells)[0].count("lymphocyte 1") == 1
    assert "no class" not in counts.classes(cells)[0]


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "<i4", ">i8"])
def test_labels_of_any_kind_and_byte_order_are_counted(kind):
    stack = np.array([[[0, 2, 1], [2, 0, 7]], [[0, 0, 0], [3, 3, 3]]], kind)
    assert [labels.tolist() for labels in labels_present(stack, silent)] == [[1, 2, 7], [3]]


def test_labels_below_zero_are_no_cells():
    """Others mark lines between cells by -1; Review counted them as a cell."""
    labels = np.array([[0, 1, 1, -1, 2, 2], [0, 1, 1, -1, 2, 2]])
    assert labels_present(labels, silent)[0].tolist() == [1, 2]
    cells = TrackedCells(labels)
    assert cells.table["label"].tolist() == [1, 2]
    assert cells.table["touching"].tolist() == [True, True], "a gap of one pixel is between them"
    drawn = np.where(labels == 2, -1, labels)
    assert cells.update(drawn).swallowed == {}
    assert cells.table["label"].tolist() == [1]


def test_of_a_picture_that_is_replaced_the_count_is_in_doubt(viewer):
    """The cells of the picture before counted on."""
    source, cells = add_found(viewer, "one")
    source.data = source.data
    assert shown(viewer) == "3 white cells"
    source.data = np.ascontiguousarray(source.data[::-1])
    assert shown(viewer) == "count in doubt, see its notes"
    assert cells.name == "? white cells of one"
    assert LayerInfo.of(cells).notes == (REPLACED,)
    source.data = source.data.copy()
    assert LayerInfo.of(cells).notes == (REPLACED,), "once"
    add_segmentation(viewer, dark_discs(source.data), source)
    assert shown(viewer) == "3 white cells"


def test_cells_and_their_frames_go_where_their_picture_is_moved_to(viewer):
    """As napari's transform tool does it; they stayed behind."""
    source, cells = add_found(viewer, "smear", centres=((30, 30), (30, 110)))
    review = open_panel(viewer, "Review white blood cells")
    review.select([(0, 1)])
    frames = viewer.layers["selected cells"]
    source.affine = Affine(translate=(40, 30), rotate=20)
    assert np.allclose(cells.data_to_world((30, 30)), source.data_to_world((30, 30)))
    assert np.allclose(frames.data_to_world((30, 30)), source.data_to_world((30, 30)))


def test_frames_of_cells_follow_the_size_of_a_pixel(viewer):
    """They stayed in pixels, far from their cells, and napari warned of inconsistent units."""
    source, cells = add_found(viewer, "smear", centres=((30, 30), (30, 110)))
    open_panel(viewer, "Review white blood cells").select([(0, 1)])
    segment = open_panel(viewer, "Segment white blood cells")
    segment.image = source
    segment.panel.pixel_size.value.setValue(0.2)
    frames = viewer.layers["selected cells"]
    assert np.allclose(frames.data_to_world((30, 30)), cells.data_to_world((30, 30)))
    assert viewer.layers.extent.units is not None


def test_a_duplicate_has_a_count_of_its_own(viewer, qtbot):
    _, cells = add_found(viewer, "smear")
    viewer.layers.selection = {cells}
    from napari.layers._layer_actions import _duplicate_layer

    _duplicate_layer(viewer.layers)
    copy = viewer.layers[-1]
    assert copy.name != cells.name
    with qtbot.waitSignal(counts_of(viewer).changed, timeout=10_000):
        copy.fill((30, 30), 0)
    assert copy.name.startswith("2 white cells of smear")
    assert cells.name == "3 white cells of smear"


def test_where_a_duplicate_is_removed_the_cells_are_those_of_their_picture_again(viewer):
    """A session could not save them then, nor ask for it, until they were clicked."""
    from napari.layers._layer_actions import _duplicate_layer

    source, cells = add_found(viewer, "smear")
    viewer.layers.selection = {cells}
    _duplicate_layer(viewer.layers)
    assert result_layers(viewer, source)["cells"] is not cells
    viewer.layers.remove(viewer.layers[-1])
    assert result_layers(viewer, source)["cells"] is cells


def test_a_cell_drawn_on_one_plane_counts_on_that_plane(viewer, qtbot):
    source = viewer.add_image(np.stack([discs(), discs(centres=[(40, 40)])]), rgb=True)
    cells = add_segmentation(viewer, dark_discs(source.data), source).cells
    viewer.dims.set_current_step(0, 1)
    with qtbot.waitSignal(counts_of(viewer).changed, timeout=10_000):
        cells.paint((1, 100, 100), 9)
    assert shown(viewer) == "plane 1: 2 white cells\nstack: 5 white cells"


def test_of_a_stack_in_doubt_no_plane_is_counted(viewer, qtbot):
    source = viewer.add_image(np.stack([discs(), discs(centres=[(40, 40)])]), rgb=True)
    found = dataclasses.replace(dark_discs(source.data), notes=("Is it one? Count again.",))
    cells = add_segmentation(viewer, found, source).cells
    assert shown(viewer) == "count in doubt, see its notes"
    counts = counts_of(viewer)
    assert (counts.words(cells, 0), counts.plane_words(cells)) == ("count in doubt", "")
    with qtbot.waitSignal(counts.changed, timeout=10_000):
        cells.paint((1, 100, 100), 9)
    assert shown(viewer) == "count in doubt, see its notes", "until it is saved"
