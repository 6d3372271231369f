"""A saved result comes back whole, and can be had again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from zarr import open_array

from napari_wbcseg import (
    SegmentationSettings,
    differential_of,
    load_result,
    replay,
    save,
    segment,
    segment_large,
)
from napari_wbcseg.classification.naming import said_by_model
from napari_wbcseg.errors import ImageError, ModelError, SettingsError
from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.results.formats.tables import columns_to_table, table_to_columns
from napari_wbcseg.results.load import settings_in
from napari_wbcseg.results.records import ResultRecord
from napari_wbcseg.segmentation.result import Placement

from ..dark_model import spots, write_dark_model
from .conftest import Layer, made


@pytest.mark.parametrize("name", ["a-labels.tif", "a-result.json", "a.ome.zarr"])
def test_labels_table_place_and_origin_come_back(tmp_path, result, labels, name):
    save(result, tmp_path / "a", "tiff,ome-zarr", pixel_size=PixelSize(0.5, 0.25, "µm"))
    back = load_result(tmp_path / name)
    np.testing.assert_array_equal(back.labels, labels)
    pd.testing.assert_frame_equal(back.cells, result.cells)
    assert (back.placement.scale, back.placement.units) == ((0.5, 0.25), ("µm", "µm"))
    assert (back.settings, back.model) == (result.settings, result.model)
    assert (back.cell_diameter, back.class_diameter) == (20.0, 25.0)
    assert (back.notes, back.edited) == (("A note.",), False)


@pytest.mark.parametrize("name", ["a-result.json", "a.ome.zarr"])
def test_cells_of_a_part_of_an_image_lie_where_they_did_when_they_are_opened_and_saved_anew(
    tmp_path, result, name
):
    save(replace(result, corner=(100, 2000)), tmp_path / "a", "tiff,ome-zarr,geojson")
    again = save(load_result(tmp_path / name), tmp_path / "b.geojson")[0]
    geometries = [
        [one["geometry"] for one in json.loads(file.read_text())["features"]]
        for file in (tmp_path / "a.geojson", again)
    ]
    assert geometries[0] == geometries[1]


def test_stacks_and_empty_results_come_back(tmp_path, labels, image):
    stack = made(np.stack([labels * 0, labels]), np.stack([image, image]))
    stack = replace(stack, class_diameter=(20.0, 25.0))
    back = load_result(save(stack, tmp_path / "a-labels.tif")[0])
    assert back.class_diameter == (20.0, 25.0)
    assert back.cells[["plane", "label"]].to_numpy().tolist() == [[1, 3], [1, 9], [1, 700]]
    single = load_result(save(made(labels[None], image[None]), tmp_path / "c-labels.tif")[0])
    assert (single.labels.shape, single.count) == ((1, *labels.shape), 3)
    none = load_result(save(made(labels * 0, image), tmp_path / "b-labels.tif")[0])
    assert len(none.cells) == 0
    assert none.cells["check"].dtype == bool


def test_cells_whose_neighbour_went_or_came_are_told_anew_whether_they_touch_one(tmp_path):
    labels, image = np.zeros((30, 40), np.int32), np.full((30, 40, 3), 200, np.uint8)
    labels[5:15, 5:15], labels[5:15, 15:25], labels[20:28, 30:38] = 1, 2, 3
    path, _ = save(made(labels, image), tmp_path / "a.tif")
    assert load_result(path).cells["touching"].tolist() == [True, True, False]
    tifffile.imwrite(path, np.where(labels == 2, 0, labels).astype(np.uint16))
    assert load_result(path).cells["touching"].tolist() == [False, False]
    labels[18:28, 20:30] = 4
    tifffile.imwrite(path, labels.astype(np.uint16))
    assert load_result(path).cells["touching"].tolist() == [True, True, True, True]


def test_a_cell_that_is_drawn_where_none_was_found_has_no_probabilities(tmp_path, labels, image):
    none = made(labels * 0, image)
    none = replace(none, cells=none.cells.assign(p_lymphocyte=0.5))
    back = load_result(save(none, tmp_path / "a-labels.tif")[0])
    save(replace(back, labels=labels), tmp_path / "a", "tiff")
    again = load_result(tmp_path / "a-result.json")
    assert again.cells["p_lymphocyte"].dtype == float
    assert again.cells["p_lymphocyte"].isna().all()
    save(again, tmp_path / "a", "geojson,csv")
    assert again.count == 3


def test_labels_that_another_program_changed_are_measured(tmp_path, result, labels):
    path, _ = save(result, tmp_path / "a.tif")
    tifffile.imwrite(path, np.where(labels == 3, 0, labels).astype(np.uint16))
    back = load_result(path)
    assert back.cells["label"].tolist() == [9, 700]
    assert back.edited


@pytest.mark.parametrize("photometric", ["miniswhite", "palette"])
def test_labels_that_another_program_saved_in_its_colours_are_their_numbers(
    tmp_path, result, labels, photometric
):
    """ImageJ saves the lookup table with the labels: inverted, the empty slide was a cell."""
    (file, _) = save(result, tmp_path / "a-labels.tif")
    colours = np.random.default_rng(0).integers(0, 2**16, (3, 2**16)).astype(np.uint16)
    options = {"colormap": colours} if photometric == "palette" else {}
    tifffile.imwrite(file, labels.astype(np.uint16), photometric=photometric, **options)
    back = load_result(file)
    np.testing.assert_array_equal(back.labels, labels)
    pd.testing.assert_frame_equal(back.cells, result.cells)
    assert not back.edited


@pytest.mark.parametrize("shades", [2, 256])
def test_labels_that_a_paint_program_saved_with_a_palette_of_greys_are_these(tmp_path, labels, image, shades):
    numbers = np.where(labels == 3, shades - 1, 0).astype(np.uint8)
    (file, _) = save(made(numbers, image), tmp_path / "a-labels.tif")
    picture = Image.fromarray(numbers, mode="P")
    picture.putpalette(np.repeat(range(shades), 3).astype(np.uint8).tobytes())
    picture.save(file)
    back = load_result(file)
    np.testing.assert_array_equal(back.labels, numbers)
    assert not back.edited


def test_a_copy_is_of_its_own_labels_whatever_becomes_of_the_others(tmp_path, result, labels):
    for file in save(result, tmp_path / "a", "tiff"):
        shutil.copy(file, file.with_name(file.name.replace("a-", "before-")))
    save(replace(result, labels=np.where(labels == 3, 0, labels)), tmp_path / "a", "tiff")
    assert load_result(tmp_path / "a-result.json").count == 2
    assert load_result(tmp_path / "before-result.json").count == 3
    assert differential_of(tmp_path / "before-result.json")[0].white_cells == 3


def test_what_a_mac_puts_beside_each_file_on_other_disks_is_no_result(tmp_path, result):
    save(result, tmp_path / "a", "tiff")
    (tmp_path / "._a-result.json").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert differential_of(tmp_path)[0].white_cells == 3


@pytest.mark.parametrize("name", ["a-labels.tif", "a.ome.zarr"])
@pytest.mark.parametrize("stacked", [False, True])
def test_what_was_said_of_a_cell_stays_with_it_where_another_program_drew(
    tmp_path, labels, image, name, stacked
):
    if stacked:
        labels, image = np.stack([labels * 0, labels]), np.stack([image] * 2)
    found = made(labels, image)
    said = {
        "class": ["blast", "stone", "lymphocyte"],
        "class_by": ["person", "person", "model"],
        "class_probability": [1.0, 1.0, 0.9],
        "p_lymphocyte": [0.1, 0.2, 0.9],
        "certainty": [0.4, 0.9, 0.8],
        "check": [False, False, True],
        "decision": ["accepted", "", ""],
    }
    found = replace(found, cells=found.cells.assign(**said))
    files = save(found, tmp_path / name)
    drawn = np.where(labels == 9, 0, labels)
    drawn[..., -60:, :].reshape(-1, 60, 80)[-1, [4, 29, 0], [5, 40, 0]] = 3, 700, 9  # of another cell
    if name.endswith("tif"):
        tifffile.imwrite(files[0], drawn.astype(np.uint16))
    else:
        (full,) = (files[0] / "labels" / "cells").glob("*0")
        open_array(full)[...] = drawn
    cells = load_result(files[0]).cells
    now = cells.set_index("label")
    assert (now["area"] - found.cells.set_index("label")["area"]).loc[[3, 700]].tolist() == [1, 1]
    expected = pd.DataFrame({"label": [3, 9, 700], **said}).set_index("label")
    expected["decision"] = "", "", ""  # was on the outline
    pd.testing.assert_frame_equal(now[[*said]].drop(9), expected.drop(9), check_dtype=False)
    assert now.loc[9, ["class", "class_by", "decision"]].tolist() == ["", "", ""]
    assert (np.isnan(now.at[9, "p_lymphocyte"]), now.at[9, "check"]) == (True, False)
    again = said_by_model(cells, pd.DataFrame({"lymphocyte": [1.0, 1.0, 1.0]}))
    assert again["class"].tolist() == ["blast", "lymphocyte", "lymphocyte"], "no model overwrites a person"


@pytest.mark.parametrize("stacked", [False, True])
def test_cells_that_went_with_a_file_of_an_ome_zarr_are_told_of(tmp_path, stacked):
    drawn = np.zeros((600, 1100), np.int32)  # in chunks of 512
    drawn[20:30, 20:30], drawn[300:310, 505:525], drawn[550:560, 1050:1060] = 3, 9, 700
    drawn = np.stack([drawn * 0, drawn]) if stacked else drawn
    (path,) = save(made(drawn, np.zeros((*drawn.shape, 3), np.uint8)), tmp_path / "a.zarr")
    assert load_result(path).notes == ("A note.",), "of empty parts there never was a file"
    (full,) = (path / "labels" / "cells").glob("*0")
    plane = full / "1" if stacked else full
    (plane / "0" / "1").unlink()
    found = load_result(path)
    assert found.cells["area"].tolist() == [100, 70, 100], "one is cut"
    name = (plane / "0" / "1").relative_to(path).as_posix()
    assert f"The files {name} of {path} are gone" in found.notes[-1]
    (plane / "1" / "2").unlink()
    assert "(3 before, 2 now): unless somebody erased them, put it back" in load_result(path).notes[-1]


def test_labels_that_became_black_and_white_elsewhere_are_to_check(tmp_path, result, labels):
    path, _ = save(result, tmp_path / "a.tif")
    tifffile.imwrite(path, np.where(labels > 0, 255, 0).astype(np.uint8))
    assert load_result(path).cells[["pieces", "check"]].to_numpy().tolist() == [[4, True]]


@pytest.mark.parametrize("planes", [2, 3, 4])
def test_a_stack_that_tifffile_wrote_again_is_the_same_stack(tmp_path, labels, image, planes):
    """It takes three planes for the colours of one, and a fourth for their alpha channel."""
    stack = np.stack([labels] * planes)
    path, _ = save(made(stack, np.stack([image] * planes)), tmp_path / "a-labels.tif")
    corrected = np.where(tifffile.imread(path) == 3, 0, tifffile.imread(path))
    tifffile.imwrite(path, corrected)
    found = load_result(path)
    np.testing.assert_array_equal(found.labels, corrected)
    assert found.count == 3 * planes - 1
    save(found, path)  # which is no picture for its three colours
    np.testing.assert_array_equal(tifffile.imread(path), found.labels)


@pytest.mark.parametrize("name", ["a-result.json", "a.ome.zarr"])
def test_a_result_is_not_of_another_picture_that_took_the_place_of_its_own(tmp_path, result, image, name):
    file = tmp_path / "image.png"
    Image.fromarray(image).save(file)
    save(result, tmp_path / "a", "tiff,ome-zarr", image_path=file)
    assert load_result(tmp_path / name).image_path == file
    Image.fromarray(image[::-1]).save(file)
    back = load_result(tmp_path / name)
    save(back, tmp_path / "b", "tiff")
    assert not ResultRecord.read(tmp_path / "b-result.json").image.is_of(file)
    assert back.image_path is None


def test_what_was_corrected_while_the_image_was_away_is_of_it_when_that_is_back(tmp_path, result, image):
    file = tmp_path / "image.png"
    Image.fromarray(image).save(file)
    save(result, tmp_path / "a", "tiff", image_path=file)
    away = file.rename(tmp_path / "away.png")
    save(load_result(tmp_path / "a-result.json"), tmp_path / "a", "tiff")
    assert ResultRecord.read(tmp_path / "a-result.json").image.is_of(away)


def test_infinity_and_what_is_unknown_survive_json():
    table = pd.DataFrame(
        {"a": [1.0, np.inf, np.nan], "b": [1, 2, 3], "c": [True, False, True], "d": ["x", "", "é"]}
    )
    text = json.dumps(table_to_columns(table), allow_nan=False)
    pd.testing.assert_frame_equal(columns_to_table(json.loads(text)), table, check_dtype=False)


@pytest.mark.parametrize("name", ["inf", "-inf", "nan", "1e5", "NA", ""])
def test_a_class_called_as_a_number_is_a_word(tmp_path, labels, image, name):
    result = made(labels, image)
    result = replace(result, cells=result.cells.assign(**{"class": name}))
    path, _ = save(result, tmp_path / "a-labels.tif")
    assert load_result(path).cells["class"].tolist() == [name] * 3


def test_a_result_is_read_by_the_name_it_was_saved_under(tmp_path, result):
    save(result, tmp_path / "a.b", "csv,tiff")
    assert load_result(tmp_path / "a.b").count == result.count
    save(result, tmp_path / "c", "json")
    with pytest.raises(SettingsError, match="was saved without labels"):
        load_result(tmp_path / "c")


class TestBadFiles:
    def test_what_is_not_there(self, tmp_path, result):
        save(result, tmp_path / "a", "tiff")
        with pytest.raises(SettingsError, match=r"There is no file .*b: give a label image"):
            load_result(tmp_path / "b")
        with pytest.raises(ImageError, match=r"no OME-Zarr .*: of other results give the NAME-result\.json"):
            load_result(tmp_path)

    def test_labels_without_a_record(self, tmp_path, labels):
        tifffile.imwrite(tmp_path / "a-labels.tif", labels)
        with pytest.raises(SettingsError, match=r"NAME-result\.json beside it"):
            load_result(tmp_path / "a-labels.tif")

    def test_a_picture_beside_its_result_is_not_taken_for_the_labels(self, tmp_path, result, labels):
        save(result, tmp_path / "a-labels.tif")
        tifffile.imwrite(tmp_path / "a.tif", np.full(labels.shape, 7, np.uint8))
        with pytest.raises(SettingsError, match="Nothing is known of cells"):
            load_result(tmp_path / "a.tif")

    def test_a_record_without_labels(self, tmp_path, result):
        (path,) = save(result, tmp_path / "a-result.json")
        with pytest.raises(SettingsError, match="without labels"):
            load_result(path)

    @pytest.mark.parametrize("values", [[5.0], [5.0, "big", 5.0], [5.0, [1], 5.0]])
    def test_a_table_that_was_edited_and_is_none_any_more(self, tmp_path, result, values):
        _, file = save(result, tmp_path / "a-labels.tif")
        record = json.loads(file.read_text())
        record["cells"]["area"] = values
        file.write_text(json.dumps(record))
        with pytest.raises(SettingsError, match="is not the record of a result"):
            load_result(file)

    @pytest.mark.parametrize("properties", ["x", [1], [{"label-value": 3, "area": "big"}]])
    def test_properties_of_a_zarr_that_were_edited_and_are_none_any_more(self, tmp_path, result, properties):
        (folder,) = save(result, tmp_path / "a.ome.zarr")
        file = folder / "labels" / "cells" / ".zattrs"
        about = json.loads(file.read_text())
        about["image-label"]["properties"] = properties
        file.write_text(json.dumps(about))
        with pytest.raises(ImageError, match=r"a\.ome\.zarr is no OME-Zarr that napari-wbcseg saved"):
            load_result(folder)

    def test_the_folder_of_a_slide(self, tmp_path):
        model, (picture, _) = write_dark_model(tmp_path / "dark.safetensors"), spots()
        segment_large(picture, tmp_path / "a-cells", model, SegmentationSettings(recipe="classic"))
        with pytest.raises(ImageError, match=r"a-cells is of a large image: open it .* LargeResult\.open of"):
            load_result(tmp_path / "a-cells")

    def test_labels_that_are_no_whole_numbers(self, tmp_path, result, labels):
        path, _ = save(result, tmp_path / "a.tif")
        tifffile.imwrite(path, labels.astype(np.float32))
        with pytest.raises(ImageError, match="its values are float32, not whole numbers"):
            load_result(path)

    def test_files_of_two_results(self, tmp_path, result, labels):
        path, _ = save(result, tmp_path / "a.tif")
        tifffile.imwrite(path, labels[:10])
        with pytest.raises(ImageError, match="different results"):
            load_result(path)

    def test_damaged_labels(self, tmp_path, result):
        save(result, tmp_path / "a", "tiff,ome-zarr")
        files = [path for path in (tmp_path / "a.ome.zarr").rglob("[!.]*") if path.is_file()]
        chunk = max(files, key=lambda path: path.stat().st_size)
        for path in (tmp_path / "a-labels.tif", chunk):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ImageError, match=r"a-labels\.tif cannot be read"):
            load_result(tmp_path / "a-result.json")
        with pytest.raises(ImageError, match=r"a\.ome\.zarr"):
            load_result(tmp_path / "a.ome.zarr")

    def test_labels_of_which_nothing_is_stored(self, tmp_path, result):
        save(result, tmp_path / "a", "tiff,ome-zarr")
        description = next((tmp_path / "a.ome.zarr" / "labels" / "cells").rglob(".zarray"))
        found = json.loads(description.read_text())
        description.write_text(json.dumps({**found, "shape": [10**6, 10**6]}))
        with pytest.raises(ImageError, match=r"a\.ome\.zarr .* cannot hold"):
            load_result(tmp_path / "a.ome.zarr")
        with tifffile.TiffFile(tmp_path / "a-labels.tif", mode="r+") as file:
            for tag in ("ImageWidth", "ImageLength"):
                file.pages.first.tags[tag].overwrite(60_000)
        with pytest.raises(ImageError, match=r"a-labels\.tif .*cannot hold"):
            load_result(tmp_path / "a-result.json")

    def test_a_damaged_record_and_a_foreign_zarr(self, tmp_path):
        (tmp_path / "a-result.json").write_text('{"format": "napari-wbcseg result 1"}')
        with pytest.raises(SettingsError, match="is not the record of a result"):
            load_result(tmp_path / "a-result.json")
        (tmp_path / "b.zarr").mkdir()
        with pytest.raises(ImageError, match="no zarr"):
            load_result(tmp_path / "b.zarr")


class TestReplay:
    @pytest.fixture
    def saved(self, tmp_path):
        """Segment a file with a model of its own, and save what was found."""
        model = write_dark_model(tmp_path / "dark.safetensors")
        picture, _ = spots()
        Image.fromarray(picture).save(tmp_path / "a.png")
        settings = SegmentationSettings(recipe="classic", min_area=300)
        found = segment(picture, model, settings)
        save(
            found,
            tmp_path / "out" / "a",
            "tiff",
            image_path=tmp_path / "a.png",
            model_source=str(tmp_path / "dark.safetensors"),
        )
        return found, tmp_path / "out" / "a-result.json"

    def test_of_a_large_file_the_image_is_taken_that_was(self, saved, tmp_path):
        found, _ = saved
        file, folder = tmp_path / "two.ome.tif", tmp_path / "out" / "two-cells"
        with tifffile.TiffWriter(file, ome=True) as fields:
            for field in (spots()[0], spots()[0][::-1].copy()):
                fields.write(field, photometric="rgb", metadata={"axes": "YXS"})
        model = tmp_path / "dark.safetensors"
        large = segment_large(file, folder, model, found.settings)
        record = ResultRecord.of(replace(large, model_source=str(model)), folder.parent, folder.name)
        again = replay(record.write(folder.parent / "two-result.json"))
        np.testing.assert_array_equal(again.labels, found.labels)

    def test_the_same_cells_are_found_again(self, saved):
        found, path = saved
        again = replay(path)
        np.testing.assert_array_equal(again.labels, found.labels)
        pd.testing.assert_frame_equal(again.cells, found.cells)
        assert again.settings == found.settings
        assert again != found, "whose arrays have no one answer to =="

    def test_it_lies_where_it_lay_and_is_called_as_it_was(self, saved, tmp_path):
        found, path = saved
        known = replace(found, place=Placement.of_pixels(2, PixelSize(0.2, 0.1)), corner=(3, 5))
        save(known, path.with_name("b"), "tiff", image_path=tmp_path / "a.png", name="b",
             model_source=str(tmp_path / "dark.safetensors"))  # fmt: skip
        again = replay(path.with_name("b-result.json"))
        assert (again.placement, again.corner) == (known.placement, (3, 5))
        assert (again.name, again.image_path) == ("b", tmp_path / "a.png")
        again = replay(path.with_name("b-result.json"), image=spots()[0])
        assert (again.placement, again.image_path) == (known.placement, None)
        smaller = replay(path.with_name("b-result.json"), image=spots()[0][:-9])
        assert smaller.place is None, "of another image nobody knows"

    def test_what_is_noted_of_its_file_is_noted_again(self, saved, tmp_path):
        found, path = saved
        depths = np.stack([spots()[0][..., 0], spots()[0][::-1, ::-1, 0]])
        file = tmp_path / "depths.ome.tif"
        tifffile.imwrite(file, depths, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")
        stack = replace(found, labels=np.stack([found.labels] * 2))
        save(stack, path.with_name("b"), "tiff", image_path=file,
             model_source=str(tmp_path / "dark.safetensors"))  # fmt: skip
        assert "one field at several depths of focus" in replay(path.with_name("b-result.json")).notes[0]

    def test_folders_that_moved_together_are_enough(self, saved, tmp_path, tmp_path_factory):
        found, _ = saved
        new = tmp_path_factory.mktemp("elsewhere") / "all"
        tmp_path.rename(new)
        with pytest.raises(ModelError, match="is not here"):
            replay(new / "out" / "a-result.json")
        (tmp_path).mkdir()
        (new / "dark.safetensors").rename(tmp_path / "dark.safetensors")
        assert replay(new / "out" / "a-result.json").count == found.count

    def test_the_image_that_moved_along_is_known_where_another_took_its_place(self, saved, tmp_path):
        _, path = saved
        (tmp_path / "moved").mkdir()
        for name in ("a.png", "out"):
            (tmp_path / name).rename(tmp_path / "moved" / name)
        Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
        found = load_result(tmp_path / "moved" / "out" / path.name)
        assert found.image_path.samefile(tmp_path / "moved" / "a.png")

    def test_an_image_that_changed_or_went_is_a_sentence(self, saved, tmp_path):
        found, path = saved
        Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
        with pytest.raises(ImageError, match="has changed since"):
            replay(path)
        (tmp_path / "a.png").unlink()
        with pytest.raises(ImageError, match="not there any more"):
            replay(path)
        assert replay(path, image=spots()[0]).count == found.count
        save(replace(found, image_path=None), path.with_name("b"), "tiff")
        with pytest.raises(ImageError, match="came from no file: give the image itself"):
            replay(path.with_name("b-result.json"))

    def test_another_image_of_the_file_is_not_taken_for_it(self, saved, tmp_path):
        """Of several in a TIFF napari opens the first, and the largest was segmented in its place."""
        found, path = saved
        with tifffile.TiffWriter(tmp_path / "two.tif") as file:
            for pixels in (spots()[0], np.tile(spots()[0], (2, 2, 1))):
                file.write(pixels, photometric="rgb", metadata=None)
        save(found, path.with_name("two"), "tiff", image_path=tmp_path / "two.tif",
             model_source=str(tmp_path / "dark.safetensors"))  # fmt: skip
        with pytest.raises(ImageError, match="another image in that file"):
            replay(path.with_name("two-result.json"))

    def test_cells_drawn_by_hand_cannot_be_found_again(self, tmp_path, labels):
        _, path = save(Layer(labels), tmp_path / "a.tif")
        with pytest.raises(SettingsError, match="no model found"):
            replay(path)
        with pytest.raises(SettingsError, match="drawn by hand"):
            settings_in(path)
