"""Cells leave napari by File ▸ Save and by the form, and come back with their table and scale."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from napari.layers import Layer
from PIL import Image
from qtpy.QtWidgets import QWidget
from superqt.utils import WorkerBase

from napari_wbcseg import load_result
from napari_wbcseg.errors import OutputError, WBCSegError
from napari_wbcseg.plugin.reader import get_reader
from napari_wbcseg.plugin.review.layer_review import LayerReview
from napari_wbcseg.plugin.segment import save_form
from napari_wbcseg.plugin.segment.save_form import OFFERED, SaveForm
from napari_wbcseg.plugin.shared.file_layers import read_result_layers
from napari_wbcseg.plugin.shared.jobs import Job
from napari_wbcseg.plugin.shared.layers import add_segmentation
from napari_wbcseg.plugin.shared.metadata import METADATA_KEY, role_of
from napari_wbcseg.plugin.shared.saving import LayerSnapshot, save_snapshot
from napari_wbcseg.results.formats.registry import FORMATS

from ..conftest import dark_discs, discs


def save_layer(layer, path, formats=None, *, viewer):
    return save_snapshot(LayerSnapshot.of_layer(layer, viewer), path, formats)


@pytest.fixture
def found(viewer, tmp_path):
    """Open a picture with a scale, and add what was found in it."""
    Image.fromarray(discs()).save(tmp_path / "smear.png")
    (image,) = viewer.open(tmp_path / "smear.png", plugin="napari")
    image.scale, image.units = (0.25, 0.25), ("um", "um")
    return add_segmentation(viewer, dark_discs(image.data), image).cells


def saved_by_dialog(viewer, path, ending):
    """Save the selected layers as the dialog does when our filter for an ending is chosen."""
    from npe2 import PluginManager

    types = [layer._type_string for layer in viewer.layers.selection]
    writers = PluginManager.instance().iter_compatible_writers(types)
    (writer,) = [
        one
        for one in writers
        if one.command.startswith("napari-wbcseg.") and ending in one.filename_extensions
    ]
    return viewer.layers.save(str(path), selected=True, _writer=writer)


def test_file_save_offers_every_format_and_adds_its_ending(viewer, found, tmp_path):
    viewer.layers.selection = {found}
    for ending, files in {
        ".csv": ["a.csv"],
        ".tif": ["a.tif", "a-result.json"],
        ".zarr": ["a.ome.zarr"],
        ".zip": ["a.zip"],
        ".geojson": ["a.geojson"],
        ".json": ["a.json"],
        ".png": ["a.png"],
    }.items():
        folder = tmp_path / ending
        folder.mkdir()
        written = saved_by_dialog(viewer, folder / "a", ending)
        assert [Path(path).name for path in written] == files
        assert sorted(path.name for path in folder.iterdir()) == sorted(files)


def test_endings_of_ours_need_no_plugin_named_and_tiffs_stay_with_napari(viewer, found, tmp_path):
    found.save(str(tmp_path / "a.geojson"))
    measured = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["features"][0]["properties"]
    assert measured["measurements"]["Area µm^2"] == measured["measurements"]["Area px^2"] / 16
    found.save(str(tmp_path / "a.tif"))
    assert not (tmp_path / "a-result.json").exists()
    found.save(str(tmp_path / "b.tif"), plugin="napari-wbcseg")
    assert (tmp_path / "b-result.json").exists()


def test_what_was_saved_opens_with_table_scale_and_origin(viewer, found, tmp_path):
    features, about = found.features, dict(found.metadata[METADATA_KEY])
    save_layer(found, tmp_path / "a", "tiff,ome-zarr", viewer=viewer)
    for name in ("a-labels.tif", "a-result.json", "a.ome.zarr"):
        viewer.layers.clear()
        *_, cells = viewer.open(tmp_path / name, plugin="napari-wbcseg")
        pd.testing.assert_frame_equal(cells.features, features, check_dtype=False)
        np.testing.assert_allclose(cells.scale, 0.25)
        assert [str(unit) for unit in cells.units] == ["micrometer", "micrometer"]
        assert role_of(cells) == "cells"
        assert cells.metadata[METADATA_KEY]["settings"] == about["settings"]
        assert cells.name == "3 white cells of smear"
    assert viewer.layers[0].rgb, "an OME-Zarr brings the image along"
    assert viewer.layers[0].data.shape == discs().shape


def test_labels_that_are_shown_as_a_picture_too_are_saved_from_their_layer(viewer, tmp_path):
    """The layer of the picture, which has the same array, was taken."""
    labels = discs()[..., 0] // 91 % 2
    viewer.add_image(labels)
    viewer.add_labels(labels).save(str(tmp_path / "a.geojson"))
    assert (tmp_path / "a.geojson").exists()


def test_tables_of_a_run_follow_also_in_the_home_folder(viewer, found, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    followed = []
    monkeypatch.setattr("napari_wbcseg.batch.run.renew_tables", followed.append)
    save_layer(found, "~/a", "tiff", viewer=viewer)
    assert followed == [tmp_path]


def test_labels_far_apart_come_back_as_well(viewer, tmp_path):
    labels = np.zeros((40, 50), np.int64)
    labels[3:9, 4:9], labels[20:30, 20:30] = 7, 3_000_000_000
    save_layer(viewer.add_labels(labels), tmp_path / "a", "tiff", viewer=viewer)
    (cells,) = viewer.open(tmp_path / "a-result.json", plugin="napari-wbcseg")
    assert cells.features["index"].tolist() == [0, 7, 3_000_000_000]
    assert cells.features["area"].tolist()[1:] == [30, 100]


def test_a_cell_drawn_with_a_large_number_comes_back(viewer, found, tmp_path):
    """Its features have a column ``index``, which the record need not have."""
    review = LayerReview(viewer, found)
    found.data_setitem(tuple(np.mgrid[100:110, 120:140].reshape(2, -1)), 60_000)
    review.update_now()
    assert "index" in found.features
    for name in ("tiff", "csv", "ome-zarr"):
        save_layer(found, tmp_path / "a", name, viewer=viewer)
    assert "index" not in pd.read_csv(tmp_path / "a-cells.csv")
    assert "index" not in json.loads((tmp_path / "a-result.json").read_text())["cells"]
    for file in ("a-result.json", "a.ome.zarr"):
        *_, cells = viewer.open(tmp_path / file, plugin="napari-wbcseg")
        assert cells.features["index"].tolist() == [0, 1, 2, 3, 60_000]
        assert cells.name.startswith("4 white cells")
    review.close()


def test_a_picture_in_a_zarr_is_read_when_it_is_written(viewer, tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", data=discs())
    image = viewer.add_image(array, rgb=True)
    cells = add_segmentation(viewer, dark_discs(discs()), image).cells
    snapshot = LayerSnapshot.of_layer(cells, viewer)
    assert isinstance(snapshot.image, da.Array)
    files = save_snapshot(snapshot, tmp_path / "a", list(OFFERED))
    assert all(file.exists() for file in files)


def test_other_paths_are_left_to_other_readers(tmp_path):
    (tmp_path / "plain-labels.tif").write_bytes(b"II*\0")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "plain-labels.tif", tmp_path / "folder", [str(tmp_path / "a-result.json")]):
        assert get_reader(path if isinstance(path, list) else str(path)) is None
    (tmp_path / "b-result.json").write_text("{}")
    with pytest.raises(WBCSegError, match="not the record of a result"):
        get_reader(tmp_path / "b-result.json")(str(tmp_path / "b-result.json"))


def test_an_edit_is_saved_as_it_stands_and_what_is_new_is_measured(viewer, found, tmp_path):
    found.data[100:110, 120:140] = 8  # the table knows nothing of it
    (path,) = save_layer(found, tmp_path / "a.csv", viewer=viewer)
    table = pd.read_csv(path).set_index("label")
    assert table["area"].to_dict() == {1: 441, 2: 441, 3: 441, 8: 200}
    assert table.loc[8, "area_um2"] == 12.5
    assert np.isfinite(table.loc[8, "mean_stain"])


def test_a_picture_that_cannot_follow_goes(viewer, found, tmp_path):
    """Without the image it would go on showing the cells that were saved before."""
    save_layer(found, tmp_path / "smear", "tiff,overlay", viewer=viewer)
    viewer.layers.remove("smear")
    save_layer(found, tmp_path / "smear", "tiff", viewer=viewer)
    assert not (tmp_path / "smear-overlay.png").exists()


def test_other_files_of_labels_that_are_saved_anew_follow(viewer, found, tmp_path):
    save_layer(found, tmp_path / "smear", "tiff,overlay,geojson", viewer=viewer)
    before = (tmp_path / "smear-overlay.png").read_bytes()
    found.fill((30, 30), 0)
    save_layer(found, tmp_path / "smear-labels.tif", viewer=viewer)
    assert len(json.loads((tmp_path / "smear.geojson").read_text())["features"]) == 2
    assert (tmp_path / "smear-overlay.png").read_bytes() != before


def test_files_of_others_beside_the_first_labels_stay(viewer, found, tmp_path):
    """Outlines drawn in QuPath, say: nobody was asked whether they may be replaced."""
    yours = [tmp_path / name for name in ("smear.geojson", "smear-cells.csv", "smear-overlay.png")]
    for file in yours:
        file.write_text("mine")
    save_layer(found, tmp_path / "smear-labels.tif", viewer=viewer)
    assert [file.read_text() for file in yours] == ["mine"] * 3


def test_what_a_review_decided_is_saved_at_once(viewer, found, tmp_path):
    review = LayerReview(viewer, found, viewer.layers[0])
    review.accept([(0, 1)])
    save_layer(found, tmp_path / "a", "tiff", viewer=viewer)
    again = load_result(tmp_path / "a-result.json")
    assert again.cells["decision"].eq("accepted").tolist() == [True, False, False]
    assert again.cells["mean_stain"].notna().all()
    assert again.edited, "a decision is to be kept from a run with other settings"
    review.close()


def test_what_nobody_touched_is_not_called_edited(viewer, found, tmp_path):
    save_layer(found, tmp_path / "a", "tiff", viewer=viewer)
    assert not load_result(tmp_path / "a-result.json").edited
    found.data[30, 30] = 2
    save_layer(found, tmp_path / "a", "tiff", viewer=viewer)
    assert load_result(tmp_path / "a-result.json").edited
    viewer.open(tmp_path / "a-result.json", plugin="napari-wbcseg")
    save_layer(viewer.layers[-1], tmp_path / "b", "tiff", viewer=viewer)
    assert load_result(tmp_path / "b-result.json").edited, "also of what was opened and saved again"


def test_a_part_of_the_image_is_saved_with_its_own_pixels(viewer, tmp_path):
    image = viewer.add_image(discs(), rgb=True, scale=(2, 2))
    part = np.zeros((60, 70), np.uint8)
    part[10:20, 10:20] = 1
    cells = viewer.add_labels(part, scale=(2, 2), translate=(2 * 30, 2 * 80))
    np.testing.assert_array_equal(
        LayerSnapshot.of_layer(cells, viewer).image, image.data[30:90, 80:150], strict=True
    )
    assert save_layer(cells, tmp_path / "a.png", viewer=viewer)[0].exists()
    cells.translate = (500, 500)
    assert LayerSnapshot.of_layer(cells, viewer).image is None


TURNS = {
    "rotate": ({"rotate": 30}, (0.25, 0.5)),
    "shear": ({"shear": [0.2]}, None),
    "affine": ({"affine": np.diag([2, 3, 1])}, (0.5, 1.5)),
    "all": ({"rotate": 30, "shear": [0.2], "affine": [[0, 2, 5], [1, 0, 7], [0, 0, 1]]}, None),
    "mirrored": ({"scale": (-0.25, 0.5)}, (0.25, 0.5)),
}


@pytest.mark.parametrize("case", TURNS)
def test_a_layer_that_is_turned_or_stretched_opens_where_it_lay(viewer, found, tmp_path, case):
    turn, size = TURNS[case]
    found.scale, found.translate, found.units = (0.25, 0.5), (3, 4), ("um", "um")
    for name, value in turn.items():
        setattr(found, name, value)
    save_layer(found, tmp_path / "a", "tiff,csv,geojson", viewer=viewer)
    (again,) = [
        Layer.create(*one) for one in read_result_layers(tmp_path / "a-labels.tif") if one[2] == "labels"
    ]
    for point in ((0, 0), (10, 3), (7, 90)):
        np.testing.assert_allclose(again.data_to_world(point), found.data_to_world(point))
    cells = pd.read_csv(tmp_path / "a-cells.csv")
    if size is None:  # a pixel is no rectangle
        assert not [name for name in cells if name.endswith("_um2")]
    else:
        np.testing.assert_allclose(cells["area_um2"], cells["area"] * size[0] * size[1])
    with pytest.raises(OutputError, match="OME-Zarr cannot hold"):
        save_layer(found, tmp_path / "a", "ome-zarr", viewer=viewer)
    assert not (tmp_path / "a.ome.zarr").exists()


class TestForm:
    @pytest.fixture
    def form(self, viewer, found, qtbot):
        form = SaveForm(viewer, lambda: found if found in viewer.layers else None)
        qtbot.addWidget(form)
        return form

    def test_it_starts_with_what_the_preferences_say(self, form):
        assert form.formats == ["tiff", "csv", "overlay"]
        assert set(OFFERED) < set(FORMATS)
        assert form.button.isEnabled()

    def test_formats_in_the_preferences_may_have_blanks_between_them(self, viewer, qtbot, monkeypatch):
        """Of these the first alone was ticked."""
        monkeypatch.setattr(save_form, "preference", lambda name: "tiff, geojson")
        form = SaveForm(viewer, lambda: None)
        qtbot.addWidget(form)
        assert form.formats == ["tiff", "geojson"]

    def test_everything_ticked_is_written_under_the_name(self, form, tmp_path, qtbot):
        form.formats = OFFERED
        with qtbot.waitSignal(form.saved, timeout=60_000) as told:
            form.save(tmp_path / "out" / "smear")
        assert {path.name for path in told.args[0]} == {path.name for path in (tmp_path / "out").iterdir()}
        assert len(told.args[0]) == len(OFFERED) + 1
        assert "smear-labels.tif" in form.message.text()
        assert not form.running
        record = json.loads((tmp_path / "out" / "smear-result.json").read_text(encoding="utf-8"))
        assert record["image"]["path"] == str(tmp_path / "smear.png"), "so that it can be done again"

    def test_of_a_picture_that_is_in_no_file_it_says_what_keeps_it(self, viewer, tmp_path, qtbot):
        image = viewer.add_image(discs(), rgb=True, name="array")
        cells = add_segmentation(viewer, dark_discs(image.data), image).cells
        form = SaveForm(viewer, lambda: cells)
        qtbot.addWidget(form)
        for formats, told in ((["tiff"], True), (["csv"], False), (["tiff", "ome-zarr"], False)):
            form.formats = formats
            with qtbot.waitSignal(form.saved, timeout=60_000):
                form.save(tmp_path / "out" / "smear")
            assert ("The picture is in no file" in form.message.text()) == told

    def test_the_dialog_starts_at_the_image_and_its_answer_is_a_name(
        self, form, tmp_path, qtbot, monkeypatch
    ):
        asked = []

        def answer(parent, title, suggested, *args, **options):
            asked.append(Path(suggested))
            return str(tmp_path / "b-labels.tif"), ""

        monkeypatch.setattr("napari_wbcseg.plugin.segment.save_form.QFileDialog.getSaveFileName", answer)
        form.formats = ["csv"]
        with qtbot.waitSignal(form.saved, timeout=60_000):
            form.button.click()
        assert asked == [tmp_path / "smear"]
        assert (tmp_path / "b-cells.csv").exists()

    def test_a_name_with_a_date_stays_whole(self, form, tmp_path, qtbot, monkeypatch):
        answer = "napari_wbcseg.plugin.segment.save_form.QFileDialog.getSaveFileName"
        form.formats = ["csv"]
        for name, expected in (("smear 28.11", "smear 28.11-cells.csv"), ("other.TIF", "other-cells.csv")):
            monkeypatch.setattr(answer, lambda *_, name=name, **__: (str(tmp_path / name), ""))
            with qtbot.waitSignal(form.saved, timeout=60_000):
                form.button.click()
            assert (tmp_path / expected).exists()

    def test_a_name_that_is_too_long_is_said(self, form, tmp_path, qtbot, monkeypatch):
        answer = "napari_wbcseg.plugin.segment.save_form.QFileDialog.getSaveFileName"
        monkeypatch.setattr(answer, lambda *_, **__: (str(tmp_path / ("n" * 250)), ""))
        with qtbot.waitSignal(form.failed, timeout=60_000) as told:
            form.button.click()
        assert "cannot be written (File name too long)" in told.args[0]

    def test_the_cells_are_saved_that_were_asked_about(self, viewer, found, tmp_path, qtbot, monkeypatch):
        """A run that ended while one chose the name put its own in their place."""
        cells = [found]
        form = SaveForm(viewer, lambda: cells[-1])
        qtbot.addWidget(form)
        form.formats = ["tiff"]

        def answer(*_, **options):
            cells.append(viewer.add_labels(np.zeros((120, 160), np.uint8)))
            return str(tmp_path / "mine"), ""

        monkeypatch.setattr("napari_wbcseg.plugin.segment.save_form.QFileDialog.getSaveFileName", answer)
        with qtbot.waitSignal(form.saved, timeout=60_000):
            form.button.click()
        assert load_result(tmp_path / "mine-labels.tif").count == 3

    def test_all_files_are_written_though_napari_is_closed_meanwhile(
        self, viewer, found, tmp_path, qtbot, monkeypatch
    ):
        """Some were there, and others of before, or none."""
        begun, go_on = threading.Event(), threading.Event()

        def slowly(*given):
            begun.set()
            go_on.wait(20)
            return save_snapshot(*given)

        monkeypatch.setattr(save_form, "save_snapshot", slowly)
        window = QWidget()
        qtbot.addWidget(window)
        form = SaveForm(viewer, lambda: found)
        form.setParent(window)
        form.save(tmp_path / "out" / "smear")
        qtbot.waitUntil(begun.is_set, timeout=20_000)
        for worker in WorkerBase._worker_set:
            worker.quit()  # as napari asks for when it ends
        form.setParent(None)  # as napari leaves what was in a window
        qtbot.addWidget(form)
        go_on.set()
        qtbot.waitUntil(lambda: not Job._running, timeout=60_000)
        assert len([*(tmp_path / "out").iterdir()]) == len(form.formats) + 1

    def test_it_says_why_nothing_can_be_saved(self, form, viewer, found):
        form.formats = []
        assert not form.button.isEnabled()
        assert "Tick" in form.button.toolTip()
        viewer.layers.remove(found)
        form.formats = ["csv"]
        assert "no cells" in form.button.toolTip()

    def test_a_disk_that_says_no_ends_in_a_sentence(self, form, tmp_path, qtbot):
        (tmp_path / "file").write_text("in the way")
        with qtbot.waitSignal(form.failed, timeout=60_000) as told:
            form.save(tmp_path / "file" / "a")
        assert "cannot be written" in told.args[0]
        assert form.button.isEnabled()
