"""TIFF files of every layout: one reader gives the same pixels whole and in parts."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.read import ImageWarning, open_large, read_file, read_image

RGB = np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(90), np.arange(130) + 20 * k) for k in range(3)], -1).astype(
    np.uint8
)

LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 16},
    "one strip": {"rowsperstrip": 90},
    "rows": {"rowsperstrip": 1},
    "tiles": {"tile": (32, 48)},
    "planes": {"planarconfig": "separate", "rowsperstrip": 16},
    "tiled planes": {"planarconfig": "separate", "tile": (32, 48)},
}
TYPES = ("uint8", "uint16", "int16", "uint32", "float32", "float64")
LOSSLESS = ("none", "lzw", "zlib", "packbits", "zstd", "lzma")


def assert_both_are(path: Path, expected: np.ndarray) -> None:
    """Check that the file is read as expected, at once and in parts."""
    read = read_image(path)
    assert read.dtype == expected.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, expected)
    large = open_large(path).full
    np.testing.assert_array_equal(np.asarray(large), read)
    np.testing.assert_array_equal(np.asarray(large[21:70, 17:101]), read[21:70, 17:101])
    np.testing.assert_array_equal(np.asarray(large[::7, ::-5]), read[::7, ::-5])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("colour", [True, False], ids=["rgb", "grey"])
def test_layouts_byte_orders_and_types(
    tmp_path: Path, layout: str, byteorder: str, dtype: str, colour: bool
) -> None:
    if not colour and "planes" in layout:
        pytest.skip("grey has one plane")
    pixels = (RGB if colour else RGB[..., 0]).astype(dtype)
    stored = np.moveaxis(pixels, -1, 0) if "planes" in layout else pixels
    for name, compression in (("a.tif", None), ("b.btf", "zlib"), ("c.tif", "lzw")):
        path = tmp_path / name
        tifffile.imwrite(
            path, stored, photometric="rgb" if colour else "minisblack", byteorder=byteorder,
            compression=compression, predictor=compression == "zlib", metadata=None, **LAYOUTS[layout],
        )  # fmt: skip
        assert_both_are(path, pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", LOSSLESS)
def test_lossless_compressions(tmp_path: Path, layout: str, compression: str) -> None:
    stored = np.moveaxis(RGB, -1, 0) if "planes" in layout else RGB
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="rgb", compression=compression, **LAYOUTS[layout])
    assert_both_are(path, RGB)


@pytest.mark.parametrize("layout", ["strips", "one strip", "tiles"])
@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "jpegxl"])
def test_lossy_compressions(tmp_path: Path, layout: str, compression: str) -> None:
    path = tmp_path / "a.tif"
    options = LAYOUTS[layout] if layout != "strips" else {"rowsperstrip": 32}
    tifffile.imwrite(path, SMOOTH, photometric="rgb", compression=compression, **options)
    read = read_image(path)
    assert np.abs(read.astype(int) - SMOOTH)[:60, :60].mean() < 8
    assert_both_are(path, read)


def test_pages_of_one_strip_as_imagej_writes_them(tmp_path: Path) -> None:
    stack = np.stack([RGB[..., k] for k in range(3)] * 2)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), stack)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        second = file.pages[1].offset.to_bytes(4, "little" if file.byteorder == "<" else "big")
    # Beyond 4 GB ImageJ writes one page alone, and the others behind its pixels.
    data = bytearray((tmp_path / "a.tif").read_bytes())
    at = data.index(second)
    data[at : at + 4] = bytes(4)
    (tmp_path / "b.tif").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), stack)


def test_tiles_that_were_left_out_are_empty(tmp_path: Path) -> None:
    def tiles():
        yield RGB[:64, :64]
        yield from [None] * 5

    tifffile.imwrite(
        tmp_path / "a.tif", tiles(), shape=(90, 130, 3), dtype=np.uint8, tile=(64, 64), photometric="rgb"
    )
    expected = np.zeros((90, 130, 3), np.uint8)
    expected[:64, :64] = RGB[:64, :64]
    with pytest.warns(ImageWarning, match="5 of the 6 parts"):
        assert_both_are(tmp_path / "a.tif", expected)
    assert open_large(tmp_path / "a.tif").notes == read_file(tmp_path / "a.tif").notes


@pytest.mark.parametrize("layout", ["strips", "one strip", "tiles", "planes"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_parts_that_hold_nothing_are_told(tmp_path: Path, layout: str, compression: str | None) -> None:
    """The only strip of one was read as other bytes of the file: its first."""
    path, options = tmp_path / "a.tif", LAYOUTS[layout]
    stored = np.moveaxis(RGB, -1, 0) if layout == "planes" else RGB
    tifffile.imwrite(path, stored, photometric="rgb", compression=compression, **options)
    with tifffile.TiffFile(path, mode="r+") as file:
        kind = "Tile" if "tile" in options else "Strip"
        for name in (f"{kind}Offsets", f"{kind}ByteCounts"):
            tag = file.pages.first.tags[name]
            tag.overwrite((*tag.value[:-1], 0))
    image, (note,) = read_file(path)[:2]
    assert image[-1, -1].tolist() == ([*RGB[-1, -1, :2], 0] if layout == "planes" else [0, 0, 0])
    np.testing.assert_array_equal(image[0], 0 if layout == "one strip" else RGB[0])
    assert f"{path} holds nothing, so no cell is seen there" in note


def test_bytes_that_are_missing_are_said(tmp_path: Path) -> None:
    for options in ({}, {"compression": "zlib"}, {"tile": (32, 32), "compression": "zlib"}):
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as tiff:
            tiff.write(RGB, photometric="rgb", metadata=None, **options)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ImageError, match=r"a\.tif .*(truncated|damaged)"):
            read_image(path)


class TestWhichImageItIs:
    """The largest real image, and all fields of a file of fields."""

    def test_a_thumbnail_in_front_is_left_out_aloud(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            tiff.write(RGB[::8, ::8].copy(), photometric="rgb", metadata=None, subfiletype=1)
            tiff.write(RGB, photometric="rgb", metadata=None)
        image, (note,) = read_file(tmp_path / "a.tif")[:2]
        np.testing.assert_array_equal(image, RGB)
        assert "left out: 17 × 12" in note
        assert open_large(tmp_path / "a.tif").notes == (note,)

    def test_of_pages_of_two_sizes_the_largest_is_taken(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            tiff.write(RGB[:70, :40].copy(), photometric="rgb", metadata=None)
            tiff.write(RGB, photometric="rgb", metadata=None)
        image, (note,) = read_file(tmp_path / "a.tif")[:2]
        np.testing.assert_array_equal(image, RGB)
        assert "largest (130 × 90 pixels) was taken; left out: 40 × 70" in note

    def test_the_macro_of_a_leica_slide_is_not_counted(self, tmp_path: Path) -> None:
        macro = np.full((240, 80, 3), 235, np.uint8)
        images = "".join(
            f'<image name="{name}"><device model="m" version="1"/><pixels sizeX="{w}" sizeY="{h}">'
            f'<dimension sizeX="{w}" sizeY="{h}" r="0" ifd="{ifd}"/></pixels></image>'
            for ifd, (name, w, h) in enumerate((("macro", 80, 240), ("main", 130, 90)))
        )
        xml = (
            '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
            f'<collection name="c" sizeX="1" sizeY="1">{images}</collection></scn>'
        )
        with tifffile.TiffWriter(tmp_path / "a.scn", bigtiff=True) as tiff:
            for number, pixels in enumerate((macro, RGB)):
                tiff.write(
                    pixels, photometric="rgb", tile=(64, 64), metadata=None, software=False,
                    description=None if number else xml,
                )  # fmt: skip
        image, (note,) = read_file(tmp_path / "a.scn")[:2]
        np.testing.assert_array_equal(image, RGB)
        assert "macro (80 × 240)" in note
        assert open_large(tmp_path / "a.scn").full.shape[:2] == (90, 130)

    def test_two_series_of_one_size_are_two_fields(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
            for pixels in (RGB, RGB[::-1].copy()):
                tiff.write(pixels, photometric="rgb", metadata={"axes": "YXS"})
        np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), [RGB, RGB[::-1]])
        large = open_large(tmp_path / "a.ome.tif")
        np.testing.assert_array_equal(np.asarray(large.full), RGB)
        assert any("only the first" in note for note in large.notes)

    def test_pages_of_one_size_may_be_laid_out_each_in_its_own_way(self, tmp_path: Path) -> None:
        layouts: tuple[dict[str, Any], ...] = (
            {"rowsperstrip": 16},
            {"compression": "zlib", "rowsperstrip": 50},
            {"compression": "zlib", "rowsperstrip": 7, "predictor": True},
            {"tile": (64, 48)},
            {"compression": "lzw", "tile": (32, 32)},
        )
        for first, second in permutations(layouts, 2):
            with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
                for pixels, layout in ((RGB, first), (RGB[::-1].copy(), second)):
                    tiff.write(pixels, photometric="rgb", metadata=None, **layout)
            found = open_large(tmp_path / "a.tif", fields=True).full
            for part in np.s_[:], np.s_[:, 20:61, 33:100]:
                np.testing.assert_array_equal(np.asarray(found[part]), np.stack([RGB, RGB[::-1]])[part])

    def test_depths_of_focus_are_asked_about_and_times_are_not(self, tmp_path: Path) -> None:
        stack = np.stack([RGB[..., 0]] * 3)
        for axes, asked in (("ZYX", True), ("TYX", False)):
            tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata={"axes": axes})
            _, notes = read_file(tmp_path / "a.tif")[:2]
            assert [note for note in notes if "depths of focus, or times: are they?" in note] == list(notes)
            assert bool(notes) == asked

    def test_files_that_an_ome_tiff_names_are_not_opened(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "secret.tif", RGB[::-1].copy(), photometric="rgb")
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
            'ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="130" SizeY="90" SizeC="3" SizeZ="1" '
            'SizeT="2"><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
            '<TiffData FirstT="0" IFD="0" PlaneCount="1"/><TiffData FirstT="1" IFD="0" PlaneCount="1">'
            '<UUID FileName="secret.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
        )
        tifffile.imwrite(
            tmp_path / "a.ome.tif", RGB, photometric="rgb", description=xml.encode(), metadata=None
        )
        np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), RGB)
