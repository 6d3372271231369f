"""Pairs of photometric and compression that are known are converted, the others refused."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wbcseg import synthetic_smear
from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.read import read_image

from .test_tiff import assert_both_are

SMEAR = synthetic_smear((96, 96), seed=5).image


def assert_close(path: Path, image: np.ndarray, off: float = 2.5) -> None:
    read = read_image(path)
    assert (read.shape, read.dtype) == (image.shape, image.dtype)
    assert np.abs(read.astype(int) - image).mean() < off
    assert_both_are(path, read)


def test_ycbcr_without_jpeg(tmp_path: Path) -> None:
    ycbcr = Image.fromarray(SMEAR).convert("YCbCr")
    ycbcr.save(tmp_path / "a.tif")
    assert_close(tmp_path / "a.tif", SMEAR)
    ycbcr.save(tmp_path / "b.tif", compression="tiff_deflate")
    assert_close(tmp_path / "b.tif", SMEAR)


def test_jpeg_in_any_sampling(tmp_path: Path) -> None:
    for sampling in ((1, 1), (2, 1), (2, 2)):
        tifffile.imwrite(
            tmp_path / "a.tif", SMEAR, photometric="rgb", compression="jpeg", tile=(48, 48),
            subsampling=sampling, compressionargs={"level": 95},
        )  # fmt: skip
        assert_close(tmp_path / "a.tif", SMEAR)


@pytest.mark.parametrize(("compression", "ycbcr"), [(33003, True), (33005, False)])
def test_aperio_says_by_its_compression_what_jpeg_2000_holds(
    tmp_path: Path, compression: int, ycbcr: bool
) -> None:
    pixels = np.asarray(Image.fromarray(SMEAR).convert("YCbCr")) if ycbcr else SMEAR
    encoded = imagecodecs.jpeg2k_encode(np.ascontiguousarray(pixels), level=0, mct=False, codecformat="j2k")
    tifffile.imwrite(
        tmp_path / "a.svs", iter([encoded]), shape=SMEAR.shape, dtype=np.uint8, photometric="rgb",
        tile=(96, 96), compression=compression, description="Aperio Image Library v12", metadata=None,
    )  # fmt: skip
    assert_close(tmp_path / "a.svs", SMEAR)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_inks(tmp_path: Path, dtype: type) -> None:
    top = np.iinfo(dtype).max
    image = SMEAR if dtype == np.uint8 else SMEAR.astype(np.uint16) * 257
    inks = np.dstack([top - image, np.zeros(image.shape[:2], dtype)])
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated")
    assert_both_are(tmp_path / "a.tif", image)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_of_few_bits_reaches_from_black_to_white(tmp_path: Path, bits: int, white_is_zero: bool) -> None:
    levels = np.arange(2**bits, dtype=np.uint8).repeat(8)[None].repeat(8, 0)
    packed = np.packbits(np.unpackbits(levels[..., None], axis=-1)[..., 8 - bits :].reshape(8, -1), axis=-1)
    expected = np.rint(levels * (255 / (2**bits - 1))).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", packed, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        tags = file.pages.first.tags
        tags["ImageWidth"].overwrite(levels.shape[1])
        tags["BitsPerSample"].overwrite(bits)
        tags["PhotometricInterpretation"].overwrite(0 if white_is_zero else 1)
    assert_both_are(tmp_path / "a.tif", 255 - expected if white_is_zero else expected)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_where_white_is_zero_black_is_the_largest_of_the_bits(tmp_path: Path, bits: int) -> None:
    levels = np.linspace(0, 2**bits - 1, 64, dtype=np.uint16).reshape(4, 16)
    tifffile.imwrite(tmp_path / "a.tif", levels, photometric="miniswhite", bitspersample=bits, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), 2**bits - 1 - levels)


def test_a_palette(tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 255, (3, 256), np.uint8)
    indices = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    for colormap in (table.astype(np.uint16) * 257, table.astype(np.uint16)):
        tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colormap)
        assert_both_are(tmp_path / "a.tif", table.T[indices])


@pytest.mark.parametrize("photometric", ["cfa", "linear_raw", "logluv", "cielab", "icclab", "itulab"])
def test_other_colours_are_refused_in_a_sentence(tmp_path: Path, photometric: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", SMEAR, photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        value = int(tifffile.PHOTOMETRIC[photometric.upper()])
        file.pages.first.tags["PhotometricInterpretation"].overwrite(value)
    with pytest.raises(ImageError, match=rf"a\.tif stores its colours as {photometric.upper()}.*plain RGB"):
        read_image(tmp_path / "a.tif")
