"""Results are written whole, under names that never collide, in forms other programs read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_wbcseg import SegmentationSettings
from napari_wbcseg.errors import SettingsError
from napari_wbcseg.segmentation.output import (
    CELL_COLOUR,
    CHECK_COLOUR,
    InputRecord,
    ModelRecord,
    OutputError,
    PixelSize,
    RunRecord,
    count_row,
    draw_overlay,
    failed_row,
    file_sha256,
    image_names,
    library_versions,
    output_names,
    read_pixel_size,
    read_settings,
    write_cells,
    write_counts,
    write_labels,
    write_mask,
    write_overlay,
)
from napari_wbcseg.segmentation.result import Segmentation


@pytest.fixture
def labels() -> np.ndarray:
    """Return two discs, one of them at the corner."""
    rows, columns = np.mgrid[:200, :300]
    image = np.zeros((200, 300), dtype=np.int32)
    image[(rows - 100) ** 2 + (columns - 150) ** 2 < 900] = 1
    image[rows**2 + columns**2 < 900] = 2
    return image


@pytest.fixture
def cells() -> pd.DataFrame:
    return pd.DataFrame({"label": [1, 2], "area": [2821.0, 738.0], "check": [False, True]})


def segmentation(labels: np.ndarray, cells: pd.DataFrame) -> Segmentation:
    return Segmentation(
        labels=labels,
        cells=cells,
        probability=(labels > 0).astype(np.float32),
        proposals=np.zeros((0, 4), dtype=np.int64),
        settings=SegmentationSettings(),
        model="wbc@0123",
        cell_diameter=61.5,
        notes=("A note.",),
    )


class TestLabels:
    def test_every_label_comes_back(self, tmp_path: Path, labels: np.ndarray) -> None:
        path = write_labels(tmp_path / "new" / "a-labels.tif", labels)
        stored = tifffile.imread(path)
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, labels)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert path.stat().st_size < labels.nbytes / 20

    def test_labels_beyond_sixteen_bits_become_int32(self, tmp_path: Path) -> None:
        many = np.array([[0, 65_536]], dtype=np.int64)
        stored = tifffile.imread(write_labels(tmp_path / "a.tif", many))
        assert stored.dtype == np.int32
        np.testing.assert_array_equal(stored, many)

    def test_a_stack_keeps_its_planes(self, tmp_path: Path, labels: np.ndarray) -> None:
        stack = np.stack([labels, labels[::-1], labels * 0])
        np.testing.assert_array_equal(tifffile.imread(write_labels(tmp_path / "a.tif", stack)), stack)

    @pytest.mark.parametrize(
        "size", [PixelSize(0.25, 0.2), PixelSize(2e-4, 2.5e-4, "mm"), PixelSize(3, 3, "pixel")]
    )
    def test_the_pixel_size_is_kept(self, tmp_path: Path, labels: np.ndarray, size: PixelSize) -> None:
        path = write_labels(tmp_path / "a.tif", labels, size)
        kept = read_pixel_size(path)
        assert kept is not None
        assert kept.unit == size.unit
        assert kept[:2] == pytest.approx(size[:2])

    def test_the_resolution_is_one_that_any_program_reads(self, tmp_path: Path, labels: np.ndarray) -> None:
        path = write_labels(tmp_path / "a.tif", labels, PixelSize(0.25, 0.2, "µm"))
        with tifffile.TiffFile(path) as tiff:
            across = tiff.pages.first.tags["XResolution"].value
            assert across[0] / across[1] == pytest.approx(1e4 / 0.2)  # pixels a centimetre
            assert tiff.pages.first.tags["ResolutionUnit"].value == 3

    def test_what_is_no_label_image_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="whole numbers"):
            write_labels(tmp_path / "a.tif", np.zeros((3, 3)))
        assert list(tmp_path.iterdir()) == []


class TestPixelSize:
    def test_imagej_and_ome_files_are_understood(self, tmp_path: Path) -> None:
        grey = np.zeros((8, 8), dtype=np.uint16)
        tifffile.imwrite(
            tmp_path / "ij.tif", grey, imagej=True, resolution=(4, 2), metadata={"unit": "um", "axes": "YX"}
        )
        assert read_pixel_size(tmp_path / "ij.tif") == PixelSize(0.5, 0.25, "µm")
        tifffile.imwrite(
            tmp_path / "a.ome.tif",
            grey,
            metadata={"axes": "YX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.3, "PhysicalSizeXUnit": "µm"},
        )
        assert read_pixel_size(tmp_path / "a.ome.tif") == PixelSize(0.3, 0.1, "µm")

    def test_nothing_is_made_up(self, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", dpi=(72, 72))
        tifffile.imwrite(tmp_path / "plain.tif", np.zeros((8, 8), np.uint8))
        tifffile.imwrite(
            tmp_path / "inch.tif", np.zeros((8, 8), np.uint8), resolution=(72, 72), resolutionunit=2
        )
        (tmp_path / "text.tif").write_text("no image")
        for name in ("a.jpg", "plain.tif", "inch.tif", "text.tif", "missing.tif"):
            assert read_pixel_size(tmp_path / name) is None


class TestPictures:
    def test_the_mask_looks_like_the_published_ones(self, tmp_path: Path, labels: np.ndarray) -> None:
        with Image.open(write_mask(tmp_path / "a-mask.jpg", labels)) as mask:
            assert (mask.format, mask.mode) == ("JPEG", "L")
            np.testing.assert_array_equal(np.asarray(mask) > 127, labels > 0)

    def test_cells_and_cells_to_check_differ_in_colour(self, labels: np.ndarray, cells: pd.DataFrame) -> None:
        ground = np.full((200, 300, 3), 230, dtype=np.uint8)
        picture = draw_overlay(ground, labels, cells)
        scale = picture.shape[0] // 200
        assert picture.shape == (200 * scale, 300 * scale, 3)
        middle, corner = picture[60 * scale : 140 * scale], picture[: 50 * scale, : 50 * scale]
        assert (middle == CELL_COLOUR).all(axis=2).sum() > 100
        assert not (middle == CHECK_COLOUR).all(axis=2).any()
        assert (corner == CHECK_COLOUR).all(axis=2).sum() > 50
        assert not (corner == CELL_COLOUR).all(axis=2).any()

    def test_outlines_lie_on_the_rim_and_leave_the_inside_visible(self, labels: np.ndarray) -> None:
        ground = np.full((200, 300, 3), (180, 120, 200), dtype=np.uint8)
        picture = draw_overlay(ground, labels)
        scale = picture.shape[0] // 200
        np.testing.assert_array_equal(picture[100 * scale, 150 * scale], ground[0, 0])
        rim = picture[100 * scale, (150 + 25) * scale : (150 + 35) * scale]
        assert (rim == CELL_COLOUR).all(axis=1).any()

    def test_numbers_of_neighbours_are_not_written_over_each_other(self) -> None:
        labels = np.zeros((900, 900), dtype=np.int32)
        labels[400:430, 400:430], labels[400:430, 432:462] = 1, 2
        alone = [draw_overlay(np.zeros((900, 900, 3), np.uint8), np.where(labels == k, k, 0)) for k in (1, 2)]
        both = draw_overlay(np.zeros((900, 900, 3), np.uint8), labels)

        def ink(picture: np.ndarray) -> int:
            return int((picture == CELL_COLOUR).all(axis=2).sum())

        assert ink(both) > 0.97 * sum(map(ink, alone))

    @pytest.mark.parametrize("shape", [(128, 128), (1, 1), (3, 7000), (40, 9000)])
    def test_pictures_of_any_size_can_be_looked_at(self, shape: tuple[int, int]) -> None:
        picture = draw_overlay(np.full((*shape, 3), 200, np.uint8), np.ones(shape, np.int32))
        assert max(picture.shape) <= 6000
        assert shape != (128, 128) or min(picture.shape[:2]) >= 600

    def test_grey_and_sixteen_bit_images_are_drawn(self, labels: np.ndarray) -> None:
        grey = np.full(labels.shape, 40_000, dtype=np.uint16)
        assert draw_overlay(grey, labels)[-1, -1].tolist() == [156, 156, 156]

    @pytest.mark.parametrize("side", [100, 1000])
    def test_the_image_itself_is_left_as_it_was(self, side: int) -> None:
        image = np.full((side, side, 3), 200, dtype=np.uint8)
        image.flags.writeable = False  # as Pillow hands it out
        picture = draw_overlay(image, np.pad(np.ones((40, 40), np.int32), (side - 40) // 2))
        assert (picture != 200).any()
        assert (image == 200).all()

    def test_another_size_is_refused(self, tmp_path: Path, labels: np.ndarray) -> None:
        with pytest.raises(OutputError, match="not drawn"):
            write_overlay(tmp_path / "a.png", np.zeros((10, 10, 3), np.uint8), labels)


class TestTables:
    def test_counts_hold_a_row_an_image_failed_ones_too(
        self, tmp_path: Path, labels: np.ndarray, cells: pd.DataFrame
    ) -> None:
        rows = [
            count_row("a.jpg", segmentation(labels, cells), 1.23456, ["Another note."]),
            failed_row("b.jpg", "b.jpg is truncated, and so on.", 0.1),
        ]
        table = pd.read_csv(write_counts(tmp_path / "counts.csv", rows))
        assert list(table["image"]) == ["a.jpg", "b.jpg"]
        first = table.iloc[0]
        assert (first["count"], first["to_check"], first["width"], first["height"]) == (2, 1, 300, 200)
        assert (first["cell_diameter"], first["status"]) == (61.5, "ok")
        assert first["notes"] == "Another note. A note."
        assert table.iloc[1]["status"] == "failed"
        assert table.iloc[1]["error"] == "b.jpg is truncated, and so on."
        assert "a.jpg,2,1,61.5,300,200" in (tmp_path / "counts.csv").read_text()

    def test_cells_begin_with_their_image(self, tmp_path: Path, cells: pd.DataFrame) -> None:
        tables = [("empty.jpg", cells.iloc[:0]), ("a.jpg", cells), ("é.jpg", cells)]
        table = pd.read_csv(write_cells(tmp_path / "cells.csv", tables))
        assert list(table.columns) == ["image", "label", "area", "check"]
        assert list(table["image"]) == ["a.jpg", "a.jpg", "é.jpg", "é.jpg"]
        assert table["label"].dtype.kind == "i"
        assert table["check"].dtype == bool

    def test_a_run_without_cells_still_has_its_columns(self, tmp_path: Path, cells: pd.DataFrame) -> None:
        write_cells(tmp_path / "cells.csv", [("a.jpg", cells.iloc[:0])])
        assert (tmp_path / "cells.csv").read_text() == "image,label,area,check\n"
        write_cells(tmp_path / "none.csv", [])
        assert (tmp_path / "none.csv").read_text() == "image\n"


class TestNames:
    def test_a_name_is_the_stem_where_that_is_enough(self) -> None:
        assert output_names([Path("x/a.jpg"), Path("y/b.tif")]) == {
            Path("x/a.jpg"): "a",
            Path("y/b.tif"): "b",
        }

    def test_equal_stems_take_as_many_folders_as_tell_them_apart(self) -> None:
        paths = [Path("/s/1/a.jpg"), Path("/s/2/a.jpg"), Path("/s/b.jpg"), Path("/t/9/2/a.jpg")]
        assert list(output_names(paths).values()) == ["1__a", "s__2__a", "b", "9__2__a"]

    def test_equal_stems_in_one_folder_take_their_ending(self) -> None:
        assert list(output_names([Path("/s/a.jpg"), Path("/s/a.png")]).values()) == ["a_jpg", "a_png"]

    def test_capitals_do_not_tell_files_apart_as_not_every_disk_does(self) -> None:
        names = output_names([Path("/x/A.jpg"), Path("/y/a.jpg")])
        assert len({name.casefold() for name in names.values()}) == 2

    folder = st.lists(st.sampled_from(["a", "b", "a__b", "A"]), max_size=3)
    stem = st.sampled_from(["a", "b", "A", "a__b", "a_jpg", "a-2", "b__a"])
    path = st.builds(
        lambda parts, stem, suffix: Path("/", *parts, stem + suffix),
        folder,
        stem,
        st.sampled_from([".jpg", ".png"]),
    )

    @settings(deadline=None)
    @given(st.lists(path, max_size=12, unique=True), st.randoms())
    def test_no_two_inputs_ever_share_a_name(self, paths: list[Path], random: object) -> None:
        names = output_names(paths)
        assert set(names) == set(paths)
        assert len({name.casefold() for name in names.values()}) == len(paths)
        assert all("/" not in name and name for name in names.values())
        shuffled = list(paths)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert output_names(shuffled) == names

    def test_tables_call_images_by_their_path_below_what_they_share(self) -> None:
        assert list(image_names([Path("/s/1/a.jpg"), Path("/s/b.jpg")]).values()) == ["1/a.jpg", "b.jpg"]
        assert list(image_names([Path("/s/1/a.jpg")]).values()) == ["a.jpg"]
        assert image_names([]) == {}


def record(**values: object) -> RunRecord:
    return RunRecord(
        created="2026-01-01T00:00:00+00:00",
        settings=SegmentationSettings(cell_diameter=80, flips=True),
        model=ModelRecord(name="wbc", hash="0123456789ab", source="wbc"),
        versions=library_versions(),
        **values,  # type: ignore[arg-type]
    )


class TestRun:
    def test_a_record_says_all_that_a_repetition_needs(self, tmp_path: Path) -> None:
        image = tmp_path / "a.jpg"
        image.write_bytes(b"bytes")
        entry = InputRecord(
            path=str(image), image="a.jpg", name="a", sha256=file_sha256(image), count=3, status="ok"
        )
        written = record(inputs=[entry], mask=True)
        back = RunRecord.read(written.write(tmp_path / "run.json"))
        assert back == written
        assert back.inputs[0].sha256 == "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9"
        assert {"python", "napari-wbcseg", "numpy", "onnxruntime"} <= set(back.versions)

    def test_settings_are_read_from_a_run_or_from_settings(self, tmp_path: Path) -> None:
        wanted = SegmentationSettings(cell_diameter=80, flips=True)
        record().write(tmp_path / "run.json")
        (tmp_path / "settings.json").write_text(wanted.to_json())
        assert read_settings(tmp_path / "run.json") == wanted
        assert read_settings(tmp_path / "settings.json") == wanted

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not valid JSON"),
            ('{"cell_diametre": 3}', "no setting named 'cell_diametre'"),
            ('{"cell_diameter": -3}', "greater than or equal to 6"),
            ('{"format": "napari-wbcseg run 99"}', "not the record of a run"),
            ("[1]", "must be a JSON object"),
        ],
    )
    def test_a_bad_settings_file_is_named_with_what_is_wrong(
        self, tmp_path: Path, content: str, message: str
    ) -> None:
        path = tmp_path / "bad.json"
        path.write_text(content)
        with pytest.raises(SettingsError, match=message) as caught:
            read_settings(path)
        assert str(path) in str(caught.value)

    def test_a_missing_or_foreign_record_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="There is no file"):
            RunRecord.read(tmp_path / "run.json")
        (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
        with pytest.raises(SettingsError, match="not the record of a run"):
            RunRecord.read(tmp_path / "x.json")
        (tmp_path / "y.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SettingsError, match="cannot be read as text"):
            RunRecord.read(tmp_path / "y.json")


class TestDisk:
    def test_a_folder_that_cannot_be_made_gives_a_sentence(self, tmp_path: Path, labels: np.ndarray) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OutputError, match=r"cannot be written .*Choose another"):
            write_labels(tmp_path / "file" / "a.tif", labels)

    def test_a_write_cut_short_gives_a_sentence_and_leaves_the_old_file_whole(self, tmp_path: Path) -> None:
        # The kernel refuses the bytes beyond a limit on file size, as it does on a full disk.
        pytest.importorskip("resource")
        path = tmp_path / "a.tif"
        write_labels(path, np.ones((4, 4), np.int32))
        before = path.read_bytes()
        program = f"""
import resource, sys, numpy as np
from napari_wbcseg.segmentation.output import OutputError, write_labels
noise = np.random.default_rng(0).integers(0, 60_000, (400, 400))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_labels({str(path)!r}, noise)
except OutputError as error:
    print(error)
"""
        result = subprocess.run(
            [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True
        )
        assert str(path) in result.stdout
        assert "cannot be written" in result.stdout
        assert path.read_bytes() == before
        assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]
