"""What `save` writes is read back by the libraries of the formats themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wbcseg import SegmentationSettings, load_result, save, segment
from napari_wbcseg.errors import Cancelled, OutputError, SettingsError
from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.images.read import open_image, read_pixel_size
from napari_wbcseg.plugin.shared.metadata import LayerInfo
from napari_wbcseg.results.formats.pictures import CELL_COLOUR, CHECK_COLOUR
from napari_wbcseg.results.formats.registry import FORMATS, files_of
from napari_wbcseg.results.layer import of_layer
from napari_wbcseg.results.save import with_current_cells
from napari_wbcseg.segmentation.result import Placement

from ..drawings import disc_labels, write_dark_robust_model
from .conftest import Layer, made

SIZE = PixelSize(0.25, 0.25, "µm")
EVERY = ",".join(FORMATS)


def drawn(shape: tuple[int, ...], geometry: object) -> np.ndarray:
    """Return the pixels whose centre lies in a geometry."""
    shapely = pytest.importorskip("shapely")
    rows, columns = np.indices(shape[-2:]) + 0.5
    return shapely.contains_xy(geometry, columns, rows)


def test_all_formats_at_once_are_files_of_one_name(tmp_path, result, image):
    files = save(result, tmp_path / "new" / "smear", EVERY, image=image)
    assert sorted(files) == sorted(files_of(tmp_path / "new" / "smear", EVERY))
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in files}
    assert "smear-labels.tif" in {path.name for path in files}


def test_a_result_of_no_file_is_called_as_its_files_are(tmp_path, result, image):
    nameless = dataclasses.replace(result, name="")
    save(nameless, tmp_path / "smear", "tiff,csv", image=image)
    assert set(pd.read_csv(tmp_path / "smear-cells.csv")["image"]) == {"smear"}
    assert load_result(tmp_path / "smear-result.json").name == "smear"
    save(nameless, tmp_path / "other-cells.csv")
    assert set(pd.read_csv(tmp_path / "other-cells.csv")["image"]) == {"other"}


@pytest.mark.parametrize("stacked", [False, True])
def test_a_cell_is_measured_again_in_the_light_that_it_was_found_in(tmp_path, stacked):
    """A picture on white paper, 10 bits of 16, and in a stack one that needs but 8 beside it."""
    truth = disc_labels((300, 400), [(150, 130, 48), (140, 250, 48)])
    image = np.full((*truth.shape, 3), 255, np.uint16)
    inside = np.s_[60:240, 60:340]
    image[inside] = np.where(truth[inside][..., None] > 0, (70, 20, 80), (207, 192, 202))
    image = np.stack([4 * image, image]) if stacked else 4 * image
    model = write_dark_robust_model(tmp_path / "dark.safetensors")
    settings = SegmentationSettings(cell_diameter=48.0, split_touching=False, classes=None)
    found = segment(image, model, settings)
    assert found.backgrounds[0] == pytest.approx((207, 192, 202), abs=1)
    assert (len(found.backgrounds), found.count) == ((2, 4) if stacked else (1, 2))
    path, _ = save(found, tmp_path / "a-labels.tif")
    layer = Layer(found.labels, metadata=LayerInfo.of_result("cells", found).metadata)
    for one in (found, load_result(path), of_layer(layer)):
        again = with_current_cells(dataclasses.replace(one, cells=found.cells.iloc[:0]), image).cells
        assert again["mean_stain"].tolist() == pytest.approx(found.cells["mean_stain"].tolist(), rel=1e-6)


def test_a_picture_of_which_only_the_pixels_are_known_is_not_written_over(tmp_path, result, image):
    Image.fromarray(image).save(tmp_path / "smear.png")
    tifffile.imwrite(tmp_path / "smear.tif", image, photometric="rgb")
    for name in ("smear.png", "smear.tif"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(OutputError, match=rf"{name} is the picture that the cells were found in"):
            save(dataclasses.replace(result, image_path=None), tmp_path / name, image=image)
        assert (tmp_path / name).read_bytes() == before
    for _ in range(2):
        save(dataclasses.replace(result, image_path=None), tmp_path / "other.png", image=image)


def test_the_picture_is_not_written_over_by_another_spelling_of_its_name(tmp_path, result, image):
    """As on a disk that takes Smear.png and smear.png for one, as those of Macs do."""
    Image.fromarray(image).save(tmp_path / "Smear.png")
    os.link(tmp_path / "Smear.png", tmp_path / "smear.png")
    with pytest.raises(OutputError, match=r"smear.png is the picture that the cells were found in"):
        save(result, tmp_path / "smear.png", image=image, image_path=tmp_path / "Smear.png")


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_of_which_nothing_is_known_is_not_written_over(tmp_path, result, image, mode):
    """One in grey was taken for labels."""
    noise = np.random.default_rng(0).integers(0, 9, image.shape, np.uint8)  # as every camera has
    save(result, tmp_path / "smear", "json")  # a table, of no labels
    for name in ("smear.tif", "smear.jpg"):
        Image.fromarray(image - noise).convert(mode).save(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        with pytest.raises(OutputError, match=rf"{name} is a picture, and no label"):
            save(result, tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    for name in ("ours.tif", "ours.jpg"):
        assert save(result, tmp_path / name) == save(result, tmp_path / name), "our own is written anew"


def test_label_images_of_another_program_may_be_written_over(tmp_path, result):
    tifffile.imwrite(tmp_path / "nuclei.tif", np.ones((9, 9), np.uint16))
    save(result, tmp_path / "nuclei.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "nuclei.tif"), result.labels)


def test_labels_whose_folder_is_gone_are_not_saved_as_empty(tmp_path, result, labels):
    # Zarr takes a file that is not there for zeros.
    zarr.save_array(str(tmp_path / "l.zarr"), labels)
    on_disk = dataclasses.replace(result, labels=zarr.open_array(str(tmp_path / "l.zarr")))
    (tmp_path / "l.zarr").rename(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"l\.zarr, which is gone"):
        save(on_disk, tmp_path / "smear", "tiff")


def test_where_labels_are_that_are_too_large_to_be_saved_is_said(tmp_path, result, labels, monkeypatch):
    """Of a slide that was found in napari it was said that they are on disk already, but not where."""
    monkeypatch.setattr("napari_wbcseg.results.save._MAX_PIXELS", 10)
    zarr.save_array(str(tmp_path / "l.zarr"), labels)
    on_disk = dataclasses.replace(result, labels=zarr.open_array(str(tmp_path / "l.zarr")))
    with pytest.raises(OutputError, match=r"save a part\. All of them are") as told:
        save(on_disk, tmp_path / "smear", "tiff")
    assert str(told.value).endswith(f"in {tmp_path}.")
    with pytest.raises(OutputError, match=r"save a part\.$"):
        save(result, tmp_path / "smear", "tiff")


@pytest.mark.parametrize("name", ["smear-labels.tif", "smear.tif"])
def test_other_files_of_labels_that_are_saved_anew_follow(tmp_path, result, labels, image, name):
    save(result, tmp_path / name)
    save(result, tmp_path / "smear", [one for one in FORMATS if one != "tiff"], image=image)
    corrected = dataclasses.replace(result, labels=np.where(labels == 3, 0, labels))
    save(corrected, tmp_path / name, image=image)
    assert (tmp_path / "smear-overlay.png").exists()
    save(corrected, tmp_path / name)
    assert not (tmp_path / "smear-overlay.png").exists(), "rather no picture than one of other cells"
    assert load_result(tmp_path / "smear.ome.zarr").count == 2
    assert pd.read_csv(tmp_path / "smear-cells.csv")["label"].tolist() == [9, 700]
    assert len(json.loads((tmp_path / "smear.geojson").read_text())["features"]) == 2


TURNED = Placement((1, 1), (0, 0), ("pixel", "pixel"), affine=((0, -1, 0), (1, 0, 0), (0, 0, 1)))


def test_what_a_format_cannot_hold_is_said_before_any_file_is_written(tmp_path, result, labels):
    turned = dataclasses.replace(result, place=TURNED)
    with pytest.raises(OutputError, match=r"is rotated, .* save without .*a\.ome\.zarr"):
        save(turned, tmp_path / "a", "tiff,csv,ome-zarr")
    with pytest.raises(OutputError, match="regions end at 60535 pixels"):
        save(dataclasses.replace(result, corner=(0, 60_500)), tmp_path / "a", "tiff,roi")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a-cells.csv").mkdir()
    with pytest.raises(OutputError, match=r"a-cells\.csv is a folder"):
        save(result, tmp_path / "a", "tiff,csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a-cells.csv"]


def test_so_is_that_a_file_beside_the_labels_cannot_follow_them(tmp_path, result, labels):
    save(result, tmp_path / "a", "tiff,ome-zarr")
    fewer = dataclasses.replace(result, labels=np.where(labels == 3, 0, labels), place=TURNED)
    with pytest.raises(OutputError, match=r"save without .*a\.ome\.zarr"):
        save(fewer, tmp_path / "a", "tiff")
    assert load_result(tmp_path / "a-labels.tif").count == load_result(tmp_path / "a.ome.zarr").count == 3


def test_pictures_of_a_stack_follow_its_labels(tmp_path, labels, image):
    pictures = np.stack([image, image[::-1]])
    stack = made(np.stack([labels, labels[::-1]]), pictures)
    files = save(stack, tmp_path / "a", "overlay,mask,tiff", image=pictures)[:4]
    before = [file.read_bytes() for file in files]
    corrected = dataclasses.replace(stack, labels=np.where(stack.labels == 700, 0, stack.labels))
    assert set(files) < set(save(corrected, tmp_path / "a", "tiff", image=pictures))
    assert all(file.read_bytes() != old for file, old in zip(files, before, strict=True))
    save(corrected, tmp_path / "a", "tiff")
    assert [file.exists() for file in files] == [False, False, True, True]


def test_pictures_of_a_stack_go_with_its_cells(tmp_path, labels, image):
    def there() -> set[str]:
        return {path.name.removeprefix("a-") for path in tmp_path.glob("a-*.png")}

    pictures = np.stack([image] * 11)
    stack = made(np.stack([labels] * 11), pictures)
    fewer = made(stack.labels[:2], pictures[:2])
    (tmp_path / "a-plane-0-result.json").touch()
    (tmp_path / "a-plane-0-overlay.png").touch()
    for formats in ("tiff", "tiff,overlay"):  # that was asked for, or follows
        save(stack, tmp_path / "a", "tiff,overlay", image=pictures)
        save(made(labels, image), tmp_path / "a", formats, image=image)
        assert there() == {"overlay.png", "plane-0-overlay.png"}, "another image may be called a-plane-0"
    (tmp_path / "a-plane-0-result.json").unlink()
    save(stack, tmp_path / "a", "tiff", image=pictures)
    save(fewer, tmp_path / "a", "tiff", image=pictures[:2])
    assert there() == {"plane-0-overlay.png", "plane-1-overlay.png"}


def test_labels_do_not_take_the_record_of_others(tmp_path, result, labels):
    named = dataclasses.replace(result, cells=result.cells.assign(**{"class": "blast", "class_by": "person"}))
    other = dataclasses.replace(result, labels=np.where(labels == 3, 0, labels))
    for mine, theirs in (("smear-labels.tif", "smear.tif"), ("field.tif", "field-labels.tif")):
        save(named, tmp_path / mine)
        with pytest.raises(OutputError, match=f"The record of .*{theirs} would be that of .*{mine}"):
            save(other, tmp_path / theirs)
        assert load_result(tmp_path / mine).cells["class"].eq("blast").all()
        assert not (tmp_path / theirs).exists()
        save(other, tmp_path / mine)
    for end in ("-labels.tif", "-result.json"):  # which goes on saying what its labels were called
        shutil.copy(tmp_path / f"smear{end}", tmp_path / f"copy{end}")
    assert save(named, tmp_path / "copy", "tiff")


def test_a_table_that_is_saved_alone_leaves_the_other_files_as_they_are(tmp_path, result, image):
    files = save(result, tmp_path / "smear", "tiff,geojson,overlay", image=image)
    before = [file.read_bytes() for file in files]
    other = dataclasses.replace(result, labels=np.roll(result.labels, 3, axis=1))
    save(other, tmp_path / "smear", "csv")
    assert [file.read_bytes() for file in files] == before


def test_files_of_others_beside_the_first_labels_stay(tmp_path, result):
    (tmp_path / "smear.geojson").write_text("mine")
    save(result, tmp_path / "smear", "tiff")
    assert (tmp_path / "smear.geojson").read_text() == "mine"


@pytest.mark.parametrize("planes", [1, 3])
def test_a_record_alone_of_the_same_stack_is_written(tmp_path, result, planes):
    labels = np.stack([np.where(result.labels == 3, 1 + plane, 0) for plane in range(planes)])
    stack = dataclasses.replace(result, labels=labels, cells=None, backgrounds=())
    saved, record = save(stack, tmp_path / "smear", "tiff")
    tifffile.imwrite(saved, np.moveaxis(labels, 0, -1).astype(np.uint8))  # by another program
    assert save(stack, tmp_path / "smear", "json") == [record]


def test_a_record_alone_does_not_take_the_place_of_that_of_other_cells(tmp_path, result):
    """Classes and decisions of the cells in the labels beside it were gone."""
    _, record = save(result, tmp_path / "smear", "tiff")
    before = record.read_bytes()
    other = dataclasses.replace(result, labels=np.roll(result.labels, 3, axis=1))
    for path, formats in ((tmp_path / "smear", "csv,json"), (record, None)):
        with pytest.raises(OutputError, match=r"smear-labels\.tif, which are others: save the labels too"):
            save(other, path, formats)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["smear-labels.tif", "smear-result.json"]
    assert record.read_bytes() == before
    save(dataclasses.replace(result, notes=("of these very cells",)), tmp_path / "smear", "json")
    assert load_result(record).notes == ("of these very cells",)
    colours = np.random.default_rng(0).integers(0, 2**16, (3, 2**16)).astype(np.uint16)
    numbers = result.labels.astype(np.uint16)  # as ImageJ saves them with a lookup table
    tifffile.imwrite(tmp_path / "smear-labels.tif", numbers, photometric="palette", colormap=colours)
    save(result, tmp_path / "smear", "json")
    save(other, tmp_path / "smear", "tiff,json")


def test_a_record_alone_goes_on_telling_of_labels_by_any_name(tmp_path, result, labels):
    """It forgot those in NAME.tif, and with them that it must not be written over."""
    save(result, tmp_path / "smear.tif")
    (record,) = save(dataclasses.replace(result, notes=("of these cells",)), tmp_path / "smear", "json")
    assert (load_result(record).count, load_result(record).notes) == (3, ("of these cells",))
    with pytest.raises(OutputError, match=r"smear\.tif, which are others: save the labels too"):
        save(dataclasses.replace(result, labels=np.roll(labels, 3, axis=1)), record)


def test_the_record_of_a_large_image_is_not_written_over(tmp_path, result):
    (record,) = save(result, tmp_path / "slide", "json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "labels": "slide-cells"}))
    (tmp_path / "slide-cells").mkdir()
    before = record.read_bytes()
    for formats in ("json", "tiff"):
        with pytest.raises(OutputError, match=r"slide-cells.*choose another name"):
            save(result, tmp_path / "slide", formats)
    assert record.read_bytes() == before
    assert not (tmp_path / "slide-labels.tif").exists()


@pytest.mark.parametrize("name", ["smear.tif", "smear.png"])
def test_the_picture_itself_is_not_written_over(tmp_path, result, image, name):
    Image.fromarray(image).save(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(OutputError, match="choose another name"):
        save(result, tmp_path / name, image=image, image_path=tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


def test_the_table_has_a_row_a_cell_in_pixels_and_micrometres(tmp_path, result):
    (path,) = save(result, tmp_path / "a.csv", pixel_size=SIZE, name="smear 1")
    table = pd.read_csv(path)
    assert list(table.columns[:2]) == ["image", "label"]
    assert table["label"].tolist() == [3, 9, 700]
    assert table["area"].tolist() == [209, 50, 400]
    np.testing.assert_allclose(table["area_um2"], table["area"] / 16)
    np.testing.assert_allclose(table["diameter_um"], table["diameter"] / 4, rtol=1e-5)
    assert table["check"].tolist() == [False, True, False]
    plain = pd.read_csv(save(result, tmp_path / "b.csv")[0])
    assert not [name for name in plain if "um" in name.split("_")]


def test_the_label_image_keeps_its_scale(tmp_path, result, labels):
    path, record = save(result, tmp_path / "a-labels.tif", pixel_size=SIZE)
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    assert read_pixel_size(path) == pytest.approx(SIZE)
    assert json.loads(record.read_text(encoding="utf-8"))["labels"] == "a-labels.tif"


class TestQuPath:
    def features(self, path: Path) -> list[dict]:
        collection = json.loads(path.read_text(encoding="utf-8"))
        assert collection["type"] == "FeatureCollection"
        return collection["features"]

    def test_each_cell_is_a_detection_with_class_and_measurements(self, tmp_path, result):
        features = self.features(save(result, tmp_path / "a.geojson", pixel_size=SIZE)[0])
        about = [feature["properties"] for feature in features]
        assert {one["objectType"] for one in about} == {"detection"}
        assert [one["name"] for one in about] == ["3", "9", "700"]
        assert [one["classification"]["name"] for one in about] == [
            "White blood cell",
            "White blood cell: To check",
            "White blood cell",
        ]
        assert about[1]["classification"]["color"] == list(CHECK_COLOUR)
        measured = about[2]["measurements"]
        assert (measured["Area px^2"], measured["Area µm^2"], measured["Certainty"]) == (400, 25, 0.8)
        assert all(np.isfinite(list(one["measurements"].values())).all() for one in about)
        assert len({feature["id"] for feature in features}) == 3

    def test_shapely_finds_the_very_pixels_holes_and_pieces_too(self, tmp_path, result, labels):
        shapely = pytest.importorskip("shapely")
        for feature in self.features(save(result, tmp_path / "a.geojson")[0]):
            shape = shapely.from_geojson(json.dumps(feature["geometry"]))
            assert shape.is_valid
            label = int(feature["properties"]["name"])
            np.testing.assert_array_equal(drawn(labels.shape, shape), labels == label)

    def test_cells_of_a_stack_lie_in_their_plane(self, tmp_path, labels, image):
        stack = made(np.stack([labels, labels[::-1]]), np.stack([image, image[::-1]]))
        features = self.features(save(stack, tmp_path / "a.geojson")[0])
        assert [feature["geometry"]["plane"]["z"] for feature in features] == [0, 0, 0, 1, 1, 1]
        assert len({feature["id"] for feature in features}) == 6

    @pytest.mark.parametrize(
        ("axes", "planes"),
        [("Z", [(0, 0), (1, 0), (2, 0), (3, 0)]), ("T", [(0, 0), (0, 1), (0, 2), (0, 3)]),
         ("TZ", [(0, 0), (1, 0), (0, 1), (1, 1)])],
    )  # fmt: skip
    def test_planes_are_what_the_file_says_as_qupath_opens_it(self, tmp_path, labels, image, axes, planes):
        file, sides = tmp_path / "a.ome.tif", (2, 2) if len(axes) == 2 else (4,)
        stack = np.stack([image] * 4).reshape(*sides, *image.shape)
        tifffile.imwrite(file, stack, photometric="rgb", metadata={"axes": f"{axes}YXS"})
        found = made(np.stack([labels == 3] * 4).astype(np.uint8), np.stack([image] * 4))
        features = self.features(save(found, tmp_path / "a.geojson", image_path=file)[0])
        assert [(one["z"], one["t"]) for one in (each["geometry"]["plane"] for each in features)] == planes
        place = Placement((2.0, 0.5, 0.5), (7.0, 8.0, 9.0), ("pixel", "µm", "µm"))
        found, plane, pixels = (
            dataclasses.replace(found, place=place),
            axes[-1].lower(),
            np.stack([image] * 4),
        )
        (zarred,) = save(found, tmp_path / "a.ome.zarr", image=pixels, image_path=file)
        save(found, zarred, image_path=file)  # again: its image stays
        known = {plane: [2.0, 7.0], "y": [0.5, 8.0], "x": [0.5, 9.0], "c": [1.0, 0.0]}
        for group, order in {"": "tcyx" if plane == "t" else "czyx", "labels/cells": f"{plane}yx"}.items():
            about = zarr.open_group(zarred / group, mode="r").attrs["multiscales"][0]
            assert "".join(axis["name"] for axis in about["axes"]) == order
            scale, moved = about["datasets"][0]["coordinateTransformations"]
            lies = np.transpose([scale["scale"], moved["translation"]]).tolist()
            assert lies == [known[axis] for axis in order]
        np.testing.assert_array_equal(np.asarray(open_image(zarred).levels[0]), pixels)


class TestImageJ:
    def test_roifile_reads_the_very_pixels_holes_and_pieces_too(self, tmp_path, result, labels):
        roifile = pytest.importorskip("roifile")
        shapely = pytest.importorskip("shapely")
        rois = roifile.roiread(save(result, tmp_path / "a.zip")[0])
        assert [roi.name for roi in rois] == ["cell-00003", "cell-00009-check", "cell-00700"]
        for roi, label in zip(rois, (3, 9, 700), strict=True):
            # ImageJ fills a path by the even-odd rule.
            shape = shapely.Polygon()
            for ring in roi.coordinates(multi=True):
                shape = shape.symmetric_difference(shapely.Polygon(ring))
            np.testing.assert_array_equal(drawn(labels.shape, shape), labels == label)
            rows, columns = np.nonzero(labels == label)
            box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            assert (roi.top, roi.left, roi.bottom, roi.right) == box
        assert rois[2].roitype == roifile.ROI_TYPE.TRACED
        assert rois[1].composite
        assert [tuple(roi.stroke_color[1:]) for roi in rois] == [CELL_COLOUR, CHECK_COLOUR, CELL_COLOUR]

    def test_cells_of_a_stack_have_the_position_of_their_slice(self, tmp_path, labels, image):
        roifile = pytest.importorskip("roifile")
        stack = made(np.stack([labels * 0, labels]), np.stack([image, image]))
        rois = roifile.roiread(save(stack, tmp_path / "a.zip")[0])
        assert [roi.position for roi in rois] == [2, 2, 2]

    def test_an_image_beyond_its_reach_is_refused(self, tmp_path):
        wide = Layer(np.zeros((1, 70_000), np.uint8))
        with pytest.raises(OutputError, match="GeoJSON"):
            save(wide, tmp_path / "a.zip")


class TestOmeZarr:
    def nodes(self, path: Path) -> dict[str, object]:
        pytest.importorskip("ome_zarr")
        from ome_zarr.format import FormatV04
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader

        found = list(Reader(parse_url(str(path), fmt=FormatV04()))())
        return {Path(str(node.zarr).split(" ")[0]).name: node for node in found}

    def test_ome_zarr_reads_image_labels_scale_and_measurements(self, tmp_path, result, labels, image):
        (path,) = save(result, tmp_path / "a.ome.zarr", image=image, pixel_size=SIZE)
        nodes = self.nodes(path)
        np.testing.assert_array_equal(np.asarray(nodes["cells"].data[0]), labels)
        np.testing.assert_array_equal(np.asarray(nodes["a.ome.zarr"].data[0]), np.moveaxis(image, -1, 0))
        about = nodes["cells"].metadata
        assert [axis.get("unit") for axis in about["axes"]] == ["micrometer", "micrometer"]
        assert about["coordinateTransformations"][0][0]["scale"] == [0.25, 0.25]
        assert about["properties"][700]["area"] == 400
        assert about["properties"][9]["check"] is True

    def test_image_and_labels_lie_where_their_layer_did_in_its_units(self, tmp_path, labels, image):
        layer = Layer(labels, scale=(2, 3), translate=(50, 70), units=("angstrom", "inch"))
        nodes = self.nodes(save(layer, tmp_path / "a.ome.zarr", image=image)[0])
        for name, colour in (("cells", []), ("a.ome.zarr", [0])):
            scale, place = nodes[name].metadata["coordinateTransformations"][0]
            assert (scale["scale"][-2:], place["translation"]) == ([2, 3], [*colour, 50, 70])
            assert [axis["unit"] for axis in nodes[name].metadata["axes"][-2:]] == ["angstrom", "inch"]

    @pytest.mark.parametrize(
        ("channels", "dtype", "names", "top"),
        [
            (4, np.uint8, ["red", "green", "blue"], 255),
            (3, np.uint16, ["red", "green", "blue"], 230),
            (1, np.uint8, None, None),
        ],
    )
    def test_other_programs_find_as_many_colours_as_are_named(
        self, tmp_path, result, image, channels, dtype, names, top
    ):
        picture = np.dstack([image, image[..., 0]])[..., :channels].astype(dtype)
        node = self.nodes(save(result, tmp_path / "a.ome.zarr", image=picture)[0])["a.ome.zarr"]
        assert node.metadata.get("channel_names") == names
        assert node.data[0].shape == (*([3] if names else []), 60, 80)
        assert node.metadata.get("contrast_limits") == (names and [[0, top]] * 3)

    @pytest.mark.parametrize("grey", [False, True])
    def test_the_picture_in_it_stays_where_its_cells_are_saved_without_it(
        self, tmp_path, result, labels, image, grey
    ):
        picture = image[..., 0] if grey else image
        (path,) = save(result, tmp_path / "a.ome.zarr", image=picture)
        corrected = dataclasses.replace(result, labels=np.where(labels == 9, 0, labels), name="a")
        save(corrected, path)
        nodes = self.nodes(path)
        there = np.asarray(nodes["a.ome.zarr"].data[0])
        np.testing.assert_array_equal(there if grey else np.moveaxis(there, 0, -1), picture)
        assert set(np.unique(np.asarray(nodes["cells"].data[0]))) == {0, 3, 700}
        save(dataclasses.replace(corrected, name="another"), path)  # whose picture would not be its own
        assert "a.ome.zarr" not in self.nodes(path)

    def test_labels_alone_and_a_stack_are_written(self, tmp_path, labels, image):
        stack = made(np.stack([labels, labels * 0]), np.stack([image, image]))
        (path,) = save(stack, tmp_path / "a.ome.zarr")
        import zarr

        cells = zarr.open_group(str(path), mode="r")["labels/cells"]
        assert [array.shape for _, array in cells.arrays()] == [(2, 60, 80)]

    def test_large_ones_are_pyramids(self, tmp_path):
        import zarr

        (path,) = save(Layer(np.zeros((600, 1100), np.uint8)), tmp_path / "a.ome.zarr")
        group = zarr.open_group(str(path), mode="r")["labels/cells"]
        assert [group[name].shape for name in sorted(group.array_keys())] == [(600, 1100), (300, 550)]

    def test_it_replaces_its_own_and_no_folder_of_yours(self, tmp_path, result, image):
        import zarr

        (tmp_path / "b.zarr").mkdir()
        (tmp_path / "b.zarr" / "notes.txt").write_text("mine")
        zarr.save_array(str(tmp_path / "b.zarr" / "scan.zarr"), image)
        for yours in (tmp_path / "b.zarr", tmp_path / "b.zarr" / "scan.zarr"):
            with pytest.raises(OutputError, match="without cells of this program"):
                save(result, yours)
        assert (tmp_path / "b.zarr" / "notes.txt").read_text() == "mine"
        np.testing.assert_array_equal(zarr.open(str(tmp_path / "b.zarr" / "scan.zarr"), mode="r")[...], image)
        save(result, tmp_path / "a.zarr")
        save(result, tmp_path / "a.zarr")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


@pytest.mark.parametrize(("column", "known"), [(0.25, True), (0.5, False)])
def test_the_shape_of_cells_is_not_known_where_pixels_are_no_squares(tmp_path, result, column, known):
    table, outlines = save(result, tmp_path / "a", "csv,geojson", pixel_size=PixelSize(0.25, column))
    columns = pd.read_csv(table)[["perimeter_um", "circularity", "eccentricity"]]
    assert columns.notna().all(axis=None) == columns.notna().any(axis=None) == known
    features = json.loads(outlines.read_text(encoding="utf-8"))["features"]
    assert all(("Circularity" in feature["properties"]["measurements"]) == known for feature in features)


def test_a_result_of_a_file_takes_a_pixel_size_that_it_lacks(tmp_path, result):
    save(result, tmp_path / "a", "tiff")
    files = save(load_result(tmp_path / "a-result.json"), tmp_path / "b", "tiff,csv", pixel_size=SIZE)
    assert read_pixel_size(files[0]) == pytest.approx(SIZE)
    assert "area_um2" in pd.read_csv(files[2])
    save(load_result(tmp_path / "b-result.json"), tmp_path / "c", "tiff", pixel_size=PixelSize(9, 9))
    assert read_pixel_size(tmp_path / "c-labels.tif") == pytest.approx(SIZE), "what is known stays"


@pytest.mark.parametrize(
    "size",
    [PixelSize(0, 0.1), PixelSize(0.1, -1), PixelSize(np.nan, 0.1), PixelSize(np.inf, np.inf), (0.1, 0.1)],
)
def test_a_pixel_without_a_size_is_said_before_anything_is_written(tmp_path, result, size):
    with pytest.raises(OutputError, match=r"give PixelSize\(row, column, unit\) with lengths above 0"):
        save(result, tmp_path / "a", EVERY, pixel_size=size)
    assert not list(tmp_path.iterdir())


def test_a_stack_has_a_picture_a_plane(tmp_path, labels, image):
    stack = made(np.stack([labels, labels * 0]), np.stack([image, image]))
    files = save(stack, tmp_path / "a", "overlay,mask", image=np.stack([image, image]))
    assert [path.name for path in files] == [
        "a-plane-0-overlay.png",
        "a-plane-1-overlay.png",
        "a-plane-0-mask.jpg",
        "a-plane-1-mask.jpg",
    ]
    with Image.open(files[3]) as mask:
        assert not np.asarray(mask).any()


def test_a_number_is_one_cell_in_the_files_of_a_stack(tmp_path, labels, image):
    """In labels drawn by hand each plane may begin with 1 again."""
    small = np.where(labels == 700, 1, 0).astype(np.int32)
    stack = made(np.stack([small, small]), np.stack([image, image]))
    files = save(stack, tmp_path / "a", "tiff,csv")
    assert pd.read_csv(files[-1])["label"].tolist() == [1, 2]
    assert [int(plane.max()) for plane in tifffile.imread(files[0])] == [1, 2]


def test_other_columns_of_words_go_along(tmp_path, result, labels):
    """What kind a cell is, and what another program or a person wrote of it."""
    words = {"class": ["", "erythroblast", "eosinophil"]}
    cells = result.cells.assign(**words, remark=["a", "é, b", None])
    named = dataclasses.replace(result, cells=cells)
    save(named, tmp_path / "a", "tiff,csv,geojson,ome-zarr")
    assert pd.read_csv(tmp_path / "a-cells.csv", keep_default_na=False)["class"].tolist() == words["class"]
    for name in ("a-result.json", "a.ome.zarr"):
        back = load_result(tmp_path / name)
        assert back.cells["class"].tolist() == words["class"]
        assert back.cells["remark"].tolist() == cells["remark"].tolist()
        assert (back.count, back.white_cells, back.erythroblasts) == (3, 2, 1)
        assert back.summary == "2 white cells, and 50 erythroblasts per 100, 1 to check"
    about = [f["properties"] for f in json.loads((tmp_path / "a.geojson").read_text())["features"]]
    assert [one["classification"]["name"] for one in about] == [
        "White blood cell",
        "Erythroblast: To check",
        "Eosinophil",
    ]
    assert [one.get("metadata") for one in about] == [{"remark": "a"}, {"remark": "é, b"}, None]


def test_a_result_without_cells_is_a_result(tmp_path, labels, image):
    files = save(made(labels * 0, image), tmp_path / "a", EVERY, image=image)
    assert all(path.exists() for path in files)
    assert len(pd.read_csv(tmp_path / "a-cells.csv")) == 0
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []


class TestLayers:
    def test_the_table_follows_what_was_painted(self, tmp_path, result, labels, image):
        painted = labels.copy()
        painted[30:50, 40:41] = 0  # a part of 700 is erased
        painted[labels == 3] = 0  # a cell deleted
        painted[35:40, 5:15] = 12  # a cell drawn
        layer = Layer(painted, result.cells)
        table = pd.read_csv(save(layer, tmp_path / "a.csv", image=image)[0]).set_index("label")
        assert table["area"].to_dict() == {9: 50, 12: 50, 700: 380}
        assert table.loc[9, "certainty"] == 0.4, "what did not change keeps its row"
        assert table.loc[12, "mean_stain"] >= 0
        assert table["check"].tolist() == [True, False, False]

    @pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.uint64])
    def test_layers_of_any_whole_numbers_are_saved(self, tmp_path, kind):
        drawn_by_hand = np.zeros((20, 30), kind)
        drawn_by_hand[2:5, 3:9] = 1
        files = save(Layer(drawn_by_hand), tmp_path / "a", "csv,tiff,geojson,roi")
        assert pd.read_csv(files[0])["area"].tolist() == [18]

    def test_labels_of_billions_are_kept(self, tmp_path):
        far = np.zeros((20, 30), np.int64)
        far[2:5, 3:9] = 3_000_000_000
        files = save(Layer(far), tmp_path / "a", "csv,tiff,geojson,roi,ome-zarr")
        assert tifffile.imread(files[1]).max() == 3_000_000_000
        assert pd.read_csv(files[0])["label"].tolist() == [3_000_000_000]

    @pytest.mark.parametrize(
        "wrong",
        [
            np.zeros((3, 3)),
            np.zeros((2, 2, 2, 2), int),
            np.full((3, 3), -1),
            np.ones((3, 3, 1), int),
            np.ma.masked_equal(np.eye(3, dtype=int), 1),
        ],
    )
    def test_what_is_no_label_image_is_refused(self, tmp_path, wrong):
        with pytest.raises(OutputError, match=r"[Ll]abels"):
            save(Layer(wrong), tmp_path / "a.csv")
        assert list(tmp_path.iterdir()) == []


class TestWrongCalls:
    def test_formats_and_endings_are_named_when_unknown(self, tmp_path, result):
        with pytest.raises(SettingsError, match=r"'xls'.*geojson"):
            save(result, tmp_path / "a", "csv,xls")
        with pytest.raises(SettingsError, match=r"a\.doc names no format"):
            save(result, tmp_path / "a.doc")

    @pytest.mark.parametrize("path", ["", ".", "counted/", Path()])
    def test_a_path_without_a_name_is_a_sentence(self, result, path):
        with pytest.raises(OutputError, match="A result needs a name"):
            save(result, path, "csv")

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
    def test_a_name_that_is_no_text_is_a_sentence(self, tmp_path, result):
        name = os.fsdecode(b"Zellen\xfc.png")
        for path, image in ((tmp_path / name, None), (tmp_path / "a", tmp_path / name)):
            with pytest.raises(OutputError, match="is no text"):
                save(result, path, "tiff", image_path=image)
        assert list(tmp_path.iterdir()) == []

    def test_so_is_a_null_character_in_it(self, tmp_path, result):
        for given in ({"path": f"{tmp_path}/a\0b"}, {"path": tmp_path / "a", "image_path": "a\0b"}):
            with pytest.raises(OutputError, match=r"a\\x00b': leave out the null character"):
                save(result, **given, formats="tiff")
        assert not list(tmp_path.iterdir())

    def test_labels_that_are_no_array_are_a_sentence(self, tmp_path, result):
        with pytest.raises(OutputError, match="The labels are a list: give an array"):
            save(dataclasses.replace(result, labels=result.labels.tolist()), tmp_path / "a", "tiff")

    def test_the_overlay_asks_for_its_image(self, tmp_path, result, image):
        with pytest.raises(OutputError, match="needs the image"):
            save(result, tmp_path / "a", "csv,overlay")
        with pytest.raises(OutputError, match=r"is a list: give an array"):
            save(result, tmp_path / "a.png", image=image.tolist())
        for other in (image[:10], image[..., None]):
            with pytest.raises(OutputError, match="labels lie on"):
                save(result, tmp_path / "a.png", image=other)
        assert list(tmp_path.iterdir()) == [], "nothing is written by half"

    def test_cancel_leaves_whole_files_only(self, tmp_path, result):
        def stop(done, total, stage):
            if stage == "Outlining cells":
                raise Cancelled("Enough.")

        with pytest.raises(Cancelled):
            save(result, tmp_path / "a", "csv,geojson", progress=stop)
        assert [path.name for path in tmp_path.iterdir()] == ["a-cells.csv"]

    def test_a_folder_that_cannot_be_made_is_a_sentence(self, tmp_path, result):
        (tmp_path / "file").write_text("in the way")
        for name in ("a.geojson", "a.zip", "a.ome.zarr"):
            with pytest.raises(OutputError, match="cannot be written"):
                save(result, tmp_path / "file" / name)


def test_thousands_of_cells_are_saved_in_all_formats(tmp_path):
    labels = np.zeros((500, 500), np.int32)
    rows, columns = np.indices(labels.shape)
    inside = (rows % 10 < 7) & (columns % 10 < 6)
    labels[inside] = (rows // 10 * 50 + columns // 10 + 1)[inside]
    files = save(Layer(labels), tmp_path / "a", "tiff,csv,geojson,roi,ome-zarr")
    assert len(json.loads(files[3].read_text())["features"]) == 2_500


class TestTables:
    """Those that a script of pandas made of that of a result."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda cells: cells.rename(columns={"label": "id"}), "lacks the column 'label'"),
            (lambda cells: pd.concat([cells, cells[["area"]]], axis=1), "two columns 'area'"),
            (lambda cells: cells.to_dict(), "The cells are a dict"),
            (lambda cells: cells.assign(check="yes"), "its column check has what is no number"),
        ],
    )
    def test_one_of_which_nothing_would_be_kept_is_a_sentence_before_anything_is_written(
        self, tmp_path, result, change, said
    ):
        with pytest.raises(OutputError, match=said):
            save(dataclasses.replace(result, cells=change(result.cells)), tmp_path / "a", "tiff,csv")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "change",
        [
            lambda cells: cells.set_index("label"),
            lambda cells: cells.iloc[::-1],
            lambda cells: cells.astype({"label": str, "area": str}),
            lambda cells: cells.assign(mine=pd.NA, date=pd.NaT, maps=[np.zeros(2)] * len(cells)),
        ],
    )
    def test_rows_are_of_their_cells_however_they_are_kept(self, tmp_path, result, change):
        result.cells["class"] = ["monocyte", "lymphocyte", "basophil"]
        path, *_ = save(dataclasses.replace(result, cells=change(result.cells)), tmp_path / "a", "tiff,csv")
        back = load_result(path).cells
        assert dict(zip(back["label"], back["class"], strict=True)) == {
            3: "monocyte",
            9: "lymphocyte",
            700: "basophil",
        }

    def test_cells_whose_rows_were_taken_out_are_told_of(self, tmp_path, result):
        few = dataclasses.replace(result, cells=result.cells[result.cells["label"] == 3])
        with pytest.warns(UserWarning, match=r"^2 cells of the labels have no row .* labels to 0\.$"):
            path, _ = save(few, tmp_path / "a.tif")
        assert load_result(path).count == 3
