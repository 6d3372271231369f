"""Small sound files of every kind that is read, and what damages them."""

from __future__ import annotations

import io
import random
import struct
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

_EXTREMES = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10**6, 2**40, 2**63]

Files = dict[str, bytes]


@cache
def seeds() -> dict[str, Files]:
    """Return small sound files of every kind, by name: a file, or the files of a folder."""
    rng = np.random.default_rng(0)
    rgb = np.clip(rng.normal(180, 40, (40, 56, 3)), 0, 255).astype(np.uint8)
    found = {name: {name: data} for name, data in (*_pictures(rgb), *_tiffs(rgb))}
    return {**found, **_zarrs(rgb)}


def _pictures(rgb: np.ndarray) -> list[tuple[str, bytes]]:
    import imagecodecs
    from PIL import Image

    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[274] = 6
    made = [
        ("grey.jpg", image.convert("L"), {}),
        ("colour.jpg", image, {"exif": exif}),
        ("progressive.jpg", image, {"progressive": True}),
        ("inks.jpg", image.convert("CMYK"), {}),
        ("colour.png", image, {"exif": exif}),
        ("alpha.png", image.convert("RGBA"), {}),
        ("palette.png", image.quantize(16), {"bits": 4, "transparency": 0}),
        ("colour.bmp", image, {}),
        ("palette.bmp", image.quantize(16), {}),
    ]
    files = []
    for name, picture, options in made:
        buffer = io.BytesIO()
        picture.save(buffer, {"jpg": "JPEG", "png": "PNG", "bmp": "BMP"}[name[-3:]], **options)
        files.append((name, buffer.getvalue()))
    return [*files, ("deep.png", imagecodecs.png_encode(rgb.astype(np.uint16) * 257))]


def _tiffs(rgb: np.ndarray) -> list[tuple[str, bytes]]:
    import tifffile

    files = []

    def add(name: str, pixels: np.ndarray, **options: object) -> None:
        buffer = io.BytesIO()
        writer = {
            key: options.pop(key) for key in ("byteorder", "bigtiff", "imagej", "ome") if key in options
        }
        pages = options.pop("pages", 1)
        with tifffile.TiffWriter(buffer, **writer) as tiff:
            for _ in range(pages):
                tiff.write(pixels, **options)
        files.append((name, buffer.getvalue()))

    for compression in ("none", "lzw", "zlib", "packbits", "jpeg", "jpeg2000", "webp", "zstd", "lzma"):
        add(f"tiles-{compression}.tif", rgb, photometric="rgb", tile=(16, 32), compression=compression)
        add(f"strips-{compression}.tif", rgb, photometric="rgb", rowsperstrip=16, compression=compression)
    grey = rgb[..., 0]
    add(
        "deep.tif",
        rgb.astype(np.uint16) * 16,
        photometric="rgb",
        byteorder=">",
        compression="zlib",
        predictor=True,
    )
    add("float.btf", grey.astype(np.float32), bigtiff=True, compression="zlib", predictor=True)
    add("bits.tif", grey > 128, photometric="minisblack")
    add("white.tif", grey, photometric="miniswhite")
    add(
        "palette.tif",
        grey,
        photometric="palette",
        colormap=np.arange(768, dtype=np.uint16).reshape(3, 256) * 80,
    )
    add("planes.tif", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
    add("pages.tif", rgb, photometric="rgb", metadata=None, pages=3)
    add("stack.tif", np.stack([grey] * 4), photometric="minisblack", metadata={"axes": "ZYX"})
    add(
        "imagej.tif",
        np.stack([grey] * 3),
        imagej=True,
        resolution=(10, 10),
        metadata={"axes": "CYX", "unit": "um"},
    )
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
    add("two.ome.tif", rgb, ome=True, photometric="rgb", metadata={"axes": "YXS", **sizes}, pages=2)
    text = "Aperio Image Library v12\r\n56x40 JPEG/RGB Q=70|AppMag = 40|MPP = 0.25"
    add(
        "slide.svs",
        rgb,
        photometric="rgb",
        tile=(16, 16),
        compression="jpeg",
        description=text,
        metadata=None,
    )
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=True) as tiff:
        tiff.write(rgb, photometric="rgb", tile=(16, 16), subifds=1, compression="zlib")
        tiff.write(rgb[::2, ::2].copy(), photometric="rgb", tile=(16, 16), subfiletype=1, compression="zlib")
    return [*files, ("pyramid.tif", buffer.getvalue())]


def _zarrs(rgb: np.ndarray) -> dict[str, Files]:
    import zarr

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for version in (2, 3):
            place = Path(folder) / f"image{version}.zarr"
            group = zarr.open_group(str(place), mode="w", zarr_format=version)
            array = group.create_array("0", shape=rgb.shape, chunks=(16, 32, 3), dtype=rgb.dtype)
            array[:] = rgb
            axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yxc"]
            scale = [{"type": "scale", "scale": [0.1, 0.1, 1.0]}]
            sets = [{"path": "0", "coordinateTransformations": scale}]
            multiscales = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": sets}]}
            group.attrs.update(multiscales if version == 2 else {"ome": multiscales})
            found[place.name] = {
                str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()
            }
    return found


def mutated(files: Files, rng: random.Random) -> Files:
    """Return files of which one is damaged, in one to four places."""
    # Metadata are small beside pixels, and where a reader believes what it is told.
    name = rng.choice(sorted(files, key=lambda name: len(files[name]))[: max(1, len(files) // 2)])
    data = bytearray(files[name])
    for _ in range(rng.randint(1, 4)):
        if not data:
            break
        at = min(int(len(data) * rng.random() ** rng.choice((1, 3))), len(data) - 1)
        kind = rng.randrange(8)
        if kind < 2:
            data[at] = rng.randrange(256)
        elif kind < 5:
            width, value = rng.choice("BHIQ"), rng.choice(_EXTREMES)
            packed = struct.pack(
                rng.choice("<>") + width, value & (2 ** (8 * struct.calcsize("<" + width)) - 1)
            )
            data[at : at + len(packed)] = packed
        elif kind == 5:
            del data[at : at + rng.choice((1, 4, 64, len(data)))]
        elif kind == 6:
            data[at:at] = data[at : at + rng.choice((1, 4, 64, 1024))] * rng.choice((1, 2, 50))
        else:
            digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()]  # of JSON and XML
            if digits:
                i = rng.choice(digits)
                data[i : i + 1] = str(rng.choice([*_EXTREMES, -1, "1e400", "null", "[]"])).encode()
    return {**files, name: bytes(data)}


def write(files: Files, name: str, folder: Path) -> Path:
    """Write the files of one input, and return what a user would give."""
    place = folder / name
    for inside, data in files.items():
        path = place if len(files) == 1 else place / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return place
