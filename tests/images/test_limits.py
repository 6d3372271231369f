"""What a header declares is weighed before it is believed; what is no file is not read."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.limits import check_memory
from napari_wbcseg.images.read import open_large, read_image, read_pixel_size, size_of_file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_and_a_device_are_refused_by_every_door(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.tif", tmp_path / "a.png", Path("/dev/zero")):
        with pytest.raises(ImageError, match="pipe or a device"):
            read_image(path)
        with pytest.raises(ImageError, match="pipe or a device"):
            open_large(path)
        assert read_pixel_size(path) is None
        assert size_of_file(path) == (0, False)


def jpeg_of(width: int, height: int) -> bytes:
    """Return a small JPEG whose header says another size."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", progressive=True)
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc2") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(9)) + chunk(b"IEND", b"")


def many_tiles(across: int) -> bytes:
    """Return a TIFF of which all tiles, of 256 × 256 pixels, are the same few bytes."""
    tile, count = zlib.compress(bytes(256 * 256 * 3)), across**2
    bits = 8 + 2 + 12 * 12 + 4
    offsets = bits + 6
    counts = offsets + 4 * count
    first = counts + 4 * count
    tags = [
        *((256, 4, 1, across * 256), (257, 4, 1, across * 256), (258, 3, 3, bits), (259, 3, 1, 8)),
        *((262, 3, 1, 2), (277, 3, 1, 3), (284, 3, 1, 1), (317, 3, 1, 1), (322, 4, 1, 256), (323, 4, 1, 256)),
        *((324, 4, count, offsets), (325, 4, count, counts)),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    places = struct.pack("<I", first) * count + struct.pack("<I", len(tile)) * count
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<HHH", 8, 8, 8) + places + tile


@pytest.mark.parametrize("mode", ["L", "1"])
def test_a_mask_of_few_cells_is_small_and_not_damaged(tmp_path: Path, mode: str) -> None:
    mask = np.zeros((3000, 4000), np.uint8)
    mask[500:600, 500:600] = mask[2000:2100, 3000:3100] = 255
    Image.fromarray(mask).convert(mode).save(tmp_path / "a-mask.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a-mask.png"), mask)


def test_the_tiles_of_this_file_are_sound(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(many_tiles(2))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.zeros((512, 512, 3)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jpg", jpeg_of(30_000, 30_000)),
        ("a.png", png_of(20_000, 20_000)),
        ("a.tif", many_tiles(64)),
    ],
    ids=["jpg", "png", "tif"],
)
def test_a_small_file_of_a_huge_picture_is_refused_at_once(tmp_path: Path, name: str, data: bytes) -> None:
    assert len(data) < 200_000
    (tmp_path / name).write_bytes(data)
    code = (
        "import resource, sys; from napari_wbcseg.images.read import read_image\n"
        "from napari_wbcseg.errors import ImageError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # begins at that of the parent\n"
        "try: read_image(sys.argv[1])\n"
        "except ImageError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, timeout=30
    )
    said, kilobytes = done.stdout.splitlines()
    assert "cannot hold" in said
    assert int(kilobytes) < 300_000


def test_a_blank_field_is_no_bomb(tmp_path: Path) -> None:
    blank = np.full((2000, 2500, 3), 240, np.uint8)
    Image.fromarray(blank).save(tmp_path / "a.png")
    Image.fromarray(blank).save(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "a.tif", blank, photometric="rgb", compression="zstd", tile=(512, 512))
    for name in ("a.png", "a.jpg", "a.tif"):
        assert (tmp_path / name).stat().st_size < 80_000
        assert read_image(tmp_path / name).shape == blank.shape


def test_a_tile_is_weighed_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((16, 16), np.uint8), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for tag in ("TileWidth", "TileLength"):
            file.pages.first.tags[tag].overwrite(60_000)
    with pytest.raises(ImageError, match="cannot hold"):
        read_image(tmp_path / "a.tif")


def test_an_ome_tiff_of_a_billion_planes_is_the_pages_it_has(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="8" SizeY="8" SizeC="1" SizeZ="99999" '
        'SizeT="99999"><TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, description=xml.encode(), metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), pixels)


def test_what_does_not_fit_into_memory_is_said() -> None:
    with pytest.raises(ImageError, match=r"a\.tif takes 1,000,000\.0 GB"):
        check_memory(10**15, "a.tif")
    check_memory(10**6, "a.tif")
