"""Reading image files."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wbcseg.errors import ImageError
from napari_wbcseg.images import read
from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.images.read import (
    ImageWarning,
    depths_of,
    is_large,
    open_large,
    orientation_of,
    read_file,
    read_image,
    read_pixel_size,
    size_of_file,
    turned,
)
from napari_wbcseg.synthetic.smear import synthetic_smear

from .random_images import random_grey, random_rgb


@pytest.fixture(autouse=True)
def _no_stray_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


# Reading


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("colour", [True, False])
def test_lossless_files_come_back_as_written(tmp_path: Path, suffix: str, colour: bool) -> None:
    image = random_rgb() if colour else random_grey()
    Image.fromarray(image).save(tmp_path / f"a{suffix}")
    read = read_image(tmp_path / f"a{suffix}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


def test_jpeg_is_read_in_rgb_order(tmp_path: Path) -> None:
    red = np.zeros((16, 24, 3), np.uint8)
    red[..., 0] = 250
    Image.fromarray(red).save(tmp_path / "a.jpg", quality=95)
    read = read_image(str(tmp_path / "a.jpg"))
    assert read.shape == (16, 24, 3)
    assert read[..., 0].min() > 240
    assert read[..., 1:].max() < 10


@pytest.mark.parametrize("colour", [True, False])
def test_16_bit_png_keeps_its_values(tmp_path: Path, colour: bool) -> None:
    image = random_rgb(top=60000, dtype=np.uint16) if colour else random_grey(60000, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1] if colour else image)
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("colour", [True, False])
def test_tiff_keeps_type_and_values(tmp_path: Path, dtype: type, colour: bool) -> None:
    image = random_rgb(top=4000, dtype=dtype) if colour else random_grey(4000, dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb" if colour else "minisblack")
    read = read_image(tmp_path / "a.tif")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image)


def test_tiff_with_separate_colour_planes(tmp_path: Path) -> None:
    image = random_rgb()
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(image, -1, 0), photometric="rgb", planarconfig="separate"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_imagej_composite_of_three_channels_is_rgb(tmp_path: Path) -> None:
    image = random_rgb()
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(image, -1, 0), imagej=True, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_colours_that_a_file_does_not_call_so_are_colours(tmp_path: Path) -> None:
    """It calls them twelve images, three or four pixels wide."""
    tifffile.imwrite(tmp_path / "a.tif", random_rgb(), photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), random_rgb())
    tifffile.imwrite(tmp_path / "b.tif", np.dstack([random_rgb(), random_grey()]), photometric="minisblack")
    with pytest.warns(ImageWarning, match="first three of the four channels"):
        np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), random_rgb())


@pytest.mark.parametrize(
    ("about", "order"),
    [
        ({"Name": ["Blue", "Red", "Green"]}, (2, 0, 1)),
        ({"Color": [0x0000FFFF, 0x00FF00FF, 0xFF0000FF - 2**32]}, (2, 1, 0)),
        ({"Name": ["R", "G", "B"], "Color": [0x0000FFFF, 0x00FF00FF, 0xFF0000FF - 2**32]}, (0, 1, 2)),
        ({"Name": ["DAPI", "x", "y"], "Color": [-1, -1, -1]}, (0, 1, 2)),
        ({"Name": ["DAPI", "Blue", "Green", "Red"]}, (1, 2, 1, 0)),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_channels_of_an_ome_tiff_are_taken_by_their_names_or_colours(
    tmp_path: Path, about: dict[str, list[object]], order: tuple[int, ...], compression: str | None
) -> None:
    image = random_rgb()
    stored = np.stack([image[..., channel] for channel in order])
    about = {"axes": "CYX", "Channel": about}  # type: ignore[dict-item]
    options = {"photometric": "minisblack", "compression": compression, "metadata": about}
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, **options)
    pixels, notes, _ = read_file(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(pixels, image)
    assert ["left out: DAPI." in note for note in notes] == [True] * (len(order) == 4)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("stack", [False, True])
def test_lzw_tiff_needs_no_further_package(tmp_path: Path, bits: int, stack: bool) -> None:
    image = random_rgb(top=2**bits - 1, dtype=np.uint8 if bits == 8 else np.uint16)
    pages = [image, image[::-1].copy()] if stack else [image]
    flags = [cv2.IMWRITE_TIFF_COMPRESSION, 5]
    assert cv2.imwritemulti(str(tmp_path / "a.tif"), [page[..., ::-1] for page in pages], flags)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.stack(pages) if stack else image)


@pytest.mark.parametrize("colour", [True, False])
def test_tiff_of_several_pages_is_a_stack(tmp_path: Path, colour: bool) -> None:
    pages = np.random.default_rng(1).integers(0, 255, (5, 12, 17, 3), np.uint8)
    pages = pages if colour else pages[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb" if colour else "minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pages)


def test_compressed_imagej_composite_keeps_its_axes(tmp_path: Path) -> None:
    image = random_rgb()
    planes = list(np.moveaxis(image, -1, 0))
    description = "ImageJ=1.53\nimages=3\nchannels=3\nmode=composite\n"
    frames = [Image.fromarray(np.ascontiguousarray(plane)) for plane in planes]
    frames[0].save(
        tmp_path / "a.tif", save_all=True, append_images=frames[1:], compression="tiff_lzw",
        tiffinfo={270: description},
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_jpeg_inside_tiff(tmp_path: Path) -> None:
    image = np.full((32, 48, 3), (200, 40, 90), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").astype(int), image, atol=6)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(np.full((32, 48, 3), (200, 40, 90), np.uint8)).convert("CMYK")
    image.save(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}")[8, 8], (200, 40, 90), atol=6)


def test_pictures_too_large_for_pillow_by_default_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(random_rgb()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), random_rgb())
    assert Image.MAX_IMAGE_PIXELS == 20
    height, width = random_rgb().shape[:2]
    monkeypatch.setattr("napari_wbcseg.images.pictures._MAX_PIXELS", height * width - 1)
    with pytest.raises(ImageError, match="too large"):
        read_image(tmp_path / "a.png")


def test_white_is_zero_tiff_looks_as_in_a_viewer(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", random_grey(), photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), 255 - random_grey())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_palette_is_expanded(tmp_path: Path, suffix: str) -> None:
    image = np.zeros((8, 9, 3), np.uint8)
    image[2:5, 3:] = (200, 30, 90)
    Image.fromarray(image).quantize(4).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), image)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_those_of_the_file_and_orientation_is_told(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    """napari, ImageJ and QuPath show them so; `turned` gives what other viewers show."""
    from PIL import ImageOps

    image = np.zeros((16, 32, 3), np.uint8)
    image[:8, :16] = (255, 0, 0)
    image[8:, :8] = (0, 255, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(image).save(path, exif=exif)
    with Image.open(path) as opened:
        stored = np.asarray(opened.convert("RGB")) if suffix == ".jpg" else image
        shown_elsewhere = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    read, notes = read_file(path)[:2]
    np.testing.assert_array_equal(read, stored)
    assert orientation_of(path) == orientation
    assert [f"orientation {orientation}" in note for note in notes] == ([True] if orientation > 1 else [])
    np.testing.assert_array_equal(turned(read, orientation), shown_elsewhere)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("number", [0, 9])
def test_an_orientation_that_is_none_is_not_told(tmp_path: Path, suffix: str, number: int) -> None:
    """Some cameras write 0."""
    exif, path = Image.Exif(), tmp_path / f"a{suffix}"
    exif[0x0112] = number
    Image.fromarray(random_rgb()).save(path, exif=exif)
    assert orientation_of(path) == 1
    assert read_file(path).notes == ()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_aloud(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"seen{suffix}"
    colour = random_rgb() if mode == "RGBA" else random_grey()[..., None]
    image = np.concatenate([colour, np.full((*colour.shape[:2], 1), 128, np.uint8)], axis=2)
    if suffix == ".png":
        Image.fromarray(image, mode=mode).save(path)
    else:
        photometric = "rgb" if mode == "RGBA" else "minisblack"
        tifffile.imwrite(
            path, image, photometric=photometric, planarconfig="contig", extrasamples=["unassalpha"]
        )
    with pytest.warns(ImageWarning, match=f"alpha channel of .*seen{suffix} was dropped"):
        read = read_image(path)
    np.testing.assert_array_equal(read, colour.squeeze())


@pytest.mark.parametrize("writer", ["tifffile", "opencv", "composite of ImageJ"])
def test_a_fourth_channel_that_is_not_called_alpha_is_left_out_as_what_it_is(
    tmp_path: Path, writer: str
) -> None:
    path, four = tmp_path / "four.tif", np.dstack([random_rgb(), random_grey()])
    if writer == "opencv":
        cv2.imwrite(str(path), four[..., [2, 1, 0, 3]])
    elif writer == "tifffile":
        tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unspecified"])
    else:
        tifffile.imwrite(path, np.moveaxis(four, -1, 0).copy(), imagej=True, metadata={"axes": "CYX"})
    with pytest.warns(ImageWarning, match="first three of the four channels .* the fourth, .* was left out"):
        np.testing.assert_array_equal(read_image(path), random_rgb())


def test_two_channels_of_which_none_is_called_alpha_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, random_rgb()[..., :2].copy(), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match="2 channels"):
        read_image(path)


def test_16_bit_alpha_is_dropped_aloud(tmp_path: Path) -> None:
    image = random_rgb(top=60000, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([image[..., ::-1], np.full((12, 17), 65535, np.uint16)]))
    with pytest.warns(ImageWarning, match="alpha"):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_grey_of_which_one_is_transparent_stays_grey(tmp_path: Path) -> None:
    image = random_grey()
    Image.fromarray(image).save(tmp_path / "a.png", transparency=int(image[0, 0]))
    with pytest.warns(ImageWarning, match="alpha"):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_grey_of_16_bits_of_which_one_is_transparent_keeps_its_values(tmp_path: Path) -> None:
    image = random_grey(60000, np.uint16)
    Image.fromarray(image).save(tmp_path / "a.png", transparency=int(image[0, 0]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_palette_with_transparency_is_dropped_aloud(tmp_path: Path) -> None:
    Image.fromarray(random_rgb()).quantize(8).save(tmp_path / "a.png", transparency=0)
    with pytest.warns(ImageWarning, match="alpha"):
        assert read_image(tmp_path / "a.png").shape == (12, 17, 3)


def test_an_animated_picture_is_its_first_frame_aloud(tmp_path: Path) -> None:
    first = Image.fromarray(random_rgb())
    first.save(tmp_path / "a.png", save_all=True, append_images=[Image.new("RGB", first.size)])
    with pytest.warns(ImageWarning, match=r"Of the 2 pictures in .*a\.png the first was taken"):
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), random_rgb())


@pytest.mark.parametrize(
    ("suffix", "options", "off"),
    [
        (".webp", {"lossless": True}, 0.0),
        (".jp2", {}, 0.0),
        (".gif", {}, 8.0),  # of 256 colours
        (".avif", {"quality": 95}, 4.0),
        (".heic", {"quality": 95}, 4.0),
        (".jfif", {"format": "JPEG", "quality": 95}, 4.0),
    ],
)
def test_pictures_of_phones_and_of_the_web_are_read(
    tmp_path: Path, suffix: str, options: dict[str, Any], off: float
) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()  # which writes it too
    smear = synthetic_smear(shape=(90, 130), seed=3).image
    path = tmp_path / f"smear{suffix}"
    Image.fromarray(smear).save(path, **options)
    read = read_image(path)
    assert read.dtype == np.uint8
    assert read.shape == smear.shape
    assert np.abs(read.astype(float) - smear).mean() <= off


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("shape", [(30, 40, 3), (30, 40)])
def test_values_of_a_jpeg_2000_are_kept(
    tmp_path: Path, codec: str, bits: int, shape: tuple[int, ...]
) -> None:
    """Pillow rounds colours to 8 bits, so that white was black, and makes 16 bits of 12 bits of grey."""
    image = np.random.default_rng(0).integers(0, 2**bits, shape)
    image = image.astype(np.uint8 if bits == 8 else np.uint16)
    image[:5] = 2**bits - 1
    options = {"codecformat": codec, "bitspersample": bits, "reversible": True, "level": 0}
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(image, **options))
    read = read_image(tmp_path / "a.jp2")
    assert read.dtype == image.dtype
    np.testing.assert_array_equal(read, image)


def test_heic_without_what_reads_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ImageError, match=r"a\.jpg is HEIC, .*pip install pillow-heif"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isommp41")
    with pytest.raises(ImageError, match=r"b\.heic is not .*looks like a video"):
        read_image(tmp_path / "b.heic")


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(random_rgb()).save(tmp_path / "a.tif", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), random_rgb())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.02])
def test_truncated_file_is_an_error_that_names_it(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(random_rgb(64, 64)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=f"cut{suffix} .*(truncated|damaged)"):
        read_image(path)


def test_truncated_16_bit_colour_png_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    cv2.imwrite(str(path), random_rgb(64, 64, 60000, np.uint16))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"patient 12, see the other slide", "a text file"),
        (b"%PDF-1.7 and more", "a PDF"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0", "a video"),
        (bytes(128) + b"DICM\2\0\0\0UL", "DICOM"),
    ],
)
def test_what_is_no_image_is_told_by_what_it_looks_like(tmp_path: Path, content: bytes, looks: str) -> None:
    (tmp_path / "notes.png").write_bytes(content)
    with pytest.raises(ImageError, match=rf"notes\.png is not a JPEG, PNG, TIFF or other image.*{looks}"):
        read_image(tmp_path / "notes.png")


def test_missing_empty_and_folder_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"no file .*gone\.png"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"empty\.png is empty"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


def test_image_without_pixels_is_an_error(tmp_path: Path) -> None:
    header = struct.pack("<2sIIIIiiHHIIIIII", b"BM", 54, 0, 54, 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0)
    (tmp_path / "none.bmp").write_bytes(header)
    with pytest.raises(ImageError, match=r"none\.bmp"):
        read_image(tmp_path / "none.bmp")


@pytest.mark.parametrize("channels", [2, 5])
def test_tiff_of_other_channels_is_an_error(tmp_path: Path, channels: int) -> None:
    image = np.zeros((channels, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match=rf"a\.tif has {channels} channels"):
        read_image(tmp_path / "a.tif")


def test_importing_the_module_loads_no_image_library() -> None:
    code = (
        "import sys, napari_wbcseg.images.read;"
        "import napari_wbcseg.datasets.sigtuple, napari_wbcseg.datasets.download;"
        "print([m for m in ('skimage', 'cv2', 'PIL', 'tifffile', 'pooch', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Read in parts ---------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8)


def write_pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        options = {"tile": (32, 32), "photometric": "rgb", "compression": "zlib"}
        tiff.write(PIXELS, subifds=1, **options)
        tiff.write(PIXELS[::2, ::2], subfiletype=1, **options)


def write_planes(path: Path) -> None:
    tifffile.imwrite(
        path, np.moveaxis(PIXELS, -1, 0), tile=(32, 32), photometric="rgb", planarconfig="separate"
    )


def write_zarr(path: Path) -> None:
    zarr.save_array(str(path), PIXELS)


def write_ome_zarr(path: Path) -> None:
    """Write axes t, c, z, y, x, as microscopes do."""
    group = zarr.open_group(str(path), mode="w")
    for number, step in enumerate((1, 2)):
        part = np.moveaxis(PIXELS[::step, ::step], -1, 0)[None, :, None]
        group.create_array(str(number), shape=part.shape, chunks=(1, 1, 1, 32, 32), dtype=part.dtype)[:] = (
            part
        )
    sets = [{"path": str(number)} for number in range(2)]
    group.attrs["ome"] = {"multiscales": [{"axes": [{"name": a} for a in "tczyx"], "datasets": sets}]}


@pytest.mark.parametrize(
    ("name", "write", "levels"),
    [
        ("pyramid.tif", write_pyramid, 2),
        ("planes.tif", write_planes, 1),
        ("strips.tif", lambda path: tifffile.imwrite(path, PIXELS, photometric="rgb"), 1),
        ("plain.zarr", write_zarr, 1),
        ("slide.ome.zarr", write_ome_zarr, 2),
    ],
)
def test_files_become_arrays_of_rows_and_columns(tmp_path: Path, name: str, write, levels: int) -> None:
    write(tmp_path / name)
    image = open_large(tmp_path / name)
    assert image.full.shape[:2] == (90, 130)
    assert [level.shape for level in image.levels] == [(90, 130, 3), (45, 65, 3)][:levels]
    assert np.array_equal(np.asarray(image.full[20:60, 31:99]), PIXELS[20:60, 31:99])
    small = cloudpickle.loads(cloudpickle.dumps(cloudpickle.loads(cloudpickle.dumps(image.levels[-1]))))
    assert np.array_equal(np.asarray(small), PIXELS[::levels, ::levels]), "as where dask has a cluster"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yxc", "cyx", "xyc", "tczyx", "czyx", "tzyxc", "xcy"])
def test_ome_zarr_of_both_versions_with_its_axes_in_any_order(
    tmp_path: Path, axes: str, version: str
) -> None:
    pixels = np.expand_dims(PIXELS, tuple(range(len(axes) - 3)))
    stored = pixels.transpose([("".join(a for a in "tz" if a in axes) + "yxc").index(axis) for axis in axes])
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=stored.shape, chunks=stored.shape, dtype=np.uint8)[:] = stored
    scale = [{"type": "scale", "scale": [0.5 if axis in "yx" else 1.0 for axis in axes]}]
    named = [{"name": axis, **({"unit": "micrometer"} if axis in "yx" else {})} for axis in axes]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    known = {"multiscales": [{"axes": named, "datasets": datasets, "version": version}]}
    group.attrs.update(known if version == "0.4" else {"ome": {**known, "version": version}})
    np.testing.assert_array_equal(np.asarray(open_large(tmp_path / "a.zarr").full), PIXELS)
    assert read_pixel_size(tmp_path / "a.zarr") == PixelSize(0.5, 0.5)


@pytest.mark.parametrize("axes", ["tz", "zt"])
def test_depths_of_one_time_follow_each_other_however_they_are_stored(tmp_path: Path, axes: str) -> None:
    stack = np.stack([PIXELS + number for number in range(6)]).reshape(2, 3, *PIXELS.shape)  # times, depths
    stored = stack if axes == "tz" else stack.swapaxes(0, 1)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stored, photometric="rgb", metadata={"axes": f"{axes.upper()}YXS"}
    )
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=stored.shape, chunks=stored.shape, dtype=np.uint8)[:] = stored
    group.attrs["multiscales"] = [{"axes": [{"name": n} for n in f"{axes}yxc"], "datasets": [{"path": "0"}]}]
    for name in ("a.ome.tif", "a.zarr"):
        np.testing.assert_array_equal(read_file(tmp_path / name).pixels, stack.reshape(6, *PIXELS.shape))
        assert depths_of(tmp_path / name) == 3


def test_what_cannot_be_read_in_parts_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no file"):
        open_large(tmp_path / "missing.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0 and nothing more")
    with pytest.raises(ImageError, match=r"broken\.tif"):
        open_large(tmp_path / "broken.tif")
    with pytest.raises(ImageError, match="no zarr"):
        open_large(tmp_path)
    zarr.save_array(str(tmp_path / "stack.zarr"), np.zeros((5, 20, 30, 3), np.uint8))
    with pytest.raises(ImageError, match="grey or RGB"):
        open_large(tmp_path / "stack.zarr")


@pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="the system does not tell which files are open"
)
def test_a_file_that_is_refused_is_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((5, 20, 30), np.uint8), photometric="minisblack")
    with pytest.raises(ImageError, match="is a stack"):
        open_large(path)
    assert path not in {Path(os.path.realpath(file)) for file in Path("/proc/self/fd").iterdir()}


def test_what_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "LARGE_PIXELS", 10_000)
    assert is_large(PIXELS)
    assert not is_large(PIXELS[:50])
    assert not is_large(np.zeros((7, 90, 130), np.uint8)), "a stack is taken plane by plane"
    tifffile.imwrite(tmp_path / "big.tif", PIXELS, photometric="rgb")
    tifffile.imwrite(tmp_path / "small.tif", PIXELS[:50], photometric="rgb")
    assert size_of_file(tmp_path / "big.tif") == (PIXELS[..., 0].size, True)
    assert size_of_file(tmp_path / "small.tif") == (50 * PIXELS.shape[1], False)
    assert size_of_file(tmp_path / "missing.tif") == (0, False)
