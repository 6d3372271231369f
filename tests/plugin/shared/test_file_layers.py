"""Large images in a real viewer: opened lazily, their results on disk opened and corrected part by part."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from napari.layers import Labels
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_wbcseg import Segmentation, load_result, save, segment
from napari_wbcseg.box import Box
from napari_wbcseg.errors import EditError
from napari_wbcseg.images.read import ImageWarning
from napari_wbcseg.network.library import models_folder
from napari_wbcseg.plugin.review import disk_copy
from napari_wbcseg.plugin.review.large_edit import window_on_view
from napari_wbcseg.plugin.review.training_set import field_writer
from napari_wbcseg.plugin.review.widget import ReviewWidget
from napari_wbcseg.plugin.segment.widget import SegmentWidget
from napari_wbcseg.plugin.shared import file_layers, layers, pictures
from napari_wbcseg.plugin.shared.file_layers import read_result_layers
from napari_wbcseg.plugin.shared.jobs import Job
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.plugin.shared.metadata import LayerInfo
from napari_wbcseg.plugin.shared.pictures import source_image
from napari_wbcseg.plugin.shared.saving import LayerSnapshot, save_snapshot
from napari_wbcseg.plugin.shared.unsaved import keep_unsaved
from napari_wbcseg.plugin.shared.unsaved_copies import unsaved_folder
from napari_wbcseg.progress import silent
from napari_wbcseg.results.records import ResultRecord
from napari_wbcseg.segmentation.large import result as large_result
from napari_wbcseg.segmentation.large.result import LargeResult
from napari_wbcseg.segmentation.large.run import segment_large
from napari_wbcseg.settings import SegmentationSettings

from ...drawings import disc_labels, picture, write_dark_robust_model
from ...images.slide_files import write_mirax

SETTINGS = SegmentationSettings(cell_diameter=20.0, split_touching=False)
SHAPE = (1200, 1300)
DISCS = [(50, 60, 20), (60, 330, 21), (250, 80, 19), (1100, 1240, 20)]


@pytest.fixture
def slide(tmp_path):
    """Write a tiled TIFF without a pyramid, its pixels half a micrometre apart."""
    path = tmp_path / "slide.tif"
    per_centimetre = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    image = picture(disc_labels(SHAPE, DISCS))
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb", **per_centimetre)
    return path


@pytest.fixture
def result(slide, tmp_path):
    write_dark_robust_model(models_folder() / "dark.safetensors")
    segment_large(slide, tmp_path / "slide-cells", "dark", SETTINGS)
    return tmp_path / "slide-cells"


@pytest.fixture
def forced(monkeypatch):
    monkeypatch.setattr(file_layers, "_OVERVIEW", 400)


def in_review(viewer, result, qtbot):
    """Open a result, and return the review of its cells."""
    _, cells = viewer.open(result, plugin="napari-wbcseg")
    review = ReviewWidget(viewer)
    qtbot.addWidget(review)
    review.labels = cells
    return review


def test_a_tiff_without_a_pyramid_opens_lazily_from_the_menu(viewer, slide, forced, qtbot, monkeypatch):
    """The window stood still while all of it was read for the coarse levels."""
    from napari._app_model import get_app_model
    from qtpy.QtWidgets import QFileDialog

    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(slide), ""))
    get_app_model().commands.execute_command("napari-wbcseg.open_large").result()
    assert not viewer.layers, "it is read in the background"
    qtbot.waitUntil(lambda: bool(viewer.layers), timeout=20_000)
    (layer,) = viewer.layers
    assert layer.multiscale
    assert layer.rgb
    assert [level.shape[:2] for level in layer.data] == [(1200, 1300), (600, 650), (300, 325)]
    assert not isinstance(layer.data[0], np.ndarray), "full resolution stays in the file"
    assert np.allclose(layer.scale, 0.5)


def test_a_slide_of_a_scanner_opens_with_its_pyramid_and_tells_its_objective(viewer, tmp_path):
    pytest.importorskip("openslide")
    write_mirax(tmp_path / "a.mrxs", picture(disc_labels((512, 640), DISCS[:1])))
    (layer,) = viewer.open(tmp_path / "a.mrxs", plugin="napari-wbcseg")
    assert layer.data.shape == (512, 640, 3)
    assert np.allclose(layer.scale, 0.25)
    panel = SegmentWidget(viewer).panel
    assert "Mirax, objective 40 ×" in panel.about.text()


@pytest.mark.parametrize("kind", ["array", "rgb first"])
def test_a_zarr_opens_lazily_in_colour(viewer, tmp_path, kind):
    image = picture(disc_labels((200, 260), DISCS[:1]))
    path = tmp_path / "slide.zarr"
    zarr.save_array(str(path), np.moveaxis(image, -1, 0) if kind == "rgb first" else image)
    (layer,) = viewer.open(path, plugin="napari-wbcseg")
    assert layer.rgb
    assert not isinstance(layer.data, np.ndarray)
    assert np.array_equal(np.asarray(layer.data), image)


def test_a_zarr_of_several_fields_opens_as_a_stack_and_each_is_counted(viewer, tmp_path, qtbot, forced):
    write_dark_robust_model(models_folder() / "dark.safetensors")
    fields = [picture(disc_labels((300, 460), DISCS[:count])) for count in (1, 2)]
    axes = [{"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "micrometer"}, {"name": "c"}]
    step = [{"type": "scale", "scale": [0.5, 0.5, 1.0]}]
    scales = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": step}]}
    group = zarr.create_group(tmp_path / "fields.zarr", zarr_format=2)
    for number, field in enumerate(fields):
        group.create_group(str(number), attributes={"multiscales": [scales]}).create_array("0", data=field)
    (layer,) = viewer.open(tmp_path / "fields.zarr", plugin="napari-wbcseg")
    assert [level.shape for level in layer.data] == [(2, 300, 460, 3), (2, 150, 230, 3)]
    assert not isinstance(layer.data[1], np.ndarray)
    assert np.array_equal(np.asarray(layer.data[0]), np.stack(fields))
    assert np.allclose(layer.scale, (1, 0.5, 0.5))
    segment = SegmentWidget(viewer)
    qtbot.addWidget(segment)
    segment.model, segment.settings = "dark", SETTINGS
    with qtbot.waitSignal(segment.segmented, timeout=120_000) as found:
        segment.run()
    assert found.args[0].cells["plane"].tolist() == [0, 1, 1]


def test_a_result_opens_with_its_image_and_is_corrected_part_by_part(viewer, result, forced, qtbot):
    image, cells = viewer.open(result, plugin="napari-wbcseg")
    assert cells.name == "4 white cells of slide"
    assert image.multiscale
    assert cells.multiscale
    assert np.allclose(cells.scale, 0.5)
    review = ReviewWidget(viewer)
    qtbot.addWidget(review)
    review.labels = cells
    assert review.review.count == 4
    assert "on disk" in review.message.text()

    row0, col0, row1, col1 = window_on_view(cells)
    assert row0 <= 600 < row1, "the middle of the image is on view"
    assert col0 <= 650 < col1
    part = review.large.correct_part(Box(0, 0, 400, 401))
    assert review.labels is part
    assert np.allclose(part.translate, 0)
    with qtbot.waitSignal(review.review.measured, timeout=30_000):
        review.review.measure()
    assert review.review.count == 3
    review.select([(0, int(part.data[50, 60]))])
    review.reject()
    part.selected_label = 3000  # a cell drawn by hand
    part.paint((300, 300), 3000)
    part.data_setitem(tuple(np.nonzero(disc_labels((400, 401), [(300, 300, 20)]))), 3000)
    qtbot.waitUntil(lambda: list(unsaved_folder().glob("*/cells-result.json")) != [], timeout=30_000)
    with qtbot.waitSignal(review.large.finish().done, timeout=30_000):
        pass
    qtbot.waitUntil(lambda: list(unsaved_folder().glob("*")) == [], timeout=30_000)  # now they are saved
    # The frame of the selected cell goes a moment later: napari was removing layers.
    qtbot.waitUntil(lambda: list(viewer.layers) == [image, cells], timeout=5000)
    assert cells.name == "4 white cells of slide", "one went and one came"
    truth = disc_labels(SHAPE, DISCS)
    truth[truth == 1] = 0
    truth[disc_labels(SHAPE, [(300, 300, 20)]) > 0] = 5
    again = LargeResult.open(result)
    for level, array in enumerate(again.labels.arrays):
        assert np.array_equal(np.asarray(array), truth[:: 2**level, :: 2**level])
    table = pd.read_csv(result / "cells.csv").set_index("label")
    assert list(table.index) == [2, 3, 4, 5]
    assert (table.loc[5, "row"], table.loc[5, "col"]) == pytest.approx((300, 300))
    assert not table.loc[5, "border"]
    assert np.array_equal(np.asarray(cells.data[0]), truth)


def test_a_result_that_moved_with_its_image_opens_with_it(viewer, slide, result, forced, tmp_path):
    moved = tmp_path / "another place"
    moved.mkdir()
    slide.rename(moved / slide.name)
    assert [layer.name for layer in viewer.open(result, plugin="napari-wbcseg")] == ["4 white cells"]
    result.rename(moved / result.name)
    viewer.layers.clear()
    image, cells = viewer.open(moved / result.name, plugin="napari-wbcseg")
    assert (image.name, cells.name) == ("slide", "4 white cells of slide")


def test_segment_knows_the_cells_of_a_result_that_was_opened(viewer, result, forced, qtbot):
    """It offered to segment the slide as if nothing had been found in it."""
    segment = SegmentWidget(viewer)
    qtbot.addWidget(segment)
    image, cells = viewer.open(result, plugin="napari-wbcseg")
    qtbot.waitUntil(lambda: segment.panel.run.text() == "Segment again", timeout=5000)
    assert segment.image is image
    assert segment.panel.result.text() == "4 white cells"
    assert segment.panel.found.text() == "Cell diameter 20 px, as set."
    image.name = "slide of today"
    assert cells.name == "4 white cells of slide of today"


def test_a_slide_whose_name_is_a_date_is_called_by_all_of_it(viewer, slide, forced):
    write_dark_robust_model(models_folder() / "dark.safetensors")
    dated, out = slide.with_name("2024.05.01 a.ome.tif"), slide.with_name("2024.05.01 a-cells")
    segment_large(slide.rename(dated), out, "dark", SETTINGS)
    image, cells = viewer.open(out, plugin="napari-wbcseg")
    assert (image.name, cells.name) == ("2024.05.01 a", "4 white cells of 2024.05.01 a")


@pytest.mark.parametrize("content", [b"", b"II*\0"])
def test_a_result_whose_image_is_damaged_opens_without_it(viewer, slide, result, forced, content):
    slide.write_bytes(content)
    assert [layer.name for layer in viewer.open(result, plugin="napari-wbcseg")] == ["4 white cells of slide"]


def test_that_a_large_result_lies_on_another_picture_of_its_size_is_said(
    viewer, slide, result, qtbot, monkeypatch
):
    """The window stood still while parts of all of the picture were read."""
    said, threads, digest = [], [], large_result.image_digest

    def read(source):
        threads.append(threading.current_thread())
        return digest(source)

    monkeypatch.setattr(pictures, "show_warning", said.append)
    monkeypatch.setattr(large_result, "image_digest", read)
    viewer.open(result, plugin="napari-wbcseg")
    qtbot.waitUntil(lambda: bool(threads) and not Job._running, timeout=20_000)
    assert not said
    other = picture(disc_labels(SHAPE, DISCS))[::-1]
    tifffile.imwrite(slide, other, tile=(128, 128), photometric="rgb")
    viewer.layers.clear()
    opened = viewer.open(result, plugin="napari-wbcseg")
    assert [layer.name for layer in opened] == ["slide", "4 white cells of slide"]
    qtbot.waitUntil(lambda: bool(said), timeout=20_000)
    (words,) = said
    assert "slide.tif is not as it was when these cells were found" in words
    assert threading.main_thread() not in threads


def test_a_window_may_close_while_it_is_read_whose_picture_cells_lie_on(viewer, result, qtbot, monkeypatch):
    go_on, is_another = threading.Event(), large_result.is_of_another
    monkeypatch.setattr(large_result, "is_of_another", lambda *given: go_on.wait(60) and is_another(*given))
    viewer.open(result, plugin="napari-wbcseg")
    qtbot.waitUntil(lambda: bool(Job._running), timeout=20_000)
    viewer.close()
    go_on.set()
    qtbot.waitUntil(lambda: not Job._running, timeout=20_000)


def test_what_was_left_out_of_a_picture_is_kept_with_its_layer(tmp_path):
    Image.new("RGBA", (60, 40)).save(tmp_path / "a.png")
    (info,) = file_layers.image_layer(tmp_path / "a.png", "a")[1]["metadata"].values()
    assert ["alpha" in note for note in info["notes"]] == [True]


def test_a_result_does_not_lie_on_another_picture_in_the_place_of_its_own(tmp_path):
    """Saved again from there, it would have told of that picture."""
    image, file = picture(disc_labels((200, 260), DISCS[:1])), tmp_path / "a.png"
    write_dark_robust_model(tmp_path / "dark.safetensors")
    Image.fromarray(image).save(file)
    found = segment(image, tmp_path / "dark.safetensors", SETTINGS)
    save(found, tmp_path / "a", "tiff", image_path=file)
    assert [kind for *_, kind in file_layers.read_result_layers(tmp_path / "a-labels.tif")] == [
        "image",
        "labels",
    ]
    Image.fromarray(image[::-1]).save(file)
    with pytest.warns(ImageWarning, match=r"a\.png became another picture"):
        ((_, about, kind),) = file_layers.read_result_layers(tmp_path / "a-labels.tif")
    assert kind == "labels"
    cells = Labels(np.zeros(image.shape[:2], int), metadata=about["metadata"], features=about["features"])
    save_snapshot(LayerSnapshot.of_layer(cells), tmp_path / "b", "tiff")
    saved = ResultRecord.read(tmp_path / "b-result.json").image
    assert (saved.path, saved.is_of(file)) == (str(file), False)
    again = load_result(tmp_path / "b-result.json")
    save(again, tmp_path / "c", "tiff")
    assert not ResultRecord.read(tmp_path / "c-result.json").image.is_of(file)
    Image.fromarray(image).save(file)
    assert saved.is_of(file), "once it is there again"


def test_cells_of_a_part_of_a_slide_are_still_of_that_part_when_they_are_opened(tmp_path):
    labels = np.ones((9, 9), np.int32)
    save(Segmentation(labels, pd.DataFrame(), corner=(100, 2000)), tmp_path / "a-labels.tif")
    ((_, about, _),) = file_layers.read_result_layers(tmp_path / "a-labels.tif")
    assert LayerInfo.of(Labels(labels, **about)).corner == (100, 2000)


def test_times_in_colour_that_were_saved_as_zarr_open_as_they_were(tmp_path):
    """Of times and colours the second were taken for the first: the picture was one of strange colours."""
    labels = np.stack([disc_labels((60, 70), [(20, 30, 9)]) * label for label in (1, 2)])
    image = np.stack([picture(plane) for plane in labels])
    tifffile.imwrite(tmp_path / "times.ome.tif", image, photometric="rgb", metadata={"axes": "TYXS"})
    found = Segmentation(labels, pd.DataFrame({"label": [1, 2]}), image_path=tmp_path / "times.ome.tif")
    save(found, tmp_path / "a", "ome-zarr", image=image)
    (data, options, _), _ = read_result_layers(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(data, image)
    assert options["rgb"]


def test_cells_do_not_lie_on_another_picture_of_their_size_that_took_the_place_of_theirs(
    viewer, tmp_path, qtbot
):
    """They found it by its name, and *Save* said that they were found in it."""
    image, file = picture(disc_labels((200, 260), DISCS[:1])), tmp_path / "a.png"
    write_dark_robust_model(tmp_path / "dark.safetensors")
    Image.fromarray(image).save(file)
    found = segment(image, tmp_path / "dark.safetensors", SETTINGS)
    save(found, tmp_path / "a", "tiff", image_path=file)
    Image.fromarray(image[::-1]).save(file)
    with pytest.warns(ImageWarning, match="another picture"):
        (cells,) = viewer.open(tmp_path / "a-labels.tif", plugin="napari-wbcseg")
    viewer.open(file)
    QApplication.processEvents()
    assert source_image(viewer, cells) is None
    save_snapshot(LayerSnapshot.of_layer(cells, viewer), tmp_path / "b", "tiff")
    assert not ResultRecord.read(tmp_path / "b-result.json").image.is_of(file)


def test_what_was_found_in_a_picture_is_not_saved_as_of_another_that_took_its_place(viewer, tmp_path):
    image, file = picture(disc_labels((200, 260), DISCS[:1])), tmp_path / "a.png"
    write_dark_robust_model(tmp_path / "dark.safetensors")
    Image.fromarray(image).save(file)
    (opened,) = viewer.open(file)
    keep_unsaved(viewer)
    found = segment(image, tmp_path / "dark.safetensors", SETTINGS)
    cells = add_segmentation(viewer, found, opened).cells
    Image.fromarray(image[::-1]).save(file)
    for name in "bc":
        save_snapshot(LayerSnapshot.of_layer(cells, viewer), tmp_path / name, "tiff")
        saved = ResultRecord.read(tmp_path / f"{name}-result.json").image
        assert (saved.path, saved.is_of(file)) == (str(file), False)
        if name == "b":
            viewer.layers.remove(opened)


def test_cells_of_a_slide_are_saved_with_the_file_of_their_image(viewer, slide, result, forced, tmp_path):
    """It is not the folder of the result, which is what napari opened."""
    image, cells = viewer.open(result, plugin="napari-wbcseg")
    save_snapshot(LayerSnapshot.of_layer(cells, viewer, image), tmp_path / "again", "tiff")
    assert load_result(tmp_path / "again-result.json").image_path == slide


def test_cells_on_disk_are_looked_at_and_named_in_the_gallery(viewer, result, forced, qtbot):
    _, cells = viewer.open(result, plugin="napari-wbcseg")
    qtbot.waitUntil(lambda: cells.colormap.name == "classes of cells", timeout=5000)
    dock, review = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")
    dock.setFloating(True)
    dock.show()
    review.labels = cells
    review.show_gallery()
    QApplication.processEvents()
    model = review.gallery.model()

    def middle():
        index = model.index(model.row_of((0, 2)))
        return model.data(index, Qt.ItemDataRole.DecorationRole).toImage().pixelColor(30, 30)

    qtbot.waitUntil(lambda: middle().lightness() < 130)  # grey, until the pixels are read
    review.select([(0, 2)])
    review.name("basophil")
    assert not review.panel.buttons["reject"].isEnabled()
    with pytest.raises(EditError, match="on disk"):
        review.reject()

    def kept():
        table = LargeResult.open(result).cells.set_index("label")
        return tuple(table.loc[2, ["class", "class_by"]])

    qtbot.waitUntil(lambda: kept() == ("basophil", "person"), timeout=20_000)
    viewer.layers.clear()
    _, again = viewer.open(result, plugin="napari-wbcseg")
    review.labels = again
    assert review.cells.set_index("label").loc[2, "class"] == "basophil"
    review.undo()
    assert len(LargeResult.open(result).cells) == 4


def test_outlines_of_a_part_lie_on_the_slide(viewer, result, slide, forced, qtbot, tmp_path, monkeypatch):
    review = in_review(viewer, result, qtbot)
    part = review.large.correct_part(Box(200, 40, 400, 401))
    (file,) = save_snapshot(LayerSnapshot.of_layer(part, viewer), tmp_path / "part.geojson")
    (cell,) = json.loads(file.read_text())["features"]
    outline = np.array(cell["geometry"]["coordinates"][0])
    assert outline.mean(axis=0) == pytest.approx((80, 250), abs=3)
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "training"))
    (field,) = field_writer(viewer.layers["part of the image"], part)(silent)
    assert field.group == str(slide), "none is trained on while another of its slide is kept aside"


def test_what_is_said_right_before_a_part_and_in_it_is_kept(viewer, result, forced, qtbot):
    review = in_review(viewer, result, qtbot)
    review.select([(0, 2), (0, 3)])
    review.name("basophil")
    part = review.large.correct_part(Box(0, 0, 400, 401))  # before that is on disk
    with qtbot.waitSignal(review.review.measured, timeout=30_000):
        review.review.measure()
    review.select([(0, 1)])
    review.name("monocyte")
    part.data_setitem(tuple(np.nonzero(disc_labels((400, 401), [(300, 300, 20)]))), 3000)
    part.data_setitem(tuple(index[:3] for index in np.nonzero(part.data == 2)), 0)
    review.review.update_now()
    review.select([(0, 3000)])
    review.name("lymphocyte")
    with qtbot.waitSignal(review.large.finish().done, timeout=30_000):
        pass
    qtbot.wait(1000)  # what else writes the table has written it by then
    table = LargeResult.open(result).cells.set_index("label")
    assert table.loc[[1, 2, 3, 5], "class"].tolist() == ["monocyte", "basophil", "basophil", "lymphocyte"]
    assert table.loc[2, "class_by"] == "person", "though its outline was changed"


def test_what_is_corrected_while_a_part_is_put_back_is_kept(viewer, result, forced, qtbot, monkeypatch):
    review = in_review(viewer, result, qtbot)
    part = review.large.correct_part(Box(0, 0, 400, 401))
    with qtbot.waitSignal(review.review.measured, timeout=30_000):
        review.review.measure()
    go_on, replace = threading.Event(), LargeResult.replace_region
    monkeypatch.setattr(LargeResult, "replace_region", lambda *given: (go_on.wait(), replace(*given))[1])
    review.large.finish()
    part.data_setitem(tuple(np.nonzero(disc_labels((400, 401), [(300, 300, 20)]))), 3000)
    review.select([(0, 1)])
    review.name("monocyte")
    go_on.set()
    qtbot.waitUntil(lambda: part not in viewer.layers, timeout=30_000)
    table = LargeResult.open(result).cells.set_index("label")
    assert len(table) == 5
    assert table.loc[1, "class"] == "monocyte"


def test_what_is_said_of_a_whole_while_a_part_of_it_is_corrected_and_put_back_is_kept(
    viewer, result, forced, qtbot, monkeypatch
):
    """The part brought what it knew of its cells when it was taken, and the table from before was shown."""
    review = in_review(viewer, result, qtbot)
    cells = review.labels
    part = review.large.correct_part(Box(0, 0, 400, 401))
    part.data_setitem(tuple(np.nonzero(disc_labels((400, 401), [(300, 300, 20)]))), 3000)

    def name(cell, class_name):
        review.labels = cells
        review.select([(0, cell)])
        review.name(class_name)
        review.labels = part

    name(1, "basophil")
    go_on, replace = threading.Event(), LargeResult.replace_region
    monkeypatch.setattr(LargeResult, "replace_region", lambda *given: (replace(*given), go_on.wait())[0])
    review.large.finish()
    qtbot.waitUntil(lambda: len(LargeResult.open(result).cells) == 5, timeout=30_000)
    name(2, "monocyte")
    go_on.set()
    qtbot.waitUntil(lambda: part not in viewer.layers and not Job._running, timeout=30_000)
    for table in (LargeResult.open(result).cells, review.cells):
        assert table.set_index("label")["class"].loc[[1, 2]].tolist() == ["basophil", "monocyte"]


def test_a_part_that_is_put_back_without_its_slide_is_measured_on_it(viewer, result, forced, qtbot):
    """A session takes the slide away where one goes to the next picture, and leaves the part."""
    review = in_review(viewer, result, qtbot)
    part = review.large.correct_part(Box(0, 0, 400, 401))
    part.data_setitem(tuple(np.nonzero(disc_labels((400, 401), [(300, 300, 20)]))), 3000)
    viewer.layers.remove(viewer.layers["slide"])
    with qtbot.waitSignal(review.large.finish().done, timeout=30_000):
        pass
    assert LargeResult.open(result).cells["mean_stain"].notna().all()


def test_looking_at_cells_on_disk_changes_no_file(viewer, result, qtbot):
    before = {file: file.stat().st_mtime_ns for file in result.rglob("*")}
    review = in_review(viewer, result, qtbot)
    review.select([(0, 2)])
    qtbot.waitUntil(lambda: not Job._running, timeout=20_000)
    assert {file: file.stat().st_mtime_ns for file in result.rglob("*")} == before


def test_a_table_that_another_program_wrote_is_reviewed(viewer, result, qtbot):
    """A column that it lacked was a KeyError, and whole numbers were none: ``2.0 pieces``."""
    table, file = pd.read_csv(result / "cells.csv"), result / "cells.csv"
    table.assign(pieces=[2, 1, 1, 1]).to_csv(file, index=False)
    assert in_review(viewer, result, qtbot).cells["flag"].tolist() == ["2 pieces", "", "", ""]
    viewer.layers.clear()
    table[["label", "row", "col", "diameter", "certainty", "check"]].to_csv(file, index=False)
    review = in_review(viewer, result, qtbot)
    review.select([(0, 2)])
    review.name("monocyte")
    qtbot.waitUntil(lambda: not Job._running, timeout=20_000)
    assert LargeResult.open(result).cells["class"].tolist() == ["", "monocyte", "", ""]


def test_what_another_window_said_of_other_cells_stays(viewer, result, qtbot):
    review = in_review(viewer, result, qtbot)
    other = LargeResult.open(result)
    other.keep_said(other.cells.assign(**{"class": "blast", "class_by": "person"}).iloc[:1])
    review.select([(0, 2)])
    review.name("monocyte")
    qtbot.waitUntil(lambda: not Job._running, timeout=20_000)
    assert LargeResult.open(result).cells["class"].tolist()[:2] == ["blast", "monocyte"]


def test_that_decisions_cannot_be_kept_is_said_once_until_they_are(viewer, result, qtbot, monkeypatch):
    said = []
    monkeypatch.setattr(disk_copy, "show_error", said.append)
    review = in_review(viewer, result, qtbot)

    def name(cell, class_name):
        """Name a cell, and wait until that is written, or is not."""
        review.select([(0, cell)])
        review.name(class_name)
        qtbot.waitUntil(lambda: not Job._running, timeout=20_000)

    def kept():
        return LargeResult.open(result).cells.set_index("label")["class"].to_dict()

    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", no_room)
        name(1, "basophil")
        name(2, "monocyte")
    (words,) = said
    assert "not being kept" in words
    assert "The disk is full" in words
    name(3, "eosinophil")
    assert [kept()[label] for label in (1, 2, 3)] == ["basophil", "monocyte", "eosinophil"]


def test_the_last_decision_is_kept_where_the_cells_are_closed_while_one_is_written(
    viewer, result, qtbot, monkeypatch
):
    """What was said meanwhile was lost: nobody was left who would have written it."""
    review = in_review(viewer, result, qtbot)
    may_go_on, keep = threading.Event(), LargeResult.keep_said
    monkeypatch.setattr(LargeResult, "keep_said", lambda *given: (may_go_on.wait(60), keep(*given)))
    for cell, class_name in ((1, "basophil"), (2, "monocyte")):
        review.select([(0, cell)])
        review.name(class_name)
        qtbot.wait(100)
    viewer.layers.clear()
    qtbot.wait(100)
    may_go_on.set()
    qtbot.waitUntil(lambda: not Job._running, timeout=20_000)
    kept = LargeResult.open(result).cells.set_index("label")["class"]
    assert (kept[1], kept[2]) == ("basophil", "monocyte")


def test_keys_that_correct_outlines_read_no_slide_on_disk(viewer, result, qtbot, monkeypatch):
    """The buttons are off, but the keys read all of it, and ended in a traceback."""
    review = in_review(viewer, result, qtbot)
    for module in ("layer_review", "widget"):
        monkeypatch.setattr(f"napari_wbcseg.plugin.review.{module}.plane_of", lambda *_: pytest.fail("reads"))
    for action in ("outline_missed", "split"):
        review._act(action)
        assert "are on disk" in review.message.text()
    assert not review.canvas.outlining
    for call in (lambda: review.split(np.zeros((2, 2))), lambda: review.outline_at((600, 600))):
        with pytest.raises(EditError, match="are on disk"):
            call()


def test_a_part_lies_where_the_slide_was_moved_and_none_is_taken_while_one_is_put_back(
    viewer, result, forced, qtbot, monkeypatch
):
    review = in_review(viewer, result, qtbot)
    cells = review.labels
    cells.affine = np.array([[0.0, 2, 100], [-2, 0, 50], [0, 0, 1]])
    part = review.large.correct_part(Box(200, 40, 400, 401))
    for point in ((0, 0), (10, 3)):
        assert np.allclose(part.data_to_world(point), cells.data_to_world(np.add(point, (200, 40))))
    go_on, replace = threading.Event(), LargeResult.replace_region
    monkeypatch.setattr(LargeResult, "replace_region", lambda *given: (go_on.wait(), replace(*given))[1])
    job = review.large.finish()
    viewer.layers.remove(part)
    review.labels = cells
    with pytest.raises(EditError, match="being put back"):
        review.large.correct_part(Box(0, 0, 300, 301))
    go_on.set()
    qtbot.waitUntil(lambda: not job.running, timeout=20_000)
    assert review.large.correct_part(Box(0, 0, 300, 301)) is review.large.part


def test_cells_on_disk_are_not_read_to_know_whether_they_may_be_corrected(viewer, result, monkeypatch):
    _, cells = viewer.open(result, plugin="napari-wbcseg")
    monkeypatch.setattr(layers, "fingerprint", lambda labels: pytest.fail("all of it is read"))
    assert layers.is_corrected(cells)


def test_a_view_that_is_too_large_is_a_sentence(viewer, result, qtbot, monkeypatch):
    monkeypatch.setattr("napari_wbcseg.plugin.review.large_edit.MOST_PIXELS", 10_000)
    review = in_review(viewer, result, qtbot)
    review.large.take.click()
    assert "zoom in" in review.message.text()
